"""Faults that are put on purpose into what is read: a column that says something else, a table that is not there."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import polars as pl

LAST_UNIT = pl.lit(Decimal("1e-18"), dtype=pl.Decimal(38, 18))
"""The last of eighteen decimals."""

Tables = dict[str, pl.DataFrame]
Fault = Callable[[Tables], Tables]
Reading = Callable[[pl.DataFrame], pl.DataFrame]
"""A fault in one table."""


def as_read(frame: pl.DataFrame, **columns: Any) -> pl.DataFrame:
    """Return rows with other values in columns, which keep their types: an expression, or one value for all rows."""
    return frame.with_columns(
        (value if isinstance(value, pl.Expr) else pl.lit(value)).cast(frame.schema[name]).alias(name)
        for name, value in columns.items()
    )


def reading(**columns: Any) -> Reading:
    """Return a fault that reads columns as something else."""
    return lambda rows: as_read(rows, **columns)


def only(where: pl.Expr) -> Reading:
    """Return a fault that reads some rows only."""
    return lambda rows: rows.filter(where)


def read_as(table: str, **columns: Any) -> Fault:
    """Return a fault that reads columns of a table as something else."""
    return lambda made: made | {table: as_read(made[table], **columns)}


def read_where(table: str, where: pl.Expr) -> Fault:
    """Return a fault that reads some rows of a table only."""
    return lambda made: made | {table: made[table].filter(where)}


def not_read(table: str) -> Fault:
    """Return a fault that reads no row of a table."""
    return lambda made: made | {table: made[table].clear()}


def changed(rows: pl.DataFrame, place: int, **columns: pl.Expr) -> pl.DataFrame:
    """Return rows with one of them changed."""
    here = pl.int_range(pl.len()) == place
    return rows.with_columns(
        pl.when(here).then(value.cast(rows.schema[name])).otherwise(pl.col(name)).alias(name)
        for name, value in columns.items()
    )


def as_it_is(made: Tables) -> Tables:
    """Return what is read, without a fault."""
    return made
