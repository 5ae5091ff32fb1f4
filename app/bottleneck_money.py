"""What each cause of slowness costs: a job's cost, divided by its GPU time in each class."""

import polars as pl

from app import sums
from ledger import money

_RUN = ("cluster", "job_id", "submitted_at", "restart_count")


def with_cost(classes: pl.DataFrame) -> pl.DataFrame:
    """Return the answer to `bottleneck_jobs` with `cost`: the job's cost apportioned by GPU-seconds, exactly.

    Grain: job run, class, currency. Nulls: `cost` is null where no price of the job is known.
    """
    if classes.is_empty():
        return classes.with_columns(cost=pl.lit(None, money.MONEY))
    known = classes.filter(pl.col("billing_currency").is_not_null())
    unknown = classes.filter(pl.col("billing_currency").is_null()).with_columns(cost=pl.lit(None, money.MONEY))
    if known.is_empty():
        return unknown
    key = [*_RUN, "billing_currency"]
    amounts = known.select(*key, cost="job_cost").unique(key, maintain_order=True)
    leaves = known.with_columns(_weight=(pl.col("gpu_seconds").cast(pl.Float64) * 1000).round().cast(pl.Int64))
    parts = money.apportion(amounts, leaves, by=key, weight="_weight", tie=["bottleneck"], columns=["cost"]).parts
    return pl.concat([parts.drop("_weight"), unknown], how="diagonal")


def by_class(classes: pl.DataFrame) -> pl.DataFrame:
    """Return GPU-hours and cost by class, the most GPU time first; grain: class, currency."""
    hours = (
        classes.unique([*_RUN, "bottleneck"])
        .group_by("bottleneck")
        .agg(gpu_hours=pl.col("gpu_seconds").cast(pl.Float64).sum() / 3600)
    )
    currency = sums.main_currency(classes, "cost")
    costs = sums.grouped(classes.filter(pl.col("billing_currency") == currency), ["bottleneck"], "cost")
    return hours.join(costs, on="bottleneck", how="left").sort("gpu_hours", descending=True)
