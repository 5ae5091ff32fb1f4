"""Each clock hour of each run of a job, over its devices."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import total
from ledger.tables import JobGpuHour, JobHour
from queries.graph import Input, rollup
from queries.rollups._gpu_time import COLUMNS, coverage, gpu_time

_BY: Final = ("hour_start", "cluster", "job_id", "restart_count", "submitted_at")
_WHOSE: Final = ("user", "team", "model", "workload_kind")


@rollup()
def job_hour(
    devices: Annotated[dy.LazyFrame[JobGpuHour], Input(columns=(*_BY, "node", "gpu_uuid", *_WHOSE, *COLUMNS))],
) -> dy.LazyFrame[JobHour]:
    """Sum the device hours of each run; `gpu_count` counts parts of devices as what they are."""
    rows = (
        devices.sort(*_BY, "node", "gpu_uuid")
        .with_columns(gpu_time())
        .group_by(_BY)
        .agg(
            pl.col(_WHOSE).first(),
            pl.col("gpu_allocated_seconds", "gpu_idle_seconds", "gpu_productive_seconds").sum(),
            total("energy_joules").alias("energy_joules"),
            (pl.col("gpu_fraction").cast(pl.Float64) * pl.col("share_ratio")).sum().alias("gpu_count"),
            pl.col("node").n_unique().cast(pl.Int64).alias("node_count"),
            coverage().alias("coverage_ratio"),
        )
    )
    return JobHour.cast(rows.sort(_BY).select(JobHour.column_names()))
