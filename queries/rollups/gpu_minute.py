"""What each GPU did in each minute."""

from datetime import datetime
from typing import Annotated

import dataframely as dy
import polars as pl

from ledger.expressions import to_seconds
from ledger.tables import GpuMinute, GpuSample
from queries.graph import Input, Span, rollup
from queries.rollups._activity import COLUMNS, activity_minutes
from queries.rollups._steps import LONGEST_STEP, LOOKBACK
from queries.rollups._timeline import DEVICE, MINUTE, instant, milliseconds, numbered


@rollup(rows_at_once=1_200_000)
def gpu_minute(
    samples: Annotated[
        dy.LazyFrame[GpuSample], Input(before=LOOKBACK, after=LONGEST_STEP, columns=COLUMNS, coded=DEVICE, apart=True)
    ],
    span: Span,
) -> dy.LazyFrame[GpuMinute]:
    """Reduce a GPU's samples to minutes.

    Means are weighted by the time of the steps, counters are spread over their step. A minute that no step touches
    has no row: what a device's state was then, `gpu_state_interval` says.
    """
    rows = samples.collect()
    devices = numbered(rows)
    if devices.is_empty():
        return GpuMinute.create_empty(lazy=True)
    minutes = activity_minutes(rows, devices, (_minute(span.start), _minute(span.end)))
    named = minutes.with_columns(devices.get_column(name).gather(minutes.get_column("device")) for name in DEVICE)
    return GpuMinute.cast(named.lazy().select(_columns()))


def _minute(at: datetime) -> int:
    """Return the number of the minute that begins at an instant, or of the first one after it."""
    return -(-milliseconds(at) // MINUTE)


def _columns() -> list[pl.Expr]:
    """Return minutes under the names of the table."""
    given = {
        "minute_start": instant(pl.col("minute") * MINUTE),
        "observed_seconds": to_seconds("part"),
        "power_capped_seconds": to_seconds("power_capped"),
        "pcie_bytes_per_second": pl.col("pcie"),
        "nvlink_bytes_per_second": pl.col("nvlink"),
    }
    return [given.get(name, pl.col(name)).alias(name) for name in GpuMinute.column_names()]
