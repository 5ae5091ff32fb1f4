"""What an NFS client moved, by mount point."""

import re
from pathlib import Path
from typing import Final

from collectors.node._files import as_integer, text, unescaped
from ledger.registry import Row

_MOUNT: Final = re.compile(r"^device (?P<device>\S+) mounted on (?P<point>\S+) with fstype nfs\d? ")
_MILLISECONDS: Final = 1000

# A time that was counted below zero shows as a number near 2^64.
_ABSURD: Final = 2**63

_SERVER_READ, _SERVER_WRITTEN = 4, 5
_OPERATIONS, _ROUND_TRIP = 0, 6


def traffic(path: Path) -> dict[str, Row]:
    """Return bytes to and from the server and read times of each NFS mount; nothing where there is none.

    Source: net/sunrpc/stats.c. Round trips are used, not queue times: those wrap below zero in some kernels.
    """
    found: dict[str, dict[str, object]] = {}
    row: dict[str, object] = {}
    for line in (text(path) or "").splitlines():
        match = _MOUNT.match(line)
        if line.startswith("device "):
            row = found.setdefault(unescaped(match["point"]), {}) if match else {}
            continue
        name, _, rest = line.strip().partition(":")
        values = [_plausible(word) for word in rest.split()]
        if name == "bytes" and len(values) > _SERVER_WRITTEN:
            row |= {"read_bytes_total": values[_SERVER_READ], "written_bytes_total": values[_SERVER_WRITTEN]}
        elif name == "READ" and len(values) > _ROUND_TRIP:
            milliseconds = values[_ROUND_TRIP]
            row["read_count_total"] = values[_OPERATIONS]
            row["read_seconds_total"] = None if milliseconds is None else milliseconds / _MILLISECONDS
    return dict(found)


def _plausible(word: str) -> int | None:
    value = as_integer(word)
    return None if value is None or value >= _ABSURD else value
