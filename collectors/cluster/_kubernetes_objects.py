"""The parts of Kubernetes' objects that are read; whatever else an object holds is passed over.

Source: the API reference of core/v1 and meta/v1, and of Kueue.
"""

from datetime import datetime

import msgspec


class Part(msgspec.Struct, rename="camel"):
    """A part of an object: what the server leaves out, or sends as null, is as if it were empty."""


class Owner(Part):
    """One line of `ownerReferences`."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None


class Meta(Part):
    """What every object carries."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[Owner, ...] | None = None


class Described(Part):
    """Any object, of which only what every object carries is read."""

    metadata: Meta


class Condition(Part):
    """One condition of a pod or a node."""

    type: str
    status: str
    reason: str | None = None
    message: str | None = None
    last_transition_time: datetime | None = None


class Resources(Part):
    """What a container asks for."""

    requests: dict[str, str] | None = None
    limits: dict[str, str] | None = None


class Container(Part):
    """One container of a pod."""

    name: str = ""
    resources: Resources | None = None
    restart_policy: str | None = None


class ClaimOfPod(Part):
    """One claim that a pod names."""

    name: str
    resource_claim_name: str | None = None


class Gate(Part):
    """What keeps a pod from being scheduled."""

    name: str


class PodSpec(Part):
    """What a pod is to be."""

    node_name: str | None = None
    node_selector: dict[str, str] | None = None
    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    resource_claims: tuple[ClaimOfPod, ...] | None = None
    scheduling_gates: tuple[Gate, ...] | None = None
    active_deadline_seconds: int | None = None


class Terminated(Part):
    """How a container ended."""

    exit_code: int = 0
    signal: int | None = None
    reason: str | None = None
    finished_at: datetime | None = None


class Waiting(Part):
    """Why a container does not run."""

    reason: str | None = None
    message: str | None = None


class ContainerState(Part):
    """What a container does."""

    terminated: Terminated | None = None
    waiting: Waiting | None = None


class ContainerStatus(Part):
    """One container, as the kubelet tells it."""

    name: str = ""
    state: ContainerState | None = None


class ClaimForPod(Part):
    """The claim that the scheduler made for a pod that asks for a counted resource of a driver's."""

    resource_claim_name: str = ""


class PodStatus(Part):
    """What a pod is."""

    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    start_time: datetime | None = None
    qos_class: str | None = None
    conditions: tuple[Condition, ...] | None = None
    container_statuses: tuple[ContainerStatus, ...] | None = None
    init_container_statuses: tuple[ContainerStatus, ...] | None = None
    resource_claim_statuses: tuple[ClaimOfPod, ...] | None = None
    extended_resource_claim_status: ClaimForPod | None = None


class Pod(Part):
    """One pod."""

    metadata: Meta
    spec: PodSpec
    status: PodStatus


class Taint(Part):
    """What keeps pods from a node."""

    key: str
    effect: str
    value: str | None = None
    time_added: datetime | None = None


class NodeSpec(Part):
    """What a node is to be."""

    unschedulable: bool | None = None
    taints: tuple[Taint, ...] | None = None
    provider_id: str | None = msgspec.field(default=None, name="providerID")


class NodeStatus(Part):
    """What a node is."""

    capacity: dict[str, str] | None = None
    conditions: tuple[Condition, ...] | None = None


class Node(Part):
    """One node."""

    metadata: Meta
    spec: NodeSpec
    status: NodeStatus


class Template(Part):
    """What pods are to be made like."""

    spec: PodSpec


class PodSet(Part):
    """Pods of one kind that a workload is to have."""

    template: Template
    count: int = 1


class WorkloadSpec(Part):
    """What waits in a queue."""

    pod_sets: tuple[PodSet, ...] | None = None
    queue_name: str | None = None


class WorkloadStatus(Part):
    """Whether it still waits."""

    conditions: tuple[Condition, ...] | None = None


class Workload(Part):
    """One Workload of Kueue."""

    metadata: Meta
    spec: WorkloadSpec
    status: WorkloadStatus = msgspec.field(default_factory=WorkloadStatus)
