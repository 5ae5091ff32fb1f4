"""A real Slurm: jobs that wait, run and end, arrays and het jobs, each told once."""

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from collectors.node._files import listed, text
from ledger.tables import Job, JobGpu
from ledger.tables.partition import declared
from tests.collectors.cluster.slurm_ledger import RUN, WAYS, Ledger

pytestmark = pytest.mark.xdist_group("slurm")


@pytest.mark.parametrize("way", WAYS)
def test_a_job_waits_runs_and_ends_as_one_row(ledger: Ledger, way: str) -> None:
    cluster = ledger.cluster
    job = cluster.submit("--gres=gpu:h100:2", "--job-name=train", "--time=30", "--hold")
    ledger.pull(way)
    (run,) = ledger.runs(job)
    assert (run["state"], run["pending_reason"], run["started_at"]) == ("PENDING", "JobHeldUser", None)
    assert (run["requested_gpu_count"], run["gpu_count"], run["time_limit_seconds"]) == (2, None, 1800)
    cluster.run("scontrol", "release", job)
    cluster.until_state(job, "RUNNING")
    ledger.pull(way)
    ledger.pull(way)
    (run,) = ledger.runs(job)
    assert (run["state"], run["gpu_count"], run["requested_gpu_model"], run["user"]) == ("RUNNING", 2, "h100", "root")
    assert (run["nodes"], run["ended_at"]) == ("n1", None)
    assert run["submitted_at"] <= run["started_at"] <= datetime.now(UTC)
    assert ledger.held(job) == [("GPU-n1-0", True), ("GPU-n1-1", True)]
    cluster.run("scancel", job)
    cluster.until_recorded(job, "CANCELLED")
    ledger.pull(way)
    ledger.pull(way, since=datetime.now(UTC) - timedelta(hours=1))
    (run,) = ledger.runs(job)
    assert run["state"] == "CANCELLED"
    assert run["ended_at"] is not None
    assert ledger.held(job) == [("GPU-n1-0", False), ("GPU-n1-1", False)]
    ends = ledger.read(JobGpu).filter(pl.col("job_id") == job)["held_end"].unique().to_list()
    assert ends == [run["ended_at"]]


@pytest.mark.parametrize("way", WAYS)
def test_a_job_that_was_cancelled_while_it_waited_never_started(ledger: Ledger, way: str) -> None:
    job = ledger.cluster.submit("--hold", "--gres=gpu:1")
    ledger.pull(way)
    ledger.cluster.run("scancel", job)
    ledger.cluster.until_state(job, "CANCELLED")
    ledger.pull(way)
    (run,) = ledger.runs(job)
    assert (run["state"], run["started_at"], run["gpu_count"]) == ("CANCELLED", None, None)
    assert run["ended_at"] is not None
    assert run["requested_gpu_count"] == 1


def test_both_ways_tell_the_same(ledger: Ledger) -> None:
    cluster = ledger.cluster
    jobs = [cluster.submit("--gres=gpu:1", "--array=0-1"), cluster.submit("--gres=gpu:2", "--comment=a|b\nc")]
    done = cluster.submit(script="exit 3")
    cluster.until(lambda: cluster.run("squeue", "--noheader", "--format=%T").split() == ["RUNNING"] * 3, "not running")
    cluster.until_recorded(done, "FAILED")

    def is_settled() -> bool:
        """Tell whether a second pull, after the scheduler's next turn, changes no job."""
        ledger.pull("commands")
        told = ledger.read(Job).sort(RUN)
        time.sleep(1.1)
        ledger.pull("commands")
        return ledger.read(Job).sort(RUN).equals(told)

    cluster.until(is_settled, "what is told of jobs goes on changing")
    first, held = ledger.read(Job), ledger.read(JobGpu)
    ledger.pull("slurmrestd")
    assert_frame_equal(ledger.read(Job).sort(RUN), first.sort(RUN))
    assert_frame_equal(ledger.read(JobGpu).sort(*RUN, "gpu_uuid"), held.sort(*RUN, "gpu_uuid"))
    assert held.filter(pl.col("job_id") == jobs[1]).height == 2
    assert ledger.runs(jobs[1])[0]["comment"].strip() == "a|b\nc"
    assert (ledger.runs(done)[0]["state"], ledger.runs(done)[0]["exit_code"]) == ("FAILED", "3:0")


@pytest.mark.parametrize("way", WAYS)
def test_tasks_of_an_array_and_parts_of_a_het_job_are_jobs(ledger: Ledger, way: str) -> None:
    cluster = ledger.cluster
    array = cluster.submit("--array=0-3%2", "--gres=gpu:1")
    het = cluster.submit("--gres=gpu:1", ":", "--gres=gpu:2")
    cluster.until_state(het, "RUNNING")
    ledger.pull(way)
    jobs = ledger.read(Job)
    names = {row["labels"]: row for row in jobs.to_dicts()}
    assert {f'{{"JobID": "{array}_{each}"}}' for each in ("0", "1", "[2-3%2]")} <= names.keys()
    waiting = names[f'{{"JobID": "{array}_[2-3%2]"}}']
    assert (waiting["state"], waiting["requested_gpu_count"]) == ("PENDING", 2)
    assert waiting["pending_reason"] == "JobArrayTaskLimit"
    parts = [names[f'{{"JobID": "{het}+{each}"}}'] for each in (0, 1)]
    assert [part["gpu_count"] for part in parts] == [1, 2]
    assert len({part["job_id"] for part in parts}) == 2
    held = ledger.read(JobGpu).filter(pl.col("held_end").is_null())
    assert held.height == 5
    assert held.select("node", "gpu_uuid").is_duplicated().sum() == 0
    cluster.run("scancel", f"{array}_0", f"{array}_1")
    cluster.until_state(f"{array}_3", "RUNNING")
    ledger.pull(way)
    told = ledger.read(Job)["labels"].to_list()
    assert sorted(each for each in told if each and f'"{array}_' in each) == [
        f'{{"JobID": "{array}_{each}"}}' for each in range(4)
    ]
    assert ledger.read(JobGpu).filter(pl.col("held_end").is_null()).height == 5


@pytest.mark.parametrize("way", WAYS)
def test_steps_are_part_of_their_job_and_no_jobs(ledger: Ledger, way: str) -> None:
    cluster = ledger.cluster
    script = "srun --ntasks=1 --gres=gpu:1 true; srun --ntasks=1 --gres=gpu:2 sleep 120"
    job = cluster.submit("--gres=gpu:2", script=script)
    ask = ("sacct", "--noheader", "--parsable2", "--format=JobID", "--job", job)
    cluster.until(lambda: f"{job}.1" in cluster.run(*ask).split(), "no second step")
    ledger.pull(way)
    (run,) = ledger.runs(job)
    assert (run["state"], run["gpu_count"]) == ("RUNNING", 2)
    assert [is_held for _, is_held in ledger.held(job)] == [True, True]
    shown = [text(each / "cmdline") or "" for each in listed(Path("/proc")) if each.name.isdecimal()]
    titles = [title for title in shown if title.startswith(f"slurmstepd: [{job}.")]
    assert titles, "what the id behind a SLUID is told by"
    cluster.run("scancel", job)
    cluster.until_recorded(job, "CANCELLED")
    ledger.pull(way)
    assert ledger.read(Job).filter(pl.col("job_id").str.starts_with(f"{job}.")).is_empty()
    (run,) = ledger.runs(job)
    assert (run["state"], run["gpu_count"]) == ("CANCELLED", 2)
    assert [is_held for _, is_held in ledger.held(job)] == [False, False]


def test_a_whole_node_has_a_name_without_an_index(ledger: Ledger) -> None:
    cluster = ledger.cluster
    short = cluster.submit("--nodes=2", "--gres=gpu:4", script="sleep 1")
    cluster.until_recorded(short, "COMPLETED")
    part = cluster.submit("--gres=gpu:3", script="true")
    cluster.until_recorded(part, "COMPLETED")
    ledger.pull()
    assert ledger.held(short) == [(f"GPU-{node}-{index}", False) for node in ("n1", "n2") for index in range(4)]
    assert ledger.held(part) == []
    assert ledger.runs(part)[0]["gpu_count"] == 3


@pytest.mark.parametrize("way", WAYS)
def test_jobs_that_end_between_two_pulls_are_there_once(ledger: Ledger, way: str) -> None:
    """Which part of a node they had, accounting does not say: no device is named for them, and none twice."""
    cluster = ledger.cluster
    ledger.pull(way)
    short = [cluster.submit("--gres=gpu:1", script="sleep 1") for _ in range(5)]
    running = cluster.submit("--gres=gpu:2")
    cluster.until_state(running, "RUNNING")
    for job in short:
        cluster.until_recorded(job, "COMPLETED")
    for _ in range(3):
        ledger.pull(way)
    for job in short:
        (run,) = ledger.runs(job)
        assert (run["state"], run["gpu_count"], run["restart_count"]) == ("COMPLETED", 1, 0)
        assert run["started_at"] < run["ended_at"]
        assert ledger.held(job) == []
    assert len(ledger.held(running)) == 2
    key = list(declared(JobGpu).key)
    assert ledger.read(JobGpu).select(key).is_duplicated().sum() == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_share_of_a_device(ledger: Ledger, way: str) -> None:
    cluster = ledger.cluster
    job = cluster.submit("--gres=shard:2")
    cluster.until_state(job, "RUNNING")
    ledger.pull(way)
    rows = ledger.read(JobGpu).filter(pl.col("job_id") == job).to_dicts()
    assert [(row["gpu_uuid"], row["requested_share_ratio"]) for row in rows] == [("GPU-n1-0", 0.5)]
    assert ledger.runs(job)[0]["gpu_count"] is None


def test_a_name_that_looks_like_slurms_output_is_a_name(ledger: Ledger) -> None:
    cluster = ledger.cluster
    honest = cluster.submit("--gres=gpu:1")
    name = f"x\n\nJobId={honest} JobName=y\n   Requeue=1 Restarts=7\n   SubmitTime=0\n     Nodes=n1 GRES=gpu:1(IDX:3)\n"
    liar = cluster.submit(f"--job-name={name}", f"--comment=|{honest}|\n{honest}")
    cluster.until_state(liar, "RUNNING")
    outcome = ledger.pull()
    assert outcome.rejected == 0
    assert ledger.held(honest) == [("GPU-n1-0", True)]
    assert ledger.held(liar) == []
    assert ledger.runs(liar)[0]["job_name"].strip() == name.strip()
    assert len(ledger.runs(honest)) == 1


def test_what_a_person_set_for_the_commands_changes_nothing(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = ledger.cluster
    job = cluster.submit("--gres=gpu:1")
    cluster.until_state(job, "RUNNING")
    for name, value in {"SQUEUE_FORMAT": "%i", "SACCT_FORMAT": "User", "SLURM_TIME_FORMAT": "relative"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    ledger.pull()
    (run,) = ledger.runs(job)
    assert abs(run["submitted_at"] - datetime.now(UTC)) < timedelta(minutes=2)
    assert os.environ["TZ"] == "Asia/Tokyo"


def test_a_cluster_can_be_named_as_slurm_knows_it(ledger: Ledger) -> None:
    job = ledger.cluster.submit("--gres=gpu:1")
    ledger.cluster.until_state(job, "RUNNING")
    ledger.pull(slurm_cluster="tiny")
    assert ledger.held(job) == [("GPU-n1-0", True)]
    assert ledger.runs(job)[0]["cluster"] == "c"
    outcome = ledger.ask(slurm_cluster="other")
    assert outcome.error is not None
    assert "exit status 1" in outcome.error.message
