"""Where the cgroups of jobs and pods lie, and the small files in them."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from collectors.node._cgroup_names import job_of
from collectors.node._files import as_count, text

_DEPTH: Final = 3  # kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice, slurm/uid_1/job_2

_NUMBER: Final = re.compile(r"[0-9]+:[0-9]+")

# More than any node has: a memory counter of the kernel that fell below zero shows as a large number.
_MOST_BYTES: Final = 2**53

Numbers = dict[str, int]


class Group(NamedTuple):
    """One job's cgroup."""

    job_id: str
    scheduler: str
    path: Path


def groups(root: Path) -> Iterator[Group]:
    """Yield the cgroups of jobs and pods below one hierarchy; their steps and containers are counted in them."""
    for folder, scheduler in _parents(root):
        yield from _below(root, folder, scheduler, _DEPTH)


def has_scheduler(root: Path) -> bool:
    """Tell whether a scheduler keeps its jobs here, even if none runs now."""
    return any(True for _ in _parents(root))


def _parents(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folders of schedulers: several daemons of Slurm on one node have a folder each."""
    for folder in _folders(root):
        if folder.name.startswith("slurm"):
            yield folder, "slurm"
        elif folder.name.startswith("kubepods"):
            yield folder, "kubernetes"
        elif folder.name.endswith(".slice"):
            # system.slice, unless CgroupSlice in cgroup.conf names another one.
            yield from ((scope, "slurm") for scope in _folders(folder) if scope.name.endswith("slurmstepd.scope"))


def _below(root: Path, folder: Path, scheduler: str, depth: int) -> Iterator[Group]:
    for child in _folders(folder):
        job_id = job_of(f"/{child.relative_to(root)}")
        if job_id:
            yield Group(job_id, scheduler, child)
        elif depth > 1:
            yield from _below(root, child, scheduler, depth - 1)


def _folders(path: Path) -> list[Path]:
    """Return the folders in a cgroup; its many files are passed over without a look at each."""
    try:
        with os.scandir(path) as entries:
            return sorted(path / entry.name for entry in entries if entry.is_dir())
    except OSError:
        return []


def table(path: Path) -> Numbers:
    """Return a file of names and numbers; nothing where it is absent, or its job ended meanwhile."""
    found = {}
    for line in (text(path) or "").splitlines():
        name, _, rest = line.partition(" ")
        value = as_count(rest)
        if value is not None:
            found[name] = value
    return found


class Devices:
    """Tells devices whose requests are counted again on the devices below them."""

    def __init__(self, sysfs: Path) -> None:
        self._root = sysfs / "dev/block"
        self._known: dict[str, bool] = {}

    def is_stacked(self, number: str) -> bool:
        """Tell whether a device, such as 253:0, is a mapper's, an array or a loop."""
        if not _NUMBER.fullmatch(number):
            return False
        if number not in self._known:
            device = self._root / number
            self._known[number] = bool(_folders(device / "slaves")) or (device / "loop").is_dir()
        return self._known[number]


def held(*parts: int | None, without: int | None = 0) -> int | None:
    """Return memory from its parts; null where one is not known, or where they contradict each other.

    The kernel reads the parts one after the other: what belongs to a whole can be more than it for a moment.
    """
    known = [part for part in parts if part is not None]
    if without is None or len(known) < len(parts):
        return None
    found = sum(known) - without
    return found if 0 <= found < _MOST_BYTES else None


def total(values: list[int | None]) -> int | None:
    """Return a sum over devices; null where one of them is not known."""
    known = [value for value in values if value is not None]
    return as_count(str(sum(known))) if len(known) == len(values) else None
