"""Which device a scheduler means: it says the place of a GPU on its node, and the ledger knows devices by UUID."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

import polars as pl

from collectors.cluster._source import Pulled
from ledger.tables import JobGpu

INDEX: Final = "index:"
"""Begins the name of a device of which only its place on the node is known: `index:3`."""

WHOLE: Final = "whole"
"""The kind of a device that is not cut, on a node with others that are; the others' kind is their MIG profile."""

UNSURE: Final = "?"
"""Begins a kind that is only guessed: an agent that tells the index of each device knows better."""

_SEPARATOR: Final = "/"

KnownGpus = Callable[[Sequence[str]], pl.DataFrame]
"""Returns the rows of `gpu` of some nodes of the cluster."""


def place(index: int | None, kind: str = "", nth: int | None = None) -> str:
    """Return the name of a device by its place on its node: among all devices, and among those of a kind."""
    parts = (index, kind, nth) if kind else (index,)
    return INDEX + _SEPARATOR.join("" if each is None else str(each) for each in parts)


def named(pulled: Pulled, known_gpus: KnownGpus) -> Pulled:
    """Return a pull in which holdings name devices by UUID, without those whose device the inventory does not know.

    The place is `scheduler_index`, which an agent learns from the gres.conf of its node, or of an agent that does not
    tell it `gpu_index`: Slurm counts the device files of a node or the order of PCI addresses, and NVML the latter. A
    place that changed its device while it was held is the device that was there first. Where GPUs are cut and no agent
    tells the index of slices, a place counts the devices of one kind: first slices of all GPUs, then second ones, as
    Slurm sorts what it detects; a GPU that is cut without Slurm's knowledge has no name by place.
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
_NODE: Final = ["cluster", "node"]
_RUN: Final = ["cluster", "node", "job_id", "submitted_at", "restart_count"]


def _found(places: pl.DataFrame, gpus: pl.DataFrame) -> pl.DataFrame:
    """Return the holdings whose place had a device that existed while it was held, with its UUID."""
    part = pl.col("gpu_uuid").str.strip_prefix(INDEX).str.split_exact(_SEPARATOR, 2)
    asked = places.with_columns(
        part.struct[0].cast(pl.Int64, strict=False).alias("_place"),
        part.struct[1].fill_null("").str.strip_prefix(UNSURE).alias("_kind"),
        part.struct[1].fill_null("").str.starts_with(UNSURE).alias("_is_unsure"),
        part.struct[2].cast(pl.Int64, strict=False).alias("_nth"),
    )
    is_whole, is_told = pl.col("parent_gpu_uuid") == "", pl.col("scheduler_index").is_not_null()
    there = gpus.select(
        *_NODE,
        pl.coalesce("scheduler_index", "gpu_index").cast(pl.Int64).alias("_index"),
        (~is_told).alias("_is_guess"),
        (~is_whole & is_told).any().over(_NODE).alias("_are_slices_counted"),
        "mig_index",
        pl.when(is_whole).then(pl.lit(WHOLE)).otherwise("mig_profile").alias("_is_kind"),
        pl.col("gpu_uuid").alias("_uuid"),
        "exists_start",
        "exists_end",
    )
    # A place without a kind is one of a whole device among all GPUs.
    kind = pl.when(pl.col("_kind") == "").then(pl.lit(WHOLE)).otherwise("_kind")
    is_any = pl.col("_is_unsure") & pl.col("_are_slices_counted")
    is_meant = pl.when(is_any).then(~pl.col("_is_guess")).otherwise(pl.col("_is_kind") == kind)
    known = asked.join(there, on=_NODE).filter(is_meant)
    begun_before_end = pl.col("held_end").is_null() | (pl.col("exists_start") < pl.col("held_end"))
    lasts = pl.col("exists_end").is_null() | (pl.col("exists_end") > pl.col("held_start"))
    known = known.filter(begun_before_end & lasts)
    is_by_index = (pl.col("_kind") == "") | (pl.col("_are_slices_counted") & pl.col("_place").is_not_null())
    by_index = known.filter(is_by_index & (pl.col("_index") == pl.col("_place")))
    found = pl.concat([by_index, _of_kind(known.filter(~is_by_index))])
    return (
        found.sort("_is_guess", "exists_start", "_uuid")
        .unique("_row", keep="first", maintain_order=True)
        .sort("_row")
        .with_columns(pl.col("_uuid").alias("gpu_uuid"))
    )


def _of_kind(known: pl.DataFrame) -> pl.DataFrame:
    """Return the nth of those devices of a kind that were there first while a holding lasted.

    Slices have no order where nobody tells it: none of them is the nth.
    """
    begin = pl.max_horizontal("held_start", pl.col("exists_start").min().over("_row"))
    first = (pl.col("exists_start") <= begin) & (pl.col("exists_end").is_null() | (pl.col("exists_end") > begin))
    is_told = ((pl.col("_is_kind") == WHOLE) | pl.col("mig_index").is_not_null()).all().over("_row")
    order = pl.struct(pl.col("mig_index").fill_null(0), "_index").rank("ordinal").over("_row").cast(pl.Int64) - 1
    return known.filter(first).filter(is_told & (order == pl.col("_nth")))
