"""A pod as a job: who asked for what, since when it waited, ran and ended, and how."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from collectors.cluster._kubernetes_devices import Given
from collectors.cluster._kubernetes_objects import Condition, ContainerStatus, Owner, Pod, Terminated
from collectors.cluster._kubernetes_requests import requests
from ledger.registry import Row

KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("PyTorchJob", "TFJob", "MPIJob", "JAXJob", "XGBoostJob", "PaddleJob", "TrainJob"), "training"),
    **dict.fromkeys(("InferenceService", "LLMInferenceService", "RayService", "SeldonDeployment"), "inference"),
    "Notebook": "notebook",
    **dict.fromkeys(("Job", "CronJob", "JobSet", "RayJob", "Workflow", "SparkApplication"), "batch"),
}
"""What a kind of owner says about the work: of several in a chain the outermost that says anything counts."""

POD_LABELS: Final = (
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/part-of",
    "app",
)
"""Labels of pods that are kept where nothing else is said: what applications are called, and no more."""

_QUEUE: Final = "kueue.x-k8s.io/queue-name"
_MODELS: Final = ("nvidia.com/gpu.product", "cloud.google.com/gke-accelerator", "amd.com/gpu.product-name")

_PHASES: Final[Mapping[str, str]] = {"Running": "RUNNING", "Succeeded": "COMPLETED", "Failed": "FAILED"}
_FAILURES: Final[Mapping[str, str]] = {
    "DeadlineExceeded": "TIMEOUT",
    "OOMKilled": "OUT_OF_MEMORY",
    "PreemptionByScheduler": "PREEMPTED",
    "DeletionByTaintManager": "NODE_FAIL",
    "NodeLost": "NODE_FAIL",
    "DeletionByPodGC": "NODE_FAIL",
    "TerminationByKubelet": "PREEMPTED",
    "Evicted": "PREEMPTED",
}

LONGEST_REASON: Final = 500


@dataclass(frozen=True)
class Words:
    """Which labels are kept, and which of them name a pod's user, team and model."""

    labels: Sequence[str]
    user: str
    team: str
    model: str


@dataclass(frozen=True)
class Asked:
    """What a pod asks for and what it was given."""

    gpu_count: float | None
    devices: Sequence[Given]


def job_row(cluster: str, pod: Pod, owners: Sequence[Owner], asked: Asked, words: Words) -> Row:
    """Return a pod's row of `job`; its id is the UID, by which the node knows its processes and its cgroup.

    It starts when it is bound to a node: from then on its devices are nobody else's, while images are pulled too.

    Raises: ValueError: what it asks for is no quantity, or it has no UID or creation time.
    """
    meta, spec, status = pod.metadata, pod.spec, pod.status
    if not meta.uid or meta.creation_timestamp is None:
        raise ValueError("found no uid or creationTimestamp, expected both")
    labels = meta.labels or {}
    root = owners[-1] if owners else None
    started, ended = bound_at(pod), ended_at(pod)
    resources = requests(pod)
    selector = spec.node_selector or {}
    named = {"pod": meta.name} | ({"owner": f"{root.kind}/{root.name}"} if root else {})
    kept = {name: labels[name] for name in words.labels if name in labels}
    return {
        "cluster": cluster,
        "job_id": meta.uid,
        "submitted_at": meta.creation_timestamp,
        "restart_count": 0,
        "user": labels.get(words.user) or None,
        "account": labels.get(_QUEUE) or meta.namespace,
        "team": labels.get(words.team) or None,
        "model": labels.get(words.model) or None,
        "workload_kind": kind_of(owners),
        "job_name": root.name if root else meta.name,
        "partition": meta.namespace,
        "qos": status.qos_class,
        "state": _state(pod, started),
        "pending_reason": _pending_reason(pod, ended),
        "eligible_at": None if spec.scheduling_gates else meta.creation_timestamp,
        "started_at": started,
        "ended_at": ended,
        "time_limit_seconds": spec.active_deadline_seconds,
        "exit_code": _exit_code(pod) if ended else None,
        "requested_gpu_count": asked.gpu_count,
        "requested_gpu_model": next((selector[name] for name in _MODELS if name in selector), None),
        "gpu_count": None if started is None else asked.gpu_count,
        "cpu_count": int(resources["cpu"]) if "cpu" in resources else None,
        "memory_bytes": float(resources["memory"]) if "memory" in resources else None,
        "node_count": 1 if spec.node_name else None,
        "nodes": spec.node_name or None,
        "labels": json.dumps({**kept, **named}, sort_keys=True),
        "source": "kubernetes",
    }


def kind_of(owners: Sequence[Owner]) -> str:
    """Return what the owners of a pod say about its work, '' where they say nothing."""
    return next((KINDS[each.kind] for each in reversed(owners) if each.kind in KINDS), "")


def holdings(cluster: str, pod: Pod, devices: Iterable[Given]) -> list[Row]:
    """Return a row of `job_gpu` for each device that a pod was given, for as long as it is bound."""
    started = bound_at(pod)
    if started is None:
        return []
    return [
        {
            "cluster": cluster,
            "node": pod.spec.node_name,
            "gpu_uuid": each.uuid,
            "job_id": pod.metadata.uid,
            "submitted_at": pod.metadata.creation_timestamp,
            "restart_count": 0,
            "held_start": started,
            "held_end": ended_at(pod),
            "requested_share_ratio": each.share,
            "source": "scheduler",
            "confidence_ratio": 0.9,
        }
        for each in devices
    ]


def bound_at(pod: Pod) -> datetime | None:
    """Return since when a pod has a node; None while it has none."""
    if not pod.spec.node_name:
        return None
    scheduled = _condition(pod, "PodScheduled")
    at = scheduled.last_transition_time if scheduled and scheduled.status == "True" else None
    return at or pod.status.start_time or pod.metadata.creation_timestamp


def ended_at(pod: Pod) -> datetime | None:
    """Return when a finished pod's last container ended, or its last change where no container tells; None before."""
    if pod.status.phase not in {"Succeeded", "Failed"}:
        return None
    ends = [each.finished_at for each in _terminated(pod) if each.finished_at]
    changes = [each.last_transition_time for each in pod.status.conditions or () if each.last_transition_time]
    begun = bound_at(pod) or pod.metadata.creation_timestamp
    known = [*(ends or changes), *([begun] if begun else [])]
    return max(known, default=None)


def _state(pod: Pod, started: datetime | None) -> str:
    """Return the word that Slurm has for what a pod is; CONFIGURING while its node gets ready to run it."""
    phase = pod.status.phase or "Pending"
    if phase == "Pending":
        return "PENDING" if started is None else "CONFIGURING"
    if phase == "Failed":
        disrupted = _condition(pod, "DisruptionTarget")
        said = [pod.status.reason, disrupted.reason if disrupted else None, *(each.reason for each in _terminated(pod))]
        return next((_FAILURES[word] for word in said if word and word in _FAILURES), "FAILED")
    return _PHASES.get(phase, "UNKNOWN")


def _pending_reason(pod: Pod, ended: datetime | None) -> str | None:
    """Return why a pod waits: for a gate, for a node, or on its node for an image or after a crash."""
    if ended is not None:
        return None
    if pod.spec.scheduling_gates and not pod.spec.node_name:
        return f"SchedulingGated: {', '.join(each.name for each in pod.spec.scheduling_gates)}"
    scheduled = _condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return _said(scheduled.reason, scheduled.message)
    for each in (*(pod.status.init_container_statuses or ()), *(pod.status.container_statuses or ())):
        waiting = each.state.waiting if each.state else None
        if waiting is not None and waiting.reason not in {None, "PodInitializing"}:
            return _said(waiting.reason, waiting.message)
    return None


def _said(reason: str | None, message: str | None) -> str | None:
    return ": ".join(word for word in (reason, message) if word)[:LONGEST_REASON] or None


def _exit_code(pod: Pod) -> str | None:
    """Return code and signal of the container that failed, or else of any that ended."""
    ends = sorted(_terminated(pod), key=lambda each: each.exit_code == 0)
    return f"{ends[0].exit_code}:{ends[0].signal or 0}" if ends else None


def _terminated(pod: Pod) -> list[Terminated]:
    statuses: tuple[ContainerStatus, ...] = pod.status.container_statuses or ()
    return [each.state.terminated for each in statuses if each.state and each.state.terminated]


def _condition(pod: Pod, name: str) -> Condition | None:
    return next((each for each in pod.status.conditions or () if each.type == name), None)
