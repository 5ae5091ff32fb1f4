"""AWS Cost and Usage Reports, legacy and CUR 2.0: CSV, gzipped CSV or Parquet; a file, a folder, a manifest.

`docs/bills.md` says from which column each FOCUS column comes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

import dataframely as dy
import polars as pl

from collectors.billing._aws_charges import NAMES, charges_as_text, unknown_kinds
from collectors.billing._aws_columns import (
    MAPS,
    TELLING,
    canonical,
    canonical_names,
    left_out,
    rows_of,
    words_for_nothing,
)
from collectors.billing._aws_plans import Plans
from collectors.billing._aws_splits import is_split, splits
from collectors.billing._cells import Cells
from collectors.billing._charges import Charges, charges_of
from collectors.billing._format import BillFormat, Head, Imported, Request
from collectors.billing._native import in_own_words
from collectors.billing._short_rows import fitting_parts
from collectors.billing._source import SourceFile
from collectors.billing._texts import Everything, Texts
from collectors.billing._whole import imported
from ledger.errors import InputError
from ledger.tables import FocusCharge, SplitCharge, declared
from ledger.words import amount

_MANDATORY: Final = (
    "bill/PayerAccountId",
    "bill/BillingPeriodStartDate",
    "bill/BillingPeriodEndDate",
    "lineItem/LineItemType",
    "lineItem/UsageStartDate",
    "lineItem/UnblendedCost",
    "lineItem/CurrencyCode",
)
_NEEDED_NAMES: Final = frozenset(map(canonical, _MANDATORY))
_ONLY_2_0: Final = MAPS | {"billpayeraccountname", "lineitemusageaccountname"}
_SHOWN_COLUMNS: Final = 10


@dataclass
class _Seen:
    """What was met while the files were read, and is told or kept at their end."""

    splits: list[pl.DataFrame] = field(default_factory=list)
    left_out: set[str] = field(default_factory=set)
    lacking: set[str] = field(default_factory=set)
    kinds: dict[str, int] = field(default_factory=dict)
    plans: Plans = field(default_factory=Plans)


def _version(head: Head) -> str | None:
    """Return which report the columns belong to, or None where they are none of AWS."""
    names = {canonical(each) for each in head.columns}
    if not names >= TELLING:
        return None
    return "2.0" if names & _ONLY_2_0 else "legacy"


def _read(request: Request) -> Imported:
    """Return the charges of all files of a report as one import, and beside them how AWS splits nodes over pods."""
    seen = _Seen()
    whole = imported(request, aws_cur.name, _parts(request, seen))
    shared = pl.concat(seen.splits, how="vertical").with_columns(pl.lit(request.import_id).alias("import_id"))
    found = SplitCharge.cast(shared)
    tables: dict[type[dy.Schema], pl.DataFrame] = dict(whole.tables)
    if found.height:
        tables[SplitCharge] = found
    # A fee whose commitment was not all used is two charges, of which both may be refused.
    refused = {(each.path, each.line): each for each in reversed(whole.rejected)}
    rejected = tuple(reversed(refused.values()))
    return replace(whole, tables=tables, rejected=rejected, remarks=(*whole.remarks, *_remarks(seen, found.height)))


def _parts(request: Request, seen: _Seen) -> Iterator[Charges]:
    first_index = 0
    for file in request.source.files:
        for texts in _texts(file, seen):
            _need_columns(texts)
            rows = rows_of(texts)
            for kind, count in unknown_kinds(rows).items():
                seen.kinds[kind] = seen.kinds.get(kind, 0) + count
            seen.left_out |= left_out(texts)
            seen.splits.append(splits(rows, first_index))
            lines = rows.select(~is_split()).to_series()
            kept, places = rows.filter(lines), texts.lines.filter(lines)
            charges = charges_as_text(kept, seen.plans.billed(kept, texts, places))
            own = Texts(
                texts.label,
                charges.drop("row"),
                places.gather(charges["row"]),
                texts.broken,
                texts.is_line,
                origin=texts,
            )
            cells = Cells(own, declared(FocusCharge).name, normalised_count=words_for_nothing(texts))
            yield in_own_words(charges_of(cells, request.defaults, first_index=first_index), NAMES)
            first_index += charges.height
    for row, texts in seen.plans.left():
        own = replace(texts, frame=charges_as_text(row, row["lineitemunblendedcost"]).drop("row"))
        cells = Cells(own, declared(FocusCharge).name)
        yield in_own_words(charges_of(cells, request.defaults, first_index=first_index), NAMES)
        first_index += 1


def _texts(file: SourceFile, seen: _Seen) -> Iterator[Texts]:
    """Yield the rows of a file; where every row ends before the header does, without the columns that none has."""
    for texts, lacking in fitting_parts(file, Everything(), lambda name: canonical(name) in _NEEDED_NAMES):
        seen.lacking |= set(lacking)
        yield texts


def _need_columns(texts: Texts) -> None:
    """Refuse a file without the columns that make a charge."""
    names = canonical_names(texts.frame.columns)
    missing = [name for name in _MANDATORY if canonical(name) not in names]
    if missing:
        raise InputError(
            f"{texts.header}: found no column {', '.join(missing)}, expected what every report of AWS has",
            hint="include these columns in the export, or export it again",
        )


def _remarks(seen: _Seen, split_count: int) -> list[str]:
    told = []
    if split_count:
        told.append(
            f"kept apart {amount(split_count, 'line')} of a node's cost by pod or task: the node's own line counts"
        )
    if seen.lacking:
        told.append(f"every row ends before {', '.join(sorted(seen.lacking))}: nothing was read for it")
    if seen.kinds:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(seen.kinds.items()))
        told.append(f"line item types that AWS does not document were taken as Adjustment: {kinds}")
    if seen.left_out:
        more = f" and {len(seen.left_out) - _SHOWN_COLUMNS} more" if len(seen.left_out) > _SHOWN_COLUMNS else ""
        told.append(f"columns that are not kept: {', '.join(sorted(seen.left_out)[:_SHOWN_COLUMNS])}{more}")
    return told


aws_cur = BillFormat(name="aws_cur", detect=_version, read=_read, module=__name__)
