"""A driver without a GPU: an object of pynvml's shape that plays a scenario.

A scenario says, for each device, what it does from which second on, and what goes wrong when: every NVML error,
a lost device, a driver that is loaded again, an energy counter that starts again, PCIe bytes that wrap, slices that
come and go, Xids in the queue and in the kernel's log, accounting, and the SUCCESS that pynvml raises for an empty
list. Counters are integrals of the phases: the true answer is computable.
"""

from typing import Any, Final

import pynvml

from collectors import _fake_fields as fields
from collectors._fake_core import Handle
from collectors._fake_rare import RareCalls, kernel_log
from collectors._fake_scenario import Accounted, Gpu, Incident, Phase, Process, Reload, Scenario, Slice, scenario

_BUFFERED_SECONDS: Final = 16
_WINDOW_MICROSECONDS: Final = 167_000


class FakeNvml(RareCalls):
    """pynvml, as far as the collectors call it; constants and structures are the binding's own.

    `clock` gives the seconds of the scenario; `calls` counts each function.
    """

    # -- the library and its devices

    def _nvmlInit(self) -> None:  # noqa: N802
        """Start a session with the driver that is loaded now."""
        self._session_begun = self._clock()

    def _nvmlShutdown(self) -> None:  # noqa: N802
        """End: nothing to do."""

    def _nvmlSystemGetDriverVersion(self) -> str:  # noqa: N802
        now = self._clock()
        loaded = [each.driver_version for each in self._scenario.reloads if each.end_seconds <= now]
        return (loaded[-1] if loaded else "") or self._scenario.driver_version

    def _nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self._scenario.gpus)

    def _nvmlDeviceGetHandleByIndex(self, index: int) -> Handle:  # noqa: N802
        if self._open(index, "vanish"):
            raise self.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        self._refuse(Handle(index), "nvmlDeviceGetHandleByIndex")
        return Handle(index)

    def _nvmlDeviceGetUUID(self, handle: Handle) -> str:  # noqa: N802
        return self._gpu(handle).uuid if handle.part is None else self._slice(handle).uuid

    def _nvmlDeviceGetName(self, handle: Handle) -> str:  # noqa: N802
        model = self._gpu(handle).model
        return model if handle.part is None else f"{model} MIG {self._slice(handle).profile}"

    def _nvmlDeviceGetPciInfo(self, handle: Handle) -> Any:  # noqa: N802
        return fields.Answer(busId=f"00000000:{0x1A + handle.gpu:02X}:00.0")

    def _nvmlDeviceGetMinorNumber(self, handle: Handle) -> int:  # noqa: N802
        minor = self._gpu(handle).minor
        return handle.gpu if minor is None else minor

    # -- gauges

    def _nvmlDeviceGetUtilizationRates(self, handle: Handle) -> Any:  # noqa: N802
        self._whole_only(handle)
        phase = self._phase(handle)
        return fields.Answer(gpu=round(phase.kernel * 100), memory=round(phase.memory * 100))

    def _nvmlDeviceGetEncoderUtilization(self, handle: Handle) -> list[int]:  # noqa: N802
        return self._engine(handle, "encoder")

    def _nvmlDeviceGetDecoderUtilization(self, handle: Handle) -> list[int]:  # noqa: N802
        return self._engine(handle, "decoder")

    def _nvmlDeviceGetJpgUtilization(self, handle: Handle) -> list[int]:  # noqa: N802
        return self._engine(handle, "jpeg")

    def _nvmlDeviceGetOfaUtilization(self, handle: Handle) -> list[int]:  # noqa: N802
        return self._engine(handle, "ofa")

    def _engine(self, handle: Handle, name: str) -> list[int]:
        """Return percent, and the driver's window in microseconds."""
        self._whole_only(handle)
        return [round(getattr(self._phase(handle), name) * 100), _WINDOW_MICROSECONDS]

    def _nvmlDeviceGetMemoryInfo(self, handle: Handle, version: int | None = None) -> Any:  # noqa: N802
        if version is not None:
            self._refuse(handle, "nvmlDeviceGetMemoryInfo_v2")
        gpu = self._gpu(handle)
        total = gpu.memory_total_bytes if handle.part is None else self._slice(handle).memory_bytes
        used = self._phase(handle).memory_used_bytes
        return fields.Answer(total=total, used=used, free=total - used, reserved=0)

    def _nvmlDeviceGetPowerUsage(self, handle: Handle) -> int:  # noqa: N802
        return round(self._phase(handle).power_watts * 1000)

    def _nvmlDeviceGetEnforcedPowerLimit(self, handle: Handle) -> int:  # noqa: N802
        return self._gpu(handle).power_limit_watts * 1000

    def _nvmlDeviceGetTotalEnergyConsumption(self, handle: Handle) -> int:  # noqa: N802
        now = self._clock()
        resets = [each.start_seconds for each in self._gpu(handle).incidents if each.kind == "energy_reset"]
        start = max([each for each in resets if each <= now], default=self._loaded_at())
        return round(self._integral(handle, "power_watts", start) * 1000)

    def _nvmlDeviceGetTemperature(self, handle: Handle, sensor: int) -> int:  # noqa: ARG002, N802
        return self._phase(handle).temperature_celsius

    def _nvmlDeviceGetClockInfo(self, handle: Handle, kind: int) -> int:  # noqa: N802
        return self._phase(handle).sm_clock_megahertz if kind == pynvml.NVML_CLOCK_SM else 2619

    def _nvmlDeviceGetMaxClockInfo(self, handle: Handle, kind: int) -> int:  # noqa: ARG002, N802
        return self._gpu(handle).sm_clock_max_megahertz

    def _nvmlDeviceGetPerformanceState(self, handle: Handle) -> int:  # noqa: ARG002, N802
        return 0

    def _nvmlDeviceGetCurrentClocksEventReasons(self, handle: Handle) -> int:  # noqa: N802
        phase = self._phase(handle)
        flags = {0x1: phase.kernel == 0, 0x4: phase.power_cap, 0x20: phase.sw_thermal, 0x40: phase.hw_thermal}
        return sum(flag for flag, is_set in flags.items() if is_set)

    def _nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Handle) -> int:  # noqa: N802
        return self._nvmlDeviceGetCurrentClocksEventReasons(handle)

    # -- counters, lists, profiling

    def _nvmlDeviceGetViolationStatus(self, handle: Handle, policy: int) -> Any:  # noqa: N802
        name = {pynvml.NVML_PERF_POLICY_POWER: "power_cap", pynvml.NVML_PERF_POLICY_THERMAL: "heat"}[policy]
        # The moment is in microseconds, the time in nanoseconds.
        slowed = round(self._integral(handle, name) * 1e9)
        return fields.Answer(referenceTime=round(self._clock() * 1e6), violationTime=slowed)

    def _nvmlDeviceGetFieldValues(self, handle: Handle, wanted: list[tuple[int, int]]) -> list[Any]:  # noqa: N802
        if handle.part is not None:
            raise self.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        latency = self._gpu(handle).field_latency_microseconds
        return [
            fields.value(field, scope, self._refused(handle, field, scope), self._field(handle, field, scope), latency)
            for field, scope in wanted
        ]

    def _refused(self, handle: Handle, field: int, scope: int) -> int | None:
        """Return the error that a field is refused with, if the scenario or the scope says so."""
        refused = {each.call: each.code for each in self._open(handle.gpu, "error")}
        is_each = self._gpu(handle).nvlink_scopes == "each"
        if field in fields.NVLINK and is_each and scope == fields.ALL_LINKS:
            return int(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return refused.get(f"field {field}")

    def _field(self, handle: Handle, field: int, scope: int) -> float | None:
        """Return a field's value in the driver's own unit; None where this generation does not have it."""
        gpu = self._gpu(handle)
        if field in {fields.MEMORY_TEMPERATURE, fields.POWER_AVERAGE}:
            return self._measured(handle, field, scope)
        if field in fields.COUNTED or field in fields.FLAGS or field in fields.RECOVERY:
            return self._counted(handle, field)
        known = fields.counters(gpu.generation)
        if field not in known:
            return None
        name, unit = known[field]
        total = self._integral(handle, name) * unit
        if field in fields.NVLINK and scope != fields.ALL_LINKS:
            return total / fields.LINKS
        return total % 2**gpu.pcie_counter_bits if name.startswith("pcie") else total

    def _measured(self, handle: Handle, field: int, scope: int) -> float | None:
        """Return a gauge of the board; None where it has no such sensor."""
        if field == fields.MEMORY_TEMPERATURE:
            return self._phase(handle).temperature_celsius + 8
        gpu = self._gpu(handle)
        watts = {1: gpu.module_power_watts, 2: gpu.memory_power_watts}.get(scope)
        return None if watts is None else watts * 1000

    def _counted(self, handle: Handle, field: int) -> float | None:
        """Return a count or a flag of what went wrong; a device that is cut does not tell of remapped rows."""
        if field in fields.RECOVERY:
            return next((each.code for each in self._open(handle.gpu, "recovery")), 0)
        if field in fields.FLAGS or field in {142, 143}:
            if self._is_cut(handle):
                return None
            if field in fields.FLAGS:
                return int(bool(self._open(handle.gpu, fields.FLAGS[field])))
        return sum(each.code for each in self._open(handle.gpu, fields.COUNTED[field]))

    def _nvmlDeviceGetComputeRunningProcesses_v3(self, handle: Handle) -> list[Any]:  # noqa: N802
        return self._processes(handle, "compute")

    def _nvmlDeviceGetGraphicsRunningProcesses_v3(self, handle: Handle) -> list[Any]:  # noqa: N802
        return self._processes(handle, "graphics")

    def _processes(self, handle: Handle, use: str) -> list[Any]:
        if handle.part is None and self._is_cut(handle):
            return []
        return [
            fields.Answer(pid=process.pid, usedGpuMemory=process.memory_bytes)
            for process in self._phase(handle).processes
            if process.uses in {use, "both"}
        ]

    def _nvmlDeviceGetProcessUtilization(self, handle: Handle, since: int) -> list[Any]:  # noqa: N802
        self._whole_only(handle)
        found = [
            fields.Answer(pid=process.pid, smUtil=round(process.kernel_ratio * 100), timeStamp=stamp)
            for stamp, at in self._moments(since)
            for process in self._phase(handle, at).processes
            if process.kernel_ratio
        ]
        if not found:
            # What pynvml does when the driver says that there are none.
            raise self.NVMLError(pynvml.NVML_SUCCESS)
        return found

    def _nvmlDeviceGetSamples(self, handle: Handle, kind: int, since: int) -> tuple[int, list[Any]]:  # noqa: N802
        self._whole_only(handle)
        name = {pynvml.NVML_GPU_UTILIZATION_SAMPLES: "kernel", pynvml.NVML_MEMORY_UTILIZATION_SAMPLES: "memory"}[kind]
        found = []
        for stamp, at in self._moments(since):
            used = pynvml.c_nvmlSample_t()
            used.timeStamp = stamp
            used.sampleValue.uiVal = round(getattr(self._phase(handle, at), name) * 100)
            found.append(used)
        if not found:
            raise self.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return (pynvml.NVML_VALUE_TYPE_UNSIGNED_INT, found)

    def _moments(self, since: int) -> list[tuple[int, float]]:
        """Return the driver's own samples, one each second of the last sixteen: microseconds, and the moment."""
        now = self._clock()
        moments = [now - back for back in range(_BUFFERED_SECONDS - 1, -1, -1)]
        return [(stamp, at) for at in moments if (stamp := round(at * 1e6)) > since]


__all__ = [
    "Accounted",
    "FakeNvml",
    "Gpu",
    "Handle",
    "Incident",
    "Phase",
    "Process",
    "Reload",
    "Scenario",
    "Slice",
    "kernel_log",
    "scenario",
]
