"""Pods as kube-state-metrics tells them: each as the API's own object, so that both ways tell the same of it.

What is told of a pod is looked for over the whole window and a little before it, so that a pod that ended between two
pulls is told once more, with its end.

A pod that asks for devices by a dynamic claim asks for no counted resource: where DCGM exporter says that it has
devices, these are what it asks for.

Source: docs/metrics/workload of kube-state-metrics 2.x; dcgm-exporter's pod mapping.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from collectors.cluster import _kubernetes_devices as accelerators
from collectors.cluster import _kubernetes_objects as objects
from collectors.cluster._kubernetes_jobs import Asked, job_row
from collectors.cluster._prometheus_asking import Asking, in_metrics, labelled, told_at
from collectors.cluster._prometheus_dcgm import DEVICE_MARKS, PROFILE, gpu_uuid
from collectors.cluster._prometheus_owners import KnownOwners, chain, known_owners
from collectors.cluster._prometheus_table import Labels
from collectors.cluster._standing import GONE
from collectors.dumps._dump import Rejected
from ledger.registry import Row

REQUESTS: Final = "kube_pod_container_resource_requests"
PODS: Final = "kube_pod_info"

_ACCELERATOR: Final = (
    "(nvidia|amd)_com_gpu|nvidia_com_gpu_shared|nvidia_com_mig_.*|gpu_intel_com_.*|habana_ai_gaudi|google_com_tpu"
    "|aws_amazon_com_neuron"
)
_GONE_STEPS: Final = 3
_PHASE_ORDER: Final = ("Unknown", "Pending", "Running", "Succeeded", "Failed")
_OVER: Final = ("Succeeded", "Failed")
_MIG: Final = "nvidia_com_mig_"
_COUNTED: Final = {in_metrics(name): name for name in (*accelerators.WHOLE, accelerators.SHARED)}
_DAEMON: Final = "DaemonSet"
_UNSCHEDULABLE: Final = "Unschedulable"
_OF_NODE: Final = ("nvidia.com/gpu.replicas", "nvidia.com/gpu.product", "nvidia.com/gpu.count", "nvidia.com/gpu.memory")

PodName = tuple[str, str]
"""Namespace and name."""


@dataclass
class _Seen:
    """What metrics tell of one pod."""

    uid: str
    name: PodName
    info: Labels
    node: str = ""
    resources: dict[str, float] = field(default_factory=dict)
    at: dict[str, datetime] = field(default_factory=dict)
    phase: str = ""
    words: Mapping[str, str] = field(default_factory=dict)
    waits_for: str = ""
    ended_by: str = ""
    devices: Sequence[Labels] = ()


def offers(asking: Asking) -> dict[str, accelerators.Offer]:
    """Return by node what it says of its devices, in its labels and its capacity."""
    told = asking.of_nodes("kube_node_labels")
    capacity: dict[str, dict[str, str]] = {}
    for name, own in _COUNTED.items():
        for node, (_, value) in asking.of_nodes("kube_node_status_capacity", (("resource", "=", name),)).items():
            capacity.setdefault(node, {})[own] = f"{value:.0f}"
    found = {}
    for node in {*told, *capacity}:
        meta = objects.Meta(name=node, labels=labelled(told[node][0], _OF_NODE) if node in told else {})
        status = objects.NodeStatus(capacity=capacity.get(node))
        found[node] = accelerators.offer(objects.Node(meta, objects.NodeSpec(), status), accelerators.Claims())
    return found


def mapped(asking: Asking) -> dict[PodName, list[Labels]]:
    """Return the devices of each pod, as DCGM exporter names them."""
    found: dict[PodName, list[Labels]] = {}
    for labels, _ in asking.last(_mark(asking)):
        found.setdefault(_name(labels), []).append(labels)
    return found


def last_mapped(asking: Asking, names: Sequence[PodName]) -> dict[tuple[PodName, str, str], datetime]:
    """Return when each device was last told as one of some pods, by the pod's name, node and UUID."""
    found: dict[tuple[PodName, str, str], datetime] = {}
    either = "|".join(sorted({re.escape(name) for _, name in names}))
    for label in ("exported_pod", "pod") if names else ():
        for labels, seconds in asking.last_seen(_mark(asking), ((label, "=~", either),)):
            key, at = (_name(labels), *place(asking, labels)), datetime.fromtimestamp(seconds, tz=UTC)
            found[key] = max(at, found.get(key, at))
    return found


def place(asking: Asking, labels: Labels) -> tuple[str, str]:
    """Return node and UUID of a device."""
    return asking.node_of(labels), gpu_uuid(labels)


def _mark(asking: Asking) -> str:
    return next((each for each in DEVICE_MARKS if each in asking.known), "")


def jobs(
    asking: Asking, offered: Mapping[str, accelerators.Offer], devices: Mapping[PodName, Sequence[Labels]]
) -> list[tuple[PodName, Row]]:
    """Return the row of `job` of each pod that asks for an accelerator, or has one, in the order of their creation.

    A pod that is made anew may have the name of the one before. One that cannot be read is refused alone.
    """
    if not {REQUESTS, PODS} <= asking.known:
        return []
    pods = _asking_pods(asking, devices)
    _describe(asking, pods)
    owners = known_owners(asking)
    # What was over before anything of it was told here holds nothing in this window.
    told = [pod for pod in pods.values() if "created" in pod.at and (pod.phase not in _OVER or "ended" in pod.at)]
    told.sort(key=lambda pod: (pod.at["created"], pod.uid))
    found = []
    for pod in told:
        try:
            found.append((pod.name, _row(asking, pod, owners, offered)))
        except ValueError as error:
            where = f"pod {'/'.join(pod.name)}"
            asking.rejected.append(Rejected("job", where, str(error), where))
    return found


def _asking_pods(asking: Asking, devices: Mapping[PodName, Sequence[Labels]]) -> dict[str, _Seen]:
    pods: dict[str, _Seen] = {}
    # An exporter that was started anew, or has a twin, tells the same of a container under another address.
    asked: dict[tuple[str, str, str], float] = {}
    for labels, value in asking.last(REQUESTS, (("resource", "=~", _ACCELERATOR),)):
        if uid := labels.get("uid", ""):
            pods.setdefault(uid, _Seen(uid, _name(labels), labels))
            container = labels.get("exported_container") or labels.get("container", "")
            place = (uid, _resource(labels.get("resource", "")), container)
            asked[place] = max(value, asked.get(place, value))
    for (uid, resource, _), value in asked.items():
        pods[uid].resources[resource] = pods[uid].resources.get(resource, 0.0) + value
    told = asking.last(PODS)
    # A scrape may have a node of its own: then a pod's is the exported one, or none.
    node_label = "exported_node" if any("exported_node" in labels for labels, _ in told) else "node"
    for labels, _ in told:
        uid, name = labels.get("uid", ""), _name(labels)
        has_device = name in devices and labels.get("created_by_kind") != _DAEMON
        if uid and has_device and uid not in pods:
            pods[uid] = _Seen(uid, name, labels, devices=devices[name])
        if (pod := pods.get(uid)) is not None:
            pod.info, node = labels, labels.get(node_label, "")
            # Before it has a node it is told without one, as another series that is still found.
            pod.node = asking.node_of({"node": node}) or node if node else pod.node
    return pods


def _resource(told: str) -> str:
    """Return a resource under its own name."""
    if told.startswith(_MIG):
        return f"nvidia.com/mig-{told.removeprefix(_MIG).replace('_', '.')}"
    return _COUNTED.get(told) or told


def _describe(asking: Asking, pods: Mapping[str, _Seen]) -> None:
    """Fill in since when pods wait, run and ended, how they stand, and what they are called."""
    _date(asking, pods)
    for pod, labels, value in _of(asking.last("kube_pod_status_phase"), pods):
        if value == 1 and _rank(labels.get("phase", "")) >= _rank(pod.phase):
            pod.phase = labels.get("phase", "")
    wanted = (*asking.words.labels, asking.words.user, asking.words.team, asking.words.model)
    for pod, labels, _ in _of(asking.newest("kube_pod_labels", lambda each: each.get("uid", "")).values(), pods):
        pod.words = labelled(labels, wanted)
    for pod, labels, value in _of(asking.now("kube_pod_container_status_waiting_reason"), pods):
        pod.waits_for = labels.get("reason", "") if value == 1 else pod.waits_for
    for pod, _, value in _of(asking.now("kube_pod_status_unschedulable"), pods):
        pod.waits_for = _UNSCHEDULABLE if value == 1 and "status_scheduled_time" not in pod.at else pod.waits_for
    for name in ("kube_pod_container_status_terminated_reason", "kube_pod_status_reason"):
        for pod, labels, value in _of(asking.last(name), pods):
            reason = labels.get("reason", "")
            pod.ended_by = reason if value == 1 and reason != "Completed" else pod.ended_by
    _end(asking, pods)


def _date(asking: Asking, pods: Mapping[str, _Seen]) -> None:
    """Fill in the instants that pods tell of themselves."""
    for name in ("created", "start_time", "completion_time", "status_scheduled_time"):
        for pod, _, value in _of(asking.last(f"kube_pod_{name}"), pods):
            if (at := told_at(value)) is not None:
                pod.at[name] = at


def _of(told: Iterable[tuple[Labels, float]], pods: Mapping[str, _Seen]) -> Iterable[tuple[_Seen, Labels, float]]:
    for labels, value in told:
        if (pod := pods.get(labels.get("uid", ""))) is not None:
            yield pod, labels, value


def _end(asking: Asking, pods: Mapping[str, _Seen]) -> None:
    """Note when pods ended: as told; when they were last not over, as an evicted one's; or when they were last seen.

    Those that others outlived are gone; where none was seen, the exporter was down.
    """
    untold = [uid for uid, pod in pods.items() if pod.phase in _OVER and "completion_time" not in pod.at]
    alive: dict[str, float] = {}
    if untold:
        phases = (("phase", "=~", "Pending|Running"), ("uid", "=~", "|".join(map(re.escape, sorted(untold)))))
        alive = _newest(asking.last_seen("kube_pod_status_phase", phases, " == 1"))
    seen = _newest(asking.last_seen(PODS))
    newest = max(seen.values(), default=0.0)
    for uid, pod in pods.items():
        at = seen.get(uid)
        if pod.phase in _OVER and "completion_time" in pod.at:
            pod.at["ended"] = pod.at["completion_time"]
        elif pod.phase in _OVER and uid in alive:
            pod.at["ended"] = datetime.fromtimestamp(alive[uid], tz=UTC)
        elif pod.phase not in _OVER and at is not None and at <= newest - _GONE_STEPS * asking.grid.step:
            pod.at["ended"] = datetime.fromtimestamp(at, tz=UTC)


def _newest(told: Iterable[tuple[Labels, float]]) -> dict[str, float]:
    """Return by pod the newest of the instants that its series tell: what comes to be known of it makes another one."""
    found: dict[str, float] = {}
    for labels, seconds in told:
        uid = labels.get("uid", "")
        found[uid] = max(seconds, found.get(uid, seconds))
    return found


def _rank(phase: str) -> int:
    return _PHASE_ORDER.index(phase) if phase in _PHASE_ORDER else -1


def _name(labels: Labels) -> PodName:
    return (
        labels.get("exported_namespace") or labels.get("namespace", ""),
        labels.get("exported_pod") or labels.get("pod", ""),
    )


def _row(
    asking: Asking,
    pod: _Seen,
    owners: KnownOwners,
    offered: Mapping[str, accelerators.Offer],
) -> Row:
    told, ended = _object(pod), pod.at.get("ended")
    at = offered.get(pod.node)
    count = accelerators.requested(told, at, offered.values(), accelerators.Claims())
    if not pod.resources:
        shares = [accelerators.slice_share(each.get(PROFILE, "").lower()) or 1.0 for each in pod.devices]
        count = sum(shares)
    row = job_row(asking.cluster, told, chain(pod.info, pod.name[0], owners), Asked(count, ()), asking.words)
    state = GONE if ended is not None and pod.phase not in _OVER else row["state"]
    why = row["pending_reason"] if ended is None else None
    # No metric has the exit code of a container that is not started again.
    return {**row, "state": state, "ended_at": ended, "pending_reason": why, "exit_code": None}


def _object(pod: _Seen) -> objects.Pod:
    """Return a pod as the API would tell it, as far as metrics know it."""
    namespace, name = pod.name
    meta = objects.Meta(
        name=name,
        namespace=namespace,
        uid=pod.uid,
        creation_timestamp=pod.at["created"],
        labels=dict(pod.words),
    )
    asks = {each: format(Decimal(value), "f") for each, value in pod.resources.items()}
    container = objects.Container(resources=objects.Resources(requests=asks))
    scheduled = pod.at.get("status_scheduled_time")
    conditions = [objects.Condition("PodScheduled", "True", last_transition_time=scheduled)] if scheduled else []
    state = objects.ContainerState()
    if pod.waits_for == _UNSCHEDULABLE:
        conditions = [objects.Condition("PodScheduled", "False", reason=pod.waits_for)]
    elif pod.waits_for:
        state = objects.ContainerState(waiting=objects.Waiting(pod.waits_for))
    elif pod.ended_by and pod.phase in _OVER:
        state = objects.ContainerState(terminated=objects.Terminated(reason=pod.ended_by))
    status = objects.PodStatus(
        phase=pod.phase or "Unknown",
        start_time=pod.at.get("start_time"),
        conditions=tuple(conditions),
        container_statuses=(objects.ContainerStatus(state=state),),
    )
    return objects.Pod(meta, objects.PodSpec(node_name=pod.node or None, containers=(container,)), status)
