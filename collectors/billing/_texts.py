"""A table file as texts: nothing is guessed, so nothing is rounded on the way in.

Money in a CSV never passes through a float; a Parquet double becomes its shortest decimal text.
"""

import csv
import io
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl
import pyarrow as pa
import pyarrow.csv as arrow_csv
from pyarrow import parquet

from collectors.billing._source import SourceFile
from collectors.billing._typed import Coded, as_text, coded_of, frame_of, listed, naive_columns
from ledger.errors import InputError

_PARQUET: Final = b"PAR1"
_BLOCK_BYTES: Final = 32 * 2**20
_HEAD_BYTES: Final = 256 * 2**10
_PART_ROWS: Final = 250_000
_BATCH_ROWS: Final = 50_000
# What Arrow raises for bytes that are not what their footer says.
_DAMAGE: Final = (pa.ArrowException, OSError, ValueError)
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


@dataclass(frozen=True)
class Broken:
    """One record that has another number of cells than the header, or a quote that never closes."""

    line: int
    found: str
    expected: str


@dataclass(frozen=True)
class Texts:
    """A file as text columns, with the line at which each row starts (the row number for Parquet).

    `naive` names the instant columns that a Parquet file holds without a zone. Of a part of a Parquet file
    (`read_parts`) numbers and instants keep their types, `coded` has the text columns a second time, and
    `unread` names the columns that nobody wanted.
    """

    label: str
    frame: pl.DataFrame
    lines: pl.Series
    broken: tuple[Broken, ...]
    is_line: bool
    naive: frozenset[str] = frozenset()
    coded: Mapping[str, Coded] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()


def columns_of(file: SourceFile, content: bytes) -> tuple[str, ...]:
    """Return the column names of a table file; none where it is no table.

    Raises: InputError: the file is empty, or is nothing that could be read as a table.
    """
    if not content[:_HEAD_BYTES].strip():
        raise InputError(f"{file.label}: found an empty file, expected a bill", hint="export it again")
    if content.startswith(_PARQUET):
        return _parquet_names(file.label, content)
    header, _ = _header(_utf8(file.label, content))
    return tuple(header)


def read_texts(file: SourceFile, content: bytes) -> Texts:
    """Return a table file as texts.

    Raises: InputError: the file is cut, is no table, or names a column twice.
    """
    if content.startswith(_PARQUET):
        return _parquet_texts(file.label, content)
    return _csv_texts(file.label, _utf8(file.label, content))


def read_parts(file: SourceFile, content: bytes, wanted: Container[str]) -> Iterator[Texts]:
    """Yield a table file, of Parquet some rows at a time and only the columns whose folded name is wanted.

    Raises: InputError: as `read_texts` does.
    """
    if not content.startswith(_PARQUET):
        yield read_texts(file, content)
        return
    try:
        yield from _parquet_parts(file.label, content, wanted)
    except _DAMAGE as error:
        raise _damaged(file.label, content, error) from error


def _utf8(label: str, content: bytes) -> bytes:
    """Return text as UTF-8 without a byte order mark; UTF-16 is told by its mark."""
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
    if b"\0" in content[:_HEAD_BYTES]:
        raise InputError(
            f"{label}: found binary data, expected CSV, gzipped CSV or Parquet", hint="export it as CSV or Parquet"
        )
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise InputError(
            f"{label}: found bytes that are no UTF-8 text at byte {error.start}, expected CSV or Parquet",
            hint="save the file as UTF-8",
        ) from error
    return content.removeprefix(b"\xef\xbb\xbf")


def _header(content: bytes) -> tuple[list[str], str]:
    """Return the column names and the character between them."""
    head = content[:_HEAD_BYTES].decode(errors="ignore")  # the cut may fall into a character
    rows = {mark: _first_record(head, mark) for mark in ",;\t|"}
    mark = max(rows, key=lambda each: len(rows[each]))
    names = [each.strip() for each in rows[mark]]
    return names, mark


def _first_record(text: str, mark: str) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(text, newline=""), delimiter=mark), [])
    except csv.Error:  # a quote that never closes makes one endless cell
        return []


def _csv_texts(label: str, content: bytes) -> Texts:
    names, mark = _header(content)
    folded = [each.casefold() for each in names]
    twice = next((name for index, name in enumerate(names) if folded[index] in folded[:index]), None)
    if twice is not None:
        raise InputError(
            f"{label}: line 1: found column {twice!r} twice, expected each column once", hint="export the file again"
        )
    skipped: list[Broken] = []

    def skip(row: arrow_csv.InvalidRow) -> str:
        skipped.append(Broken(row.number, f"{row.actual_columns} cells", f"{row.expected_columns} as in the header"))
        return "skip"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(content if content.endswith(b"\n") else content + b"\n"),
            read_options=arrow_csv.ReadOptions(
                use_threads=False, column_names=names, skip_rows=1, block_size=_BLOCK_BYTES
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=mark, newlines_in_values=True, invalid_row_handler=skip, ignore_empty_lines=len(names) > 1
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_string()),
                strings_can_be_null=False,
                quoted_strings_can_be_null=False,
            ),
        )
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{label}: found text that is no CSV ({str(error).splitlines()[0]}), expected CSV in UTF-8",
            hint="save the file as CSV in UTF-8",
        ) from error
    frame = frame_of(table)
    unclosed = content.count(b'"') % 2 == 1 and frame.height and any("\n" in str(each) for each in frame.row(-1))
    if unclosed:
        frame = frame.head(-1)
    lines, broken = _lines(content, mark, len(names), frame.height, skipped, is_exact=not (skipped or unclosed))
    if unclosed:
        broken = (*broken, Broken(int(lines[-1] or 1) + 1 if len(lines) else 2, "a quote that never closes", "a row"))
    return Texts(label, frame, lines, broken, is_line=True)


def _lines(
    content: bytes, mark: str, width: int, height: int, skipped: list[Broken], *, is_exact: bool
) -> tuple[pl.Series, tuple[Broken, ...]]:
    """Return the line at which each kept row starts, and the rows of another width.

    The file is only walked again where records and lines differ: broken rows, or line breaks in cells. Where
    that walk sees other records (a cell beyond its limit), rows are counted instead of lines.
    """
    counted = pl.int_range(2, height + 2, eager=True)
    if is_exact and content.count(b"\n") + (not content.endswith(b"\n")) == height + 1:
        return counted, ()
    reader = csv.reader(io.StringIO(content.decode(), newline=""), delimiter=mark)
    lines: list[int] = []
    broken: list[Broken] = []
    try:
        next(reader, None)
        start = reader.line_num + 1
        for record in reader:
            if len(record) == width:
                lines.append(start)
            elif record:
                broken.append(Broken(start, f"{len(record)} cells", f"{width} as in the header"))
            start = reader.line_num + 1
    except csv.Error:
        return counted, tuple(skipped)
    if len(lines) < height or len(broken) < len(skipped):
        return counted, tuple(skipped)
    return pl.Series(lines[:height], dtype=pl.Int64), tuple(broken)


def _parquet_names(label: str, content: bytes) -> tuple[str, ...]:
    """Return the columns of a Parquet file; only its footer is read."""
    try:
        return tuple(parquet.read_schema(pa.BufferReader(content)).names)
    except _DAMAGE as error:
        raise _damaged(label, content, error) from error


def _parquet_texts(label: str, content: bytes) -> Texts:
    """Return a Parquet file as texts, every value checked against its type first."""
    try:
        table = parquet.read_table(pa.BufferReader(content))
        table.validate(full=True)
    except _DAMAGE as error:
        raise _damaged(label, content, error) from error
    frame = frame_of(table)
    lines = pl.int_range(1, frame.height + 1, eager=True)
    texts = frame.with_columns(as_text(frame[name]) for name in frame.columns)
    return Texts(label, texts, lines, (), is_line=False, naive=naive_columns(table.schema))


def _parquet_parts(label: str, content: bytes, wanted: Container[str]) -> Iterator[Texts]:
    """Yield a Parquet file some rows at a time; text comes coded, which is how such a file holds it."""
    schema = parquet.read_schema(pa.BufferReader(content))
    names = [name for name in schema.names if name.casefold() in wanted]
    coded = [name for name in names if schema.field(name).type in {pa.string(), pa.large_string()}]
    opened = parquet.ParquetFile(pa.BufferReader(content), read_dictionary=coded)
    first = 1
    for table in _tables(opened, names):
        table.validate(full=True)
        codes = {name: coded_of(table[name]) for name in coded}
        plain = frame_of(table.drop_columns(coded)) if len(coded) < len(names) else pl.DataFrame()
        decoded = [each.values.gather(each.codes).alias(name) for name, each in codes.items()]
        frame = pl.DataFrame([*decoded, *(listed(plain[name]) for name in plain.columns)])
        yield Texts(
            label,
            frame,
            pl.int_range(first, first + frame.height, eager=True),
            (),
            is_line=False,
            naive=naive_columns(schema),
            coded=codes,
            unread=frozenset(schema.names) - frozenset(names),
        )
        first += frame.height


def _tables(file: parquet.ParquetFile, names: list[str]) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet file in tables of about one size, however small its row groups are."""
    if not file.metadata.num_rows:
        yield file.schema_arrow.empty_table().select(names)
    held: list[pa.RecordBatch] = []
    for batch in file.iter_batches(_BATCH_ROWS, columns=names):
        held.append(batch)
        if sum(each.num_rows for each in held) >= _PART_ROWS:
            yield pa.Table.from_batches(held)
            held = []
    if held:
        yield pa.Table.from_batches(held)


def _damaged(label: str, content: bytes, error: Exception) -> InputError:
    what = "a damaged Parquet file" if content.endswith(_PARQUET) else "a Parquet file without its end"
    detail = next(iter(str(error).splitlines()), type(error).__name__)
    return InputError(
        f"{label}: found {what} ({detail}), expected a whole one",
        hint="fetch the file again, and compare its size with the original",
    )
