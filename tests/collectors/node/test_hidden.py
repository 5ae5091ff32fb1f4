"""A node whose /proc hides the processes of others (hidepid): what is known of them, and what is not made up."""

import os
from pathlib import Path

import pytest

from collectors.fake_nvml import Gpu, Phase, Process, Slice
from tests.collectors.node.gpu_node import Node

SCOPE = "sys/fs/cgroup/system.slice/slurmstepd.scope"
OPTIONS = ("hidepid=1", "hidepid=2", "hidepid=invisible", "hidepid=noaccess", "gid=20,hidepid=ptraceable")


def hide(root: Path, options: str = "hidepid=invisible") -> Path:
    """Mount a /proc that shows no process but the agent's own."""
    (root / "proc/self/ns").mkdir(parents=True)
    (root / "proc/self/ns/pid").symlink_to("pid:[4026531836]")
    (root / "proc/self/mountinfo").write_text(
        "22 1 8:1 / / rw - ext4 /dev/sda rw\n"
        f"23 22 0:20 / /proc rw,relatime shared:5 - proc proc rw,{options}\n"
        "24 22 0:21 / /x rw - tmpfs hidepid=2 rw\n"
    )
    (root / "sys/fs/cgroup").mkdir(parents=True)
    (root / "sys/fs/cgroup/cgroup.controllers").write_text("cpu memory\n")
    return root / "proc"


def run(root: Path, folder: str, *pids: int) -> None:
    """Put processes into a cgroup."""
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))


def gpu(*pids: int) -> Gpu:
    return Gpu("GPU-a", phases=(Phase(processes=tuple(Process(pid, kernel_ratio=0.5) for pid in pids)),))


def noted(root: Path, name: str, *lines: str) -> None:
    (root / "run/clusterledger/job_map").mkdir(parents=True, exist_ok=True)
    (root / "run/clusterledger/job_map" / name).write_text("".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize("options", OPTIONS)
def test_the_job_is_that_of_the_cgroup_that_lists_the_process(tmp_path: Path, options: str) -> None:
    procfs = hide(tmp_path, options)
    run(tmp_path, f"{SCOPE}/job_42/step_0/user/task_0", 4242, 4243)
    run(tmp_path, f"{SCOPE}/job_43/step_batch/slurm", 4343)
    tables = Node(procfs, (gpu(4242, 4343, 9),), root=tmp_path).round()
    (sample,) = tables["gpu_sample"]
    assert (sample["process_count"], sample["process_job_ids"], sample["jobless_process_count"]) == (3, "42,43", 1)
    rows = {row["pid_code"]: row for row in tables["gpu_process_sample"]}
    assert (rows[4242]["job_id"], rows[4242]["attribution_source"]) == ("42", "cgroup")
    assert rows[4242]["attribution_confidence_ratio"] == 0.9
    assert rows[4242]["process_state"] is None, "nobody says whether it runs; it is not dead"
    assert rows[4242]["kernel_active_ratio"] == 0.5
    assert (rows[9]["job_id"], rows[9]["process_state"]) == ("", None)


def test_the_older_cgroups_list_them_too(tmp_path: Path) -> None:
    procfs = hide(tmp_path)
    (tmp_path / "sys/fs/cgroup/cgroup.controllers").unlink()
    run(tmp_path, "sys/fs/cgroup/memory/slurm/uid_1/job_42/step_0/task_0", 4242)
    assert Node(procfs, (gpu(4242),), root=tmp_path).samples()["GPU-a"]["process_job_ids"] == "42"


def test_the_prologs_map_tells_the_job_of_a_sluid_and_of_a_process_outside_of_cgroups(tmp_path: Path) -> None:
    procfs = hide(tmp_path)
    run(tmp_path, f"{SCOPE}/s5K1KKYAYG5D00/step_0/user/task_0", 4242)
    noted(tmp_path, "s5K1KKYAYG5D00", "42 54321")
    noted(tmp_path, "0", "42 54321")
    rows = {row["pid_code"]: row for row in Node(procfs, (gpu(4242, 9),), root=tmp_path).round()["gpu_process_sample"]}
    assert (rows[4242]["job_id"], rows[4242]["attribution_confidence_ratio"]) == ("42", 0.99)
    assert (rows[9]["job_id"], rows[9]["attribution_source"]) == ("42", "prolog")
    assert rows[9]["attribution_confidence_ratio"] == 0.5, "whose process it is, nobody says"
    noted(tmp_path, "0", "42 54321", "43 1000")
    rows = {row["pid_code"]: row for row in Node(procfs, (gpu(4242, 9),), root=tmp_path).round()["gpu_process_sample"]}
    assert (rows[9]["job_id"], rows[9]["attribution_source"]) == ("", "none")


def test_without_a_schedulers_cgroups_processes_are_invisible_and_not_jobless(tmp_path: Path) -> None:
    sample = Node(hide(tmp_path), (gpu(4242),), root=tmp_path).samples()["GPU-a"]
    assert {"process_count", "process_job_ids", "jobless_process_count"}.isdisjoint(sample)


@pytest.mark.parametrize("options", ["hidepid=0", "hidepid=off", "nodev"])
def test_a_proc_that_hides_nothing_says_who_is_dead(tmp_path: Path, options: str) -> None:
    procfs = hide(tmp_path, options)
    run(tmp_path, f"{SCOPE}/job_42/step_0", 4242)
    (row,) = Node(procfs, (gpu(4242),), root=tmp_path).round()["gpu_process_sample"]
    assert (row["process_state"], row["job_id"]) == ("dead", "")


def test_an_agent_for_whom_the_option_does_not_hold_sees_as_before(tmp_path: Path) -> None:
    procfs = hide(tmp_path)
    run(tmp_path, f"{SCOPE}/job_42/step_0", 4242)
    (procfs / "1").mkdir()
    (procfs / "1/status").write_text("Name:\tsystemd\n")
    (row,) = Node(procfs, (gpu(4242),), root=tmp_path).round()["gpu_process_sample"]
    assert row["process_state"] == "dead", "it left its cgroup's list a moment later"


def test_a_process_that_comes_is_found_in_its_round(tmp_path: Path) -> None:
    procfs = hide(tmp_path)
    run(tmp_path, f"{SCOPE}/job_42/step_0", 1)
    slices = (Slice("MIG-1", 1, phases=gpu(4242).phases),)
    node = Node(procfs, (gpu(4242), Gpu("GPU-b", slices=slices)), root=tmp_path)
    assert node.samples()["GPU-a"]["process_job_ids"] == ""
    run(tmp_path, f"{SCOPE}/job_42/step_0", 1, 4242)
    samples = node.samples()
    assert (samples["GPU-a"]["process_job_ids"], samples["MIG-1"]["process_job_ids"]) == ("42", "42")


def test_a_folder_that_cannot_be_listed_costs_no_process_its_job(tmp_path: Path) -> None:
    """A step that ends while its folders are listed; here they lie too deep for a path."""
    procfs = hide(tmp_path)
    run(tmp_path, f"{SCOPE}/job_42/step_0", 4242)
    folder = os.open(tmp_path / SCOPE / "job_42", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=folder)
        below = os.open("x" * 250, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    os.close(folder)
    tables = Node(procfs, (gpu(4242),), root=tmp_path).round()
    assert [row["job_id"] for row in tables["gpu_process_sample"]] == ["42"]
