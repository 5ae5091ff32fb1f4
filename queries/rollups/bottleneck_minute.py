"""What limited each device of each job, minute by minute."""

from datetime import timedelta
from typing import Annotated

import dataframely as dy
import polars as pl

from ledger.expressions import to_gpu_seconds, to_seconds
from ledger.names import HELD_IDLE_STATES
from ledger.tables import BottleneckMinute, Gpu, GpuMinute, GpuStateInterval, JobGpu
from queries.graph import Input, Span, rollup
from queries.rollups import _bottleneck_rules as rules

_DEVICE = ("cluster", "node", "gpu_uuid")
_RUN = ("job_id", "restart_count", "submitted_at")
_WINDOW = timedelta(minutes=rules.STRAGGLER_MINUTES)
_LIMITED_STATES = ("underused", "productive")
_WORKING = 0.1

_EVIDENCE = (
    "kernel_active_ratio",
    "graphics_active_ratio",
    "sm_active_ratio",
    "tensor_active_ratio",
    "dram_active_ratio",
    "power_watts",
    "power_limit_watts",
    "power_capped_seconds",
    "sm_clock_ratio",
    "existed_seconds",
    "observed_seconds",
    "evidence_quality",
    "node_cpu_active_ratio",
    "node_cpu_iowait_ratio",
    "node_cpu_pressure_ratio",
    "node_io_pressure_ratio",
    "node_memory_pressure_ratio",
    "node_network_active_ratio",
    "node_job_count",
)


@rollup()
def bottleneck_minute(
    intervals: Annotated[
        dy.LazyFrame[GpuStateInterval],
        # Intervals are cut at clock hours: the one before holds the minutes that peers are compared over.
        Input(before=timedelta(hours=1), columns=(*_DEVICE, *_RUN, "started_at", "ended_at", "state", "holder_count")),
    ],
    minutes: Annotated[dy.LazyFrame[GpuMinute], Input(before=_WINDOW, columns=(*_DEVICE, "minute_start", *_EVIDENCE))],
    holdings: Annotated[
        dy.LazyFrame[JobGpu], Input(before=_WINDOW, columns=(*_DEVICE, *_RUN, "held_start", "held_end"))
    ],
    gpus: Annotated[
        dy.LazyFrame[Gpu], Input(before=_WINDOW, columns=(*_DEVICE, "exists_start", "exists_end", "gpu_fraction"))
    ],
    span: Span,
) -> dy.LazyFrame[BottleneckMinute]:
    """Judge each minute that a job held a device by the evidence of the device and its node.

    Idle, throttled and unknown time (faulty and orphaned with it) is what the ledger says; only the rest is divided
    among the other classes, and a minute has one of them. A device with several holders is divided evenly here;
    `bottleneck_hour` puts that right.

    Busy time whose holder nobody knows belongs to no job and is in `gpu_hour` alone.

    Nulls: `runner_up` where no other class is met, `idle_cause` where the node gives no reason.
    Source: the order and thresholds of `queries.rollups._bottleneck_rules`.
    """
    seen = intervals.filter(pl.col("ended_at") > span.start - _WINDOW).with_columns(
        pl.max_horizontal("started_at", pl.lit(span.start - _WINDOW)).alias("started_at")
    )
    judged = (
        _held(seen, holdings)
        .join(minutes, on=[*_DEVICE, "minute_start"], how="left")
        .with_columns(*rules.measures())
        .with_columns(rules.active())
        .pipe(_with_peers)
        .filter(pl.col("minute_start").is_between(span.start, span.end, closed="left"))
        .pipe(_with_fraction, gpus)
        .with_columns(each.score.alias(rules.score_name(each)) for each in rules.CLASSES)
        .with_columns(limited=rules.winner())
        .with_columns(bottleneck=_named())
        .with_columns(runner_up=rules.runner_up("limited"))
    )
    return BottleneckMinute.cast(judged.select(_columns()))


def _held(intervals: pl.LazyFrame, holdings: pl.LazyFrame) -> pl.LazyFrame:
    """Return, per minute, device and holder, the milliseconds of idle, throttled, unknown and other time."""
    held = intervals.filter(pl.col("job_id") != "")
    holder_count = pl.col("holder_count").fill_null(1)
    alone = held.filter(holder_count <= 1).with_columns(place=pl.lit(0, pl.Int64), holders=pl.lit(1, pl.Int64))
    shared = _shared(held.filter(holder_count > 1), holdings)
    columns = [*_DEVICE, *_RUN, "started_at", "ended_at", "state", "place", "holders"]
    pieces = pl.concat([alone.select(columns), shared.select(columns)])
    return (
        _by_minute(pieces)
        .group_by([*_DEVICE, *_RUN, "minute_start"])
        .agg(
            pl.col("part_ms").filter(pl.col("state").is_in(HELD_IDLE_STATES)).sum().alias("idle_ms"),
            pl.col("part_ms").filter(pl.col("state") == "held_idle").sum().alias("waiting_ms"),
            pl.col("part_ms").filter(pl.col("state") == "throttled").sum().alias("throttled_ms"),
            pl.col("part_ms").filter(pl.col("state").is_in(_LIMITED_STATES)).sum().alias("limited_ms"),
            pl.col("part_ms").sum().alias("held_ms"),
            pl.col("holders").max().alias("holder_count"),
        )
    )


def _shared(intervals: pl.LazyFrame, holdings: pl.LazyFrame) -> pl.LazyFrame:
    """Return one row per holder of each interval that several jobs share."""
    holder = ["started_at", *_DEVICE]
    return (
        intervals.drop("restart_count", "submitted_at")
        .with_columns(pl.col("job_id").str.split(",").alias("job_ids"))
        .drop("job_id")
        .explode("job_ids", empty_as_null=True, keep_nulls=True)
        .rename({"job_ids": "job_id"})
        .join(holdings, on=[*_DEVICE, "job_id"], how="inner")
        .filter(
            (pl.col("held_start") < pl.col("ended_at"))
            & (pl.col("held_end").is_null() | (pl.col("held_end") > pl.col("started_at")))
        )
        .sort([*holder, *_RUN])
        .with_columns(
            place=pl.int_range(pl.len(), dtype=pl.Int64).over(holder),
            holders=pl.len().over(holder).cast(pl.Int64),
        )
    )


def _by_minute(pieces: pl.LazyFrame) -> pl.LazyFrame:
    """Cut intervals at clock minutes and give each holder its whole milliseconds; the first ones take the rest."""
    first = pl.col("started_at").dt.truncate("1m")
    last = (pl.col("ended_at") - pl.duration(microseconds=1)).dt.truncate("1m")
    cut = pieces.with_columns(pl.datetime_ranges(first, last, "1m").alias("minute_start")).explode(
        "minute_start", empty_as_null=False, keep_nulls=False
    )
    begin = pl.max_horizontal("started_at", "minute_start")
    end = pl.min_horizontal("ended_at", pl.col("minute_start") + pl.duration(minutes=1))
    whole = (end - begin).dt.total_milliseconds()
    part = whole // pl.col("holders") + (pl.col("place") < whole % pl.col("holders")).cast(pl.Int64)
    return cut.with_columns(part_ms=part)


def _with_fraction(rows: pl.LazyFrame, gpus: pl.LazyFrame) -> pl.LazyFrame:
    """Add the part of a device that each row is about; a device that inventory does not know is whole."""
    known = gpus.select(*_DEVICE, "exists_start", "gpu_fraction").sort("exists_start")
    end = pl.col("minute_start") + pl.duration(seconds=59)
    return (
        rows.with_columns(minute_end=end)
        .sort("minute_end")
        .join_asof(known, left_on="minute_end", right_on="exists_start", by=list(_DEVICE), check_sortedness=False)
        .with_columns(pl.col("gpu_fraction").fill_null(pl.lit(1).cast(pl.Decimal(9, 6))))
    )


def _with_peers(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Compare each device with the other devices of its job in the same minute.

    A straggler lies 15 % or more below the median for five minutes in a row, of at least five devices.
    """
    strength = pl.coalesce("sm_active_ratio", "power_ratio")
    job = [*("cluster", *_RUN), "minute_start"]
    device = [*_DEVICE, *_RUN]
    lag = rules.STRAGGLER_MINUTES - 1
    is_slow = (pl.col("peer_ratio") < rules.STRAGGLER_BELOW) & (pl.col("job_device_count") > rules.PEERS)
    return (
        rows.with_columns(job_device_count=pl.len().over(job), median=strength.median().over(job))
        # Of devices that all idle, none is slower than the others.
        .with_columns(peer_ratio=pl.when(pl.col("median") > _WORKING).then(strength / pl.col("median")))
        .with_columns(peer_ratio=pl.when(pl.col("peer_ratio").is_not_null()).then(pl.min_horizontal("peer_ratio", 1.0)))
        .with_columns(is_slow=is_slow.fill_null(value=False).cast(pl.Int64))
        .sort([*device, "minute_start"])
        .with_columns(
            is_straggler=(
                (pl.col("is_slow").rolling_sum(lag + 1).over(device) == lag + 1)
                & (pl.col("minute_start").shift(lag).over(device) == pl.col("minute_start") - pl.duration(minutes=lag))
            )
        )
    )


def _named() -> pl.Expr:
    """Return the class of a minute; where nothing was left to judge, the larger of what the ledger says."""
    unknown = pl.col("held_ms") - pl.col("idle_ms") - pl.col("throttled_ms")
    return (
        pl.when(pl.col("limited_ms") > 0)
        .then("limited")
        .when(pl.col("idle_ms") >= pl.max_horizontal("throttled_ms", unknown))
        .then(pl.lit("idle"))
        .when(pl.col("throttled_ms") >= unknown)
        .then(pl.lit("throttled"))
        .otherwise(pl.lit("unknown"))
    )


def _columns() -> list[pl.Expr]:
    """Return the columns of the table, in its order."""
    unknown = pl.col("held_ms") - pl.col("idle_ms") - pl.col("throttled_ms") - pl.col("limited_ms")
    time = {
        "gpu_allocated_seconds": pl.col("held_ms"),
        "gpu_idle_seconds": pl.col("idle_ms"),
        "gpu_throttled_seconds": pl.col("throttled_ms"),
        "gpu_unknown_seconds": unknown,
        "gpu_limited_seconds": pl.col("limited_ms"),
    }
    evidence = [
        column
        for place, word in enumerate(("first", "second", "third"))
        for column in (
            rules.evidence_name("bottleneck", place).alias(f"{word}_evidence"),
            rules.evidence_value("bottleneck", place).alias(f"{word}_evidence_ratio"),
        )
    ]
    return [
        pl.col("minute_start", *_DEVICE, "job_id", "restart_count", "submitted_at"),
        *(to_gpu_seconds(to_seconds(value), "gpu_fraction").alias(name) for name, value in time.items()),
        pl.col("bottleneck"),
        pl.when(pl.col("limited_ms") > 0).then("runner_up").alias("runner_up"),
        pl.when(pl.col("waiting_ms") > 0).then(rules.idle_cause()).alias("idle_cause"),
        *evidence,
        rules.confidence("bottleneck").alias("confidence_ratio"),
    ]
