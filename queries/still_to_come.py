"""What a month will still cost: the newest forecast, less what the days that it is of have cost already."""

from datetime import datetime, timedelta
from typing import Final

import polars as pl

from ledger import money
from ledger.tables.partition import after, floor

COSTS: Final = ("forecast_cost", "lower_cost", "upper_cost")


def still_to_come(forecast: pl.DataFrame, used: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return the newest forecast of the present month's days, of those that have begun what is missing of them.

    Today is not over, and bills of the days before it lag: what usage of such a day has cost counts as spent, and what
    it was expected to cost beyond that will come. One that cost more than expected lacks nothing. Forecasts are of
    usage alone: a tax or a credit that was booked on such a day says nothing of what is missing of it.

    Shape, grain: `forecast` are rows of `forecast_day` of one scope, `used` has its `day`, `billing_currency` and the
    `cost` of its usage; one row per day and currency of `forecast`. Nulls: ends of an interval that nobody knows.
    """
    currency = "billing_currency"
    first = floor(now, "month").date()
    last = (after(floor(now, "month"), "month") - timedelta(days=1)).date()
    newest = forecast.filter(
        pl.col("made_on") == pl.col("made_on").max().over(currency), pl.col("day").is_between(first, last)
    )
    key = ["day", currency]
    so_far = money.summed(used.sort(key), by=key, columns=["cost"]).rename({"cost": "_used"})
    rows = newest.join(so_far, on=key, how="left", maintain_order="left")
    nothing = pl.lit(0, dtype=pl.Int128)
    missing = (
        pl.max_horizontal(money.to_units(each) - money.to_units("_used").fill_null(nothing), nothing) for each in COSTS
    )
    left = (
        pl.when(pl.col("day") > now.date()).then(each).when(pl.col(each).is_not_null()).then(money.from_units(units))
        for each, units in zip(COSTS, missing, strict=True)
    )
    return rows.with_columns(each.alias(name) for name, each in zip(COSTS, left, strict=True)).drop("_used")
