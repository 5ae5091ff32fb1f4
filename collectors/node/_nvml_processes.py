"""Processes on one device, and whose they are."""

from collections.abc import Callable
from statistics import fmean
from typing import Any, Final

from collectors.node._attribution import Attribution, Owner, device_columns
from collectors.node._limits import is_possible
from collectors.node._nvml_driver import Driver, share
from collectors.node._nvml_stamps import HostClock, SeenUntil
from ledger.registry import Row

_LISTS: Final = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetMPSComputeRunningProcesses_v3")
_GRAPHICS_LIST: Final = "nvmlDeviceGetGraphicsRunningProcesses_v3"
_OLDER_LIST: Final = "nvmlDeviceGetComputeRunningProcesses_v2"

# The driver's own helper: it serves the processes of others and belongs to no job.
_HELPERS: Final = frozenset({"nvidia-cuda-mps"})

# The driver goes on to report a hundred percent for a process that ended while it held the device.
_GHOSTS: Final = frozenset({"Z", "X", "dead"})


class Processes:
    """One device's list of processes; remembers until when their activity was read, and whose they were.

    Whose they were is for the driver's account of those that ended, where it may keep one.
    """

    def __init__(
        self,
        driver: Driver,
        attribution: Attribution,
        place: Callable[[], int | None],
        uuid: str,
        host_clock: HostClock,
        *,
        is_accounted: bool = True,
    ) -> None:
        self._driver = driver
        self._attribution = attribution
        self._place = place
        self._uuid = uuid
        self._seen_until = SeenUntil(host_clock)
        self._is_accounted = is_accounted
        self.owners: dict[int, Owner] = {}

    def read(self, handle: Any) -> tuple[Row, list[Row]]:
        """Return the device's columns about processes, and one row per process.

        What only draws counts if it is a job's: a display that the node shows to nobody holds no device.

        Nulls: all columns where the list cannot be read; activity where the driver keeps none, and of ghosts.

        Raises: DeviceLost: the device is gone. DriverGone: the driver is.
        """
        held = self._held(handle)
        if held is None:
            return {}, []
        drawing = self._drawing(handle)
        active = self._active(handle)
        rows = []
        for pid, memory in sorted((drawing | held).items()):
            whose = self._attribution.owner(pid, self._place(), self._uuid)
            if whose.process_name is not None and whose.process_name.startswith(tuple(_HELPERS)):
                continue
            if pid not in held and not whose.job_id:
                continue
            if self._is_accounted and whose.process_state != "dead":
                self.owners[pid] = whose
            is_unknown = active is None or whose.process_state in _GHOSTS
            activity = None if is_unknown or active is None else active.get(pid, 0.0)
            rows.append(
                {"pid_code": pid, **whose._asdict(), "memory_used_bytes": memory, "kernel_active_ratio": activity}
            )
        return device_columns(rows), list[Row](rows)

    def _held(self, handle: Any) -> dict[int, int | None] | None:
        """Return device memory by process id; None where no list can be read."""
        lists = [self._driver.ask_list(name, handle) for name in _LISTS]
        if lists[0] is None:
            lists[0] = self._driver.ask_list(_OLDER_LIST, handle)
        if lists[0] is None:
            return None
        return {each.pid: _memory(each) for found in lists for each in found or ()}

    def _drawing(self, handle: Any) -> dict[int, int | None]:
        """Return device memory by process id of what draws; a renderer need not compute."""
        return {each.pid: _memory(each) for each in self._driver.ask_list(_GRAPHICS_LIST, handle) or ()}

    def _active(self, handle: Any) -> dict[int, float | None] | None:
        """Return each process's mean share of time with a kernel since the last round; who is missing had none."""
        samples = self._driver.ask_list("nvmlDeviceGetProcessUtilization", handle, self._seen_until.stamp)
        if samples is None:
            return None
        fresh = self._seen_until.fresh(samples)
        by_process: dict[int, list[int]] = {sample.pid: [] for sample in fresh}
        for sample in fresh:
            if share(sample.smUtil) is not None:
                by_process[sample.pid].append(sample.smUtil)
        return {pid: share(fmean(values)) if values else None for pid, values in by_process.items()}


def _memory(process: Any) -> int | None:
    """Return a process's device memory; null where the driver does not say, or says what cannot be."""
    used: int | None = process.usedGpuMemory
    return used if used is not None and is_possible("memory_used_bytes", used) else None
