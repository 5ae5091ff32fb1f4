"""cAdvisor: what each pod's cgroup used, under the UID by which a node knows the pod.

Rows are those of the pod's own cgroup: its containers are parts of it, and would count twice.

Source: docs/storage/prometheus.md of cAdvisor; the kubelet's /metrics/cadvisor.
"""

import re
from typing import Final

import polars as pl

from collectors.cluster._prometheus_table import Key, Labels, Metric, Target
from ledger.tables import JobCgroupSample, PressureSample

_EXPORTER: Final = "cAdvisor"
_POD: Final = re.compile(r"pod([0-9a-f]{8}([-_]?[0-9a-f]{4}){3}[-_]?[0-9a-f]{12})(\.slice)?\Z")
_POD_CGROUP: Final = (("id", "=~", r".*pod[0-9a-f_-]{32,36}(\.slice)?"),)


def pod_uid(cgroup: str) -> str:
    """Return the UID in the path of a pod's cgroup, '' for another; systemd writes it with underscores."""
    found = _POD.search(cgroup)
    return found[1].replace("_", "-") if found else ""


def _pod(labels: Labels, part: str) -> Key | None:
    del part
    uid = pod_uid(labels.get("id", ""))
    return (uid, "kubernetes") if uid else None


def _limited(frame: pl.DataFrame) -> pl.DataFrame:
    """Return pods with null for no limit, which cAdvisor tells as 0."""
    if "memory_limit_bytes" not in frame.columns:
        return frame
    limit = pl.col("memory_limit_bytes")
    return frame.with_columns(memory_limit_bytes=pl.when(limit > 0).then(limit))


POD: Final = Target(
    exporter=_EXPORTER,
    schema=JobCgroupSample,
    names=("job_id", "scheduler"),
    key=_pod,
    where=_POD_CGROUP,
    finish=_limited,
    metrics=(
        Metric("container_cpu_usage_seconds_total", "cpu_seconds_total", without=("cpu",)),
        Metric("container_cpu_user_seconds_total", "cpu_user_seconds_total"),
        Metric("container_cpu_system_seconds_total", "cpu_system_seconds_total"),
        Metric("container_cpu_cfs_throttled_seconds_total", "cpu_throttled_seconds_total"),
        Metric("container_memory_usage_bytes", "memory_used_bytes"),
        Metric("container_memory_max_usage_bytes", "memory_peak_bytes"),
        Metric("container_spec_memory_limit_bytes", "memory_limit_bytes"),
        Metric("container_memory_rss", "memory_resident_bytes"),
        Metric("container_memory_cache", "memory_cache_bytes"),
        Metric("container_memory_swap", "swap_used_bytes"),
        Metric("container_oom_events_total", "oom_kill_count_total"),
        Metric("container_threads", "task_count"),
        Metric("container_fs_reads_bytes_total", "read_bytes_total", without=("device",)),
        Metric("container_fs_writes_bytes_total", "written_bytes_total", without=("device",)),
        Metric("container_fs_reads_total", "read_count_total", without=("device",)),
        Metric("container_fs_writes_total", "write_count_total", without=("device",)),
    ),
)


def _stalled(labels: Labels, part: str) -> Key | None:
    uid = pod_uid(labels.get("id", ""))
    return (part, uid) if uid else None


PRESSURE: Final = Target(
    exporter=_EXPORTER,
    schema=PressureSample,
    names=("resource", "job_id"),
    key=_stalled,
    where=_POD_CGROUP,
    metrics=tuple(
        Metric(f"container_pressure_{resource}_{word}_seconds_total", column, part=resource)
        for resource in ("cpu", "io", "memory")
        for word, column in (("waiting", "some_seconds_total"), ("stalled", "full_seconds_total"))
    ),
)

TARGETS: Final = (POD, PRESSURE)
