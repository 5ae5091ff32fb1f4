"""What this node lets us see, and which states cannot be told without it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from app.services._privileges_hardware import hardware
from collectors.node._kernel_log import KernelLog
from collectors.node._pod_resources import SOCKET, holdings
from ledger.errors import ClusterLedgerError
from ledger.words import amount

_KUBELET_SECONDS = 2.0


@dataclass(frozen=True)
class Sight:
    """One source of evidence: `status` is ok or missing, and what is lost without it."""

    part: str
    status: str
    found: str
    hint: str = ""


def seen(root: Path = Path("/")) -> Iterator[Sight]:
    """Yield what can be seen on the machine whose files lie under a root."""
    yield from _nvml()
    yield _pressure(root)
    yield _file(
        root, "infiniband", "sys/class/infiniband", "no InfiniBand adapter: communication is judged by Ethernet"
    )
    yield _file(root, "block devices", "sys/block", "waiting for storage cannot be told")
    yield _processes(root)
    yield from _kubelet(root)
    yield _kernel_log(root)
    yield from (Sight(*each) for each in hardware(root))


def _nvml() -> Iterator[Sight]:
    import pynvml  # noqa: PLC0415  it looks for the driver when it is used

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        hint = "on a GPU node: install the driver, and in a container pass the devices on"
        yield Sight("gpus", "missing", f"NVML: {error}; no GPU state can be told here", hint)
        return
    try:
        count = pynvml.nvmlDeviceGetCount()
        yield Sight("gpus", "ok", f"NVML: {amount(count, 'GPU')}, driver {pynvml.nvmlSystemGetDriverVersion()}")
        if count:
            yield _profiling(pynvml)
    finally:
        pynvml.nvmlShutdown()


def _profiling(pynvml: object) -> Sight:
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)  # type: ignore[attr-defined]
    lost = "underused is told from the duty cycle only (quality C)"
    try:
        supported = pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice  # type: ignore[attr-defined]
    except pynvml.NVMLError as error:  # type: ignore[attr-defined]
        return Sight("profiling", "missing", f"GPM: {error}; {lost}", "Hopper or newer, driver 525 or newer")
    if supported:
        return Sight("profiling", "ok", "GPM: SM, tensor and memory activity can be read")
    return Sight(
        "profiling", "missing", f"GPM is not supported by this GPU; {lost}", "run DCGM and read it from Prometheus"
    )


def _pressure(root: Path) -> Sight:
    path = root / "proc/pressure/io"
    lost = "input_storage, input_cpu and host_memory cannot be told apart"
    try:
        path.read_text(encoding="ascii")
    except OSError as error:
        return Sight(
            "pressure", "missing", f"{path}: {error.strerror}; {lost}", "boot with psi=1 on the kernel's command line"
        )
    return Sight("pressure", "ok", f"{path} can be read")


def _file(root: Path, part: str, name: str, lost: str) -> Sight:
    path = root / name
    return (
        Sight(part, "ok", f"{path} can be read")
        if path.is_dir()
        else Sight(part, "missing", f"{path} does not exist: {lost}")
    )


def _processes(root: Path) -> Sight:
    """Say whether other users' processes can be told apart: their environment names the job."""
    if os.access(root / "proc/1/environ", os.R_OK):
        return Sight("processes", "ok", "the environment of all processes can be read")
    return Sight(
        "processes",
        "missing",
        "other users' environments are hidden: a process is given to a job by its cgroup only",
        "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, or the Slurm prolog; without a cgroup it counts as orphaned",
    )


def _kubelet(root: Path) -> Iterator[Sight]:
    """Say on a node of Kubernetes whether pods that hold a GPU without using it can be told."""
    path = root / SOCKET
    if not path.parent.is_dir():
        return
    try:
        found = holdings(path, _KUBELET_SECONDS)
    except ClusterLedgerError as error:
        lost = "a pod that holds a GPU and runs nothing on it is known from the API alone"
        yield Sight("pod resources", "missing", f"{error.message}; {lost}", error.hint)
    else:
        yield Sight("pod resources", "ok", f"{path}: the kubelet tells of {len(found)} devices that pods hold")


def _kernel_log(root: Path) -> Sight:
    """Say whether the second witness of Xids can be read."""
    log = KernelLog(root / "proc", root / "dev", root / "var/log", lambda: datetime.now(UTC))
    source = log.source
    log.close()
    if source:
        return Sight("kernel log", "ok", f"Xids are read from the {source} as well as from the driver's queue")
    return Sight(
        "kernel log",
        "missing",
        "neither /dev/kmsg nor a log file can be read: Xids are those of the driver's queue, since the agent's start",
        "CAP_SYSLOG and /dev/kmsg, or the group that may read /var/log/kern.log (adm)",
    )
