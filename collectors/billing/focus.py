"""FOCUS 1.0 to 1.4 CostAndUsage exports: CSV, gzipped CSV or Parquet; a file, a folder, a manifest."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from collectors.billing._aws_gaps import COLUMNS, completed
from collectors.billing._cells import Cells
from collectors.billing._charges import OLDER_NAMES, Charges, charges_of
from collectors.billing._divided import COLUMNS as DIVIDED
from collectors.billing._divided import Divided
from collectors.billing._format import BillFormat, Head, Imported, Request
from collectors.billing._judged import MANDATORY
from collectors.billing._texts import Texts, read_parts
from collectors.billing._whole import imported
from ledger.errors import InputError
from ledger.tables import FocusCharge, declared

_TELLING: Final = frozenset(
    {
        "billedcost",
        "effectivecost",
        "listcost",
        "billingaccountid",
        "billingcurrency",
        "billingperiodstart",
        "billingperiodend",
        "chargecategory",
        "chargeperiodstart",
        "chargeperiodend",
        "servicecategory",
        "servicename",
        "pricingquantity",
        "resourceid",
        "chargefrequency",
    }
)
_ENOUGH: Final = 6
# Usage without any cost is another format: it is priced, and never invoiced.
_COSTS: Final = frozenset({"billedcost", "effectivecost", "listcost", "contractedcost", "amortizedcost"})
_QUANTITIES: Final = frozenset({"consumedquantity", "pricingquantity"})
_STORED: Final = COLUMNS | {name.casefold() for name in (*FocusCharge.column_names(), *OLDER_NAMES.values())}
_READ: Final = _STORED | DIVIDED
_SHOWN_COLUMNS: Final = 10
_INVOICE_DETAIL: Final = frozenset({"invoicedetailgrain", "invoiceissuestatus", "paymentterms"})

# The first column of each version that older ones lack; a file need not have them all.
_VERSIONS: Final = (
    ("1.4", frozenset({"invoicedetailid", "commitmentprogrameligibilitydetails"})),
    ("1.3", frozenset({"serviceprovidername", "hostprovidername", "allocatedmethodid", "contractapplied"})),
    ("1.2", frozenset({"invoiceid", "billingaccounttype", "subaccounttype", "pricingcurrency"})),
    (
        "1.1",
        frozenset(
            {"capacityreservationid", "commitmentdiscountquantity", "servicesubcategory", "skumeter", "skupricedetails"}
        ),
    ),
)


@dataclass
class _Seen:
    """What was met while the files were read, and is told at their end."""

    divided: Divided = field(default_factory=Divided)
    left_out: set[str] = field(default_factory=set)

    def remarks(self) -> Iterator[str]:
        """Say what was met, once all files are read."""
        yield from self.divided.remarks()
        yield from _left_out(self.left_out)


def _version(head: Head) -> str | None:
    """Return the FOCUS version that the columns belong to, or None where they are no FOCUS charges."""
    names = head.folded
    is_usage_only = not names & _COSTS and bool(names & _QUANTITIES)
    if names & _INVOICE_DETAIL or len(names & _TELLING) < _ENOUGH or is_usage_only:
        return None
    if {"amortizedcost", "chargetype"} <= names:
        return "0.5"
    return next((version for version, columns in _VERSIONS if names & columns), "1.0")


def _read(request: Request) -> Imported:
    """Return the charges of all files of a delivery as one import."""
    if request.version == "0.5":
        raise InputError(
            f"{request.source.path}: found FOCUS 0.5 (AmortizedCost, ChargeType), expected FOCUS 1.0 to 1.4",
            hint="export again with a later version, or convert the file",
        )
    seen = _Seen()
    return imported(request, focus.name, _parts(request, seen), remarks=seen.remarks())


def _parts(request: Request, seen: _Seen) -> Iterator[Charges]:
    """Yield the charges of all files."""
    first_index = 0
    for file in request.source.files:
        for texts in read_parts(file, file.content(), _READ):
            cells = Cells(completed(texts), declared(FocusCharge).name)
            _need_columns(cells, texts, request)
            charges = charges_of(cells, request.defaults, first_index=first_index)
            seen.divided.see(charges, cells, first_index)
            yield charges
            first_index += texts.frame.height
            seen.left_out |= texts.unread | {actual for name, actual in cells.columns.items() if name not in _STORED}


def _need_columns(cells: Cells, texts: Texts, request: Request) -> None:
    """Refuse a file that lacks a mandatory column for which the operator stated no value.

    EffectiveCost, ListCost and ContractedCost may be absent: they become null, which is not zero.
    """
    stated = {name.casefold() for name in request.defaults}
    missing = []
    for name in MANDATORY:
        spellings = {name.casefold(), OLDER_NAMES.get(name, name).casefold()}
        if not spellings & (cells.columns.keys() | (stated - {"billedcost"})):
            missing.append(name)
    if missing:
        raise InputError(
            f"{texts.header}: found no column {', '.join(missing)}, expected all that FOCUS makes mandatory",
            hint="export with BilledCost: a cost is nothing that could be stated for all rows"
            if "BilledCost" in missing
            else "export with all columns, or state what the file lacks under [money.bill_defaults]",
        )


def _left_out(columns: set[str]) -> tuple[str, ...]:
    """Name the columns of a delivery that have no place in the ledger."""
    if not columns:
        return ()
    more = f" and {len(columns) - _SHOWN_COLUMNS} more" if len(columns) > _SHOWN_COLUMNS else ""
    return (f"columns that are not kept: {', '.join(sorted(columns)[:_SHOWN_COLUMNS])}{more}",)


focus = BillFormat(name="focus", detect=_version, read=_read, module=__name__)
