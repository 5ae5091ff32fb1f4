"""Google's billing export from BigQuery, standard and detailed: CSV, JSON lines, or Parquet with nested credits."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from collectors.billing._cells import Cells
from collectors.billing._charges import Charges, charges_of
from collectors.billing._format import BillFormat, Head, Imported, Near, Request
from collectors.billing._gcp_charges import COLUMNS, NAMES, charges_as_text, credits_as_text, known, unused_as_text
from collectors.billing._gcp_commitments import SPREAD_BY, amortised
from collectors.billing._gcp_credits import Credited, credited, is_maybe_committed
from collectors.billing._gcp_rows import TELLING, folded, is_export, lacking_columns, parts_of
from collectors.billing._native import Native, imported, in_own_words
from collectors.billing._texts import Texts
from ledger.errors import InputError
from ledger.tables import FocusCharge, declared

_KEY: Final = re.compile(rb'"(\w+)"\s*:')
_DETAILED: Final = b'"resource"'


def _version(head: Head) -> str | None:
    """Return standard or detailed where the file is an export of Google's, else None."""
    if not is_export(head.columns, head.start):
        return None
    names = {folded(each) for each in head.columns}
    is_detailed = bool(names & {"resource", "resource_name", "resource_global_name"}) or _DETAILED in head.start
    return "detailed" if is_detailed else "standard"


@dataclass(frozen=True)
class _Spread:
    """What the fees of a delivery make of its rows, which are counted over all of its files.

    `effective` has the `row` and its cost in `effective`; `unused` has the row of a fee, and what of it nobody used.
    """

    effective: pl.DataFrame
    unused: Sequence[tuple[int, str]]

    def between(self, rows: pl.DataFrame, first: int) -> tuple[pl.DataFrame, list[tuple[int, str]]]:
        """Return a part that begins with row `first` with its effective costs, and what is unused of its fees."""
        own = self.effective.filter(pl.col("row").is_between(first, first + rows.height, closed="left"))
        places = pl.DataFrame({"row": pl.int_range(first, first + rows.height, eager=True)})
        spread = places.join(own, on="row", how="left", maintain_order="left")["effective"]
        effective = pl.select(pl.coalesce(spread, rows["billed"])).to_series().alias("effective")
        unused = [(row - first, amount) for row, amount in self.unused if 0 <= row - first < rows.height]
        return rows.with_columns(effective), unused


def _read(request: Request) -> Imported:
    """Return the charges of an export; rate credits lower their charge, other credits are charges of their own."""
    return imported(request, Native(gcp_billing.name, request.version, _parts(request, _spread(request))))


def _parts(request: Request, spread: _Spread) -> Iterator[Charges]:
    first_row = first_index = 0
    for file in request.source.files:
        for texts in parts_of(file, COLUMNS):
            rows = known(texts.frame)
            found = credited(rows)
            frame, unused = spread.between(found.frame, first_row)
            opened = _Opened(texts, rows["credits"], found)
            charges = _charges(opened, frame, unused, request, first_index)
            first_row += rows.height
            first_index += charges.frame.height + len(charges.rejected)
            yield charges


def _spread(request: Request) -> _Spread:
    """Return what fees of committed use make of the rows that they cover.

    A fee may stand in another file than the usage that it covers, so all files are looked at before the first
    charge is made. Only fees and what is covered is kept of them, in the few columns that say what belongs together.
    """
    kept = [pl.DataFrame(schema=dict.fromkeys(SPREAD_BY, pl.String) | {"row": pl.Int64, "is_fee": pl.Boolean})]
    first_row = 0
    for file in request.source.files:
        for texts in parts_of(file, COLUMNS):
            _need_columns(texts)
            rows = known(texts.frame).with_row_index("row", first_row)
            first_row += rows.height
            maybe = credited(rows.filter(is_maybe_committed())).frame
            committed = maybe.filter(pl.col("is_fee") | pl.col("covered_by").is_not_null())
            kept.append(committed.select(*SPREAD_BY, pl.col("row").cast(pl.Int64), "is_fee"))
    whole = pl.concat(kept)
    spread = amortised(whole)
    effective = pl.Series("effective", spread.effective, dtype=pl.String)
    return _Spread(
        whole.select("row").with_columns(effective), [(int(whole["row"][at]), amount) for at, amount in spread.unused]
    )


def _need_columns(texts: Texts) -> None:
    """Refuse a file of a delivery that is no export: its first one told the format."""
    missing = [name for name in sorted(TELLING) if name not in texts.frame.columns]
    if missing and texts.frame.height:
        raise InputError(
            f"{texts.header}: found no column {', '.join(missing)}, expected Google's billing export",
            hint="export the table with all of its columns",
        )


@dataclass(frozen=True)
class _Opened:
    """Some rows of a file, their credits taken apart."""

    texts: Texts
    credits: pl.Series
    found: Credited


def _near(head: Head) -> Near | None:
    """Say what a file lacks to be an export of Google, where its columns look like those of one."""
    is_json = head.start.lstrip()[:1] in (b"{", b"[")
    keys = (each.decode() for each in _KEY.findall(head.start.partition(b"\n")[0]))
    lacking = lacking_columns(tuple(keys) if is_json else head.columns)
    if not lacking:
        return None
    return Near(
        found=f"columns of Google's billing export, and none of them {', nor '.join(lacking)}",
        expected="these too",
        hint="export the table with all of its columns",
    )


def _charges(
    opened: _Opened, rows: pl.DataFrame, unused: Sequence[tuple[int, str]], request: Request, first_index: int
) -> Charges:
    """Return the charges of some rows: themselves, its credits that are charges, its commitments that nobody used."""
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
            origin=texts,
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


gcp_billing: Final = BillFormat(name="gcp_billing", detect=_version, read=_read, module=__name__, near=_near)
