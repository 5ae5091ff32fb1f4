"""Rows of Google's billing export, however it left BigQuery: CSV, JSON lines, or Parquet with nested values.

Nested values become columns such as `usage_amount`; lists, such as credits and labels, become JSON. A file comes some
rows at a time, and of each row what is wanted.
"""

import ast
import io
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

import polars as pl
import pyarrow as pa
from pyarrow import parquet

from collectors.billing._as_written import as_json
from collectors.billing._encoded import MARKS, utf8
from collectors.billing._source import SourceFile
from collectors.billing._texts import Broken, Everything, Texts, read_parts, tables
from collectors.billing._typed import as_text, frame_of
from ledger.errors import InputError

_PARQUET: Final = b"PAR1"
_SIGNS: Final = str.maketrans(". -", "___")
TELLING: Final = frozenset({"billing_account_id", "usage_start_time", "cost", "currency"})
_COLUMNS_OF_GOOGLE: Final = frozenset(
    {
        "service_id",
        "service_description",
        "sku_id",
        "sku_description",
        "project_id",
        "usage_end_time",
        "usage_amount",
        "usage_unit",
        "usage_pricing_unit",
        "usage_amount_in_pricing_units",
        "invoice_month",
        "location_region",
        "service",
        "sku",
        "project",
        "credits",
        "invoice",
    }
)
_ENOUGH: Final = 5
_SHOWN_CHARACTERS: Final = 60
_PART_ROWS: Final = 50_000
_DECODER: Final = json.JSONDecoder(parse_float=str, parse_int=str)
_BETWEEN: Final = re.compile(r"[\s,]*")


def folded(name: str) -> str:
    """Return a column's name as we call it: `usage.amount` and `usage_amount` are one."""
    return name.strip().casefold().translate(_SIGNS)


def is_export(columns: tuple[str, ...], start: bytes) -> bool:
    """Tell whether a file is a usage export of Google, by its columns or the keys of its first object."""
    if start.lstrip()[:1] in (b"{", b"["):
        return all(f'"{name}"'.encode() in start for name in TELLING) and b'"service' in start
    names = {folded(each) for each in columns}
    has_service = any(each == "service" or each.startswith("service_") for each in names)
    return names >= TELLING and has_service and bool({"invoice", "invoice_month", "credits"} & names)


def lacking_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a file lacks to be an export of Google; nothing where its columns are none of Google's."""
    names = {folded(each) for each in columns}
    if len(names & (_COLUMNS_OF_GOOGLE | TELLING)) < _ENOUGH:
        return ()
    has_service = any(each == "service" or each.startswith("service_") for each in names)
    has_month = bool({"invoice", "invoice_month", "credits"} & names)
    others = {"service.description": has_service, "invoice.month": has_month}
    return (*sorted(TELLING - names), *(name for name, is_there in others.items() if not is_there))


def parts_of(file: SourceFile, wanted: Collection[str]) -> Iterator[Texts]:
    """Yield a file some rows at a time, as texts under our names; of JSON and Parquet the wanted columns.

    Raises: InputError: the file is cut, is no table, or has two columns of one name.
    """
    content = file.content()
    if content.startswith(MARKS):
        content = utf8(file.label, content)
    if content.startswith(_PARQUET):
        yield from _parquet(file, content, wanted)
    elif content.lstrip()[:1] in (b"{", b"["):
        yield from _json(file, utf8(file.label, content), wanted)
    else:
        for texts in read_parts(file, content, Everything()):
            names = [folded(each) for each in texts.frame.columns]
            twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
            if twice is not None:
                raise InputError(
                    f"{texts.header}: found two columns for {twice}, expected each column once",
                    hint="export the table again",
                )
            frame = texts.frame.rename(dict(zip(texts.frame.columns, names, strict=True)))
            yield Texts(texts.label, frame, texts.lines, texts.broken, texts.is_line, origin=texts)


def listed(text: str) -> list[dict[str, object]] | None:
    """Return a list of objects from JSON, or as Python writes it; None where the text is neither."""
    try:
        value = json.loads(text, parse_float=str, parse_int=str)
    except ValueError:
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return value
    return None


def _parquet(file: SourceFile, content: bytes, wanted: Collection[str]) -> Iterator[Texts]:
    try:
        opened = parquet.ParquetFile(pa.BufferReader(content))
        names = [name for name in opened.schema_arrow.names if _is_wanted(folded(name), wanted)]
        first = 1
        for table in tables(opened, names):
            table.validate(full=True)
            frame = _flat_frame(table)
            lines = pl.int_range(first, first + frame.height, eager=True)
            yield Texts(file.label, frame, lines, (), is_line=False)
            first += frame.height
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{file.label}: found a damaged Parquet file ({str(error).partition(chr(10))[0]}), expected a whole one",
            hint="export the table again",
        ) from error


def _is_wanted(name: str, wanted: Collection[str]) -> bool:
    """Tell whether a column, or what is nested in it, is wanted."""
    return any(each == name or each.startswith(f"{name}_") for each in wanted)


def _flat_frame(table: pa.Table) -> pl.DataFrame:
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    frame = frame_of(table)
    return pl.DataFrame([_written(frame[name]).alias(folded(name)) for name in frame.columns])


def _written(column: pl.Series) -> pl.Series:
    """Return a column as texts; a list as JSON, with decimals that keep their digits."""
    if not isinstance(column.dtype, pl.List):
        return as_text(column)
    known: dict[str, str] = {}
    texts = []
    for value in column.to_list():
        raw = repr(value)
        texts.append(known.setdefault(raw, json.dumps(value, default=str, sort_keys=True)) if value else None)
    return pl.Series(column.name, texts, dtype=pl.String)


def _json(file: SourceFile, content: bytes, wanted: Collection[str]) -> Iterator[Texts]:
    """Yield JSON lines, or one array of objects, as texts."""
    is_array = content.lstrip().startswith(b"[")
    values = _elements(file.label, content) if is_array else _lines(content)
    rows: list[dict[str, str | None]] = []
    places: list[int] = []
    broken: list[Broken] = []

    def part() -> Texts:
        names = dict.fromkeys(name for row in rows for name in row)
        frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), infer_schema_length=None)
        return Texts(file.label, frame, pl.Series(places, dtype=pl.Int64), tuple(broken), is_line=not is_array)

    has_part = False
    for place, value in values:
        if isinstance(value, dict):
            rows.append({name: text for name, text in _flat(value) if name in wanted})
            places.append(place)
        else:
            broken.append(Broken(place, str(value)[:_SHOWN_CHARACTERS], "one object", record=as_json([value])))
        if len(rows) >= _PART_ROWS:
            yield part()
            has_part = True
            rows, places, broken = [], [], []
    if rows or broken or not has_part:
        yield part()


def _lines(content: bytes) -> Iterator[tuple[int, object]]:
    for line, each in enumerate(io.BytesIO(content), 1):
        if each.strip():
            try:
                yield line, _DECODER.decode(each.decode())
            except ValueError:
                yield line, f"text that is no JSON: {each.decode().strip()}"


def _elements(label: str, content: bytes) -> Iterator[tuple[int, object]]:
    """Yield the elements of an array one by one, which needs the whole text; BigQuery writes no large one."""
    text = content.decode()
    at = _next(text, text.index("[") + 1)
    count = 0
    while not text.startswith("]", at):
        count += 1
        try:
            value, at = _DECODER.raw_decode(text, at)
        except ValueError as error:
            raise InputError(
                f"{label}: row {count}: found an array of JSON that is cut or damaged ({error}), expected a whole one",
                hint="export the table again, as JSON lines where it is large",
            ) from error
        yield count, value
        at = _next(text, at)


def _next(text: str, at: int) -> int:
    """Return where the next element begins, or the array ends."""
    found = _BETWEEN.match(text, at)
    return at if found is None else found.end()


def _flat(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for key, each in value.items():
        name = prefix + folded(key)
        if isinstance(each, dict):
            yield from _flat(each, f"{name}_")
        elif isinstance(each, list):
            yield name, json.dumps(each, sort_keys=True) if each else None
        else:
            yield name, None if each is None else str(each)
