"""The job that the path of a cgroup names: schedulers make these folders, and no user can."""

import re
from typing import Final

_SLURM_JOB: Final = re.compile(r"slurm[^:]*?/job_(\d+)(?:/|$)")
# Since Slurm 26.05 the folder carries the job's SLUID: `Sluids` tells its id.
_SLURM_SLUID: Final = re.compile(r"slurm[^:]*?/(s[0-9A-Z]{5,})(?:/|$)")
_POD_UID: Final = r"pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12})"
_POD: Final = re.compile(rf"kubepods[^:]*?{_POD_UID}")
# From inside of a pod, another one's path begins where both are: what stands above it is not told.
_POD_BESIDE: Final = re.compile(rf":/(?:\.\./)+(?:[^:/]+/)?{_POD_UID}")


def job_of(cgroup: str) -> str:
    """Return the job id, SLUID or pod UID in the text of /proc/PID/cgroup; '' if there is none."""
    for line in cgroup.splitlines():
        for pattern in (_SLURM_JOB, _SLURM_SLUID, _POD, _POD_BESIDE):
            match = pattern.search(line)
            if match:
                return match[1].replace("_", "-")
    return ""
