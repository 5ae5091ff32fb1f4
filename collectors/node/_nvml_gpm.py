"""GPM: averages over the whole interval since the last round, on Hopper and newer."""

import math
from collections.abc import Callable, Collection
from typing import Any, Final

from collectors.node._nvml_driver import Driver, share

_RATIOS: Final = {
    1: "graphics_active_ratio",
    2: "sm_active_ratio",
    3: "sm_occupancy_ratio",
    5: "tensor_active_ratio",
    6: "tensor_double_active_ratio",
    7: "tensor_half_active_ratio",
    9: "tensor_integer_active_ratio",
    10: "dram_active_ratio",
    12: "single_active_ratio",
}
# In MiB/s, averaged over the interval.
_RATES: Final = {
    20: "pcie_transmit_bytes_per_second",
    21: "pcie_receive_bytes_per_second",
    60: "nvlink_receive_bytes_per_second",
    61: "nvlink_transmit_bytes_per_second",
}
_METRICS: Final = _RATIOS | _RATES
_MEBIBYTE: Final = 1024**2

_SHORTEST_SECONDS: Final = 0.5  # below 100 ms the driver's answer is noise; a pace of 1 s may come a little early
_LONGEST_SECONDS: Final = 600.0  # an average over more says nothing about now


class Gpm:
    """One device's, or one slice's, retained sample: the next round is compared with it.

    `instance` is the id of a slice's GPU instance, None for a whole device; a slice that was destroyed and made
    again is another object, so two instances of one id are never compared. `handle` is that of the whole device.
    """

    def __init__(self, driver: Driver, handle: Any, clock: Callable[[], float], instance: int | None = None) -> None:
        self._driver = driver
        self.handle = handle
        self._clock = clock
        self.instance = instance
        self._kept: Any = None
        self._spare: Any = None
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
        # Two buffers take turns; a sample that could not be compared is still the next round's beginning.
        earlier, self._spare, self._kept, self._kept_at = self._kept, self._kept, fresh, now
        return self._between(earlier, fresh) if earlier is not None and elapsed <= _LONGEST_SECONDS else {}

    def close(self) -> None:
        """Give both buffers back."""
        buffers = [buffer for buffer in (self._kept, self._spare) if buffer is not None]
        self._kept = self._spare = None
        for buffer in buffers:
            self._driver.ask("nvmlGpmSampleFree", buffer)

    def _supported(self) -> bool:
        """Tell whether the device has this; an answer that failed is asked for again."""
        if self._is_supported is None:
            answer = self._driver.ask("nvmlGpmQueryDeviceSupport", self.handle)
            if answer is not None:
                self._is_supported = bool(answer.isSupportedDevice)
        return bool(self._is_supported)

    def _sample(self) -> Any:
        """Return a new sample, or None; the buffer stays for the next try."""
        if self._spare is None:
            self._spare = self._driver.ask("nvmlGpmSampleAlloc")
        if self._spare is None:
            return None
        if self.instance is None:
            taken = self._driver.ask("nvmlGpmSampleGet", self.handle, self._spare)
        else:
            taken = self._driver.ask("nvmlGpmMigSampleGet", self.handle, self.instance, self._spare)
        if taken is None:
            return None
        buffer, self._spare = self._spare, None
        return buffer

    def _between(self, earlier: Any, later: Any) -> dict[str, float | None]:
        return {
            _METRICS[number]: share(value) if number in _RATIOS else _rate(value)
            for number, value in measured(self._driver, _METRICS, earlier, later).items()
        }


def measured(driver: Driver, metrics: Collection[int], earlier: Any, later: Any) -> dict[int, float | None]:
    """Return each metric between two samples, in the driver's own unit; nothing at all where it does not answer.

    Nulls: a metric that this device or driver does not have.
    Raises: DeviceLost: the device is gone.
    """
    library = driver.library
    request = library.c_nvmlGpmMetricsGet_t()
    request.version = library.NVML_GPM_METRICS_GET_VERSION
    request.numMetrics = len(metrics)
    request.sample1, request.sample2 = earlier, later
    for position, metric in enumerate(metrics):
        request.metrics[position].metricId = metric
    answer = driver.ask("nvmlGpmMetricsGet", request)
    if answer is None:
        return {}
    found = (answer.metrics[position] for position in range(len(metrics)))
    return {
        number: each.value if each.nvmlReturn == library.NVML_SUCCESS else None
        for number, each in zip(metrics, found, strict=True)
    }


def _rate(mebibytes: float | None) -> float | None:
    """Return a rate in bytes; null for what is no number."""
    return mebibytes * _MEBIBYTE if mebibytes is not None and 0 <= mebibytes < math.inf else None
