"""Who owns pods, as kube-state-metrics tells it."""

from collections.abc import Mapping
from typing import Final

from collectors.cluster import _kubernetes_objects as objects
from collectors.cluster._prometheus_asking import Asking
from collectors.cluster._prometheus_table import Labels

# Owners that are owned themselves, with the metric that says by whom and the label that names them there.
_OWNED: Final[Mapping[str, tuple[str, str]]] = {
    "ReplicaSet": ("kube_replicaset_owner", "replicaset"),
    "Job": ("kube_job_owner", "job_name"),
}

KnownOwners = Mapping[tuple[str, str, str], objects.Owner]
"""Who owns a ReplicaSet or a Job, by its kind, namespace and name."""


def known_owners(asking: Asking) -> KnownOwners:
    """Return who owns what owns pods."""
    found = {}
    for kind, (metric, label) in _OWNED.items():
        for labels, _ in asking.last(metric):
            name = labels.get("exported_namespace") or labels.get("namespace", ""), labels.get(label, "")
            if labels.get("owner_name") and labels.get("owner_kind") not in {None, "", "<none>"}:
                found[kind, *name] = _owner(labels["owner_kind"], labels["owner_name"])
    return found


def chain(info: Labels, namespace: str, owners: KnownOwners) -> list[objects.Owner]:
    """Return the owners of a pod, the nearest first, from what its `kube_pod_info` says."""
    kind, name = info.get("created_by_kind", ""), info.get("created_by_name", "")
    if not name or kind in {"", "<none>"}:
        return []
    outer = owners.get((kind, namespace, name))
    return [_owner(kind, name), *([outer] if outer else [])]


def _owner(kind: str, name: str) -> objects.Owner:
    return objects.Owner(api_version="", kind=kind, name=name, uid="")
