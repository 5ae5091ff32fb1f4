"""What Slurm can write: requeues, waiting arrays, indices, shares, suffixes of states, names that lie."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors._slurm_runs import job, numbered
from collectors._slurm_text import gpu_count, minutes, nodes, numbers, task_count
from collectors.cluster import _slurm_nodes
from collectors.cluster._slurm_commands import details, records
from collectors.cluster._slurm_gres import Devices, Got, devices, got
from collectors.cluster._slurm_nodes import NodeTold, state_of
from collectors.cluster._slurm_queue import Queued, live, told
from collectors.cluster.slurm import SlurmSettings, asked_from, slurm
from ledger.errors import ConfigError, SourceError
from ledger.tables import Job, JobGpu, NodeState

AT = 1_795_000_000
FOUR = {"n1": Devices(4), "n2": Devices(4)}


def fields(**changes: str) -> dict[str, str]:
    """Return a record of accounting: a job of two GPUs that ran for an hour."""
    return {
        "JobIDRaw": "7",
        "JobID": "7",
        "Cluster": "c",
        "User": "ana",
        "Submit": str(AT),
        "Eligible": str(AT),
        "Start": str(AT + 60),
        "End": str(AT + 3660),
        "State": "COMPLETED",
        "Reason": "None",
        "ReqTRES": "cpu=2,gres/gpu=2,node=1",
        "AllocTRES": "cpu=2,gres/gpu=2,node=1",
        "NodeList": "n1",
        **changes,
    }


RUNNING = {"State": "RUNNING", "End": "Unknown", "Restarts": "0"}


def instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def queued(*devices: tuple[str, str], **changes: str) -> Queued:
    return Queued(fields(**{**RUNNING, **changes}), devices)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0-3,6", [0, 1, 2, 3, 6]), ("0-6:3", [0, 3, 6]), ("N/A", []), ("", []), ("5", [5])],
)
def test_lists_of_numbers(text: str, expected: list[int]) -> None:
    assert numbers(text) == expected


@pytest.mark.parametrize("text", ["a", "3-", "-1", "0-99999999999", "1;2"])
def test_a_list_of_numbers_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="list of numbers: found"):
        numbers(text)


@given(st.sets(st.integers(0, 300)))
def test_ranges_name_what_they_were_made_of(chosen: set[int]) -> None:
    runs: list[list[int]] = []
    for each in sorted(chosen):
        if runs and runs[-1][-1] == each - 1:
            runs[-1].append(each)
        else:
            runs.append([each])
    text = ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
    assert numbers(text) == sorted(chosen)
    assert nodes(f"n[{text}]") == [f"n{each}" for each in sorted(chosen)] if chosen else True


@pytest.mark.parametrize("text", ["n[1-", "n]1", "n[3-1]", "n[a-b]", "n[1-99999999]", "n[1-99999]m[1-99999]"])
def test_a_node_list_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="node list: found"):
        nodes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("UNLIMITED", ""),
        ("Partition_Limit", ""),
        ("365-00:00:00", "525600"),
        ("1-12", "2160"),
        ("1-12:30", "2190"),
        ("1:30:00", "90"),
        ("30:00", "30"),
        ("15", "15"),
        ("N/A", ""),
    ],
)
def test_time_limits(text: str, expected: str) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize(
    ("display_id", "count"),
    [("7", 1), ("7_3", 1), ("7_[2-3%2]", 2), ("7_[0-10:5]", 3), ("7_[1,3,...]", 2), ("7+1", 1), ("7_[]", 1)],
)
def test_a_record_stands_for_its_waiting_tasks(display_id: str, count: int) -> None:
    assert task_count(display_id) == count


@pytest.mark.parametrize(
    ("gres", "expected"),
    [
        ("gpu:h100:4(S:0-1)", Devices(4)),
        ("gpu:4", Devices(4)),
        ("gpu:a100:2,gpu:h100:2,nic:1", Devices(4)),
        ("gpu:h100:4,shard:h100:16", Devices(4, {"shard": (4, 4, 4, 4)})),
        ("gpu:2(S:0),mps:200", Devices(2, {"mps": (100, 100)})),
        ("gpu:3,shard:16", Devices(3, {"shard": (5, 5, 6)})),
        ("gpu:2,mps:200,shard:8", Devices(2, {"mps": (100, 100), "shard": (4, 4)})),
        ("gpu:a100:1,gpu:h100:2,shard:h100:8", Devices(3, {"shard": (0, 4, 4)})),
        ("gpu", Devices(1)),
        ("gpu:a100_1g.10gb:7", Devices(7, kinds=(("1g.10gb", 7),))),
        ("gpu:h100:2,gpu:1g.10gb:3", Devices(5, kinds=(("", 2), ("1g.10gb", 3)))),
        (
            "gpu:h100:1,gpu:1g.10gb:2,shard:h100:8,shard:1g.10gb:4",
            Devices(3, {"shard": (8, 2, 2)}, (("", 1), ("1g.10gb", 2))),
        ),
        ("(null)", Devices(0)),
        ("", Devices(0)),
        ("craynetwork:4", Devices(0)),
    ],
)
def test_devices_of_a_node(gres: str, expected: Devices) -> None:
    assert devices(gres) == expected


@pytest.mark.parametrize(
    ("gres", "expected"),
    [
        ("gpu:h100:2(IDX:0,3)", [(0, None), (3, None)]),
        ("gpu:5(IDX:0-3,6)", [(0, None), (1, None), (2, None), (3, None), (6, None)]),
        ("gpu:h100:1(IDX:2),nic:1(IDX:0)", [(2, None)]),
        ("gpu:a100:1(IDX:0),gpu:h100:1(IDX:4)", [(0, None), (4, None)]),
        ("gpu:ampere:0(IDX:N/A)", []),
        ("gpu:h100:2", []),
        ("(null)", []),
        ("shard:h100:2(IDX:1)", [(1, 0.5)]),
        ("shard:h100:8(IDX:0-1)", [(0, 1.0), (1, 1.0)]),
        ("mps:50(50/100,0/100)", [(0, 0.5)]),
    ],
)
def test_devices_of_a_job(gres: str, expected: list[tuple[int, float | None]]) -> None:
    has = Devices(4, {"shard": (4, 4, 4, 4), "mps": (100, 100, 100, 100)})
    assert got(gres, has) == [Got(*each) for each in expected]


@pytest.mark.parametrize(
    ("gres", "expected"),
    [
        ("shard:1(IDX:0)", Got(0, 0.25, "?whole", 0)),
        ("shard:3(IDX:3)", Got(3, 0.75, "?1g.10gb", 0)),
        ("shard:2(IDX:4)", Got(4, 0.5, "?1g.10gb", 1)),
        ("shard:1g.10gb:4(IDX:4)", Got(4, 1.0, "1g.10gb", 1)),
        ("shard:h100:1(IDX:1)", Got(1, 0.25, "whole", 1)),
        ("shard:h100:1(IDX:4)", Got(4, 0.25, "whole", None)),
        ("mps:25(0/100,0/100,25/100,0/100,0/100)", Got(2, 0.25, "?3g.40gb", 0)),
        ("mps:a100_3g.40gb:50(IDX:2)", Got(2, 0.5, "3g.40gb", 0)),
    ],
)
def test_shares_of_a_node_with_slices_are_of_whole_devices_and_of_slices(gres: str, expected: Got) -> None:
    has = devices("gpu:h100:2,gpu:3g.40gb:1,gpu:1g.10gb:2,shard:20,mps:500")
    assert got(gres, has) == [expected]


def test_what_has_no_index_names_no_device() -> None:
    assert got("gpu:h100(CNT:2),shard(CNT:3)", Devices(4)) == []
    found = told([queued(("n1", "gpu(CNT:2)"))], [], FOUR, "q")
    assert (found.rejected, found.holdings) == ([], [])


def test_a_node_with_more_devices_than_can_be_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at most 10000 devices"):
        devices("gpu:1T")


@pytest.mark.parametrize("count", ["two", "", "nan", "inf", "-1", "1.2.3"])
@pytest.mark.parametrize("name", ["gres/gpu", "gres/gpu:h100"])
def test_a_count_of_devices_that_is_none_is_refused_in_words(name: str, count: str) -> None:
    with pytest.raises(ValueError, match=f"resource {name}: found '{count}', expected a number of devices"):
        gpu_count({name: count})


def test_a_list_of_nodes_may_have_brackets_twice() -> None:
    assert nodes("rack[1-2]node[1,3-4],m5") == [
        *(f"rack{rack}node{node}" for rack in (1, 2) for node in (1, 3, 4)),
        "m5",
    ]


@pytest.mark.parametrize("gres", ["gpu:2(IDX:0)", "gpu:2(IDX:1,1)", "gpu:1(IDX:x)", "gpu:x:y:1z(IDX:0)", "mps:1(1/0)"])
def test_devices_of_a_job_that_cannot_be_are_refused_alone(gres: str) -> None:
    found = told([queued(("n1", gres)), queued(("n1", "gpu:2(IDX:0-1)"), JobIDRaw="8", JobID="8")], [], FOUR, "q")
    assert [each.table_name for each in found.rejected] == ["job_gpu"]
    assert {row["job_id"] for row in found.holdings} == {"8"}
    assert {run["job_id"] for run in found.runs} == {"7", "8"}


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ((("n9", "gpu:2(IDX:0-1)"),), "found devices of n9"),
        ((("n1", "gpu:1(IDX:0)"),), "found 1 devices, expected the 2"),
        ((("n1", "gpu:1(IDX:0)"), ("n1", "gpu:1(IDX:0)")), "found 2 devices, expected the 2"),
    ],
)
def test_devices_that_are_not_the_jobs_are_refused(held: tuple[tuple[str, str], ...], reason: str) -> None:
    found = told([queued(*held)], [], FOUR, "q")
    assert found.holdings == []
    assert reason in found.rejected[0].reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("idle", "UP"),
        ("allocated", "UP"),
        ("mixed-", "UP"),
        ("idle+planned", "UP"),
        ("idle!", "UP"),
        ("IDLE+CLOUD", "UP"),
        ("idle~", "POWERED_DOWN"),
        ("idle#", "POWERED_DOWN"),
        ("IDLE+CLOUD+POWERED_DOWN", "POWERED_DOWN"),
        ("drained*", "DRAINED"),
        ("drain", "DRAINED"),
        ("IDLE+DRAIN", "DRAINED"),
        ("draining@", "DRAINING"),
        ("MIXED+DRAIN", "DRAINING"),
        ("ALLOCATED+DRAIN+NOT_RESPONDING", "DRAINING"),
        ("inval", "DRAINED"),
        ("failing", "DRAINING"),
        ("down$", "DOWN"),
        ("down~", "DOWN"),
        ("DOWN+DRAIN", "DOWN"),
        ("idle*", "UNKNOWN"),
        ("unknown", "UNKNOWN"),
        ("reserved", "RESERVED"),
        ("maint", "RESERVED"),
        ("idle$", "RESERVED"),
        # As slurmrestd writes flags for which `sinfo` has a shorter word.
        ("IDLE+MAINTENANCE", "RESERVED"),
        ("ALLOCATED+MAINTENANCE+DRAIN", "DRAINING"),
        ("IDLE+INVALID_REG", "DRAINED"),
        ("DOWN+REBOOT_ISSUED", "DOWN"),
        ("IDLE+REBOOT_ISSUED", "DOWN"),
        ("ALLOCATED+FAIL", "DRAINING"),
        ("IDLE+FAIL", "DRAINED"),
        ("future", None),
        ("n/a", None),
    ],
)
def test_states_of_nodes(text: str, expected: str | None) -> None:
    assert state_of(text) == expected


def test_a_node_in_a_state_that_nobody_knows_is_refused_alone() -> None:
    listed = [NodeTold("n1", "idle"), NodeTold("n1", "idle"), NodeTold("n2", "dancing"), NodeTold("n3", "1d|e")]
    states, inventory, there, rejected = _slurm_nodes.told(listed, "c", datetime.now(UTC), "sinfo")
    assert [row["node"] for row in states] == [row["node"] for row in inventory] == list(there) == ["n1"]
    assert [each.where for each in rejected] == ["sinfo: node n2", "sinfo: node n3"]
    assert "found 'dancing'" in rejected[0].reason


def test_a_reason_says_since_when() -> None:
    now = datetime.fromtimestamp(AT, UTC)
    listed = [
        NodeTold("n1", "drained", "bad cable", str(AT - 600)),
        NodeTold("n2", "down", "gone", "Unknown"),
        NodeTold("n3", "down", "clock", str(AT + 600)),
        NodeTold("n4", "idle", "none", "Unknown"),
    ]
    states, *_ = _slurm_nodes.told(listed, "c", now, "sinfo")
    assert [row["state_start"] for row in states] == [now - timedelta(minutes=10), now, now, now]
    assert [row["reason"] for row in states] == ["bad cable", "gone", "clock", None]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"State": "CANCELLED by 1000"}, "CANCELLED"),
        ({"State": "OUT_OF_MEMORY"}, "OUT_OF_MEMORY"),
        ({"State": "COMPLETED+"}, "COMPLETED"),
        ({"State": ""}, "UNKNOWN"),
    ],
)
def test_words_of_states(changes: dict[str, str], expected: str) -> None:
    assert job(fields(**changes))[0]["state"] == expected


def test_what_was_cancelled_while_it_waited_never_started() -> None:
    row, _ = job(fields(State="CANCELLED by 5", NodeList="None assigned", AllocTRES=""))
    assert (row["started_at"], row["gpu_count"], row["nodes"]) == (None, None, None)
    assert row["ended_at"] is not None


def test_a_start_that_is_only_expected_is_none() -> None:
    shown = live(fields(State="PENDING", Start=str(AT + 9000), NodeList=""))
    assert job(shown)[0]["started_at"] is None
    assert live(fields(**{**RUNNING, "End": str(AT + 9000)}))["End"] == ""


def test_a_requeued_job_whose_processes_still_end_waits() -> None:
    shown = live(fields(State="COMPLETING", Submit=str(AT + 100), End=str(AT + 100)))
    assert (shown["State"], shown["Start"], shown["End"]) == ("PENDING", "", "")
    assert live(fields(State="COMPLETING"))["End"] == str(AT + 3660)


def chained(*runs: dict[str, str]) -> list[object]:
    return [row["restart_count"] for row in numbered(job(fields(**run))[0] for run in runs)]


FIRST = {"State": "REQUEUED", "End": str(AT + 100)}
SECOND = {"Submit": str(AT + 100), "Start": str(AT + 200), "End": str(AT + 300), "State": "NODE_FAIL"}
THIRD = {"Submit": str(AT + 301), "Start": str(AT + 400), "End": "Unknown", "State": "RUNNING"}
RECYCLED = {"Submit": str(AT + 10**7), "Start": str(AT + 10**7), "End": str(AT + 10**7 + 1)}


def test_requeues_follow_each_other_and_a_recycled_id_begins_anew() -> None:
    assert chained(FIRST, SECOND, THIRD, RECYCLED) == [0, 1, 2, 0]
    assert chained(RECYCLED, THIRD, FIRST, SECOND, FIRST) == [0, 1, 2, 0]


def test_what_slurm_says_of_one_run_tells_of_those_before() -> None:
    assert chained(SECOND, {**THIRD, "Restarts": "5"}) == [4, 5]
    assert chained({**FIRST, "Restarts": "0"}, {**SECOND, "Restarts": "1"}) == [0, 1]


@given(st.permutations(range(4)), st.integers(0, 3))
def test_order_and_repetition_do_not_matter(order: list[int], again: int) -> None:
    runs = [FIRST, SECOND, THIRD, RECYCLED]
    assert chained(*(runs[index] for index in [*order, again])) == [0, 1, 2, 0]


def test_a_run_that_was_resized_is_one_run_of_its_last_size() -> None:
    """What 22.05 records: the next size was submitted when the last one ended, and began when the first one did."""
    sizes = [
        fields(State="RESIZING", End=str(AT + 100), NodeList="n[1-3]"),
        fields(Submit=str(AT + 100), State="RESIZING", End=str(AT + 200), NodeList="n[1-2]"),
        fields(Submit=str(AT + 200), State="COMPLETED", NodeList="n1"),
    ]
    for order in ([0, 1, 2], [2, 0, 1]):
        (run,) = numbered([job(sizes[each])[0] for each in order])
        began = (instant(AT), instant(AT + 60), instant(AT + 3660))
        assert (run["submitted_at"], run["started_at"], run["ended_at"]) == began
        assert (run["state"], run["nodes"], run["restart_count"]) == ("COMPLETED", "n1", 0)
    queue = [queued(NodeList="n1")]
    found = told(queue, [*sizes[:2], {**sizes[2], "State": "RUNNING", "End": "Unknown"}], FOUR, "q")
    assert [(run["state"], run["restart_count"], run["ended_at"]) for run in found.runs] == [("RUNNING", 0, None)]


def test_a_run_whose_next_size_is_not_recorded_yet_goes_on() -> None:
    history = [fields(State="RESIZING", End=str(AT + 100), NodeList="n[1-3]")]
    (run,) = told([queued(NodeList="n1")], history, FOUR, "q").runs
    assert (run["state"], run["nodes"], run["ended_at"]) == ("RUNNING", "n1", None)
    (run,) = told([], history, FOUR, "q").runs
    assert run["ended_at"] is None


def test_queue_and_accounting_are_one_run_and_the_end_counts() -> None:
    history = [fields(), fields(JobIDRaw="8", JobID="8", State="PENDING", Start="Unknown", End="Unknown", NodeList="")]
    waiting = {"State": "PENDING", "Reason": "Priority", "Start": "", "End": "", "NodeList": "", "Restarts": "0"}
    queue = [queued(("n1", "gpu:2(IDX:2-3)")), Queued(fields(JobIDRaw="8", JobID="8", **waiting))]
    found = told(queue, history, FOUR, "q")
    by_id = {run["job_id"]: run for run in found.runs}
    assert len(found.runs) == 2
    assert (by_id["7"]["state"], by_id["7"]["ended_at"]) == ("COMPLETED", datetime.fromtimestamp(AT + 3660, UTC))
    assert by_id["8"]["pending_reason"] == "Priority"
    assert found.holdings == []


def test_a_job_that_changed_while_it_was_asked_comes_the_next_time() -> None:
    found = told([queued(Restarts="")], [], FOUR, "q")
    assert (found.runs, found.skipped_count) == ([], 1)
    found = told([queued(Restarts="")], [fields(**{**RUNNING, "Restarts": ""})], FOUR, "q")
    assert ([run["restart_count"] for run in found.runs], found.skipped_count) == ([0], 1)


def test_a_run_that_accounting_believes_to_go_on_ended_with_its_requeue() -> None:
    again = queued(Submit=str(AT + 900), Start=str(AT + 1000), Restarts="1", NodeList="n2")
    found = told([again], [fields(State="RUNNING", End="Unknown")], FOUR, "q")
    first, second = sorted(found.runs, key=lambda run: str(run["submitted_at"]))
    assert (first["state"], first["ended_at"]) == ("REQUEUED", datetime.fromtimestamp(AT + 900, UTC))
    assert [first["restart_count"], second["restart_count"], second["ended_at"]] == [0, 1, None]
    assert found.behind_count == 0


def test_a_run_of_accounting_that_is_not_in_the_queue_is_counted() -> None:
    found = told([queued()], [fields(JobIDRaw="8", JobID="8", State="RUNNING", End="Unknown")], FOUR, "q")
    assert (found.behind_count, len(found.runs)) == (1, 2)


def test_a_record_that_cannot_be_read_is_refused_alone() -> None:
    found = told([], [fields(Submit="Unknown"), fields(JobIDRaw="8", JobID="8")], FOUR, "sacct")
    assert [run["job_id"] for run in found.runs] == ["8"]
    assert found.rejected[0].where == "sacct: job 7"
    assert found.rejected[0].reason == "column Submit: found nothing, expected an instant"


def test_all_gpus_of_all_nodes_need_no_index() -> None:
    whole = fields(NodeList="n[1-2]", AllocTRES="cpu=2,gres/gpu=8,node=2")
    found = told([], [whole], FOUR, "sacct")
    assert sorted((row["node"], row["gpu_uuid"]) for row in found.holdings) == [
        (node, f"index:{index}") for node in ("n1", "n2") for index in range(4)
    ]
    assert told([], [whole], {"n1": Devices(8), "n2": Devices(8)}, "sacct").holdings == []
    assert told([], [whole], {"n1": Devices(4)}, "sacct").holdings == []


SHOWN = """\
JobId=7 JobName=x JobState=FAILED Restarts=9
   JobState=RUNNING Reason=None Dependency=(null)
   Requeue=1 Restarts=2 BatchFlag=1 Reboot=0 ExitCode=0:0
   SubmitTime=1795000000 EligibleTime=1795000000
   TRES=cpu=1,node=1,gres/gpu=2
   JOB_GRES=gpu:h100:2
     Nodes=n[1-2] CPU_IDs=0 Mem=0 GRES=gpu:h100:1(IDX:0)
   MinCPUsNode=1 MinMemoryNode=0 MinTmpDiskNode=0
   WorkDir=/tmp
     Nodes=n3 CPU_IDs=0 Mem=0 GRES=gpu:h100:1(IDX:0)

JobId=8 JobName=y
   SubmitTime=1795000000
"""


def test_details_are_read_from_lines_that_the_user_cannot_write() -> None:
    found, twice = details(SHOWN)
    assert found["7"]["Restarts"] == "2"
    assert found["7"]["devices"] == "n[1-2] gpu:h100:1(IDX:0)"
    assert twice == []
    found, twice = details(SHOWN + "JobId=7 JobName=z\n   Requeue=1 Restarts=0\n")
    assert (list(found), twice) == (["8"], ["7"])
    assert details("No jobs in the system\n") == ({}, [])


def test_records_hold_line_breaks_and_a_text_that_breaks_off_is_said() -> None:
    assert list(records("CLUSTER: x\n1|#a\nb|#\n2|#c|#\n", "|#", 2, "squeue")) == [["1", "a\nb"], ["2", "c"]]
    assert list(records("CLUSTER: x\n", "|#", 2, "squeue")) == []
    for broken in ("1|#a|#2|#", "1|#a|#\n2"):
        with pytest.raises(SourceError, match="ends within a record"):
            list(records(broken, "|#", 2, "squeue"))


def program(folder: Path, name: str, body: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def pulled(folder: Path, **settings: Any) -> Any:
    source = SlurmSettings(kind="slurm", cluster="c", commands_folder=folder, **settings)
    return list(slurm.open(source)(datetime.now(UTC) - timedelta(minutes=5), datetime.now(UTC)))


def test_a_command_that_fails_is_said_in_its_words(tmp_path: Path) -> None:
    program(tmp_path, "sinfo", "echo 'noise' >&2; echo 'slurm_load_partitions: no controller' >&2; exit 1")
    with pytest.raises(SourceError, match=r"sinfo: exit status 1, it says 'slurm_load_partitions: no controller'"):
        pulled(tmp_path)


def test_a_command_that_hangs_or_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="sinfo: No such file or directory"):
        pulled(tmp_path)
    program(tmp_path, "sinfo", "exec sleep 20")
    with pytest.raises(SourceError, match=r"found no answer within 0\.2 s"):
        pulled(tmp_path, timeout_seconds=0.2)


def test_what_stands_is_not_claimed_when_something_could_not_be_read(tmp_path: Path) -> None:
    between = "b=$(printf %s \"$*\" | sed 's/.*--format %[AN]\\(|[0-9a-f]*|\\).*/\\1/')"
    program(tmp_path, "sinfo", f'{between}; printf "n1@idle@none@Unknown@gpu:2@8@1000@\\n" | sed "s/@/$b/g"')
    program(tmp_path, "scontrol", "echo 'No jobs in the system'")
    line = f"7@7@ana@acc@gpu@normal@{AT}@{AT + 9}@N/A@RUNNING@None@UNLIMITED@n1@train@(null)@"
    program(tmp_path, "squeue", f'{between}; printf "{line}\\n" | sed "s/@/$b/g"')
    (piece,) = pulled(tmp_path, accounting=False)
    assert set(piece.standing) == {NodeState, *piece.frames.keys()} - {Job, JobGpu}
    assert piece.remarks == ("1 job changed while the queue was asked: to come with the next pull",)
    assert piece.frames[Job].is_empty()
    assert isinstance(piece.frames[NodeState], pl.DataFrame)


def test_accounting_is_asked_again_for_some_minutes_and_each_hour_for_a_day() -> None:
    since = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
    minute = timedelta(minutes=1)
    assert asked_from(since, since + minute, 30) == since - 10 * minute
    assert asked_from(since, since + 30 * minute, 30) == since - timedelta(hours=23)
    assert asked_from(None, since, 30) == since - timedelta(days=30)
    assert asked_from(since, since - minute, 30) == since - 11 * minute


def test_a_token_that_cannot_be_read_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    settings = SlurmSettings(kind="slurm", url="unix:/nowhere", token_file=tmp_path / "none")
    with pytest.raises(ConfigError, match=r"token_file: .*none"):
        list(slurm.open(settings)(None, datetime.now(UTC)))
    (tmp_path / "two").write_bytes(b"SLURM_JWT=abc\nSLURM_JWT=def\n")
    settings = SlurmSettings(kind="slurm", url="http://localhost:1", token_file=tmp_path / "two")
    with pytest.raises(ConfigError, match=r"token_file: .*expected one token") as caught:
        list(slurm.open(settings)(None, datetime.now(UTC)))
    assert "abc" not in str(caught.value)
    settings = SlurmSettings(kind="slurm", url="https://localhost:1", ca_file=tmp_path / "none")
    with pytest.raises(ConfigError, match=r"ca_file: .*none"):
        list(slurm.open(settings)(None, datetime.now(UTC)))
    with pytest.raises(ValueError, match="expected https://HOST:PORT or unix:/PATH"):
        SlurmSettings(kind="slurm", url="host:6820")
