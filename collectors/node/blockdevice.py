"""Block devices of a node."""

import re
from pathlib import Path
from typing import Final

from collectors.node._files import integers, required
from ledger.registry import Emitted, Row, collector

_SECTOR_BYTES: Final = 512  # in this file always, whatever the device's own sector is
_MILLISECONDS: Final = 1000
_IN_FLIGHT: Final = 8
_LEAST_FIELDS: Final = 14  # three names and eleven counters; newer kernels append four and two more

# Memory, optical and floppy drives, and devices stacked on others, whose requests the lower device counts again.
_SKIPPED: Final = re.compile(r"^(loop|ram|zram|sr|fd|dm-|md|drbd|bcache|zd)\d")
_PARTITION: Final = re.compile(r"^(?P<disk>.*\d)p\d+$|^(?P<letters>[a-z]+)\d+$")


@collector(emits=("block_device_sample",), every_seconds=10)
def blockdevice(procfs: Path = Path("/proc")) -> Emitted:
    """Yield one row per whole device.

    Partitions, and devices stacked on others (dm, md), are left out: their requests are counted below them.

    Raises: SourceMissing: there is no /proc/diskstats.
    Source: Documentation/admin-guide/iostats.rst; times are milliseconds in 32 bits and wrap.
    """
    path = procfs / "diskstats"
    lines = [line.split() for line in required(path, "blockdevice").splitlines()]
    found = {words[2]: words[3:] for words in lines if len(words) >= _LEAST_FIELDS}
    for name, words in found.items():
        if not _SKIPPED.match(name) and _disk_of(name) not in found:
            yield "block_device_sample", _row(name, integers(words, str(path)))


def _disk_of(name: str) -> str:
    """Return the disk that a name would be a partition of, or ''."""
    match = _PARTITION.match(name)
    return (match["disk"] or match["letters"]) if match else ""


def _row(name: str, values: list[int]) -> Row:
    return {
        "device": name,
        "read_count_total": values[0],
        "read_bytes_total": values[2] * _SECTOR_BYTES,
        "read_seconds_total": values[3] / _MILLISECONDS,
        "write_count_total": values[4],
        "written_bytes_total": values[6] * _SECTOR_BYTES,
        "write_seconds_total": values[7] / _MILLISECONDS,
        "in_flight_count": values[_IN_FLIGHT],
        "io_seconds_total": values[9] / _MILLISECONDS,
    }
