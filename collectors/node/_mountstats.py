"""What an NFS client moved, by mount; read from the kernel's counters, never from the mount itself."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from collectors.node._files import as_count, text, unescaped
from collectors.node._host_view import of_node, rooted
from ledger.registry import Row

_MOUNT: Final = re.compile(
    r"^device (?P<device>\S+) mounted on (?P<point>\S+) with fstype nfs\d?(?: statvers=(?P<layout>\S+))?\s*$"
)
_OPERATION: Final = re.compile(r"^[A-Z][A-Z0-9_]*$")
_MILLISECONDS: Final = 1000

_SERVER_READ, _SERVER_WRITTEN = 4, 5
_OPERATIONS, _ROUND_TRIP = 0, 6
_MOUNT_ID_FIELDS: Final = 5

Numbers = list[int | None]


@dataclass
class Export:
    """One NFS mount's counters; `layout` is the version that the kernel gives to their format."""

    device: str
    mount_point: str
    layout: str
    options: dict[str, str] = field(default_factory=dict)
    age_seconds: int | None = None
    bytes: Numbers = field(default_factory=list)
    operations: dict[str, Numbers] = field(default_factory=dict)


def exports(procfs: Path) -> list[Export]:
    """Return each NFS mount whose counters are its own.

    Mounts of one file system share a superblock and show the same counters: one of them stands for all, the one
    with the shortest name.

    Source: net/sunrpc/stats.c, fs/nfs/super.c; proc(5) mountinfo for the superblock.
    """
    superblocks = _superblocks(procfs / "self/mountinfo")
    root = rooted(procfs, superblocks)
    found: dict[str, Export] = {}
    for export in _parsed(text(procfs / "self/mountstats") or ""):
        identity = superblocks.get(export.mount_point, f"{export.device} {export.age_seconds}")
        place = of_node(root, export.mount_point)
        if place is None:
            continue
        export.mount_point = place
        known = found.get(identity)
        if known is None or _rank(export) < _rank(known):
            found[identity] = export
    return sorted(found.values(), key=lambda export: export.mount_point)


def traffic(procfs: Path) -> dict[str, Row]:
    """Return bytes to and from the server and read times by mount point; nothing where there is no NFS.

    Round trips are used, not queue times: those wrap below zero in some kernels.
    """
    found: dict[str, Row] = {}
    for export in exports(procfs):
        row: dict[str, object] = {}
        if len(export.bytes) > _SERVER_WRITTEN:
            row["read_bytes_total"] = export.bytes[_SERVER_READ]
            row["written_bytes_total"] = export.bytes[_SERVER_WRITTEN]
        read = export.operations.get("READ", [])
        if len(read) > _ROUND_TRIP:
            row["read_count_total"] = read[_OPERATIONS]
            row["read_seconds_total"] = seconds(read[_ROUND_TRIP])
        found[export.mount_point] = row
    return found


def seconds(milliseconds: int | None) -> float | None:
    """Return a time of these files in seconds."""
    return None if milliseconds is None else milliseconds / _MILLISECONDS


def _rank(export: Export) -> tuple[int, int]:
    return len(export.device), len(export.mount_point)


def _parsed(content: str) -> Iterator[Export]:
    """Yield each NFS mount of the file; blanks and tabs differ between kernels."""
    export: Export | None = None
    for line in content.splitlines():
        if line.startswith(("device ", "no device ")):
            if export is not None:
                yield export
            match = _MOUNT.match(line)
            export = (
                Export(unescaped(match["device"]), unescaped(match["point"]), match["layout"] or "1.0")
                if match
                else None
            )
            continue
        name, separator, rest = line.strip().partition(":")
        if export is not None and separator:
            _take(export, name, rest)
    if export is not None:
        yield export


def _take(export: Export, name: str, rest: str) -> None:
    """Keep one line of a mount."""
    if name == "opts":
        pairs = (word.strip().partition("=") for word in rest.split(","))
        export.options = {key: value for key, _, value in pairs}
    elif name == "age":
        export.age_seconds = as_count(rest.strip())
    elif name == "bytes":
        export.bytes = [as_count(word) for word in rest.split()]
    elif _OPERATION.match(name) and not rest.strip().startswith("iostats"):
        export.operations[name] = [as_count(word) for word in rest.split()]


def _superblocks(path: Path) -> dict[str, str]:
    """Return the device number of each mount's superblock; nothing where the kernel does not list it."""
    found = {}
    for line in (text(path) or "").splitlines():
        words = line.split(" ")
        if len(words) >= _MOUNT_ID_FIELDS:
            found[unescaped(words[4])] = words[2]
    return found
