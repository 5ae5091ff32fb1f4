"""A real Slurm: runs of requeued jobs, and nodes with their states and reasons."""

import time
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from ledger.frames import to_frame
from ledger.tables import JobGpu, Node, NodeState, SourceState
from tests.collectors.cluster.slurm_ledger import WAYS, Ledger

pytestmark = pytest.mark.xdist_group("slurm")


@pytest.mark.parametrize("way", WAYS)
def test_each_requeue_is_a_run_of_its_own(ledger: Ledger, way: str) -> None:
    cluster = ledger.cluster
    job = cluster.submit_counted("--gres=gpu:1")
    cluster.until_begun(job, 1)
    ledger.pull(way)
    for run in (2, 3):
        cluster.run("scontrol", "requeue", job)
        cluster.until_state(job, "PENDING")
        ledger.pull(way)
        cluster.start_requeued(job)
        cluster.until_begun(job, run)
        ledger.pull(way)
    cluster.until_recorded(job, "RUNNING")
    ledger.pull(way)
    runs = ledger.runs(job)
    assert [(each["restart_count"], each["state"]) for each in runs] == [
        (0, "REQUEUED"),
        (1, "REQUEUED"),
        (2, "RUNNING"),
    ]
    assert [each["ended_at"] is None for each in runs] == [False, False, True]
    assert [is_open for _, is_open in ledger.held(job)].count(True) == 1
    assert len(ledger.held(job)) == 3
    # One who comes later, from accounting alone, numbers them alike.
    cluster.run("scancel", job)
    cluster.until_recorded(job, "CANCELLED")
    ledger.pull("commands", since=datetime.now(UTC) - timedelta(hours=2))
    assert [each["restart_count"] for each in ledger.runs(job)] == [0, 1, 2]


@pytest.mark.parametrize("way", WAYS)
def test_node_states_have_reasons_and_end(ledger: Ledger, way: str) -> None:
    cluster = ledger.cluster

    def state_of_n2() -> str:
        return cluster.run("sinfo", "--Node", "--nodes=n2", "--partition=gpu", "--noheader", "--format=%T")

    ledger.pull(way)
    ledger.pull(way)
    job = cluster.submit("--nodelist=n2")
    cluster.until_state(job, "RUNNING")
    cluster.run("scontrol", "update", "NodeName=n2", "State=DRAIN", "Reason=bad | cable")
    try:
        ledger.pull(way)
        cluster.run("scancel", job)
        cluster.until(lambda: state_of_n2() == "drained", "n2 is not drained")
        ledger.pull(way)
        ledger.pull(way)
    finally:
        cluster.run("scontrol", "update", "NodeName=n2", "State=RESUME")
        cluster.until(lambda: state_of_n2() == "idle", "n2 is not idle")
    ledger.pull(way)
    states = ledger.read(NodeState).sort("node", "state_start")
    told = [(row["state"], row["reason"]) for row in states.filter(pl.col("node") == "n2").to_dicts()]
    assert told == [("UP", None), ("DRAINING", "bad | cable"), ("DRAINED", "bad | cable"), ("UP", None)]
    of_node = states.filter(pl.col("node") == "n2")
    assert of_node["state_end"][:-1].to_list() == of_node["state_start"][1:].to_list()
    assert of_node["state_end"][-1] is None
    assert states.filter(pl.col("node") == "n1")["state"].to_list() == ["UP"]
    nodes = ledger.read(Node).sort("node")
    assert nodes.select("node", "gpu_count", "cpu_count", "holder", "exists_end").rows() == [
        ("n1", 4, 16, "scheduler", None),
        ("n2", 4, 16, "scheduler", None),
    ]


def test_an_agent_tells_of_its_node_as_well(ledger: Ledger) -> None:
    ledger.pull()
    begun = datetime.now(UTC) - timedelta(hours=1)
    row = {"cluster": "c", "node": "n1", "exists_start": begun, "gpu_count": 4, "source": "agent"}
    ledger.context.store.append(Node, to_frame(Node, [row]), source="t")
    ledger.pull()
    nodes = ledger.read(Node).filter(pl.col("exists_end").is_null()).sort("node", "source")
    assert nodes.select("node", "source").rows() == [("n1", "agent"), ("n1", "slurm"), ("n2", "slurm")]


def test_without_accounting_the_queue_is_all(ledger: Ledger) -> None:
    cluster = ledger.cluster
    job = cluster.submit("--gres=gpu:1")
    cluster.until_state(job, "RUNNING")
    ledger.pull(accounting=False)
    cluster.run("scancel", job)
    cluster.until_state(job, "CANCELLED")
    ledger.pull(accounting=False)
    (run,) = ledger.runs(job)
    assert (run["state"], run["ended_at"] is None) == ("CANCELLED", False)
    assert ledger.held(job) == [("GPU-n1-0", False)]


def test_nothing_is_skipped_while_accounting_is_down(ledger: Ledger) -> None:
    cluster = ledger.cluster
    job = cluster.submit("--gres=gpu:1")
    cluster.until_recorded(job, "RUNNING")
    ledger.pull()
    known = ledger.context.store.read(SourceState)["reached_at"].to_list()
    cluster.stop_accounting()
    try:
        cluster.run("scancel", job)
        cluster.until_state(job, "CANCELLED")
        outcome = ledger.ask()
        assert outcome.error is not None
        assert "sacct: exit status 1" in outcome.error.message
    finally:
        cluster.start_accounting()
    assert ledger.runs(job)[0]["ended_at"] is None
    assert ledger.context.store.read(SourceState)["reached_at"].to_list() == known
    cluster.until_recorded(job, "CANCELLED")
    ledger.pull()
    (run,) = ledger.runs(job)
    assert (run["state"], run["ended_at"] is None) == ("CANCELLED", False)
    assert ledger.held(job) == [("GPU-n1-0", False)]


@pytest.mark.parametrize("way", WAYS)
def test_a_running_job_that_gives_a_node_back_is_one_run(ledger: Ledger, way: str) -> None:
    cluster = ledger.cluster
    job = cluster.submit_counted("--nodes=2", "--gres=gpu:2", "--time=30")
    cluster.until_begun(job, 1)
    ledger.pull(way)
    (first,) = ledger.runs(job)
    assert (first["gpu_count"], first["node_count"], first["time_limit_seconds"]) == (4, 2, 1800)
    assert [is_open for _, is_open in ledger.held(job)] == [True] * 4
    time.sleep(1.1)
    cluster.run("scontrol", "update", f"JobId={job}", "NumNodes=1")
    cluster.run("scontrol", "update", f"JobId={job}", "TimeLimit=45", "JobName=smaller")
    cluster.until_recorded(job, "RESIZING")
    ledger.pull(way)
    (run,) = ledger.runs(job)
    assert (run["state"], run["gpu_count"], run["nodes"], run["ended_at"]) == ("RUNNING", 2, "n1", None)
    assert first["requested_gpu_count"] == 4
    assert (run["started_at"], run["time_limit_seconds"], run["job_name"]) == (first["started_at"], 2700, "smaller")
    kept = [("GPU-n1-0", True), ("GPU-n1-1", True)]
    assert ledger.held(job) == [*kept, ("GPU-n2-0", False), ("GPU-n2-1", False)]
    cluster.run("scancel", job)
    cluster.until_recorded(job, "CANCELLED")
    ledger.pull(way)
    ledger.pull("commands", since=datetime.now(UTC) - timedelta(hours=2))
    (run,) = ledger.runs(job)
    assert (run["state"], run["restart_count"], run["started_at"]) == ("CANCELLED", 0, first["started_at"])
    assert run["requested_gpu_count"] == 4
    rows = ledger.read(JobGpu).filter(pl.col("job_id") == job)
    ends = {row["gpu_uuid"]: row["held_end"] for row in rows.to_dicts()}
    assert ends["GPU-n1-0"] == ends["GPU-n1-1"] == run["ended_at"]
    assert first["started_at"] < ends["GPU-n2-0"] <= run["ended_at"]


@pytest.mark.parametrize("way", WAYS)
def test_a_suspended_job_holds_its_devices_and_goes_on_as_the_same_run(ledger: Ledger, way: str) -> None:
    cluster = ledger.cluster
    job = cluster.submit_counted("--gres=gpu:1")
    cluster.until_begun(job, 1)
    cluster.run("scontrol", "suspend", job)
    cluster.until_state(job, "SUSPENDED")
    ledger.pull(way)
    (run,) = ledger.runs(job)
    assert (run["state"], run["ended_at"]) == ("SUSPENDED", None)
    assert [is_open for _, is_open in ledger.held(job)] == [True]
    cluster.run("scontrol", "resume", job)
    cluster.until_state(job, "RUNNING")
    ledger.pull(way)
    (run,) = ledger.runs(job)
    assert (run["state"], run["restart_count"]) == ("RUNNING", 0)
    assert [is_open for _, is_open in ledger.held(job)] == [True]
