"""A job's hour, divided among what limited it."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import to_gpu_seconds, to_milliseconds, to_seconds, weighted_mean
from ledger.names import BOTTLENECKS, HELD_IDLE_STATES, STATES
from ledger.tables import BottleneckHour, BottleneckMinute, JobGpuHour
from queries.graph import Input, rollup

_LIMITED_STATES: Final = ("underused", "productive")
_RUN: Final = ("hour_start", "cluster", "job_id", "restart_count", "submitted_at")
_HELD: Final = (*_RUN, "node", "gpu_uuid")
_LEDGERS: Final = ("idle", "throttled", "unknown")


@rollup()
def bottleneck_hour(
    hours: Annotated[
        dy.LazyFrame[JobGpuHour],
        Input(
            columns=(
                "hour_start",
                "cluster",
                "node",
                "gpu_uuid",
                "job_id",
                "restart_count",
                "submitted_at",
                "gpu_fraction",
                *(f"{state}_seconds" for state in STATES),
            )
        ),
    ],
    minutes: Annotated[
        dy.LazyFrame[BottleneckMinute],
        Input(
            columns=(
                "minute_start",
                "cluster",
                "node",
                "gpu_uuid",
                "job_id",
                "restart_count",
                "submitted_at",
                "gpu_allocated_seconds",
                "gpu_limited_seconds",
                "bottleneck",
                "runner_up",
                "idle_cause",
                "gpu_idle_seconds",
                "confidence_ratio",
            )
        ),
    ],
) -> dy.LazyFrame[BottleneckHour]:
    """Divide a job's GPU-seconds of one hour among the classes, to the last digit.

    The seconds are those of `job_gpu_hour`; the minutes say in which proportion the classes share what the ledger
    calls busy. On a device with one holder the minutes have the same sum and nothing is scaled.
    """
    by_class = minutes.with_columns(hour_start=pl.col("minute_start").dt.truncate("1h")).collect()
    held = hours.collect()
    seconds = _seconds(held, _weights(by_class))
    told = _told(by_class)
    joined = (
        seconds.lazy().join(told.lazy(), on=_RUN, how="left").with_columns(pl.col("confidence_ratio").fill_null(0.0))
    )
    return BottleneckHour.cast(joined.select(BottleneckHour.column_names()))


def _weights(minutes: pl.DataFrame) -> pl.DataFrame:
    """Return per device, job and class the busy time of the minutes, as whole units of a nanosecond."""
    units = (pl.col("gpu_limited_seconds") * 1_000_000_000).cast(pl.Int64)
    return (
        minutes.filter(pl.col("gpu_limited_seconds") > 0)
        .group_by(*_HELD, "bottleneck")
        .agg(units.sum().alias("weight"))
    )


def _seconds(held: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """Return per job and hour the exact GPU-seconds of each class."""
    in_ms = {state: to_milliseconds(f"{state}_seconds") for state in STATES}
    ledger = held.select(
        *_HELD,
        "gpu_fraction",
        idle=pl.sum_horizontal(in_ms[state] for state in HELD_IDLE_STATES),
        throttled=in_ms["throttled"],
        limited=pl.sum_horizontal(in_ms[state] for state in _LIMITED_STATES),
        total=pl.sum_horizontal(in_ms.values()),
    ).with_columns(unknown=pl.col("total") - pl.col("idle") - pl.col("throttled") - pl.col("limited"))
    divided = _divided(ledger, weights)
    parts = [
        *(ledger.select(*_RUN, "gpu_fraction", bottleneck=pl.lit(name), part=pl.col(name)) for name in _LEDGERS),
        divided.select(*_RUN, "gpu_fraction", "bottleneck", "part"),
    ]
    exact = to_gpu_seconds(to_seconds("part"), "gpu_fraction")
    long = pl.concat(parts).with_columns(exact.alias("part"))
    zero = pl.lit(0).cast(pl.Decimal(28, 9))
    return (
        long.group_by(_RUN)
        .agg(
            *(
                pl.col("part").filter(pl.col("bottleneck") == name).sum().alias(f"{name}_seconds")
                for name in BOTTLENECKS
            ),
            pl.col("part").sum().alias("gpu_allocated_seconds"),
        )
        .with_columns(pl.col(f"{name}_seconds").fill_null(zero) for name in BOTTLENECKS)
    )


def _divided(ledger: pl.DataFrame, weights: pl.DataFrame) -> pl.DataFrame:
    """Divide the busy milliseconds of each device and job among its classes by weight; the largest takes the rest.

    Busy time without any minute stays busy: `compute_other`, as in `bottleneck_minute`.
    """
    device = list(_HELD)
    # A weight in milliseconds: of an hour at most 3.6e6, so that its product with another stays far below 2^63.
    unit = (pl.col("gpu_fraction") * 1_000_000).cast(pl.Int64).clip(lower_bound=1)
    rows = (
        ledger.filter(pl.col("limited") > 0)
        .join(weights, on=device, how="left")
        .with_columns(pl.col("bottleneck").fill_null("compute_other"), pl.col("weight").fill_null(unit) // unit)
        .sort([*device, "weight", "bottleneck"], descending=[*[False] * len(device), True, False])
        .with_columns(part=pl.col("limited") * pl.col("weight") // pl.col("weight").sum().over(device))
    )
    rest = pl.col("limited") - pl.col("part").sum().over(device)
    is_largest = pl.int_range(pl.len()).over(device) == 0
    return rows.with_columns(part=pl.col("part") + pl.when(is_largest).then(rest).otherwise(0))


def _told(minutes: pl.DataFrame) -> pl.DataFrame:
    """Return per job and hour what a person is told beside the seconds."""
    keys = list(_RUN)
    return (
        minutes.group_by(keys)
        .agg(weighted_mean("confidence_ratio", "gpu_allocated_seconds").alias("confidence_ratio"))
        .join(_most(minutes, keys, "idle_cause", "gpu_idle_seconds"), on=keys, how="left")
        .join(_most(minutes, keys, "runner_up", "gpu_limited_seconds"), on=keys, how="left")
    )


def _most(minutes: pl.DataFrame, keys: list[str], word: str, weight: str) -> pl.DataFrame:
    """Return the word that stands behind the most GPU-seconds; ties by name."""
    return (
        minutes.filter(pl.col(word).is_not_null())
        .group_by([*keys, word])
        .agg(pl.col(weight).sum())
        .sort([*keys, weight, word], descending=[*[False] * len(keys), True, False])
        .group_by(keys, maintain_order=True)
        .agg(pl.col(word).first())
    )
