"""How a device that several jobs hold at once is divided among them."""

from typing import Final

import polars as pl

from queries.rollups._timeline import HOUR

PROCESS_COLUMNS: Final = (
    "sampled_at",
    "cluster",
    "node",
    "gpu_uuid",
    "user",
    "job_id",
    "kernel_active_ratio",
    "step_seconds",
)
"""What is read of `gpu_process_sample`."""

HOLDER: Final = ("job_id", "submitted_at", "restart_count")

_PARTS: Final = 1_000_000
"""Requested shares are kept as millionths, and even shares as one of them."""

_ASSUMED_PACE: Final = 10.0


def weighed(held: pl.DataFrame, measured: pl.DataFrame) -> pl.DataFrame:
    """Return holders of pieces with `weight`, `weights` (of the piece), `share` and `is_estimated`.

    `held` has one row per piece and holder: piece, device, start, `HOLDER`, requested_share_ratio. The division is by
    measured process time of the hour, where any holder's processes were measured busy; else by request, where all
    say what they asked for; else even. A single holder has all of it, and that is no estimate.
    """
    rows = held.with_columns((pl.col("start") // HOUR).alias("hour")).join(
        measured, on=["device", "hour", "job_id"], how="left", maintain_order="left"
    )
    asked = (pl.col("requested_share_ratio") * _PARTS).round().cast(pl.Int64)
    rows = rows.with_columns(pl.col("measured").fill_null(0), asked.alias("asked"))
    per_piece = {name: pl.col(name).sum().over("piece") for name in ("measured", "asked")}
    alone = pl.len().over("piece") == 1
    is_measured = per_piece["measured"] > 0
    is_asked = pl.col("asked").is_not_null().all().over("piece") & (per_piece["asked"] > 0)
    weight = pl.when(alone).then(1).when(is_measured).then("measured").when(is_asked).then("asked").otherwise(1)
    return (
        rows.with_columns(weight.alias("weight"), (~alone & ~is_measured).alias("is_estimated"))
        .with_columns(pl.col("weight").sum().over("piece").alias("weights"))
        .with_columns((pl.col("weight") / pl.col("weights")).alias("share"))
        .drop("hour", "measured", "asked")
    )


def process_time(processes: pl.DataFrame, devices: pl.DataFrame) -> pl.DataFrame:
    """Return the time in which kernels of a job's processes ran: device, hour, job_id, measured (milliseconds)."""
    busy = (pl.col("kernel_active_ratio") * pl.col("step_seconds").fill_null(_ASSUMED_PACE) * 1000).round()
    rows = processes.filter((pl.col("job_id") != "") & pl.col("kernel_active_ratio").is_not_null())
    return (
        rows.join(devices, on=["cluster", "node", "gpu_uuid"])
        .group_by("device", (pl.col("sampled_at").dt.timestamp("ms") // HOUR).alias("hour"), "job_id")
        .agg(busy.cast(pl.Int64).sum().alias("measured"))
    )


def divided(rows: pl.DataFrame, amount: str, by: str) -> pl.DataFrame:
    """Return rows with `part`: each group's whole amount divided by weight, exactly.

    All are rounded down; what is left goes to the largest weight, of equal ones to the first by key.
    """
    floor = pl.col(amount) * pl.col("weight") // pl.col("weights")
    ordered = rows.sort(by, "weight", *HOLDER, descending=[False, True, False, False, False]).with_columns(
        floor.alias("part")
    )
    left = pl.col(amount) - pl.col("part").sum().over(by)
    largest = pl.col(by).ne_missing(pl.col(by).shift(1))
    return ordered.with_columns(pl.when(largest).then(pl.col("part") + left).otherwise("part").alias("part"))
