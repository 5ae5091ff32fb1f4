"""Pods with fractional GPUs and their queueing from a trace in the format of Alibaba's openb data."""

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from collectors.dumps._dump import Dump, JobDump, Rejected
from ledger.errors import InputError
from ledger.tables.jobs import Job

_COLUMNS = ("name", "num_gpu", "gpu_milli", "pod_phase", "creation_time", "deletion_time", "scheduled_time")

# The trace counts seconds from a start that it does not tell: instants are true to each other only.
_ORIGIN = datetime(2023, 1, 1, tzinfo=UTC)

_STATES = {"Running": "RUNNING", "Succeeded": "COMPLETED", "Failed": "FAILED", "Pending": "PENDING"}


def detect(path: Path, head: bytes) -> bool:
    """Tell whether the first line names the trace's columns."""
    del path
    columns = head.split(b"\n", 1)[0].decode("utf-8", errors="replace").strip().split(",")
    return set(_COLUMNS) <= set(columns)


def read(path: Path) -> Dump:
    """Read pods into `job`: GPUs are `num_gpu` times `gpu_milli` thousandths, so 0.46 of one is kept as such.

    Raises: InputError: the file holds no pod.
    """
    rows: list[dict[str, object]] = []
    rejected: list[Rejected] = []
    with path.open(encoding="utf-8", newline="") as file:
        for line, pod in enumerate(csv.DictReader(file), start=2):
            try:
                rows.append(_job(pod))
            except (KeyError, TypeError, ValueError) as error:
                rejected.append(Rejected("job", f"{path}: line {line}", f"found {error}, expected a pod", str(pod)))
    if not rows and not rejected:
        raise InputError(f"{path}: found no pod, expected at least one")
    remark = f"instants count from {_ORIGIN:%Y-%m-%d}: the trace does not tell its start"
    frame = pl.DataFrame(rows, schema=Job.create_empty().schema)
    return Dump("alibaba", {Job: frame}, tuple(rejected), 0, (remark,))


def _job(pod: dict[str, str]) -> dict[str, object]:
    gpus = int(pod["num_gpu"]) * int(pod["gpu_milli"]) / 1000
    created = _at(pod["creation_time"])
    scheduled = _at(pod["scheduled_time"])
    if created is None:
        raise ValueError("no creation_time")
    return {
        "cluster": "openb",
        "job_id": pod["name"],
        "submitted_at": created,
        "restart_count": 0,
        "job_name": pod["name"],
        "qos": pod.get("qos") or None,
        "state": _STATES[pod["pod_phase"]],
        "started_at": scheduled,
        "ended_at": _at(pod["deletion_time"]),
        "requested_gpu_count": gpus,
        "requested_gpu_model": pod.get("gpu_spec") or None,
        "gpu_count": None if scheduled is None else gpus,
        "cpu_count": int(pod["cpu_milli"]) // 1000 if pod.get("cpu_milli") else None,
        "memory_bytes": float(pod["memory_mib"]) * 2**20 if pod.get("memory_mib") else None,
        "source": "alibaba",
    }


def _at(seconds: str) -> datetime | None:
    return _ORIGIN + timedelta(seconds=float(seconds)) if seconds else None


alibaba = JobDump("alibaba", detect, read, __name__)
