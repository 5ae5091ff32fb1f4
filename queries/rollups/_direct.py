"""Who caused traffic: bytes that a node sent, or moved to and from a file system, are those of who alone held it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from ledger.money_sections import FileSystem
from queries.rollups._leaves import HOLDER, NOBODY, PLACE

NETWORK_COLUMNS: Final = ("hour_start", "cluster", "node", "link_layer", "is_rdma", "transmit_bytes")
"""What is read of `network_hour`."""

STORAGE_COLUMNS: Final = ("hour_start", "cluster", "node", "file_system", "mount_point", "read_bytes", "written_bytes")
"""What is read of `storage_hour`."""

_BILLED: Final = ("network", "storage")

_Mounted = tuple[str, str, str]
"""Cluster, file system and mount point."""

_MOUNTED: Final = ("cluster", "file_system", "mount_point")

_SHORTEST_NAME: Final = 6
"""A file system's name on the bill that is shorter could stand in another's by chance."""

_WITHIN: Final = re.compile(r"(?<![\w-])fs-[0-9a-f]{8,17}(?![\w-])")
"""AWS names a volume with the file system that it is a part of; nodes mount it under the file system's name."""


@dataclass(frozen=True)
class Traffic:
    """What was counted: bytes by port, and by file system, of each node-hour; and which jobs held devices of it."""

    network: pl.DataFrame
    storage: pl.DataFrame
    held: pl.DataFrame


def by_bytes(
    costs: pl.DataFrame,
    held: pl.DataFrame,
    billed: pl.DataFrame,
    traffic: Traffic,
    stated: Sequence[FileSystem] = (),
) -> pl.DataFrame:
    """Return who moved the bytes behind costs: one row per part and holder, with the bytes as `weight`.

    Network cost goes by what the provider's nodes sent over ports that are no RDMA: that stays inside the cluster.
    `billed` are the costs of nodes, which say whose nodes they are: what one sent that nobody held, nobody caused.
    Storage cost goes by what was read and written on the file system that is `stated` for the resource, else on those
    that carry its name. Of a node that several jobs held in the hour the counters say the team at most, and of one that
    several teams held nobody.
    """
    nodes = billed.select("provider", *PLACE).unique()
    sent = costs.filter(pl.col("cost_kind") == "network").select("part", "hour_start", "provider")
    network = sent.join(nodes.join(_sent(traffic.network), on=PLACE), on=["hour_start", "provider"])
    kept = costs.filter(pl.col("cost_kind") == "storage").select("part", "hour_start", "resource_id")
    storage = kept.join(_moved(kept, traffic.storage, stated), on=["hour_start", "resource_id"])
    moved = pl.concat([each.select("part", *PLACE, "bytes") for each in (network, storage)])
    # A job that held a device and used none of its time may have moved the bytes all the same.
    named = traffic.held.select(*PLACE, *HOLDER).with_columns(pl.col("user").fill_null(""))
    devices = held.select(named.columns)
    known = moved.join(_holders(pl.concat([devices, named])), on=PLACE, how="left").with_columns(
        pl.col(name).fill_null(value) for name, value in NOBODY.items()
    )
    whole = pl.col("bytes").round().cast(pl.Int64)
    return known.group_by("part", *HOLDER).agg(whole.sum().alias("weight")).filter(pl.col("weight") > 0)


def _sent(ports: pl.DataFrame) -> pl.DataFrame:
    """Return the bytes that each node sent to the outside."""
    # Where an older record does not say what is RDMA, InfiniBand is.
    inside = pl.col("is_rdma").fill_null(pl.col("link_layer") == "InfiniBand").fill_null(value=False)
    return ports.filter(~inside).group_by(PLACE).agg(pl.col("transmit_bytes").sum().alias("bytes"))


def _moved(costs: pl.DataFrame, systems: pl.DataFrame, stated: Sequence[FileSystem]) -> pl.DataFrame:
    """Return the bytes that nodes moved to and from file systems, by the resource of the bill that pays for each."""
    mounted = systems.select(_MOUNTED).unique().rows()
    pairs = [
        (resource, *each) for resource in costs["resource_id"].unique() for each in _paid_by(resource, mounted, stated)
    ]
    names = pl.DataFrame(pairs, schema=dict.fromkeys(("resource_id", *_MOUNTED), pl.String), orient="row")
    moved = pl.sum_horizontal("read_bytes", "written_bytes").alias("bytes")
    return systems.with_columns(moved).join(names, on=_MOUNTED).select("resource_id", *PLACE, "bytes")


def _paid_by(resource: str, mounted: Sequence[_Mounted], stated: Sequence[FileSystem]) -> list[_Mounted]:
    """Return which file systems a resource of the bill pays for: those that a person states, else those of its name."""
    mine = [each for each in stated if _fits(resource, each.resource.lower())]
    if mine:
        return [each for each in mounted if any(_is_meant(each, known) for known in mine)]
    parts = resource.replace(":", "/").lower().split("/")
    names = {each for each in (parts[-1], *_WITHIN.findall(resource.lower())) if len(each) >= _SHORTEST_NAME}
    return [each for each in mounted if any(_stands_in(name, each[1].lower()) for name in names)]


def _is_meant(mounted: _Mounted, known: FileSystem) -> bool:
    cluster, file_system, mount_point = mounted
    is_named = _fits(file_system, known.file_system) or _fits(mount_point, known.file_system)
    return is_named and known.cluster in {"", cluster}


def _fits(text: str, wanted: str) -> bool:
    """Tell whether a text is what is wanted, or starts with what stands before its trailing star."""
    return text.startswith(wanted[:-1]) if wanted.endswith("*") else text == wanted


def _stands_in(name: str, text: str) -> bool:
    """Tell whether a name stands in a text as a whole: `share-1` does not stand in `share-10`."""
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text) is not None


def _holders(held: pl.DataFrame) -> pl.DataFrame:
    """Return who held devices of each node-hour, as far as it is one job, or else one team."""
    alone = pl.struct(HOLDER).n_unique() == 1
    mine = [
        pl.when(alone).then(pl.col(each).first()).otherwise(pl.lit(NOBODY[each])).alias(each) for each in HOLDER[1:]
    ]
    team = pl.when(pl.col("team").n_unique() == 1).then(pl.col("team").first()).otherwise(pl.lit(""))
    return held.group_by(PLACE).agg(team, *mine)
