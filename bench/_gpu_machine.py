"""The device that is recorded: which one it is, where a recording comes from, and what an ordinary user may ask it."""

import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench._gpu_record import Raw
from collectors.node._nvml_driver import DeviceLost, Driver, DriverGone, words
from ledger.errors import ClusterLedgerError, ConfigError, SourceError

_NOBODY: Final = 65534
_ADMIN_ONLY: Final = re.compile(r"^RmProfilingAdminOnly:\s*(\d)", re.MULTILINE)
_GPM_SUPPORT, _GPM_SAMPLE = "nvmlGpmQueryDeviceSupport", "nvmlGpmSampleGet"


@dataclass(frozen=True)
class Device:
    """One whole device."""

    index: int
    uuid: str
    handle: Any


def device(library: Any, wanted: str) -> Device:
    """Return the device of an index or a UUID.

    Raises: ConfigError: there is no such device. SourceError: the driver does not list any.
    """
    driver = Driver(library)
    try:
        count = driver.ask("nvmlDeviceGetCount") or 0
        handles = [driver.ask("nvmlDeviceGetHandleByIndex", index) for index in range(count)]
        uuids = [words(driver.ask("nvmlDeviceGetUUID", handle)) for handle in handles]
    except (DeviceLost, DriverGone) as gone:
        raise SourceError(f"NVML: {gone}, expected devices that answer", hint="run nvidia-smi") from gone
    for index, uuid in enumerate(uuids):
        if wanted in {str(index), uuid}:
            return Device(index, uuid, handles[index])
    listed = ", ".join(f"{index} ({uuid})" for index, uuid in enumerate(uuids)) or "no device"
    raise ConfigError(f"--device: found {wanted}, expected one of {listed}")


def provenance(library: Any, chosen: Device, procfs: Path = Path("/proc")) -> dict[str, Any]:
    """Return where a recording comes from: driver, model, and what decides what may be asked. No machine is named."""
    driver = Driver(library)

    def told(function: str, *arguments: object) -> str | None:
        found = driver.ask(function, *arguments)
        return None if found is None else words(found)

    limits = driver.ask("nvmlDeviceGetPowerManagementLimitConstraints", chosen.handle)
    return {
        "gpu_model": told("nvmlDeviceGetName", chosen.handle),
        "driver_version": told("nvmlSystemGetDriverVersion"),
        "nvml_version": told("nvmlSystemGetNVMLVersion"),
        "cuda_version_code": driver.ask("nvmlSystemGetCudaDriverVersion_v2"),
        "vbios_version": told("nvmlDeviceGetVbiosVersion", chosen.handle),
        "power_limit_milliwatts": list(limits) if limits is not None else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "binding": version("nvidia-ml-py"),
        "is_root": os.geteuid() == 0,
        "is_profiling_for_admins_only": _admin_only(procfs),
        "recorded_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "recorded_by": "python -m bench.gpu",
    }


def _admin_only(procfs: Path) -> bool | None:
    """Return whether the kernel module keeps profiling for administrators; null where it does not say."""
    try:
        found = _ADMIN_ONLY.search((procfs / "driver/nvidia/params").read_text(encoding="utf-8"))
    except OSError:
        return None
    return None if found is None else found[1] != "0"


@contextmanager
def lowest_power(library: Any, chosen: Device) -> Iterator[None]:
    """Lower the power limit as far as the board allows, and set it back at the end, whatever happens.

    Raises: SourceError: the driver or the privilege does not allow it.
    """
    try:
        before = library.nvmlDeviceGetPowerManagementLimit(chosen.handle)
        lowest, _ = library.nvmlDeviceGetPowerManagementLimitConstraints(chosen.handle)
        library.nvmlDeviceSetPowerManagementLimit(chosen.handle, lowest)
    except library.NVMLError as error:
        raise SourceError(f"power limit: {error}, expected to lower it", hint="run it as root") from error
    try:
        yield
    finally:
        library.nvmlDeviceSetPowerManagementLimit(chosen.handle, before)


def unprivileged(library: Any, wanted: str, sleep: Callable[[float], None] = time.sleep) -> str:
    """Return what GPM answers to an ordinary user: `works`, or why not.

    Asked by a child that gives root's rights up: such a user may be unable to start this interpreter. To be called
    before a session with the driver begins here, for sessions do not survive a fork.
    """
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        # A process of many gigabytes may not be doubled, not even for a moment.
        os.close(reading)
        os.close(writing)
        return f"not tried: {error.strerror}"
    if child:
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as answer:
            said = answer.read()
        os.waitpid(child, 0)
        return said or "not told: the child that asked ended before it answered"
    try:
        _give_root_up()
        library.nvmlInit()
        said = profiling(library, device(library, wanted), sleep)
    except (ClusterLedgerError, library.NVMLError, OSError) as error:
        said = f"not tried: {str(error).splitlines()[0]}"
    finally:
        os.write(writing, said.encode())
        os._exit(0)


def _give_root_up() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)


def profiling(library: Any, chosen: Device, sleep: Callable[[float], None]) -> str:
    """Return whether GPM works for this user: `works`, or the driver's refusal."""
    driver = Driver(library)
    support = driver.ask(_GPM_SUPPORT, chosen.handle)
    if support is None or not support.isSupportedDevice:
        return driver.refusals.get(_GPM_SUPPORT, "unsupported")
    raw = Raw(library, chosen.handle)
    raw.read()
    sleep(1.0)
    if any(value is not None for value in raw.read()["gpm"].values()):
        return "works"
    return next((f"{name}: {why}" for name, why in raw.refusals().items() if "Gpm" in name), "gives no value")
