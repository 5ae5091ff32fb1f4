"""What a board measured that is cut into slices: it has one meter, and tells it under its own name."""

from typing import Final

import polars as pl

from queries.rollups._timeline import DEVICE

_PLACE: Final = ["cluster", "node"]
_MINUTE_MILLISECONDS: Final = 60_000


def with_board_energy(minutes: pl.DataFrame, gpus: pl.DataFrame) -> pl.DataFrame:
    """Give slices, and the rest that no slice has, their part of what their board drew; rows stay in place.

    By their part of the device, and the time of the minute that they were there; a slice that has a meter of its own
    keeps what that says. A minute in which the board was still whole, or whole again, stays the whole one's.

    Conserves: the parts of slices and rest sum to what the board drew, where all of them were seen.
    """
    slices = gpus.filter(pl.col("parent_gpu_uuid") != "")
    if slices.is_empty() or minutes.is_empty():
        return minutes
    coded = {name: minutes.schema[name] for name in DEVICE}
    slices = slices.with_columns(
        *(pl.col(name).cast(kind, strict=False) for name, kind in coded.items()),
        pl.col("parent_gpu_uuid").cast(coded["gpu_uuid"], strict=False),
    )
    board = [*_PLACE, "parent_gpu_uuid"]
    drawn = (
        minutes.filter(pl.col("energy_joules").is_not_null())
        .select(*_PLACE, "minute_start", pl.col("gpu_uuid").alias("parent_gpu_uuid"), "energy_joules")
        .join(slices, on=board, how="semi")
    )
    end = pl.col("minute_start").dt.offset_by("1m")
    # An end that is null is left out by the minimum: it lies beyond the minute.
    length = pl.min_horizontal("exists_end", end) - pl.max_horizontal("exists_start", "minute_start")
    there = length.dt.total_milliseconds()
    wholes = gpus.filter(pl.col("parent_gpu_uuid") == "").select(
        *(pl.col(name).cast(coded[name], strict=False) for name in _PLACE),
        pl.col("gpu_uuid").cast(coded["gpu_uuid"], strict=False).alias("parent_gpu_uuid"),
        "exists_start",
        "exists_end",
    )
    whole = drawn.join(wholes, on=board).filter(there > 0)
    parts = (
        drawn.join(whole, on=[*board, "minute_start"], how="anti")
        .join(slices.select(*board, "gpu_uuid", "exists_start", "exists_end", "gpu_fraction"), on=board)
        .filter(there > 0)
        .with_columns(pl.col("energy_joules") * pl.col("gpu_fraction").cast(pl.Float64) * there / _MINUTE_MILLISECONDS)
        .sort(*DEVICE, "minute_start", "exists_start")
        .group_by(*DEVICE, "minute_start", maintain_order=True)
        .agg(pl.col("energy_joules").sum().alias("_of_board"))
    )
    given = minutes.join(parts, on=[*DEVICE, "minute_start"], how="left", maintain_order="left")
    return given.with_columns(pl.coalesce("energy_joules", "_of_board").alias("energy_joules")).drop("_of_board")
