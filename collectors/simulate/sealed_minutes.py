"""Minutes of older days as retention leaves them, read off the plan."""

from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.simulate.frames import Column, exact_seconds, frame, noise, words
from collectors.simulate.phases import HELD, LOST, ORPHAN, RUN
from collectors.simulate.pieces import hot_milliseconds, pieces, restarts, submitted
from collectors.simulate.sampling import Scene
from collectors.simulate.surroundings import PORTS
from collectors.simulate.timeline import CODE
from ledger.tables import GpuMinute

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_MINUTE: Final = 60
_MILLI: Final = 1_000


def minute_rows(known: Scene, span: tuple[int, int]) -> pl.DataFrame:
    """Return one row per device and minute; minutes in which something changed are sums over their parts."""
    index, start, end = pieces(known.line, span, _MINUTE)
    minute = start // _MINUTE * _MINUTE
    device = known.line.device[index]
    is_first = np.append(np.array([True]), (device[1:] != device[:-1]) | (minute[1:] != minute[:-1]))
    group = np.cumsum(is_first) - 1
    alone = np.bincount(group)[group] == 1
    around = _Around(known, span)
    whole = _Parts(known, around, index[alone], start[alone], end[alone])
    mixed = _Parts(known, around, index[~alone], start[~alone], end[~alone])
    both = pl.concat([whole.frame(minute[alone]), mixed.joined(group[~alone], minute[~alone])])
    # Sorting by numbers and gathering is several times faster than sorting by names.
    rank = known.devices.rank[np.concatenate([device[alone], device[~alone & is_first]])]
    order = np.lexsort((np.concatenate([minute[alone], minute[~alone & is_first]]), rank))
    return both[pl.Series(order)]


class _Parts:
    """Pieces of minutes with what they measure, as arrays."""

    def __init__(self, known: Scene, around: "_Around", index: Ints, start: Ints, end: Ints) -> None:
        self.known, self.around, self.index = known, around, index
        line = known.line
        self.device = line.device[index]
        self.length = end - start
        self.job = line.job[index]
        hot = hot_milliseconds(line, index, self.length)
        self.seen = line.is_seen[index]
        state = line.state[index]
        self.states = {word: np.where(state == code, self.length * _MILLI - hot, 0) for word, code in CODE.items()}
        self.states["throttled"] = self.states["throttled"] + hot
        self.reads = self.seen & (line.kind[index] != LOST)
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
        duty = np.where(busy, np.minimum(of["graphics"] + 0.03, 1.0), 0.0)
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
        values = dict(self.values)
        capped = values.pop("capped")
        data: dict[str, Column] = {f"{word}_seconds": exact_seconds(each) for word, each in self.states.items()}
        data |= {
            "existed_seconds": exact_seconds(self.length * _MILLI),
            "observed_seconds": exact_seconds(self.length * _MILLI * self.seen),
            "power_capped_seconds": _maybe_seconds(capped), **values,
        }  # fmt: skip
        return frame(GpuMinute, {**data, **self._dimensions(self.device, self.index, self.job, minute)}, len(minute))

    def joined(self, group: Ints, minute: Ints) -> pl.DataFrame:
        """Return a row for each group of pieces that share a minute."""
        starts = np.unique(group, return_index=True)[1]
        if len(starts) == 0:
            return frame(GpuMinute, {}, 0)
        add = np.add.reduceat
        length = add(self.length, starts)
        data: dict[str, Column] = {
            f"{word}_seconds": exact_seconds(add(each, starts)) for word, each in self.states.items()
        }
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
        capped = values.pop("capped")
        longest = _longest(self.job, self.length, group)
        data |= {
            "existed_seconds": exact_seconds(length * _MILLI),
            "observed_seconds": exact_seconds(add(self.length * _MILLI * self.seen, starts)),
            "power_capped_seconds": _maybe_seconds(capped), **values,
        }  # fmt: skip
        told = np.lexsort((weight, group))[np.append(starts[1:], len(group)) - 1]
        dimensions = self._dimensions(self.device[starts], self.index[told], longest, minute[starts])
        dimensions["holder_count"] = np.maximum.reduceat(self._holder_count(self.job), starts)
        return frame(GpuMinute, {**data, **dimensions}, len(starts))

    def _holder_count(self, job: Ints) -> Ints:
        shared = np.isin(job, np.array(list(self.known.line.partner), dtype=np.int64))
        return np.where(job < 0, 0, 1 + shared).astype(np.int64)

    def _dimensions(self, device: Ints, index: Ints, job: Ints, minute: Ints) -> dict[str, Column]:
        plan, line, devices = self.known.plan, self.known.line, self.known.devices
        node = devices.node[device]
        single = np.where(np.isin(job, np.array(list(line.partner), dtype=np.int64)), -1, job)
        seen = line.is_seen[index]
        quality = np.where(line.kind[index] == LOST, 2, devices.profiled[device].astype(np.int64))
        return {
            "minute_start": minute, "cluster": words(devices.cluster_names, node),
            "node": words(devices.node_names, node), "gpu_uuid": words(devices.uuids, device),
            "job_id": words(devices.holders, job),
            "restart_count": restarts(plan, single).fill_null(0), "submitted_at": submitted(plan, single),
            "holder_count": self._holder_count(job),
            "evidence_quality": words(["C", "A", "X", None], np.where(seen, quality, 3)),
            **self.around.columns(node, minute, seen),
        }  # fmt: skip


def _maybe_seconds(seconds: Floats) -> pl.Series:
    blank = np.isnan(seconds)
    exact = exact_seconds(np.rint(np.where(blank, 0, seconds) * _MILLI).astype(np.int64))
    return exact.to_frame("value").select(pl.when(~pl.Series(blank)).then(pl.col("value"))).to_series()


def _longest(job: Ints, length: Ints, group: Ints) -> Ints:
    """Return the holder of most of each group's time, the earlier of equals."""
    order = np.lexsort((np.arange(len(job)), job, group))
    opens = np.flatnonzero(np.append(np.array([True]), (np.diff(group[order]) != 0) | (np.diff(job[order]) != 0)))
    sums, first = np.add.reduceat(length[order], opens), order[opens]
    best = np.lexsort((-first, sums, group[first]))
    last = np.append(np.flatnonzero(np.diff(group[first][best])), len(best) - 1)
    found: Ints = job[first[best[last]]]
    return found


class _Around:
    """How each node was in each minute of a span: means over the part of the minute in which it existed."""

    def __init__(self, known: Scene, span: tuple[int, int]) -> None:
        plan, around = known.plan, known.around
        self.first = span[0] // _MINUTE * _MINUTE
        self.count = -(-(span[1] - self.first) // _MINUTE)
        node = np.repeat(np.arange(len(plan.nodes), dtype=np.int64), self.count)
        minute = np.tile(np.arange(self.count, dtype=np.int64) * _MINUTE + self.first, len(plan.nodes))
        begins = np.array([each.start for each in plan.nodes], dtype=np.int64)[node]
        ends = np.array([plan.node_end(each.index) for each in plan.nodes], dtype=np.int64)[node]
        lower, upper = np.clip(minute, begins, ends), np.clip(minute + _MINUTE, begins, ends)
        here, there = around.place(node, lower), around.place(node, upper)
        length = (upper - lower).astype(float)
        self.values: dict[str, Floats] = {}
        for name in _MEANS:
            running, slope = around.running[name], around.rate[name]
            amount = running[there] + slope[there] * (upper - around.start[there])
            amount = amount - running[here] - slope[here] * (lower - around.start[here])
            self.values[name] = amount / np.maximum(length, 1.0)
        self.values["wait_count"] = np.rint(self.values["wait"] * length * PORTS)
        self.jobs = around.rate["jobs"][around.place(node, (lower + upper) // 2)]
        processors = np.array([each.hardware.cpu_count * 1e6 for each in plan.nodes])[node]
        port = np.array([float(each.hardware.line_rate_bytes_per_second) for each in plan.nodes])[node]
        self.values["cpu"] = (self.values["user"] + self.values["system"]) / processors
        self.values["iowait"] = self.values["iowait"] / processors
        self.values["network"] = np.maximum(self.values["transmit"], self.values["receive"]) / port
        for name in ("pressure_cpu", "pressure_io", "pressure_memory"):
            self.values[name] = self.values[name] / 1e6

    def columns(self, node: Ints, minute: Ints, seen: Bools) -> dict[str, Column]:
        """Return the evidence of some nodes' minutes; null where nothing was seen."""
        place = node * self.count + (minute - self.first) // _MINUTE
        found: dict[str, Column] = {
            column: np.where(seen, self.values[name][place], np.nan) for column, name in _COLUMNS.items()
        }
        return {**found, "node_job_count": self.jobs[place]}


_MEANS: Final = (
    "user", "system", "iowait", "pressure_cpu", "pressure_io", "pressure_memory", "transmit", "receive", "wait",
)  # fmt: skip
_COLUMNS: Final = {
    "node_cpu_active_ratio": "cpu",
    "node_cpu_iowait_ratio": "iowait",
    "node_cpu_pressure_ratio": "pressure_cpu",
    "node_io_pressure_ratio": "pressure_io",
    "node_memory_pressure_ratio": "pressure_memory",
    "node_network_active_ratio": "network",
    "node_network_wait_count": "wait_count",
}
