"""Runs that accounting believes to go on though nothing is left of them: they hold no device for ever."""

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from collectors.cluster import _slurm_nodes
from collectors.cluster._slurm_nodes import NodeTold
from collectors.cluster._slurm_queue import Queued, Sight, told
from ledger.frames import to_frame
from ledger.tables import Job, JobGpu, SourceState
from tests.collectors.cluster.slurm_ledger import WAYS, Ledger
from tests.collectors.cluster.test_slurm import AT, FOUR, fields, queued

NOW = datetime.fromtimestamp(AT + 3600, UTC)
_TABLE = "slurm_accounting.tiny_job_table"
ENDLESS = {"State": "RUNNING", "End": "Unknown"}


def gone(queue: list[Queued], *nodes: NodeTold, at: datetime = NOW, **changes: str) -> bool:
    """Tell whether a run that goes on in accounting is taken as gone."""
    found = told(queue, [fields(**ENDLESS, **changes)], FOUR, "q", Sight(at, queue, _slurm_nodes.at_work(nodes)))
    assert found.gone_count + found.behind_count == int("7" not in {each.fields["JobIDRaw"] for each in queue})
    return found.gone_count == 1 and not [run for run in found.runs if run["job_id"] == "7"] and not found.holdings


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("idle", True),
        ("IDLE+CLOUD", True),
        ("down*", True),
        ("drained", True),
        ("mixed", False),
        ("ALLOCATED+DRAIN", False),
        ("draining", False),
        ("idle*", True),
        ("unknown*", False),
        ("completing", False),
    ],
)
def test_a_run_is_gone_when_its_node_is_free(state: str, expected: bool) -> None:
    assert gone([], NodeTold("n1", state)) is expected


def test_where_others_work_they_are_seen_in_the_queue_or_nothing_is_concluded() -> None:
    """A queue that is hidden from who asks shows nobody on a node that works."""
    other = queued(JobIDRaw="8", JobID="8")
    assert gone([other], NodeTold("n1", "mixed"))
    assert not gone([queued(JobIDRaw="8", JobID="8", NodeList="n2")], NodeTold("n1", "mixed"))


def test_all_nodes_of_a_run_have_to_be_known() -> None:
    assert not gone([], NodeTold("n1", "idle"), NodeList="n[1-2]")
    assert gone([], NodeTold("n1", "idle"), NodeTold("n2", "idle"), NodeList="n[1-2]")


def test_what_is_in_the_queue_or_may_come_to_be_is_not_gone() -> None:
    idle = NodeTold("n1", "idle")
    assert not gone([queued()], idle)
    assert not gone([], idle, at=datetime.fromtimestamp(AT + 120, UTC))


def test_without_a_look_at_what_is_so_now_accounting_is_believed() -> None:
    found = told([], [fields(**ENDLESS)], FOUR, "q")
    assert (found.gone_count, found.behind_count, len(found.runs)) == (0, 1, 1)


@pytest.fixture
def runaway(ledger: Ledger) -> Iterator[str]:
    """Yield the id of a job that accounting has as running for an hour, and of which the controller knows nothing."""
    cluster = ledger.cluster
    job = cluster.submit("--gres=gpu:1", script="true")
    cluster.until_recorded(job, "COMPLETED")
    other = str(int(job) + 5000)
    earlier = "time_start=time_start-3600, time_submit=time_submit-3600, time_eligible=time_submit"
    unended = f"id_job={other}, job_db_inx=job_db_inx+100000, state=1, time_end=0, {earlier}"
    copied = f"CREATE TEMPORARY TABLE copied AS SELECT * FROM {_TABLE} WHERE id_job={job}"
    _sql(
        ledger,
        f"USE slurm_accounting; {copied}; UPDATE copied SET {unended}; INSERT INTO {_TABLE} SELECT * FROM copied",
    )
    cluster.until_recorded(other, "RUNNING")
    yield other
    _sql(ledger, f"DELETE FROM {_TABLE} WHERE id_job={other}")


def _sql(ledger: Ledger, text: str) -> str:
    command = ["mariadb", "--user=root", "--skip-column-names", f"--socket={ledger.cluster.folder}/db.socket"]
    done = subprocess.run([*command, "--execute", text], check=True, timeout=30, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.mark.xdist_group("slurm")
@pytest.mark.parametrize("way", WAYS)
def test_a_runaway_record_ended_when_it_was_last_seen(ledger: Ledger, runaway: str, way: str) -> None:
    context = ledger.context
    ledger.pull(way, accounting=False)
    seen = context.store.read(SourceState)["reached_at"].item()
    submitted = _sql(ledger, f"SELECT time_submit FROM {_TABLE} WHERE id_job={runaway}")
    begun = datetime.fromtimestamp(int(submitted), UTC)
    run = {"cluster": "c", "job_id": runaway, "submitted_at": begun, "restart_count": 0}
    row = {**run, "state": "RUNNING", "started_at": begun, "nodes": "n1", "gpu_count": 1.0, "source": "slurm"}
    held = {**run, "node": "n1", "gpu_uuid": "GPU-n1-0", "held_start": begun, "source": "scheduler"}
    context.store.append(Job, to_frame(Job, [row]), source="t")
    context.store.append(JobGpu, to_frame(JobGpu, [held]), source="t")
    outcome = ledger.pull(way)
    assert any("1 run of accounting without an end, gone from the queue" in each for each in outcome.remarks)
    (found,) = ledger.runs(runaway)
    assert (found["state"], found["ended_at"], found["is_end_estimated"]) == ("DELETED", seen, True)
    assert ledger.held(runaway) == [("GPU-n1-0", False)]
    ledger.pull(way)
    assert ledger.runs(runaway) == [found]


@pytest.mark.xdist_group("slurm")
def test_a_runaway_record_that_nobody_saw_run_holds_nothing(ledger: Ledger, runaway: str) -> None:
    ledger.pull(history_days=3)
    assert ledger.runs(runaway) == []
    assert ledger.held(runaway) == []
