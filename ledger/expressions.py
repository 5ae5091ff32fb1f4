"""Polars expressions that keep null apart from zero, and seconds exact."""

from decimal import Decimal

import polars as pl

from ledger.tables.columns import FRACTION_SCALE, SECONDS_SCALE

_MILLISECOND = Decimal("0.001")


def total(column: str | pl.Expr) -> pl.Expr:
    """Return a sum that is null where nothing was measured, instead of Polars' 0."""
    expression = pl.col(column) if isinstance(column, str) else column
    return pl.when(expression.is_not_null().any()).then(expression.sum())


def per(numerator: str | pl.Expr, denominator: str | pl.Expr) -> pl.Expr:
    """Return a quotient as a float that is null where the denominator is 0 or null, instead of infinity."""
    top = pl.col(numerator) if isinstance(numerator, str) else numerator
    bottom = pl.col(denominator) if isinstance(denominator, str) else denominator
    return pl.when(bottom != 0).then(top.cast(pl.Float64) / bottom.cast(pl.Float64))


def divided(value: pl.Expr, by: float) -> pl.Expr:
    """Return a quotient by a constant, rounded once whatever the number of rows.

    Polars multiplies a column by the reciprocal of a literal and divides a single row: 49 / 49 is then 1 or a little
    less, and a partition computed alone would differ from the same one computed with others.
    """
    floats = value.cast(pl.Float64)
    return floats / (floats * 0 + by)


def weighted_mean(value: str, weight: str) -> pl.Expr:
    """Return the mean over rows where the value is known, weighted; null where it is known nowhere."""
    known = pl.when(pl.col(value).is_not_null()).then(pl.col(weight).cast(pl.Float64))
    return per((pl.col(value) * known).sum(), known.sum())


def to_seconds(milliseconds: str | pl.Expr) -> pl.Expr:
    """Return whole milliseconds as exact seconds, Decimal(18, 3)."""
    expression = pl.col(milliseconds) if isinstance(milliseconds, str) else milliseconds
    return (expression.cast(pl.Decimal(18, 0)) * pl.lit(_MILLISECOND)).cast(pl.Decimal(18, SECONDS_SCALE))


def to_milliseconds(seconds: str | pl.Expr) -> pl.Expr:
    """Return exact seconds as whole milliseconds."""
    expression = pl.col(seconds) if isinstance(seconds, str) else seconds
    return (expression * 1000).cast(pl.Int64)


def to_gpu_seconds(seconds: str | pl.Expr, fraction: str | pl.Expr) -> pl.Expr:
    """Return device seconds times the device's fraction, exact: Decimal(28, 9)."""
    top = pl.col(seconds) if isinstance(seconds, str) else seconds
    part = pl.col(fraction) if isinstance(fraction, str) else fraction
    # Polars keeps the larger scale of two factors and rounds the rest away: widen before multiplying.
    scale = SECONDS_SCALE + FRACTION_SCALE
    product = top.cast(pl.Decimal(38, scale)) * part.cast(pl.Decimal(9, FRACTION_SCALE))
    return product.cast(pl.Decimal(28, scale))
