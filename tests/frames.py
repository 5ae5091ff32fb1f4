"""Frames of plain rows in the types of a table, and whether they fit it: made cheap, since thousands of cases ask."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import Any

import dataframely as dy
import polars as pl

from ledger.frames import dtypes


@cache
def empty(schema: type[dy.Schema]) -> pl.DataFrame:
    """Return a table without rows."""
    return pl.DataFrame(schema=dtypes(schema))


def frame(schema: type[dy.Schema], rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows as a frame of a table; what they leave out is null, and what the table does not know is left out."""
    if not rows:
        return empty(schema)
    named = {name for row in rows for name in row}
    return pl.DataFrame(
        pl.Series(name, [_exact(row.get(name), dtype) for row in rows], dtype=dtype)
        if name in named
        else pl.Series(name, [None], dtype=dtype).new_from_index(0, len(rows))
        for name, dtype in dtypes(schema).items()
    )


def _exact(value: Any, dtype: pl.DataType) -> Any:
    """Return a value; a whole number among decimals as one of them."""
    return Decimal(value) if isinstance(value, int) and dtype.is_decimal() else value


@cache
def _rules(schema: type[dy.Schema]) -> tuple[pl.Expr, ...]:
    """Return the schema's own rules, each as one answer for all rows; it makes them anew for each validation itself."""
    rules = schema._validation_rules(with_cast=False)
    return tuple(rule.expr.fill_null(value=True).all().alias(name) for name, rule in rules.items())


def validated(schema: type[dy.Schema], given: pl.DataFrame) -> pl.DataFrame:
    """Return a frame that fits its table.

    Raises: dataframely's errors, with the rules that are broken and by which rows, where it does not.
    """
    if list(given.schema.items()) == list(dtypes(schema).items()) and all(given.select(_rules(schema)).row(0)):
        return given
    return schema.validate(given)
