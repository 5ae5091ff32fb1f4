"""What a stretch of idleness cost: its part of the idle device time that each hour's allocation priced."""

from decimal import Decimal
from fractions import Fraction
from typing import Final

import polars as pl

from ledger import money
from queries.rollups._timeline import DEVICE

PRICED: Final = (
    *("hour_start", *DEVICE, "state", "job_id"),
    *("billing_currency", "is_estimated", "effective_cost"),
)
"""What is read of an allocation."""

_IDLE: Final = ("hour_start", *DEVICE, "state", "job_id")
_KEY: Final = (*_IDLE, "billing_currency")

# Divided by any number of holders up to sixteen it stays whole.
_SHARES: Final = 720_720


def incident_costs(pieces: pl.DataFrame, allocations: pl.DataFrame) -> pl.DataFrame:
    """Return what each run of idle pieces cost so far: run, effective_cost, billing_currency, is_estimated.

    Each hour's cost of a device's idle time in one state for one job is split over the pieces of that time exactly,
    by milliseconds; several holders count equally. Hours at the end that nothing has allocated yet are taken at the
    rate of the last one that is, as an estimate.

    Shape, grain: one row per run with a price. Of several currencies the one with the largest cost is told: amounts
    are never added across. Nulls: none; a run has no row where an hour before its last known one has no price.
    """
    timed = pieces.with_columns(
        pl.col("started_at").dt.truncate("1h").alias("hour_start"),
        (pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds().alias("milliseconds"),
    )
    hourly = _hourly(timed, allocations)
    runs = _known(timed, hourly)
    whole = money.summed(hourly, by=["run", "billing_currency"], columns=["effective_cost"])
    facts = hourly.group_by("run", "billing_currency").agg(pl.col("is_estimated").any())
    largest = (
        whole.join(facts, on=["run", "billing_currency"])
        .sort(["run", "effective_cost", "billing_currency"], descending=[False, True, False])
        .unique("run", keep="first", maintain_order=True)
        .join(runs, on="run")
    )
    last = money.summed(hourly, by=["run", "billing_currency", "hour_start"], columns=["effective_cost"]).rename(
        {"effective_cost": "last_cost", "hour_start": "last_hour"}
    )
    rows = largest.join(last, on=["run", "billing_currency", "last_hour"], how="left")
    return _extended(rows).select("run", "effective_cost", "billing_currency", "is_estimated")


def _hourly(timed: pl.DataFrame, allocations: pl.DataFrame) -> pl.DataFrame:
    """Return each run's cost by hour, state and currency."""
    known = allocations.filter(pl.col("effective_cost").is_not_null())
    priced = money.summed(known, by=_KEY, columns=["effective_cost"])
    estimated = known.group_by(_KEY).agg(pl.col("is_estimated").any())
    holders = pl.col("job_id").str.split(",")
    leaves = (
        timed.with_columns((pl.col("milliseconds") * _SHARES // holders.list.len()).alias("weight"), holders)
        .explode("job_id")
        .join(priced.select(_KEY), on=_IDLE)
    )
    parts = money.apportion(
        priced, leaves, by=_KEY, weight="weight", tie=["run", "started_at"], columns=["effective_cost"]
    ).parts
    return parts.join(estimated, on=_KEY).select(
        "run", "hour_start", "billing_currency", "effective_cost", "is_estimated"
    )


def _known(timed: pl.DataFrame, hourly: pl.DataFrame) -> pl.DataFrame:
    """Return runs whose hours all have a price up to some last one: that hour, its idle time, and what follows it."""
    hours = timed.group_by("run", "hour_start").agg(pl.col("milliseconds").sum())
    priced = hourly.select("run", "hour_start").unique()
    last = priced.group_by("run").agg(pl.col("hour_start").max().alias("last_hour"))
    seen = hours.join(priced.with_columns(pl.lit(value=True).alias("is_priced")), on=["run", "hour_start"], how="left")
    later = pl.col("hour_start") > pl.col("last_hour")
    runs = (
        seen.join(last, on="run")
        .group_by("run", "last_hour")
        .agg(
            (later | pl.col("is_priced").fill_null(value=False)).all().alias("is_known"),
            pl.col("milliseconds").filter(pl.col("hour_start") == pl.col("last_hour")).sum().alias("last_milliseconds"),
            pl.col("milliseconds").filter(later).sum().alias("later_milliseconds"),
        )
    )
    return runs.filter("is_known").drop("is_known")


def _extended(rows: pl.DataFrame) -> pl.DataFrame:
    """Add to each run what its unpriced end costs at the rate of its last priced hour."""
    more: list[Decimal] = []
    for row in rows.to_dicts():
        ratio = Fraction(row["later_milliseconds"], row["last_milliseconds"] or 1)
        more.append(money.add(row["effective_cost"], money.priced(row["last_cost"] or Decimal(0), ratio)))
    return rows.with_columns(
        pl.Series("effective_cost", more, dtype=money.MONEY),
        (pl.col("is_estimated") | (pl.col("later_milliseconds") > 0)).alias("is_estimated"),
    )
