"""Amounts as lengths to draw: the one way in which money becomes a float, which nobody adds up or states."""

from decimal import Decimal

import polars as pl


def length(amount: Decimal) -> float:
    """Return an amount as the number that a drawing takes."""
    return float(amount)


def lengths(amounts: pl.Series) -> list[float | None]:
    """Return a column of amounts as the numbers that a drawing takes."""
    return amounts.cast(pl.Float64).to_list()
