"""A table file in memory, and its typed columns as the texts that a CSV would have."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl
import pyarrow as pa

_PAIRS: Final = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))


@dataclass(frozen=True)
class Coded:
    """A text column as the values that occur in it, and which of them each row has (null for none)."""

    codes: pl.Series
    values: pl.Series


@dataclass(frozen=True)
class Broken:
    """One record that is no row: another number of cells than the header, a quote that closes elsewhere or never.

    `record` is the record as JSON; empty where too many are broken to keep all of them.
    """

    line: int
    found: str
    expected: str
    column: str = ""
    record: str = ""


@dataclass(frozen=True)
class Texts:
    """A file as text columns, with the line at which each row starts (the row number for Parquet).

    `naive` names the instant columns that a Parquet file holds without a zone. Of a part of a Parquet file
    (`read_parts`) numbers and instants keep their types, `coded` has the text columns a second time, and
    `unread` names the columns that nobody wanted. Rows that were made of those of a file have them in `origin`.
    `header_line` is where a CSV file has its header.
    """

    label: str
    frame: pl.DataFrame
    lines: pl.Series
    broken: tuple[Broken, ...]
    is_line: bool
    naive: frozenset[str] = frozenset()
    coded: Mapping[str, Coded] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    origin: "Texts | None" = None
    header_line: int = 1

    @property
    def file(self) -> "Texts":
        """The rows as they were read of the file."""
        return self if self.origin is None else self.origin.file

    @property
    def header(self) -> str:
        """Where the header stands, as errors name it."""
        return f"{self.label}: line {self.file.header_line}"


def coded_of(column: pa.ChunkedArray) -> Coded:
    """Return a dictionary column of Arrow, in one piece."""
    array = column.unify_dictionaries().combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], type=column.type)
    codes, values = pl.from_arrow(array.indices), pl.from_arrow(array.dictionary)
    if not isinstance(codes, pl.Series) or not isinstance(values, pl.Series):
        raise TypeError("a dictionary of Arrow did not become two columns")
    return Coded(codes.cast(pl.UInt32), values.cast(pl.String))


def naive_columns(schema: pa.Schema) -> frozenset[str]:
    """Return the folded names of the instant columns that a Parquet file holds without a zone."""
    return frozenset(
        field.name.casefold()
        for field in schema
        if pa.types.is_date(field.type) or (pa.types.is_timestamp(field.type) and field.type.tz is None)
    )


def frame_of(table: pa.Table) -> pl.DataFrame:
    """Return a table of Arrow as a frame in one chunk; maps are lists of pairs, decimals of 256 bits are texts."""
    schema = pa.schema([each.with_type(_narrow(each.type)) for each in table.schema])
    frame = pl.from_arrow((table if schema == table.schema else table.cast(schema)).combine_chunks())
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a table of Arrow did not become a frame")
    return frame.with_columns(
        pl.col(name).cast(pl.List(pl.Struct({"key": kind.key, "value": kind.value})))
        for name, kind in frame.schema.items()
        if isinstance(kind, pl.Map)
    )


def _narrow(kind: pa.DataType) -> pa.DataType:
    """Return a type that a frame has: decimals of 256 bits, as BigQuery writes them, and JSON become texts."""
    if isinstance(kind, pa.BaseExtensionType):
        return _narrow(kind.storage_type)
    if pa.types.is_decimal256(kind):
        return pa.string()
    if pa.types.is_struct(kind):
        return pa.struct([each.with_type(_narrow(each.type)) for each in kind])
    if pa.types.is_list(kind):
        return pa.list_(_narrow(kind.value_type))
    return kind


def as_text(column: pl.Series) -> pl.Series:
    """Return a typed column as the texts that a CSV would have; null stays null."""
    if column.dtype == pl.String:
        return column
    if isinstance(column.dtype, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC") if column.dtype.time_zone else column.dt.replace_time_zone("UTC")
        return utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").alias(column.name)
    if isinstance(column.dtype, (pl.List, pl.Struct, pl.Array)):
        return listed(column)
    if column.dtype == pl.Binary:
        return _decoded(column)
    if column.dtype == pl.Duration:
        return column.dt.to_string("iso")
    if column.dtype.is_float():
        column = column.fill_nan(None)
    return column.cast(pl.String)


def _decoded(column: pl.Series) -> pl.Series:
    """Return bytes as texts: some programs write text without saying so; what is none is written in hexadecimals."""
    try:
        return column.cast(pl.String)
    except pl.exceptions.ComputeError:
        return column.bin.encode("hex")


def listed(column: pl.Series) -> pl.Series:
    """Return lists, maps and structs as JSON, each different one written once; other columns stay as they are."""
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    if not isinstance(column.dtype, (pl.List, pl.Struct)):
        return column
    if column.dtype != _PAIRS:
        texts = [None if value is None else json.dumps(_plain(value), sort_keys=True) for value in column.to_list()]
        return pl.Series(column.name, texts, dtype=pl.String)
    # Each text with its length before it: no two maps have one mark.
    parts = [pl.element().struct.field(name).fill_null("\0") for name in ("key", "value")]
    sized = [each for part in parts for each in (part.str.len_bytes().cast(pl.String), pl.lit(":"), part)]
    marks = column.list.eval(pl.concat_str(sized)).list.join("")
    first = marks.is_first_distinct()
    values = [None if value is None else json.dumps(_plain(value), sort_keys=True) for value in column.filter(first)]
    known = pl.DataFrame({"mark": marks.filter(first), "text": pl.Series(values, dtype=pl.String)})
    found = marks.to_frame("mark").join(known, on="mark", how="left", maintain_order="left")
    return found["text"].alias(column.name)


def _plain(value: object) -> object:
    """Return a map of Parquet, which comes as pairs, as an object."""
    if isinstance(value, pl.Series):
        value = value.to_list()
    if isinstance(value, list) and all(isinstance(each, dict) and set(each) == {"key", "value"} for each in value):
        return {str(each["key"]): each["value"] for each in value}
    return value
