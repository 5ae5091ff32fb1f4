"""What is left of older days of ports, file systems and disks."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.simulate.frames import Column, exact_seconds, frame, places, words
from collectors.simulate.node_rows import ETHERNET_BYTES_PER_SECOND, READ_SECONDS, ROOT_BYTES, SCRATCH_BYTES
from collectors.simulate.sampling import Scene
from collectors.simulate.shapes import Cluster, instant
from collectors.simulate.surroundings import PORTS, Surroundings
from ledger.tables import NetworkHour, StorageDay

Ints = npt.NDArray[np.int64]

_HOUR: Final = 3_600
_DAY: Final = 86_400


def _cells(plan: Cluster, span: tuple[int, int], width: int) -> tuple[Ints, Ints, Ints]:
    """Return each node's clock hours or days of a span: node, start and end of what it existed of each."""
    rows = [
        (node.index, max(cell, node.start, span[0]), min(cell + width, plan.node_end(node.index), span[1]))
        for node in plan.nodes
        for cell in range(span[0] // width * width, span[1], width)
    ]
    table = np.array([row for row in rows if row[1] < row[2]], dtype=np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


@dataclass(frozen=True)
class _Seen:
    """The observed parts of each cell; `cell` says whose part it is."""

    cell: Ints
    node: Ints
    start: Ints
    end: Ints
    count: int

    @property
    def seconds(self) -> Ints:
        """Return how many seconds of each cell samples cover."""
        return self._by_cell(self.end - self.start)

    def total(self, around: Surroundings, name: str) -> Ints:
        """Return how much of a column fell into the observed parts of each cell: gaps add nothing."""
        return self._by_cell(self._at(around, name, self.end) - self._at(around, name, self.start))

    def _at(self, around: Surroundings, name: str, instants: Ints) -> Ints:
        place = around.place(self.node, instants)
        found: Ints = around.running[name][place] + around.rate[name][place] * (instants - around.start[place])
        return found

    def _by_cell(self, values: Ints) -> Ints:
        sums = np.zeros(self.count, dtype=np.int64)
        np.add.at(sums, self.cell, values)
        return sums


def _seen(plan: Cluster, node: Ints, start: Ints, end: Ints) -> _Seen:
    """Return the parts of each cell in which the node's agent was heard."""
    silent = [(gap.node, gap.start, gap.end) for gap in plan.gaps]
    silent += [(fault.node, fault.start, fault.end) for fault in plan.faults if fault.kind == "down"]
    silent.sort()
    rows: list[tuple[int, int, int, int]] = []
    for cell, (where, lower, upper) in enumerate(zip(node.tolist(), start.tolist(), end.tolist(), strict=True)):
        at = lower
        for other, begin, stop in silent:
            if other == where and begin < upper and stop > at:
                rows.append((cell, where, at, max(begin, at)))
                at = min(stop, upper)
        rows.append((cell, where, at, upper))
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    return _Seen(table[:, 0], table[:, 1], table[:, 2], table[:, 3], len(node))


def _peak(known: Scene, name: str, node: Ints, start: Ints, end: Ints) -> Ints:
    around = known.around
    first, last = around.place(node, start), around.place(node, end - 1)
    both = np.stack([first, last + 1], axis=1).ravel()
    padded = np.append(around.rate[name], 0)
    return np.asarray(np.maximum.reduceat(padded, both)[::2], dtype=np.int64)


def network_rows(known: Scene, span: tuple[int, int]) -> pl.DataFrame:
    """Return one row per port and clock hour of which something was observed."""
    plan, around = known.plan, known.around
    node, start, end = _cells(plan, span, _HOUR)
    heard = _seen(plan, node, start, end).seconds > 0
    node, start, end = node[heard], start[heard], end[heard]
    seen = _seen(plan, node, start, end)
    clusters, names = places(plan)
    line_rate = np.array([float(each.hardware.line_rate_bytes_per_second) for each in plan.nodes])[node]
    common: dict[str, Column] = {
        "hour_start": start // _HOUR * _HOUR, "cluster": words(clusters, node), "node": words(names, node), "port": "1",
        "reset_count": 0, "error_count": 0, "observed_seconds": exact_seconds(seen.seconds * 1_000),
    }  # fmt: skip
    fast: dict[str, Column] = {
        **common, "link_layer": "InfiniBand", "line_rate_bytes_per_second": line_rate, "link_downed_count": 0,
        "transmit_bytes": seen.total(around, "transmit").astype(float),
        "receive_bytes": seen.total(around, "receive").astype(float),
        "peak_active_ratio": _peak(known, "transmit", node, start, end) / line_rate,
        "wait_count": seen.total(around, "wait"),
    }  # fmt: skip
    parts = [frame(NetworkHour, {**fast, "device": f"mlx5_{port}"}, len(node)) for port in range(PORTS)]
    office = seen.total(around, "office").astype(float)
    ethernet: dict[str, Column] = {
        **common, "device": "eth0", "link_layer": "Ethernet", "transmit_bytes": office, "receive_bytes": 2 * office,
        "line_rate_bytes_per_second": float(ETHERNET_BYTES_PER_SECOND),
        "peak_active_ratio": 2.0 * _peak(known, "office", node, start, end) / ETHERNET_BYTES_PER_SECOND,
    }  # fmt: skip
    parts.append(frame(NetworkHour, ethernet, len(node)))
    sums = ("transmit_bytes", "receive_bytes", "wait_count", "observed_seconds")
    return _of_one_name(pl.concat(parts), NetworkHour.primary_key(), sums, most=("peak_active_ratio",))


def storage_rows(known: Scene, span: tuple[int, int]) -> pl.DataFrame:
    """Return one row per file system and disk of each node and day."""
    plan, around = known.plan, known.around
    node, start, end = _cells(plan, span, _DAY)
    seen = _seen(plan, node, start, end)
    clusters, names = places(plan)
    read, written = seen.total(around, "read").astype(float), seen.total(around, "written").astype(float)
    filled = 0.42 + 0.3 * (end - plan.start) / max(plan.end - plan.start, 1)
    common: dict[str, Column] = {
        "day": [instant(int(each)).date() for each in start], "cluster": words(clusters, node),
        "node": words(names, node),
        "unresponsive_count": 0, "observed_seconds": exact_seconds(seen.seconds * 1_000),
    }  # fmt: skip
    scratch: dict[str, Column] = {
        **common, "mount_point": "/scratch", "device": "10.0.0.1@o2ib:/scratch", "filesystem_type": "lustre",
        "capacity_bytes": float(SCRATCH_BYTES), "used_bytes": SCRATCH_BYTES * filled, "read_bytes": read,
        "written_bytes": written, "read_latency_seconds": READ_SECONDS,
    }  # fmt: skip
    root: dict[str, Column] = {
        **common, "mount_point": "/", "device": "/dev/nvme0n1p2", "filesystem_type": "ext4",
        "capacity_bytes": float(ROOT_BYTES), "used_bytes": 0.29 * ROOT_BYTES,
    }  # fmt: skip
    disk: dict[str, Column] = {
        **common, "mount_point": "", "device": "nvme0n1", "read_bytes": read * 0.1, "written_bytes": written * 0.1,
        "read_latency_seconds": 0.0002, "io_active_ratio": (read + written) * 0.1 / 4e9 / np.maximum(seen.seconds, 1),
    }  # fmt: skip
    rows = pl.concat([frame(StorageDay, each, len(node)) for each in (scratch, root, disk)])
    sums = ("read_bytes", "written_bytes", "observed_seconds")
    return _of_one_name(rows, StorageDay.primary_key(), sums, most=("used_bytes",), means=("io_active_ratio",))


def _of_one_name(
    rows: pl.DataFrame, key: list[str], sums: tuple[str, ...], *, most: tuple[str, ...], means: tuple[str, ...] = ()
) -> pl.DataFrame:
    """Return rows with those of a node and of the one that took its place, under its name, as one."""
    if not rows.select(key).is_duplicated().any():
        return rows
    weight = pl.col("observed_seconds").cast(pl.Float64)
    exprs = {
        **{name: pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum()) for name in sums},
        **{name: pl.col(name).max() for name in most},
        **{name: (pl.col(name) * weight).sum() / weight.filter(pl.col(name).is_not_null()).sum() for name in means},
    }
    others = [name for name in rows.columns if name not in key]
    whole = rows.group_by(key, maintain_order=True).agg(
        exprs.get(name, pl.col(name).last()).alias(name) for name in others
    )
    # Of a column that nobody measured, the mean of nothing is unknown.
    return whole.with_columns(pl.col(name).fill_nan(None) for name in means).select(rows.columns).cast(rows.schema)
