"""Through when a bill is complete, as far as its own charges tell it."""

from datetime import timedelta
from typing import Final

import polars as pl

LONGEST_DAY: Final = timedelta(hours=25)
"""The longest day: that on which clocks are set back."""


def is_of_a_day() -> pl.Expr:
    """Tell whether a charge is for a day at most: one for a month may stand on the bill from its first days on."""
    return pl.col("ChargePeriodEnd") - pl.col("ChargePeriodStart") <= LONGEST_DAY


def usage_end() -> pl.Expr:
    """Return the last end of usage that is charged by the hour or the day; null where none is."""
    return pl.col("ChargePeriodEnd").filter(_is_usage(), is_of_a_day()).max()


def long_usage_end() -> pl.Expr:
    """Return the last end of usage that is charged for longer than a day; null where none is."""
    return pl.col("ChargePeriodEnd").filter(_is_usage(), ~is_of_a_day()).max()


def complete_through(end: str, long_end: str, delivered_at: pl.Expr) -> pl.Expr:
    """Return through when a delivery is complete.

    Usage of a month that is not over when it is delivered says nothing; where there is no other, the bill is complete
    until then.
    """
    is_over = pl.col(long_end) <= delivered_at
    told = pl.max_horizontal(end, pl.when(is_over).then(long_end))
    return pl.coalesce(told, pl.when(~is_over).then(delivered_at))


def _is_usage() -> pl.Expr:
    return pl.col("ChargeCategory") == "Usage"
