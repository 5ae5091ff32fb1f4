"""How far trainings are: what is told, when it is not told any more, and what is passed over."""

import json
import os
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.node.training import TrainingSettings, _row, training
from collectors.progress import Progress
from ledger.errors import SourceMissing
from ledger.registry import Row

NOW = 1_800_000_000.0
CGROUP = "0::/system.slice/slurmstepd.scope/job_17/step_0/user/task_0\n"


class Node:
    """A node with a folder for trainings, and processes that come and go."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "progress"
        self.folder.mkdir()
        self.procfs = root / "proc"
        self.now = NOW
        settings = TrainingSettings(folder=self.folder)
        self.round: Callable[[], Iterable[tuple[str, Row]]] = training.open(
            procfs=self.procfs, settings=settings, now=lambda: self.now
        )

    def write(self, name: str = "a.json", *, at: float | None = None, **changes: Any) -> Path:
        told = {
            "v": 1, "job_id": "17", "run": "", "model": "llama", "rank": 0, "pid": 42, "start_ticks": 900,
            "started_at": NOW - 60, "step_count": 5, "sample_count": 40, "token_count": 4096,
            "is_finished": False, "written_at": NOW,
        }  # fmt: skip
        path = self.folder / name
        path.write_text(json.dumps({**told, **changes}))
        written = self.now if at is None else at
        os.utime(path, (written, written))
        return path

    def start(self, pid: int = 42, ticks: int = 900, cgroup: str = CGROUP) -> None:
        home = self.procfs / str(pid)
        home.mkdir(parents=True, exist_ok=True)
        (home / "stat").write_text(f"{pid} (python (3)) S {' '.join(['1'] * 18)} {ticks} 0 0\n")
        (home / "cgroup").write_text(cgroup)

    def rows(self) -> list[Row]:
        found = list(self.round())
        assert all(table == "training_sample" for table, _ in found)
        return [row for _, row in found]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_process_tells_how_far_it_is(node: Node, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    node.start()
    node.write(job_id="what-it-claims")
    (row,) = kept(node.round())["training_sample"].to_dicts()
    assert (row["job_id"], row["is_job_seen"]) == ("17", True), "the kernel knows better"
    assert (row["run"], row["rank_index"], row["model"]) == ("", 0, "llama")
    assert (row["step_count_total"], row["sample_count_total"], row["token_count_total"]) == (5, 40, 4096)
    assert row["started_at"] == datetime.fromtimestamp(NOW - 60, UTC)


def test_a_step_that_takes_long_is_a_row_while_its_process_is_there(node: Node) -> None:
    node.start()
    node.write(at=NOW - 3600)
    assert [row["step_count_total"] for _ in range(3) for row in node.rows()] == [5, 5, 5]


def test_a_process_that_ended_is_told_once_more_and_never_again(node: Node) -> None:
    node.start()
    node.write()
    assert len(node.rows()) == 1
    (node.procfs / "42/stat").unlink()
    node.now += 10
    node.write(token_count=5000, is_finished=True)
    assert [row["token_count_total"] for row in node.rows()] == [5000]
    assert [node.rows() for _ in range(3)] == [[], [], []]


def test_another_process_by_the_same_number_is_not_it(node: Node) -> None:
    node.write(at=NOW - 3600)
    node.start(ticks=901)
    assert node.rows() == []


def test_where_processes_cannot_be_seen_only_writing_counts(node: Node) -> None:
    node.write(pid=1, start_ticks=900, job_id="0f8da95e-e976-4aea-aeb6-80e58a1b0c44")
    (row,) = node.rows()
    assert (row["job_id"], row["is_job_seen"]) == ("0f8da95e-e976-4aea-aeb6-80e58a1b0c44", False)
    assert node.rows() == []
    node.now += 15
    node.write(pid=1, step_count=6)
    assert [row["step_count_total"] for row in node.rows()] == [6]


def test_what_lies_there_when_the_agent_starts_is_not_told_as_new(node: Node) -> None:
    node.write("old.json", at=NOW - 300)
    node.write("new.json", at=NOW - 5, run="b")
    assert [row["run"] for row in node.rows()] == ["b"]


def test_without_a_folder_nobody_tells(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="no training tells how far it is"):
        list(training.open(procfs=tmp_path, settings=TrainingSettings(folder=tmp_path / "none"))())


def test_links_pipes_and_what_is_too_large_are_passed_over(node: Node) -> None:
    node.start()
    path = node.write()
    os.mkfifo(node.folder / "pipe.json")
    (node.folder / "link.json").symlink_to(path)
    (node.folder / "folder.json").mkdir()
    (node.folder / "half.new").write_text(path.read_text())
    (node.folder / "large.json").write_text(path.read_text() + " " * 5000)
    assert len(node.rows()) == 1


WRONG: list[dict[str, Any]] = [
    {"v": 2}, {"v": None}, {"job_id": 17}, {"run": "x" * 201}, {"rank": -1}, {"step_count": 1.5}, {"token_count": True},
    {"token_count": 2**60}, {"started_at": "now"}, {"started_at": 1e30}, {"started_at": None}, {"pid": None},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_what_is_no_trainings_file_is_passed_over(node: Node, wrong: dict[str, Any]) -> None:
    node.start()
    node.write(**wrong)
    assert node.rows() == []


@given(st.binary(max_size=200))
def test_any_content_is_passed_over(content: bytes) -> None:
    assert _row(content) is None


def test_what_a_training_writes_is_what_the_collector_reads(tmp_path: Path) -> None:
    settings = TrainingSettings(folder=tmp_path)
    with Progress("llama", "pretrain", folder=tmp_path, every_seconds=0.1, environ={"SLURM_JOB_ID": "17"}) as progress:
        progress.add(samples=8, tokens=1024)
    one_round = training.open(procfs=Path("/proc"), settings=settings)
    ((table, row),) = list(one_round())
    assert table == "training_sample"
    assert (row["run"], row["model"], row["token_count_total"]) == ("pretrain", "llama", 1024)
    # This very process is still there.
    assert len(list(one_round())) == 1
