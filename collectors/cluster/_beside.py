"""kube-state-metrics beside Kubernetes' own API: of two that tell the same of one cluster, the API is believed."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

import dataframely as dy
import polars as pl

from collectors.cluster._source import Pulled
from ledger.tables import Job, JobGpu, Node, NodeState

_API: Final = "kubernetes"
_COPY: Final = "prometheus"

_HOLDING: Final = ["cluster", "node", "gpu_uuid", "job_id", "submitted_at", "restart_count"]


def has_api(kind: str, cluster: str, sources: Mapping[str, Mapping[str, Any]]) -> bool:
    """Tell whether a source copies what another one asks the API of its cluster for, in all namespaces."""
    return kind == _COPY and any(
        each.get("kind") == _API
        and each.get("cluster", "default") == cluster
        and each.get("enabled", True)
        and not each.get("namespaces")
        for each in sources.values()
    )


def beside_api(pulled: Pulled, held: pl.DataFrame) -> Pulled:
    """Return a pull without what the API tells: pods, nodes and their states.

    Which device a pod has stays, from exporters on the nodes, where the API has not said it (`held`). It is under the
    same name and instants as the API's: metrics copy them.
    """
    copied = {Job, Node, NodeState}
    frames: dict[type[dy.Schema], pl.DataFrame] = {
        schema: frame.filter(pl.col("source").ne_missing(pl.lit(_API))) if schema in copied else frame
        for schema, frame in pulled.frames.items()
    }
    if JobGpu in frames:
        frames[JobGpu] = frames[JobGpu].join(held, on=_HOLDING, how="anti")
    standing = {schema: word for schema, word in pulled.standing.items() if word != _API}
    return dataclasses.replace(pulled, frames=frames, standing=standing)
