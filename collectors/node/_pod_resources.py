"""Which pod holds which device, as the kubelet's pod-resources socket tells it.

One unary call of gRPC is one POST over HTTP/2, which the agent's HTTP client makes: gRPC's own library would take five
times the memory, for one message of strings.
"""

import functools
import re
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from collectors.node._files import as_integer, text
from collectors.node._files import listed as entries
from ledger.errors import SourceError, SourceMissing

SOCKET: Final = "var/lib/kubelet/pod-resources/kubelet.sock"

_CALL: Final = "http://localhost/v1.PodResourcesLister/List"
_EMPTY_REQUEST: Final = bytes(5)  # not compressed, no bytes follow
_HEADER: Final = 5
_LONGEST_ANSWER: Final = 16 << 20  # the kubelet's own limit
_OK: Final = "0"

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_REPLICA: Final = re.compile(r"(::\d+|/vgpu\d+)$")
_MINOR: Final = re.compile(r"(?:nvidia|gpu-)(\d+)")  # GKE's device plugin, NVIDIA's driver for claims

_VARINT: Final = 0
_FIXED: Final = {1: 8, 5: 4}
_LENGTH: Final = 2
_LONGEST_VARINT: Final = 10


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
    try:
        return list(_of_message(_answer(path, seconds)))
    except _BrokenError as broken:
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


def _answer(path: Path, seconds: float) -> bytes:
    """Return the message that the kubelet answers with.

    Raises: SourceError: it does not answer, or with an error of its own.
    """
    import ssl  # noqa: PLC0415  a node without a kubelet needs neither

    import httpx2  # noqa: PLC0415

    body = bytearray()
    # Nothing is encrypted here: a context of its own spares the client from reading the authorities of the web.
    unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    headers = {"content-type": "application/grpc", "te": "trailers", "grpc-timeout": f"{max(int(seconds * 1000), 1)}m"}
    try:
        with (
            httpx2.HTTPTransport(uds=str(path), http1=False, http2=True, verify=unused) as transport,
            httpx2.Client(transport=transport, timeout=seconds, trust_env=False) as client,
            client.stream("POST", _CALL, content=_EMPTY_REQUEST, headers=headers) as answer,
        ):
            status = answer.headers.get("grpc-status", _OK)
            if answer.status_code != httpx2.codes.OK or status != _OK:
                said = answer.headers.get("grpc-message", "") or f"HTTP {answer.status_code}, gRPC status {status}"
                raise SourceError(f"{path}: found {said}, expected a list of pods")
            for block in answer.iter_raw():
                body += block
                if len(body) > _LONGEST_ANSWER:
                    raise SourceError(f"{path}: found more than {_LONGEST_ANSWER} bytes, expected a list of pods")
    except httpx2.HTTPError as error:
        found = str(error) or type(error).__name__
        raise SourceError(f"{path}: found {found}, expected the kubelet's answer") from error
    size = int.from_bytes(body[1:_HEADER], "big")
    if len(body) < _HEADER or body[0] or len(body) != _HEADER + size:
        # An error that comes after the headers stands in a trailer, and no message before it.
        raise SourceError(f"{path}: found no whole message, expected a list of pods")
    return bytes(body[_HEADER:])


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
        fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        minor, uuid = as_integer(fields.get("Device Minor")), fields.get("GPU UUID", "")
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


class _BrokenError(Exception):
    """What is no message of protocol buffers."""


def _of_message(message: bytes) -> Iterator[Holding]:
    """Yield the holdings in a ListPodResourcesResponse: of device plugins, and of claims."""
    for pod in _parts(message).get(1, []):
        fields = _parts(pod)
        name, namespace = _word(fields, 1), _word(fields, 2)
        for container in fields.get(3, []):
            inside = _parts(container)
            for resource, device in _devices(inside):
                yield Holding(namespace, name, _word(inside, 1), resource, device)


def _devices(container: Mapping[int, list[bytes]]) -> Iterator[tuple[str, str]]:
    """Yield resource and id of each device of a container."""
    for devices in map(_parts, container.get(2, [])):
        yield from ((_word(devices, 1), _utf8(device)) for device in devices.get(2, []))
    for claim in map(_parts, container.get(5, [])):
        for given in map(_parts, claim.get(4, [])):
            yield _word(given, 2), _word(given, 4)


def _word(fields: Mapping[int, list[bytes]], number: int) -> str:
    return _utf8(fields[number][-1]) if number in fields else ""


def _utf8(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _parts(message: bytes) -> dict[int, list[bytes]]:
    """Return the texts and messages in a message by field number; numbers are passed over.

    Raises: _BrokenError: it is none.
    """
    found: dict[int, list[bytes]] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        elif kind == _LENGTH:
            size, at = _varint(message, at)
            found.setdefault(tag >> 3, []).append(message[at : at + size])
            at += size
        else:
            raise _BrokenError(f"a field of kind {kind}")
        if at > len(message):
            raise _BrokenError("a field that ends behind its message")
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return a number of variable length and where it ends.

    Raises: _BrokenError: it does not end.
    """
    value = 0
    for index, byte in enumerate(message[at : at + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:  # noqa: PLR2004  the high bit says that more follow
            return value, at + index + 1
    raise _BrokenError("a number that does not end")
