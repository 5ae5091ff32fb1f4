"""What a training may call: real processes write, and nothing that goes wrong stops them."""

import ast
import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

import collectors.progress
from collectors.progress import Progress, pod_uid

ENVIRON = {"SLURM_JOB_ID": "17", "RANK": "3"}


def told(folder: Path) -> dict[str, Any]:
    (path,) = folder.glob("*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_what_is_counted_is_written_at_the_end(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    with Progress("llama", "pretrain", folder=folder, environ=ENVIRON) as progress:
        for _ in range(10):
            progress.add(samples=8, tokens=4096)
        progress.add(steps=0, tokens=1)
    found = told(folder)
    assert (found["step_count"], found["sample_count"], found["token_count"]) == (10, 80, 40961)
    assert (found["job_id"], found["rank"], found["run"], found["model"]) == ("17", 3, "pretrain", "llama")
    assert (found["pid"], found["is_finished"], found["v"]) == (os.getpid(), True, 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o1777, "users train on one node"


def test_it_is_written_while_the_training_runs(tmp_path: Path) -> None:
    with Progress(folder=tmp_path, every_seconds=0.1, environ={}) as progress:
        progress.add(tokens=5)
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.02)
        found = told(tmp_path)
    assert (found["is_finished"], found["job_id"], found["rank"]) == (False, "", 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "many", None, -5, object()])
def test_what_is_no_count_counts_nothing(tmp_path: Path, value: Any) -> None:
    with Progress(folder=tmp_path, environ={}) as progress:
        progress.add(tokens=value)
        progress.add(tokens=7)
    assert told(tmp_path)["token_count"] == 7


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    for folder in (blocked, blocked / "below", Path("/proc/no/place")):
        with Progress(folder=folder, every_seconds=0.1, environ={}) as progress:
            progress.add(tokens=1)
    assert blocked.read_text() == "no folder"


def run(script: str, folder: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "CLUSTERLEDGER_PROGRESS": str(folder), "SLURM_JOB_ID": "18"}
    text = f"from collectors.progress import Progress\n{textwrap.dedent(script)}"
    command = [sys.executable, "-c", text]
    root = Path(collectors.progress.__file__).parent.parent
    return subprocess.run(
        command, env=environ, cwd=root, capture_output=True, text=True, check=False, timeout=120, **more
    )


def test_a_full_disk_costs_numbers_and_no_step(tmp_path: Path) -> None:
    # A process that may write no byte into a file finds every disk full.
    script = """
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        progress = Progress(every_seconds=0.1)
        for _ in range(5):
            progress.add(tokens=1)
        progress.close()
        print("trained")
    """
    done = run(script, tmp_path)
    assert (done.stdout, done.stderr, done.returncode) == ("trained\n", "", 0)
    assert list(tmp_path.iterdir()) == []


def test_a_script_of_two_lines_tells_its_end_by_itself(tmp_path: Path) -> None:
    done = run("progress = Progress(model='m')\nprogress.add(samples=2)", tmp_path)
    assert (done.stderr, done.returncode) == ("", 0)
    assert (told(tmp_path)["sample_count"], told(tmp_path)["is_finished"]) == (2, True)
    assert told(tmp_path)["job_id"] == "18"


def test_a_training_that_is_killed_leaves_what_it_last_wrote(tmp_path: Path) -> None:
    script = """
        import os, pathlib, signal, time
        progress = Progress(every_seconds=0.1)
        progress.add(tokens=9)
        folder = pathlib.Path(os.environ["CLUSTERLEDGER_PROGRESS"])
        while not any('"token_count": 9' in each.read_text() for each in folder.glob("*.json")):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(script, tmp_path).returncode == -9
    assert (told(tmp_path)["token_count"], told(tmp_path)["is_finished"]) == (9, False)


def test_a_forked_worker_writes_nothing(tmp_path: Path) -> None:
    script = """
        import os, sys
        progress = Progress()
        worker = os.fork()
        if worker == 0:
            progress.add(tokens=1000)
            sys.exit(0)
        os.waitpid(worker, 0)
        progress.add(tokens=1)
    """
    assert run(script, tmp_path).returncode == 0
    assert told(tmp_path)["token_count"] == 1


def test_only_the_standard_library_is_imported() -> None:
    tree = ast.parse(Path(collectors.progress.__file__).read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names} <= sys.stdlib_module_names
    done = run("import sys\nprint(sorted(m for m in sys.modules if m in ('msgspec', 'pydantic', 'polars')))", Path("/"))
    assert done.stdout == "[]\n"


def test_the_file_alone_is_enough_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """A trainer's environment need not have the project: the example of docs/sources.md runs beside a copied file."""
    alone, folder = tmp_path / "trainer", tmp_path / "told"
    alone.mkdir()
    shutil.copy(collectors.progress.__file__, alone / "clusterledger_progress.py")
    docs = (Path(__file__).parents[2] / "docs/sources.md").read_text()
    (example,) = (part.removeprefix("python\n") for part in docs.split("```") if "clusterledger_progress" in part[:80])
    (alone / "train.py").write_text(
        "import sys\n"
        "assert not any('site-packages' in path for path in sys.path)\n"
        "loader = [[1, 2], [3]]\n"
        "def train(batch): return 100 * len(batch)\n" + example
    )
    # No packages, no variables, no user's folder: as -I, which would hide the copied file beside the script as well.
    done = subprocess.run(
        [sys.executable, "-S", "-E", "-s", "train.py"],
        env={"CLUSTERLEDGER_PROGRESS": str(folder), "SLURM_JOB_ID": "19"},
        cwd=alone,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = told(folder)
    assert (found["step_count"], found["sample_count"], found["token_count"]) == (2, 3, 300)
    assert (found["job_id"], found["model"], found["is_finished"]) == ("19", "llama-3-8b", True)


MOUNTS = """\
1201 1189 0:98 / / rw,relatime master:390 - overlay overlay rw,lowerdir=/var/lib/containerd/1/fs
1210 1201 259:1 /var/lib/kubelet/pods/0f8da95e-e976-4aea-aeb6-80e58a1b0c44/etc-hosts /etc/hosts rw - ext4 /dev/root rw
1211 1201 259:1 /var/lib/kubelet/pods/0f8da95e-e976-4aea-aeb6-80e58a1b0c44/containers/main/1 /dev/log rw - ext4
"""


def test_a_pod_is_known_by_what_its_kubelet_mounts() -> None:
    assert pod_uid(MOUNTS) == "0f8da95e-e976-4aea-aeb6-80e58a1b0c44"
    assert pod_uid(MOUNTS.splitlines()[0]) == ""
    assert pod_uid("36 35 98:0 /pods/not-a-uid/etc-hosts /etc/hosts rw - ext4 /dev/root rw") == ""


def test_what_was_left_long_ago_is_taken_away(tmp_path: Path) -> None:
    old, young = tmp_path / "1-1-1.json", tmp_path / "2-2-2.json"
    for path in (old, young):
        path.write_text("{}")
    os.utime(old, (time.time() - 90_000, time.time() - 90_000))
    with Progress(folder=tmp_path, environ={}) as progress:
        progress.add()
    assert not old.exists()
    assert young.exists()
