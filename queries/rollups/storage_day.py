"""How full and how busy each file system and block device was on each day."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import per, to_milliseconds, to_seconds, total
from ledger.tables import StorageDay, StorageDeviceHour
from queries.graph import Input, rollup

_KEY: Final = ("day", "cluster", "node", "mount_point", "device")


@rollup()
def storage_day(
    hours: Annotated[dy.LazyFrame[StorageDeviceHour], Input()],
) -> dy.LazyFrame[StorageDay]:
    """Sum the hours of a day, and keep its fullest moment.

    A block device has no size of its own here and a file system no active time: those columns are null.
    A mean latency is the time of all reads against their number, not the mean of means.
    """
    days = hours.with_columns(pl.col("hour_start").dt.date().alias("day")).group_by(_KEY)
    active_ms, observed_ms = pl.col("io_active_seconds").sum() * 1000, to_milliseconds("io_observed_seconds").sum()
    rows = days.agg(
        _last("filesystem_type"),
        _last("capacity_bytes"),
        pl.col("used_bytes").max(),
        total("read_bytes"),
        total("written_bytes"),
        per(pl.col("timed_read_seconds").sum(), pl.col("timed_read_count").sum()).alias("read_latency_seconds"),
        # The counter ticks at its own pace and may run a tick ahead of the clock.
        per(active_ms, observed_ms).clip(upper_bound=1.0).alias("io_active_ratio"),
        pl.col("unresponsive_count").sum(),
        to_seconds(to_milliseconds("observed_seconds").sum()).alias("observed_seconds"),
    )
    return StorageDay.cast(rows.select(StorageDay.column_names()))


def _last(column: str) -> pl.Expr:
    """Return the latest value that is known."""
    return pl.col(column).sort_by("hour_start").drop_nulls().last()
