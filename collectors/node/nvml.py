"""NVIDIA GPUs and MIG slices, through NVML."""

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field

from collectors._clock import utc_now
from collectors.node import _nvml_mig as mig
from collectors.node._attribution import Attribution
from collectors.node._device_settings import HealthSettings
from collectors.node._files import numa_node
from collectors.node._kernel_log import Bus, KernelLog, bus_of
from collectors.node._nvml_beside import Beside, devices, unreachable
from collectors.node._nvml_card import Card
from collectors.node._nvml_driver import DeviceLost, Driver, DriverGone, Patience, words
from collectors.node._nvml_events import EventQueue, Witnesses, wants_health
from collectors.node._nvml_library import RUN_SMI, binding, start
from collectors.node._nvml_stamps import HostClock
from collectors.node._slurm_devices import Device, Order, of_slurm
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row, collector

_EMITS: Final = ("gpu_sample", "gpu_process_sample", "gpu_process_run", "gpu_health_sample", "gpu_event", "gpu")
_UNLISTED: Final = "the driver does not list it any more"


class NvmlSettings(HealthSettings):
    """How often the slower questions are asked, and what tells the job of a process besides its cgroup."""

    slurm_order: Annotated[
        Order,
        Field(
            description="What Slurm's device indices count where the agent cannot read gres.conf: device_files, or pci "
            "with AutoDetect=nvml; empty for what gres.conf says, else device_files"
        ),
    ] = ""


@collector(emits=_EMITS, every_seconds=10, settings=NvmlSettings)
def nvml(
    procfs: Path = Path("/proc"),
    sysfs: Path | None = None,
    root: Path | None = None,
    settings: NvmlSettings | None = None,
    library: Any = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = utc_now,
) -> Callable[[], Iterable[tuple[str, Row]]]:
    """Open NVML; each round yields a sample per GPU and slice, its processes, and at times its health.

    A device that is lost keeps a row that says so, and costs no other device its row. Xids come from the driver's
    queue and from the kernel's log, each once; for the ring buffer the agent needs CAP_SYSLOG on most systems.

    Raises: SourceMissing: this node has no NVIDIA driver or no NVIDIA GPU.
    Nulls: what the device, the driver or the privilege does not give; never 0 instead.
    Source: NVML API reference; nvml.h.
    """
    driver = binding() if library is None else library
    start(driver)
    # Where the host's /proc is mounted elsewhere, its /dev and its logs are beside it.
    beside = procfs.parent if root is None else root
    log = KernelLog(procfs, beside / "dev", beside / "var/log", now)
    decided = settings or NvmlSettings()
    attribution = decided.attribution(procfs, beside)
    of_bus = functools.partial(numa_node, beside / "sys" if sysfs is None else sysfs)
    known = Beside(of_bus, of_slurm(beside, decided.slurm_order), functools.partial(devices, procfs))
    node = _Node(driver, attribution, log, known, decided.health_every_rounds, clock, now)
    return node.one_round


class _Node:
    """All devices of this node from round to round."""

    def __init__(
        self,
        library: Any,
        attribution: Attribution,
        log: KernelLog,
        beside: Beside,
        health_every: int,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._library = library
        self._driver = Driver(library)
        self._attribution = attribution
        self._beside = beside
        self._health_every = health_every
        self._clock = clock
        self._now = now
        self._host_clock = HostClock(now)
        self._rounds = 0
        self._cards: dict[str, Card] = {}
        self._reasons: dict[int, str] = {}
        self._events = EventQueue(self._driver)
        self._witnesses = Witnesses(log)
        self._is_gone = False
        self._patience = Patience()

    def one_round(self) -> Iterator[tuple[str, Row]]:
        """Yield the rows of one round; without a driver those of devices that were here, which say so.

        Raises: SourceMissing: there is no GPU. SourceError: the driver does not answer, and never did.
        """
        at = self._now()
        self._host_clock.begin()
        is_slow = self._rounds % self._health_every == 0
        self._rounds += 1
        done: set[str] = set()
        try:
            yield from self._recover(at, is_slow=is_slow)
            for table, row in self._read(at, is_slow=is_slow):
                if table == "gpu_sample":
                    done.add(str(row["gpu_uuid"]))
                yield table, row
        except DriverGone as gone:
            self._is_gone = True
            if not self._cards:
                raise SourceError(f"NVML: {gone}, expected a working driver", hint=RUN_SMI) from gone
            for card in self._cards.values():
                for table, row in card.without_driver(f"the driver does not answer: {gone}"):
                    if row["gpu_uuid"] not in done:
                        yield table, row
            yield from (("gpu_event", row) for row in self._witnesses.rows([], self._names(), at))

    def _recover(self, at: datetime, *, is_slow: bool) -> Iterator[tuple[str, Row]]:
        """Start NVML again where that may help: a driver that was loaded again, or a device that was reset.

        Raises: DriverGone: it does not start.
        """
        if self._is_gone:
            self._restart(is_open=False)
            self._is_gone = False
            version = words(self._driver.ask("nvmlSystemGetDriverVersion") or "")
            for card in self._cards.values():
                yield from card.reloaded(at, version)
        elif is_slow and self._patience.is_over(any(card.is_lost for card in self._cards.values())):
            self._restart(is_open=True)

    def _read(self, at: datetime, *, is_slow: bool) -> Iterator[tuple[str, Row]]:
        """Yield the rows of all devices, and of what happened to them.

        Raises: SourceMissing: there is no GPU. DriverGone: the driver is gone.
        """
        with_processes = self._attribution.sees_processes()
        here = self._enumerate()
        self._meet(here)
        if not self._cards:
            raise SourceMissing("NVML: no GPU", hint="set collectors.nvml.enabled = false on this node")
        if is_slow:
            for uuid, (_, handle) in here.items():
                self._locate(self._cards[uuid], handle)
            self._count(here)
        for uuid, (_, handle) in here.items():
            yield from self._cards[uuid].read(handle, at, with_processes=with_processes, with_health=is_slow)
        for uuid, card in self._cards.items():
            if uuid not in here:
                yield from card.missing(at, self._reasons.get(card.index, _UNLISTED))
        queued = self._events.drain()
        for told in queued:
            if wants_health(told) and told.uuid in self._cards:
                self._cards[told.uuid].wants_health = True
        yield from (("gpu_event", row) for row in self._witnesses.rows(queued, self._names(), at))

    def _meet(self, here: Mapping[str, tuple[int, Any]]) -> None:
        """Take in devices that were not here before, and those that never were: the kernel knows which these are.

        Raises: DriverGone: the driver is gone.
        """
        for uuid, (index, handle) in here.items():
            if uuid not in self._cards:
                self._cards[uuid] = self._new(uuid, index, handle)
            # The driver counts anew when it is loaded again, without what is lost.
            self._cards[uuid].index = index
        met = {card.index for card in self._cards.values()}
        if strange := self._reasons.keys() - met:
            for index, each in unreachable(self._beside.devices(), self._cards.keys(), strange).items():
                card = self._card(each.uuid, index)
                card.bus, card.minor = each.bus, each.minor
                self._cards[each.uuid] = card

    def _count(self, here: Mapping[str, tuple[int, Any]]) -> None:
        """Give each device, and each slice, the index by which Slurm counts it.

        Raises: DriverGone: the driver is gone.
        """
        found = {}
        for uuid, card in self._cards.items():
            slices = card.slices(here[uuid][1]) if uuid in here else ()
            found[uuid] = Device(card.minor, card.bus, bool(card.is_cut), slices)
        counted = self._beside.slurm_indices_of(found)
        for card in self._cards.values():
            card.scheduler_indices = counted
        # Where one is cut, an index may count slices too, and no device can tell for itself which it means.
        are_slices_counted = all(slice_uuid in counted for each in found.values() for slice_uuid, _ in each.slices)
        for uuid, card in self._cards.items():
            card.mapped_index = counted.get(uuid) if are_slices_counted else None

    def _new(self, uuid: str, index: int, handle: Any) -> Card:
        """Return a device that was not here before; its events are queued from now on.

        Raises: DriverGone: the driver is gone.
        """
        card = self._card(uuid, index)
        self._locate(card, handle)
        with contextlib.suppress(DeviceLost):
            card.is_cut = mig.is_enabled(Driver(self._library), handle)
        self._events.watch(handle, uuid)
        return card

    def _locate(self, card: Card, handle: Any) -> None:
        """Learn where a device is, as far as that is not known; what one model does not have another one may.

        Raises: DriverGone: the driver is gone.
        """
        driver = Driver(self._library)
        with contextlib.suppress(DeviceLost):
            if card.bus is None and (bus := driver.ask("nvmlDeviceGetPciInfo", handle)) is not None:
                card.bus = bus_of(words(bus.busId))
                card.numa_node = self._beside.numa_node_of(card.bus)
            if card.minor is None:
                card.minor = driver.ask("nvmlDeviceGetMinorNumber", handle)

    def _card(self, uuid: str, index: int) -> Card:
        return Card(uuid, index, Driver(self._library), self._attribution, self._clock, self._host_clock)

    def _names(self) -> dict[Bus, str]:
        """Return the UUID of each device by its PCI address."""
        return {card.bus: uuid for uuid, card in self._cards.items() if card.bus is not None}

    def _enumerate(self) -> dict[str, tuple[int, Any]]:
        """Return index and handle of each device that can be reached, by UUID; why others cannot is kept.

        Raises: DriverGone: the driver does not even say how many there are.
        """
        self._reasons.clear()
        count = self._driver.ask("nvmlDeviceGetCount")
        if count is None:
            raise DriverGone("it does not say how many GPUs there are")
        here = {}
        for index in range(count):
            try:
                handle = self._driver.ask("nvmlDeviceGetHandleByIndex", index, about=f"handle {index}")
                uuid = None if handle is None else self._driver.ask("nvmlDeviceGetUUID", handle, about=f"UUID {index}")
            except DeviceLost as lost:
                self._reasons[index] = str(lost)
                continue
            if uuid is not None:
                here[words(uuid)] = (index, handle)
            elif self._driver.refusals.get(f"handle {index}") == "error":
                self._reasons[index] = "the driver fails to give it"
            elif self._driver.refusals.get(f"UUID {index}") == "error":
                self._reasons[index] = "the driver fails to tell its UUID"
        return here

    def _restart(self, *, is_open: bool) -> None:
        """Start NVML again: a driver that was loaded anew, or a device that was reset, has a new session only.

        Raises: DriverGone: it does not start.
        """
        with contextlib.suppress(DriverGone):
            for card in self._cards.values():
                if is_open:
                    card.close_profiling()
                else:
                    card.forget_driver()
            if is_open:
                self._events.close()
            self._driver.ask("nvmlShutdown")
        self._driver = Driver(self._library)
        self._events = EventQueue(self._driver)
        try:
            self._library.nvmlInit()
        except self._library.NVMLError as error:
            raise DriverGone(str(error)) from error
        for uuid, (_, handle) in self._enumerate().items():
            self._events.watch(handle, uuid)
