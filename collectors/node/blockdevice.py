"""Block devices of a node."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collectors.node._files import counts, required
from ledger.errors import SourceError
from ledger.registry import Emitted, Row, collector

_SECTOR_BYTES: Final = 512  # in this file always, whatever the device's own sector is
_MOST_SECTORS: Final = 2**63 // _SECTOR_BYTES - 1
_MILLISECONDS: Final = 1000
_LEAST_FIELDS: Final = 14  # three names and eleven counters; newer kernels append four and two more

# Memory, optical and floppy drives, and devices stacked on others, whose requests the lower device counts again.
_SKIPPED: Final = re.compile(r"^(loop|ram|zram|sr|fd|dm-|md|drbd|bcache|zd)\d")
_PARTITION: Final = re.compile(r"^(?P<disk>.*\d)p\d+$|^(?P<letters>[a-z]+)\d+$")

# A way to an NVMe drive that can be reached over several: nvme0c1n1 is one to nvme0n1.
_PATH: Final = re.compile(r"^(?P<drive>nvme\d+)c\d+(?P<part>n\d+)$")


@collector(emits=("block_device_sample",), every_seconds=10)
def blockdevice(procfs: Path = Path("/proc")) -> Emitted:
    """Yield one row per whole device.

    Partitions, and devices stacked on others (dm, md), are left out: their requests are counted below them. So is an
    NVMe drive whose paths are listed: before Linux 6.3 they alone count, since then both do.

    Raises: SourceMissing: there is no /proc/diskstats. SourceError: a device's line has something else than numbers;
    it costs no other device its row. Nulls: what was counted below zero.
    Source: Documentation/admin-guide/iostats.rst; times are milliseconds in 32 bits and wrap.
    """
    path = procfs / "diskstats"
    lines = [line.split() for line in required(path, "blockdevice").splitlines()]
    found = {words[2]: words[3:] for words in lines if len(words) >= _LEAST_FIELDS}
    above = {f"{match['drive']}{match['part']}" for match in map(_PATH.match, found) if match}
    broken: SourceError | None = None
    for name, words in found.items():
        if _SKIPPED.match(name) or name in above or _disk_of(name) in found:
            continue
        try:
            values = counts(words, f"{path}: {name}")
        except SourceError as error:
            broken = broken or error
            continue
        yield "block_device_sample", _row(name, values)
    if broken is not None:
        raise broken


def _disk_of(name: str) -> str:
    """Return the disk that a name would be a partition of, or ''."""
    match = _PARTITION.match(name)
    return (match["disk"] or match["letters"]) if match else ""


def _row(name: str, values: Sequence[int | None]) -> Row:
    reads, _, read, reading, writes, _, written, writing, in_flight, busy, *_ = values
    return {
        "device": name,
        "read_count_total": reads,
        "read_bytes_total": _bytes(read),
        "read_seconds_total": _seconds(reading),
        "write_count_total": writes,
        "written_bytes_total": _bytes(written),
        "write_seconds_total": _seconds(writing),
        "in_flight_count": in_flight,
        "io_seconds_total": _seconds(busy),
    }


def _bytes(sectors: int | None) -> int | None:
    return None if sectors is None or sectors > _MOST_SECTORS else sectors * _SECTOR_BYTES


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / _MILLISECONDS
