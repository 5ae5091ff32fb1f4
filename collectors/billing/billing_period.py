"""Billing periods: which of an issuer are still open, from the BillingPeriod dataset of FOCUS 1.4."""

from typing import Final

import polars as pl

from collectors.billing._cells import Cells
from collectors.billing._charges import import_frame
from collectors.billing._format import BillFormat, Head, Imported, Rejected, Request
from collectors.billing._texts import read_texts
from ledger.errors import InputError
from ledger.tables import BillingPeriod, declared
from ledger.tables.billing import BILLING_PERIOD_STATUS
from ledger.words import amount

_VERSION: Final = "FOCUS 1.4 BillingPeriod"
_STATUS: Final = "BillingPeriodStatus"
_NEEDED: Final = ("InvoiceIssuerName", "BillingPeriodStart", _STATUS)


def _told(head: Head) -> str | None:
    """Return the version where the columns are those of the dataset, else None."""
    names = head.folded
    return _VERSION if _STATUS.casefold() in names and "billedcost" not in names else None


def _read(request: Request) -> Imported:
    """Return one row per issuer and period; of two for one period the later in the file counts."""
    frames: list[pl.DataFrame] = []
    rejected: list[Rejected] = []
    naive = 0
    for file in request.source.files:
        cells = Cells(read_texts(file, file.content()), declared(BillingPeriod).name)
        frames.append(_periods(cells, request))
        rejected.extend(cells.rejected())
        naive += cells.naive_instant_count
    periods = pl.concat(frames).unique(BillingPeriod.primary_key(), keep="last", maintain_order=True)
    if periods.is_empty() and not rejected:
        raise InputError(f"{request.source.path}: found a header and no rows, expected billing periods")
    return Imported(
        path=request.source.path,
        format=billing_period.name,
        version=request.version,
        source_name=request.source.name,
        sha256=request.sha256,
        import_id=request.import_id,
        tables={BillingPeriod: BillingPeriod.cast(periods.select(BillingPeriod.column_names()))},
        imports=import_frame([]),
        rejected=tuple(rejected),
        naive_instant_count=naive,
        remarks=(f"{amount(naive, 'instant')} without a zone taken as UTC",) if naive else (),
    )


def _periods(cells: Cells, request: Request) -> pl.DataFrame:
    """Return the good rows of one file under our names."""
    missing = [name for name in _NEEDED if not cells.has(name)]
    if missing:
        raise InputError(
            f"{cells.texts.header}: found no column {', '.join(missing)}, expected {', '.join(_NEEDED)}",
            hint="add the column to the file",
        )
    issuer, status = cells.text("InvoiceIssuerName"), cells.text(_STATUS).str.to_lowercase()
    cells.need("InvoiceIssuerName", issuer, "a value in every row")
    cells.need(_STATUS, status, "Open or Closed")
    cells.among(_STATUS, status, BILLING_PERIOD_STATUS)
    changed = cells.instant("BillingPeriodLastUpdated")
    start, end = cells.instant("BillingPeriodStart", is_needed=True), cells.instant("BillingPeriodEnd")
    for index in (end <= start).arg_true().to_list():
        cells.refuse(index, "BillingPeriodEnd", end[index], "an end after BillingPeriodStart")
    frame = pl.DataFrame(
        [
            issuer.alias("invoice_issuer"),
            start.alias("billing_period_start"),
            end.alias("billing_period_end"),
            status.alias("status"),
            changed.fill_null(request.imported_at).alias("changed_at"),
        ]
    ).with_columns(pl.lit(request.source.path).alias("changed_by"))
    return cells.kept(frame)


billing_period = BillFormat(name="billing_period", detect=_told, read=_read, module=__name__)
