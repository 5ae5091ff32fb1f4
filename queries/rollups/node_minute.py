"""How each node was in each minute: processors, pressure, fast network ports and network file systems."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import per
from ledger.tables import HostSample, MountSample, NetworkPortSample, NodeMinute, PressureSample
from queries.graph import Input, Span, rollup
from queries.rollups._minutes import counted, share
from queries.rollups._pressure import COLUMNS as PRESSURE_COLUMNS
from queries.rollups._pressure import RESOURCES, pressure_minutes
from queries.rollups._steps import LONGEST_STEP
from queries.rollups._timeline import MINUTE, instant

_AROUND: Final = LONGEST_STEP

_HOST_COLUMNS: Final = (
    "sampled_at",
    "cluster",
    "node",
    "boot_id",
    "step_seconds",
    "cpu_user_seconds_total",
    "cpu_system_seconds_total",
    "cpu_idle_seconds_total",
    "cpu_iowait_seconds_total",
    "cpu_steal_seconds_total",
)

_PORT_COLUMNS: Final = (
    "sampled_at",
    "cluster",
    "node",
    "boot_id",
    "step_seconds",
    "device",
    "port",
    "line_rate_bytes_per_second",
    "transmit_bytes_total",
    "receive_bytes_total",
    "transmit_wait_count_total",
)

_MOUNT_COLUMNS: Final = (
    "sampled_at",
    "cluster",
    "node",
    "boot_id",
    "step_seconds",
    "mount_point",
    "read_seconds_total",
)

_MINUTE: Final = ("cluster", "node", "minute")


@rollup(rows_at_once=100_000)
def node_minute(
    host: Annotated[dy.LazyFrame[HostSample], Input(before=_AROUND, after=_AROUND, columns=_HOST_COLUMNS, apart=True)],
    pressure: Annotated[
        dy.LazyFrame[PressureSample], Input(before=_AROUND, after=_AROUND, columns=PRESSURE_COLUMNS, apart=True)
    ],
    ports: Annotated[
        dy.LazyFrame[NetworkPortSample], Input(before=_AROUND, after=_AROUND, columns=_PORT_COLUMNS, apart=True)
    ],
    mounts: Annotated[
        dy.LazyFrame[MountSample], Input(before=_AROUND, after=_AROUND, columns=_MOUNT_COLUMNS, apart=True)
    ],
    span: Span,
) -> dy.LazyFrame[NodeMinute]:
    """Put together what four collectors say of a node: a row for each minute in which any of them measured.

    The kernel does not count waiting for every network file system as pressure: the time of reads, which their clients
    keep, stands beside it.
    Nulls: where a source measured nothing in this minute.
    """
    told = _processors(host).join(_pressure(pressure), on=_MINUTE, how="full", coalesce=True)
    both = told.join(_network(ports), on=_MINUTE, how="full", coalesce=True)
    all_told = both.join(_file_systems(mounts), on=_MINUTE, how="full", coalesce=True)
    rows = all_told.with_columns(instant(pl.col("minute") * MINUTE).alias("minute_start"))
    inside = rows.filter(pl.col("minute_start").is_between(span.start, span.end, closed="left"))
    return NodeMinute.cast(inside.lazy().select(NodeMinute.column_names()))


def _processors(host: pl.LazyFrame) -> pl.DataFrame:
    """Return the busy share of a node's processors; a step in which one counter went back counts nowhere."""
    kinds = ("user", "system", "idle", "iowait", "steal")
    parts = counted(host, tuple(f"cpu_{kind}_seconds_total" for kind in kinds), ("cluster", "node"))
    grown = {kind: f"cpu_{kind}_seconds_delta" for kind in kinds}
    # A hypervisor's share is not reported everywhere; the others make a whole without it.
    parts = parts.with_columns(pl.col(grown["steal"]).fill_null(0))
    whole = parts.filter(pl.all_horizontal(pl.col(name).is_not_null() for name in grown.values()))
    sums = whole.group_by(_MINUTE).agg(share(name, "elapsed_ms").sum().alias(kind) for kind, name in grown.items())
    every = pl.sum_horizontal(kinds)
    return sums.select(
        *_MINUTE,
        per(pl.col("user") + pl.col("system"), every).alias("node_cpu_active_ratio"),
        per("iowait", every).alias("node_cpu_iowait_ratio"),
    )


def _pressure(pressure: pl.LazyFrame) -> pl.DataFrame:
    """Return the share of time in which some task waited for a resource of the node."""
    names = {resource: f"node_{resource}_pressure_ratio" for resource in RESOURCES}
    return pressure_minutes(pressure.filter(pl.col("job_id") == ""), ("cluster", "node")).rename(names)


def _file_systems(mounts: pl.LazyFrame) -> pl.DataFrame:
    """Return how many reads of network file systems were under way on average; of local ones nobody keeps the time.

    Each minute is taken for the part of it in which a mount was watched.
    """
    timed = mounts.filter(pl.col("read_seconds_total").is_not_null())
    parts = counted(timed, ("read_seconds_total",), ("cluster", "node", "mount_point"))
    known = parts.filter(pl.col("read_seconds_delta").is_not_null())
    waited = share("read_seconds_delta", "elapsed_ms").sum() * 1000
    of_mount = known.group_by(*_MINUTE, "mount_point").agg(per(waited, pl.col("part").sum()).alias("waiting"))
    total = of_mount.sort("mount_point").group_by(_MINUTE, maintain_order=True).agg(pl.col("waiting").sum())
    return total.select(*_MINUTE, pl.col("waiting").clip(upper_bound=1.0).alias("node_file_system_wait_ratio"))


def _network(ports: pl.LazyFrame) -> pl.DataFrame:
    """Return the busiest of a node's fast ports in its busier direction, and their ticks without credit.

    Fast are the ports with the node's highest line rate: a management port says nothing about a job.
    """
    counters = ("transmit_bytes_total", "receive_bytes_total", "transmit_wait_count_total")
    parts = counted(ports, counters, ("cluster", "node", "device", "port"))
    rate = pl.col("line_rate_bytes_per_second")
    fast = parts.filter((rate > 0) & (rate == rate.max().over("cluster", "node", "minute")))
    of_port = fast.group_by(*_MINUTE, "device", "port").agg(
        *(_rate(f"{way}_bytes_delta").alias(way) for way in ("transmit", "receive")),
        rate.max(),
        share("transmit_wait_count_delta", "elapsed_ms").sum().alias("wait"),
        pl.col("transmit_wait_count_delta").is_not_null().any().alias("is_counted"),
    )
    active = pl.max_horizontal("transmit", "receive") / rate
    return of_port.group_by(_MINUTE).agg(
        active.max().clip(upper_bound=1).alias("node_network_active_ratio"),
        pl.when(pl.col("is_counted").any())
        .then(pl.col("wait").sum().round().cast(pl.Int64))
        .alias("node_network_wait_count"),
    )


def _rate(counted: str) -> pl.Expr:
    """Return the mean rate over the time in which a counter is known."""
    known = pl.col(counted).is_not_null()
    return per(share(counted, "elapsed_ms").filter(known).sum() * 1000, pl.col("part").filter(known).sum())
