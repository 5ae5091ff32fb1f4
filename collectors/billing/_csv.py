"""CSV as texts, whole or some rows at a time; each row is told with the line at which it starts."""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from collectors.billing._above import above
from collectors.billing._as_written import WHOLE_ROWS, as_json
from collectors.billing._encoded import HEAD_BYTES
from collectors.billing._torn import Behind, behind_open, without_open, without_torn
from collectors.billing._typed import Broken, Texts, frame_of
from ledger.errors import InputError
from ledger.words import amount

_BLOCK_BYTES: Final = 32 * 2**20
_LARGE_BYTES: Final = 2 * _BLOCK_BYTES
_NAME_CHARACTERS: Final = 2**17
_TOO_LONG: Final = "straddling"
"""What Arrow calls a record that is longer than a block."""

# A quote that closes many lines later makes a cell of them all: whoever is told where it opens needs the walk to end.
csv.field_size_limit(2**31 - 1)

# A CSV is in memory beside its rows, which are all text: fewer of them at once than of a Parquet file.
_PART_ROWS: Final = 100_000


def header(content: bytes) -> tuple[list[str], str]:
    """Return the column names and the character between them: the one that the file tells, else that of most names."""
    start = above(content)
    # The cut may fall into a character.
    head = content[start.bytes : start.bytes + HEAD_BYTES].decode(errors="ignore")
    rows = {mark: _first_record(head, mark) for mark in (start.mark, *",;\t|") if mark}
    mark = max(rows, key=lambda each: (len(rows[each]) > 1 and each == start.mark, len(rows[each])))
    names = [each.strip() for each in rows[mark]]
    return names, mark


def _first_record(text: str, mark: str) -> list[str]:
    try:
        record = next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])
    except csv.Error:
        return []
    # A quote that never closes makes one endless cell.
    return [] if any(len(each) > _NAME_CHARACTERS for each in record) else record


def csv_texts(label: str, content: bytes) -> Texts:
    """Return a CSV file as texts.

    Raises: InputError: it names a column twice, or is no CSV.
    """
    layout = _layout(label, content)
    content = content[layout.above_bytes :] if layout.above_bytes else content
    skipped: list[Broken] = []
    with _as_csv(label, content, layout):
        table = arrow_csv.read_csv(layout.source(content), *layout.options(skipped))
    frame = frame_of(table)
    rows = _rows(content, layout, frame.height, skipped)
    texts = Texts(label, frame, rows.lines, rows.broken, is_line=True, header_line=layout.header_line)
    return rows.whole(texts, content)


def csv_parts(label: str, content: bytes) -> Iterator[Texts]:
    """Yield a CSV file, some rows at a time where it is large; what is broken comes with the last of them.

    Raises: InputError: as `csv_texts` does.
    """
    if len(content) < _LARGE_BYTES:
        yield csv_texts(label, content)
        return
    whole = content
    layout = _layout(label, content)
    content = content[layout.above_bytes :] if layout.above_bytes else content
    skipped: list[Broken] = []
    with _as_csv(label, content, layout):
        height = arrow_csv.read_csv(layout.source(content), *layout.options(skipped, columns=layout.names[:1])).num_rows
    rows = _rows(content, layout, height, skipped)
    first = 0
    for frame in _frames(label, layout, content):
        is_last = first + frame.height == height
        lines, broken = rows.lines.slice(first, frame.height), rows.broken if is_last else ()
        texts = Texts(label, frame, lines, broken, is_line=True, header_line=layout.header_line)
        yield rows.whole(texts, content if is_last else b"")
        first += frame.height
    if not height:
        yield csv_texts(label, whole)


@dataclass(frozen=True)
class _Layout:
    """The columns of a CSV file, the character between them, and how much stands above its header."""

    names: list[str]
    mark: str
    above_bytes: int
    above_lines: int

    @property
    def header_line(self) -> int:
        return self.above_lines + 1

    def source(self, content: bytes) -> pa.BufferReader:
        return pa.BufferReader(content if content.endswith(b"\n") else content + b"\n")

    def options(
        self, skipped: list[Broken], columns: list[str] | None = None
    ) -> tuple[arrow_csv.ReadOptions, arrow_csv.ParseOptions, arrow_csv.ConvertOptions]:
        """Return how to read all cells as texts, or those of some columns; rows of another width are `skipped`."""

        def skip(row: arrow_csv.InvalidRow) -> str:
            record = as_json([row.text]) if len(skipped) < WHOLE_ROWS else ""
            line = row.number + self.above_lines
            skipped.append(Broken(line, *_of_width(row.actual_columns, row.expected_columns), record=record))
            return "skip"

        reading = arrow_csv.ReadOptions(
            use_threads=False, column_names=self.names, skip_rows=1, block_size=_BLOCK_BYTES
        )
        parsing = arrow_csv.ParseOptions(
            delimiter=self.mark,
            newlines_in_values=True,
            invalid_row_handler=skip,
            ignore_empty_lines=len(self.names) > 1,
        )
        converting = arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(self.names, pa.large_string()),
            include_columns=columns,
            strings_can_be_null=False,
            quoted_strings_can_be_null=False,
        )
        return reading, parsing, converting


def _layout(label: str, content: bytes) -> _Layout:
    names, mark = header(content)
    if names.count("") > 1:  # programs for tables end every line with marks
        names = [each or f"column {index}" for index, each in enumerate(names, 1)]
    start = above(content)
    need_once(f"{label}: line {start.lines + 1}", names)
    return _Layout(names, mark, start.bytes, start.lines)


def need_once(where: str, names: Sequence[str]) -> None:
    """Refuse a table that has two columns of one name: which of them is meant is not known.

    Raises: InputError: it has.
    """
    folded = [each.casefold() for each in names]
    twice = next((name for index, name in enumerate(names) if folded[index] in folded[:index]), None)
    if twice is not None:
        raise InputError(
            f"{where}: found column {twice!r} twice, expected each column once", hint="export the file again"
        )


@contextmanager
def _as_csv(label: str, content: bytes, layout: _Layout) -> Iterator[None]:
    """Say in words what Arrow does not take for CSV."""
    try:
        yield
    except pa.ArrowInvalid as error:
        if _TOO_LONG in str(error):
            raise InputError(
                f"{label}: line {_longest(content, layout)}: found a quote that does not close within "
                f"{_BLOCK_BYTES // 2**20} MiB, expected one that closes in its own row",
                hint="correct the line, or export the file again",
            ) from error
        raise InputError(
            f"{label}: found text that is no CSV ({str(error).splitlines()[0]}), expected CSV in UTF-8",
            hint="save the file as CSV in UTF-8",
        ) from error


def _frames(label: str, layout: _Layout, content: bytes) -> Iterator[pl.DataFrame]:
    """Yield the rows of a CSV file in frames of about one size."""
    held: list[pa.RecordBatch] = []
    with (
        _as_csv(label, content, layout),
        arrow_csv.open_csv(layout.source(content), *layout.options([])) as reader,
    ):
        for batch in reader:
            held.append(batch)
            if sum(each.num_rows for each in held) >= _PART_ROWS:
                yield frame_of(pa.Table.from_batches(held))
                held = []
    if held:
        yield frame_of(pa.Table.from_batches(held))


@dataclass(frozen=True)
class _Rows:
    """The line at which each kept row of a file starts, and the rows of another width.

    `mark` is the character between cells; '' where every row is one line, so that no cell holds another row. `behind`
    are rows that a record of another width has swallowed at the end of the file.
    """

    lines: pl.Series
    broken: tuple[Broken, ...]
    mark: str
    behind: Behind | None = None

    def whole(self, texts: Texts, end: bytes) -> Texts:
        """Return some rows without those that hold others, and without an open one at the end of the file."""
        kept = without_open(texts, end, self.mark) if end else texts
        kept = self.behind.added(kept) if end and self.behind else kept
        return without_torn(kept, self.mark) if self.mark else kept


def _rows(content: bytes, layout: _Layout, height: int, skipped: list[Broken]) -> _Rows:
    """Return where the rows of a file stand.

    The file is only walked again where records and lines differ: broken rows, or line breaks in cells. Where
    that walk sees other records, rows are counted instead of lines.
    """
    counted = pl.int_range(layout.header_line + 1, layout.header_line + 1 + height, eager=True)
    if not skipped and content.count(b"\n") + (not content.endswith(b"\n")) == height + 1:
        return _Rows(counted, (), "")
    width = len(layout.names)
    lines: list[int] = []
    broken: list[Broken] = []
    start, record = 0, list[str]()
    try:
        for start, last, record in _records(content, layout):
            if len(record) == width:
                lines.append(start)
            elif record:
                found, expected = _of_width(len(record), width)
                over = f" over lines {start} to {last}" if last > start else ""
                text = as_json(record) if len(broken) < WHOLE_ROWS else ""
                broken.append(Broken(start, f"{found}{over}", expected, record=text))
    except csv.Error:
        return _Rows(counted, tuple(skipped), layout.mark)
    if len(lines) < height or len(broken) < len(skipped):
        return _Rows(counted, tuple(skipped), layout.mark)
    behind = behind_open(record, start, content, width, layout.mark) if record and len(record) != width else None
    if behind:
        broken[-1] = behind.opened
    return _Rows(pl.Series(lines[:height], dtype=pl.Int64), tuple(broken), layout.mark, behind)


def _records(content: bytes, layout: _Layout) -> Iterator[tuple[int, int, list[str]]]:
    """Yield the records of a CSV file behind its header, each with its first and last line."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8", newline=""), delimiter=layout.mark)
    next(reader, None)
    start = reader.line_num + 1
    for record in reader:
        yield layout.above_lines + start, layout.above_lines + reader.line_num, record
        start = reader.line_num + 1


def _longest(content: bytes, layout: _Layout) -> int:
    """Return the line at which the record of most text begins."""
    return max((sum(map(len, record)), start) for start, _, record in _records(content, layout))[1]


def _of_width(found: int, expected: int) -> tuple[str, str]:
    return amount(found, "cell"), f"{expected} as in the header"
