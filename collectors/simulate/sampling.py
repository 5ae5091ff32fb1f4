"""Raw rows of the simulated estate, as agents and schedulers would have sent them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

import dataframely as dy
import numpy as np
import polars as pl

from collectors.simulate import device_rows, node_rows, process_rows, service_rows
from collectors.simulate.events import gpu_events, node_events
from collectors.simulate.frames import Column, frame
from collectors.simulate.phases import load_at
from collectors.simulate.shapes import SLOW_STEP, STEP, Cluster, Job
from collectors.simulate.surroundings import Surroundings, surroundings
from collectors.simulate.timeline import Timeline, timeline
from collectors.simulate.training_rows import training_rows
from ledger.tables import (
    BlockDeviceSample,
    CollectorRun,
    GpuEvent,
    GpuHealthSample,
    GpuProcessSample,
    GpuSample,
    HostSample,
    LustreOperationSample,
    MountSample,
    NetworkPortSample,
    NodeEvent,
    PressureSample,
    ServingSample,
    TcpSample,
    TrainingSample,
)

Chunk = tuple[type[dy.Schema], pl.DataFrame]

_HOUR: Final = 3_600
_CHUNK_ROWS: Final = 400_000
_SERVING_STEP: Final = 60

_TOKENS_PER_SECOND: Final = {"atlas-70b": 900, "atlas-8b": 4_800, "iris-2": 1_400, "echo-large": 1_100}
_USUAL_TOKENS: Final = 2_600
"""Tokens that a server of a model generates at peak load in each second."""


@dataclass(frozen=True)
class Scene:
    """A plan with what all rows are read from, computed once."""

    plan: Cluster
    line: Timeline
    around: Surroundings
    devices: device_rows.Devices


@lru_cache(maxsize=1)
def scene(plan: Cluster) -> Scene:
    """Return a plan's stretches; asked again for the same plan, the same object."""
    line = timeline(plan)
    return Scene(plan, line, surroundings(plan, line), device_rows.devices(plan, line))


def seconds_of(window: tuple[datetime, datetime]) -> tuple[int, int]:
    """Return a window's edges as epoch seconds."""
    return int(window[0].timestamp()), int(window[1].timestamp())


def samples(cluster: Cluster, window: tuple[datetime, datetime]) -> Iterator[Chunk]:
    """Yield the raw rows of a window, some hours at a time, then its events.

    A row does not depend on the window that it was asked in.
    """
    known = scene(cluster)
    lower, upper = seconds_of(window)
    lower, upper = max(lower, cluster.start), min(upper, cluster.end + 1)
    hours = max(1, _CHUNK_ROWS // max(len(cluster.devices) * _HOUR // STEP, 1))
    at = lower
    while at < upper:
        stop = min(((at // _HOUR) + hours) * _HOUR, upper)
        yield from _chunk(known, (at, stop))
        at = stop
    yield GpuEvent, gpu_events(cluster, lower, upper)
    yield NodeEvent, node_events(cluster, lower, upper)


def _chunk(known: Scene, span: tuple[int, int]) -> Iterator[Chunk]:
    yield GpuSample, device_rows.gpu_rows(known.devices, span)
    yield GpuProcessSample, process_rows.process_rows(known.devices, span)
    yield GpuHealthSample, process_rows.health_rows(known.devices, span)
    when = node_rows.moments(known.plan, known.around, span, STEP)
    yield HostSample, node_rows.host_rows(known.plan, known.around, when)
    yield PressureSample, node_rows.pressure_rows(known.around, when)
    yield NetworkPortSample, node_rows.port_rows(known.plan, known.around, when)
    yield BlockDeviceSample, node_rows.disk_rows(known.around, when)
    slow = node_rows.moments(known.plan, known.around, span, SLOW_STEP)
    yield MountSample, node_rows.mount_rows(known.plan, known.around, slow)
    yield TcpSample, service_rows.tcp_rows(known.around, slow)
    yield LustreOperationSample, service_rows.lustre_rows(known.around, slow)
    yield CollectorRun, node_rows.run_rows(slow)
    yield ServingSample, serving(known.plan, span)
    yield TrainingSample, training_rows(known.plan, known.line, span)


def serving(cluster: Cluster, span: tuple[int, int]) -> pl.DataFrame:
    """Return the model servers once a minute: tokens follow the load of the hour."""
    parts = [_served(cluster, job, span) for job in cluster.jobs if job.kind == "inference" and job.started is not None]
    return pl.concat(parts) if parts else frame(ServingSample, {}, 0)


def _served(cluster: Cluster, job: Job, span: tuple[int, int]) -> pl.DataFrame:
    begin = (job.started or 0) + job.setup + job.load
    end = min(job.ended or cluster.end, cluster.end)
    edges = np.unique(np.append(np.arange(begin // _HOUR * _HOUR, end + _HOUR, _HOUR, dtype=np.int64), begin))
    edges = edges[edges >= begin]
    level = np.array([load_at(int(each)) for each in edges])
    before = np.concatenate([[0.0], np.cumsum(level[:-1] * np.diff(edges))])
    lower = max(span[0], begin)
    at = np.arange(-(-lower // _SERVING_STEP) * _SERVING_STEP, min(end + 1, span[1]), _SERVING_STEP, dtype=np.int64)
    node = cluster.nodes[cluster.devices[job.devices[0]].node]
    for gap in cluster.gaps:
        if gap.node == node.index:
            at = at[(at <= gap.start) | (at >= gap.end)]
    if len(at) == 0:
        return frame(ServingSample, {}, 0)
    place = np.searchsorted(edges, at, side="right") - 1
    work = before[place] + level[place] * (at - edges[place])
    peak = float(_TOKENS_PER_SECOND.get(job.model, _USUAL_TOKENS))
    tokens = np.floor(work * peak)
    data: dict[str, Column] = {
        "sampled_at": at, "cluster": job.cluster, "node": node.name, "boot_id": f"{job.job_id}-{job.restart_count}",
        "step_seconds": float(_SERVING_STEP), "endpoint": f"http://{node.name}:8000/{job.name}", "model": job.model,
        "job_id": job.job_id, "prompt_token_count_total": np.floor(tokens * 3.2), "generated_token_count_total": tokens,
        "request_count_total": np.floor(tokens / 240),
        "running_request_count": np.rint(level[place] * 24).astype(np.int64),
        "waiting_request_count": np.rint(np.maximum(level[place] - 0.8, 0) * 30).astype(np.int64),
        "prefill_seconds_total": work * 2.1, "decode_seconds_total": work * 17.0, "is_ready": True,
    }  # fmt: skip
    return frame(ServingSample, data, len(at))
