"""Processes that have ended, by the driver's own account; where an administrator has switched it on."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from collectors.node._attribution import Owner
from collectors.node._nvml_driver import Driver, share
from ledger.registry import Row

_MICROSECONDS: Final = 1_000_000
_MILLI: Final = 1000
_UNKNOWN: Final = 2**64 - 1


class Accounting:
    """One device's account: the driver keeps the last few thousand processes; each is told once, when it has ended.

    What had ended before the first look is not told: another agent's life has told it, or nobody knows its job.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._told: set[int] | None = None

    def ended(self, handle: Any, alive: set[int], owners: Mapping[int, Owner]) -> list[Row]:
        """Return a row for each process that ended since the last look; none where no account is kept.

        `alive` are the processes on the device now; `owners` says whose those were that a round saw.

        Raises: DeviceLost: the device is gone. DriverGone: the driver is.
        """
        if not self._driver.ask("nvmlDeviceGetAccountingMode", handle):
            self._told = None
            return []
        listed = self._driver.ask_list("nvmlDeviceGetAccountingPids", handle)
        if listed is None:
            return []
        if self._told is None:
            self._told = set(listed) - alive
        # A process id that lives again, or that the driver has dropped, may come back as another process.
        self._told &= set(listed) - alive
        rows = []
        for pid in listed:
            if pid in alive or pid in self._told:
                continue
            missing = {self._driver.library.NVML_ERROR_NOT_FOUND}
            found = self._driver.ask("nvmlDeviceGetAccountingStats", handle, pid, about="account", empty=missing)
            if found is None or found == () or found.isRunning:
                continue
            self._told.add(pid)
            started = _instant(found.startTime)
            if started is not None:
                rows.append({"pid_code": pid, "process_start": started, **_account(found), **_whose(owners.get(pid))})
        return list[Row](rows)


def _instant(microseconds: int) -> datetime | None:
    """Return an instant; None for one that cannot be."""
    try:
        return datetime.fromtimestamp(microseconds / _MICROSECONDS, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _account(found: Any) -> dict[str, object]:
    """Return what the driver says about a process, in base units."""
    peak = found.maxMemoryUsage
    return {
        "duration_seconds": found.time / _MILLI,
        "kernel_active_ratio": share(found.gpuUtilization),
        "memory_active_ratio": share(found.memoryUtilization),
        "memory_peak_bytes": None if peak in {None, _UNKNOWN} else peak,
    }


def _whose(known: Owner | None) -> dict[str, object]:
    if known is None:
        return {"process_name": None, "user": None, "job_id": "", "attribution_source": "none"}
    columns = ("process_name", "user", "job_id", "attribution_source")
    return {name: getattr(known, name) for name in columns}
