"""A job's GPU time: seconds x fraction, of seconds that are its share already."""

from typing import Final

import polars as pl

from ledger.expressions import per, to_gpu_seconds
from ledger.names import HELD_IDLE_STATES
from queries.rollups._minutes import STATE_COLUMNS, column

COLUMNS: Final = (*STATE_COLUMNS, "gpu_fraction", "share_ratio", "held_seconds", "coverage_ratio", "energy_joules")
"""What is read of `job_gpu_hour` for it."""


def gpu_time() -> list[pl.Expr]:
    """Return what a device hour adds to a job's allocated, idle and productive GPU time."""
    held = pl.sum_horizontal(STATE_COLUMNS)
    idle = pl.sum_horizontal(column(state) for state in HELD_IDLE_STATES)
    return [
        to_gpu_seconds(held, "gpu_fraction").alias("gpu_allocated_seconds"),
        to_gpu_seconds(idle, "gpu_fraction").alias("gpu_idle_seconds"),
        to_gpu_seconds("productive_seconds", "gpu_fraction").alias("gpu_productive_seconds"),
    ]


def coverage() -> pl.Expr:
    """Return the share of the held time that samples cover, over several device hours."""
    held = pl.col("held_seconds").cast(pl.Float64)
    return per((pl.col("coverage_ratio") * held).sum(), held.sum()).clip(upper_bound=1)
