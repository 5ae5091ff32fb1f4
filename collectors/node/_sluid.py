"""The job behind a SLUID: by default Slurm 26.05 names a job's cgroup by it, and it holds no job id.

The daemon of each step lies in the job's cgroup and says in its title whose step it runs: `slurmstepd: [42.batch]`.
Any user may read both, unless /proc hides the processes of others; no user can put a process there. Where it does, the
prolog's map tells the job: a file of the SLUID's name, for Slurm tells both to its prolog.

Source: Slurm's guide to cgroup v2, its tree of processes; cgroup.conf(5), CgroupJobIdPaths; SLURM_JOB_SLUID in the
environment of a prolog, since 26.05.
"""

import re
from pathlib import Path
from typing import Final

from collectors.node._cgroup import Group
from collectors.node._files import listed, text

_SLUID: Final = re.compile(r"s[0-9A-Z]{5,}")
_PLACE: Final = re.compile(r"^\d+::/(?:\.\./)*([^:\n]*?slurm[^:/\n]*/s[0-9A-Z]{5,})(?:/|$)", re.MULTILINE)
_TITLE: Final = re.compile(r"slurmstepd: \[(\d+)[.+\]]")
_MOST_KNOWN: Final = 4096

JOB_MAP: Final = "run/clusterledger/job_map"
"""Where a prolog notes what it is told, below the root of the node, unless an operator says otherwise."""

# From inside of a container the path may begin below the folder in which both are.
_ABOVE: Final = ("", "system.slice")


def is_sluid(name: str) -> bool:
    """Tell whether the name of a job is a SLUID."""
    return _SLUID.fullmatch(name) is not None


class Sluids:
    """Which job each SLUID of this node is; what was told once is remembered."""

    def __init__(self, procfs: Path, cgroups: Path, job_map: Path | None = None) -> None:
        self._procfs = procfs
        self._cgroups = cgroups
        self._job_map = job_map
        self._known: dict[str, str] = {}

    def job(self, name: str, cgroup: str) -> str:
        """Return the id of the job that the text of a process's /proc/PID/cgroup names, or that name as it is."""
        place = _PLACE.search(cgroup) if is_sluid(name) else None
        if place is None:
            return name
        found = (self.of(self._cgroups / above / place[1]) for above in _ABOVE)
        return next(filter(None, found), name)

    def job_in(self, group: Group) -> str:
        """Return the id of the job whose cgroup it is; a SLUID that nobody explains as it is."""
        return (self.of(group.path) if is_sluid(group.job_id) else "") or group.job_id

    def of(self, folder: Path) -> str:
        """Return the id of the job whose cgroup a folder is; '' where nobody tells it."""
        found = self._known.get(folder.name) or self._told(folder) or self._mapped(folder.name)
        if found:
            if len(self._known) >= _MOST_KNOWN and folder.name not in self._known:
                self._known.clear()
            self._known[folder.name] = found
        return found

    def _told(self, folder: Path) -> str:
        """Return the job by the first title that tells it."""
        for step in listed(folder):
            content = text(step / "slurm/cgroup.procs") if step.name.startswith("step_") else None
            for pid in (content or "").split():
                title = _TITLE.match(text(self._procfs / pid / "cmdline") or "")
                if title is not None:
                    return title[1]
        return ""

    def _mapped(self, name: str) -> str:
        """Return the job that the prolog's map names; '' where it has none."""
        job = ((text(self._job_map / name) if self._job_map else None) or "").partition(" ")[0]
        return job if job.isdecimal() else ""
