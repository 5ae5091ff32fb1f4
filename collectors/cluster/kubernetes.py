"""Pods, what they asked for and were given, and the states of nodes, from Kubernetes' own API."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, TypeVar
from urllib.parse import quote

import dataframely as dy
import msgspec
import polars as pl
from pydantic import Field

from collectors.cluster._kubernetes_api import Api, Forbidden, Place, place
from collectors.cluster._kubernetes_claims import Claim, Device, Slice
from collectors.cluster._kubernetes_devices import Claims, Offer, claims, given, is_told, offer, places, requested
from collectors.cluster._kubernetes_jobs import POD_LABELS, Asked, Words, bound_at, ended_at, holdings, job_row
from collectors.cluster._kubernetes_nodes import node_row, state_row
from collectors.cluster._kubernetes_objects import Node, Pod, Workload
from collectors.cluster._kubernetes_owners import Owners
from collectors.cluster._kubernetes_queue import queue_row, waits_as_pods, wanted
from collectors.cluster._source import Pull, Pulled, SourceSettings, cluster_source
from collectors.dumps._dump import Rejected
from ledger.errors import SourceError
from ledger.registry import Row
from ledger.tables import Job, JobGpu, NodeState
from ledger.tables import Node as NodeTable
from ledger.words import amount

T = TypeVar("T")

_LONGEST_RECORD: Final = 2000
_CLAIM_GROUP: Final = "/apis/resource.k8s.io"

# The versions of claims that are read, the newest first.
_CLAIM_VERSIONS: Final = ("v1", "v1beta2", "v1beta1")

_QUEUE_GROUP: Final = "/apis/kueue.x-k8s.io"
_QUEUE_VERSIONS: Final = ("v1", "v1beta2", "v1beta1")


class KubernetesSettings(SourceSettings):
    """Where the API server is, and how its words are read; in a pod of the cluster nothing is needed."""

    url: Annotated[str, Field(description="The API server's address; empty in a pod of the cluster")] = ""
    token_file: Annotated[Path | None, Field(description="File with the token; a pod's own by default")] = None
    ca_file: Annotated[Path | None, Field(description="Certificates that are trusted; a pod's own by default")] = None
    namespaces: Annotated[tuple[str, ...], Field(description="Read pods of these only; empty for all")] = ()
    labels: Annotated[tuple[str, ...], Field(description="Labels of pods that are kept; no others are")] = POD_LABELS
    user_label: Annotated[str, Field(description="Label that names a pod's user")] = "user"
    team_label: Annotated[str, Field(description="Label that names a pod's team")] = "team"
    model_label: Annotated[str, Field(description="Label that names a pod's model")] = "model"
    reserving_taints: Annotated[tuple[str, ...], Field(description="Taints that keep a node for some")] = ("dedicated",)
    provider: Annotated[str, Field(description="The bill's name for who runs the nodes; empty fits any")] = ""
    with_cpu_pods: Annotated[bool, Field(description="Keep pods that ask for no accelerator, too")] = False
    page_size: Annotated[int, Field(ge=10, le=10_000, description="Objects in one answer")] = 500
    timeout_seconds: Annotated[float, Field(gt=0, le=300, description="Longest wait for one answer")] = 30.0


@cluster_source(emits=("job", "job_gpu", "node", "node_state"), every_seconds=30, settings=KubernetesSettings)
def kubernetes(settings: KubernetesSettings) -> Pull:
    """Tell what stands now in a cluster: a job for each pod that asks for an accelerator.

    One pod is one job: a node knows its processes, cgroups and devices by the pod's UID, and each pod holds its own
    devices for its own time. What belongs together is told by `job_name`, the name of the outermost owner (the
    Deployment, CronJob, PyTorchJob or RayCluster), which is what naming rules see.

    What waits for quota in a queue of Kueue has no pods yet, and is a job of its own until it is let in.

    Which device a pod has is told for dynamic claims and for HAMi. What a device plugin gave is known to the node's
    kubelet alone: there the agent tells it. A node whose pods ask for no device has free ones; which of a node's
    devices are free is unknown while a pod has one that nobody names. Labels are kept through an allow-list.

    What is gone when the server is asked again ended when it was last seen. Raises: SourceError: the server refuses or
    does not answer; nothing is kept then, and nothing ends.
    Source: Kubernetes API reference; dynamic resource allocation, resource.k8s.io; HAMi's protocol of annotations.
    """
    where = place(settings.url, settings.token_file, settings.ca_file)

    def pull(since: datetime | None, until: datetime) -> Iterator[Pulled]:
        del since
        yield _pulled(settings, where, _owners(settings), until)

    return pull


@functools.lru_cache(maxsize=64)
def _owners(settings: KubernetesSettings) -> Owners:
    """Return what is known of owners: a source is opened anew for each pull, and they outlive it."""
    del settings
    return Owners()


@functools.lru_cache(maxsize=64)
def _given_devices(settings: KubernetesSettings) -> dict[tuple[str, str, str], Device]:
    """Return the devices that claims have, as they were told last: a driver that is started anew tells none."""
    del settings
    return {}


@dataclass
class _Round:
    """What one pull has found so far; `untold_count` pods have devices of which nobody says now which they are."""

    rows: dict[str, list[Row]] = field(default_factory=lambda: {"job": [], "job_gpu": [], "node": [], "state": []})
    rejected: list[Rejected] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    used_nodes: set[str] = field(default_factory=set)
    untold_count: int = 0


def _pulled(settings: KubernetesSettings, where: Place, owners: Owners, until: datetime) -> Pulled:
    found = _Round()
    owners.begin()
    with Api(where, page_size=settings.page_size, timeout_seconds=settings.timeout_seconds) as api:
        nodes = _decoded(api.listed("/api/v1/nodes"), Node, "node", found)
        known = _claims(api, found, _given_devices(settings))
        offers = {node.metadata.name: offer(node, known) for node in nodes}
        paths = [f"/api/v1/namespaces/{quote(name, safe='')}/pods" for name in settings.namespaces] or ["/api/v1/pods"]
        for path in paths:
            for pod in _decoded(api.listed(path), Pod, "job", found):
                _add_pod(settings, api, owners, found, pod, offers, known)
        for workload in _workloads(settings, api, found):
            _add_workload(settings, api, owners, found, workload, offers, known)
    for node in nodes:
        _add_node(settings, found, node, offers[node.metadata.name], until)
    if owners.refused:
        kinds = ", ".join(sorted(owners.refused))
        found.remarks.append(
            f"owners of pods may not be read and end the chain: {kinds}; allow them in the ClusterRole"
        )
    if found.untold_count:
        pods = f"{amount(found.untold_count, 'pod')} {'has' if found.untold_count == 1 else 'have'} devices"
        found.remarks.append(f"{pods} that no driver offers now: which they are stays as it was told")
    rows = found.rows
    frames: dict[type[dy.Schema], pl.DataFrame] = {
        Job: _frame(Job, rows["job"]),
        JobGpu: _frame(JobGpu, rows["job_gpu"]),
        NodeTable: _frame(NodeTable, rows["node"]),
        NodeState: _frame(NodeState, rows["state"]),
    }
    return Pulled(frames, until, tuple(found.rejected), tuple(found.remarks), _standing(found), is_of_now=True)


def _standing(found: _Round) -> dict[type[dy.Schema], str]:
    """Return the tables that are told whole: an object that could not be read is there, and has not ended."""
    refused = {each.table_name for each in found.rejected}
    pods: dict[type[dy.Schema], str] = {Job: "kubernetes"}
    if not found.untold_count:
        pods[JobGpu] = "scheduler"
    nodes: dict[type[dy.Schema], str] = {NodeTable: "kubernetes", NodeState: "kubernetes"}
    return {**({} if refused & {"job", "job_gpu"} else pods), **({} if "node" in refused else nodes)}


def _frame(schema: type[dy.Schema], rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema.create_empty().schema)


def _claims(api: Api, found: _Round, before: dict[tuple[str, str, str], Device]) -> Claims:
    """Return the dynamic claims and the devices behind them; none where the cluster has no such thing.

    A device that a claim has, and that nobody tells of now, is as it was told before.
    """
    version = _served(api, _CLAIM_GROUP, _CLAIM_VERSIONS)
    if version is None:
        return Claims()
    asked = _decoded(api.listed(f"{_CLAIM_GROUP}/{version}/resourceclaims"), Claim, "job_gpu", found)
    slices = _decoded(api.listed(f"{_CLAIM_GROUP}/{version}/resourceslices"), Slice, "job_gpu", found)
    known = claims(asked, slices)
    now = {**before, **known.devices}
    have = {each: now[each] for claim in asked for each in places(claim) if each in now}
    before.clear()
    before.update(have)
    return replace(known, devices={**have, **known.devices})


def _served(api: Api, group: str, versions: Sequence[str]) -> str | None:
    """Return the first of these versions that the server serves of a group, None where it serves none of them."""
    content = api.found(group)
    if content is None:
        return None
    try:
        served = {each.version for each in msgspec.json.decode(content, type=_Group).versions}
    except msgspec.DecodeError as error:
        raise SourceError(f"{group}: found {error}, expected a group and its versions") from None
    return next((each for each in versions if each in served), None)


class _Version(msgspec.Struct):
    version: str


class _Group(msgspec.Struct):
    versions: list[_Version]


def _decoded(items: list[msgspec.Raw], kind: type[T], table: str, found: _Round) -> list[T]:
    """Return the objects that can be read; each of the others is refused alone."""
    objects = []
    decoder = msgspec.json.Decoder(kind)
    for item in items:
        try:
            objects.append(decoder.decode(item))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            text = bytes(item).decode("utf-8", "replace")[:_LONGEST_RECORD]
            found.rejected.append(Rejected(table, "items", str(error), text))
    return objects


def _add_pod(
    settings: KubernetesSettings,
    api: Api,
    owners: Owners,
    found: _Round,
    pod: Pod,
    offers: dict[str, Offer],
    known: Claims,
) -> None:
    at = offers.get(pod.spec.node_name or "")
    try:
        count = requested(pod, at, offers.values(), known)
        if count == 0 and not settings.with_cpu_pods:
            return
        devices = given(pod, at, known)
        if devices and at is not None and at.memory:
            # What HAMi gave is known better than what was asked for.
            count = sum(1.0 if each.share is None else each.share for each in devices)
        row = job_row(settings.cluster, pod, owners.chain(api, pod.metadata), Asked(count, devices), _words(settings))
    except ValueError as error:
        where = f"pod {pod.metadata.namespace}/{pod.metadata.name}"
        found.rejected.append(Rejected("job", where, str(error), where))
        return
    found.untold_count += ended_at(pod) is None and not is_told(pod, known)
    found.rows["job"].append(row)
    found.rows["job_gpu"] += holdings(settings.cluster, pod, devices)
    if count != 0 and bound_at(pod) is not None and ended_at(pod) is None:
        found.used_nodes.add(pod.spec.node_name or "")


def _words(settings: KubernetesSettings) -> Words:
    return Words(settings.labels, settings.user_label, settings.team_label, settings.model_label)


def _workloads(settings: KubernetesSettings, api: Api, found: _Round) -> list[Workload]:
    """Return what waits in queues of Kueue, or waited there; nothing where there are none."""
    version = _served(api, _QUEUE_GROUP, _QUEUE_VERSIONS)
    if version is None:
        return []
    root = f"{_QUEUE_GROUP}/{version}"
    spaces = [f"{root}/namespaces/{quote(name, safe='')}" for name in settings.namespaces] or [root]
    try:
        items = [item for space in spaces for item in api.listed(f"{space}/workloads")]
    except Forbidden:
        found.remarks.append("what waits for quota may not be read: allow workloads of Kueue in the ClusterRole")
        return []
    return _decoded(items, Workload, "job", found)


def _add_workload(
    settings: KubernetesSettings,
    api: Api,
    owners: Owners,
    found: _Round,
    workload: Workload,
    offers: dict[str, Offer],
    known: Claims,
) -> None:
    try:
        chain = owners.chain(api, workload.metadata)
        count = wanted(workload, offers.values(), known)
        if waits_as_pods(chain) or (count == 0 and not settings.with_cpu_pods):
            return
        found.rows["job"].append(queue_row(settings.cluster, workload, chain, count, _words(settings)))
    except ValueError as error:
        where = f"workload {workload.metadata.namespace}/{workload.metadata.name}"
        found.rejected.append(Rejected("job", where, str(error), where))


def _add_node(settings: KubernetesSettings, found: _Round, node: Node, at: Offer, until: datetime) -> None:
    name = node.metadata.name
    try:
        is_whole = not settings.namespaces
        found.rows["node"].append(node_row(settings.cluster, node, at, settings.provider, is_whole=is_whole))
    except ValueError as error:
        found.rejected.append(Rejected("node", f"node {name}", str(error), name))
    is_used = name in found.used_nodes
    reserving = settings.reserving_taints
    found.rows["state"].append(state_row(settings.cluster, node, is_used=is_used, reserving=reserving, at=until))
