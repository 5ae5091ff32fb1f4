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
    """Return GPU-hours, their share and cost by class, the most GPU time first; a cost in each currency, never added.

    Shape: rows of `bottleneck`, `gpu_hours`, `limited_ratio`, and the columns of `cost_columns`.
    """
    hours = classes.group_by("bottleneck").agg(gpu_hours=gpu_time.LIMITED_GPU_HOURS.expression)
    ratios = measure.values(classes, tuple(gpu_time.LIMITED_RATIOS.values()))
    shares = {name: ratios[each.name] for name, each in gpu_time.LIMITED_RATIOS.items()}
    found = hours.with_columns(limited_ratio=pl.col("bottleneck").replace_strict(shares, return_dtype=pl.Float64))
    for currency, name in cost_columns(classes).items():
        costs = measure.grouped(sums.in_currency(classes, currency), ["bottleneck"], spending.LIMITED_COST)
        found = found.join(costs.rename({spending.LIMITED_COST.column: name}), on="bottleneck", how="left")
    return found.sort("gpu_hours", descending=True)


def cost_columns(classes: pl.DataFrame) -> dict[str, str]:
    """Return the column of each currency's cost by class, the largest currency first."""
    return {currency: f"cost_{currency}" for currency in measure.by_currency(classes, "cost")}
