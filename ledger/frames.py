"""Frames from plain values: what collectors, importers and agents yield, in the types of a table.

An integer in a column of instants is milliseconds since 1970. Text in ISO 8601 is read too; without an
offset it is UTC. Nothing is rounded: a value that does not fit becomes null here, and the door
(`ledger._door`) refuses its row in words.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation, localcontext
from functools import cache
from typing import Any, Final, cast

import dataframely as dy
import polars as pl

from ledger.errors import ContractError
from ledger.tables.partition import declared

Row = Mapping[str, object]
"""One plain row: column name to value."""

_EXACT_IN_FLOAT: Final = float(2**53)
_INT64_LIMIT: Final = float(2**63)
# The years 1 to 9999: what lies beyond them is no instant that Python could show.
_FIRST_MILLISECOND: Final = -62_135_596_800_000
_LAST_MILLISECOND: Final = 253_402_300_799_999
_MONEY_LIMIT: Final = Decimal(10**20)
_TRUTH: Final = {"true": True, "false": False, "1": True, "0": False}


@cache
def columns_of(schema: type[dy.Schema]) -> Mapping[str, dy.Column]:
    """Return a table's columns by name; the schema itself makes them anew each time it is asked."""
    return schema.columns()


def dtypes(schema: type[dy.Schema]) -> dict[str, pl.DataType]:
    """Return the types of a table's columns."""
    return {name: column.dtype for name, column in columns_of(schema).items()}


def shaped(frame: pl.DataFrame, schema: type[dy.Schema]) -> pl.DataFrame:
    """Return rows that came from the store in the columns and types of their table."""
    return frame.select(pl.col(name).cast(dtype) for name, dtype in dtypes(schema).items())


def to_frame(schema: type[dy.Schema], rows: Iterable[Row] | Mapping[str, Sequence[object]]) -> pl.DataFrame:
    """Return plain rows, or plain columns, as a frame that has every column of the table.

    Values that do not fit stay as they are, as text, so that the door can name them. Columns that the
    table does not know are kept for the door to count.
    Raises: ContractError: money that is a float, or that has more decimals than are kept.
    """
    columns = _columns(rows)
    height = max((len(values) for values in columns.values()), default=0)
    series = []
    for name, column in columns_of(schema).items():
        values = columns.pop(name, None)
        if values is None:
            series.append(pl.Series(name, [None] * height, dtype=column.dtype))
        else:
            series.append(_series(name, values, column, declared(schema).name))
    series += [_loose(name, values) for name, values in columns.items()]
    return pl.DataFrame(series)


def _columns(rows: Iterable[Row] | Mapping[str, Sequence[object]]) -> dict[str, Sequence[object]]:
    if isinstance(rows, Mapping):
        return dict(cast("Mapping[str, Sequence[object]]", rows))
    listed = list(rows)
    names = dict.fromkeys(name for row in listed for name in row)
    return {name: [row.get(name) for row in listed] for name in names}


def _series(name: str, values: Sequence[object], column: dy.Column, table: str) -> pl.Series:
    if (column.metadata or {}).get("kind") in {"money", "quantity"}:
        return pl.Series(name, [_exact(value, f"{table}: {name}") for value in values], dtype=column.dtype)
    kinds = {type(value) for value in values} - {type(None)}
    if not kinds:
        return pl.Series(name, values, dtype=column.dtype)
    is_float = isinstance(column, dy.Float64) and kinds <= {int, float}
    if len(kinds) == 1 or is_float:
        try:
            return pl.Series(name, values, dtype=pl.Float64 if is_float else None)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            return _loose(name, values)
    return _loose(name, values)


def _loose(name: str, values: Sequence[object]) -> pl.Series:
    """Return any values as text, null where there is none."""
    return pl.Series(name, [value if value is None else _text(value) for value in values], dtype=pl.String)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, default=str)
    return str(value)


def _exact(value: object, where: str) -> Decimal | None:
    """Return an amount unchanged, or refuse it."""
    if value is None:
        return None
    if isinstance(value, (float, bool)) or not isinstance(value, (Decimal, int, str)):
        raise ContractError(f"{where}: found {value!r}, expected money as Decimal or text, never as a float")
    try:
        amount = Decimal(value)
    except InvalidOperation as error:
        raise ContractError(f"{where}: found {value!r}, expected a number") from error
    if not amount.is_finite() or amount.copy_abs() >= _MONEY_LIMIT or _kept(amount, 18) != amount:
        raise ContractError(f"{where}: found {value!r}, expected at most 20 digits before and 18 after the point")
    return amount


def _kept(amount: Decimal, scale: int) -> Decimal:
    """Return an amount at a number of decimals; in more digits than the default of 28, which rounds in silence."""
    with localcontext(prec=80):
        return amount.quantize(Decimal(1).scaleb(-scale))


def typed(series: pl.Series, column: dy.Column, where: str) -> pl.Series:
    """Return values in the column's type; null where a value does not fit without a change.

    Raises: ContractError: money in another type than its own, at `where`.
    """
    if series.dtype == column.dtype:
        return series
    if series.dtype == pl.Null:
        return series.cast(column.dtype)
    if (column.metadata or {}).get("kind") == "money":
        raise ContractError(f"{where}: found {series.dtype}, expected {column.dtype}: money is never converted")
    return _CASTS[type(column)](series, column.dtype)


def _by_value(series: pl.Series, dtype: pl.DataType, read: Callable[[Any], object]) -> pl.Series:
    """Convert each distinct value in Python: exact, and slow only where values differ much."""

    def safe(value: object) -> object:
        try:
            return read(value)
        except (ValueError, ArithmeticError):
            return None

    known = {value: safe(value) for value in series.unique().to_list() if value is not None}
    return pl.Series(series.name, [known.get(value) for value in series.to_list()], dtype=dtype)


def _null(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    return pl.Series(series.name, [None] * len(series), dtype=dtype)


def _where(series: pl.Series, mask: pl.Series) -> pl.Series:
    """Return values where the mask holds, else null."""
    return series.zip_with(mask.fill_null(value=False), _null(series, series.dtype))


def _instant_of(value: str) -> datetime:
    at = datetime.fromisoformat(value.strip())
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _to_instant(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    kind = series.dtype
    if kind.is_float():
        series, kind = _to_integer(series, pl.Int64()), pl.Int64()
    if kind.is_integer():
        whole = series.cast(pl.Int64, strict=False)
        low, high = whole.min(), whole.max()
        if isinstance(low, int) and isinstance(high, int) and (low < _FIRST_MILLISECOND or high > _LAST_MILLISECOND):
            whole = _where(whole, (whole >= _FIRST_MILLISECOND) & (whole <= _LAST_MILLISECOND))
        return whole.cast(pl.Datetime("ms", "UTC")).cast(dtype, strict=False)
    if isinstance(kind, pl.Datetime):
        aware = series.dt.replace_time_zone("UTC") if kind.time_zone is None else series.dt.convert_time_zone("UTC")
        return aware.cast(dtype, strict=False)
    if kind == pl.Date:
        return series.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return _by_value(series, dtype, _instant_of) if kind == pl.String else _null(series, dtype)


def _to_day(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    if isinstance(series.dtype, pl.Datetime):
        instants = _to_instant(series, pl.Datetime("us", "UTC"))
        return _where(instants.dt.date(), instants.dt.truncate("1d") == instants)
    return _by_value(series, dtype, date.fromisoformat) if series.dtype == pl.String else _null(series, dtype)


def _to_text(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    if series.dtype.is_integer() or series.dtype in (pl.Categorical, pl.Enum, pl.Boolean):
        return series.cast(dtype)
    return _by_value(series, dtype, str) if series.dtype.is_float() else _null(series, dtype)


def _to_integer(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    if series.dtype.is_float():
        fits = series.is_finite() & (series.floor() == series) & (series.abs() < _INT64_LIMIT)
        return _where(series, fits).cast(dtype, strict=False)
    if series.dtype.is_decimal():
        return _by_value(series, dtype, lambda value: int(value) if value == int(value) else None)
    if series.dtype.is_integer() or series.dtype in (pl.Boolean, pl.String):
        return series.cast(dtype, strict=False)
    return _null(series, dtype)


def _to_float(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    if series.dtype.is_numeric() or series.dtype == pl.String:
        return series.cast(dtype, strict=False)
    return _null(series, dtype)


def _to_truth(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    if series.dtype.is_numeric() or series.dtype == pl.String:
        return _by_value(series, dtype, lambda value: _TRUTH.get(str(value).lower().removesuffix(".0")))
    return _null(series, dtype)


def _to_decimal(series: pl.Series, dtype: pl.DataType) -> pl.Series:
    decimal = cast("pl.Decimal", dtype)
    scale, limit = decimal.scale, Decimal(10) ** (decimal.precision - decimal.scale)

    def exact(value: object) -> Decimal | None:
        if isinstance(value, float):
            # A float counts as the shortest decimal that reads back as the same float.
            if not math.isfinite(value) or abs(value) >= _EXACT_IN_FLOAT:
                return None
            value = repr(value)
        amount = Decimal(cast("str", value))
        if not amount.is_finite() or amount.copy_abs() >= limit:
            return None
        kept = _kept(amount, scale)
        return kept if kept == amount else None

    if series.dtype.is_integer():
        return series.cast(dtype, strict=False)
    if series.dtype.is_numeric() or series.dtype == pl.String:
        return _by_value(series, dtype, exact)
    return _null(series, dtype)


_CASTS: Final[dict[type[dy.Column], Callable[[pl.Series, pl.DataType], pl.Series]]] = {
    dy.Datetime: _to_instant,
    dy.Date: _to_day,
    dy.String: _to_text,
    dy.Int64: _to_integer,
    dy.Float64: _to_float,
    dy.Bool: _to_truth,
    dy.Decimal: _to_decimal,
}
