"""Whose process it is: where each answer comes from, how far it can be trusted, and what is never kept."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.fake_nvml import Gpu, Phase, Process, Slice
from collectors.node._attribution import Attribution, Owner
from tests.collectors.node.gpu_node import Node

SECRET = "hunter2"

Process_ = Callable[..., int]


@pytest.fixture
def process(tmp_path: Path) -> Process_:
    """Return a function that makes a process of a user, with a cgroup and an environment."""

    def make(pid: int = 4242, uid: int = 54321, cgroup: str = "0::/user.slice", **environ: str) -> int:
        folder = tmp_path / "proc" / str(pid)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "status").write_text(f"Name:\ttrain\nState:\tR (running)\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n")
        (folder / "cgroup").write_text(f"{cgroup}\n")
        entries = {"PATH": "/bin", "API_TOKEN": SECRET, **environ}
        (folder / "environ").write_bytes(b"".join(f"{name}={value}\0".encode() for name, value in entries.items()))
        return pid

    return make


def said(tmp_path: Path, pid: int, index: int = 0, names: tuple[str, ...] = ("SLURM_JOB_ID",)) -> tuple[object, ...]:
    found = Attribution(tmp_path / "proc", tmp_path / "map", names).owner(pid, index)
    return found.job_id, found.attribution_source, found.attribution_confidence_ratio


def noted(tmp_path: Path, index: int, *lines: str) -> None:
    (tmp_path / "map").mkdir(exist_ok=True)
    (tmp_path / "map" / str(index)).write_text("".join(f"{line}\n" for line in lines))


SLURM = "0::/system.slice/slurmstepd.scope/job_777/step_0"


def test_the_cgroup_comes_first_and_is_surer_where_the_map_agrees(tmp_path: Path, process: Process_) -> None:
    pid = process(cgroup=SLURM, SLURM_JOB_ID="666")
    assert said(tmp_path, pid) == ("777", "cgroup", 0.9)
    noted(tmp_path, 0, "777 54321")
    assert said(tmp_path, pid) == ("777", "cgroup", 0.99)
    noted(tmp_path, 0, "555 54321")
    assert said(tmp_path, pid) == ("777", "cgroup", 0.9), "a line that a failed epilog left is a ghost"


POD = "11111111-2222-4333-8444-555555555555"


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice/cri-1.scope",
        f"0::/../../../kubepods-besteffort.slice/kubepods-besteffort-pod{POD.replace('-', '_')}.slice/cri-1.scope",
        f"12:memory:/kubepods/pod{POD}/0123",
        f"0::/../../besteffort/pod{POD}/0123",
        f"0::/../../pod{POD}/0123",
        f"0::/../pod{POD}",
    ],
)
def test_a_pod_is_told_by_its_cgroup_also_from_inside_of_another_one(
    tmp_path: Path, process: Process_, cgroup: str
) -> None:
    assert said(tmp_path, process(cgroup=cgroup)) == (POD, "cgroup", 0.9)


@pytest.mark.parametrize("cgroup", [f"0::/user.slice/pod{POD}", f"0::/../../home/x/pod{POD}", "0::/../../podman/x"])
def test_a_folder_that_looks_like_a_pods_is_none(tmp_path: Path, process: Process_, cgroup: str) -> None:
    assert said(tmp_path, process(cgroup=cgroup)) == ("", "none", None)


def test_the_map_tells_where_there_is_no_cgroup(tmp_path: Path, process: Process_) -> None:
    noted(tmp_path, 3, "555 54321", "556 1000")
    assert said(tmp_path, process(), 3) == ("555", "prolog", 0.7)
    assert said(tmp_path, process(uid=1000), 3) == ("556", "prolog", 0.7)
    assert said(tmp_path, process(uid=2000), 3) == ("", "none", None), "another user's process is a stray one"
    assert said(tmp_path, process(), 4) == ("", "none", None)


def test_two_jobs_of_one_user_are_told_apart_by_the_environment_or_not_at_all(
    tmp_path: Path, process: Process_
) -> None:
    noted(tmp_path, 0, "555 54321", "556 54321", "556 54321")
    assert said(tmp_path, process()) == ("", "none", None)
    assert said(tmp_path, process(SLURM_JOB_ID="556")) == ("556", "environ", 0.7)
    assert said(tmp_path, process(SLURM_JOB_ID="9")) == ("", "none", None), "it did not get this device"


def test_the_environment_is_believed_least_and_may_be_left_out(tmp_path: Path, process: Process_) -> None:
    pid = process(SLURM_JOB_ID="123", PBS_JOBID="8.server")
    assert said(tmp_path, pid) == ("123", "environ", 0.5)
    assert said(tmp_path, pid, names=("PBS_JOBID", "SLURM_JOB_ID")) == ("8.server", "environ", 0.5)
    assert said(tmp_path, pid, names=()) == ("", "none", None)


def test_a_process_that_hangs_holds_no_other_up(tmp_path: Path, process: Process_) -> None:
    """The kernel lets a reader wait while the process holds its memory map; here a pipe that nobody writes to does."""
    stuck = [process(pid) for pid in (4242, 4243, 4244)]
    for pid in stuck:
        (tmp_path / f"proc/{pid}/environ").unlink()
        os.mkfifo(tmp_path / f"proc/{pid}/environ")
    sound = process(4245, SLURM_JOB_ID="123")
    of = Attribution(tmp_path / "proc", None, ("SLURM_JOB_ID",))
    jobs: list[str] = []
    asking = threading.Thread(target=lambda: jobs.extend(of.owner(pid, 0).job_id for pid in stuck * 3), daemon=True)
    asking.start()
    asking.join(60)
    try:
        assert not asking.is_alive(), "a round waits for what hangs"
        assert jobs == [""] * 9
    finally:
        for pid in stuck[:2]:
            # Whoever waits to read is let go.
            os.close(os.open(tmp_path / f"proc/{pid}/environ", os.O_RDWR))
    until = time.monotonic() + 60
    while of.owner(sound, 0).job_id != "123":
        assert time.monotonic() < until, "those that hung have ended, so that others are asked for"
        time.sleep(0.01)


@pytest.mark.parametrize("value", ["", " ", "1 2", "$(reboot)", "x" * 65, "é", "a/b", "7\n8"])
def test_what_is_no_job_id_is_none(tmp_path: Path, process: Process_, value: str) -> None:
    noted(tmp_path, 0, f"{value} 54321")
    assert said(tmp_path, process(SLURM_JOB_ID=value))[1] != "environ"


def test_nothing_but_the_job_is_kept_of_an_environment(tmp_path: Path, process: Process_) -> None:
    pid = process(SLURM_JOB_ID="123", LD_SLURM_JOB_ID="4", SLURM_JOB_ID_OLD="5")
    node = Node(tmp_path / "proc", (Gpu("GPU-a", phases=(Phase(processes=(Process(pid),)),)),), root=tmp_path)
    tables = node.round()
    assert tables["gpu_sample"][0]["process_job_ids"] == "123"
    assert SECRET not in str(tables)
    assert "/bin" not in str(tables)


NAMES = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ_", min_size=1, max_size=12)
SECRETS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40)


@given(environ=st.dictionaries(NAMES, SECRETS, max_size=8), allowed=st.lists(NAMES, max_size=3))
def test_whatever_stands_in_an_environment_only_an_allowed_job_id_is_kept(
    environ: dict[str, str], allowed: list[str]
) -> None:
    marked = {name: f"s3cret{value}" for name, value in environ.items() if name not in allowed}
    shown = {name: value for name, value in environ.items() if name in allowed}
    with TemporaryDirectory() as folder:
        of_process = Path(folder) / "7"
        of_process.mkdir()
        (of_process / "status").write_text("Name:\ttrain\nState:\tS\nUid:\t54321\n")
        lines = (f"{name}={value}\0" for name, value in (marked | shown).items())
        (of_process / "environ").write_bytes("".join(lines).encode())
        owner = Attribution(Path(folder), None, allowed).owner(7, 0)
    assert "s3cret" not in str(owner)
    assert owner.job_id in {"", *shown.values()}
    assert (owner.attribution_source == "environ") == bool(owner.job_id)
    assert owner._replace(job_id="", attribution_source="", attribution_confidence_ratio=None) == Owner(
        "train", "S", "54321", "", "", None
    )


def test_a_process_whose_files_may_not_be_read_keeps_what_is_known(tmp_path: Path, process: Process_) -> None:
    pid = process()
    (tmp_path / "proc" / str(pid) / "environ").unlink()
    (tmp_path / "proc" / str(pid) / "cgroup").unlink()
    assert said(tmp_path, pid) == ("", "none", None)
    noted(tmp_path, 0, "555")
    assert said(tmp_path, pid) == ("555", "prolog", 0.7)


def mapped(root: Path, **lines: str) -> None:
    """Write the prolog's map of a node."""
    folder = root / "run/clusterledger/job_map"
    folder.mkdir(parents=True)
    for name, line in lines.items():
        (folder / name.removeprefix("_")).write_text(f"{line}\n")


def attributed(node: Node) -> dict[object, tuple[object, object]]:
    """Return the job of the process on each device, and how it was found."""
    rows = node.round()["gpu_process_sample"]
    return {row["gpu_uuid"]: (row["job_id"], row["attribution_source"]) for row in rows}


def test_the_prologs_map_is_read_beside_the_hosts_proc_by_the_index_of_slurm(tmp_path: Path, process: Process_) -> None:
    mapped(tmp_path, _1="555 54321", lock="")
    phase = Phase(processes=(Process(process()),))
    # By their minor numbers Slurm counts them the other way round.
    gpus = (Gpu("GPU-a", minor=1, phases=(phase,)), Gpu("GPU-b", minor=0, phases=(phase,)))
    assert attributed(Node(tmp_path / "proc", gpus)) == {"GPU-a": ("555", "prolog"), "GPU-b": ("", "none")}


def test_a_slice_is_in_the_map_by_its_uuid_alone(tmp_path: Path, process: Process_) -> None:
    names = {"MIG-1": "555 54321", "GPU-a": "556 54321", "MIG-GPU-0b_1_0": "557 54321"}
    mapped(tmp_path, _0="558 54321", _1="559 54321", **names)
    phase = Phase(processes=(Process(process()),))
    slices = (
        Slice("MIG-1", 1, profile="2g.20gb", phases=(phase,)),
        Slice("MIG-2", 2, profile="1g.10gb", phases=(phase,)),
        Slice("MIG-GPU-0b/1/0", 3, profile="1g.10gb", phases=(phase,)),
    )
    gpus = (Gpu("GPU-a", phases=(phase,)), Gpu("GPU-b", slices=slices), Gpu("GPU-c", phases=(phase,)))
    assert attributed(Node(tmp_path / "proc", gpus)) == {
        "GPU-a": ("556", "prolog"),
        "GPU-c": ("", "none"),
        "MIG-1": ("555", "prolog"),
        "MIG-2": ("", "none"),
        "MIG-GPU-0b/1/0": ("557", "prolog"),
    }, "an index of a node with slices counts these too"


def test_what_only_draws_counts_if_it_is_a_jobs(tmp_path: Path, process: Process_) -> None:
    """A renderer of a job holds its device; the display server of the node holds none, and is no orphan."""
    processes = (
        Process(process(1, cgroup="0::/system.slice/gdm.service"), uses="graphics"),
        Process(process(2, cgroup=SLURM), memory_bytes=2 << 30, uses="graphics"),
        Process(process(3, cgroup=SLURM), uses="both"),
        Process(process(4, cgroup="0::/user.slice")),
    )
    tables = Node(tmp_path / "proc", (Gpu("GPU-a", phases=(Phase(processes=processes),)),), root=tmp_path).round()
    assert [row["pid_code"] for row in tables["gpu_process_sample"]] == [2, 3, 4]
    (sample,) = tables["gpu_sample"]
    assert (sample["process_count"], sample["process_job_ids"], sample["jobless_process_count"]) == (3, "777", 1)


def test_the_map_knows_a_device_by_its_uuid_whatever_the_kubelet_calls_it(tmp_path: Path, process: Process_) -> None:
    (tmp_path / "map").mkdir()
    (tmp_path / "map/GPU-04edfb117a17a07d").write_text("555 54321\n")
    attribution = Attribution(tmp_path / "proc", tmp_path / "map")
    found = attribution.owner(process(), 0, "0000:c3:00.0", "GPU-04edfb117a17a07d")
    assert (found.job_id, found.attribution_source) == ("555", "prolog")
