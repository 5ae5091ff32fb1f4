"""Whose process it is: the job from its cgroup, the prolog's map, the kubelet or its environment; the owner from /proc.

The cgroup comes first: it is of the process itself. The map says which job got the device, and a line that a failed
epilog left there is a ghost. The kubelet says which pods hold the device: where that is one, its processes are that
pod's. The environment is as it was when the process began, and its owner may write it. Each answer says where it comes
from and how far it can be trusted, and nothing else of an environment is kept.
"""

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from collectors.node._cgroup_names import job_of
from collectors.node._environ import Environs
from collectors.node._files import text
from collectors.node._hidden import Hidden
from collectors.node._pod_resources import Latest
from collectors.node._sluid import Sluids, is_sluid
from collectors.node._users import Users
from ledger.registry import Row

# A cgroup is made by the scheduler and cannot be left by the user; a stale one can outlive its job.
_CGROUP_CONFIDENCE: Final = 0.9
_BOTH_CONFIDENCE: Final = 0.99
_KUBELET_CONFIDENCE: Final = 0.8
_PROLOG_CONFIDENCE: Final = 0.7
_ENVIRON_CONFIDENCE: Final = 0.5
_UNSEEN_CONFIDENCE: Final = 0.5

_JOB_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.+-]{0,63}")

# Whoever opens this anew knows them already.
_USERS: Final = Users()

# In the first PID namespace of a machine; elsewhere the process ids of the driver mean nothing.
_HOST_NAMESPACE: Final = "pid:[4026531836]"


class Owner(NamedTuple):
    """What /proc says about one process."""

    process_name: str | None
    process_state: str | None
    user: str | None
    job_id: str
    attribution_source: str
    attribution_confidence_ratio: float | None


_DEAD: Final = Owner(None, "dead", None, "", "none", None)


class Attribution:
    """How processes of this node are given to jobs.

    `job_map` is the folder in which a prolog notes which job got which device; `variables` are the only ones that are
    looked at in an environment, the first that is there wins; `pods` is what the kubelet said last; `cgroups` is where
    the host's cgroups lie, which say the job behind a SLUID.
    """

    def __init__(
        self,
        procfs: Path,
        job_map: Path | None = None,
        variables: Sequence[str] = (),
        pods: Latest | None = None,
        clock: Callable[[], float] = time.monotonic,
        cgroups: Path | None = None,
    ) -> None:
        self._procfs = procfs
        beside = cgroups or procfs.parent / "sys/fs/cgroup"
        self._sluids = Sluids(procfs, beside, job_map)
        self._hidden = Hidden(procfs, beside)
        self._environs = Environs(procfs)
        self._job_map = job_map
        self._variables = tuple(variables)
        self._pods = pods or Latest()
        self._clock = clock

    def sees_processes(self) -> bool:
        """Tell whether process ids of the driver can be looked up here: not in a container of its own.

        Where /proc hides the processes of others, the cgroups of jobs list theirs, if a scheduler keeps any.
        """
        self._hidden.look()
        try:
            is_host = (self._procfs / "self/ns/pid").readlink().name == _HOST_NAMESPACE
        except OSError:
            is_host = True
        return is_host and (not self._hidden.is_so or self._hidden.has_jobs())

    def owner(self, pid: int, index: int | None, device: str = "", uuid: str = "") -> Owner:
        """Return who a process on a device belongs to; `dead` if the kernel does not know it any more.

        The prolog knows the device by its UUID or by the scheduler's index, the kubelet by the name `device`: for some
        makers that is the UUID.
        """
        status = text(self._procfs / str(pid) / "status")
        if status is None:
            return self._unseen(pid, (uuid or device, index)) if self._hidden.is_so else _DEAD
        fields = dict(line.partition(":")[::2] for line in status.splitlines())
        uid = (fields.get("Uid", "").split() or [""])[0]
        job, source, confidence = self._job(pid, (uuid or device, index), uid, device)
        return Owner(
            process_name=fields.get("Name", "").strip() or None,
            process_state=fields.get("State", "").strip()[:1] or "dead",
            user=_USERS.name(int(uid)) if uid else None,
            job_id=job,
            attribution_source=source,
            attribution_confidence_ratio=confidence,
        )

    def _unseen(self, pid: int, names: tuple[str, int | None]) -> Owner:
        """Return the job of a process that /proc does not show; whether it still runs nobody says."""
        group = self._hidden.group(pid)
        if group is not None:
            job = self._sluids.job_in(group)
            is_mapped = job in self._mapped(names, None)
            return Owner(None, None, None, job, "cgroup", _BOTH_CONFIDENCE if is_mapped else _CGROUP_CONFIDENCE)
        mapped = self._mapped(names, None)
        found = (mapped[0], "prolog", _UNSEEN_CONFIDENCE) if len(mapped) == 1 else ("", "none", None)
        return Owner(None, None, None, *found)

    def _job(self, pid: int, names: tuple[str, int | None], uid: str, device: str) -> tuple[str, str, float | None]:
        """Return the job, where that is known from, and how sure it is; a SLUID only where nobody knows the id."""
        cgroup = text(self._procfs / str(pid) / "cgroup") or ""
        job = self._sluids.job(job_of(cgroup), cgroup)
        mapped, given = self._mapped(names, uid), self._pods.jobs(device, self._clock())
        if job and not is_sluid(job):
            return job, "cgroup", _BOTH_CONFIDENCE if job in mapped or job in given else _CGROUP_CONFIDENCE
        if len(mapped) == 1:
            return mapped[0], "prolog", _PROLOG_CONFIDENCE
        if len(given) == 1:
            return given[0], "pod_resources", _KUBELET_CONFIDENCE
        said = self._said(pid)
        if said and (not mapped or said in mapped):
            return said, "environ", _PROLOG_CONFIDENCE if mapped else _ENVIRON_CONFIDENCE
        return (job, "cgroup", _CGROUP_CONFIDENCE) if job else ("", "none", None)

    def _mapped(self, names: tuple[str, int | None], uid: str | None) -> list[str]:
        """Return the jobs of this user that got the device, by the prolog's map; a line without a user is anybody's.

        Where the user is not known, all jobs that got it.
        """
        if self._job_map is None:
            return []
        # Older drivers have slashes in the names of slices.
        files = [self._job_map / str(name).replace("/", "_") for name in names if name not in {"", None}]
        found: dict[str, None] = {}
        for line in "\n".join(text(file) or "" for file in files).splitlines():
            job, _, of = line.strip().partition(" ")
            if _JOB_ID.fullmatch(job) and (uid is None or of.strip() in {"", uid}):
                found[job] = None
        return list(found)

    def _said(self, pid: int) -> str:
        """Return the job id in the process's environment; '' where it may not be read, or says none."""
        if not self._variables:
            return ""
        entries = self._environs.entries(pid)
        for name in self._variables:
            begin = f"{name}=".encode()
            value = next((entry[len(begin) :] for entry in entries if entry.startswith(begin)), b"")
            if _JOB_ID.fullmatch(job := value.decode("utf-8", "replace")):
                return job
        return ""


def device_columns(rows: Sequence[Row]) -> Row:
    """Return a device's columns about its processes, from their rows.

    Nulls: whose they are, where one belongs to a job of which only the SLUID is known: it is no job's that the
    scheduler tells of, and the device would seem to be used by strangers.
    """
    jobs = {str(row["job_id"]) for row in rows}
    if any(is_sluid(job) for job in jobs):
        return {"process_count": len(rows)}
    return {
        "process_count": len(rows),
        "process_job_ids": ",".join(sorted(jobs - {""})),
        "jobless_process_count": sum(1 for row in rows if not row["job_id"]),
    }
