"""Devices of one kind from round to round: which are lost, what exists, what each takes when nothing runs."""

import functools
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from collectors.node._attribution import Attribution, device_columns
from collectors.node._nvml_device import status_row
from collectors.node._nvml_health import event_row
from ledger.registry import Row

INVENTORY_ROUNDS: Final = 6
"""What exists is told every so many rounds."""

_CALM_ROUNDS: Final = 6
_COUNTERS: Final = ("energy_joules_total", "nvlink_receive_bytes_total", "nvlink_transmit_bytes_total")


class Fleet:
    """What must be remembered of devices whose source has no memory of its own."""

    def __init__(self) -> None:
        self._lost: set[str] = set()
        self._seen: dict[str, Row] = {}
        self._known: dict[str, Row] = {}
        self._calm: dict[str, list[Row]] = {}

    @property
    def names(self) -> list[str]:
        """Return the devices that were ever here."""
        return list(self._seen)

    def sample(self, row: Row, at: datetime) -> Iterator[tuple[str, Row]]:
        """Yield a device's sample, and an event if it was lost before or counts anew."""
        uuid = str(row["gpu_uuid"])
        if uuid in self._lost:
            self._lost.discard(uuid)
            yield "gpu_event", event_row(uuid, "recovered", at, "the device answers again", source="collector")
        before = self._seen.get(uuid, {})
        for name in _COUNTERS:
            was, now = _number(before.get(name)), _number(row.get(name))
            if was is not None and now is not None and now < was:
                message = f"{name} fell from {was:.0f} to {now:.0f}"
                yield "gpu_event", event_row(uuid, "reset", at, message, source="collector")
                break
        # A counter that was not read this time is compared with what it was when it was.
        kept = {name: row.get(name) if row.get(name) is not None else before.get(name) for name in _COUNTERS}
        self._seen[uuid] = {**row, **kept}
        self._calibrate(uuid, row)
        yield "gpu_sample", row

    def lost(self, uuid: str, at: datetime, reason: str) -> Iterator[tuple[str, Row]]:
        """Yield the status row of a device that is gone; the event only once."""
        if uuid not in self._lost:
            self._lost.add(uuid)
            yield "gpu_event", event_row(uuid, "lost", at, reason, source="collector")
        self._seen.setdefault(uuid, {})
        yield "gpu_sample", status_row(uuid, "lost", reason)

    def absent(self, here: Iterable[str], at: datetime, reason: str) -> Iterator[tuple[str, Row]]:
        """Yield the rows of devices that were here and are not any more."""
        for uuid in self._seen.keys() - set(here):
            yield from self.lost(uuid, at, reason)

    def failed(self, reason: str) -> Iterator[tuple[str, Row]]:
        """Yield the rows of devices that nobody can ask this time: they may be sound, so this is no event of them."""
        for uuid in self._seen:
            yield "gpu_sample", status_row(uuid, "error", reason)

    def forget(self, uuid: str) -> None:
        """Take a part of a device for ended: it was cut otherwise, which is no loss."""
        for each in (self._seen, self._calm):
            each.pop(uuid, None)
        self._lost.discard(uuid)

    def exists(self, rows: Iterable[Row], at: datetime) -> Iterator[tuple[str, Row]]:
        """Yield what exists, and what ended since: the parts of a device that is cut otherwise now."""
        here = {str(row["gpu_uuid"]): row for row in rows}
        for uuid, row in here.items():
            yield "gpu", {**row, **self._baseline(uuid), "exists_start": at, "exists_end": None}
        wholes = {_whole(row) for row in here.values()}
        for uuid in [uuid for uuid, row in self._known.items() if uuid not in here and _whole(row) in wholes]:
            yield "gpu", {**self._known.pop(uuid), "exists_start": at, "exists_end": at}
        self._known |= here

    def _calibrate(self, uuid: str, row: Row) -> None:
        """Keep the samples of the first calm minute: what the device takes when nothing runs."""
        calm = self._calm.setdefault(uuid, [])
        if len(calm) < _CALM_ROUNDS:
            is_calm = row.get("process_count") == 0 and not row.get("kernel_active_ratio")
            self._calm[uuid] = [*calm, row] if is_calm else []

    def _baseline(self, uuid: str) -> Row:
        calm = self._calm.get(uuid, [])
        if len(calm) < _CALM_ROUNDS:
            return {}
        return {
            "memory_baseline_bytes": _least(calm, "memory_used_bytes"),
            "idle_power_watts": _least(calm, "power_watts"),
        }


@functools.cache
def remembered(kind: str, sysfs: Path) -> Fleet:
    """Return the devices of a kind on one machine: a collector that failed is opened anew, and must not forget them."""
    del kind, sysfs
    return Fleet()


def process_rows(
    held: Mapping[int, int | None], attribution: Attribution, index: int, uuid: str, device: str
) -> tuple[Row, list[Row]]:
    """Return a device's columns about processes, and one row per process, from their device memory by process id.

    `device` is its name at the kubelet.
    """
    rows: list[Row] = []
    for pid, memory in sorted(held.items()):
        owner = attribution.owner(pid, index, device, uuid)
        rows.append({"gpu_uuid": uuid, "pid_code": pid, **owner._asdict(), "memory_used_bytes": memory})
    return device_columns(rows), rows


def quality(row: Mapping[str, object]) -> str:
    """Return how good the evidence of activity is, for a source that has no profiling."""
    if row.get("kernel_active_ratio") is not None:
        return "C"
    return "D" if row.get("power_watts") is not None else "X"


def _whole(row: Row) -> str:
    return str(row["parent_gpu_uuid"] or row["gpu_uuid"])


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _least(rows: list[Row], column: str) -> float | None:
    return min((value for row in rows if (value := _number(row.get(column))) is not None), default=None)
