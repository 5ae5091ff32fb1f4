"""Drawn clusters as the tables that rollups read, and what rollups make of them."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module
from typing import Any

import polars as pl

from ledger.tables import TABLES, declared
from queries.graph import Rollup, Span
from tests import frames
from tests.oracle.oracle_facts import Cluster, Device, Run

SAMPLE_COLUMNS = (
    "kernel_active_ratio",
    "graphics_active_ratio",
    "sm_active_ratio",
    "memory_used_bytes",
    "power_watts",
    "power_limit_watts",
)
THROTTLES = (
    "hw_thermal_throttle_seconds_total",
    "sw_thermal_throttle_seconds_total",
    "power_brake_throttle_seconds_total",
)


CHAIN = (
    "gpu_state_interval",
    "gpu_minute",
    "node_minute",
    "gpu_hour",
    "job_gpu_hour",
    "job_hour",
    "bottleneck_minute",
    "bottleneck_hour",
    "job_usage",
)
"""What is computed of a drawn cluster, in order."""


def instant(milliseconds: int | None) -> datetime | None:
    """Return an instant in UTC."""
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


def milliseconds(at: datetime) -> int:
    """Return an instant as milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def frame(name: str, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows typed as a table; what they leave out is null."""
    return frames.frame(TABLES[name].schema, list(rows))


def run_columns(cluster: str, run: Run) -> dict[str, Any]:
    """Return what identifies a run."""
    return {"cluster": cluster, "job_id": run[0], "submitted_at": instant(run[1]), "restart_count": run[2]}


def tables(estate: Sequence[Cluster]) -> dict[str, pl.DataFrame]:
    """Return the tables of some clusters."""
    rows: dict[str, list[dict[str, Any]]] = {
        name: [] for name in ("gpu", "node", "node_state", "gpu_event", "job_gpu", "job", "gpu_process_sample")
    }
    for cluster in estate:
        _add_cluster(rows, cluster)
    return {"gpu_sample": samples(estate), **{name: frame(name, found) for name, found in rows.items()}}


def samples(estate: Sequence[Cluster]) -> pl.DataFrame:
    """Return the samples of some clusters, column by column: they are many."""
    every = [(cluster.name, device, row) for cluster in estate for device in cluster.devices for row in device.samples]
    rows = [row for _, _, row in every]
    columns: dict[str, pl.Series] = {
        "sampled_at": pl.Series([row.at * 1000 for row in rows], dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
        "cluster": pl.Series([name for name, _, _ in every], dtype=pl.String),
        "node": pl.Series([device.node for _, device, _ in every], dtype=pl.String),
        "gpu_uuid": pl.Series([device.uuid for _, device, _ in every], dtype=pl.String),
        "step_seconds": pl.Series([None if row.pace is None else row.pace / 1000 for row in rows], dtype=pl.Float64),
        "status": pl.Series([row.status for row in rows], dtype=pl.String),
        "evidence_quality": pl.Series([row.quality for row in rows], dtype=pl.String),
        "process_count": pl.Series([row.processes for row in rows], dtype=pl.Int64),
        "process_job_ids": pl.Series([row.jobs for row in rows], dtype=pl.String),
        "jobless_process_count": pl.Series([row.jobless for row in rows], dtype=pl.Int64),
    }
    for index, name in enumerate(SAMPLE_COLUMNS):
        values = [(row.kernel, row.graphics, row.sm, row.memory, row.power, row.limit)[index] for row in rows]
        columns[name] = pl.Series([None if each is None else float(each) for each in values], dtype=pl.Float64)
    for index, name in enumerate(THROTTLES):
        columns[name] = pl.Series([row[10 + index] / 1000 for row in rows], dtype=pl.Float64)
    whole = TABLES["gpu_sample"].schema.columns()
    missing = [pl.lit(None, dtype=column.dtype).alias(name) for name, column in whole.items() if name not in columns]
    return pl.DataFrame(columns).with_columns(missing).select(list(whole))


def _add_cluster(rows: dict[str, list[dict[str, Any]]], cluster: Cluster) -> None:
    """Add what is told of one cluster."""
    for node, holder in cluster.holder.items():
        stays = next(device.stays for device in cluster.devices if device.node == node)
        at = {"cluster": cluster.name, "node": node}
        rows["node"].append({**at, "exists_start": instant(stays[0].start), "holder": holder})
        rows["node_state"] += [
            {**at, "state_start": instant(word.start), "state_end": instant(word.end), "state": word.state}
            for word in cluster.words[node]
        ]
    for device in cluster.devices:
        _add_device(rows, cluster.name, device)
        _add_processes(rows, cluster.name, device)
    rows["job"] += [
        {
            **run_columns(cluster.name, job.run),
            "state": job.state,
            "source": "simulation",
            "started_at": instant(job.started),
            "ended_at": instant(job.ended),
            "requested_gpu_count": job.requested,
            "gpu_count": None if job.given is None else float(job.given),
            "mean_kernel_active_ratio": None if job.mean is None else float(job.mean),
            "pending_reason": job.pending_reason,
            "account": "lab",
        }
        for job in cluster.jobs
    ]


def _add_device(rows: dict[str, list[dict[str, Any]]], cluster: str, device: Device) -> None:
    """Add when one device was there, what happened to it, and who held it."""
    at = {"cluster": cluster, "node": device.node, "gpu_uuid": device.uuid}
    limits = {
        "idle_power_watts": None if device.idle_power is None else float(device.idle_power),
        "power_limit_watts": None if device.limit is None else float(device.limit),
        "memory_baseline_bytes": None if device.baseline is None else float(device.baseline),
    }
    about = {"parent_gpu_uuid": device.parent, "gpu_fraction": Decimal(device.fraction), **limits}
    rows["gpu"] += [
        {**at, **about, "exists_start": instant(stay.start), "exists_end": instant(stay.end)} for stay in device.stays
    ]
    rows["gpu_event"] += [
        {**at, "occurred_at": instant(e.at), "event": e.event, "xid_code": e.xid, "is_critical": e.is_critical}
        for e in device.events
    ]
    rows["job_gpu"] += [
        {
            **at,
            **run_columns(cluster, hold.run),
            "held_start": instant(hold.start),
            "held_end": instant(hold.end),
            "requested_share_ratio": None if hold.share is None else float(hold.share),
        }
        for hold in device.holds
    ]


def _add_processes(rows: dict[str, list[dict[str, Any]]], cluster: str, device: Device) -> None:
    """Add the processes that were seen on one device, of jobs and of users."""
    at = {"cluster": cluster, "node": device.node, "gpu_uuid": device.uuid}
    rows["gpu_process_sample"] += [
        {**at, "sampled_at": instant(when), "pid_code": index, "job_id": job, "step_seconds": 60.0}
        | {"kernel_active_ratio": ran / 60_000}
        for index, (when, job, ran) in enumerate(device.measured)
    ]
    rows["gpu_process_sample"] += [
        {**at, "sampled_at": instant(each.at), "pid_code": 100 + index, "job_id": "", "user": user}
        | {"step_seconds": each.pace / 1000, "kernel_active_ratio": None if ran is None else ran / each.pace}
        for each in device.rounds
        for index, (user, ran) in enumerate(each.owners)
    ]


def computed(given: dict[str, pl.DataFrame], span: Span, *names: str) -> dict[str, pl.DataFrame]:
    """Return the rows of some rollups, each computed from tables and from those before it."""
    found = dict(given)
    for name in names:
        rollup: Rollup = getattr(import_module(f"queries.rollups.{name}"), name)
        values: dict[str, Any] = {parameter: model() for parameter, model in rollup.settings.items()}
        for source in rollup.sources:
            table = declared(source.schema).name
            rows = found[table] if table in found else frames.empty(source.schema)
            values[source.parameter] = (rows.select(source.read.columns) if source.read.columns else rows).lazy()
        if rollup.takes_span:
            values[rollup.takes_span] = span
        found[name] = rollup.function(**values).collect()
    return found


def span_of(cluster: Cluster) -> Span:
    """Return the hours that are compared."""
    start, end, now = (instant(each) for each in (cluster.start, cluster.end, cluster.now))
    assert start is not None
    assert end is not None
    assert now is not None
    return Span(start, end, now)
