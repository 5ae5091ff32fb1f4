"""Minutes of older days as retention leaves them, read off the plan."""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.simulate.frames import Column, exact_seconds, frame, noise, places, words
from collectors.simulate.node_rows import READ_SECONDS
from collectors.simulate.phases import HELD, LOST, ORPHAN, RUN
from collectors.simulate.pieces import pieces
from collectors.simulate.profiles import duty_cycle
from collectors.simulate.sampling import Scene
from collectors.simulate.surroundings import PORTS
from ledger.tables import GpuMinute, NodeMinute

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_MINUTE: Final = 60
_MILLI: Final = 1_000
_MIB: Final = 2**20


def minute_rows(known: Scene, span: tuple[int, int]) -> pl.DataFrame:
    """Return one row per device and minute that samples cover; where something changed, sums over its parts."""
    index, start, end = pieces(known.line, span, _MINUTE)
    seen = known.line.is_seen[index]
    index, start, end = index[seen], start[seen], end[seen]
    minute = start // _MINUTE * _MINUTE
    device = known.line.device[index]
    is_first = np.append(np.array([True]), (device[1:] != device[:-1]) | (minute[1:] != minute[:-1]))[: len(index)]
    group = np.cumsum(is_first) - 1
    alone = np.bincount(group, minlength=1)[group] == 1
    whole = _Parts(known, index[alone], start[alone], end[alone])
    mixed = _Parts(known, index[~alone], start[~alone], end[~alone])
    both = pl.concat([whole.frame(minute[alone]), mixed.joined(group[~alone], minute[~alone])])
    # Sorting by numbers and gathering is several times faster than sorting by names.
    rank = known.devices.rank[np.concatenate([device[alone], device[~alone & is_first]])]
    order = np.lexsort((np.concatenate([minute[alone], minute[~alone & is_first]]), rank))
    return both[pl.Series(order)]


class _Parts:
    """Pieces of minutes with what they measure, as arrays."""

    def __init__(self, known: Scene, index: Ints, start: Ints, end: Ints) -> None:
        self.known, self.index = known, index
        self.device = known.line.device[index]
        self.length = end - start
        self.reads = known.line.kind[index] != LOST
        self.values = self._values(minute=start // _MINUTE)

    def _values(self, minute: Ints) -> dict[str, Floats]:
        line, devices = self.known.line, self.known.devices
        spec = devices.spec
        kind = line.kind[self.index]
        of = {name: values[line.activity[self.index]] for name, values in line.activities.items()}
        busy = kind == RUN
        wobble = 1 + 0.02 * (noise(self.device, minute, 21) - 0.5)
        blind = np.where(devices.profiled[self.device], 1.0, np.nan)
        keeps = (kind >= HELD) & (kind <= ORPHAN)
        hot = np.where(line.is_hot[self.index], 0.72, 1.0)
        link = of["nvlink"] * spec["nvlink_bytes_per_second"][self.device]
        duty = np.where(busy, duty_cycle(of["graphics"]), 0.0)
        values = {
            "kernel_active_ratio": np.minimum(duty * wobble, 1.0),
            "memory_used_bytes": spec["baseline_bytes"][self.device]
            + np.where(keeps, of["memory"], 0.0) * spec["memory_bytes"][self.device],
            "power_watts": devices.watts[self.index], "power_limit_watts": spec["limit_watts"][self.device],
            "sm_clock_ratio": np.where(busy, of["clock"] * hot, 0.18),
            "pcie_bytes_per_second": of["pcie"], "nvlink_bytes_per_second": 2 * link,
        }  # fmt: skip
        for name, source in (
            ("graphics_active_ratio", "graphics"), ("sm_active_ratio", "sm"), ("sm_occupancy_ratio", "occupancy"),
            ("tensor_active_ratio", "tensor"), ("dram_active_ratio", "dram"),
        ):  # fmt: skip
            values[name] = np.minimum(of[source] * wobble, 1.0) * blind
        hidden = ~self.reads
        for each in values.values():
            each[hidden] = np.nan
        values["capped"] = np.where(hidden, np.nan, of["capped"] * self.length)
        values["energy_joules"] = np.where(hidden, np.nan, devices.watts[self.index] * self.length)
        return values

    def frame(self, minute: Ints) -> pl.DataFrame:
        """Return a row for each piece."""
        return self._rows(self.device, minute, self.length, self.values)

    def joined(self, group: Ints, minute: Ints) -> pl.DataFrame:
        """Return a row for each group of pieces that share a minute."""
        starts = np.unique(group, return_index=True)[1]
        if len(starts) == 0:
            return frame(GpuMinute, {}, 0)
        add = np.add.reduceat
        values: dict[str, Floats] = {}
        weight = self.length * self.reads
        for name, each in self.values.items():
            known = np.where(np.isnan(each), 0.0, each)
            measured = add(weight * ~np.isnan(each), starts)
            with np.errstate(invalid="ignore"):
                if name in {"capped", "energy_joules"}:
                    values[name] = np.where(measured > 0, add(known, starts), np.nan)
                elif name in {"memory_used_bytes", "power_limit_watts"}:
                    values[name] = np.where(measured > 0, np.maximum.reduceat(known, starts), np.nan)
                else:
                    values[name] = add(known * weight, starts) / np.where(measured > 0, measured, np.nan)
        return self._rows(self.device[starts], minute[starts], add(self.length, starts), values)

    def _rows(self, device: Ints, minute: Ints, length: Ints, values: dict[str, Floats]) -> pl.DataFrame:
        devices = self.known.devices
        node = devices.node[device]
        data: dict[str, Column] = {
            "minute_start": minute, "cluster": words(devices.cluster_names, node),
            "node": words(devices.node_names, node), "gpu_uuid": words(devices.uuids, device),
            "observed_seconds": exact_seconds(length * _MILLI),
            "power_capped_seconds": _maybe_seconds(values["capped"]),
            **{name: each for name, each in values.items() if name != "capped"},
        }  # fmt: skip
        return frame(GpuMinute, data, len(minute))


def _maybe_seconds(seconds: Floats) -> pl.Series:
    blank = np.isnan(seconds)
    exact = exact_seconds(np.rint(np.where(blank, 0, seconds) * _MILLI).astype(np.int64))
    return exact.to_frame("value").select(pl.when(~pl.Series(blank)).then(pl.col("value"))).to_series()


def node_minute_rows(known: Scene, span: tuple[int, int]) -> pl.DataFrame:
    """Return one row per node and minute in which its agent was heard: means over the part in which it was."""
    plan, around = known.plan, known.around
    first = span[0] // _MINUTE * _MINUTE
    count = -(-(span[1] - first) // _MINUTE)
    node = np.repeat(np.arange(len(plan.nodes), dtype=np.int64), count)
    minute = np.tile(np.arange(count, dtype=np.int64) * _MINUTE + first, len(plan.nodes))
    begins = np.array([each.start for each in plan.nodes], dtype=np.int64)[node]
    ends = np.array([plan.node_end(each.index) for each in plan.nodes], dtype=np.int64)[node]
    lower, upper = np.clip(minute, begins, ends), np.clip(minute + _MINUTE, begins, ends)
    heard = lower < upper
    silent = [(gap.node, gap.start, gap.end) for gap in plan.gaps]
    silent += [(fault.node, fault.start, fault.end) for fault in plan.faults if fault.kind == "down"]
    for where, begin, end in silent:
        mine = node == where
        heard &= ~mine | (lower < begin) | (upper > end)
        lower = np.where(mine & (begin <= lower) & (lower < end) & (end < upper), end, lower)
        upper = np.where(mine & (lower < begin) & (begin < upper) & (upper <= end), begin, upper)
    node, minute, lower, upper = node[heard], minute[heard], lower[heard], upper[heard]
    here, there = around.place(node, lower), around.place(node, upper)
    length = (upper - lower).astype(float)
    mean: dict[str, Floats] = {}
    for name in _MEANS:
        running, slope = around.running[name], around.rate[name]
        amount = running[there] + slope[there] * (upper - around.start[there])
        mean[name] = (amount - running[here] - slope[here] * (lower - around.start[here])) / length
    processors = np.array([each.hardware.cpu_count * 1e6 for each in plan.nodes])[node]
    port = np.array([float(each.hardware.line_rate_bytes_per_second) for each in plan.nodes])[node]
    clusters, names = places(plan)
    data: dict[str, Column] = {
        "minute_start": minute, "cluster": words(clusters, node), "node": words(names, node),
        "node_cpu_active_ratio": (mean["user"] + mean["system"]) / processors,
        "node_cpu_iowait_ratio": mean["iowait"] / processors,
        "node_cpu_pressure_ratio": mean["pressure_cpu"] / 1e6,
        "node_io_pressure_ratio": mean["pressure_io"] / 1e6,
        "node_memory_pressure_ratio": mean["pressure_memory"] / 1e6,
        "node_network_active_ratio": np.maximum(mean["transmit"], mean["receive"]) / port,
        "node_network_wait_count": np.rint(mean["wait"] * length * PORTS),
        "node_file_system_wait_ratio": _waited(mean["read"], length),
    }  # fmt: skip
    return frame(NodeMinute, data, len(minute))


def _waited(read: Floats, length: Floats) -> pl.Series:
    """Return how many reads were under way on average: of whole minutes, as often as file systems are sampled."""
    waiting = np.minimum(read / _MIB * READ_SECONDS, 1.0)
    return pl.Series(np.where(length == _MINUTE, waiting, np.nan)).fill_nan(None)


_MEANS: Final = (
    "user", "system", "iowait", "pressure_cpu", "pressure_io", "pressure_memory", "transmit", "receive", "wait", "read",
)  # fmt: skip
