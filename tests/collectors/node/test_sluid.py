"""Slurm 26.05 names the cgroup of a job by its SLUID: what the id behind it is told by, and what is kept without it."""

import json
from pathlib import Path

import pytest

from collectors.fake_nvml import Gpu, Phase, Process
from collectors.node._attribution import Attribution
from collectors.node._sluid import Sluids, is_sluid
from collectors.node.job_cgroup import job_cgroup
from collectors.node.training import TrainingSettings, training
from ledger.registry import Row
from tests.collectors.node.gpu_node import Node as GpuNode

SLUID = "s5K1KKYAYG5D00"
PATH = f"system.slice/slurmstepd.scope/{SLUID}"
PID = 4242


class Node:
    """A node of Slurm 26.05: a job of two steps, each with its daemon, and a process of the job."""

    def __init__(self, root: Path, title: str = "slurmstepd: [42.{step}]") -> None:
        self.root = root
        self.cgroups = root / "sys/fs/cgroup"
        for pid, step in ((100, "batch"), (200, "0")):
            folder = self.cgroups / PATH / f"step_{step}/slurm"
            folder.mkdir(parents=True)
            (folder / "cgroup.procs").write_text(f"7\n{pid}\n")
            (root / "proc" / str(pid)).mkdir(parents=True)
            (root / "proc" / str(pid) / "cmdline").write_text(title.format(step=step) + "\0")
        (self.cgroups / "cgroup.controllers").write_text("cpu memory\n")
        (self.cgroups / PATH / "cpu.stat").write_text("usage_usec 5000000\n")
        self.start(f"0::/{PATH}/step_0/user/task_0")

    def start(self, cgroup: str, job: str = "41") -> None:
        """Start a process of a cgroup, whose environment says another job."""
        folder = self.root / "proc" / str(PID)
        folder.mkdir(exist_ok=True)
        (folder / "status").write_text("Name:\ttrain\nState:\tR (running)\nUid:\t54321\t54321\n")
        (folder / "cgroup").write_text(f"{cgroup}\n")
        (folder / "stat").write_text(f"{PID} (python) S {' '.join(['1'] * 18)} 900 0 0\n")
        (folder / "environ").write_bytes(f"SLURM_JOB_ID={job}\0".encode())

    def said(self, variables: tuple[str, ...] = ("SLURM_JOB_ID",)) -> tuple[object, ...]:
        """Return whose the process is, where that is known from, and how sure it is."""
        found = Attribution(self.root / "proc", self.root / "map", variables).owner(PID, 0)
        return found.job_id, found.attribution_source, found.attribution_confidence_ratio

    def trained(self) -> Row:
        """Return the row of a training that claims to be job 41."""
        folder = self.root / "progress"
        folder.mkdir(exist_ok=True)
        counts = {"step_count": 5, "sample_count": 40, "token_count": 4096}
        told = {"v": 1, "job_id": "41", "run": "", "model": "", "rank": 0, "pid": PID, "start_ticks": 900, **counts}
        (folder / "a.json").write_text(json.dumps({**told, "started_at": 1_800_000_000}))
        one_round = training.open(procfs=self.root / "proc", settings=TrainingSettings(folder=folder))
        return next(row for _, row in one_round())


@pytest.mark.parametrize("title", ["slurmstepd: [42.{step}]", "slurmstepd: [42.{step}+1]", "slurmstepd: [42]"])
def test_the_titles_of_its_steps_tell_the_job(tmp_path: Path, title: str) -> None:
    node = Node(tmp_path, title)
    assert node.said() == ("42", "cgroup", 0.9)
    rows = [row for _, row in job_cgroup.open(sysfs=tmp_path / "sys", procfs=tmp_path / "proc")()]
    assert [(row["job_id"], row["cpu_seconds_total"]) for row in rows] == [("42", 5.0)]
    assert (node.trained()["job_id"], node.trained()["is_job_seen"]) == ("42", True)


@pytest.mark.parametrize("above", ["/../../", "/../../system.slice/", "/../"])
def test_it_is_found_from_inside_of_a_container_too(tmp_path: Path, above: str) -> None:
    node = Node(tmp_path)
    node.start(f"0::{above}slurmstepd.scope/{SLUID}/step_0/user/task_0")
    assert node.said() == ("42", "cgroup", 0.9)


@pytest.mark.parametrize("title", ["", "slurmstepd infinity", "slurmstepd: [x.0]", "python slurmstepd: [42.0]"])
def test_where_no_title_tells_the_map_or_the_environment_does_and_else_the_sluid_stays(
    tmp_path: Path, title: str
) -> None:
    node = Node(tmp_path, title)
    assert node.said() == ("41", "environ", 0.5)
    assert node.said(()) == (SLUID, "cgroup", 0.9)
    assert (node.trained()["job_id"], node.trained()["is_job_seen"]) == ("41", False)
    (tmp_path / "map").mkdir()
    (tmp_path / "map/0").write_text("42 54321\n")
    assert node.said(()) == ("42", "prolog", 0.7)
    rows = [row for _, row in job_cgroup.open(sysfs=tmp_path / "sys", procfs=tmp_path / "proc")()]
    assert [row["job_id"] for row in rows] == [SLUID]


def test_what_was_told_once_is_known_while_the_last_step_ends(tmp_path: Path) -> None:
    node = Node(tmp_path)
    sluids = Sluids(tmp_path / "proc", node.cgroups)
    cgroup = (tmp_path / "proc" / str(PID) / "cgroup").read_text()
    assert sluids.job(SLUID, cgroup) == "42"
    for each in (tmp_path / "proc").glob("*/cmdline"):
        each.unlink()
    assert sluids.job(SLUID, cgroup) == "42"
    assert Sluids(tmp_path / "proc", node.cgroups).job(SLUID, cgroup) == SLUID


def test_a_node_of_many_short_jobs_goes_on_to_remember_the_newest(tmp_path: Path) -> None:
    names = [f"s{number:09d}" for number in range(4097)]
    (tmp_path / "map").mkdir()
    for number, name in enumerate(names):
        (tmp_path / "map" / name).write_text(f"{number}\n")
    sluids = Sluids(tmp_path / "proc", tmp_path, tmp_path / "map")
    assert [sluids.of(tmp_path / name) for name in names] == [str(number) for number in range(4097)]
    (tmp_path / "map" / names[-1]).unlink()
    assert sluids.of(tmp_path / names[-1]) == "4096"


def test_the_usage_of_a_job_whose_last_step_ends_stays_that_of_the_job(tmp_path: Path) -> None:
    Node(tmp_path)
    one_round = job_cgroup.open(sysfs=tmp_path / "sys", procfs=tmp_path / "proc")
    assert [row["job_id"] for _, row in one_round()] == ["42"]
    for each in (tmp_path / "proc").glob("*/cmdline"):
        each.unlink()
    assert [row["job_id"] for _, row in one_round()] == ["42"]


@pytest.mark.parametrize("name", ["42", "", "system", "sshd", "0b7f3a52-1111-4222-8333-444455556666"])
def test_other_names_are_left_as_they_are(tmp_path: Path, name: str) -> None:
    assert not is_sluid(name)
    assert Sluids(tmp_path, tmp_path).job(name, f"0::/{PATH}/step_0") == name


def test_where_proc_hides_the_titles_the_prologs_map_tells_the_job(tmp_path: Path) -> None:
    node = Node(tmp_path, "")
    for each in (tmp_path / "proc").glob("*00/cmdline"):
        each.unlink()
    (tmp_path / "map").mkdir()
    (tmp_path / "map" / SLUID).write_text("42 54321\n")
    assert node.said() == ("42", "cgroup", 0.9)
    (tmp_path / "map" / SLUID).write_text("$(reboot)\n")
    assert node.said(()) == (SLUID, "cgroup", 0.9)
    (tmp_path / "run/clusterledger/job_map").mkdir(parents=True)
    (tmp_path / "run/clusterledger/job_map" / SLUID).write_text("42 54321\n")
    rows = [row for _, row in job_cgroup.open(sysfs=tmp_path / "sys", procfs=tmp_path / "proc")()]
    assert [row["job_id"] for row in rows] == ["42"]
    assert node.trained()["job_id"] == "42"


def test_a_device_whose_processes_have_a_sluid_alone_is_used_by_nobody_knows_whom(tmp_path: Path) -> None:
    """To the ledger the SLUID would be a job that no scheduler knows, and its processes orphans."""
    Node(tmp_path, "")
    (tmp_path / "proc" / str(PID) / "environ").write_bytes(b"")
    gpus = (Gpu("GPU-a", phases=(Phase(processes=(Process(PID), Process(7))),)),)
    tables = GpuNode(tmp_path / "proc", gpus, root=tmp_path).round()
    (sample,) = tables["gpu_sample"]
    assert sample["process_count"] == 2
    assert {"process_job_ids", "jobless_process_count"}.isdisjoint(sample)
    assert {row["job_id"] for row in tables["gpu_process_sample"]} == {SLUID, ""}
