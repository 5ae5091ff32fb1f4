"""What each job or pod uses of a node, from its cgroup."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from collectors.node import _cgroup_v1, _cgroup_v2
from collectors.node._cgroup import Devices, Group, groups, has_scheduler
from collectors.node._files import listed
from collectors.node._sluid import JOB_MAP, Sluids
from collectors.node._stalls import all_stalls
from ledger.errors import SourceMissing
from ledger.registry import Emitted, Row, collector

_RESOURCES: Final = ("cpu", "io", "memory")


@collector(emits=("job_cgroup_sample", "pressure_sample"), every_seconds=30)
def job_cgroup(sysfs: Path = Path("/sys"), procfs: Path = Path("/proc")) -> Callable[[], Emitted]:
    """Open a round that yields one row per job of Slurm and pod of Kubernetes, and one per resource that it waited for.

    A job that ends while it is read has no row. Requests to a device that stands on another (dm, md, loop) are
    counted on the lower one alone. Cached files are part of the memory that is charged to a job, and shared memory
    is part of the cache there: both are set apart. A job that Slurm names by its SLUID has its id where the titles of
    its steps, or a prolog, tell it.

    Raises: SourceMissing: no scheduler keeps cgroups here. SourceError: a job's pressure is in another format.
    Nulls: what a controller that is off would measure; the limit of a job without one; the peak before Linux 5.19; with
    the older cgroups all pressure.
    Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1; Slurm's cgroup.conf; the kubelet's QoS classes.
    """
    root = sysfs / "fs/cgroup"
    sluids = Sluids(procfs, root, procfs.parent / JOB_MAP)

    def one_round() -> Emitted:
        devices, trees = Devices(sysfs), _trees(root)
        if not any(has_scheduler(tree) for tree in trees.values()):
            raise SourceMissing(
                f"{root} has no cgroup of Slurm or Kubernetes",
                hint="set collectors.job_cgroup.enabled = false on this node",
            )
        if "" in trees:
            here = _each_once(trees[""], sluids).values()
            for group in here:
                yield from _rows(group, "v2", _cgroup_v2.usage(group.path, devices))
            yield from (("pressure_sample", row) for row in all_stalls(_pressures(here)))
            return
        found = {name: _each_once(tree, sluids) for name, tree in trees.items()}
        for group in {job: group for each in found.values() for job, group in each.items()}.values():
            paths = {name: each[group.job_id].path for name, each in found.items() if group.job_id in each}
            yield from _rows(group, "v1", _cgroup_v1.usage(paths, devices))

    return one_round


def _trees(root: Path) -> dict[str, Path]:
    """Return the hierarchies by controller; one without a name is the unified one."""
    if (root / "cgroup.controllers").is_file():
        return {"": root}
    return {
        controller: folder
        for folder in listed(root)
        for controller in folder.name.split(",")
        if controller in _cgroup_v1.CONTROLLERS and folder.is_dir()
    }


def _each_once(tree: Path, sluids: Sluids) -> dict[str, Group]:
    found: dict[str, Group] = {}
    for group in groups(tree):
        job_id = sluids.job_in(group)
        found.setdefault(job_id, group._replace(job_id=job_id))
    return found


def _rows(group: Group, hierarchy: str, usage: Row) -> Iterator[tuple[str, Row]]:
    """Yield a job's row, unless it ended meanwhile and nothing of it could be read."""
    if any(value is not None for value in usage.values()):
        place = {"job_id": group.job_id, "scheduler": group.scheduler, "hierarchy": hierarchy}
        yield "job_cgroup_sample", {**place, **usage}


def _pressures(here: Iterable[Group]) -> Iterator[tuple[Row, Path]]:
    """Yield the files that say how long each job waited."""
    for group in here:
        for resource in _RESOURCES:
            yield {"resource": resource, "job_id": group.job_id}, group.path / f"{resource}.pressure"
