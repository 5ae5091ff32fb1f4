"""One physical GPU from round to round: its samples, its slices, what exists of it, what happened to it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from collectors.node import _nvml_mig as mig
from collectors.node._attribution import Attribution
from collectors.node._kernel_log import Bus
from collectors.node._nvml_accounting import Accounting
from collectors.node._nvml_device import Device, status_row
from collectors.node._nvml_driver import DeviceLost, Driver, words
from collectors.node._nvml_fields import WIDE_COUNTERS
from collectors.node._nvml_gpm import Gpm
from collectors.node._nvml_health import changes, event_row, health_row
from collectors.node._nvml_processes import Processes
from collectors.node._nvml_stamps import HostClock
from ledger.registry import Row

_REST: Final = "-rest"
_CALM_ROUNDS: Final = 6


class Card:
    """A whole device and, under MIG, the slices that it is cut into."""

    def __init__(
        self,
        uuid: str,
        index: int,
        driver: Driver,
        attribution: Attribution,
        clock: Callable[[], float],
        host_clock: HostClock,
    ) -> None:
        self.uuid = uuid
        self.index = index
        self.is_lost = False
        self.bus: Bus | None = None
        self.minor: int | None = None
        self.scheduler_indices: Mapping[str, int] = {}
        self.mapped_index: int | None = None
        self.is_cut: bool | None = None
        self.numa_node: int | None = None
        self.wants_health = False
        self._driver = driver
        self._attribution = attribution
        self._clock = clock
        self._host_clock = host_clock
        self._memory_total_bytes: int | None = None
        self._parts: list[mig.Slice] = []
        self._slices: dict[str, Device] = {}
        self._known: dict[str, Row] = {}
        self._health: Row = {}
        self._counters: dict[str, float] = {}
        self._calm: list[Row] = []
        self._device: Device | None = None
        self._processes = Processes(driver, attribution, self._place, uuid, host_clock)
        self._accounting = Accounting(driver)

    def read(self, handle: Any, at: datetime, *, with_processes: bool, with_health: bool) -> Iterator[tuple[str, Row]]:
        """Yield this round's rows of the device; one that is found to be lost gives the rows of a lost one.

        Raises: DriverGone: the driver is gone, for all devices.
        """
        try:
            parts = self._cut(handle)
            # What exists has changed: it must be told with the first samples of it.
            with_health = with_health or self.wants_health or self._is_cut_otherwise(parts)
            self.wants_health = False
            sample, processes = self._whole(handle).read(
                handle, with_processes=with_processes and parts is None, with_health=with_health, clock=self._clock
            )
        except DeviceLost as lost:
            yield from self._lost(str(lost), at)
            return
        if sample["status"] == "lost":
            yield from self._lost(str(sample["status_reason"]), at)
            return
        if self.is_lost:
            self.is_lost = False
            yield "gpu_event", event_row(self.uuid, "recovered", at, "the device answers again", source="collector")
        yield from self._reset(sample, at)
        yield "gpu_sample", sample
        yield from (("gpu_process_sample", row) for row in processes)
        if parts is not None:
            yield from self._read_slices(handle, parts, with_processes=with_processes)
        self._calibrate(sample)
        if with_health:
            yield from self._slow(handle, parts, processes if with_processes else None, at)

    def missing(self, at: datetime, reason: str) -> Iterator[tuple[str, Row]]:
        """Yield the rows of a device that was here and cannot be reached any more."""
        yield from self._lost(reason, at)

    def without_driver(self, reason: str) -> Iterator[tuple[str, Row]]:
        """Yield the rows of a device that nobody can ask: it may be sound, so this is no event of it."""
        for uuid in self._names():
            yield "gpu_sample", status_row(uuid, "error", reason)

    def reloaded(self, at: datetime, version: str) -> Iterator[tuple[str, Row]]:
        """Yield the event that the driver was loaded again: counters and what was unsupported begin anew."""
        self.is_lost = False
        self._counters = {}
        message = f"the driver was loaded again: {version or 'version unknown'}"
        yield "gpu_event", event_row(self.uuid, "driver_reload", at, message, source="collector")

    def close_profiling(self) -> None:
        """Give the driver's buffers back before its session ends; the next round begins with new ones."""
        # The handles of slices end with the session.
        self._parts = []
        self._drop_samples()

    def _drop_samples(self) -> None:
        """Give the driver's buffers back; the next average begins anew."""
        for each in (self._device, *self._slices.values()):
            if each is not None:
                each.gpm.close()

    def forget_driver(self) -> None:
        """Drop all that was learnt from the driver: what it has not, and until when it was read."""
        self._device = None
        self._slices = {}
        self._parts = []
        self._driver = Driver(self._driver.library)
        self._processes = Processes(self._driver, self._attribution, self._place, self.uuid, self._host_clock)
        self._accounting = Accounting(self._driver)

    def _names(self) -> tuple[str, ...]:
        """Return the names of the device, its slices, and the rest of it that was told."""
        rest = self.uuid + _REST
        return (self.uuid, *self._slices, *((rest,) if rest in self._known else ()))

    def slices(self, handle: Any) -> tuple[tuple[str, int], ...]:
        """Return the slices that there are now, with their places on the device.

        Raises: DriverGone: the driver is gone.
        """
        if not self.is_cut:
            return ()
        try:
            parts = mig.slices(self._driver, handle, None, self._parts)
        except DeviceLost:
            return ()
        return tuple((part.uuid, part.index) for part in parts if part.index is not None)

    def _place(self) -> int | None:
        """Return the index by which a prolog's map means this device."""
        return self.mapped_index

    def _whole(self, handle: Any) -> Device:
        if self._device is None:
            gpm = Gpm(self._driver, handle, self._clock)
            self._device = Device(self.uuid, self._driver, gpm, self._processes, self._host_clock)
        # Another session has another one.
        self._device.gpm.handle = handle
        return self._device

    def _cut(self, handle: Any) -> list[mig.Slice] | None:
        """Return the slices, None for a device that is whole; a change of mode forgets what was unsupported."""
        is_cut = mig.is_enabled(self._driver, handle, self.is_cut)
        if self.is_cut is not None and is_cut != self.is_cut:
            self.close_profiling()
            self.forget_driver()
        self.is_cut = is_cut
        if not is_cut:
            return None
        total = self._driver.ask("nvmlDeviceGetMemoryInfo", handle, about="memory of the whole")
        self._memory_total_bytes = self._memory_total_bytes if total is None else total.total
        self._parts = mig.slices(self._driver, handle, self._memory_total_bytes, self._parts)
        return self._parts

    def _is_cut_otherwise(self, parts: list[mig.Slice] | None) -> bool:
        """Tell whether the device is cut otherwise than it was told last."""
        here = {self.uuid} if parts is None else {part.uuid for part in parts}
        return bool(self._known) and here != {uuid for uuid in self._known if not uuid.endswith(_REST)}

    def _lost(self, reason: str, at: datetime) -> Iterator[tuple[str, Row]]:
        """Yield status rows of the device and its slices; the event only once."""
        if not self.is_lost:
            self.is_lost = True
            with contextlib.suppress(DeviceLost):
                self._drop_samples()
            yield "gpu_event", event_row(self.uuid, "lost", at, reason, source="collector")
        for uuid in self._names():
            yield "gpu_sample", status_row(uuid, "lost", reason)

    def _reset(self, sample: Row, at: datetime) -> Iterator[tuple[str, Row]]:
        """Yield an event if a counter started again: the device was reset or its driver loaded again."""
        now = {name: value for name in WIDE_COUNTERS if isinstance(value := sample.get(name), int | float)}
        fallen = [name for name, value in now.items() if value < self._counters.get(name, 0.0)]
        if fallen:
            name = fallen[0]
            message = f"{name} fell from {self._counters[name]:.0f} to {now[name]:.0f}"
            yield "gpu_event", event_row(self.uuid, "reset", at, message, source="collector")
        self._counters |= now

    def _read_slices(self, handle: Any, parts: list[mig.Slice], *, with_processes: bool) -> Iterator[tuple[str, Row]]:
        """Yield a sample per slice, and one for the rest that is nobody's."""
        here = {part.uuid for part in parts}
        for uuid in self._slices.keys() - here:
            self._slices.pop(uuid).gpm.close()
        for part in parts:
            device = self._slices.get(part.uuid) or self._new_slice(handle, part)
            self._slices[part.uuid] = device
            device.gpm.handle, device.gpm.instance = handle, part.instance
            sample, processes = device.read(part.handle, with_processes=with_processes, clock=self._clock)
            yield "gpu_sample", sample
            yield from (("gpu_process_sample", row) for row in processes)
        if mig.fractions(parts)[1]:
            rest = {"gpu_uuid": self.uuid + _REST, "status": "ok", "evidence_quality": "X"}
            yield "gpu_sample", {**rest, "process_count": 0, "process_job_ids": "", "jobless_process_count": 0}

    def _new_slice(self, handle: Any, part: mig.Slice) -> Device:
        """Return a slice that was not here before; its profiling is asked of the whole device."""
        driver = Driver(self._driver.library)
        gpm = Gpm(driver, handle, self._clock, part.instance)
        whose = self._attribution
        processes = Processes(driver, whose, _nowhere, part.uuid, self._host_clock, is_accounted=False)
        return Device(part.uuid, driver, gpm, processes, self._host_clock, is_slice=True)

    def _calibrate(self, sample: Row) -> None:
        """Keep the samples of the first calm minute: what the device takes when nothing runs."""
        if len(self._calm) < _CALM_ROUNDS:
            is_calm = sample.get("process_count") == 0 and not sample.get("kernel_active_ratio")
            self._calm = [*self._calm, sample] if is_calm else []

    def _slow(
        self, handle: Any, parts: list[mig.Slice] | None, processes: list[Row] | None, at: datetime
    ) -> Iterator[tuple[str, Row]]:
        """Yield health, what changed in it, processes that ended, and what exists."""
        fields = self._whole(handle).batch.found
        try:
            health = health_row(self._driver, handle, self.uuid, self.index, fields)
            model = words(self._driver.ask("nvmlDeviceGetName", handle) or "")
            ended = self._ended(handle, processes)
        except DeviceLost:
            return
        yield "gpu_health_sample", health
        yield from (("gpu_event", row) for row in changes(self._health, health, at))
        yield from (("gpu_process_run", {"gpu_uuid": self.uuid, **row}) for row in ended)
        self._health = health
        exists = {str(row["gpu_uuid"]): row for row in self._inventory(model, parts)}
        for row in exists.values():
            yield "gpu", {**row, "exists_start": at, "exists_end": None}
        for uuid in self._known.keys() - exists.keys():
            yield "gpu", {**self._known[uuid], "exists_start": at, "exists_end": at}
        self._known = exists

    def _ended(self, handle: Any, processes: list[Row] | None) -> list[Row]:
        """Return processes that ended; none where their ids mean nothing here."""
        if processes is None:
            return []
        alive = {int(str(row["pid_code"])) for row in processes}
        owners = self._processes.owners
        ended = self._accounting.ended(handle, alive, owners)
        for pid in owners.keys() - alive:
            del owners[pid]
        return ended

    def _inventory(self, model: str, parts: list[mig.Slice] | None) -> Iterator[Row]:
        """Yield what exists: the whole device, or its slices and the rest of it."""
        last = self._device.last if self._device else {}
        common = {
            "gpu_model": model or None,
            "gpu_index": self.index,
            "minor_index": self.minor,
            "numa_node_index": self.numa_node,
        }
        if parts is None:
            yield {
                "gpu_uuid": self.uuid,
                **common,
                "scheduler_index": self.scheduler_indices.get(self.uuid),
                "parent_gpu_uuid": "",
                "gpu_fraction": Decimal(1),
                "memory_total_bytes": last.get("memory_total_bytes"),
                "power_limit_watts": last.get("power_limit_watts"),
                **self._baseline(),
            }
            return
        shares, rest = mig.fractions(parts)
        for part, fraction in zip(parts, shares, strict=True):
            yield {
                "gpu_uuid": part.uuid,
                **common,
                "scheduler_index": self.scheduler_indices.get(part.uuid),
                "parent_gpu_uuid": self.uuid,
                "gpu_fraction": fraction,
                "mig_profile": part.profile or None,
                "mig_index": part.index,
                "memory_total_bytes": part.memory_bytes,
            }
        if rest:
            yield {"gpu_uuid": self.uuid + _REST, **common, "parent_gpu_uuid": self.uuid, "gpu_fraction": rest}

    def _baseline(self) -> Row:
        """Return memory and power of the calm minute, once there was one."""
        if len(self._calm) < _CALM_ROUNDS:
            return {}
        return {
            "memory_baseline_bytes": _least(self._calm, "memory_used_bytes"),
            "idle_power_watts": _least(self._calm, "power_watts"),
        }


def _nowhere() -> None:
    """Return no index: a prolog's map means a slice by its UUID."""


def _least(samples: list[Row], column: str) -> float | None:
    values = [value for sample in samples if isinstance(value := sample.get(column), int | float)]
    return min(values, default=None)
