"""One device's sample: every column that NVML gives, in base units."""

import time
from collections.abc import Callable
from statistics import fmean
from typing import Any, Final

from collectors.node._nvml_driver import ALL_LINKS, DeviceLost, Driver, share
from collectors.node._nvml_gpm import Gpm
from collectors.node._nvml_processes import Processes
from ledger.registry import Row

_MILLI: Final = 1000
_MEGAHERTZ: Final = 1_000_000
_NANOSECONDS: Final = 1_000_000_000
_KIBIBYTE: Final = 1024
_UNKNOWN_PERFORMANCE_STATE: Final = 32

_MEMORY_TEMPERATURE: Final = 82
_PCIE_BYTES: Final = {197: "pcie_transmit_bytes_total", 198: "pcie_receive_bytes_total"}
_THROTTLE_NANOSECONDS: Final = {
    74: "power_cap_seconds_total",
    269: "sw_thermal_throttle_seconds_total",
    270: "hw_thermal_throttle_seconds_total",
    271: "power_brake_throttle_seconds_total",
}
# Blackwell counts bytes, older devices KiB, under other numbers.
_NVLINK: Final = {
    "nvlink_transmit_bytes_total": ((202, 1), (138, _KIBIBYTE)),
    "nvlink_receive_bytes_total": ((204, 1), (139, _KIBIBYTE)),
}
_FIELDS: Final = tuple(
    [(field, 0) for field in (_MEMORY_TEMPERATURE, *_PCIE_BYTES, *_THROTTLE_NANOSECONDS)]
    + [(field, ALL_LINKS) for choices in _NVLINK.values() for field, _ in choices]
)


class Device:
    """One GPU, or one MIG slice, that is read again each round."""

    def __init__(self, uuid: str, driver: Driver, gpm: Gpm, processes: Processes, *, is_slice: bool = False) -> None:
        self.uuid = uuid
        self.driver = driver
        self.gpm = gpm
        self.last: Row = {}
        self._processes = processes
        self._is_slice = is_slice
        self._samples_seen_until = 0

    def read(
        self, handle: Any, *, with_processes: bool, clock: Callable[[], float] = time.monotonic
    ) -> tuple[Row, list[Row]]:
        """Return the device's sample and the rows of its processes; a device that is gone gives a status row.

        A slice has memory, profiling and processes; power, clocks and links belong to the whole device.
        """
        started = clock()
        try:
            row = self._memory(handle) | ({} if self._is_slice else self._board(handle)) | self._activity(handle)
            summary, processes = self._processes.read(handle) if with_processes else ({}, [])
        except DeviceLost as lost:
            return status_row(self.uuid, "lost", str(lost)), []
        row = {
            "gpu_uuid": self.uuid,
            **self._status(),
            "evidence_quality": _quality(row),
            **{name: value for name, value in row.items() if value is not None},
            **summary,
            "collect_seconds": clock() - started,
        }
        self.last = row
        return row, [{"gpu_uuid": self.uuid, **process} for process in processes]

    def _status(self) -> Row:
        """Return `ok`, or what the driver answers to every basic question."""
        basic = ("memory",) if self._is_slice else ("memory", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature")
        reasons = [self.driver.refusals.get(name) for name in basic]
        if "error" in reasons and None not in reasons:
            return {"status": "error", "status_reason": "the driver fails to answer"}
        if set(reasons) == {"denied"}:
            return {"status": "denied", "status_reason": "the driver refuses without more privilege"}
        return {"status": "ok"}

    def _memory(self, handle: Any) -> dict[str, Any]:
        # Version 1 counts what the driver reserves as used.
        version = getattr(self.driver.library, "nvmlMemory_v2", None)
        found = self.driver.ask("nvmlDeviceGetMemoryInfo", handle, version, about="memory")
        return {} if found is None else {"memory_used_bytes": found.used, "memory_total_bytes": found.total}

    def _board(self, handle: Any) -> dict[str, Any]:
        """Return power, energy, heat, clocks and links."""
        ask, library = self.driver.ask, self.driver.library
        state = ask("nvmlDeviceGetPerformanceState", handle)
        fields = self.driver.fields(handle, _FIELDS)
        return {
            "power_watts": _over(ask("nvmlDeviceGetPowerUsage", handle), _MILLI),
            "power_limit_watts": _over(ask("nvmlDeviceGetEnforcedPowerLimit", handle), _MILLI),
            "energy_joules_total": _over(ask("nvmlDeviceGetTotalEnergyConsumption", handle), _MILLI),
            "temperature_celsius": ask("nvmlDeviceGetTemperature", handle, library.NVML_TEMPERATURE_GPU),
            "sm_clock_hertz": _hertz(ask("nvmlDeviceGetClockInfo", handle, library.NVML_CLOCK_SM, about="sm clock")),
            "sm_clock_max_hertz": _hertz(ask("nvmlDeviceGetMaxClockInfo", handle, library.NVML_CLOCK_SM)),
            "memory_clock_hertz": _hertz(
                ask("nvmlDeviceGetClockInfo", handle, library.NVML_CLOCK_MEM, about="memory clock")
            ),
            "performance_state_index": None if state == _UNKNOWN_PERFORMANCE_STATE else state,
            "clock_event_reasons_bitmask": ask("nvmlDeviceGetCurrentClocksEventReasons", handle),
            "memory_temperature_celsius": fields.get(_MEMORY_TEMPERATURE),
            **{column: fields.get(field) for field, column in _PCIE_BYTES.items()},
            **{column: _over(fields.get(field), _NANOSECONDS) for field, column in _THROTTLE_NANOSECONDS.items()},
            **{column: _first(fields, choices) for column, choices in _NVLINK.items()},
        }

    def _activity(self, handle: Any) -> dict[str, Any]:
        """Return what ran: profiling where there is some, else the sample buffer, else the duty cycle."""
        found: dict[str, Any] = dict(self.gpm.read())
        if self._is_slice:
            return found
        rates = self.driver.ask("nvmlDeviceGetUtilizationRates", handle)
        if rates is not None:
            found |= {"kernel_active_ratio": share(rates.gpu), "memory_active_ratio": share(rates.memory)}
        if found.get("graphics_active_ratio") is None:
            buffered = self._buffered(handle)
            if buffered is not None:
                found |= {"kernel_active_ratio": buffered, "_is_buffered": True}
        return found

    def _buffered(self, handle: Any) -> float | None:
        """Return the mean of the samples that the driver took by itself since the last round."""
        library = self.driver.library
        answer = self.driver.ask_list(
            "nvmlDeviceGetSamples", handle, library.NVML_GPU_UTILIZATION_SAMPLES, self._samples_seen_until
        )
        samples = answer[1] if answer else []
        if not samples:
            return None
        self._samples_seen_until = max(sample.timeStamp for sample in samples)
        return share(fmean(sample.sampleValue.uiVal for sample in samples))


def status_row(uuid: str, status: str, reason: str) -> Row:
    """Return the row of a device that gives no values."""
    return {"gpu_uuid": uuid, "status": status, "status_reason": reason, "evidence_quality": "X"}


def _quality(row: dict[str, Any]) -> str:
    """Return how good the evidence of activity is; takes the mark of the sample buffer out of the row."""
    is_buffered = row.pop("_is_buffered", False)
    if row.get("graphics_active_ratio") is not None:
        return "A"
    if row.get("kernel_active_ratio") is not None:
        return "B" if is_buffered else "C"
    return "D" if row.get("power_watts") is not None else "X"


def _over(value: float | None, parts: int) -> float | None:
    return None if value is None else value / parts


def _hertz(megahertz: int | None) -> int | None:
    return None if megahertz is None else megahertz * _MEGAHERTZ


def _first(fields: dict[int, float], choices: tuple[tuple[int, int], ...]) -> float | None:
    """Return the first field that the device has, in bytes."""
    return next((fields[field] * unit for field, unit in choices if field in fields), None)
