"""Which pod holds which GPU of this node, from the kubelet."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from collectors._settings import CollectorSettings
from collectors.node._amd_names import uuids as amd_uuids
from collectors.node._pod_resources import SOCKET, Holding, Latest, Pods, device_of, holdings, latest, minors
from collectors.node._tpu_chips import chips, plugin_names
from ledger.registry import Row, collector

_PACE: Final = 30.0
_ANSWER_SECONDS: Final = 2.0
_KEPT_ROUNDS: Final = 3

# The kubelet gave the device itself; which process uses it, it does not know.
_CONFIDENCE: Final = 0.95


_TPU: Final = "google.com/tpu"
_KINDS: Final = {"habana.ai/gaudi": "gaudi"}


class PodResourcesSettings(CollectorSettings):
    """Where the kubelet listens, and which of its resources are GPUs."""

    socket: Annotated[str, Field(description="The kubelet's socket")] = f"/{SOCKET}"
    pod_logs: Annotated[str, Field(description="Where the kubelet keeps the logs of pods, whose folders name UIDs")] = (
        "/var/log/pods"
    )
    resources: Annotated[
        tuple[str, ...], Field(description="How names of resources, or of drivers of claims, begin that are GPUs")
    ] = ("nvidia.com/gpu", "nvidia.com/mig-", "gpu.nvidia.com", "amd.com/gpu", "gpu.amd.com", "google.com/tpu")
    kinds: Annotated[
        dict[str, str],
        Field(description="Resources whose devices are of a kind of collectors.accelerator.sources, and of which"),
    ] = _KINDS


@collector(emits=("gpu_holder_sample",), every_seconds=_PACE, settings=PodResourcesSettings)
def pod_resources(
    procfs: Path = Path("/proc"),
    sysfs: Path | None = None,
    root: Path | None = None,
    settings: PodResourcesSettings | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Callable[[], Iterable[tuple[str, Row]]]:
    """Yield one row per container and GPU, or MIG slice, that it holds, whether a process uses it or not.

    A job is a pod's UID, as in its cgroup. The kubelet names pods; the folders of their logs tell the UIDs. Where none
    does, the job is NAMESPACE/NAME. Replicas of a device that is shared are counted, not told apart.

    A device of a kind that the configuration describes is named by its kind and the plugin's id: that collector's
    `identity` has to be what the plugin uses.

    Raises: SourceMissing: this is no node of Kubernetes, or the agent may not ask. SourceError: no answer.
    Source: k8s.io/kubelet/pkg/apis/podresources/v1, List; the device plugins of NVIDIA, AMD, GKE (GPUs and TPUs) and
    Habana on how they name devices.
    """
    decided = settings or PodResourcesSettings()
    beside = procfs.parent if root is None else root
    told = latest(beside)
    pace = decided.every_seconds or _PACE
    seconds = min(decided.deadline_seconds or _ANSWER_SECONDS, _ANSWER_SECONDS)

    def one_round() -> Iterator[tuple[str, Row]]:
        found = holdings(beside / decided.socket.lstrip("/"), seconds)
        gpus = [each for each in found if each.resource.startswith((*decided.resources, *decided.kinds))]
        names = Names(procfs, beside / "sys" if sysfs is None else sysfs, decided.kinds)
        rows = _rows(gpus, names, Pods(beside / decided.pod_logs.lstrip("/")))
        _keep(told, rows, clock() + _KEPT_ROUNDS * pace)
        yield from (("gpu_holder_sample", row) for row in rows)

    return one_round


class Names:
    """What the devices of this machine are called elsewhere in the ledger, by what their plugins call them."""

    def __init__(self, procfs: Path, sysfs: Path, kinds: Mapping[str, str]) -> None:
        self._kinds = kinds
        self._minors = minors(procfs)
        self._amd = amd_uuids(sysfs)
        self._tpus = plugin_names(chips(sysfs))

    def of(self, holding: Holding) -> tuple[str, bool]:
        """Return the device that a container holds, and whether it is one replica of several."""
        kind = next((kind for resource, kind in self._kinds.items() if holding.resource.startswith(resource)), "")
        if kind:
            return f"{kind}-{holding.device_id}", False
        if holding.resource.startswith(_TPU):
            return self._tpus.get(holding.device_id, holding.device_id), False
        device, is_replica = device_of(holding, self._minors)
        return self._amd.get(device, device), is_replica


def _rows(gpus: Iterable[Holding], names: Names, pods: Pods) -> list[Row]:
    """Return a row for each container and device."""
    replicas: dict[tuple[str, Holding], int | None] = {}
    for each in gpus:
        device, is_replica = names.of(each)
        place = (device, each._replace(device_id=""))
        replicas[place] = (replicas.get(place) or 0) + 1 if is_replica else None
    return [
        {
            "gpu_uuid": device,
            "job_id": pods.uid(of.namespace, of.pod_name) or f"{of.namespace}/{of.pod_name}",
            "container": of.container,
            "namespace": of.namespace,
            "pod_name": of.pod_name,
            "resource": of.resource,
            "replica_count": count,
            "attribution_source": "pod_resources",
            "attribution_confidence_ratio": _CONFIDENCE,
        }
        for (device, of), count in replicas.items()
    ]


def _keep(told: Latest, rows: Iterable[Row], until: float) -> None:
    jobs: dict[str, list[str]] = {}
    for row in rows:
        of_device = jobs.setdefault(str(row["gpu_uuid"]), [])
        if row["job_id"] not in of_device:
            of_device.append(str(row["job_id"]))
    told.keep(jobs, until)
