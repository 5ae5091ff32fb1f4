"""How far simulated trainings are: one process on each node of a run tells it, once a minute."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.simulate.frames import Column, frame
from collectors.simulate.phases import RUN
from collectors.simulate.shapes import SLOW_STEP, STEP, Cluster, Job
from collectors.simulate.timeline import Timeline
from ledger.tables import TrainingSample

Ints = npt.NDArray[np.int64]

_SILENT: Final = 3
"""Of so many trainings one tells nothing."""

_BATCH: Final = 32
_SAMPLES_PER_SECOND: Final = {"atlas-70b": 0.09, "atlas-8b": 0.8, "iris-2": 210.0, "echo-large": 14.0, "fold-1": 2.5}
_USUAL_SAMPLES: Final = 40.0
"""Samples that a device trains on in each second of its work."""

_TOKENS: Final = {"atlas-70b": 8_192, "atlas-8b": 8_192, "embed-2": 512}
"""Tokens of a sample; models that read no text have none."""


def training_rows(plan: Cluster, line: Timeline, span: tuple[int, int]) -> pl.DataFrame:
    """Return how far trainings are in a span: they advance while their processes work, and not while they save."""
    parts = [
        _told(plan, line, job, place, span)
        for job in plan.jobs
        if _tells(plan, job) and (job.started or 0) < span[1] and (job.ended or plan.end) >= span[0]
        for place in _processes(plan, job)
    ]
    return pl.concat([frame(TrainingSample, {}, 0), *parts])


def _tells(plan: Cluster, job: Job) -> bool:
    # A run that is requeued has its submit time still: it tells, or tells nothing, as before.
    if job.kind != "training" or job.started is None or job.submitted // STEP % _SILENT == 0:
        return False
    return not plan.devices[job.devices[0]].is_shared


def _processes(plan: Cluster, job: Job) -> Iterator[tuple[int, int, int]]:
    """Yield rank, first device and number of devices on each node of a run."""
    nodes = [plan.devices[device].node for device in job.devices]
    for rank, node in enumerate(sorted(set(nodes))):
        yield rank, job.devices[nodes.index(node)], nodes.count(node)


def _told(
    plan: Cluster, line: Timeline, job: Job, process: tuple[int, int, int], span: tuple[int, int]
) -> pl.DataFrame:
    rank, device, devices = process
    node = plan.nodes[plan.devices[device].node]
    begin = (job.started or 0) + job.setup + job.load
    end = min(job.ended or plan.end, plan.end)
    at = np.arange(-(-max(span[0], begin) // SLOW_STEP) * SLOW_STEP, min(end + 1, span[1]), SLOW_STEP, dtype=np.int64)
    for gap in plan.gaps:
        if gap.node == node.index:
            at = at[(at <= gap.start) | (at >= gap.end)]
    rate = _SAMPLES_PER_SECOND.get(job.model, _USUAL_SAMPLES) * job.level * devices
    samples = np.floor(_worked(line, job, device, at) * rate)
    data: dict[str, Column] = {
        "sampled_at": at, "cluster": job.cluster, "node": node.name, "boot_id": f"{job.job_id}-{job.restart_count}",
        "step_seconds": float(SLOW_STEP), "job_id": job.job_id, "run": "", "rank_index": rank,
        "started_at": np.full(len(at), begin, dtype=np.int64), "model": job.model or None, "is_job_seen": True,
        "step_count_total": np.floor(samples / _BATCH), "sample_count_total": samples,
        "token_count_total": samples * _TOKENS.get(job.model, 0),
    }  # fmt: skip
    return frame(TrainingSample, data, len(at))


def _worked(line: Timeline, job: Job, device: int, at: Ints) -> Ints:
    """Return the seconds that a run had worked on a device by each instant."""
    own = slice(*np.searchsorted(line.device, [device, device + 1]))
    works = (line.job[own] == job.index) & (line.kind[own] == RUN)
    # One of no length before all others: an instant before the first work is behind it.
    start = np.concatenate([np.zeros(1, dtype=np.int64), line.start[own][works]])
    length = np.concatenate([np.zeros(1, dtype=np.int64), line.length[own][works]])
    before = np.cumsum(length) - length
    place = np.searchsorted(start, at, side="right") - 1
    found: Ints = before[place] + np.minimum(at - start[place], length[place])
    return found
