"""What an operator decides about any collector of devices: how it learns whose process is on one."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from collectors._settings import CollectorSettings
from collectors.node._attribution import Attribution
from collectors.node._pod_resources import latest
from collectors.node._sluid import JOB_MAP


class DeviceSettings(CollectorSettings):
    """What tells the job of a process besides its cgroup."""

    job_map: Annotated[str, Field(description="Where the prolog notes which job got which device; empty for none")] = (
        f"/{JOB_MAP}"
    )
    job_variables: Annotated[
        tuple[str, ...],
        Field(description="Read from the environment of a process, in this order, and nothing else of it"),
    ] = ("SLURM_JOB_ID",)

    def attribution(self, procfs: Path, root: Path | None = None) -> Attribution:
        """Return how processes of this node are given to jobs.

        Where the host's /proc is mounted elsewhere, what else is read of the host is beside it, unless `root` says so.
        """
        beside = procfs.parent if root is None else root
        job_map = beside / self.job_map.lstrip("/") if self.job_map else None
        cgroups = beside / "sys/fs/cgroup"
        return Attribution(procfs, job_map, self.job_variables, latest(beside), cgroups=cgroups)


class HealthSettings(DeviceSettings):
    """The same, of devices that have a health which is read less often."""

    health_every_rounds: Annotated[int, Field(ge=1, le=360, description="Health is read every so many rounds")] = 6
