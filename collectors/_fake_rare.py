"""The fake driver's profiling, slices, health and events."""

import ctypes
from dataclasses import replace
from typing import Any, Final

import pynvml

from collectors import _fake_fields as fields
from collectors._fake_core import Core, Handle

_GPM_RATIOS: Final = {1: "graphics", 2: "sm", 3: "occupancy", 5: "tensor", 10: "dram"}
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
        for position in range(request.numMetrics):
            metric = request.metrics[position]
            name = _GPM_RATIOS.get(metric.metricId)
            metric.nvmlReturn = pynvml.NVML_SUCCESS if name else pynvml.NVML_ERROR_NOT_SUPPORTED
            if name:
                done = self._integral(later[1], name, earlier[0], later[0])
                metric.value = 100 * done / (later[0] - earlier[0])
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

    def _nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: Handle) -> Handle:  # noqa: N802
        return replace(handle, part=None)

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

    def _nvmlDeviceRegisterEvents(self, handle: Handle, kinds: int, events: Any) -> int:  # noqa: ARG002, N802
        self._watched[handle.gpu] = self._clock()
        return _DONE

    def _nvmlEventSetWait_v2(self, events: Any, timeout: int) -> Any:  # noqa: ARG002, N802
        now = self._clock()
        for index, since in self._watched.items():
            for incident in self._scenario.gpus[index].incidents:
                is_due = incident.kind == "xid" and since <= incident.start_seconds <= now
                if is_due and (index, incident) not in self._told:
                    self._told.add((index, incident))
                    kind = pynvml.nvmlEventTypeXidCriticalError
                    return fields.Answer(device=Handle(index), eventType=kind, eventData=incident.code)
        raise self.NVMLError(pynvml.NVML_ERROR_TIMEOUT)
