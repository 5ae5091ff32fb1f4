"""CSV as texts, whole or some rows at a time; each row is told with the line at which it starts."""

import codecs
import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv

from collectors.billing._typed import Broken, Texts, frame_of
from ledger.errors import InputError
from ledger.words import amount

HEAD_BYTES: Final = 256 * 2**10
"""So much of a file has its header, or is no table."""

_BLOCK_BYTES: Final = 32 * 2**20
_LARGE_BYTES: Final = 2 * _BLOCK_BYTES

# A CSV is in memory beside its rows, which are all text: fewer of them at once than of a Parquet file.
_PART_ROWS: Final = 100_000
_TAR: Final = b"ustar"
_TAR_PLACE: Final = 257
_KNOWN_STARTS: Final = {
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"\x7fELF": "a program",
    b"\x28\xb5\x2f\xfd": "zstd data",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
}


def utf8(label: str, content: bytes) -> bytes:
    """Return text as UTF-8 without a byte order mark; UTF-16 is told by its mark."""
    if content[_TAR_PLACE : _TAR_PLACE + len(_TAR)] == _TAR:
        raise InputError(
            f"{label}: found a tar archive, expected CSV, gzipped CSV or Parquet", hint="unpack it, import its folder"
        )
    for start, meaning in _KNOWN_STARTS.items():
        if content.startswith(start):
            raise InputError(
                f"{label}: found {meaning}, expected CSV, gzipped CSV or Parquet", hint="export it as CSV or Parquet"
            )
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return content.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise InputError(f"{label}: found broken UTF-16 at byte {error.start}, expected text") from error
    if b"\0" in content[:HEAD_BYTES]:
        raise InputError(
            f"{label}: found binary data, expected CSV, gzipped CSV or Parquet", hint="export it as CSV or Parquet"
        )
    if not content.isascii():
        _check(label, content)
    return content.removeprefix(b"\xef\xbb\xbf")


def _check(label: str, content: bytes) -> None:
    """Refuse bytes that are no UTF-8; they are looked at in blocks, since a text of all of them is as large again."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(content)
    for start in range(0, len(content), _BLOCK_BYTES):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(view[start : start + _BLOCK_BYTES], final=start + _BLOCK_BYTES >= len(content))
        except UnicodeDecodeError as error:
            raise InputError(
                f"{label}: found bytes that are no UTF-8 text at byte {start - held + error.start}, "
                "expected CSV or Parquet",
                hint="save the file as UTF-8",
            ) from error


def header(content: bytes) -> tuple[list[str], str]:
    """Return the column names and the character between them."""
    head = content[:HEAD_BYTES].decode(errors="ignore")  # the cut may fall into a character
    rows = {mark: _first_record(head, mark) for mark in ",;\t|"}
    mark = max(rows, key=lambda each: len(rows[each]))
    names = [each.strip() for each in rows[mark]]
    return names, mark


def _first_record(text: str, mark: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])
    except csv.Error:  # a quote that never closes makes one endless cell
        return []


def csv_texts(label: str, content: bytes) -> Texts:
    """Return a CSV file as texts.

    Raises: InputError: it names a column twice, or is no CSV.
    """
    layout = _layout(label, content)
    skipped: list[Broken] = []
    with _as_csv(label):
        table = arrow_csv.read_csv(layout.source(content), *layout.options(skipped))
    frame = frame_of(table)
    unclosed = content.count(b'"') % 2 == 1 and frame.height and any("\n" in str(each) for each in frame.row(-1))
    if unclosed:
        frame = frame.head(-1)
    is_exact = not (skipped or unclosed)
    lines, broken = _lines(content, layout, frame.height, skipped, is_exact=is_exact)
    if unclosed:
        broken = (*broken, Broken(int(lines[-1] or 1) + 1 if len(lines) else 2, "a quote that never closes", "a row"))
    return Texts(label, frame, lines, broken, is_line=True)


def csv_parts(label: str, content: bytes) -> Iterator[Texts]:
    """Yield a CSV file some rows at a time, where it is large and all of its quotes close; what is broken comes last.

    Raises: InputError: as `csv_texts` does.
    """
    if len(content) < _LARGE_BYTES or content.count(b'"') % 2 == 1:
        yield csv_texts(label, content)
        return
    layout = _layout(label, content)
    skipped: list[Broken] = []
    with _as_csv(label):
        height = arrow_csv.read_csv(layout.source(content), *layout.options(skipped, columns=layout.names[:1])).num_rows
    lines, broken = _lines(content, layout, height, skipped, is_exact=not skipped)
    first = 0
    for frame in _frames(label, layout, content):
        is_last = first + frame.height == height
        yield Texts(label, frame, lines.slice(first, frame.height), broken if is_last else (), is_line=True)
        first += frame.height
    if not height:
        yield csv_texts(label, content)


@dataclass(frozen=True)
class _Layout:
    """The columns of a CSV file, and the character between them."""

    names: list[str]
    mark: str

    def source(self, content: bytes) -> pa.BufferReader:
        return pa.BufferReader(content if content.endswith(b"\n") else content + b"\n")

    def options(
        self, skipped: list[Broken], columns: list[str] | None = None
    ) -> tuple[arrow_csv.ReadOptions, arrow_csv.ParseOptions, arrow_csv.ConvertOptions]:
        """Return how to read all cells as texts, or those of some columns; rows of another width are `skipped`."""

        def skip(row: arrow_csv.InvalidRow) -> str:
            found = amount(row.actual_columns, "cell")
            skipped.append(Broken(row.number, found, f"{row.expected_columns} as in the header"))
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
    folded = [each.casefold() for each in names]
    twice = next((name for index, name in enumerate(names) if folded[index] in folded[:index]), None)
    if twice is not None:
        raise InputError(
            f"{label}: line 1: found column {twice!r} twice, expected each column once", hint="export the file again"
        )
    return _Layout(names, mark)


@contextmanager
def _as_csv(label: str) -> Iterator[None]:
    """Say in words what Arrow does not take for CSV."""
    try:
        yield
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{label}: found text that is no CSV ({str(error).splitlines()[0]}), expected CSV in UTF-8",
            hint="save the file as CSV in UTF-8",
        ) from error


def _frames(label: str, layout: _Layout, content: bytes) -> Iterator[pl.DataFrame]:
    """Yield the rows of a CSV file in frames of about one size."""
    held: list[pa.RecordBatch] = []
    with _as_csv(label), arrow_csv.open_csv(layout.source(content), *layout.options([])) as reader:
        for batch in reader:
            held.append(batch)
            if sum(each.num_rows for each in held) >= _PART_ROWS:
                yield frame_of(pa.Table.from_batches(held))
                held = []
    if held:
        yield frame_of(pa.Table.from_batches(held))


def _lines(
    content: bytes, layout: _Layout, height: int, skipped: list[Broken], *, is_exact: bool
) -> tuple[pl.Series, tuple[Broken, ...]]:
    """Return the line at which each kept row starts, and the rows of another width.

    The file is only walked again where records and lines differ: broken rows, or line breaks in cells. Where
    that walk sees other records (a cell beyond its limit), rows are counted instead of lines.
    """
    counted = pl.int_range(2, height + 2, eager=True)
    if is_exact and content.count(b"\n") + (not content.endswith(b"\n")) == height + 1:
        return counted, ()
    width = len(layout.names)
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(content), "utf-8", newline=""), delimiter=layout.mark)
    lines: list[int] = []
    broken: list[Broken] = []
    try:
        next(reader, None)
        start = reader.line_num + 1
        for record in reader:
            if len(record) == width:
                lines.append(start)
            elif record:
                broken.append(Broken(start, amount(len(record), "cell"), f"{width} as in the header"))
            start = reader.line_num + 1
    except csv.Error:
        return counted, tuple(skipped)
    if len(lines) < height or len(broken) < len(skipped):
        return counted, tuple(skipped)
    return pl.Series(lines[:height], dtype=pl.Int64), tuple(broken)
