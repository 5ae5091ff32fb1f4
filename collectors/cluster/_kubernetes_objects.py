"""The parts of Kubernetes' objects that are read; whatever else an object holds is passed over.

Source: the API reference of core/v1, meta/v1, resource.k8s.io/v1, v1beta2 and v1beta1, and of Kueue.
"""

from datetime import datetime

import msgspec


class _Object(msgspec.Struct, rename="camel"):
    """A part of an object: what the server leaves out, or sends as null, is as if it were empty."""


class Owner(_Object):
    """One line of `ownerReferences`."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None


class Meta(_Object):
    """What every object carries."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: tuple[Owner, ...] | None = None


class Described(_Object):
    """Any object, of which only what every object carries is read."""

    metadata: Meta


class Condition(_Object):
    """One condition of a pod or a node."""

    type: str
    status: str
    reason: str | None = None
    message: str | None = None
    last_transition_time: datetime | None = None


class Resources(_Object):
    """What a container asks for."""

    requests: dict[str, str] | None = None
    limits: dict[str, str] | None = None


class Container(_Object):
    """One container of a pod."""

    name: str = ""
    resources: Resources | None = None
    restart_policy: str | None = None


class ClaimOfPod(_Object):
    """One claim that a pod names."""

    name: str
    resource_claim_name: str | None = None


class Gate(_Object):
    """What keeps a pod from being scheduled."""

    name: str


class PodSpec(_Object):
    """What a pod is to be."""

    node_name: str | None = None
    node_selector: dict[str, str] | None = None
    containers: tuple[Container, ...] | None = None
    init_containers: tuple[Container, ...] | None = None
    resource_claims: tuple[ClaimOfPod, ...] | None = None
    scheduling_gates: tuple[Gate, ...] | None = None
    active_deadline_seconds: int | None = None


class Terminated(_Object):
    """How a container ended."""

    exit_code: int = 0
    signal: int | None = None
    reason: str | None = None
    finished_at: datetime | None = None


class Waiting(_Object):
    """Why a container does not run."""

    reason: str | None = None
    message: str | None = None


class ContainerState(_Object):
    """What a container does."""

    terminated: Terminated | None = None
    waiting: Waiting | None = None


class ContainerStatus(_Object):
    """One container, as the kubelet tells it."""

    name: str = ""
    state: ContainerState | None = None


class PodStatus(_Object):
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


class Pod(_Object):
    """One pod."""

    metadata: Meta
    spec: PodSpec
    status: PodStatus


class Taint(_Object):
    """What keeps pods from a node."""

    key: str
    effect: str
    value: str | None = None
    time_added: datetime | None = None


class NodeSpec(_Object):
    """What a node is to be."""

    unschedulable: bool | None = None
    taints: tuple[Taint, ...] | None = None
    provider_id: str | None = msgspec.field(default=None, name="providerID")


class NodeStatus(_Object):
    """What a node is."""

    capacity: dict[str, str] | None = None
    conditions: tuple[Condition, ...] | None = None


class Node(_Object):
    """One node."""

    metadata: Meta
    spec: NodeSpec
    status: NodeStatus


class Exactly(_Object):
    """What one request of a claim asks for."""

    device_class_name: str = ""
    count: int | None = None
    allocation_mode: str | None = None


class DeviceRequest(Exactly):
    """One request of a claim: since v1beta2 under `exactly`, or a list of which the first that fits is given."""

    name: str = ""
    exactly: Exactly | None = None
    first_available: tuple[Exactly, ...] | None = None


class Devices(_Object):
    """What a claim asks for."""

    requests: tuple[DeviceRequest, ...] | None = None


class ClaimSpec(_Object):
    """What a claim is to be."""

    devices: Devices = msgspec.field(default_factory=Devices)


class Result(_Object):
    """One device that was given to a claim."""

    driver: str
    pool: str
    device: str
    admin_access: bool | None = None


class Results(_Object):
    """The devices that were given to a claim."""

    results: tuple[Result, ...] | None = None


class Allocation(_Object):
    """What a claim was given."""

    devices: Results = msgspec.field(default_factory=Results)


class Consumer(_Object):
    """Who may use what a claim was given."""

    resource: str = ""
    uid: str = ""


class ClaimStatus(_Object):
    """What a claim is."""

    allocation: Allocation | None = None
    reserved_for: tuple[Consumer, ...] | None = None


class Claim(_Object):
    """One ResourceClaim."""

    metadata: Meta
    spec: ClaimSpec
    status: ClaimStatus = msgspec.field(default_factory=ClaimStatus)


class Attribute(_Object):
    """What a driver says about a device: one of these."""

    string: str | None = None


class Basic(_Object):
    """Where v1beta1 keeps the attributes of a device."""

    attributes: dict[str, Attribute] | None = None


class Device(_Object):
    """One device that a driver offers."""

    name: str
    attributes: dict[str, Attribute] | None = None
    basic: Basic | None = None


class Pool(_Object):
    """Which devices these are: those of an older generation do not count."""

    name: str
    generation: int = 0


class SliceSpec(_Object):
    """What a driver offers."""

    driver: str
    pool: Pool
    node_name: str | None = None
    devices: tuple[Device, ...] | None = None


class Slice(_Object):
    """One ResourceSlice."""

    metadata: Meta
    spec: SliceSpec


class Template(_Object):
    """What pods are to be made like."""

    spec: PodSpec


class PodSet(_Object):
    """Pods of one kind that a workload is to have."""

    template: Template
    count: int = 1


class WorkloadSpec(_Object):
    """What waits in a queue."""

    pod_sets: tuple[PodSet, ...] | None = None
    queue_name: str | None = None


class WorkloadStatus(_Object):
    """Whether it still waits."""

    conditions: tuple[Condition, ...] | None = None


class Workload(_Object):
    """One Workload of Kueue."""

    metadata: Meta
    spec: WorkloadSpec
    status: WorkloadStatus = msgspec.field(default_factory=WorkloadStatus)
