"""kube-state-metrics: pods that ask for accelerators as jobs, which device a pod has, nodes and their states.

The same words as from Kubernetes' own API, of which these metrics are a copy: a job's id is its pod's UID. What is
told of a pod is looked for over the whole window and a little before it, so that a pod that ended between two pulls
is told once more, with its end.

Which device a pod has is told by DCGM exporter, in `pod`, or in `exported_pod` where the scrape has a pod of its own.

Source: docs/metrics of kube-state-metrics 2.x; dcgm-exporter's pod mapping.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import dataframely as dy
import polars as pl

from collectors.cluster import _prometheus_pods as pods
from collectors.cluster._kubernetes_devices import Offer
from collectors.cluster._prometheus_api import instant
from collectors.cluster._prometheus_asking import Asking, told_at
from collectors.cluster._prometheus_table import Labels
from ledger.frames import dtypes
from ledger.registry import Row
from ledger.tables import Job, JobGpu, Node, NodeState

NODES: Final = "kube_node_info"

OF_PODS: Final = (pods.REQUESTS, pods.PODS, "kube_pod_status_phase")
"""What there is most of: how many pods there are decides how long a window may be."""

_UNTOLD: Final[tuple[Labels, float]] = ({}, -1.0)
_MOST: Final = 2.0**63

SOURCE: Final = "kubernetes"
HOLDER: Final = "pod_resources"


def told(asking: Asking, *, is_last: bool) -> dict[type[dy.Schema], pl.DataFrame]:
    """Return jobs and the devices that they hold; of the last window also nodes, and how they stand at its end."""
    rows: dict[type[dy.Schema], list[Row]] = {}
    offered, devices = pods.offers(asking), pods.mapped(asking)
    jobs = pods.jobs(asking, offered, devices)
    rows[Job] = [row for _, row in jobs]
    rows[JobGpu] = list(_holdings(asking, jobs, devices))
    if is_last:
        used = {str(row["nodes"]) for row in rows[Job] if row["started_at"] is not None and row["ended_at"] is None}
        rows[Node] = list(_nodes(asking, offered))
        rows[NodeState] = list(_states(asking, used))
    return {schema: pl.DataFrame(found, schema=dtypes(schema)) for schema, found in rows.items() if found}


def _holdings(
    asking: Asking, jobs: Sequence[tuple[pods.PodName, Row]], devices: Mapping[pods.PodName, Sequence[Labels]]
) -> Iterable[Row]:
    """Yield the devices of pods: DCGM exporter says which, kube-state-metrics since when and until when."""
    by_name: dict[pods.PodName, list[dict[str, Any]]] = {}
    for name, job in jobs:
        if job["started_at"] is not None:
            by_name.setdefault(name, []).append(dict(job))
    # What is told under the name of a pod that began within what is looked at may have been another's.
    young = [name for name, rows in by_name.items() if rows[-1]["started_at"] >= instant(asking.since)]
    seen = pods.last_mapped(asking, young)
    for name, rows in by_name.items():
        for node, uuid in sorted({pods.place(asking, labels) for labels in devices.get(name, ())}):
            at = seen.get((name, node, uuid))
            # Of pods of one name the one that ran when the device was last told under it.
            ran = [row for row in rows if at is None or row["started_at"] <= at]
            if ran and node and uuid:
                job = ran[-1]
                yield {
                    "cluster": asking.cluster,
                    "node": node,
                    "gpu_uuid": uuid,
                    **{key: job[key] for key in ("job_id", "submitted_at", "restart_count")},
                    "held_start": job["started_at"],
                    "held_end": job["ended_at"],
                    "source": HOLDER,
                    "confidence_ratio": 0.9,
                }


def _nodes(asking: Asking, offered: Mapping[str, Offer]) -> Iterable[Row]:
    """Yield nodes; the scheduler holds their devices where the pods of all namespaces are told."""
    is_some = any(label == "namespace" for label, _, _ in asking.matchers)
    is_whole = {pods.REQUESTS, pods.PODS} <= asking.known and not is_some
    created = asking.of_nodes("kube_node_created")
    capacity = {
        name: asking.of_nodes("kube_node_status_capacity", (("resource", "=", name),)) for name in ("cpu", "memory")
    }
    for node, (labels, _) in asking.of_nodes(NODES).items():
        begun = told_at(created[node][1]) if node in created else None
        if begun is not None:
            has = {name: found[node][1] for name, found in capacity.items() if 0 <= found.get(node, _UNTOLD)[1] < _MOST}
            yield {
                "cluster": asking.cluster,
                "node": node,
                "exists_start": begun,
                "provider_instance_id": labels.get("provider_id") or None,
                "holder": "scheduler" if is_whole else None,
                "cpu_count": int(has["cpu"]) if "cpu" in has else None,
                "memory_bytes": has.get("memory"),
                "gpu_count": offered[node].gpu_count if node in offered else None,
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
