"""What waits for quota: a workload in a queue of Kueue has no pods until it is let in."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from collectors.cluster._kubernetes_devices import Claims, Offer, requested
from collectors.cluster._kubernetes_jobs import LONGEST_REASON, Words, kind_of
from collectors.cluster._kubernetes_objects import Condition, Owner, Pod, PodStatus, Workload
from ledger.registry import Row

_OF_PODS: Final = "Pod"

LET_IN: Final = "ADMITTED"
"""The state of what waited in a queue, once its own pods wait, run and end as jobs of their own."""


def wanted(workload: Workload, offers: Iterable[Offer], known: Claims) -> float | None:
    """Return how many devices all pods of a workload ask for; null where that depends on the node.

    Raises: ValueError: what they ask for is no quantity.
    """
    every = list(offers)
    counts = [
        (each.count, requested(Pod(workload.metadata, each.template.spec, PodStatus()), None, every, known))
        for each in workload.spec.pod_sets or ()
    ]
    parts = [count * devices for count, devices in counts if devices is not None]
    return None if len(parts) < len(counts) else sum(parts)


def waits_as_pods(owners: Sequence[Owner]) -> bool:
    """Tell whether the pods are there already and wait behind a gate: then they are the jobs that wait."""
    return bool(owners) and owners[0].kind == _OF_PODS


def queue_row(cluster: str, workload: Workload, owners: Sequence[Owner], count: float | None, words: Words) -> Row:
    """Return a workload's row of `job`: it waits from its creation until it is let in, is finished or is gone.

    Raises: ValueError: it has no UID or creation time.
    """
    meta = workload.metadata
    if not meta.uid or meta.creation_timestamp is None:
        raise ValueError("found no uid or creationTimestamp, expected both")
    labels = meta.labels or {}
    root = owners[-1] if owners else None
    over = _since(workload, "Finished") or _since(workload, "Admitted")
    reserved = _condition(workload, "QuotaReserved")
    waits = over is None and reserved is not None and reserved.status != "True" and reserved.message
    named = {"workload": meta.name} | ({"owner": f"{root.kind}/{root.name}"} if root else {})
    kept = {name: labels[name] for name in words.labels if name in labels}
    return {
        "cluster": cluster,
        "job_id": meta.uid,
        "submitted_at": meta.creation_timestamp,
        "restart_count": 0,
        "user": labels.get(words.user) or None,
        "account": workload.spec.queue_name or meta.namespace,
        "team": labels.get(words.team) or None,
        "model": labels.get(words.model) or None,
        "workload_kind": kind_of(owners),
        "job_name": root.name if root else meta.name,
        "partition": meta.namespace,
        "state": "PENDING" if over is None else LET_IN,
        "pending_reason": f"QuotaReserved: {waits}"[:LONGEST_REASON] if waits else None,
        "eligible_at": meta.creation_timestamp,
        "ended_at": over,
        "requested_gpu_count": count,
        "labels": json.dumps({**kept, **named}, sort_keys=True),
        "source": "kubernetes",
    }


def _since(workload: Workload, name: str) -> datetime | None:
    found = _condition(workload, name)
    return found.last_transition_time if found is not None and found.status == "True" else None


def _condition(workload: Workload, name: str) -> Condition | None:
    return next((each for each in workload.status.conditions or () if each.type == name), None)
