"""How full and how busy each file system and block device was in each hour."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import to_seconds, total
from ledger.tables import BlockDeviceSample, MountSample, StorageDeviceHour
from queries.counters import Limit, delta_name, deltas
from queries.graph import Input, Span, rollup

_LOOKBACK: Final = timedelta(minutes=15)
"""How far back the sample before the first of an hour may lie: three steps of a slow collector."""

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


@rollup(rows_at_once=100_000)
def storage_device_hour(
    devices: Annotated[
        dy.LazyFrame[BlockDeviceSample],
        Input(before=_LOOKBACK, columns=(*_NODE, "device", *_BLOCK_COUNTERS), apart=True),
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
            apart=True,
        ),
    ],
    span: Span,
) -> dy.LazyFrame[StorageDeviceHour]:
    """Sum the counters of the steps that end in an hour, and keep its fullest moment.

    A block device has no size of its own here and a file system no active time: those columns are null.
    """
    blocks = _steps(devices, _BLOCK_COUNTERS, ("cluster", "node", "device"), span)
    systems = _steps(
        mounts.with_columns(pl.col("device").fill_null("")),
        _MOUNT_COUNTERS,
        ("cluster", "node", "mount_point", "device"),
        span,
    )
    both = pl.concat([_device_hours(blocks), _mount_hours(systems)], how="diagonal_relaxed")
    return StorageDeviceHour.cast(both.select(StorageDeviceHour.column_names()))


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
        .with_columns(hour_start=pl.col("sampled_at").dt.truncate("1h"))
    )


def _traffic() -> list[pl.Expr]:
    """Return what both kinds have: bytes, reads with their time, and the time that steps cover."""
    both_known = pl.col("read_seconds_delta").is_not_null() & pl.col("read_count_delta").is_not_null()
    return [
        total("read_bytes_delta").alias("read_bytes"),
        total("written_bytes_delta").alias("written_bytes"),
        total(pl.when(both_known).then("read_count_delta")).alias("timed_read_count"),
        total(pl.when(both_known).then("read_seconds_delta")).alias("timed_read_seconds"),
        to_seconds(pl.col("elapsed_ms").sum()).alias("observed_seconds"),
    ]


def _device_hours(steps: pl.LazyFrame) -> pl.LazyFrame:
    """Return the hours of block devices."""
    known_ms = pl.col("elapsed_ms").filter(pl.col("io_seconds_delta").is_not_null()).sum()
    return steps.group_by("hour_start", "cluster", "node", "device").agg(
        *_traffic(),
        total("io_seconds_delta").alias("io_active_seconds"),
        to_seconds(known_ms).alias("io_observed_seconds"),
        pl.lit("").alias("mount_point"),
        pl.lit(None, pl.String).alias("filesystem_type"),
        pl.lit(None, pl.Float64).alias("capacity_bytes"),
        pl.lit(None, pl.Float64).alias("used_bytes"),
        pl.lit(0, pl.Int64).alias("unresponsive_count"),
    )


def _mount_hours(steps: pl.LazyFrame) -> pl.LazyFrame:
    """Return the hours of file systems."""
    return steps.group_by("hour_start", "cluster", "node", "mount_point", "device").agg(
        *_traffic(),
        pl.lit(None, pl.Float64).alias("io_active_seconds"),
        to_seconds(pl.lit(0, pl.Int64)).alias("io_observed_seconds"),
        _last("filesystem_type"),
        _last("capacity_bytes"),
        (pl.col("capacity_bytes") - pl.col("free_bytes")).max().alias("used_bytes"),
        pl.col("is_responding").eq(other=False).sum().cast(pl.Int64).alias("unresponsive_count"),
    )


def _last(column: str) -> pl.Expr:
    """Return the latest value that is known."""
    return pl.col(column).sort_by("sampled_at").drop_nulls().last()
