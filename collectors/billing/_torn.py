"""Rows that a cell has swallowed: a quote opens in one row, and closes where a later one opens its own.

Such a file is CSV, and the rows in the cell would be left out without a word. The cell's shape tells it: cut at its
line breaks it has the delimiters of the rest of one row, of whole rows, and of the beginning of another.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import polars as pl

from collectors.billing._as_written import WHOLE_ROWS, as_json
from collectors.billing._typed import Broken, Texts
from ledger.words import amount

_BREAK: Final = re.compile(r"\r\n|\r|\n")
_CLOSES: Final = "a quote that closes in its own row"
_TAIL_BYTES: Final = 64
_NARROW: Final = 3
"""No bill has fewer columns, and a line of prose may have a comma."""

_WIDE: Final = 12
"""Text in two lines has fewer commas than a table of so many columns."""


def without_torn(texts: Texts, mark: str) -> Texts:
    """Return some rows of a CSV file without those of which a cell holds other rows; these are broken."""
    places: dict[int, int] = {}
    for place, cells in enumerate(texts.frame.iter_columns()):
        maybe = cells.str.contains(r"[\r\n]") & (cells.str.count_matches(mark, literal=True) >= texts.frame.width - 1)
        for index in maybe.arg_true().to_list():
            if _holds_rows(str(cells[index]), place, texts.frame.width, mark):
                places.setdefault(index, place)
    torn = [_torn(texts, index, places[index], is_whole=at < WHOLE_ROWS) for at, index in enumerate(sorted(places))]
    return _without(texts, list(places), torn)


@dataclass(frozen=True)
class Behind:
    """Rows behind a quote that never closes, each with its line; and the row in which it opens."""

    opened: Broken
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def added(self, texts: Texts) -> Texts:
        """Return rows of a file with these behind them."""
        frame = pl.DataFrame(self.rows, schema=texts.frame.schema, orient="row")
        lines = pl.Series(self.lines, dtype=texts.lines.dtype)
        return replace(texts, frame=texts.frame.vstack(frame), lines=pl.concat([texts.lines, lines]))


def behind_open(
    record: Sequence[str], line: int, content: bytes, width: int, mark: str, names: Sequence[str] = ()
) -> Behind | None:
    """Return the rows that the last record of a file has swallowed, where its quote never closes; else None.

    All of them are lines without a quote that are whole rows: only then is each of them what its file says. `names` are
    those of the cells of the record, where it has one for each column.
    """
    opened, *swallowed = _BREAK.split(record[-1])
    if _is_closed(content) or '"' in "".join(swallowed):
        return None
    first = line + sum(_breaks(each) for each in record[:-1]) + 1
    found = {first + at: tuple(each.split(mark)) for at, each in enumerate(swallowed) if each}
    if width < _NARROW or not found or any(len(row) != width for row in found.values()):
        return None
    what = f"a quote that never closes ({amount(len(found), 'row')} behind it read)"
    own = [*record[:-1], opened]
    told = as_json(dict(zip(names, own, strict=True)) if names else own)
    return Behind(Broken(line, what, _CLOSES, record=told), tuple(found.values()), tuple(found))


def _is_closed(content: bytes) -> bool:
    """Tell whether the last quote of a file closes there: what is open holds the end of the file's last line."""
    end = content[-_TAIL_BYTES:].rstrip(b"\r\n")
    return end.endswith(b'"') and not end.endswith(b'""')


def without_open(texts: Texts, content: bytes, mark: str) -> Texts:
    """Return the last rows of a CSV file without the last one where its quote is still open at the end; it is broken.

    What is open holds the end of the file's last line; a cell that ends with a line break and closes has a quote there.
    Rows that the quote has swallowed whole are read.
    """
    is_empty = not texts.frame.height
    if is_empty or _is_closed(content) or not str(texts.frame[-1, -1]).endswith(("\r", "\n")):
        return texts
    row = texts.frame.row(-1)
    line, names = int(texts.lines[-1]), texts.frame.columns
    behind = behind_open(row, line, content, len(row), mark, names) if mark else None
    if behind:
        return behind.added(_without(texts, [texts.frame.height - 1], [behind.opened]))
    lines = sum(_breaks(each) for each in row)
    over = f", over {amount(lines, 'line')}" if lines > 1 else ""
    named = dict(zip(texts.frame.columns, row, strict=True))
    never = Broken(int(texts.lines[-1]), f"a quote that never closes{over}", _CLOSES, record=as_json(named))
    return _without(texts, [texts.frame.height - 1], [never])


def _without(texts: Texts, indexes: Sequence[int], broken: Sequence[Broken]) -> Texts:
    if not indexes:
        return texts
    keep = pl.repeat(value=True, n=texts.frame.height, dtype=pl.Boolean, eager=True)
    keep = keep.scatter(sorted(indexes), False)  # noqa: FBT003  a value, no flag
    frame, lines = texts.frame.filter(keep), texts.lines.filter(keep)
    return replace(texts, frame=frame, lines=lines, broken=(*texts.broken, *broken))


def _torn(texts: Texts, index: int, place: int, *, is_whole: bool) -> Broken:
    """Return a row of which one cell holds others: where it begins, and where that cell ends."""
    row = texts.frame.row(index)
    line, rows = int(texts.lines[index]), _breaks(row[place]) + 1
    last = line + sum(_breaks(each) for each in row[: place + 1])
    return Broken(
        line,
        f"a quote that closes in line {last}, with {amount(rows, 'row')} in its cell",
        _CLOSES,
        column=texts.frame.columns[place],
        record=as_json(dict(zip(texts.frame.columns, row, strict=True))) if is_whole else "",
    )


def _holds_rows(cell: str, place: int, width: int, mark: str) -> bool:
    """Tell whether a cell at some place of its row holds the end of that row and what are other rows.

    Rows that are whole within it have no quotes, so that each mark is one between cells; some may be broken themselves.
    Where there are none, the beginning of the last one ends at the place at which the cell began; or later, where marks
    in the cell that closes it make up for that.
    """
    pieces: list[str] = _BREAK.split(cell)
    first, *between, last = pieces
    if first.count(mark) < width - 1 - place:
        return False
    if whole := [each for each in between if each]:
        return 2 * sum(each.count(mark) == width - 1 for each in whole) >= len(whole)
    found = last.count(mark)
    return found == place or (found > place and width >= _WIDE)


def _breaks(cell: str | None) -> int:
    return len(_BREAK.findall(cell or ""))
