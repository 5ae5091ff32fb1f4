"""What is left of older days of ports, file systems and disks."""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.simulate.frames import Column, exact_seconds, frame, places, words
from collectors.simulate.node_rows import ETHERNET_BYTES_PER_SECOND, READ_SECONDS, ROOT_BYTES, SCRATCH_BYTES
from collectors.simulate.sampling import Scene
from collectors.simulate.shapes import Cluster, instant
from collectors.simulate.surroundings import PORTS
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


def _observed(plan: Cluster, node: Ints, start: Ints, end: Ints) -> Ints:
    """Return how many seconds of each cell samples cover."""
    length = end - start
    silent = [(gap.node, gap.start, gap.end) for gap in plan.gaps]
    silent += [(fault.node, fault.start, fault.end) for fault in plan.faults if fault.kind == "down"]
    for where, lower, upper in silent:
        overlap = np.maximum(np.minimum(end, upper) - np.maximum(start, lower), 0)
        length = length - np.where(node == where, overlap, 0)
    return length


def _sums(known: Scene, name: str, node: Ints, start: Ints, end: Ints) -> Ints:
    """Return how much of a column fell into each cell; counters go on where nobody looks."""
    around = known.around
    running = around.since_start(name)
    rate = around.rate[name]

    def at(instants: Ints) -> Ints:
        place = np.maximum(around.place(node, np.maximum(instants, start + 1)), 0)
        found: Ints = running[place] + rate[place] * (np.minimum(instants, around.end[place]) - around.start[place])
        return found

    return at(end) - at(start)


def _peak(known: Scene, name: str, node: Ints, start: Ints, end: Ints) -> Ints:
    around = known.around
    first, last = np.maximum(around.place(node, start + 1), 0), np.maximum(around.place(node, end), 0)
    both = np.stack([first, last + 1], axis=1).ravel()
    padded = np.append(around.rate[name], 0)
    return np.asarray(np.maximum.reduceat(padded, both)[::2], dtype=np.int64)


def network_rows(known: Scene, span: tuple[int, int]) -> pl.DataFrame:
    """Return one row per port and clock hour."""
    plan = known.plan
    node, start, end = _cells(plan, span, _HOUR)
    clusters, names = places(plan)
    line_rate = np.array([float(each.hardware.line_rate_bytes_per_second) for each in plan.nodes])[node]
    seen = _observed(plan, node, start, end)
    common: dict[str, Column] = {
        "hour_start": start // _HOUR * _HOUR, "cluster": words(clusters, node), "node": words(names, node), "port": "1",
        "link_downed_count": 0, "reset_count": 0, "error_count": 0, "observed_seconds": exact_seconds(seen * 1_000),
    }  # fmt: skip
    blank = np.where(seen > 0, 1.0, np.nan)
    fast: dict[str, Column] = {
        **common, "link_layer": "InfiniBand", "line_rate_bytes_per_second": line_rate,
        "transmit_bytes": _sums(known, "transmit", node, start, end) * blank,
        "receive_bytes": _sums(known, "receive", node, start, end) * blank,
        "peak_active_ratio": _peak(known, "transmit", node, start, end) / line_rate * blank,
        "wait_count": _sums(known, "wait", node, start, end),
    }  # fmt: skip
    parts = [frame(NetworkHour, {**fast, "device": f"mlx5_{port}"}, len(node)) for port in range(PORTS)]
    office = _sums(known, "office", node, start, end) * blank
    peak = 2.0 * _peak(known, "office", node, start, end) / ETHERNET_BYTES_PER_SECOND * blank
    ethernet: dict[str, Column] = {
        **common, "device": "eth0", "link_layer": "Ethernet", "transmit_bytes": office, "receive_bytes": 2 * office,
        "line_rate_bytes_per_second": float(ETHERNET_BYTES_PER_SECOND), "peak_active_ratio": peak,
    }  # fmt: skip
    parts.append(frame(NetworkHour, ethernet, len(node)))
    return pl.concat(parts)


def storage_rows(known: Scene, span: tuple[int, int]) -> pl.DataFrame:
    """Return one row per file system and disk of each node and day."""
    plan = known.plan
    node, start, end = _cells(plan, span, _DAY)
    clusters, names = places(plan)
    read = _sums(known, "read", node, start, end).astype(float)
    written = _sums(known, "written", node, start, end).astype(float)
    filled = 0.42 + 0.3 * (end - plan.start) / max(plan.end - plan.start, 1)
    common: dict[str, Column] = {
        "day": [instant(int(each)).date() for each in start], "cluster": words(clusters, node), "node": words(names, node),
        "unresponsive_count": 0, "observed_seconds": exact_seconds(_observed(plan, node, start, end) * 1_000),
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
        "read_latency_seconds": 0.0002, "io_active_ratio": (read + written) / 4e9 / (end - start),
    }  # fmt: skip
    return pl.concat([frame(StorageDay, each, len(node)) for each in (scratch, root, disk)])
