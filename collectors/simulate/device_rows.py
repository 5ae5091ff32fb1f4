"""Samples of devices: `gpu_sample` of a stretch of time.

A sample describes the ten seconds that begin with it,
as the ledger reads samples. Counters are the exact integral of
the rates: energy grows by the sampled power times ten seconds, whichever window is asked for.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.simulate.frames import Column, frame, noise, places, words
from collectors.simulate.phases import GRACE, HELD, LOST, ORPHAN, RUN
from collectors.simulate.profiles import duty_cycle
from collectors.simulate.shapes import STEP, Cluster
from collectors.simulate.surroundings import since_boot
from collectors.simulate.timeline import HOT_HARD, HOT_SOFT, Timeline
from ledger.tables import GpuSample

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_JITTER_WATTS: Final = 2.0
"""How far a board's power wanders; small against its idle power, so that no counter ever falls."""

_IDLE_CLOCK: Final = 0.18

_PCIE_BYTES_BEFORE: Final = 2.0**40
"""What PCIe had carried each way before the plan begins: more than a counter of 32 bits can show."""


@dataclass(frozen=True)
class Devices:
    """The devices of a plan as columns, and the strings and counters that their samples need."""

    plan: Cluster
    line: Timeline
    node: Ints
    cluster_names: list[str]
    node_names: list[str]
    uuids: list[str]
    holders: list[str]
    users: list[str]
    rank: Ints
    fraction: Floats
    spec: dict[str, Floats]
    profiled: npt.NDArray[np.bool_]
    watts: Floats
    before: dict[str, Floats]


def devices(plan: Cluster, line: Timeline) -> Devices:
    """Return what sampling needs, computed once for the whole plan."""
    hardware = [plan.hardware(each.index) for each in plan.devices]
    names = (
        "memory_bytes", "baseline_bytes", "idle_watts", "limit_watts", "clock_hertz", "memory_clock_hertz",
        "nvlink_bytes_per_second",
    )  # fmt: skip
    spec = {name: np.array([float(getattr(each, name)) for each in hardware]) for name in names}
    fraction = np.array([float(each.fraction) for each in plan.devices])
    for name in ("memory_bytes", "baseline_bytes", "idle_watts", "limit_watts", "nvlink_bytes_per_second"):
        spec[name] = spec[name] * fraction
    of = {name: values[line.activity] for name, values in line.activities.items()}
    # An orphan keeps its memory and does nothing.
    share = np.where(line.kind >= RUN, of["power"], np.where(line.kind == HELD, of["power"], 0.0))
    share = np.where((line.kind == ORPHAN) | (line.kind == GRACE), 0.0, share)
    share = np.where(line.is_hot, share * 0.8, share)
    idle, limit = spec["idle_watts"][line.device], spec["limit_watts"][line.device]
    watts = np.where(line.kind == LOST, 0.0, idle + share * (limit - idle))
    length = line.length.astype(float)
    link = of["nvlink"] * spec["nvlink_bytes_per_second"][line.device]
    amounts = {
        "energy": watts * length, "cap": of["capped"] * length, "soft": line.is_hot * length * HOT_SOFT / 1000,
        "hard": line.is_hot * length * HOT_HARD / 1000, "pcie": of["pcie"] * length, "nvlink": link * length,
    }  # fmt: skip
    group = line.device * 64 + line.boot
    # Whole units (millijoules, microseconds, bytes) add up without rounding.
    units = {"energy": 1e3, "cap": 1e6, "soft": 1e6, "hard": 1e6, "pcie": 1.0, "nvlink": 1.0}
    before = {
        name: since_boot(np.rint(amount * units[name]).astype(np.int64), group) / units[name]
        for name, amount in amounts.items()
    }
    clusters, nodes = places(plan)
    node = np.array([each.node for each in plan.devices], dtype=np.int64)
    return Devices(
        plan, line, node, clusters, nodes, [each.uuid for each in plan.devices], _holders(plan, line),
        [*(job.user for job in plan.jobs), "nobody"], _ranks(plan), fraction, spec,
        np.array([each.quality == "A" for each in hardware]), watts, before,
    )  # fmt: skip


def _ranks(plan: Cluster) -> Ints:
    """Return each device's place in the order in which tables keep their rows."""
    nodes = [plan.nodes[each.node] for each in plan.devices]
    names = [(node.provider.cluster, node.name, each.uuid) for node, each in zip(nodes, plan.devices, strict=True)]
    rank = np.empty(len(names), dtype=np.int64)
    rank[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return rank


def _holders(plan: Cluster, line: Timeline) -> list[str]:
    """Return each job's id, with its partner's where two share a device; the last is nobody's."""
    found = []
    for job in plan.jobs:
        other = line.partner.get(job.index)
        ids = [job.job_id] if other is None else sorted([job.job_id, plan.jobs[other].job_id])
        found.append(",".join(ids))
    return [*found, ""]


def instants(line: Timeline, window: tuple[int, int], step: int) -> tuple[Ints, Ints]:
    """Return the stretch and the instant of each sample of a window, by device and time.

    A silent agent leaves out the samples inside its gap; those at both edges exist.
    """
    lower, upper = window
    other = line.device[1:] != line.device[:-1]
    opens, closes = np.append(np.array([True]), other), np.append(other, np.array([True]))
    first = -(-np.maximum(line.start, lower) // step)
    # What ends a device's existence is its last sample: without it the last step would have no end.
    last = np.minimum(np.where(closes, line.end // step, -(-line.end // step) - 1), (upper - 1) // step)
    count = np.maximum(last - first + 1, 0)
    index = np.repeat(np.arange(len(count), dtype=np.int64), count)
    offset = np.arange(len(index), dtype=np.int64) - np.repeat(np.cumsum(count) - count, count)
    at = (first[index] + offset) * step
    falls_silent = ~line.is_seen & (opens | np.append(np.array([True]), line.is_seen[:-1]))
    keep = line.is_seen[index] | (falls_silent[index] & (at == line.start[index]))
    return index[keep], at[keep]


def gpu_rows(known: Devices, window: tuple[int, int]) -> pl.DataFrame:
    """Return the samples of all devices in a window of epoch seconds."""
    line = known.line
    index, at = instants(line, window, STEP)
    device, activity = line.device[index], line.activity[index]
    lost = line.kind[index] == LOST
    data = {**identity(known, device, at, STEP), **_rates(known, index, device, activity, at)}
    data |= _counters(known, index, device, activity, at) | _processes(known, index)
    blank = lost if lost.any() else None
    if blank is not None:
        data = {name: _blanked(value, blank, name) for name, value in data.items()}
    data["status"] = words(["ok", "lost"], lost.astype(np.int64))
    data["status_reason"] = words([None, "NVML_ERROR_GPU_IS_LOST"], lost.astype(np.int64))
    data["evidence_quality"] = words(["C", "A", "X"], np.where(lost, 2, known.profiled[device].astype(np.int64)))
    return frame(GpuSample, data, len(index))


_KEPT: Final = frozenset({"sampled_at", "cluster", "node", "boot_id", "gpu_uuid", "step_seconds", "collect_seconds"})


def _blanked(value: Column, lost: npt.NDArray[np.bool_], name: str) -> Column:
    if name in _KEPT:
        return value
    if not isinstance(value, (pl.Series, np.ndarray)):
        return value
    return pl.Series(value).to_frame("value").select(pl.when(~pl.Series(lost)).then(pl.col("value"))).to_series()


def identity(known: Devices, device: Ints, at: Ints, step: int) -> dict[str, Column]:
    """Return what says when and of which device each row is."""
    node = known.node[device]
    boots = boot_of(known.plan, node, at)
    return {
        "sampled_at": at, "cluster": words(known.cluster_names, node), "node": words(known.node_names, node),
        "boot_id": words(boot_ids(known.plan), node * 4 + np.minimum(boots, 3)), "step_seconds": float(step),
        "gpu_uuid": words(known.uuids, device),
    }  # fmt: skip


def boot_ids(plan: Cluster) -> list[str]:
    """Return the boot ids of each node, four for each: no plan starts one more often."""
    return [
        f"{node.index:08x}-{plan.seed % 65_536:04x}-4000-8000-{boot:012x}" for node in plan.nodes for boot in range(4)
    ]


def boot_of(plan: Cluster, node: Ints, at: Ints) -> Ints:
    """Return how often a node had started again at an instant."""
    boots = np.zeros(len(node), dtype=np.int64)
    for fault in plan.faults:
        if fault.kind == "down":
            boots += (node == fault.node) & (at >= fault.end)
    return boots


def _rates(known: Devices, index: Ints, device: Ints, activity: Ints, at: Ints) -> dict[str, Column]:
    line, spec = known.line, known.spec
    of = {name: values[activity] for name, values in line.activities.items()}
    wobble = 1 + 0.06 * (noise(device, at, 1) - 0.5)
    kind = line.kind[index]
    busy = kind == RUN
    blind = np.where(known.profiled[device], 1.0, np.nan)
    watts = known.watts[index] + _JITTER_WATTS * known.fraction[device] * (
        noise(device, at + STEP, 2) - noise(device, at, 2)
    )
    warm = 30 + 42 * watts / np.maximum(spec["limit_watts"][device], 1) + 2 * noise(device, at, 3)
    hot = line.is_hot[index]
    keeps = (kind == HELD) | busy | (kind == ORPHAN) | (kind == GRACE)
    duty = np.where(busy, duty_cycle(of["graphics"]), 0.0)
    clock = np.where(busy, of["clock"] * np.where(hot, 0.72, 1.0), _IDLE_CLOCK)
    reasons = np.where(hot, 0x60, np.where(of["capped"] > 0, 0x4, np.where(busy, 0x0, 0x1)))
    ratios = {
        name: np.minimum(of[source] * wobble, 1.0) * blind
        for name, source in (
            ("graphics_active_ratio", "graphics"), ("sm_active_ratio", "sm"), ("sm_occupancy_ratio", "occupancy"),
            ("tensor_active_ratio", "tensor"), ("dram_active_ratio", "dram"),
        )
    }  # fmt: skip
    return {
        **ratios,
        "kernel_active_ratio": np.round(np.minimum(duty * wobble, 1.0), 2),
        "memory_active_ratio": np.round(np.minimum(of["dram"] * wobble, 1.0), 2),
        "memory_used_bytes": spec["baseline_bytes"][device]
        + np.where(keeps, of["memory"], 0.0) * spec["memory_bytes"][device],
        "memory_total_bytes": spec["memory_bytes"][device], "power_watts": watts,
        "power_limit_watts": spec["limit_watts"][device], "temperature_celsius": np.round(np.where(hot, 88.0, warm)),
        "memory_temperature_celsius": np.round(np.where(hot, 94.0, warm + 8)),
        "sm_clock_hertz": clock * spec["clock_hertz"][device], "sm_clock_max_hertz": spec["clock_hertz"][device],
        "memory_clock_hertz": spec["memory_clock_hertz"][device],
        "performance_state_index": np.zeros(len(index), dtype=np.int64),
        "clock_event_reasons_bitmask": reasons, "collect_seconds": 0.004,
    }  # fmt: skip


def _counters(known: Devices, index: Ints, device: Ints, activity: Ints, at: Ints) -> dict[str, Column]:
    line = known.line
    since = (at - line.start[index]).astype(float)
    of = line.activities
    jitter = _JITTER_WATTS * STEP * known.fraction[device] * noise(device, at, 2)
    pcie = known.before["pcie"][index] + of["pcie"][activity] * since
    link_rate = of["nvlink"][activity] * known.spec["nvlink_bytes_per_second"][device]
    link = known.before["nvlink"][index] + link_rate * since
    hot = line.is_hot[index]
    return {
        "energy_joules_total": known.before["energy"][index] + known.watts[index] * since + jitter,
        "sw_thermal_throttle_seconds_total": known.before["soft"][index] + hot * since * HOT_SOFT / 1000,
        "hw_thermal_throttle_seconds_total": known.before["hard"][index] + hot * since * HOT_HARD / 1000,
        "power_brake_throttle_seconds_total": np.zeros(len(index)),
        "power_cap_seconds_total": known.before["cap"][index] + of["capped"][activity] * since,
        "pcie_transmit_bytes_total": _PCIE_BYTES_BEFORE + 0.4 * pcie,
        "pcie_receive_bytes_total": _PCIE_BYTES_BEFORE + 0.6 * pcie,
        "nvlink_transmit_bytes_total": link, "nvlink_receive_bytes_total": link,
    }  # fmt: skip


def _processes(known: Devices, index: Ints) -> dict[str, Column]:
    line = known.line
    kind, job = line.kind[index], line.job[index]
    own = (kind == HELD) | (kind == RUN)
    stray = (kind == ORPHAN) | (kind == GRACE)
    dead = np.array([orphan.job if orphan.keeps_id else -1 for orphan in known.plan.orphans] + [-1], dtype=np.int64)
    named = np.where(own, job, np.where(stray, dead[line.orphan[index]], -1))
    shared = np.isin(job, np.array(list(line.partner), dtype=np.int64))
    return {
        "process_count": np.where(own, 1 + shared, stray.astype(np.int64)).astype(np.int64),
        "process_job_ids": words(known.holders, named),
        "jobless_process_count": (stray & (named < 0)).astype(np.int64),
    }
