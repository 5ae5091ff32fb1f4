"""What each cause of slowness costs: a job's cost, divided by its GPU time in each class."""

import polars as pl

from app import sums
from ledger import money
from queries import measure
from queries.measures import gpu_time, spending


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
    key = [*gpu_time.RUN, "billing_currency"]
    amounts = known.select(*key, cost="job_cost").unique(key, maintain_order=True)
    leaves = known.with_columns(_weight=(pl.col("gpu_seconds").cast(pl.Float64) * 1000).round().cast(pl.Int64))
    parts = money.apportion(amounts, leaves, by=key, weight="_weight", tie=["bottleneck"], columns=["cost"]).parts
    return pl.concat([parts.drop("_weight"), unknown], how="diagonal")


def by_class(classes: pl.DataFrame) -> pl.DataFrame:
    """Return GPU-hours, their share and cost by class, the most GPU time first; the cost is in the main currency.

    Shape: rows of `bottleneck`, `gpu_hours`, `limited_ratio`, `cost`.
    """
    hours = classes.group_by("bottleneck").agg(gpu_hours=gpu_time.LIMITED_GPU_HOURS.expression)
    ratios = measure.values(classes, tuple(gpu_time.LIMITED_RATIOS.values()))
    shares = {name: ratios[each.name] for name, each in gpu_time.LIMITED_RATIOS.items()}
    currency = sums.main_currency(classes, "cost")
    costs = measure.grouped(sums.in_currency(classes, currency), ["bottleneck"], spending.LIMITED_COST)
    return (
        hours.with_columns(limited_ratio=pl.col("bottleneck").replace_strict(shares, return_dtype=pl.Float64))
        .join(costs, on="bottleneck", how="left")
        .sort("gpu_hours", descending=True)
    )
