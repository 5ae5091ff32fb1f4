"""Every device cut into stretches in which nothing changes: what samples, sealed rows and truth are read from."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from collectors.simulate.phases import DOWN, FREE, GRACE, HELD, LOST, ORPHAN, RUN, SETUP, phases
from collectors.simulate.profiles import EMPTY, LOADED, Activities, slowed
from collectors.simulate.shapes import STEP, Cluster
from ledger.names import STATES

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

REASONS: Final = (
    "", "no_sample", "lost", "node_down", "drained", "reservation", "fragmentation", "no_demand",
)  # fmt: skip
_GRACE_SECONDS: Final = 300 + STEP
"""A process without a job is stray from the first sample at which it is older than 300 s."""

HOT_SOFT: Final = 300
HOT_HARD: Final = 50
"""Thousandths of a hot stretch in which the driver slows the clock, and in which of them the board does so too."""

CODE: Final = {state: code for code, state in enumerate(STATES)}
_LARGE: Final = 2**36


@dataclass
class Timeline:
    """Stretches ordered by device and start; one array element each."""

    device: Ints
    start: Ints
    end: Ints
    job: Ints
    kind: Ints
    activity: Ints
    state: Ints
    reason: Ints
    boot: Ints
    orphan: Ints
    is_seen: Bools
    is_hot: Bools
    activities: dict[str, Floats]
    partner: dict[int, int]
    """The second holder of a job's shared device."""

    @property
    def length(self) -> Ints:
        """Return the seconds of each stretch."""
        return self.end - self.start


@dataclass
class _Raw:
    """Stretches on which the plan says who holds a device, not yet cut."""

    device: Ints
    start: Ints
    end: Ints
    job: Ints
    kind: Ints
    activity: Ints
    orphan: Ints


def timeline(plan: Cluster) -> Timeline:
    """Return the stretches of all devices; they cover each device's existence without holes or overlaps."""
    activities = Activities()
    activities.index(EMPTY)
    raw, partner = _held(plan, activities)
    full = _with_free(plan, raw)
    cut = _cut(full, _edges(plan))
    slow = np.array([activities.index(slowed(each)) for each in activities.all()], dtype=np.int64)
    activity = np.where(_covered(plan, cut, "straggler") & (cut.kind == RUN), slow[cut.activity], cut.activity)
    every = activities.all()
    by_quality = [np.array([CODE[each.state(quality)] for each in every], dtype=np.int64) for quality in "AC"]  # type: ignore[index]
    profiled = np.array([plan.hardware(device.index).quality == "A" for device in plan.devices])
    busy = np.where(profiled[cut.device], by_quality[0][activity], by_quality[1][activity])
    seen = _seen(plan, cut)
    state, reason = _states(plan, cut, busy, seen)
    return Timeline(
        cut.device, cut.start, cut.end, cut.job, cut.kind, activity, state, reason, _boots(plan, cut), cut.orphan, seen,
        _covered(plan, cut, "thermal") & (cut.kind == RUN), activities.columns(), partner,
    )  # fmt: skip


def _held(plan: Cluster, activities: Activities) -> tuple[_Raw, dict[int, int]]:
    rows: list[tuple[int, int, int, int, int, int, int]] = []
    partner: dict[int, int] = {}
    owner: dict[int, int] = {}
    for job in plan.jobs:
        if job.started is None:
            continue
        if plan.devices[job.devices[0]].is_shared:
            first = owner.setdefault(job.devices[0], job.index)
            if first != job.index:
                partner[first] = job.index
                continue
        for start, end, kind, activity in phases(job, job.started, min(job.ended or plan.end, plan.end), activities):
            rows.extend((device, start, end, job.index, kind, activity, -1) for device in job.devices)
    rest = activities.index(LOADED)
    for index, orphan in enumerate(plan.orphans):
        doubt = min(orphan.start + _GRACE_SECONDS, plan.end)
        rows.append((orphan.device, orphan.start, doubt, -1, GRACE, rest, index))
        rows.append((orphan.device, doubt, min(orphan.end, plan.end), -1, ORPHAN, rest, index))
    for fault in plan.faults:
        kind = LOST if fault.kind == "xid" else DOWN
        rows.extend((device, fault.start, min(fault.end, plan.end), -1, kind, 0, -1) for device in fault.devices)
    table = np.array(rows, dtype=np.int64).reshape(-1, 7).T
    keep = table[2] > table[1]
    return _Raw(*(column[keep] for column in table)), partner


def _with_free(plan: Cluster, raw: _Raw) -> _Raw:
    """Fill what nobody holds, so that each device is covered from its first second to its last."""
    order = np.lexsort((raw.start, raw.device))
    device, start, end = raw.device[order], raw.start[order], raw.end[order]
    first = np.array([plan.nodes[each.node].start for each in plan.devices], dtype=np.int64)
    last = np.array([plan.node_end(each.node) for each in plan.devices], dtype=np.int64)
    own = np.arange(len(first), dtype=np.int64)
    # A device's free time runs from its birth and each end to the next start or its own end.
    begins_device, begins = np.concatenate([own, device]), np.concatenate([first, end])
    stops_device, stops = np.concatenate([device, own]), np.concatenate([start, last])
    begins_order, stops_order = np.lexsort((begins, begins_device)), np.lexsort((stops, stops_device))
    free_start, free_end = begins[begins_order], stops[stops_order]
    keep = free_end > free_start
    count = int(keep.sum())
    none = np.full(count, -1, dtype=np.int64)
    zero = np.zeros(count, dtype=np.int64)
    parts = (begins_device[begins_order][keep], free_start[keep], free_end[keep], none, zero + FREE, zero, none)
    joined = [
        np.concatenate([old[order], new])
        for old, new in zip(
            (raw.device, raw.start, raw.end, raw.job, raw.kind, raw.activity, raw.orphan), parts, strict=True
        )
    ]
    final = np.lexsort((joined[1], joined[0]))
    return _Raw(*(column[final] for column in joined))


def _edges(plan: Cluster) -> tuple[Ints, Ints]:
    """Return where devices must be cut because something around them changes."""
    points: set[tuple[int, int]] = set()
    on_node: dict[int, list[int]] = {}
    for device in plan.devices:
        on_node.setdefault(device.node, []).append(device.index)
    silent = [(gap.node, gap.start, gap.end) for gap in plan.gaps]
    silent += [(pause.node, pause.start, pause.end) for pause in plan.pauses]
    silent += [(fault.node, fault.start, fault.end) for fault in plan.faults if fault.kind == "down"]
    for node, start, end in silent:
        points.update((device, at) for device in on_node.get(node, ()) for at in (start, end))
    for stretch in plan.stretches:
        points.update((device, at) for device in stretch.devices for at in (stretch.start, stretch.end))
    spans = {each.cluster: waiting(plan, each.cluster) for each in plan.providers}
    for device in plan.devices:
        name = plan.nodes[device.node].provider.cluster
        points.update((device.index, at) for span in spans[name] for at in span)
    pairs = np.array(sorted(points), dtype=np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def waiting(plan: Cluster, cluster: str) -> list[tuple[int, int]]:
    """Return the stretches in which some job of a cluster waited, joined where they touch."""
    spans = sorted(
        (job.eligible, job.started if job.started is not None else job.ended or plan.end)
        for job in plan.jobs
        if job.cluster == cluster and (job.started is None or job.started > job.eligible)
    )
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def _cut(raw: _Raw, edges: tuple[Ints, Ints]) -> _Raw:
    keys = raw.device * _LARGE + raw.start
    wanted = edges[0] * _LARGE + edges[1]
    starts = np.unique(np.concatenate([keys, wanted]))
    parent = np.searchsorted(keys, starts, side="right") - 1
    device, start = starts // _LARGE, starts % _LARGE
    inside = (parent >= 0) & (raw.device[parent] == device) & (start < raw.end[parent])
    parent, device, start = parent[inside], device[inside], start[inside]
    following = np.append(start[1:], 0)
    same = np.append(parent[1:] == parent[:-1], np.array([False]))
    end = np.where(same, following, raw.end[parent])
    return _Raw(device, start, end, raw.job[parent], raw.kind[parent], raw.activity[parent], raw.orphan[parent])


def _covered(plan: Cluster, raw: _Raw, kind: str) -> Bools:
    mask = np.zeros(len(raw.device), dtype=np.bool_)
    for stretch in plan.stretches:
        if stretch.kind == kind:
            inside = (raw.start >= stretch.start) & (raw.end <= stretch.end)
            mask |= inside & np.isin(raw.device, np.array(stretch.devices, dtype=np.int64))
    return mask


def _node_of(plan: Cluster, raw: _Raw) -> Ints:
    return np.array([each.node for each in plan.devices], dtype=np.int64)[raw.device]


def _seen(plan: Cluster, raw: _Raw) -> Bools:
    node = _node_of(plan, raw)
    seen = np.ones(len(raw.device), dtype=np.bool_)
    for gap in plan.gaps:
        seen &= ~((node == gap.node) & (raw.start >= gap.start) & (raw.end <= gap.end))
    found: Bools = seen & (raw.kind != DOWN)
    return found


def _states(plan: Cluster, raw: _Raw, busy: Ints, seen: Bools) -> tuple[Ints, Ints]:
    """Decide as the ledger does: unseen, broken, left over, free, held."""
    node = _node_of(plan, raw)
    reasons = {word: code for code, word in enumerate(REASONS)}
    state = np.where(raw.kind >= HELD, busy, CODE["unallocated"])
    state[raw.kind == SETUP] = CODE["allocated_idle"]
    state[(raw.kind == GRACE) | (raw.kind == FREE)] = CODE["unallocated"]
    state[raw.kind == ORPHAN] = CODE["orphaned"]
    reason = np.zeros(len(state), dtype=np.int64)
    free = (raw.kind == FREE) | (raw.kind == GRACE)
    reason[free] = reasons["no_demand"]
    names = np.array([plan.nodes[each.node].provider.cluster for each in plan.devices])[raw.device]
    for provider in plan.providers:
        spans = np.array(waiting(plan, provider.cluster), dtype=np.int64).reshape(-1, 2)
        place = np.searchsorted(spans[:, 0], raw.start, side="right") - 1
        waits = (place >= 0) & (raw.start < np.append(spans[:, 1], 0)[place])
        reason[free & waits & (names == provider.cluster)] = reasons["fragmentation"]
    for pause in plan.pauses:
        inside = free & (node == pause.node) & (raw.start >= pause.start) & (raw.end <= pause.end)
        if pause.kind == "DRAINED":
            state[inside & (raw.kind == FREE)] = CODE["faulty"]
        reason[inside] = reasons["drained" if pause.kind == "DRAINED" else "reservation"]
    broken = (raw.kind == LOST) | (raw.kind == DOWN)
    state[~seen & ~broken] = CODE["unknown"]
    reason[~seen & ~broken] = reasons["no_sample"]
    unseen_loss = ~seen & (raw.kind == LOST)
    state[broken & ~unseen_loss] = CODE["faulty"]
    state[unseen_loss] = CODE["unknown"]
    reason[raw.kind == LOST] = reasons["lost"]
    reason[unseen_loss] = reasons["no_sample"]
    reason[raw.kind == DOWN] = reasons["node_down"]
    return state, reason


def _boots(plan: Cluster, raw: _Raw) -> Ints:
    """Count how often a device's node had started again: counters begin anew."""
    node = _node_of(plan, raw)
    boot = np.zeros(len(raw.device), dtype=np.int64)
    for fault in plan.faults:
        if fault.kind == "down":
            boot += (node == fault.node) & (raw.start >= fault.end)
    return boot
