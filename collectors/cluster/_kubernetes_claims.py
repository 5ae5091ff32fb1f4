"""The parts that are read of Kubernetes' objects about devices: what pods claim, are given, and drivers offer.

Source: the API reference of resource.k8s.io/v1, v1beta2 and v1beta1.
"""

import msgspec

from collectors.cluster._kubernetes_objects import Meta, Part


class Exactly(Part):
    """What one request of a claim asks for."""

    device_class_name: str = ""
    count: int | None = None
    allocation_mode: str | None = None


class DeviceRequest(Exactly):
    """One request of a claim: since v1beta2 under `exactly`, or a list of which the first that fits is given."""

    name: str = ""
    exactly: Exactly | None = None
    first_available: tuple[Exactly, ...] | None = None


class Devices(Part):
    """What a claim asks for."""

    requests: tuple[DeviceRequest, ...] | None = None


class ClaimSpec(Part):
    """What a claim is to be."""

    devices: Devices = msgspec.field(default_factory=Devices)


class Result(Part):
    """One device that was given to a claim."""

    driver: str
    pool: str
    device: str
    admin_access: bool | None = None


class Results(Part):
    """The devices that were given to a claim."""

    results: tuple[Result, ...] | None = None


class Allocation(Part):
    """What a claim was given."""

    devices: Results = msgspec.field(default_factory=Results)


class Consumer(Part):
    """Who may use what a claim was given."""

    resource: str = ""
    uid: str = ""


class ClaimStatus(Part):
    """What a claim is."""

    allocation: Allocation | None = None
    reserved_for: tuple[Consumer, ...] | None = None


class Claim(Part):
    """One ResourceClaim."""

    metadata: Meta
    spec: ClaimSpec
    status: ClaimStatus = msgspec.field(default_factory=ClaimStatus)


class Attribute(Part):
    """What a driver says about a device: one of these."""

    string: str | None = None


class Basic(Part):
    """Where v1beta1 keeps the attributes of a device."""

    attributes: dict[str, Attribute] | None = None


class Device(Part):
    """One device that a driver offers."""

    name: str
    attributes: dict[str, Attribute] | None = None
    basic: Basic | None = None


class Pool(Part):
    """Which devices these are: those of an older generation do not count."""

    name: str
    generation: int = 0


class SliceSpec(Part):
    """What a driver offers."""

    driver: str
    pool: Pool
    node_name: str | None = None
    devices: tuple[Device, ...] | None = None


class Slice(Part):
    """One ResourceSlice."""

    metadata: Meta
    spec: SliceSpec
