"""A table file as texts: nothing is guessed, so nothing is rounded on the way in.

Money in a CSV never passes through a float; a Parquet double becomes its shortest decimal text.
"""

from collections.abc import Container, Iterator
from typing import Final

import polars as pl
import pyarrow as pa
from pyarrow import parquet

from collectors.billing._csv import csv_parts, csv_texts, header, need_once
from collectors.billing._encoded import HEAD_BYTES, utf8
from collectors.billing._source import SourceFile
from collectors.billing._typed import Broken, Texts, as_text, coded_of, frame_of, listed, naive_columns
from ledger.errors import InputError

__all__ = ["Broken", "Everything", "Texts", "columns_of", "read_parts", "read_texts", "tables"]

_PARQUET: Final = b"PAR1"
_BATCH_ROWS: Final = 50_000
_PART_ROWS: Final = 250_000
# What Arrow raises for bytes that are not what their footer says.
_DAMAGE: Final = (pa.ArrowException, OSError, ValueError)


class Everything:
    """Every column is wanted: tags are columns of any name."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)


def columns_of(file: SourceFile, content: bytes) -> tuple[str, ...]:
    """Return the column names of a table file; none where it is no table.

    Raises: InputError: the file is empty, or is nothing that could be read as a table.
    """
    if not content[:HEAD_BYTES].strip():
        raise InputError(f"{file.label}: found an empty file, expected a bill", hint="export it again")
    if content.startswith(_PARQUET):
        return _parquet_names(file.label, content)
    names, _ = header(utf8(file.label, content))
    return tuple(names)


def read_texts(file: SourceFile, content: bytes) -> Texts:
    """Return a table file as texts.

    Raises: InputError: the file is cut, is no table, or names a column twice.
    """
    if content.startswith(_PARQUET):
        return _parquet_texts(file.label, content)
    return csv_texts(file.label, utf8(file.label, content))


def read_parts(file: SourceFile, content: bytes, wanted: Container[str]) -> Iterator[Texts]:
    """Yield a table file some rows at a time, of Parquet only the columns whose folded name is wanted.

    Raises: InputError: as `read_texts` does.
    """
    if not content.startswith(_PARQUET):
        yield from csv_parts(file.label, utf8(file.label, content))
        return
    try:
        yield from _parquet_parts(file.label, content, wanted)
    except _DAMAGE as error:
        raise _damaged(file.label, content, error) from error


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
    need_once(label, table.schema.names)
    frame = frame_of(table)
    lines = pl.int_range(1, frame.height + 1, eager=True)
    texts = frame.with_columns(as_text(frame[name]) for name in frame.columns)
    return Texts(label, texts, lines, (), is_line=False, naive=naive_columns(table.schema))


def _parquet_parts(label: str, content: bytes, wanted: Container[str]) -> Iterator[Texts]:
    """Yield a Parquet file some rows at a time; text comes coded, which is how such a file holds it."""
    schema = parquet.read_schema(pa.BufferReader(content))
    names = [name for name in schema.names if name.casefold() in wanted]
    need_once(label, names)
    coded = [name for name in names if schema.field(name).type in {pa.string(), pa.large_string()}]
    opened = parquet.ParquetFile(pa.BufferReader(content), read_dictionary=coded)
    first = 1
    for table in tables(opened, names):
        table.validate(full=True)
        codes = {name: coded_of(table[name]) for name in coded}
        plain = frame_of(table.drop_columns(coded)) if len(coded) < len(names) else pl.DataFrame()
        decoded = {name: each.values.gather(each.codes) for name, each in codes.items()}
        frame = pl.DataFrame({name: decoded[name] if name in decoded else listed(plain[name]) for name in names})
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


def tables(file: parquet.ParquetFile, names: list[str]) -> Iterator[pa.Table]:
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
