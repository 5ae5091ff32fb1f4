"""Google TPUs: which chips a machine has, what a running program's library tells of them, and who has them open."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from collectors._clock import utc_now
from collectors.node._attribution import Attribution
from collectors.node._device_settings import DeviceSettings
from collectors.node._fleet import INVENTORY_ROUNDS, process_rows, quality, remembered
from collectors.node._job_addresses import serving
from collectors.node._openers import openers
from collectors.node._tpu_chips import Chip, chips
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row, collector

_GONE: Final = "the kernel does not list it any more"


class TpuSettings(DeviceSettings):
    """Where the library of a running program answers, and what tells the job of a process besides its cgroup."""

    ports: Annotated[
        tuple[Annotated[int, Field(ge=1, le=65535)], ...],
        Field(min_length=1, description="Its ports: one, or one for each program (TPU_RUNTIME_METRICS_PORTS)"),
    ] = (8431,)
    hosts: Annotated[
        tuple[str, ...],
        Field(description="Where it answers; besides, the networks of jobs and pods are looked up"),
    ] = ("127.0.0.1",)
    answer_seconds: Annotated[float, Field(gt=0, le=10, description="One answer may take so long")] = 1.0


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

    The service exists only while a program uses the chips, and is that program's, in its network: in a pod (GKE) it
    answers at the pod's address, which is looked up. Without one a chip has a sample without values. Duty cycle is the
    share of time in which the core was busy. How full a busy core was (its utilisation) the library tells only the
    program itself; power and heat it tells nobody. A chip of two halves is one device.

    Raises: SourceMissing: this machine has no TPU. SourceError: a service is there and does not answer as it should.
    Nulls: what no program tells; processes where the files that others have open are hidden.
    Source: libtpu's RuntimeMetricService; PCI ids of the chips.
    """
    decided = settings or TpuSettings()
    attribution = decided.attribution(procfs)
    fleet = remembered("tpu", sysfs)
    rounds, told, addresses = 0, list[Row](), list[str]()

    def one_round() -> Iterator[tuple[str, Row]]:
        nonlocal rounds, told, addresses
        at, started, here = now(), clock(), chips(sysfs)
        if not here and not fleet.names:
            raise SourceMissing(
                f"{sysfs / 'bus/pci/devices'} has no TPU", hint="set collectors.tpu.enabled = false on this node"
            )
        if not told or rounds % INVENTORY_ROUNDS == 0:
            addresses = [f"{host}:{port}" for host in decided.hosts for port in decided.ports]
            addresses += [each for each in serving(procfs, decided.ports) if each not in addresses]
        told, failed = _told(addresses, decided.answer_seconds, len(here))
        opened = [device for chip in here for device in chip.devices]
        held = openers(procfs, opened) if attribution.sees_processes() else None
        for index, chip in enumerate(here):
            summary, processes = ({}, list[Row]()) if held is None else _processes(held, chip, index, attribution)
            values = told[index] if told else {}
            row = {"gpu_uuid": chip.uuid, "status": "ok", "evidence_quality": quality(values), **values, **summary}
            yield from fleet.sample({**row, "collect_seconds": (clock() - started) / len(here)}, at)
            yield from (("gpu_process_sample", process) for process in processes)
        yield from fleet.absent((chip.uuid for chip in here), at, _GONE)
        if rounds % INVENTORY_ROUNDS == 0:
            yield from fleet.exists(_existing(here, told), at)
        rounds += 1
        if failed is not None:
            raise failed

    return one_round


def _told(addresses: list[str], seconds: float, count: int) -> tuple[list[Row], SourceError | None]:
    """Return the columns of each chip that running programs tell; a failure costs no chip its row."""
    # A machine without a TPU needs no HTTP here.
    from collectors.node._tpu_metrics import readings  # noqa: PLC0415  see above

    found, failed = readings(addresses, count, seconds) if count else (None, None)
    rows: list[Row] = [
        {
            "kernel_active_ratio": each.duty_cycle,
            "memory_used_bytes": each.memory_used_bytes,
            "memory_total_bytes": each.memory_total_bytes,
        }
        for each in found or ()
    ]
    return rows, failed


def _processes(held: Mapping[str, set[int]], chip: Chip, index: int, attribution: Attribution) -> tuple[Row, list[Row]]:
    """Return a chip's columns about processes, and a row for each; nothing of a chip whose device is not known."""
    if not chip.devices:
        return {}, []
    pids = sorted({pid for device in chip.devices for pid in held[device]})
    return process_rows(dict.fromkeys(pids), attribution, index, chip.uuid, str(index))


def _existing(here: list[Chip], told: list[Row]) -> Iterator[Row]:
    for index, chip in enumerate(here):
        yield {
            "gpu_uuid": chip.uuid,
            "gpu_model": chip.model,
            "gpu_index": index,
            "numa_node_index": chip.numa_node,
            "parent_gpu_uuid": "",
            "gpu_fraction": Decimal(1),
            "memory_total_bytes": told[index]["memory_total_bytes"] if told else None,
        }
