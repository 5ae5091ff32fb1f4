"""Minutes summed into hours: means weighted by observed time, energy added up; and what a device was in an hour."""

from decimal import Decimal
from typing import Final

import polars as pl

from ledger.expressions import total
from queries.rollups._activity import MEANS
from queries.rollups._timeline import DEVICE

ACTIVITY_COLUMNS = (*MEANS, "memory_used_bytes", "energy_joules")
"""What of a minute's activity is kept in an hour."""

_MILLIONTHS: Final = 1_000_000
_MILLIONTH: Final = Decimal("1e-6")


def activity(weight: str, energy: pl.Expr) -> list[pl.Expr]:
    """Return the activity of some minutes: means by `weight` where they are known, highest memory, energy."""
    known = {name: pl.when(pl.col(name).is_not_null()).then(pl.col(weight)).sum() for name in MEANS}
    means = [
        pl.when(known[name] > 0).then((pl.col(name) * pl.col(weight)).sum() / known[name]).alias(name) for name in MEANS
    ]
    return [*means, pl.col("memory_used_bytes").max(), total(energy).alias("energy_joules")]


def best_known_quality(rows: pl.DataFrame, by: tuple[str, ...], part: str) -> pl.DataFrame:
    """Return the evidence quality of most of the observed time, the worse of two equals.

    Where nothing was observed there is no row.
    """
    sums = rows.filter("is_observed").group_by(*by, "evidence_quality").agg(pl.col(part).sum())
    ordered = sums.sort(*by, part, "evidence_quality", descending=[*(False for _ in by), True, True])
    return ordered.unique(by, keep="first", maintain_order=True).select(*by, "evidence_quality")


def described(hours: pl.DataFrame, gpus: pl.DataFrame) -> pl.DataFrame:
    """Return what each device was in each hour: all that is told of it last, and its mean part of a whole device.

    Where a device is cut anew, a slice that stays may be another part of it, and what no slice has is another rest:
    each part counts for the time that it held, so that slices and rest are one device in that hour too.

    Shape, grain: one row per device and hour of `hours`, with the columns of `gpus`.
    """
    start, end = pl.col("hour_start"), pl.col("hour_start").dt.offset_by("1h")
    there = (pl.col("exists_start") < end) & (pl.col("exists_end").is_null() | (pl.col("exists_end") > start))
    told = hours.select(*DEVICE, "hour_start").unique().join(gpus, on=DEVICE).filter(there).sort("exists_start")
    # An end that is null is left out by the minimum: it lies beyond the hour.
    length = pl.min_horizontal("exists_end", end) - pl.max_horizontal("exists_start", start)
    weight, part = length.dt.total_microseconds(), pl.col("gpu_fraction")
    whole = weight.sum()
    mean = ((part * _MILLIONTHS).cast(pl.Int64) * weight).sum() + whole // 2
    rounded = (mean // whole).cast(pl.Decimal(28, 0)) * pl.lit(_MILLIONTH, dtype=pl.Decimal(28, 6))
    told_last = pl.exclude(*DEVICE, "hour_start", "gpu_fraction", "exists_start", "exists_end").last()
    return told.group_by(*DEVICE, "hour_start").agg(
        told_last,
        pl.when(part.n_unique() == 1)
        .then(part.last())
        .otherwise(rounded.cast(gpus.schema["gpu_fraction"]))
        .alias("gpu_fraction"),
    )
