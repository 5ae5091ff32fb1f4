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
    """Return a table of Arrow as a frame in one chunk."""
    frame = pl.from_arrow(table.combine_chunks())
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a table of Arrow did not become a frame")
    return frame


def as_text(column: pl.Series) -> pl.Series:
    """Return a typed column as the texts that a CSV would have; null stays null."""
    if column.dtype == pl.String:
        return column
    if isinstance(column.dtype, pl.Datetime):
        utc = column.dt.convert_time_zone("UTC") if column.dtype.time_zone else column.dt.replace_time_zone("UTC")
        return utc.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").alias(column.name)
    if isinstance(column.dtype, (pl.List, pl.Struct)):
        return listed(column)
    if column.dtype == pl.Float64:
        column = column.fill_nan(None)
    return column.cast(pl.String)


def listed(column: pl.Series) -> pl.Series:
    """Return lists, maps and structs as JSON, each different one written once; other columns stay as they are."""
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
