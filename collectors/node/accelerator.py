"""Accelerators of other makers (Gaudi, Trainium, Ascend and so on), as the configuration describes them."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from collectors._clock import utc_now
from collectors.node._accelerator_devices import Device, of_command, of_folders
from collectors.node._accelerator_settings import AcceleratorSettings, AcceleratorSource
from collectors.node._command import Command
from collectors.node._fleet import INVENTORY_ROUNDS, process_rows, quality, remembered
from collectors.node._openers import openers
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row, collector

_GONE: Final = "it is not shown any more"
_HINT: Final = "describe them under [[collectors.accelerator.sources]] on nodes that have some"


@collector(
    emits=("gpu_sample", "gpu_process_sample", "gpu_event", "gpu"),
    every_seconds=10,
    deadline_seconds=15,
    settings=AcceleratorSettings,
)
def accelerator(
    sysfs: Path = Path("/sys"),
    procfs: Path = Path("/proc"),
    settings: AcceleratorSettings | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = utc_now,
) -> Callable[[], Iterable[tuple[str, Row]]]:
    """Open a round that yields a sample per device that the configuration describes, and who has it open.

    A kind is either folders below /sys with a file for each column, or a program that prints a line of comma-separated
    values for each device. A device is named by its kind and its own id. A value that cannot be one, such as a draw of
    a megawatt, is null and said: as a rule its factor is wrong. A device without an id of its own is left out and said.

    Raises: SourceMissing: none is described, or none is here. SourceError: a program fails, or a value cannot be one.
    Nulls: what a file or a field does not say; processes where the files that others have open are hidden.
    Source: the makers' drivers and tools, as the operator names them.
    """
    decided = settings or AcceleratorSettings()
    return _Node(decided, sysfs, procfs, clock, now).one_round


class _Node:
    """All described devices of this node from round to round."""

    def __init__(
        self,
        settings: AcceleratorSettings,
        sysfs: Path,
        procfs: Path,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._attribution = settings.attribution(procfs)
        self._settings = settings
        self._sysfs = sysfs
        self._procfs = procfs
        self._clock = clock
        self._now = now
        self._commands = {
            source.name: Command(source.command, settings.answer_seconds)
            for source in settings.sources
            if source.command
        }
        self._fleets = {source.name: remembered(source.name, sysfs) for source in settings.sources}
        self._rounds = 0

    def one_round(self) -> Iterator[tuple[str, Row]]:
        """Yield the rows of one round; a kind that fails costs no other its rows.

        Raises: SourceMissing: there is no device, and never was. SourceError: a kind failed.
        """
        at, wrong = self._now(), list[str]()
        missing: SourceMissing | None = None
        for source in self._settings.sources:
            started = self._clock()
            try:
                devices, nameless = _distinct(source.name, self._devices(source))
                wrong += nameless
            except SourceMissing as absent:
                missing = absent
                devices = []
            except SourceError as failed:
                wrong.append(failed.message)
                yield from self._fleets[source.name].failed(failed.message)
                continue
            wrong += (text for device in devices for text in device.wrong)
            yield from self._rows(source, devices, at, (self._clock() - started) / max(len(devices), 1))
        self._rounds += 1
        if wrong:
            more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
            hint = "see identity, factor and pattern of collectors.accelerator.sources"
            raise SourceError(f"{wrong[0]}{more}", hint=hint)
        if not any(fleet.names for fleet in self._fleets.values()):
            what = "no device is shown" if self._settings.sources else "none is described"
            raise missing or SourceMissing(f"collectors.accelerator.sources: {what}", hint=_HINT)

    def _devices(self, source: AcceleratorSource) -> Iterator[Device]:
        command = self._commands.get(source.name)
        yield from of_folders(source, self._sysfs) if command is None else of_command(source, command)

    def _rows(
        self, source: AcceleratorSource, devices: list[Device], at: datetime, seconds: float
    ) -> Iterator[tuple[str, Row]]:
        """Yield the samples of one kind's devices, their processes, and what exists."""
        fleet = self._fleets[source.name]
        opened = {device.uuid: source.device_file.replace("{index}", str(device.number)) for device in devices}
        held = openers(self._procfs, opened.values()) if self._attribution.sees_processes() else None
        for device in devices:
            if device.lost:
                yield from fleet.lost(device.uuid, at, device.lost)
                continue
            summary, processes = self._processes(device, opened[device.uuid], held)
            row = {"gpu_uuid": device.uuid, "status": "ok", "evidence_quality": quality(device.values)}
            yield from fleet.sample({**row, **device.values, **summary, "collect_seconds": seconds}, at)
            yield from (("gpu_process_sample", process) for process in processes)
        yield from fleet.absent((device.uuid for device in devices), at, _GONE)
        if self._rounds % INVENTORY_ROUNDS == 0:
            yield from fleet.exists(self._existing(source, devices), at)

    def _processes(self, device: Device, opened: str, held: Mapping[str, set[int]] | None) -> tuple[Row, list[Row]]:
        """Return a device's columns about processes, and a row for each; nothing where nobody can know."""
        if held is None or opened not in held:
            return {}, []
        return process_rows(
            dict.fromkeys(held[opened]), self._attribution, device.number, device.uuid, str(device.number)
        )

    def _existing(self, source: AcceleratorSource, devices: list[Device]) -> Iterator[Row]:
        for device in devices:
            yield {
                "gpu_uuid": device.uuid,
                "gpu_model": source.model or source.name,
                "gpu_index": device.number,
                "parent_gpu_uuid": "",
                "gpu_fraction": Decimal(1),
                "memory_total_bytes": device.values.get("memory_total_bytes"),
                "power_limit_watts": device.values.get("power_limit_watts"),
            }


def _distinct(kind: str, devices: Iterable[Device]) -> tuple[list[Device], list[str]]:
    """Return the devices that have an id of their own, and what is wrong with the others: one row stands for one."""
    found: dict[str, Device] = {}
    wrong = []
    for device in devices:
        if device.uuid == f"{kind}-":
            wrong.append(f"{kind}: found no id of device {device.number}, expected one")
        elif device.uuid in found:
            wrong.append(f"{kind}: found a second device {device.uuid}, expected an id of its own for each")
        else:
            found[device.uuid] = device
    return list(found.values()), wrong
