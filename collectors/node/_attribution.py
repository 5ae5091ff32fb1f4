"""Whose process it is: the job from its cgroup, the owner and the state from its status."""

import functools
import pwd
import re
from pathlib import Path
from typing import Final, NamedTuple

from collectors.node._files import text

_SLURM_JOB: Final = re.compile(r"slurm[^:]*?/job_(\d+)(?:/|$)")
# Since Slurm 26.05 the folder carries the job's SLUID; the scheduler's records translate it.
_SLURM_SLUID: Final = re.compile(r"slurm[^:]*?/(s[0-9A-Z]{5,})(?:/|$)")
_POD: Final = re.compile(r"kubepods[^:]*?pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})")

# A cgroup is made by the scheduler and cannot be left by the user; a stale one can outlive its job.
_CGROUP_CONFIDENCE: Final = 0.9

# In the first PID namespace of a machine; elsewhere the process ids of the driver mean nothing.
_HOST_NAMESPACE: Final = "pid:[4026531836]"


class Owner(NamedTuple):
    """What /proc says about one process."""

    process_name: str | None
    process_state: str
    user: str | None
    job_id: str
    attribution_source: str
    attribution_confidence_ratio: float | None


def sees_processes(procfs: Path) -> bool:
    """Tell whether process ids of the driver can be looked up here: not in a container of its own."""
    try:
        return (procfs / "self/ns/pid").readlink().name == _HOST_NAMESPACE
    except OSError:
        return True


def owner(procfs: Path, pid: int) -> Owner:
    """Return who a process belongs to; `dead` if the kernel does not know it any more."""
    status = text(procfs / str(pid) / "status")
    if status is None:
        return Owner(None, "dead", None, "", "none", None)
    fields = dict(line.partition(":")[::2] for line in status.splitlines())
    uid = fields.get("Uid", "").split()
    job = job_of(text(procfs / str(pid) / "cgroup") or "")
    return Owner(
        process_name=fields.get("Name", "").strip() or None,
        process_state=fields.get("State", "").strip()[:1] or "dead",
        user=_user_name(int(uid[0])) if uid else None,
        job_id=job,
        attribution_source="cgroup" if job else "none",
        attribution_confidence_ratio=_CGROUP_CONFIDENCE if job else None,
    )


def job_of(cgroup: str) -> str:
    """Return the job id, SLUID or pod UID in the text of /proc/PID/cgroup; '' if there is none."""
    for line in cgroup.splitlines():
        for pattern in (_SLURM_JOB, _SLURM_SLUID, _POD):
            match = pattern.search(line)
            if match:
                return match[1].replace("_", "-")
    return ""


@functools.lru_cache(maxsize=4096)
def _user_name(uid: int) -> str:
    """Return a user's name, or the number where this node does not know it."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
