"""Rows of Google's billing export, however it left BigQuery: CSV, JSON lines, or Parquet with nested values.

Nested values become columns such as `usage_amount`; lists, such as credits and labels, become JSON.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from typing import Final

import polars as pl
import pyarrow as pa
from pyarrow import parquet

from collectors.billing._source import SourceFile
from collectors.billing._texts import Broken, Texts, read_texts
from collectors.billing._typed import as_text
from ledger.errors import InputError

_PARQUET: Final = b"PAR1"
_SIGNS: Final = str.maketrans(". -", "___")
_TELLING: Final = frozenset({"billing_account_id", "usage_start_time", "cost", "currency"})
_SHOWN_CHARACTERS: Final = 60


def folded(name: str) -> str:
    """Return a column's name as we call it: `usage.amount` and `usage_amount` are one."""
    return name.strip().casefold().translate(_SIGNS)


def is_export(columns: tuple[str, ...], start: bytes) -> bool:
    """Tell whether a file is a usage export of Google, by its columns or the keys of its first object."""
    if start.lstrip()[:1] in (b"{", b"["):
        return all(f'"{name}"'.encode() in start for name in _TELLING) and b'"service' in start
    names = {folded(each) for each in columns}
    has_service = any(each == "service" or each.startswith("service_") for each in names)
    return names >= _TELLING and has_service and bool({"invoice", "invoice_month", "credits"} & names)


def rows_of(file: SourceFile) -> Texts:
    """Return a file's rows as texts under our names.

    Raises: InputError: the file is cut, or is no table.
    """
    content = file.content()
    if content.startswith(_PARQUET):
        return _parquet(file, content)
    if content.lstrip()[:1] in (b"{", b"["):
        return _json(file, content)
    texts = read_texts(file, content)
    frame = texts.frame.rename(folded)
    return Texts(texts.label, frame, texts.lines, texts.broken, texts.is_line)


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


def _parquet(file: SourceFile, content: bytes) -> Texts:
    try:
        table = parquet.read_table(pa.BufferReader(content))
        table.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{file.label}: found a damaged Parquet file ({str(error).partition(chr(10))[0]}), expected a whole one",
            hint="export the table again",
        ) from error
    while any(pa.types.is_struct(field.type) for field in table.schema):
        table = table.flatten()
    frame = pl.from_arrow(table.combine_chunks())
    if not isinstance(frame, pl.DataFrame):
        raise TypeError("a table of Arrow did not become a frame")
    columns = [_written(frame[name]).alias(folded(name)) for name in frame.columns]
    return Texts(file.label, pl.DataFrame(columns), pl.int_range(1, frame.height + 1, eager=True), (), is_line=False)


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


def _json(file: SourceFile, content: bytes) -> Texts:
    """Return JSON lines, or one array of objects, as texts."""
    rows: list[dict[str, str | None]] = []
    lines: list[int] = []
    broken: list[Broken] = []
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{file.label}: found bytes that are no UTF-8 text at byte {error.start}") from error
    for line, value in _values(text):
        if isinstance(value, dict):
            rows.append(dict(_flat(value)))
            lines.append(line)
        else:
            broken.append(Broken(line, str(value)[:_SHOWN_CHARACTERS], "one object"))
    names = list(dict.fromkeys(name for row in rows for name in row))
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), infer_schema_length=None)
    return Texts(file.label, frame, pl.Series(lines, dtype=pl.Int64), tuple(broken), is_line=True)


def _values(text: str) -> Iterator[tuple[int, object]]:
    if text.lstrip().startswith("["):
        try:
            whole = json.loads(text, parse_float=str, parse_int=str)
        except ValueError as error:
            yield 1, f"text that is no JSON ({error})"
            return
        yield from enumerate(whole, 1)
        return
    for line, each in enumerate(text.splitlines(), 1):
        if each.strip():
            try:
                yield line, json.loads(each, parse_float=str, parse_int=str)
            except ValueError:
                yield line, f"text that is no JSON: {each}"


def _flat(value: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str | None]]:
    for key, each in value.items():
        name = prefix + folded(key)
        if isinstance(each, dict):
            yield from _flat(each, f"{name}_")
        elif isinstance(each, list):
            yield name, json.dumps(each, sort_keys=True) if each else None
        else:
            yield name, None if each is None else str(each)
