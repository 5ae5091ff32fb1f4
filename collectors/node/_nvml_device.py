"""One device's sample: every column that NVML gives, in base units."""

import time
from collections.abc import Callable
from statistics import fmean
from typing import Any, Final

from collectors.node._limits import is_possible
from collectors.node._nvml_driver import ABSURD, DeviceLost, Driver, share
from collectors.node._nvml_fields import Batch
from collectors.node._nvml_gpm import Gpm
from collectors.node._nvml_processes import Processes
from collectors.node._nvml_stamps import HostClock, SeenUntil
from ledger.registry import Row

_MILLI: Final = 1000
_MEGAHERTZ: Final = 1_000_000
_UNKNOWN_PERFORMANCE_STATE: Final = 32

_ENGINES: Final = {
    "nvmlDeviceGetEncoderUtilization": "encoder_active_ratio",
    "nvmlDeviceGetDecoderUtilization": "decoder_active_ratio",
    "nvmlDeviceGetJpgUtilization": "jpeg_active_ratio",
    "nvmlDeviceGetOfaUtilization": "ofa_active_ratio",
}
"""Engines that work beside the SMs: one call each, which is not made again where the device does not have it."""


class Device:
    """One GPU, or one MIG slice, that is read again each round."""

    def __init__(
        self,
        uuid: str,
        driver: Driver,
        gpm: Gpm,
        processes: Processes,
        host_clock: HostClock,
        *,
        is_slice: bool = False,
    ) -> None:
        self.uuid = uuid
        self.driver = driver
        self.gpm = gpm
        self.batch = Batch(driver)
        self.last: Row = {}
        self._processes = processes
        self._is_slice = is_slice
        self._host_clock = host_clock
        self._seen_until: dict[int, SeenUntil] = {}

    def read(
        self,
        handle: Any,
        *,
        with_processes: bool,
        with_health: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> tuple[Row, list[Row]]:
        """Return the device's sample and the rows of its processes; a device that is gone gives a status row.

        A slice has memory, profiling and processes; power, clocks and links belong to the whole device.
        """
        started = clock()
        try:
            row = self._memory(handle)
            if not self._is_slice:
                self.batch.read(handle, with_health=with_health)
                row |= self._board(handle) | self.batch.columns() | {"driver_seconds": self.driver.take_latency()}
            row |= self._activity(handle)
            summary, processes = self._processes.read(handle) if with_processes else ({}, [])
        except DeviceLost as lost:
            return status_row(self.uuid, "lost", str(lost)), []
        known = {name: value for name, value in row.items() if value is not None and is_possible(name, value)}
        row = {
            "gpu_uuid": self.uuid,
            **self._status(),
            "evidence_quality": _quality(known),
            **known,
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
        # The first version counts what the driver reserves as used; drivers before 510 have no other.
        version = getattr(self.driver.library, "nvmlMemory_v2", None)
        found = self.driver.ask("nvmlDeviceGetMemoryInfo", handle, version, about="memory")
        if self.driver.refusals.get("memory") == "no_symbol":
            found = self.driver.ask("nvmlDeviceGetMemoryInfo", handle, about="memory, first version")
        return {} if found is None else {"memory_used_bytes": found.used, "memory_total_bytes": found.total}

    def _board(self, handle: Any) -> dict[str, Any]:
        """Return power, energy, heat, clocks and links."""
        ask, library = self.driver.ask, self.driver.library
        state = ask("nvmlDeviceGetPerformanceState", handle)
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
            "clock_event_reasons_bitmask": self._clock_reasons(handle),
        }

    def _clock_reasons(self, handle: Any) -> int | None:
        """Return why the clock is where it is; drivers before 535 have the same under an older name."""
        name = "nvmlDeviceGetCurrentClocksEventReasons"
        found: int | None = self.driver.ask(name, handle)
        if self.driver.refusals.get(name) == "no_symbol":
            found = self.driver.ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
        return found

    def _activity(self, handle: Any) -> dict[str, Any]:
        """Return what ran: profiling where there is some, else the sample buffer, else the duty cycle."""
        found: dict[str, Any] = dict(self.gpm.read())
        if self._is_slice:
            return found
        rates = self.driver.ask("nvmlDeviceGetUtilizationRates", handle)
        if rates is not None:
            found |= {"kernel_active_ratio": share(rates.gpu), "memory_active_ratio": share(rates.memory)}
        found |= self._engines(handle)
        if found.get("graphics_active_ratio") is None:
            library = self.driver.library
            kernel = self._buffered(handle, library.NVML_GPU_UTILIZATION_SAMPLES)
            if kernel is not None:
                memory = self._buffered(handle, library.NVML_MEMORY_UTILIZATION_SAMPLES)
                found |= {"kernel_active_ratio": kernel, "_is_buffered": True}
                found |= {} if memory is None else {"memory_active_ratio": memory}
        return found

    def _engines(self, handle: Any) -> dict[str, float | None]:
        """Return what encoder, decoder, JPEG decoder and optical flow did in the driver's own last window.

        Nulls: an engine that the device does not have, and all of a device that is cut.
        """
        answers = {column: self.driver.ask(function, handle) for function, column in _ENGINES.items()}
        # Percent, and how long the window was, in microseconds.
        return {column: share(answer[0]) for column, answer in answers.items() if answer is not None}

    def _buffered(self, handle: Any, kind: int) -> float | None:
        """Return the mean of the samples that the driver took by itself since the last round."""
        seen = self._seen_until.setdefault(kind, SeenUntil(self._host_clock))
        answer = self.driver.ask_list("nvmlDeviceGetSamples", handle, kind, seen.stamp, about=f"samples {kind}")
        if not answer:
            return None
        value_type, buffer = answer
        values = [self.driver.value(value_type, sample.sampleValue) for sample in seen.fresh(buffer)]
        usable = [value for value in values if value is not None and share(value) is not None]
        return share(fmean(usable)) if usable else None


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
    return None if value is None or value >= ABSURD else value / parts


def _hertz(megahertz: int | None) -> int | None:
    return None if megahertz is None else megahertz * _MEGAHERTZ
