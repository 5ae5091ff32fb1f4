"""How much of which accelerators a pod asks for, and which devices it was given, by each way of asking.

Whole devices, MIG slices and time-slices are counted resources of containers; HAMi notes shares of devices in
annotations; a dynamic claim names its devices. Only the last two say which device it is: what a device plugin gave
is known to the node's kubelet alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from collectors.cluster._kubernetes_claims import Claim, Device, DeviceRequest, Exactly, Result, Slice
from collectors.cluster._kubernetes_hami import registered
from collectors.cluster._kubernetes_objects import Meta, Node, Pod
from collectors.cluster._kubernetes_requests import requests

WHOLE: Final = (
    "nvidia.com/gpu",
    "amd.com/gpu",
    "google.com/tpu",
    "gpu.intel.com/i915",
    "gpu.intel.com/xe",
    "habana.ai/gaudi",
    "aws.amazon.com/neuron",
)
"""Resources of which one is a whole device, unless its node divides it."""

_NVIDIA: Final = WHOLE[0]
SHARED: Final = "nvidia.com/gpu.shared"
_CORES: Final = "nvidia.com/gpucores"
_MEMORY_PERCENT: Final = "nvidia.com/gpumem-percentage"
_MEMORY: Final = "nvidia.com/gpumem"
_GIVEN: Final = "hami.io/vgpu-devices-allocated"

# Drivers of dynamic claims whose devices are accelerators; network adapters are claimed in the same way.
_DRIVERS: Final = ("gpu.nvidia.com", "gpu.amd.com", "gpu.intel.com", "tpu.google.com")
_SLICED_CLASS: Final = "mig.nvidia.com"
_CLASSES: Final = (*_DRIVERS, _SLICED_CLASS, "vfio.gpu.nvidia.com")

_PROFILE: Final = re.compile(r"(?:(\d+)c\.)?(\d+)g\.(\d+)gb")
_MIG: Final = "nvidia.com/mig-"
_OF_PRODUCT: Final = "-MIG-"

# An A30 has four slices of six gigabytes; others have seven, and eight parts of memory.
_OF_FOUR: Final = frozenset({(1, 6), (2, 12), (4, 24)})
_SLICES: Final = 7
_MEMORY_PARTS: Final = 8
_MEMORY_OF: Final[Mapping[int, int]] = {1: 1, 2: 2, 3: 4, 4: 4, 7: 8}
_MEBIBYTES: Final = 1024
_GIVEN_FIELDS: Final = 4


@dataclass(frozen=True)
class Given:
    """One device that a pod was given; the share is None for the whole of it."""

    uuid: str
    share: float | None


@dataclass(frozen=True)
class Offer:
    """What a node says of its devices.

    `unit` is the part of a device that one `nvidia.com/gpu` is there, `memory` the mebibytes of each device that
    HAMi divides.
    """

    gpu_count: int | None = None
    mebibytes: float | None = None
    unit: float = 1.0
    replicas: int = 1
    memory: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Claims:
    """The dynamic claims by namespace and name, and the devices that drivers offer by driver, pool and name."""

    by_name: Mapping[tuple[str, str], Claim] = field(default_factory=dict)
    devices: Mapping[tuple[str, str, str], Device] = field(default_factory=dict)
    of_node: Mapping[str, Sequence[Device]] = field(default_factory=dict)


def claims(found: Iterable[Claim], slices: Iterable[Slice]) -> Claims:
    """Return claims and devices; of the slices of one pool only those of its newest generation count."""
    newest: dict[tuple[str, str], int] = {}
    offered = [each for each in slices if each.spec.driver in _DRIVERS]
    for each in offered:
        pool = (each.spec.driver, each.spec.pool.name)
        newest[pool] = max(newest.get(pool, 0), each.spec.pool.generation)
    devices: dict[tuple[str, str, str], Device] = {}
    of_node: dict[str, list[Device]] = {}
    for each in offered:
        driver, pool_name = each.spec.driver, each.spec.pool.name
        if each.spec.pool.generation < newest[driver, pool_name]:
            continue
        for device in each.spec.devices or ():
            devices[driver, pool_name, device.name] = device
            if each.spec.node_name:
                of_node.setdefault(each.spec.node_name, []).append(device)
    return Claims({(each.metadata.namespace, each.metadata.name): each for each in found}, devices, of_node)


def attribute(device: Device, name: str) -> str:
    """Return what a driver says about a device, '' where it does not say it."""
    said = device.attributes or (device.basic.attributes if device.basic else None) or {}
    for key, value in said.items():
        if key.rpartition("/")[2] == name and value.string:
            return value.string
    return ""


def slice_share(profile: str, mebibytes: float | None = None) -> float | None:
    """Return which part of a device a MIG profile such as `3g.40gb` is: the larger of compute and memory.

    `mebibytes` is the memory of the whole device; without it the usual size of the profile counts.
    """
    match = _PROFILE.search(profile)
    if match is None:
        return None
    compute, gigabytes = int(match[2]), int(match[3])
    of_instance = int(match[1]) / compute if match[1] else 1.0
    if (compute, gigabytes) in _OF_FOUR:
        return compute / 4 * of_instance
    parts = _MEMORY_OF.get(compute, compute)
    if mebibytes:
        parts = round(gigabytes * _MEBIBYTES / mebibytes * _MEMORY_PARTS)
    return max(compute / _SLICES, parts / _MEMORY_PARTS) * of_instance


def offer(node: Node, known: Claims) -> Offer:
    """Return what a node says of its devices in labels, in HAMi's annotation and through drivers of claims."""
    labels, divided = node.metadata.labels or {}, registered(node.metadata)
    replicas = max(1, _whole(labels.get("nvidia.com/gpu.replicas", "")) or 1)
    product = labels.get("nvidia.com/gpu.product", "")
    is_cut = _OF_PRODUCT in product
    unit = (slice_share(product) or 1.0) / replicas if is_cut else 1.0 / replicas
    driven = [each for each in known.of_node.get(node.metadata.name, ()) if attribute(each, "type") != "mig"]
    count = len(divided) or len(driven) or (None if is_cut else _whole(labels.get("nvidia.com/gpu.count", "")))
    if count is None and not is_cut and replicas == 1:
        capacity = node.status.capacity or {}
        count = sum(_whole(capacity.get(name, "")) or 0 for name in WHOLE) or None
    memory = None if is_cut else _whole(labels.get("nvidia.com/gpu.memory", ""))
    return Offer(count, memory, unit, replicas, divided)


def requested(pod: Pod, at: Offer | None, offers: Iterable[Offer], known: Claims) -> float | None:
    """Return how many devices a pod asks for, as parts of one where it asks for less; 0 for none.

    Null where that cannot be told yet: a time-slice, before it is known on which node, where nodes divide differently.
    """
    asked = requests(pod)
    parts: list[float | None] = []
    is_shared_by_memory = any(name in asked for name in (_CORES, _MEMORY_PERCENT, _MEMORY))
    for name, value in asked.items():
        count = float(value)
        if name == _NVIDIA and is_shared_by_memory:
            parts.append(_of_hami(count, asked, at, offers))
        elif name == _NVIDIA:
            parts.append(count * (at.unit if at else _common(offers, "unit") or 1.0))
        elif name in WHOLE:
            parts.append(count)
        elif name == SHARED:
            replicas = at.replicas if at else _common(offers, "replicas")
            parts.append(count / replicas if replicas else None)
        elif name.startswith(_MIG):
            share = slice_share(name, at.mebibytes if at else None)
            parts.append(None if share is None else count * share)
    for claim in _claims_of(pod, known):
        parts += _asked_of(claim, known)
    known_parts = [part for part in parts if part is not None]
    return None if len(known_parts) < len(parts) else sum(known_parts)


def given(pod: Pod, at: Offer | None, known: Claims) -> list[Given]:
    """Return the devices that a pod was given, where anything names them."""
    found = {each.uuid: each for each in _given_by_hami(pod.metadata, at)}
    made = pod.status.extended_resource_claim_status
    for_it = known.by_name.get((pod.metadata.namespace, made.resource_claim_name)) if made else None
    for claim in (*_claims_of(pod, known), *([for_it] if for_it else [])):
        users = [each for each in claim.status.reserved_for or () if each.resource == "pods"]
        if pod.metadata.uid not in {each.uid for each in users}:
            continue
        for _, device in _results(claim, known):
            uuid = attribute(device, "uuid")
            if uuid:
                found[uuid] = Given(uuid, 1 / len(users) if len(users) > 1 else None)
    return [found[uuid] for uuid in sorted(found)]


def places(claim: Claim) -> list[tuple[str, str, str]]:
    """Return driver, pool and name of the accelerators that a claim was given, not to watch."""
    given_to_it = (claim.status.allocation.devices.results if claim.status.allocation else None) or ()
    return [
        (each.driver, each.pool, each.device)
        for each in given_to_it
        if each.driver in _DRIVERS and not each.admin_access
    ]


def is_told(pod: Pod, known: Claims) -> bool:
    """Tell whether drivers say which devices they are that a pod was given by claims."""
    return all(each in known.devices for claim in _claims_of(pod, known) for each in places(claim))


def _results(claim: Claim, known: Claims) -> Iterator[tuple[Result, Device]]:
    """Yield the devices of a claim; one that an administrator looks at is not taken from others."""
    if claim.status.allocation is None:
        return
    for result in claim.status.allocation.devices.results or ():
        device = known.devices.get((result.driver, result.pool, result.device))
        if device is not None and not result.admin_access:
            yield result, device


def _claims_of(pod: Pod, known: Claims) -> Iterator[Claim]:
    made = {each.name: each.resource_claim_name for each in pod.status.resource_claim_statuses or ()}
    for each in pod.spec.resource_claims or ():
        name = each.resource_claim_name or made.get(each.name)
        claim = known.by_name.get((pod.metadata.namespace, name)) if name else None
        if claim is not None:
            yield claim


def _asked_of(claim: Claim, known: Claims) -> list[float | None]:
    """Return how much a claim has been given, or else asks for, divided among the pods that use it.

    While a driver is away its devices are not told: what was given is as much as was asked for.
    """
    users = max(1, len([each for each in claim.status.reserved_for or () if each.resource == "pods"]))
    untold = [each for each in places(claim) if each not in known.devices]
    if claim.status.allocation is not None and not untold:
        shares = []
        for _, device in _results(claim, known):
            profile = attribute(device, "profile")
            share = slice_share(profile) if profile else 1.0
            shares.append(None if share is None else share / users)
        return shares
    wanted = [_wanted(request, users) for request in claim.spec.devices.requests or () if _class(request) in _CLASSES]
    return wanted or [None] * bool(untold)


def _exactly(request: DeviceRequest) -> Exactly:
    return request.exactly or next(iter(request.first_available or ()), request)


def _class(request: DeviceRequest) -> str:
    return _exactly(request).device_class_name


def _wanted(request: DeviceRequest, users: int) -> float | None:
    exactly = _exactly(request)
    if exactly.device_class_name == _SLICED_CLASS or exactly.allocation_mode == "All":
        return None
    return (1 if exactly.count is None else exactly.count) / users


def _of_hami(count: float, asked: Mapping[str, Decimal], at: Offer | None, offers: Iterable[Offer]) -> float | None:
    """Return how much of devices is asked for where a share of cores or of memory is."""
    shares = [float(asked[name]) / 100 for name in (_CORES, _MEMORY_PERCENT) if name in asked]
    if _MEMORY in asked:
        sizes = {size for each in ([at] if at else offers) for size in each.memory.values()}
        if len(sizes) != 1:
            return None
        shares.append(float(asked[_MEMORY]) / sizes.pop())
    return count * max(shares)


def _given_by_hami(meta: Meta, at: Offer | None) -> Iterator[Given]:
    """Yield what HAMi notes on a pod: `UUID,maker,mebibytes,percent of cores:` for each device of a container."""
    for container in (meta.annotations or {}).get(_GIVEN, "").split(";"):
        for entry in container.split(":"):
            fields = entry.split(",")
            # A slice that HAMi cuts itself is written behind its device, without a UUID of its own.
            if len(fields) < _GIVEN_FIELDS or "[" in fields[0] or not fields[0]:
                continue
            memory, cores = _whole(fields[2]), _whole(fields[3])
            size = at.memory.get(fields[0]) if at else None
            shares = [memory / size] if memory and size else []
            shares += [cores / 100] if cores else []
            share = max(shares) if shares else None
            yield Given(fields[0], share if share is None or share < 1 else None)


def _common(offers: Iterable[Offer], name: str) -> float | None:
    """Return what all nodes with devices say alike, or None."""
    values = {float(getattr(each, name)) for each in offers if each.gpu_count or each.replicas > 1}
    return values.pop() if len(values) == 1 else None


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() else None
