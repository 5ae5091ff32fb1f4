"""Nodes: what they are, and what the scheduler lets them do."""

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from collectors.cluster._kubernetes_devices import Offer
from collectors.cluster._kubernetes_objects import Node, Taint
from collectors.cluster._kubernetes_requests import quantity
from ledger.registry import Row

_REGIONS: Final = ("topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region")
_TYPES: Final = ("node.kubernetes.io/instance-type", "beta.kubernetes.io/instance-type")

_SHUTDOWN: Final = "node.cloudprovider.kubernetes.io/shutdown"
# Set by autoscalers on a node that they are about to remove.
_LEAVING: Final = ("ToBeDeletedByClusterAutoscaler", "karpenter.sh/disrupted", "karpenter.sh/disruption")
_OF_KUBERNETES: Final = "node.kubernetes.io/"


def node_row(cluster: str, node: Node, at: Offer, provider: str, *, is_whole: bool) -> Row:
    """Return a node's row of `node`.

    The scheduler holds its devices where all its pods are told (`is_whole`): what none of them asked for is free. Which
    device a pod has, where only the node's kubelet knows, is no matter here: see `queries.rollups._unplaced`.

    Raises: ValueError: its size is no quantity, or it has no creation time.
    """
    labels, capacity = node.metadata.labels or {}, node.status.capacity or {}
    if node.metadata.creation_timestamp is None:
        raise ValueError("found no creationTimestamp, expected one")
    return {
        "cluster": cluster,
        "node": node.metadata.name,
        "exists_start": node.metadata.creation_timestamp,
        "exists_end": None,
        "provider": provider or None,
        "region": _first(labels, _REGIONS),
        "instance_type": _first(labels, _TYPES),
        "provider_instance_id": node.spec.provider_id or None,
        "holder": "scheduler" if is_whole else None,
        "cpu_count": int(_size(capacity, "cpu")) if "cpu" in capacity else None,
        "memory_bytes": float(_size(capacity, "memory")) if "memory" in capacity else None,
        "gpu_count": at.gpu_count,
        "source": "kubernetes",
    }


def state_row(cluster: str, node: Node, *, is_used: bool, reserving: Collection[str], at: datetime) -> Row:
    """Return a node's row of `node_state`, with the instant since when as far as the server knows it, else `at`.

    A cordoned node drains while pods use its devices. A taint of a key in `reserving` keeps it for some.
    Kubernetes limits namespaces, not nodes: no node is in the state QUOTA.
    """
    state, reason, since = _state(node, is_used=is_used, reserving=reserving)
    return {
        "cluster": cluster,
        "node": node.metadata.name,
        "state_start": since or at,
        "state_end": None,
        "state": state,
        "reason": reason,
        "source": "kubernetes",
    }


def _state(node: Node, *, is_used: bool, reserving: Collection[str]) -> tuple[str, str | None, datetime | None]:
    taints = node.spec.taints or ()
    off = next((each for each in taints if each.key == _SHUTDOWN), None)
    if off is not None:
        return "POWERED_DOWN", "shut down by the cloud", off.time_added
    ready = next((each for each in node.status.conditions or () if each.type == "Ready"), None)
    if ready is None or ready.status != "True":
        return "DOWN", (ready.reason if ready else None) or "NotReady", ready.last_transition_time if ready else None
    leaving = next((each for each in taints if each.key in _LEAVING), None)
    if leaving is not None or node.spec.unschedulable:
        reason = leaving.key if leaving is not None else "cordoned" + _others(taints)
        return "DRAINING" if is_used else "DRAINED", reason, None
    kept = next((each for each in taints if each.key in reserving and each.effect != "PreferNoSchedule"), None)
    if kept is not None:
        return "RESERVED", _shown(kept), kept.time_added
    return "UP", None, ready.last_transition_time


def _others(taints: Collection[Taint]) -> str:
    """Return the taints beside the one that cordoning sets: operators say there why they cordoned."""
    told = sorted(_shown(each) for each in taints if not each.key.startswith(_OF_KUBERNETES))
    return f" ({', '.join(told)})" if told else ""


def _shown(taint: Taint) -> str:
    return f"{taint.key}={taint.value}" if taint.value else taint.key


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    return next((labels[name] for name in names if labels.get(name)), None)


def _size(capacity: Mapping[str, str], name: str) -> Decimal:
    return quantity(capacity[name])
