"""kube-state-metrics: pods that ask for accelerators as jobs, which device a pod has, nodes and their states.

The same words as from Kubernetes' own API, of which these metrics are a copy: a job's id is its pod's UID. What is
told of a pod is looked for over the whole window and a little before it, so that a pod that ended between two pulls
is told once more, with its end.

Which device a pod has is told by DCGM exporter, in `pod`, or in `exported_pod` where the scrape has a pod of its own.

Source: docs/metrics of kube-state-metrics 2.x; dcgm-exporter's pod mapping.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

import dataframely as dy
import polars as pl

from collectors.cluster._prometheus_api import Api, Grid, instant, selector
from collectors.cluster._prometheus_dcgm import DEVICE_MARKS, gpu_uuid
from collectors.cluster._prometheus_table import Labels, Matcher, NodeOf
from collectors.cluster._standing import GONE
from ledger.frames import dtypes
from ledger.registry import Row
from ledger.tables import Job, JobGpu, Node, NodeState

REQUESTS: Final = "kube_pod_container_resource_requests"
PODS: Final = "kube_pod_info"
NODES: Final = "kube_node_info"

SOURCE: Final = "kubernetes"
HOLDER: Final = "pod_resources"

_ACCELERATOR: Final = (
    "(nvidia|amd)_com_gpu|nvidia_com_mig_.*|gpu_intel_com_.*|habana_ai_gaudi|google_com_tpu|aws_amazon_com_neuron"
)
_BEFORE_SECONDS: Final = 600
_NODE_SECONDS: Final = 300
_GONE_STEPS: Final = 3
_STATES: Final[Mapping[str, str]] = {
    "Pending": "PENDING",
    "Running": "RUNNING",
    "Succeeded": "COMPLETED",
    "Failed": "FAILED",
}
_PHASE_ORDER: Final = ("Unknown", "Pending", "Running", "Succeeded", "Failed")
_KINDS: Final[Mapping[str, str]] = {"Job": "batch", "Notebook": "notebook", "PyTorchJob": "training"}
_RESOURCE: Final = re.compile(r"_com_mig_(\d+)g_")
_SLICES: Final = 7

PodName = tuple[str, str]
"""Namespace and name."""


@dataclass
class Pod:
    """What metrics tell of one pod."""

    uid: str
    name: PodName
    labels: Labels
    node: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    phase: str = ""
    gpu_count: float = 0.0
    model: str = ""


@dataclass(frozen=True)
class Asking:
    """Where and what is asked of a window."""

    api: Api
    cluster: str
    known: frozenset[str]
    matchers: Sequence[Matcher]
    node_of: NodeOf
    grid: Grid

    def last(self, name: str, where: Sequence[Matcher] = (), seconds: int = 0) -> list[tuple[Labels, float]]:
        """Return the last value of each series of a metric in the window, or a little before it."""
        if name not in self.known:
            return []
        select = selector(name, (*where, *self.matchers))
        return [*self.api.instant(f"last_over_time({select}[{seconds or self._seconds}s])", self.grid.end)]

    def of_nodes(self, name: str, where: Sequence[Matcher] = ()) -> dict[str, tuple[Labels, float]]:
        """Return what is told of each node at the end of the window."""
        found = self.last(name, where, max(_NODE_SECONDS, 5 * self.grid.step))
        return {self.node_of(labels): (labels, value) for labels, value in found}

    def last_seen(self, name: str) -> list[tuple[Labels, float]]:
        """Return when each series of a metric was last seen."""
        if name not in self.known:
            return []
        select = selector(name, self.matchers)
        query = f"max_over_time(timestamp({select})[{self._seconds}s:{self.grid.step}s])"
        return [*self.api.instant(query, self.grid.end)]

    @property
    def _seconds(self) -> int:
        return self.grid.end - self.grid.start + self.grid.step + _BEFORE_SECONDS


def told(asking: Asking, *, is_last: bool) -> dict[type[dy.Schema], pl.DataFrame]:
    """Return jobs and the devices that they hold; of the last window also nodes, and how they stand at its end."""
    rows: dict[type[dy.Schema], list[Row]] = {}
    pods = _pods(asking) if REQUESTS in asking.known and PODS in asking.known else {}
    jobs = {pod.name: _job(asking.cluster, pod) for pod in pods.values()}
    rows[Job] = list(jobs.values())
    rows[JobGpu] = list(_holdings(asking, jobs))
    if is_last:
        used = {str(row["nodes"]) for row in rows[Job] if row["started_at"] is not None and row["ended_at"] is None}
        rows[Node] = list(_nodes(asking))
        rows[NodeState] = list(_states(asking, used))
    return {schema: pl.DataFrame(found, schema=dtypes(schema)) for schema, found in rows.items() if found}


def _pods(asking: Asking) -> dict[str, Pod]:
    """Return the pods that ask for an accelerator, by UID."""
    pods: dict[str, Pod] = {}
    for labels, value in asking.last(REQUESTS, (("resource", "=~", _ACCELERATOR),)):
        uid = labels.get("uid", "")
        if uid:
            asks = pods.setdefault(uid, Pod(uid, _name(labels), labels))
            sliced = _RESOURCE.search(labels.get("resource", ""))
            asks.gpu_count += value * (int(sliced[1]) / _SLICES if sliced else 1.0)
    for labels, _ in asking.last(PODS):
        if (pod := pods.get(labels.get("uid", ""))) is not None:
            pod.labels, pod.node = labels, asking.node_of(labels)
    for name in ("created", "start_time", "completion_time", "status_scheduled_time"):
        for labels, value in asking.last(f"kube_pod_{name}"):
            if (pod := pods.get(labels.get("uid", ""))) is not None:
                pod.numbers[name] = value
    for labels, value in asking.last("kube_pod_status_phase"):
        pod = pods.get(labels.get("uid", ""))
        if pod is not None and value == 1 and _rank(labels.get("phase", "")) >= _rank(pod.phase):
            pod.phase = labels.get("phase", "")
    _end_those_gone(asking, pods)
    return {uid: pod for uid, pod in pods.items() if "created" in pod.numbers}


def _end_those_gone(asking: Asking, pods: Mapping[str, Pod]) -> None:
    """Note when pods were last seen that others outlived: where none was seen, the exporter was down."""
    seen = {labels.get("uid", ""): at for labels, at in asking.last_seen(PODS)}
    newest = max(seen.values(), default=0.0)
    for uid, pod in pods.items():
        at = seen.get(uid)
        if at is not None and at <= newest - _GONE_STEPS * asking.grid.step:
            pod.numbers["gone"] = at


def _rank(phase: str) -> int:
    return _PHASE_ORDER.index(phase) if phase in _PHASE_ORDER else -1


def _name(labels: Labels) -> PodName:
    return (
        labels.get("exported_namespace") or labels.get("namespace", ""),
        labels.get("exported_pod") or labels.get("pod", ""),
    )


def _job(cluster: str, pod: Pod) -> Row:
    """Return a pod's row of `job`; it starts when it is bound to a node."""
    namespace, name = pod.name
    owner = pod.labels.get("created_by_name") or name
    kind = pod.labels.get("created_by_kind", "")
    started = _at(pod, "status_scheduled_time") or _at(pod, "start_time")
    is_over = pod.phase in {"Succeeded", "Failed"}
    ended = (_at(pod, "completion_time") if is_over else None) or _at(pod, "gone")
    state = _STATES.get(pod.phase, "UNKNOWN")
    if not is_over and ended is not None:
        state = GONE
    elif state == "PENDING" and started is not None:
        state = "CONFIGURING"
    return {
        "cluster": cluster,
        "job_id": pod.uid,
        "submitted_at": _at(pod, "created"),
        "restart_count": 0,
        "account": namespace,
        "workload_kind": _KINDS.get(kind, ""),
        "job_name": owner,
        "partition": namespace,
        "state": state,
        "started_at": started,
        "ended_at": ended,
        "requested_gpu_count": pod.gpu_count,
        "gpu_count": None if started is None else pod.gpu_count,
        "node_count": 1 if pod.node else None,
        "nodes": pod.node or None,
        "labels": json.dumps({"pod": name, **({"owner": f"{kind}/{owner}"} if kind else {})}, sort_keys=True),
        "source": SOURCE,
    }


def _at(pod: Pod, name: str) -> datetime | None:
    found = pod.numbers.get(name)
    return None if found is None else datetime.fromtimestamp(found, tz=UTC)


def _holdings(asking: Asking, jobs: Mapping[PodName, Row]) -> Iterable[Row]:
    """Yield the devices of pods: DCGM exporter says which, kube-state-metrics since when and until when."""
    name = next((each for each in DEVICE_MARKS if each in asking.known), "")
    if not jobs or not name:
        return
    seen: set[tuple[str, str, str]] = set()
    for labels, _ in asking.last(name):
        job = jobs.get(_name(labels))
        node, uuid = asking.node_of(labels), gpu_uuid(labels)
        if job is None or job["started_at"] is None or not node or not uuid:
            continue
        key = (node, uuid, str(job["job_id"]))
        if key not in seen:
            seen.add(key)
            yield {
                "cluster": asking.cluster,
                "node": node,
                "gpu_uuid": uuid,
                **{name: job[name] for name in ("job_id", "submitted_at", "restart_count")},
                "held_start": job["started_at"],
                "held_end": job["ended_at"],
                "source": HOLDER,
                "confidence_ratio": 0.9,
            }


def _nodes(asking: Asking) -> Iterable[Row]:
    """Yield nodes; the scheduler holds their devices where the pods of all namespaces are told."""
    is_whole = {REQUESTS, PODS} <= asking.known and not any(label == "namespace" for label, _, _ in asking.matchers)
    created = asking.of_nodes("kube_node_created")
    capacity = {
        name: asking.of_nodes("kube_node_status_capacity", (("resource", "=", name),))
        for name in ("cpu", "memory", "nvidia_com_gpu")
    }
    for node, (labels, _) in asking.of_nodes(NODES).items():
        if node in created:
            has = {name: found[node][1] for name, found in capacity.items() if node in found}
            yield {
                "cluster": asking.cluster,
                "node": node,
                "exists_start": datetime.fromtimestamp(created[node][1], tz=UTC),
                "provider_instance_id": labels.get("provider_id") or None,
                "holder": "scheduler" if is_whole else None,
                "cpu_count": int(has["cpu"]) if "cpu" in has else None,
                "memory_bytes": has.get("memory"),
                "gpu_count": int(has["nvidia_com_gpu"]) if "nvidia_com_gpu" in has else None,
                "source": SOURCE,
            }


def _states(asking: Asking, used: set[str]) -> Iterable[Row]:
    """Yield each node's state at the end of the window: what was between two pulls is not told."""
    ready = asking.of_nodes("kube_node_status_condition", (("condition", "=", "Ready"), ("status", "=", "true")))
    cordoned = asking.of_nodes("kube_node_spec_unschedulable")
    for node, (_, value) in ready.items():
        state, reason = ("UP", None) if value == 1 else ("DOWN", "NotReady")
        if value == 1 and node in cordoned and cordoned[node][1] == 1:
            state, reason = "DRAINING" if node in used else "DRAINED", "cordoned"
        yield {
            "cluster": asking.cluster,
            "node": node,
            "state_start": instant(asking.grid.end),
            "state": state,
            "reason": reason,
            "source": SOURCE,
        }
