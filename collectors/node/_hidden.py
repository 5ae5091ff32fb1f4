"""Processes that /proc hides from the agent (its mount option hidepid): the cgroups of jobs still list theirs.

Any user may read `cgroup.procs`, and nobody but the scheduler puts a process there.

Source: proc(5), hidepid; Documentation/admin-guide/cgroup-v2.rst, cgroup.procs.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from collectors.node._cgroup import Group, groups
from collectors.node._files import listed, text

_HIDES: Final = re.compile(r" - proc \S+ \S*\bhidepid=(?!0\b|off\b)")


class Hidden:
    """Whether /proc hides the processes of others, and in which job's cgroup each of them is."""

    def __init__(self, procfs: Path, cgroups: Path) -> None:
        self._procfs = procfs
        self._cgroups = cgroups
        self._listed: dict[int, Group] | None = None
        self.is_so = False

    def look(self) -> None:
        """Begin a round: see whether /proc hides processes; the option need not hold for the agent, nor its group.

        All processes of a round are looked up in one list of them.
        """
        self._listed = None
        is_first_unseen = text(self._procfs / "1/status") is None
        self.is_so = is_first_unseen and _HIDES.search(text(self._procfs / "self/mountinfo") or "") is not None

    def has_jobs(self) -> bool:
        """Tell whether a scheduler keeps the cgroup of a job here: else no process can be told from another."""
        return any(True for _ in self._groups())

    def group(self, pid: int) -> Group | None:
        """Return the cgroup of the job in which a process is; None where it is in none."""
        if self._listed is None:
            self._listed = dict(self._each())
        return self._listed.get(pid)

    def _each(self) -> Iterator[tuple[int, Group]]:
        for group in self._groups():
            # Folders of steps that end meanwhile are passed over.
            for folder, _, _ in os.walk(group.path):
                pids = (text(Path(folder) / "cgroup.procs") or "").split()
                yield from ((int(pid), group) for pid in pids if pid.isdecimal())

    def _groups(self) -> Iterator[Group]:
        """Yield the cgroups of jobs: in the one hierarchy, or in the first of the older ones that has some."""
        is_one = (self._cgroups / "cgroup.controllers").is_file()
        for tree in [self._cgroups] if is_one else listed(self._cgroups):
            found = list(groups(tree))
            if found:
                yield from found
                return
