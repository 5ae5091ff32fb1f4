"""Who held each device in each stretch of its time, and in how many parts: one row per stretch and holder."""

from typing import Final

import polars as pl

_DEVICE: Final = ("cluster", "node", "gpu_uuid")
_RUN: Final = ("job_id", "restart_count", "submitted_at")
INTERVAL: Final = ("started_at", "ended_at", "state", "holder_count", "evidence_quality", "is_observed")
"""What is read of a stretch, beside whose it was."""


def holders(stretches: pl.DataFrame, holdings: pl.DataFrame, by_process: pl.DataFrame) -> pl.DataFrame:
    """Return one row per stretch and holder; `place` and `holders` say how a shared device is divided."""
    is_shared = pl.col("holder_count").fill_null(1) > 1
    # What processes alone say has no run: those are of `by_process`.
    is_alone = ~is_shared & (pl.col("job_id") != "") & pl.col("submitted_at").is_not_null()
    alone = stretches.filter(is_alone).with_columns(place=pl.lit(0, pl.Int64), holders=pl.lit(1, pl.Int64))
    parts = (alone, _shared(stretches.filter(is_shared), holdings), _processed(stretches, by_process))
    return pl.concat(part.select(*_DEVICE, *_RUN, *INTERVAL, "gpu_fraction", "place", "holders") for part in parts)


def _processed(stretches: pl.DataFrame, by_process: pl.DataFrame) -> pl.DataFrame:
    """Return one row per holder that processes name, and part of a stretch in which they do."""
    part = [*_DEVICE, "held_start"]
    rows = (
        by_process.sort(*part, *_RUN)
        .with_columns(
            place=pl.int_range(pl.len(), dtype=pl.Int64).over(part), holders=pl.len().over(part).cast(pl.Int64)
        )
        .sort("held_start")
    )
    of_stretch = stretches.drop(_RUN).sort("started_at")
    return rows.join_asof(
        of_stretch, left_on="held_start", right_on="started_at", by=list(_DEVICE), check_sortedness=False
    ).with_columns(started_at="held_start", ended_at="held_end")


def _shared(stretches: pl.DataFrame, holdings: pl.DataFrame) -> pl.DataFrame:
    """Return one row per holder of each stretch that several jobs share."""
    stretch = ["started_at", *_DEVICE]
    is_there = (pl.col("held_start") < pl.col("ended_at")) & (
        pl.col("held_end").is_null() | (pl.col("held_end") > pl.col("started_at"))
    )
    return (
        stretches.drop("restart_count", "submitted_at")
        .with_columns(pl.col("job_id").str.split(","))
        .explode("job_id", empty_as_null=True, keep_nulls=True)
        .join(holdings, on=[*_DEVICE, "job_id"], how="inner")
        .filter(is_there)
        .sort([*stretch, *_RUN])
        .with_columns(
            place=pl.int_range(pl.len(), dtype=pl.Int64).over(stretch),
            holders=pl.len().over(stretch).cast(pl.Int64),
        )
    )


def with_fraction(stretches: pl.DataFrame, gpus: pl.DataFrame) -> pl.DataFrame:
    """Add the part of a device that each stretch is about; a device that inventory does not know is whole."""
    known = gpus.select(*_DEVICE, "exists_start", "gpu_fraction").sort("exists_start")
    return (
        stretches.sort("ended_at")
        .join_asof(known, left_on="ended_at", right_on="exists_start", by=list(_DEVICE), check_sortedness=False)
        .with_columns(pl.col("gpu_fraction").fill_null(pl.lit(1).cast(pl.Decimal(9, 6))))
    )
