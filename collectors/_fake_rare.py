"""The fake driver's profiling, slices, health and events."""

import ctypes
from dataclasses import replace
from typing import Any, Final

import pynvml

from collectors import _fake_fields as fields
from collectors._fake_core import Core, Handle
from collectors._fake_scenario import Scenario

_GPM_RATIOS: Final = {
    1: "graphics",
    2: "sm",
    3: "occupancy",
    5: "tensor",
    6: "tensor_double",
    7: "tensor_half",
    9: "tensor_integer",
    10: "dram",
    12: "single",
}
_GPM_RATES: Final = {
    20: "pcie_transmit_bytes_per_second",
    21: "pcie_receive_bytes_per_second",
    60: "nvlink_bytes_per_second",
    61: "nvlink_bytes_per_second",
}
_MEBIBYTE: Final = 1024**2
_DONE: Final[int] = pynvml.NVML_SUCCESS


class RareCalls(Core):
    """Calls that not every device answers."""

    # -- profiling

    def _nvmlGpmQueryDeviceSupport(self, handle: Handle) -> Any:  # noqa: N802
        return fields.Answer(isSupportedDevice=int(self._gpu(handle).generation != "ampere"))

    def _nvmlGpmSampleAlloc(self) -> Any:  # noqa: N802
        buffer = ctypes.create_string_buffer(8)
        pointer = ctypes.cast(buffer, pynvml.c_nvmlGpmSample_t)
        self._samples[ctypes.addressof(buffer)] = (0.0, Handle(0), buffer)
        return pointer

    def _nvmlGpmSampleGet(self, handle: Handle, sample: Any) -> Any:  # noqa: N802
        address = ctypes.cast(sample, ctypes.c_void_p).value or 0
        self._samples[address] = (self._clock(), handle, self._samples[address][2])
        return sample

    def _nvmlGpmMigSampleGet(self, handle: Handle, instance: int, sample: Any) -> Any:  # noqa: N802
        now = self._clock()
        for position, part in enumerate(self._gpu(handle).slices):
            if part.instance == instance and part.start_seconds <= now < part.end_seconds:
                return self._nvmlGpmSampleGet(replace(handle, part=position), sample)
        raise self.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)

    def _nvmlGpmSampleFree(self, sample: Any) -> int:  # noqa: N802
        self._samples.pop(ctypes.cast(sample, ctypes.c_void_p).value or 0, None)
        return _DONE

    def _nvmlGpmMetricsGet(self, request: Any) -> Any:  # noqa: N802
        earlier, later = (
            self._samples[ctypes.cast(each, ctypes.c_void_p).value or 0] for each in (request.sample1, request.sample2)
        )
        if earlier[1] != later[1] or later[0] <= earlier[0]:
            raise self.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        refused = {each.call: each.code for each in self._open(later[1].gpu, "error")}
        for position in range(request.numMetrics):
            metric = request.metrics[position]
            number = metric.metricId
            name = _GPM_RATIOS.get(number) or _GPM_RATES.get(number)
            unknown = pynvml.NVML_SUCCESS if name else pynvml.NVML_ERROR_NOT_SUPPORTED
            metric.nvmlReturn = refused.get(f"metric {number}", unknown)
            if name:
                mean = self._integral(later[1], name, earlier[0], later[0]) / (later[0] - earlier[0])
                metric.value = 100 * mean if number in _GPM_RATIOS else mean / _MEBIBYTE
        return request

    # -- slices

    def _nvmlDeviceGetMigMode(self, handle: Handle) -> tuple[int, int]:  # noqa: N802
        is_cut = int(self._is_cut(handle))
        return is_cut, is_cut

    def _nvmlDeviceGetMaxMigDeviceCount(self, handle: Handle) -> int:  # noqa: N802
        return self._gpu(handle).mig_places

    def _nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Handle, place: int) -> Handle:  # noqa: N802
        now = self._clock()
        parts = self._gpu(handle).slices
        if place >= len(parts) or not parts[place].start_seconds <= now < parts[place].end_seconds:
            raise self.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        return replace(handle, part=place)

    def _nvmlDeviceGetGpuInstanceId(self, handle: Handle) -> int:  # noqa: N802
        return self._slice(handle).instance

    def _nvmlDeviceGetAttributes_v2(self, handle: Handle) -> Any:  # noqa: N802
        part = self._slice(handle)
        return fields.Answer(
            gpuInstanceSliceCount=part.compute_slices,
            computeInstanceSliceCount=part.compute_slices,
            memorySizeMB=part.memory_bytes >> 20,
        )

    # -- health and events

    def _nvmlDeviceGetRemappedRows(self, handle: Handle) -> tuple[int, int, int, int]:  # noqa: N802
        self._whole_only(handle)
        return (0, 0, 0, int(bool(self._open(handle.gpu, "remap_failed"))))

    def _nvmlDeviceGetTotalEccErrors(self, handle: Handle, kind: int, counter: int) -> int:  # noqa: ARG002, N802
        return 0

    def _nvmlDeviceGetAccountingMode(self, handle: Handle) -> int:  # noqa: N802
        self._whole_only(handle)
        return int(self._gpu(handle).accounting is not None)

    def _nvmlDeviceGetAccountingPids(self, handle: Handle) -> list[int]:  # noqa: N802
        self._whole_only(handle)
        now = self._clock()
        return [each.pid for each in self._gpu(handle).accounting or () if each.start_seconds <= now]

    def _nvmlDeviceGetAccountingStats(self, handle: Handle, pid: int) -> Any:  # noqa: N802
        self._whole_only(handle)
        known, now = self._gpu(handle).accounting or (), self._clock()
        found = [each for each in known if each.pid == pid and each.start_seconds <= now]
        if not found:
            raise self.NVMLError(pynvml.NVML_ERROR_NOT_FOUND)
        stats = pynvml.c_nvmlAccountingStats_t()
        process = found[-1]
        is_running = process.end_seconds > now
        stats.gpuUtilization, stats.memoryUtilization = (
            round(process.kernel_ratio * 100),
            round(process.memory_ratio * 100),
        )
        stats.maxMemoryUsage, stats.isRunning = process.memory_peak_bytes, int(is_running)
        # The driver counts the time when the process has ended, not before.
        stats.time = 0 if is_running else round((process.end_seconds - process.start_seconds) * 1000)
        stats.startTime = round(process.start_seconds * 1e6)
        return stats

    def _nvmlDeviceGetEccMode(self, handle: Handle) -> tuple[int, int]:  # noqa: ARG002, N802
        return (1, 1)

    def _nvmlDeviceGetPersistenceMode(self, handle: Handle) -> int:  # noqa: ARG002, N802
        return 1

    def _nvmlDeviceGetNvLinkState(self, handle: Handle, link: int) -> int:  # noqa: ARG002, N802
        return 1

    def _nvmlEventSetCreate(self) -> Any:  # noqa: N802
        return fields.Answer()

    def _nvmlEventSetFree(self, events: Any) -> None:  # noqa: ARG002, N802
        self._watched.clear()

    def _nvmlDeviceGetSupportedEventTypes(self, handle: Handle) -> int:  # noqa: N802
        return self._gpu(handle).event_types

    def _nvmlDeviceRegisterEvents(self, handle: Handle, kinds: int, events: Any) -> int:  # noqa: ARG002, N802
        if kinds & ~self._gpu(handle).event_types:
            raise self.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        since, before = self._watched.get(handle.gpu, (self._clock(), 0))
        self._watched[handle.gpu] = (since, before | kinds)
        return _DONE

    def _nvmlEventSetWait_v2(self, events: Any, timeout: int) -> Any:  # noqa: ARG002, N802
        now = self._clock()
        for index, (since, kinds) in self._watched.items():
            for incident in self._scenario.gpus[index].incidents:
                xid = pynvml.nvmlEventTypeXidCriticalError
                kind = {"xid": xid, "event": incident.code}.get(incident.kind, 0)
                is_due = kind & kinds and since <= incident.start_seconds <= now
                if is_due and (index, incident) not in self._told:
                    self._told.add((index, incident))
                    return fields.Answer(device=Handle(index), eventType=kind, eventData=incident.code)
        raise self.NVMLError(pynvml.NVML_ERROR_TIMEOUT)


def kernel_log(played: Scenario, until_seconds: float, booted_seconds: float = 0.0) -> str:
    """Return what the ring buffer of the kernel holds at a moment: a record for each Xid so far."""
    told = sorted(
        (incident.start_seconds, index, incident.code)
        for index, gpu in enumerate(played.gpus)
        for incident in gpu.incidents
        if incident.kind == "xid" and incident.start_seconds <= until_seconds
    )
    return "".join(
        f"3,{number},{round((at - booted_seconds) * 1e6)},-;NVRM: Xid (PCI:0000:{0x1A + index:02x}:00): {code}, "
        f"pid='<unknown>', name=<unknown>, played\n SUBSYSTEM=pci\n"
        for number, (at, index, code) in enumerate(told)
    )
