"""GPM: averages over the whole interval since the last round, on Hopper and newer."""

from collections.abc import Callable
from typing import Any, Final

from collectors.node._nvml_driver import DeviceLost, Driver, share

_METRICS: Final = {
    1: "graphics_active_ratio",
    2: "sm_active_ratio",
    3: "sm_occupancy_ratio",
    5: "tensor_active_ratio",
    10: "dram_active_ratio",
}
COLUMNS: Final = tuple(_METRICS.values())

_SHORTEST_SECONDS: Final = 1.0  # below 100 ms the driver's answer is noise; below 1 s nobody needs it
_LONGEST_SECONDS: Final = 600.0  # an average over more says nothing about now


class Gpm:
    """One device's, or one slice's, retained sample: the next round is compared with it.

    `instance` is the id of a slice's GPU instance, None for a whole device; a slice that was destroyed and made
    again is another object, so two instances of one id are never compared.
    """

    def __init__(self, driver: Driver, handle: Any, clock: Callable[[], float], instance: int | None = None) -> None:
        self._driver = driver
        self._handle = handle
        self._clock = clock
        self._instance = instance
        self._kept: Any = None
        self._kept_at = 0.0
        self._is_supported: bool | None = None

    def read(self) -> dict[str, float | None]:
        """Return the ratios since the last round; empty in the first one, and where GPM does not work.

        Raises: DeviceLost: the device is gone.
        """
        if not self._supported():
            return {}
        now = self._clock()
        elapsed = now - self._kept_at
        if self._kept is not None and elapsed < _SHORTEST_SECONDS:
            return {}
        fresh = self._sample()
        if fresh is None:
            return {}
        kept, self._kept, self._kept_at = self._kept, fresh, now
        try:
            return self._between(kept, fresh) if kept is not None and elapsed <= _LONGEST_SECONDS else {}
        finally:
            self._free(kept)

    def close(self) -> None:
        """Give the retained sample back."""
        self._free(self._kept)
        self._kept = None

    def _supported(self) -> bool:
        if self._is_supported is None:
            answer = self._driver.ask("nvmlGpmQueryDeviceSupport", self._handle)
            self._is_supported = answer is not None and bool(answer.isSupportedDevice)
        return self._is_supported

    def _sample(self) -> Any:
        buffer = self._driver.ask("nvmlGpmSampleAlloc")
        if buffer is None:
            return None
        try:
            if self._instance is None:
                taken = self._driver.ask("nvmlGpmSampleGet", self._handle, buffer)
            else:
                taken = self._driver.ask("nvmlGpmMigSampleGet", self._handle, self._instance, buffer)
        except DeviceLost:
            self._free(buffer)
            raise
        if taken is None:
            self._free(buffer)
            return None
        return buffer

    def _between(self, earlier: Any, later: Any) -> dict[str, float | None]:
        library = self._driver.library
        request = library.c_nvmlGpmMetricsGet_t()
        request.version = library.NVML_GPM_METRICS_GET_VERSION
        request.numMetrics = len(_METRICS)
        request.sample1, request.sample2 = earlier, later
        for position, metric in enumerate(_METRICS):
            request.metrics[position].metricId = metric
        answer = self._driver.ask("nvmlGpmMetricsGet", request)
        if answer is None:
            return {}
        ratios = {}
        for position, column in enumerate(_METRICS.values()):
            metric = answer.metrics[position]
            ratios[column] = share(metric.value) if metric.nvmlReturn == library.NVML_SUCCESS else None
        return ratios

    def _free(self, sample: Any) -> None:
        if sample is not None:
            self._driver.ask("nvmlGpmSampleFree", sample)
