"""How full and how busy each file system and block device was on each day."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import per, to_seconds, total
from ledger.tables import BlockDeviceSample, MountSample, StorageDay
from queries.counters import Limit, delta_name, deltas
from queries.graph import Input, Span, rollup

_LOOKBACK: Final = timedelta(minutes=15)
"""How far back the sample before the first of a day may lie: three steps of a slow collector."""

_BLOCK_COUNTERS: Final = {
    "read_bytes_total": Limit(),
    "written_bytes_total": Limit(),
    "read_count_total": Limit(),
    # The kernel counts these milliseconds in 32 bits.
    "read_seconds_total": Limit(width=32, scale=0.001),
    "io_seconds_total": Limit(width=32, scale=0.001),
}
_MOUNT_COUNTERS: Final = {
    "read_bytes_total": Limit(),
    "written_bytes_total": Limit(),
    "read_count_total": Limit(),
    "read_seconds_total": Limit(),
}
_NODE: Final = ("sampled_at", "cluster", "node", "boot_id", "step_seconds")


@rollup()
def storage_day(
    devices: Annotated[
        dy.LazyFrame[BlockDeviceSample], Input(before=_LOOKBACK, columns=(*_NODE, "device", *_BLOCK_COUNTERS))
    ],
    mounts: Annotated[
        dy.LazyFrame[MountSample],
        Input(
            before=_LOOKBACK,
            columns=(
                *_NODE,
                *("mount_point", "device", "filesystem_type", "is_responding", "capacity_bytes", "free_bytes"),
                *_MOUNT_COUNTERS,
            ),
        ),
    ],
    span: Span,
) -> dy.LazyFrame[StorageDay]:
    """Sum the counters of the steps that end in a day, and keep its fullest moment.

    A block device has no size of its own here and a file system no active time: those columns are null.
    A mean latency is the time of all reads against their number, not the mean of means.
    """
    blocks = _steps(devices, _BLOCK_COUNTERS, ("cluster", "node", "device"), span)
    systems = _steps(
        mounts.with_columns(pl.col("device").fill_null("")),
        _MOUNT_COUNTERS,
        ("cluster", "node", "mount_point", "device"),
        span,
    )
    both = pl.concat([_device_days(blocks), _mount_days(systems)], how="diagonal_relaxed")
    return StorageDay.cast(both.select(StorageDay.column_names()))


def _steps(samples: pl.LazyFrame, counters: Mapping[str, Limit], by: tuple[str, ...], span: Span) -> pl.LazyFrame:
    """Return the samples of the span with what their counters grew by; gaps and far samples add nothing."""
    is_step = (
        pl.col("elapsed_ms").is_not_null()
        & (pl.col("elapsed_ms") <= _LOOKBACK // timedelta(milliseconds=1))
        & ~pl.col("is_gap").fill_null(value=True)
    )
    return (
        deltas(samples, list(counters), by=by, limits=counters)
        .with_columns(
            pl.when(is_step).then(name).alias(name) for name in ("elapsed_ms", *(delta_name(each) for each in counters))
        )
        .filter(pl.col("sampled_at").is_between(span.start, span.end, closed="left"))
        .with_columns(day=pl.col("sampled_at").dt.date())
    )


def _traffic() -> list[pl.Expr]:
    """Return what both kinds have: bytes, the mean time of a read, and the time that steps cover."""
    both_known = pl.col("read_seconds_delta").is_not_null() & pl.col("read_count_delta").is_not_null()
    latency = per(
        pl.col("read_seconds_delta").filter(both_known).sum(), pl.col("read_count_delta").filter(both_known).sum()
    )
    return [
        total("read_bytes_delta").alias("read_bytes"),
        total("written_bytes_delta").alias("written_bytes"),
        latency.alias("read_latency_seconds"),
        to_seconds(pl.col("elapsed_ms").sum()).alias("observed_seconds"),
    ]


def _device_days(steps: pl.LazyFrame) -> pl.LazyFrame:
    """Return the days of block devices."""
    known_ms = pl.col("elapsed_ms").filter(pl.col("io_seconds_delta").is_not_null()).sum()
    return steps.group_by("day", "cluster", "node", "device").agg(
        *_traffic(),
        # The counter ticks at its own pace and may run a tick ahead of the clock.
        (per(pl.col("io_seconds_delta").sum() * 1000, known_ms)).clip(upper_bound=1.0).alias("io_active_ratio"),
        pl.lit("").alias("mount_point"),
        pl.lit(None, pl.String).alias("filesystem_type"),
        pl.lit(None, pl.Float64).alias("capacity_bytes"),
        pl.lit(None, pl.Float64).alias("used_bytes"),
        pl.lit(0, pl.Int64).alias("unresponsive_count"),
    )


def _mount_days(steps: pl.LazyFrame) -> pl.LazyFrame:
    """Return the days of file systems."""
    return steps.group_by("day", "cluster", "node", "mount_point", "device").agg(
        *_traffic(),
        pl.lit(None, pl.Float64).alias("io_active_ratio"),
        _last("filesystem_type"),
        _last("capacity_bytes"),
        (pl.col("capacity_bytes") - pl.col("free_bytes")).max().alias("used_bytes"),
        pl.col("is_responding").eq(other=False).sum().cast(pl.Int64).alias("unresponsive_count"),
    )


def _last(column: str) -> pl.Expr:
    """Return the latest value that is known."""
    return pl.col(column).sort_by("sampled_at").drop_nulls().last()
