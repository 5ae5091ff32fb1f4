"""Which device a scheduler means: it says the place of a GPU on its node, and the ledger knows devices by UUID."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from collectors.cluster._source import Pulled
from ledger.tables import JobGpu

INDEX: Final = "index:"
"""Begins the name of a device of which only its place on the node is known: `index:3`."""

KnownGpus = Callable[[Sequence[str]], pl.DataFrame]
"""Returns the rows of `gpu` of some nodes of the cluster."""


def named(pulled: Pulled, known_gpus: KnownGpus) -> Pulled:
    """Return a pull in which holdings name devices by UUID, without those whose device the inventory does not know.

    The place is `gpu_index`: Slurm counts the device files of a node, and NVML counts in the order of PCI addresses,
    which is theirs unless gres.conf says otherwise. A place that changed its device while it was held is the device
    that was there first. A GPU that is cut into slices has no name by place: what is held is one of its slices.
    """
    told = pulled.frames.get(JobGpu)
    if told is None:
        return pulled
    is_place = pl.col("gpu_uuid").str.starts_with(INDEX)
    places = told.filter(is_place)
    if places.is_empty():
        return pulled
    gpus = known_gpus(places["node"].unique().sort().to_list())
    found = _found(places.with_row_index("_row"), gpus)
    frames = dict(pulled.frames) | {JobGpu: pl.concat([told.filter(~is_place), found.select(told.columns)])}
    remarks = pulled.remarks
    if missing := places.height - found.height:
        without = places.join(found, on=_RUN, how="anti")["node"].unique().sort().to_list()
        shown = ", ".join(without[:_MOST_NODES]) + (", ..." if len(without) > _MOST_NODES else "")
        remarks = (*remarks, f"{missing} holdings name places of GPUs that no agent has told, or that are cut: {shown}")
    return dataclasses.replace(pulled, frames=frames, remarks=remarks)


_MOST_NODES: Final = 5
_RUN: Final = ["cluster", "node", "job_id", "submitted_at", "restart_count"]


def _found(places: pl.DataFrame, gpus: pl.DataFrame) -> pl.DataFrame:
    """Return the holdings whose place had a device that existed while it was held, with its UUID."""
    whole = gpus.filter(pl.col("parent_gpu_uuid") == "").select(
        "cluster",
        "node",
        pl.col("gpu_index").cast(pl.Int64).alias("_place"),
        pl.col("gpu_uuid").alias("_uuid"),
        "exists_start",
        "exists_end",
    )
    place = pl.col("gpu_uuid").str.strip_prefix(INDEX).cast(pl.Int64, strict=False)
    begun_before_end = pl.col("held_end").is_null() | (pl.col("exists_start") < pl.col("held_end"))
    lasts = pl.col("exists_end").is_null() | (pl.col("exists_end") > pl.col("held_start"))
    return (
        places.with_columns(place.alias("_place"))
        .join(whole, on=["cluster", "node", "_place"])
        .filter(begun_before_end & lasts)
        .sort("exists_start", "_uuid")
        .unique("_row", keep="first", maintain_order=True)
        .sort("_row")
        .with_columns(pl.col("_uuid").alias("gpu_uuid"))
    )
