"""Google's billing export from BigQuery, standard and detailed: CSV, JSON lines, or Parquet with nested credits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from collectors.billing._cells import Cells
from collectors.billing._charges import Charges, charges_of
from collectors.billing._format import BillFormat, Head, Imported, Request
from collectors.billing._gcp_charges import NAMES, charges_as_text, credits_as_text, known, unused_as_text
from collectors.billing._gcp_commitments import amortised
from collectors.billing._gcp_credits import Credited, credited
from collectors.billing._gcp_rows import folded, is_export, rows_of
from collectors.billing._native import Native, imported, in_own_words
from collectors.billing._source import SourceFile
from collectors.billing._texts import Texts
from ledger.tables import FocusCharge, declared

_DETAILED: Final = b'"resource"'


def _version(head: Head) -> str | None:
    """Return standard or detailed where the file is an export of Google's, else None."""
    if not is_export(head.columns, head.start):
        return None
    names = {folded(each) for each in head.columns}
    is_detailed = bool(names & {"resource", "resource_name", "resource_global_name"}) or _DETAILED in head.start
    return "detailed" if is_detailed else "standard"


@dataclass(frozen=True)
class _Opened:
    """One file of an export, its credits taken apart."""

    texts: Texts
    credits: pl.Series
    found: Credited


def _read(request: Request) -> Imported:
    """Return the charges of an export; rate credits lower their charge, other credits are charges of their own.

    A commitment's fee may stand in another file than the usage that it covers: they are looked at together.
    """
    opened = [_opened(file) for file in request.source.files]
    whole = pl.concat([each.found.frame for each in opened])
    spread = amortised(whole)
    whole = whole.with_columns(pl.Series("effective", spread.effective, dtype=pl.String))
    charges: list[Charges] = []
    first_row = first_index = 0
    for each in opened:
        height = each.found.frame.height
        unused = [(row - first_row, amount) for row, amount in spread.unused if 0 <= row - first_row < height]
        charges.append(_charges(each, whole.slice(first_row, height), unused, request, first_index))
        first_row += height
        first_index += charges[-1].frame.height + len(charges[-1].rejected)
    return imported(request, Native(gcp_billing.name, request.version, charges))


def _opened(file: SourceFile) -> _Opened:
    texts = rows_of(file)
    rows = known(texts.frame)
    return _Opened(texts, rows["credits"], credited(rows))


def _charges(
    opened: _Opened, rows: pl.DataFrame, unused: Sequence[tuple[int, str]], request: Request, first_index: int
) -> Charges:
    """Return the charges of one file: its rows, its credits that are charges, its commitments that nobody used."""
    texts, own = opened.texts, opened.found.own
    made = charges_as_text(rows)
    fees = pl.Series([row for row, _ in unused], dtype=pl.Int64)
    parts = [made, credits_as_text(own, made), unused_as_text(made[fees.to_list()], [amount for _, amount in unused])]
    at = pl.concat([pl.int_range(made.height, eager=True), own["row"], fees]).alias("at")
    derived = pl.int_range(at.len(), eager=True) >= at.len() - fees.len()
    both = pl.concat(parts).with_columns(at, derived.alias("is_derived")).sort("at", maintain_order=True)
    cells = Cells(
        Texts(
            texts.label,
            both.drop("at", "is_derived"),
            texts.lines.gather(both["at"].cast(pl.UInt32)),
            texts.broken,
            is_line=texts.is_line,
        ),
        declared(FocusCharge).name,
    )
    _refuse_unreadable(cells, both["at"], opened.found.unreadable, opened.credits)
    charges = in_own_words(charges_of(cells, request.defaults, first_index=first_index), NAMES)
    is_derived = both["is_derived"].gather((charges.frame["row_index"] - first_index).cast(pl.UInt32))
    return replace(charges, frame=charges.frame.with_columns(is_derived))


def _refuse_unreadable(cells: Cells, at: pl.Series, unreadable: Sequence[int], texts: pl.Series) -> None:
    for index in pl.arg_where(at.is_in(list(unreadable)), eager=True).to_list():
        cells.refuse(index, "credits", texts[int(at[index])], "a list of credits, as JSON")


gcp_billing: Final = BillFormat(name="gcp_billing", detect=_version, read=_read, module=__name__)
