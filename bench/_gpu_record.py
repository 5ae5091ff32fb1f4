"""What the collector says of one device while a workload runs, what that costs, and what the driver says itself."""

import functools
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from collectors.node._nvml_driver import DeviceLost, Driver, DriverGone
from collectors.node._nvml_gpm import measured
from ledger.errors import SourceError
from ledger.registry import Row

PCIE_SENT, PCIE_RECEIVED = 197, 198
ACCUMULATORS: Final = tuple(range(248, 261))
"""What GPM calls cycles and bytes since the last reboot; no unit is documented."""

GPM: Final = (1, 2, 5, 10, 20, 21, *ACCUMULATORS)
LEFT_OUT: Final = frozenset({"gpu_uuid", "process_job_ids", "status_reason"})
"""What names the machine or its people, and says nothing of the device."""

Clock = Callable[[], float]


class Timed:
    """The binding, with how long each call took."""

    def __init__(self, library: Any) -> None:
        self.library = library
        self.seconds: dict[str, list[float]] = {}

    def __getattr__(self, name: str) -> Any:
        """Return what the binding has; a function is wrapped."""
        found = getattr(self.library, name)
        if not name.startswith("nvml") or not callable(found):
            return found
        taken = self.seconds.setdefault(name, [])

        @functools.wraps(found)
        def call(*arguments: object) -> Any:
            began = time.perf_counter()
            try:
                return found(*arguments)
            finally:
                taken.append(time.perf_counter() - began)

        setattr(self, name, call)
        return call

    def forget(self) -> None:
        """Begin anew."""
        for taken in self.seconds.values():
            taken.clear()

    def calls(self) -> dict[str, dict[str, float]]:
        """Return how often each function was called, and how long that took in the middle and at most."""
        return {
            name: {"calls": len(taken), "median_seconds": sorted(taken)[len(taken) // 2], "longest_seconds": max(taken)}
            for name, taken in sorted(self.seconds.items())
            if taken
        }


class Raw:
    """The driver's own numbers of one device, in no unit: its PCIe counters, and GPM's averages and accumulators."""

    def __init__(self, library: Any, handle: Any) -> None:
        self._driver = Driver(library)
        self._handle = handle
        self._kept: Any = None

    def read(self) -> dict[str, dict[str, float | None]]:
        """Return fields and metrics by their number; metrics are between this reading and the one before.

        Raises: SourceError: the device is lost.
        """
        try:
            found = self._driver.fields(self._handle, [(PCIE_SENT, 0), (PCIE_RECEIVED, 0)])
            metrics = self._metrics()
        except (DeviceLost, DriverGone) as lost:
            raise SourceError(f"NVML: {lost}, expected a device that answers") from lost
        return {
            "fields": {str(number): value for (number, _), value in found.items()},
            "gpm": {str(number): value for number, value in metrics.items()},
        }

    def refusals(self) -> dict[str, str]:
        """Return what the driver refuses, and why."""
        return dict(self._driver.refusals)

    def _metrics(self) -> dict[int, float | None]:
        ask = self._driver.ask
        support = ask("nvmlGpmQueryDeviceSupport", self._handle)
        fresh = ask("nvmlGpmSampleAlloc") if support is not None and support.isSupportedDevice else None
        if fresh is None or ask("nvmlGpmSampleGet", self._handle, fresh) is None:
            return {}
        earlier, self._kept = self._kept, fresh
        if earlier is None:
            return {}
        found = measured(self._driver, GPM, earlier, fresh)
        ask("nvmlGpmSampleFree", earlier)
        return found


@dataclass
class Series:
    """One device, round by round."""

    samples: list[dict[str, Any]] = field(default_factory=list)
    health: dict[str, Any] = field(default_factory=dict)
    raw: list[dict[str, Any]] = field(default_factory=list)
    round_seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)

    def steady(self, settle: float) -> list[dict[str, Any]]:
        """Return the samples after the first seconds, in which the work still grows."""
        return [sample for sample in self.samples if sample["offset_seconds"] >= settle]


@dataclass
class Recorder:
    """A device, the collector that watches it, and the clock that both go by."""

    one_round: Callable[[], Iterable[tuple[str, Row]]]
    raw: Raw
    uuid: str
    pace: float = 1.0
    clock: Clock = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def record(self, rounds: int) -> Series:
        """Run so many rounds, at the pace, and return what they gave.

        Raises: SourceMissing, SourceError: what the collector raises.
        """
        series, began = Series(), self.clock()
        for number in range(rounds):
            self.sleep(max(0.0, began + number * self.pace - self.clock()))
            offset = round(self.clock() - began, 3)
            started, used = time.perf_counter(), time.process_time()
            rows = list(self.one_round())
            series.round_seconds.append(time.perf_counter() - started)
            series.processor_seconds.append(time.process_time() - used)
            for table, row in rows:
                if row.get("gpu_uuid") != self.uuid:
                    continue
                told = {name: value for name, value in row.items() if name not in LEFT_OUT}
                if table == "gpu_sample":
                    series.samples.append({"offset_seconds": offset, **told})
                elif table == "gpu_health_sample":
                    series.health = {name: value for name, value in told.items() if name != "pci_bus_id"}
            series.raw.append({"offset_seconds": offset, **self.raw.read()})
        return series
