"""Runs that have devices nobody names: which of a node's devices are theirs is not known, so that none is free."""

from datetime import timedelta
from typing import Final

import polars as pl

from queries.rollups._timeline import clipped

_RUN: Final = ["cluster", "job_id", "submitted_at", "restart_count"]
_PLACE: Final = ["cluster", "node"]
_PIECE: Final = [*_RUN, "since"]

COLUMNS: Final = ("started_at", "ended_at", "gpu_count", "requested_gpu_count", "nodes")
"""What is read of `job`."""


def unplaced(
    runs: pl.DataFrame, holdings: pl.DataFrame, devices: pl.DataFrame, window: tuple[int, int], memory: timedelta
) -> pl.DataFrame:
    """Return the time in which a run has devices on a node and fewer are named than it has, for each device there.

    A device plugin of Kubernetes gives a pod devices that only the kubelet knows; Slurm's accounting says how many a
    short job had, not which. Of several nodes those count on which nothing of the run is named, else all of them.
    A device that was named is taken as the run's for `memory` after its holding's end: whoever names devices stops a
    little before the run ends. `holdings` reach back as far.

    Shape, grain: device, start, end; one row per device and piece of a run, in milliseconds inside the window.
    """
    # Where neither count is told a share of some device is meant: of a job without any both are 0.
    has = pl.coalesce("gpu_count", "requested_gpu_count").fill_null(1)
    begun = runs.filter(pl.col("started_at").is_not_null() & pl.col("nodes").is_not_null() & (has > 0))
    begun = begun.select(*_RUN, "started_at", "ended_at", "nodes", has.alias("has"))
    own = holdings.select(*_RUN, "node", "gpu_uuid", "held_start", "held_end").join(begun, on=_RUN)
    rest = begun.join(_wholly_named(own), on=_RUN, how="anti")
    if rest.is_empty():
        return devices.select("device", start=pl.lit(0, pl.Int64), end=pl.lit(0, pl.Int64)).clear()
    short = _short(rest, own.join(rest, on=_RUN, how="semi"), memory)
    found = short.join(devices.select(*_PLACE, "device"), on=_PLACE)
    return clipped(found, "since", "until", window).select("device", "start", "end").unique()


def _wholly_named(own: pl.DataFrame) -> pl.DataFrame:
    """Return the runs of which all devices are named from their start to their end: almost all of them."""
    ends = pl.col("held_end").is_null() | (pl.col("held_end") >= pl.col("ended_at")).fill_null(value=False)
    whole = own.filter((pl.col("held_start") <= pl.col("started_at")) & ends)
    count = whole.unique([*_RUN, "node", "gpu_uuid"]).group_by(_RUN).agg(pl.len().alias("named"), pl.col("has").first())
    return count.filter(pl.col("named") >= pl.col("has"))


def _short(rest: pl.DataFrame, own: pl.DataFrame, memory: timedelta) -> pl.DataFrame:
    """Return the nodes of runs with the pieces of time in which too few devices are named: since, until."""
    following = pl.col("held_start").shift(-1).over(*_RUN, "node", "gpu_uuid", order_by="held_start")
    held = own.with_columns(pl.min_horizontal(pl.col("held_end") + memory, following).alias("_until"))
    inside = (pl.col("since") > pl.col("started_at")) & (pl.col("since") < pl.col("ended_at")).fill_null(value=True)
    edges = [
        held.select(*_RUN, "started_at", "ended_at", pl.col(name).alias("since")) for name in ("held_start", "_until")
    ]
    points = [rest.select(*_RUN, pl.col("started_at").alias("since")), pl.concat(edges).filter(inside).select(_PIECE)]
    after = pl.col("since").shift(-1).over(_RUN, order_by="since")
    cut = pl.concat(points).unique().with_columns(after.alias("until")).join(rest, on=_RUN)
    cut = cut.with_columns(pl.coalesce("until", "ended_at").alias("until"))
    named = cut.select(_PIECE).join(held, on=_RUN)
    named = named.filter(
        (pl.col("held_start") <= pl.col("since")) & ~(pl.col("_until") <= pl.col("since")).fill_null(value=False)
    )
    count = named.group_by(_PIECE).agg(pl.len().alias("named"))
    there = named.select(*_PIECE, "node").unique().with_columns(pl.lit(value=True).alias("_is_named"))
    short = cut.join(count, on=_PIECE, how="left").filter(pl.col("named").fill_null(0) < pl.col("has"))
    on = short.with_columns(pl.col("nodes").str.split(",").alias("node")).explode("node", empty_as_null=False)
    on = on.join(there, on=[*_PIECE, "node"], how="left").with_columns(pl.col("_is_named").fill_null(value=False))
    return on.filter(~pl.col("_is_named") | pl.col("_is_named").all().over(_PIECE))
