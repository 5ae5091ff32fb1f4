"""Google TPUs: which chips a machine has, what a running program's library tells of them, and who has them open."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from pydantic import Field

from collectors._clock import utc_now
from collectors.node._attribution import Attribution
from collectors.node._device_settings import DeviceSettings
from collectors.node._files import listed, numa_node_of, text
from collectors.node._fleet import INVENTORY_ROUNDS, process_rows, quality, remembered
from collectors.node._openers import openers
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row, collector

_VENDOR: Final = "0x1ae0"

# The vendor's network adapters bear the same number: a chip is what is listed here. The first two share a device.
_MODELS: Final = {
    ("0x0027", "0x004e"): "TPU v2",
    ("0x0027", "0x004f"): "TPU v3",
    ("0x005e", ""): "TPU v4",
    ("0x0063", ""): "TPU v5e",
    ("0x0062", ""): "TPU v5p",
    ("0x006f", ""): "TPU v6e",
    ("0x0076", ""): "TPU7x",
}
_GONE: Final = "the kernel does not list it any more"


class TpuSettings(DeviceSettings):
    """Where the library of a running program answers, and what tells the job of a process besides its cgroup."""

    ports: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65535)], ...],
        Field(min_length=1, description="Ports on loopback: one, or one for each program (TPU_RUNTIME_METRICS_PORTS)"),
    ] = (8431,)
    answer_seconds: Annotated[float, Field(gt=0, le=10, description="One answer may take so long")] = 1.0


class _Chip(NamedTuple):
    uuid: str
    model: str
    device: str
    numa_node: int | None


@collector(
    emits=("gpu_sample", "gpu_process_sample", "gpu_event", "gpu"),
    every_seconds=10,
    deadline_seconds=15,
    settings=TpuSettings,
)
def tpu(
    sysfs: Path = Path("/sys"),
    procfs: Path = Path("/proc"),
    settings: TpuSettings | None = None,
    clock: Callable[[], float] = time.monotonic,
    now: Callable[[], datetime] = utc_now,
) -> Callable[[], Iterable[tuple[str, Row]]]:
    """Open a round that yields a sample per chip, and the processes that have it open.

    The service exists only while a program uses the chips, and is that program's: without one a chip has a sample
    without values. Duty cycle is the share of time in which the core was busy. How full a busy core was (its
    utilisation) the library tells only the program itself; power and heat it tells nobody.

    Raises: SourceMissing: this machine has no TPU. SourceError: a service is there and does not answer as it should.
    Nulls: what no program tells; processes where the files that others have open are hidden.
    Source: libtpu's RuntimeMetricService, on loopback; PCI ids of the chips.
    """
    decided = settings or TpuSettings()
    attribution = decided.attribution(procfs)
    fleet = remembered("tpu", sysfs)
    rounds = 0

    def one_round() -> Iterator[tuple[str, Row]]:
        nonlocal rounds
        at, started, chips = now(), clock(), _chips(sysfs)
        if not chips and not fleet.names:
            raise SourceMissing(
                f"{sysfs / 'bus/pci/devices'} has no TPU", hint="set collectors.tpu.enabled = false on this node"
            )
        told, failed = _told(decided, len(chips))
        held = openers(procfs, (chip.device for chip in chips)) if attribution.sees_processes() else None
        for index, chip in enumerate(chips):
            summary, processes = ({}, list[Row]()) if held is None else _processes(held, chip, index, attribution)
            values = told[index] if told else {}
            row = {"gpu_uuid": chip.uuid, "status": "ok", "evidence_quality": quality(values), **values, **summary}
            yield from fleet.sample({**row, "collect_seconds": (clock() - started) / len(chips)}, at)
            yield from (("gpu_process_sample", process) for process in processes)
        yield from fleet.absent((chip.uuid for chip in chips), at, _GONE)
        if rounds % INVENTORY_ROUNDS == 0:
            yield from fleet.exists(_existing(chips, told), at)
        rounds += 1
        if failed is not None:
            raise failed

    return one_round


def _told(settings: TpuSettings, count: int) -> tuple[list[Row], SourceError | None]:
    """Return the columns of each chip that running programs tell; a failure costs no chip its row."""
    # A machine without a TPU needs no HTTP here.
    from collectors.node._tpu_metrics import readings  # noqa: PLC0415  see above

    addresses = [f"127.0.0.1:{port}" for port in settings.ports]
    found, failed = readings(addresses, count, settings.answer_seconds) if count else (None, None)
    rows: list[Row] = [
        {
            "kernel_active_ratio": each.duty_cycle,
            "memory_used_bytes": each.memory_used_bytes,
            "memory_total_bytes": each.memory_total_bytes,
        }
        for each in found or ()
    ]
    return rows, failed


def _chips(sysfs: Path) -> list[_Chip]:
    """Return the chips in the order of their addresses, which is the library's."""
    devices = {
        (path / "device").resolve().name: f"/dev/{path.name}"
        for path in listed(sysfs / "class/accel")
        if (path / "device").exists()
    }
    found = []
    for folder in listed(sysfs / "bus/pci/devices"):
        if text(folder / "vendor") != _VENDOR:
            continue
        kind, of = text(folder / "device") or "", text(folder / "subsystem_device") or ""
        model = _MODELS.get((kind, of)) or _MODELS.get((kind, ""))
        if model is not None:
            # Newer chips are given to a process by their group of the memory unit.
            group = (folder / "iommu_group").resolve().name if (folder / "iommu_group").exists() else ""
            device = devices.get(folder.name) or (f"/dev/vfio/{group}" if group else "")
            found.append(_Chip(f"TPU-{folder.name}", model, device, numa_node_of(folder)))
    return found


def _processes(
    held: Mapping[str, set[int]], chip: _Chip, index: int, attribution: Attribution
) -> tuple[Row, list[Row]]:
    """Return a chip's columns about processes, and a row for each; nothing of a chip whose device is not known."""
    if not chip.device:
        return {}, []
    return process_rows(dict.fromkeys(held[chip.device]), attribution, index, chip.uuid, str(index))


def _existing(chips: list[_Chip], told: list[Row]) -> Iterator[Row]:
    for index, chip in enumerate(chips):
        yield {
            "gpu_uuid": chip.uuid,
            "gpu_model": chip.model,
            "gpu_index": index,
            "numa_node_index": chip.numa_node,
            "parent_gpu_uuid": "",
            "gpu_fraction": Decimal(1),
            "memory_total_bytes": told[index]["memory_total_bytes"] if told else None,
        }
