"""Which pod holds which device, as the kubelet's pod-resources socket tells it."""

import functools
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from collectors.node._files import as_integer, text
from collectors.node._files import listed as entries
from collectors.node._protobuf import Fields, fields, messages, word
from ledger.errors import SourceError, SourceMissing

SOCKET: Final = "var/lib/kubelet/pod-resources/kubelet.sock"

_METHOD: Final = "v1.PodResourcesLister/List"

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REPLICA: Final = re.compile(r"(::\d+|/vgpu\d+)$")
_MINOR: Final = re.compile(r"(?:nvidia|gpu-)(\d+)")  # GKE's device plugin, NVIDIA's driver for claims


class Holding(NamedTuple):
    """One device that a container holds."""

    namespace: str
    pod_name: str
    container: str
    resource: str
    device_id: str


class Latest:
    """Who held what when the kubelet was asked last: one collector asks, those that know processes look it up."""

    def __init__(self) -> None:
        self._jobs: Mapping[str, Sequence[str]] = {}
        self._until = float("-inf")

    def keep(self, jobs: Mapping[str, Sequence[str]], until: float) -> None:
        """Keep the jobs of each device until an instant of the monotonic clock; later they are not known."""
        self._jobs, self._until = jobs, until

    def jobs(self, device: str, now: float) -> Sequence[str]:
        """Return the jobs that hold a device; none where nobody knows."""
        return self._jobs.get(device, ()) if now < self._until else ()


@functools.cache
def latest(root: Path) -> Latest:
    """Return what the collectors of one machine share."""
    del root
    return Latest()


def holdings(path: Path, seconds: float) -> list[Holding]:
    """Ask the kubelet which devices its containers hold.

    Raises: SourceMissing: there is no kubelet, or this user may not ask it. SourceError: it does not answer.
    Source: k8s.io/kubelet/pkg/apis/podresources/v1/api.proto; gRPC over HTTP2.
    """
    _reach(path, seconds)
    # A node without a kubelet needs no HTTP here.
    from collectors.node._grpc import NobodyThere, call  # noqa: PLC0415  see above

    try:
        return list(_of_message(call(path, _METHOD, b"", seconds)))
    except NobodyThere as gone:
        raise SourceError(f"{gone}, expected the kubelet's answer") from gone
    except ValueError as broken:
        raise SourceError(f"{path}: found {broken}, expected ListPodResourcesResponse") from None


def _reach(path: Path, seconds: float) -> None:
    """Try whether somebody listens: the HTTP client would not tell why not, and leave the socket open.

    Raises: SourceMissing: there is no kubelet, or this user may not ask it. SourceError: nobody listens.
    """
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(seconds)
            probe.connect(str(path))
    except FileNotFoundError:
        hint = "on a node of Kubernetes pass the folder on; else set collectors.pod_resources.enabled = false"
        raise SourceMissing(f"{path} does not exist", hint=hint) from None
    except PermissionError:
        hint = "the kubelet's socket is root's: run the agent as root without capabilities, or leave it to cgroups"
        raise SourceMissing(f"{path} may not be opened by this user", hint=hint) from None
    except OSError as error:
        raise SourceError(f"{path}: found {error}, expected the kubelet's answer") from error


def device_of(holding: Holding, minors: Mapping[int, str]) -> tuple[str, bool]:
    """Return the device that an id stands for, and whether it is one replica of several.

    Time-slicing and MPS of NVIDIA's device plugin put `::N` behind the UUID, GKE's puts `/vgpuN` behind the device. An
    id that says nothing else, such as AMD's PCI address, stands as it is.
    """
    whole = _REPLICA.sub("", holding.device_id)
    minor = _MINOR.fullmatch(whole)
    return (minors.get(int(minor[1]), whole) if minor else whole), whole != holding.device_id


def minors(procfs: Path) -> dict[int, str]:
    """Return the UUID of each NVIDIA device by its minor number; nothing where the driver does not tell it."""
    found = {}
    for folder in entries(procfs / "driver/nvidia/gpus"):
        lines = (text(folder / "information") or "").splitlines()
        told = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        minor, uuid = as_integer(told.get("Device Minor")), told.get("GPU UUID", "")
        if minor is not None and uuid:
            found[minor] = uuid
    return found


class Pods:
    """The UIDs of this node's pods: the kubelet keeps the logs of each in a folder NAMESPACE_NAME_UID."""

    def __init__(self, logs: Path) -> None:
        self._folders: dict[tuple[str, str], list[Path]] = {}
        for folder in entries(logs):
            namespace, _, rest = folder.name.partition("_")
            name, _, uid = rest.partition("_")
            if _UUID.fullmatch(uid):
                self._folders.setdefault((namespace, name), []).append(folder)

    def uid(self, namespace: str, name: str) -> str:
        """Return a pod's UID; '' where it is not known. Of pods that had one name in turn, the newest has it."""
        found = self._folders.get((namespace, name), [])
        newest = found[0] if len(found) == 1 else max(found, key=_changed, default=None)
        return "" if newest is None else newest.name.rpartition("_")[2]


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _of_message(message: bytes) -> Iterator[Holding]:
    """Yield the holdings in a ListPodResourcesResponse: of device plugins, and of claims.

    Raises: ValueError: it is none.
    """
    for pod in map(fields, messages(fields(message), 1)):
        name, namespace = word(pod, 1), word(pod, 2)
        for inside in map(fields, messages(pod, 3)):
            for resource, device in _devices(inside):
                yield Holding(namespace, name, word(inside, 1), resource, device)


def _devices(container: Fields) -> Iterator[tuple[str, str]]:
    """Yield resource and id of each device of a container."""
    for devices in map(fields, messages(container, 2)):
        yield from ((word(devices, 1), device.decode("utf-8", "replace")) for device in messages(devices, 2))
    for claim in map(fields, messages(container, 5)):
        for given in map(fields, messages(claim, 4)):
            yield word(given, 2), word(given, 4)
