"""Every node cut into stretches of constant load: what its processors, ports and disks do together.

A node's load is the sum of what its devices' jobs ask for, kept in whole units so that sums come back to exactly zero.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from collectors.simulate.shapes import Cluster
from collectors.simulate.timeline import Timeline

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

PORTS: Final = 2
"""Fast ports of each server."""

_MICRO: Final = 1_000_000
_LARGE: Final = 2**36
_IDLE_SYSTEM: Final = 0.004
_MOST: Final = 0.95

COLUMNS: Final = (
    "user", "system", "iowait", "pressure_cpu", "pressure_io", "pressure_memory", "transmit", "receive", "wait", "read",
    "written", "memory", "office",
)  # fmt: skip
"""Processor microseconds, stalled microseconds, bytes of one fast port, ticks and bytes of storage in each second; host
memory in bytes; bytes in each second of the ordinary port."""


@dataclass
class Surroundings:
    """Stretches ordered by node and start, with each column's rate and its sum since the node's boot."""

    node: Ints
    start: Ints
    end: Ints
    boot: Ints
    rate: dict[str, Ints]
    before: dict[str, Ints]
    running: dict[str, Ints]
    """Each column's sum since the first second of all, over boots: differences are amounts."""
    key: Ints

    def place(self, node: Ints, at: Ints) -> Ints:
        """Return the stretch that holds an instant of each node; the last one for its very end."""
        return np.asarray(np.searchsorted(self.key, node * _LARGE + at, side="right") - 1, dtype=np.int64)

    def total(self, column: str, place: Ints, at: Ints) -> Ints:
        """Return a counter's value at instants inside the stretches."""
        found: Ints = self.before[column][place] + self.rate[column][place] * (at - self.start[place])
        return found


def surroundings(plan: Cluster, line: Timeline) -> Surroundings:
    """Return the load of all nodes over their existence."""
    node_of = np.array([each.node for each in plan.devices], dtype=np.int64)
    node = node_of[line.device]
    asked = _asked(plan, line, node)
    first = np.array([(each.index, each.start, 0) for each in plan.nodes], dtype=np.int64)
    down = np.array(
        [(fault.node, at, 0) for fault in plan.faults if fault.kind == "down" for at in (fault.start, fault.end)],
        dtype=np.int64,
    ).reshape(-1, 3)
    where = np.concatenate([node, node, first[:, 0], down[:, 0]])
    when = np.concatenate([line.start, line.end, first[:, 1], down[:, 1]])
    key, place = np.unique(where * _LARGE + when, return_inverse=True)
    rate: dict[str, Ints] = {}
    for name in COLUMNS:
        change = np.zeros(len(key), dtype=np.int64)
        np.add.at(change, place[: len(node)], asked[name])
        np.add.at(change, place[len(node) : 2 * len(node)], -asked[name])
        rate[name] = np.cumsum(change)
    own, start = key // _LARGE, key % _LARGE
    last = np.array([plan.node_end(each.index) for each in plan.nodes], dtype=np.int64)
    end = np.where(np.append(own[1:] == own[:-1], np.array([False])), np.append(start[1:], 0), last[own])
    keep = end > start
    for name in COLUMNS:
        rate[name] = _base(plan, name, own) + rate[name]
        rate[name] = rate[name][keep]
    own, start, end = own[keep], start[keep], end[keep]
    _bound(plan, own, rate)
    boot = np.zeros(len(own), dtype=np.int64)
    for fault in plan.faults:
        if fault.kind == "down":
            boot += (own == fault.node) & (start >= fault.end)
    amount = {name: rate[name] * (end - start) for name in COLUMNS}
    before = {name: since_boot(each, own * 64 + boot) for name, each in amount.items()}
    running = {name: np.cumsum(each) - each for name, each in amount.items()}
    return Surroundings(own, start, end, boot, rate, before, running, own * _LARGE + start)


def since_boot(amount: npt.NDArray[np.int64], group: Ints) -> Ints:
    """Return the sum of the amounts before each element inside its group; groups lie together."""
    running = np.cumsum(amount) - amount
    is_first = np.append(np.array([True]), group[1:] != group[:-1])
    return np.asarray(running - running[is_first][np.cumsum(is_first) - 1], dtype=np.int64)


def _asked(plan: Cluster, line: Timeline, node: Ints) -> dict[str, Ints]:
    """Return what each device's stretch adds to its node."""
    spread = np.array([float(each.fraction) for each in plan.devices])[line.device]
    count = np.array([max(each.gpu_count, 1) for each in plan.nodes])[node]
    part = spread / count
    processors = np.array([each.hardware.cpu_count for each in plan.nodes])[node]
    port = np.array([each.hardware.line_rate_bytes_per_second for each in plan.nodes])[node]
    host = np.array([each.hardware.host_memory_bytes for each in plan.nodes])[node]
    of = {name: values[line.activity] for name, values in line.activities.items()}
    held = (line.job >= 0).astype(float)
    values = {
        "user": of["cpu"] * processors * part * _MICRO * held,
        "system": 0.08 * of["cpu"] * processors * part * _MICRO * held,
        "iowait": of["iowait"] * processors * part * _MICRO,
        # One stalled job stalls "some task" of its node, whatever else runs there.
        "pressure_cpu": of["pressure_cpu"] * _MICRO * np.minimum(part * 6, 1),
        "pressure_io": of["pressure_io"] * _MICRO * np.minimum(part * 6, 1),
        "pressure_memory": of["pressure_memory"] * _MICRO * np.minimum(part * 6, 1),
        "transmit": of["network"] * port * part,
        "receive": of["network"] * port * part * 0.98,
        "wait": of["wait"] * part,
        "read": of["read"] * spread * held,
        "written": of["written"] * spread,
        "memory": held * host * part * 0.5,
        "office": held * 2e5 * spread,
    }
    return {name: np.rint(each).astype(np.int64) for name, each in values.items()}


def _base(plan: Cluster, name: str, node: Ints) -> Ints:
    """Return what a node does by itself."""
    processors = np.array([each.hardware.cpu_count for each in plan.nodes])[node]
    host = np.array([each.hardware.host_memory_bytes for each in plan.nodes])[node]
    values = {
        "system": _IDLE_SYSTEM * _MICRO * processors, "pressure_cpu": 2_000.0 + 0 * processors,
        "pressure_io": 1_000.0 + 0 * processors, "transmit": 2e4 + 0 * processors, "receive": 2e4 + 0 * processors,
        "written": 2e5 + 0 * processors, "office": 5e4 + 0 * processors, "memory": 0.03 * host,
    }  # fmt: skip
    return np.rint(values.get(name, np.zeros(len(node)))).astype(np.int64)


def _bound(plan: Cluster, node: Ints, rate: dict[str, Ints]) -> None:
    """Keep sums within what a node has: its processors, a second's seconds, its line rate."""
    most = int(_MOST * _MICRO)
    for name in ("pressure_cpu", "pressure_io", "pressure_memory"):
        rate[name] = np.minimum(rate[name], most)
    processors = np.array([each.hardware.cpu_count for each in plan.nodes])[node] * _MICRO
    rate["user"] = np.minimum(rate["user"], (processors * 9) // 10)
    rate["iowait"] = np.minimum(rate["iowait"], processors - rate["user"] - rate["system"])
    port = np.array([each.hardware.line_rate_bytes_per_second for each in plan.nodes])[node]
    for name in ("transmit", "receive"):
        rate[name] = np.minimum(rate[name], (port * 19) // 20)
