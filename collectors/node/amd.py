"""AMD GPUs and their partitions, from the driver's files alone."""

import functools
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from collectors._clock import utc_now
from collectors.node._amd_device import AmdDevice
from collectors.node._amd_events import AmdLog
from collectors.node._amd_kfd import ComputeNode, Kfd, Place
from collectors.node._amd_names import folders
from collectors.node._amd_names import uuid as name_of
from collectors.node._attribution import Attribution
from collectors.node._device_settings import HealthSettings
from collectors.node._files import numa_node_of, text
from collectors.node._fleet import Fleet, process_rows, quality
from collectors.node._kernel_log import KernelLog
from collectors.node._nvml_driver import DeviceLost, share
from collectors.node._nvml_health import event_row
from ledger.errors import SourceMissing
from ledger.registry import Row, collector

_EMITS: Final = ("gpu_sample", "gpu_process_sample", "gpu_health_sample", "gpu_event", "gpu")
_ADDRESS: Final = re.compile(r"^([0-9a-f]{4,}):([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$")
_MILLIONTHS: Final = 1_000_000
_GONE: Final = "the driver does not list it any more"


class AmdSettings(HealthSettings):
    """Which devices count, how often the slower questions are asked, and what tells the job of a process."""

    devices: Annotated[
        tuple[str, ...], Field(description="PCI addresses of the devices that count; empty for all")
    ] = ()


@collector(emits=_EMITS, every_seconds=10, settings=AmdSettings)
def amd(
    sysfs: Path = Path("/sys"),
    procfs: Path = Path("/proc"),
    root: Path | None = None,
    settings: AmdSettings | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = utc_now,
) -> Callable[[], Iterable[tuple[str, Row]]]:
    """Open a round that yields a sample per GPU and partition, its processes, and at times its health.

    A device is named as ROCm names it, GPU- and its unique id; one without by its PCI address. Partitions are parts of
    a whole as slices of MIG are: they have memory, activity and processes, the whole has power, heat and links.
    Energy counts 2^-16 J; times of throttling are the firmware's shares of its own ticks, since the agent's start.
    A device that sleeps is not woken. The driver's measure of PCIe traffic is left alone: it holds the reader up for
    a second. Resets and errors come from the kernel's log, where it may be read, and from the counters.

    Raises: SourceMissing: this node has no AMD GPU, or no driver for it.
    Nulls: what the model, the driver or the privilege does not give; never 0 instead.
    Source: Documentation/gpu/amdgpu (driver-misc, thermal, ras), amdkfd's topology and processes.
    """
    decided = settings or AmdSettings()
    beside = procfs.parent if root is None else root
    attribution = decided.attribution(procfs, beside)
    open_log = functools.partial(KernelLog, procfs, beside / "dev", beside / "var/log", now)
    return _Node(sysfs, attribution, open_log, decided, clock, now).one_round


class _Node:
    """All AMD devices of this node from round to round."""

    def __init__(
        self,
        sysfs: Path,
        attribution: Attribution,
        open_log: Callable[[], KernelLog],
        settings: AmdSettings,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._sysfs = sysfs
        self._attribution = attribution
        self._settings = settings
        self._clock = clock
        self._now = now
        self._open_log = open_log
        self._log: AmdLog | None = None
        self._kfd = Kfd(sysfs)
        self._fleet = Fleet()
        self._devices: dict[str, AmdDevice] = {}
        self._uuids: dict[str, str] = {}
        self._parts: dict[str, list[str]] = {}
        self._errors: dict[str, int] = {}
        self._rounds = 0

    def one_round(self) -> Iterator[tuple[str, Row]]:
        """Yield the rows of one round.

        Raises: SourceMissing: there is no device, and never was.
        """
        at, is_slow = self._now(), self._rounds % self._settings.health_every_rounds == 0
        self._rounds += 1
        here = self._enumerate()
        if not here and not self._devices:
            raise SourceMissing(
                f"{self._sysfs / 'class/drm'} has no AMD GPU",
                hint="load the amdgpu driver, or set collectors.amd.enabled = false on this node",
            )
        if self._log is None:
            # Only a node with such a device has lines of its driver.
            self._log = AmdLog(self._open_log())
        names = {device.address: device.uuid for device in self._devices.values()}
        yield from (("gpu_event", row) for row in self._log.rows(names))
        nodes = self._kfd.nodes()
        held = self._kfd.processes() if self._attribution.sees_processes() else None
        exist: list[Row] = []
        is_cut_otherwise = False
        for device in here:
            parts = nodes.get(_place(device.address), [])
            is_cut_otherwise |= self._recut(device, parts)
            yield from self._once(self._log, self._read(device, parts, held, at), at)
            exist += self._existing(device, parts)
            if is_slow:
                yield from self._once(self._log, self._slow(device, at), at)
        yield from self._fleet.absent(self._present(here), at, _GONE)
        if is_slow or is_cut_otherwise:
            yield from self._fleet.exists(exist, at)

    def _once(self, log: AmdLog, rows: Iterable[tuple[str, Row]], at: datetime) -> Iterator[tuple[str, Row]]:
        """Yield rows without those events that the kernel's log has told already."""
        for table, row in rows:
            if table != "gpu_event" or not log.has_told(str(row["gpu_uuid"]), str(row["event"]), at):
                yield table, row

    def _enumerate(self) -> list[AmdDevice]:
        """Return the devices that are here, in the order of their addresses."""
        wanted = self._settings.devices
        here = {address: path for address, path in folders(self._sysfs).items() if not wanted or address in wanted}
        found = []
        for index, (address, folder) in enumerate(here.items()):
            uuid = self._name(folder, address)
            device = self._devices.get(uuid)
            if device is None or device.files.root != folder:
                device = self._devices[uuid] = AmdDevice(uuid, index, folder, address, self._clock)
            found.append(device)
        return found

    def _name(self, folder: Path, address: str) -> str:
        """Return a device's name; while it is reset its driver refuses to say, and it is the one that was there."""
        if text(folder / "unique_id") or address not in self._uuids:
            self._uuids[address] = name_of(folder, address)
        return self._uuids[address]

    def _recut(self, device: AmdDevice, parts: list[ComputeNode]) -> bool:
        """Tell whether a device is cut otherwise than before; parts that it had are forgotten."""
        names = [_part(device, part) for part in parts] if len(parts) > 1 else []
        before = self._parts.get(device.uuid)
        self._parts[device.uuid] = names
        for gone in set(before or ()) - set(names):
            self._fleet.forget(gone)
        return before is not None and before != names

    def _present(self, here: list[AmdDevice]) -> set[str]:
        return {name for device in here for name in (device.uuid, *self._parts.get(device.uuid, ()))}

    def _read(
        self,
        device: AmdDevice,
        parts: list[ComputeNode],
        held: Mapping[int, dict[int, int | None]] | None,
        at: datetime,
    ) -> Iterator[tuple[str, Row]]:
        """Yield a device's samples and processes: of the whole, and of each part where it is cut."""
        sample = device.sample()
        if sample["status"] == "lost":
            for uuid in (device.uuid, *self._parts.get(device.uuid, ())):
                yield from self._fleet.lost(uuid, at, str(sample["status_reason"]))
            return
        is_whole = len(parts) <= 1
        summary: Row = {}
        processes: list[Row] = []
        if is_whole and held is not None and parts:
            summary, processes = self._processes(device.uuid, device, held.get(parts[0].gpu_id, {}))
        yield from self._fleet.sample({**sample, **summary}, at)
        for place, part in enumerate(() if is_whole else parts):
            uuid, busy = _part(device, part), device.metrics.partition_busy_percent
            rows: list[Row] = []
            summary = {}
            if held is not None:
                summary, rows = self._processes(uuid, device, held.get(part.gpu_id, {}))
            memory = [value for row in rows if isinstance(value := row["memory_used_bytes"], int)]
            values = {
                "kernel_active_ratio": share(busy[place]) if place < len(busy) else None,
                "memory_used_bytes": sum(memory) if held is not None and len(memory) == len(rows) else None,
                "memory_total_bytes": part.memory_bytes,
            }
            row = {"gpu_uuid": uuid, "status": "ok", "evidence_quality": quality(values), **values, **summary}
            yield from self._fleet.sample(row, at)
            processes += rows
        yield from (("gpu_process_sample", row) for row in processes)

    def _processes(self, uuid: str, device: AmdDevice, held: Mapping[int, int | None]) -> tuple[Row, list[Row]]:
        return process_rows(held, self._attribution, device.index, uuid, device.uuid)

    def _slow(self, device: AmdDevice, at: datetime) -> Iterator[tuple[str, Row]]:
        """Yield a device's health, and an event for errors that could not be corrected and are new."""
        try:
            health = device.health(text(self._sysfs / "module/amdgpu/version"))
        except DeviceLost:
            return
        yield "gpu_health_sample", health
        errors = health["ecc_uncorrected_count_total"]
        if isinstance(errors, int):
            if errors > self._errors.get(device.uuid, errors):
                message = f"uncorrected errors rose from {self._errors[device.uuid]} to {errors}"
                yield "gpu_event", event_row(device.uuid, "ecc_uncorrected", at, message, source="collector")
            self._errors[device.uuid] = errors

    def _existing(self, device: AmdDevice, parts: list[ComputeNode]) -> list[Row]:
        """Return what exists of a device: itself, or its parts."""
        folder = device.files.root
        common = {
            "gpu_model": device.model(),
            "gpu_index": device.index,
            "numa_node_index": numa_node_of(folder),
        }
        if len(parts) <= 1:
            whole = {"gpu_uuid": device.uuid, "parent_gpu_uuid": "", "gpu_fraction": Decimal(1)}
            return [{**whole, **common, "memory_total_bytes": device.memory_total_bytes}]
        modes = [text(folder / f"current_{kind}_partition") for kind in ("compute", "memory")]
        profile = "/".join(mode for mode in modes if mode) or None
        return [
            {
                "gpu_uuid": _part(device, part),
                **common,
                "parent_gpu_uuid": device.uuid,
                "gpu_fraction": fraction,
                "mig_profile": profile,
                "memory_total_bytes": part.memory_bytes,
            }
            for part, fraction in zip(parts, _equal_parts(len(parts)), strict=True)
        ]


def _equal_parts(count: int) -> list[Decimal]:
    """Return equal parts of one device, exact in millionths; the last takes what a division leaves over."""
    each = _MILLIONTHS // count
    parts = [each] * (count - 1) + [_MILLIONTHS - each * (count - 1)]
    return [Decimal(part) / _MILLIONTHS for part in parts]


def _part(device: AmdDevice, part: ComputeNode) -> str:
    return f"{device.uuid}-{part.partition}"


def _place(address: str) -> Place:
    """Return a PCI address in the numbers of the compute driver."""
    match = _ADDRESS.match(address)
    if match is None:
        return (-1, -1)
    domain, bus, device, function = (int(part, 16) for part in match.groups())
    return domain, bus << 8 | device << 3 | function
