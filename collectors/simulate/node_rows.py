"""Samples of nodes: processors, pressure, ports, disks, file systems, and the collectors' own rounds."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.simulate.device_rows import boot_ids, boot_of
from collectors.simulate.frames import Column, frame, noise, places, words
from collectors.simulate.shapes import SLOW_STEP, STEP, Cluster
from collectors.simulate.surroundings import PORTS, Surroundings
from ledger.tables import (
    BlockDeviceSample,
    CollectorRun,
    HostSample,
    MountSample,
    NetworkPortSample,
    PressureSample,
)

Ints = npt.NDArray[np.int64]

COLLECTORS: Final = ("nvml", "host", "pressure", "infiniband", "ethernet", "blockdevice", "filesystem")
_SLOW: Final = ("filesystem",)
_DEADLINE_SECONDS: Final = 10.0
SCRATCH_BYTES: Final = 2 * 10**15
ROOT_BYTES: Final = 1_900_000_000_000
ETHERNET_BYTES_PER_SECOND: Final = 3_125_000_000
READ_SECONDS: Final = 0.0007
"""Mean time of a read of a mebibyte from the shared file system."""

_MOVED_BEFORE_END: Final = 40 * 3_600

_MIB: Final = 2**20
_MICRO: Final = 1e6


@dataclass(frozen=True)
class Moments:
    """The nodes and instants of a window's samples, without those that a silent agent left out."""

    node: Ints
    at: Ints
    place: Ints
    identity: dict[str, Column]


def moments(plan: Cluster, around: Surroundings, window: tuple[int, int], step: int) -> Moments:
    """Return when each node was sampled in a window of epoch seconds."""
    lower, upper = -(-window[0] // step) * step, window[1]
    parts_node, parts_at = [], []
    for node in plan.nodes:
        begin = max(-(-node.start // step) * step, lower)
        grid = np.arange(begin, min(plan.node_end(node.index) + 1, upper), step, dtype=np.int64)
        silent = [(gap.start, gap.end) for gap in plan.gaps if gap.node == node.index]
        silent += [(each.start, each.end) for each in plan.faults if each.kind == "down" and each.node == node.index]
        for start, end in silent:
            grid = grid[(grid <= start) | (grid >= end)]
        parts_node.append(np.full(len(grid), node.index, dtype=np.int64))
        parts_at.append(grid)
    node_column, at = np.concatenate(parts_node), np.concatenate(parts_at)
    clusters, names = places(plan)
    boots = np.minimum(boot_of(plan, node_column, at), 3)
    identity: dict[str, Column] = {
        "sampled_at": at, "cluster": words(clusters, node_column), "node": words(names, node_column),
        "boot_id": words(boot_ids(plan), node_column * 4 + boots), "step_seconds": float(step),
    }  # fmt: skip
    return Moments(node_column, at, around.place(node_column, at), identity)


def host_rows(plan: Cluster, around: Surroundings, when: Moments) -> pl.DataFrame:
    """Return each node's processors and memory."""
    count = np.array([each.hardware.cpu_count for each in plan.nodes], dtype=np.int64)[when.node]
    memory = np.array([float(each.hardware.host_memory_bytes) for each in plan.nodes])[when.node]
    start = np.array([each.start for each in plan.nodes], dtype=np.int64)[when.node]
    total = {name: around.total(name, when.place, when.at) for name in ("user", "system", "iowait")}
    since = _since_boot(plan, when, start)
    busy = sum(around.rate[name][when.place] for name in ("user", "system")) / _MICRO
    data: dict[str, Column] = {
        **when.identity, "cpu_count": count, "cpu_user_seconds_total": total["user"] / _MICRO,
        "cpu_system_seconds_total": total["system"] / _MICRO,
        "cpu_idle_seconds_total": np.maximum(count * since * 1_000_000 - sum(total.values()), 0) / _MICRO,
        "cpu_iowait_seconds_total": total["iowait"] / _MICRO, "cpu_steal_seconds_total": 0.0,
        "load_average_count": busy * (1 + 0.1 * noise(when.node, when.at, 11)),
        "running_process_count": np.rint(busy).astype(np.int64) + 1,
        "blocked_process_count": np.rint(around.rate["iowait"][when.place] / _MICRO).astype(np.int64),
        "memory_total_bytes": memory, "memory_available_bytes": memory - around.rate["memory"][when.place],
        "swap_used_bytes": 0.0, "uptime_seconds": since.astype(float) + 120.0,
    }  # fmt: skip
    return frame(HostSample, data, len(when.at))


def _since_boot(plan: Cluster, when: Moments, start: Ints) -> Ints:
    since = when.at - start
    for fault in plan.faults:
        if fault.kind == "down":
            after = (when.node == fault.node) & (when.at >= fault.end)
            since = np.where(after, np.minimum(since, when.at - fault.end), since)
    return since


def pressure_rows(around: Surroundings, when: Moments) -> pl.DataFrame:
    """Return the pressure of each node's processors, storage and memory."""
    parts = []
    for resource, column in (("cpu", "pressure_cpu"), ("io", "pressure_io"), ("memory", "pressure_memory")):
        some = around.total(column, when.place, when.at) / _MICRO
        rate = around.rate[column][when.place] / _MICRO
        full = 0.0 if resource == "cpu" else 0.5
        data: dict[str, Column] = {
            **when.identity, "resource": resource, "job_id": "", "some_seconds_total": some,
            "full_seconds_total": some * full, "some_ratio": np.round(rate, 4), "full_ratio": np.round(rate * full, 4),
        }  # fmt: skip
        parts.append(frame(PressureSample, data, len(when.at)))
    return pl.concat(parts)


def port_rows(plan: Cluster, around: Surroundings, when: Moments) -> pl.DataFrame:
    """Return the fast ports and the ordinary port of each node."""
    rate = np.array([float(each.hardware.line_rate_bytes_per_second) for each in plan.nodes])[when.node]
    sent = around.total("transmit", when.place, when.at).astype(float)
    received = around.total("receive", when.place, when.at).astype(float)
    office = around.total("office", when.place, when.at).astype(float)
    zero = np.zeros(len(when.at))
    parts = []
    for port in range(PORTS):
        data: dict[str, Column] = {
            **when.identity, "device": f"mlx5_{port}", "port": "1", "link_layer": "InfiniBand", "is_up": True,
            "link_state": "ACTIVE", "physical_state": "LinkUp",
            "line_rate_bytes_per_second": np.where(_is_slow(plan, when, port), rate / 2, rate),
            "transmit_bytes_total": sent, "receive_bytes_total": received,
            "transmit_packet_count_total": np.floor(sent / 4096),
            "receive_packet_count_total": np.floor(received / 4096),
            "transmit_wait_count_total": around.total("wait", when.place, when.at).astype(float),
            "transmit_discard_count_total": zero, "receive_error_count_total": zero, "symbol_error_count_total": zero,
            "link_downed_count_total": zero, "link_error_recovery_count_total": zero,
        }  # fmt: skip
        parts.append(frame(NetworkPortSample, data, len(when.at)))
    ethernet: dict[str, Column] = {
        **when.identity, "device": "eth0", "port": "1", "link_layer": "Ethernet", "is_up": True, "link_state": "up",
        "line_rate_bytes_per_second": float(ETHERNET_BYTES_PER_SECOND), "transmit_bytes_total": office,
        "receive_bytes_total": 2 * office, "transmit_packet_count_total": np.floor(office / 900),
        "receive_packet_count_total": np.floor(office / 450), "transmit_discard_count_total": zero,
        "receive_error_count_total": zero,
    }  # fmt: skip
    parts.append(frame(NetworkPortSample, ethernet, len(when.at)))
    return pl.concat(parts)


def _is_slow(plan: Cluster, when: Moments, port: int) -> npt.NDArray[np.bool_]:
    """Tell where a port runs at half of its rate: the second one of the last node, since its cable was moved."""
    is_node = when.node == len(plan.nodes) - 1
    return np.asarray(is_node & (port == PORTS - 1) & (when.at >= plan.end - _MOVED_BEFORE_END), dtype=np.bool_)


def disk_rows(around: Surroundings, when: Moments) -> pl.DataFrame:
    """Return the local disk of each node: it takes a tenth of what is read and written."""
    read = around.total("read", when.place, when.at) * 0.1
    written = around.total("written", when.place, when.at) * 0.1
    data: dict[str, Column] = {
        **when.identity, "device": "nvme0n1", "read_bytes_total": np.floor(read),
        "written_bytes_total": np.floor(written),
        "read_count_total": np.floor(read / _MIB), "write_count_total": np.floor(written / _MIB),
        "read_seconds_total": read / _MIB * 0.0002, "write_seconds_total": written / _MIB * 0.0003,
        "io_seconds_total": (read + written) / 4e9, "in_flight_count": np.zeros(len(when.at), dtype=np.int64),
    }  # fmt: skip
    return frame(BlockDeviceSample, data, len(when.at))


def mount_rows(plan: Cluster, around: Surroundings, when: Moments) -> pl.DataFrame:
    """Return the root file system and the shared scratch of each node, once a minute."""
    read = around.total("read", when.place, when.at).astype(float)
    written = around.total("written", when.place, when.at).astype(float)
    filled = 0.42 + 0.3 * (when.at - plan.start) / max(plan.end - plan.start, 1)
    common = {"is_responding": True, "is_read_only": False}
    scratch: dict[str, Column] = {
        **when.identity, **common, "mount_point": "/scratch", "device": "10.0.0.1@o2ib:/scratch",
        "filesystem_type": "lustre", "capacity_bytes": float(SCRATCH_BYTES),
        "free_bytes": SCRATCH_BYTES * (1 - filled), "available_bytes": SCRATCH_BYTES * (1 - filled),
        "inode_count": 4_000_000_000, "free_inode_count": 3_100_000_000, "read_bytes_total": read,
        "written_bytes_total": written, "read_seconds_total": read / _MIB * READ_SECONDS,
        "read_count_total": np.floor(read / _MIB),
    }  # fmt: skip
    root: dict[str, Column] = {
        **when.identity, **common, "mount_point": "/", "device": "/dev/nvme0n1p2", "filesystem_type": "ext4",
        "capacity_bytes": float(ROOT_BYTES), "free_bytes": 0.71 * ROOT_BYTES, "available_bytes": 0.66 * ROOT_BYTES,
        "inode_count": 120_000_000, "free_inode_count": 117_000_000,
    }  # fmt: skip
    return pl.concat([frame(MountSample, each, len(when.at)) for each in (scratch, root)])


def run_rows(when: Moments) -> pl.DataFrame:
    """Return the rounds of each collector, a row a minute; the file system collector fails now and then."""
    parts = []
    for rank, collector in enumerate(COLLECTORS):
        step = SLOW_STEP if collector in _SLOW else STEP
        rounds = SLOW_STEP // step
        fails = (noise(when.node, when.at, 40) < 0.002) & (collector == "filesystem")  # noqa: PLR2004
        longest = np.where(fails, _DEADLINE_SECONDS, 0.002 + 0.01 * noise(when.node, when.at, 41 + rank))
        data: dict[str, Column] = {
            **when.identity, "step_seconds": float(step), "collector": collector, "is_ok": pl.Series(~fails),
            "row_count": np.where(fails, 0, (1 + rank) * rounds),
            "duration_seconds": longest * (1 if rounds == 1 else 0.8 * rounds),
            "round_count": rounds, "longest_round_seconds": longest,
            "error": words([None, f"no end after {_DEADLINE_SECONDS:g} s"], fails.astype(np.int64)),
        }  # fmt: skip
        parts.append(frame(CollectorRun, data, len(when.at)))
    return pl.concat(parts)
