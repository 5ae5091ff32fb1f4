"""What is left of older days after retention: state intervals, minutes, ports and storage, read off the plan.

The rows are what the rollups would have made of the raw samples of these days, without the noise of single samples.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.simulate.frames import Column, frame, words
from collectors.simulate.phases import LOST
from collectors.simulate.pieces import hot_milliseconds, pieces, restarts, submitted
from collectors.simulate.sampling import Chunk, Scene, scene, seconds_of
from collectors.simulate.sealed_minutes import minute_rows, node_minute_rows
from collectors.simulate.sealed_nodes import network_rows, storage_rows
from collectors.simulate.shapes import STEP, Cluster
from collectors.simulate.timeline import CODE, REASONS, Timeline
from ledger.names import STATES
from ledger.tables import GpuMinute, GpuStateInterval, NetworkHour, NodeMinute, StorageDay

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_MINUTE: Final = 60
_HOUR: Final = 3_600
_DAY: Final = 86_400
_MILLI: Final = 1_000


def sealed(cluster: Cluster, window: tuple[datetime, datetime]) -> Iterator[Chunk]:
    """Yield the rows of first-level rollups for the whole UTC hours of a window, a day at a time."""
    known = scene(cluster)
    lower, upper = seconds_of(window)
    lower = max(lower, cluster.start) // _HOUR * _HOUR
    upper = min(upper, cluster.end) // _HOUR * _HOUR
    for begin in range(lower // _DAY * _DAY, upper, _DAY):
        span = (max(begin, lower), min(begin + _DAY, upper))
        yield GpuStateInterval, interval_rows(known, span)
        yield GpuMinute, minute_rows(known, span)
        yield NodeMinute, node_minute_rows(known, span)
        yield NetworkHour, network_rows(known, span)
        yield StorageDay, storage_rows(known, span)


def interval_rows(known: Scene, span: tuple[int, int]) -> pl.DataFrame:
    """Return the stretches of one state, joined where only the activity changed, cut at clock hours."""
    line = known.line
    index, start, end = _by_hour_or_step(line, span)
    alike = (
        (line.device[index][1:] == line.device[index][:-1]) & (start[1:] == end[:-1]) & (start[1:] % _HOUR != 0)
        & (line.state[index][1:] == line.state[index][:-1]) & (line.reason[index][1:] == line.reason[index][:-1])
        & (line.job[index][1:] == line.job[index][:-1]) & (line.is_seen[index][1:] == line.is_seen[index][:-1])
        & ~hot_milliseconds(line, index, end - start)[1:].astype(np.bool_)
        & ~hot_milliseconds(line, index, end - start)[:-1].astype(np.bool_)
    )  # fmt: skip
    opens = np.flatnonzero(np.append(np.array([True]), ~alike)) if len(index) else index
    last = np.append(opens[1:], len(index)) - 1
    index, start, end = index[opens], start[opens] * _MILLI, end[last] * _MILLI
    hot = hot_milliseconds(line, index, (end - start) // _MILLI)
    split = hot > 0
    # A hot step is told as its slowed milliseconds first, then its work.
    state = np.concatenate([np.where(split, CODE["throttled"], line.state[index]), line.state[index][split]])
    start, end = (
        np.concatenate([start, (start + hot)[split]]),
        np.concatenate([np.where(split, start + hot, end), end[split]]),
    )
    index = np.concatenate([index, index[split]])
    order = np.lexsort((start, known.devices.rank[line.device[index]]))
    return _intervals(known, index[order], start[order], end[order], state[order])


def _by_hour_or_step(line: Timeline, span: tuple[int, int]) -> tuple[Ints, Ints, Ints]:
    """Return pieces of clock hours; hot stretches, which are told step by step, in pieces of one step."""
    index, start, end = pieces(line, span, _HOUR)
    hot = line.is_hot[index] & line.is_seen[index]
    if not hot.any():
        return index, start, end
    fine = pieces(line, span, STEP)
    keep = line.is_hot[fine[0]] & line.is_seen[fine[0]]
    joined = [np.concatenate([whole[~hot], part[keep]]) for whole, part in zip((index, start, end), fine, strict=True)]
    order = np.lexsort((joined[1], joined[0]))
    return joined[0][order], joined[1][order], joined[2][order]


def _intervals(known: Scene, index: Ints, start: Ints, end: Ints, state: Ints) -> pl.DataFrame:
    plan, line, devices = known.plan, known.line, known.devices
    device, job = line.device[index], line.job[index]
    node = devices.node[device]
    shared = np.isin(job, np.array(list(line.partner), dtype=np.int64))
    single = np.where(shared, -1, job)
    seen = line.is_seen[index]
    quality = np.where(line.kind[index] == LOST, 2, devices.profiled[device].astype(np.int64))
    data: dict[str, Column] = {
        "cluster": words(devices.cluster_names, node), "node": words(devices.node_names, node),
        "gpu_uuid": words(devices.uuids, device), "started_at": _instants(start), "ended_at": _instants(end),
        "state": words(list(STATES), state), "reason": words([None, *REASONS[1:]], line.reason[index]),
        "job_id": words(devices.holders, job),
        "submitted_at": submitted(plan, single), "restart_count": restarts(plan, single),
        "holder_count": np.where(job < 0, 0, 1 + shared).astype(np.int64),
        "user": words([*(each.user for each in plan.jobs), None], single),
        "team": words([*(each.team for each in plan.jobs), None], single),
        "evidence_quality": words(["C", "A", "X", None], np.where(seen, quality, 3)), "is_observed": pl.Series(seen),
        "rule_version": "simulation",
    }  # fmt: skip
    return frame(GpuStateInterval, data, len(index))


def _instants(milliseconds: Ints) -> pl.Series:
    return (pl.Series(milliseconds) * _MILLI).cast(pl.Datetime("us", "UTC"))
