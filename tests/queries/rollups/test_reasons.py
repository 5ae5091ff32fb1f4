"""Why a device was free, broken or unknown, and whose process was on it: the reasons beside the states."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from queries.rollups._decision import Thresholds

Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]

PLACE = {"cluster": "c", "node": "n", "gpu_uuid": "G"}
BUSY = {"graphics_active_ratio": 0.9, "sm_active_ratio": 0.9}
IDLE = {"graphics_active_ratio": 0.0, "process_count": 0, "process_job_ids": ""}


def device(ledger: Any, minute: Minutes, holder: str | None = "scheduler") -> Any:
    """Return a ledger with one device."""
    mine = ledger()
    since = {"cluster": "c", "node": "n", "exists_start": minute(-600)}
    mine.add("node", [{**since, "holder": holder}])
    mine.add("gpu", [{**since, "gpu_uuid": "G", "parent_gpu_uuid": "", "gpu_fraction": Decimal(1)}])
    return mine


def sampled(minute: Minutes, values: dict[str, Any], first: int = 0, last: int = 60) -> list[dict[str, Any]]:
    """Return a sample a minute that all say the same."""
    fixed = {**PLACE, "status": "ok", "step_seconds": 60.0, "evidence_quality": "A"}
    return [{**fixed, **values, "sampled_at": minute(at)} for at in range(first, last + 1)]


def held(ledger: Any, minute: Minutes, job_id: str, start: float, end: float | None = None, **more: object) -> None:
    """Let a job hold the device."""
    run = {"cluster": "c", "job_id": job_id, "submitted_at": minute(-60), "restart_count": 0}
    ledger.add("job", [{**run, "state": "RUNNING", "source": "slurm", "started_at": minute(start), **more}])
    times = {"held_start": minute(start), "held_end": None if end is None else minute(end)}
    ledger.add("job_gpu", [{**PLACE, **run, **times}])


def said(ledger: Any, span: Any, **settings: object) -> list[tuple[str, str | None, float]]:
    """Return state, reason and minutes of each interval."""
    rows = ledger.compute("gpu_state_interval", span, **settings)
    length = (pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds() / 60_000
    return list(rows.select("state", "reason", length.alias("minutes")).iter_rows())


@pytest.mark.parametrize(
    ("node_state", "expected"),
    [
        ("UP", ("unallocated", "no_demand")),
        ("RESERVED", ("unallocated", "reservation")),
        ("QUOTA", ("unallocated", "quota")),
        ("DRAINED", ("faulty", "drained")),
        ("DRAINING", ("faulty", "drained")),
        ("DOWN", ("faulty", "node_down")),
        ("UNKNOWN", ("unknown", "holder_unknown")),
    ],
)
def test_a_free_device_is_free_for_the_reason_of_its_node(
    ledger: Any, hours: Spans, minute: Minutes, node_state: str, expected: tuple[str, str]
) -> None:
    mine = device(ledger, minute)
    mine.add("gpu_sample", sampled(minute, IDLE))
    mine.add("node_state", [{"cluster": "c", "node": "n", "state_start": minute(-90), "state": node_state}])
    assert said(mine, hours(1)) == [(*expected, 60)]


def test_a_node_that_is_off_is_free_and_one_that_is_down_is_broken_without_any_sample(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = device(ledger, minute)
    times = {"cluster": "c", "node": "n"}
    mine.add(
        "node_state",
        [
            {**times, "state_start": minute(0), "state_end": minute(20), "state": "POWERED_DOWN"},
            {**times, "state_start": minute(20), "state_end": minute(30), "state": "DOWN"},
            {**times, "state_start": minute(30), "state": "UP"},
        ],
    )
    assert said(mine, hours(1)) == [
        ("unallocated", "powered_down", 20),
        ("faulty", "node_down", 10),
        ("unknown", "no_sample", 30),
    ]


def test_what_jobs_wait_for_says_why_a_device_stays_free(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = device(ledger, minute)
    mine.add("gpu_sample", sampled(minute, IDLE))
    fixed = {"cluster": "c", "restart_count": 0, "state": "PENDING", "source": "slurm", "requested_gpu_count": 8.0}
    waits = {
        "1": {"submitted_at": minute(10), "started_at": minute(25), "pending_reason": "Resources"},
        "2": {"submitted_at": minute(20), "started_at": minute(40), "pending_reason": "QOSMaxGRESPerUser"},
        "3": {"submitted_at": minute(0), "pending_reason": "Dependency"},
        "4": {"submitted_at": minute(0), "pending_reason": "Resources", "requested_gpu_count": 0.0},
        "5": {"submitted_at": minute(50), "started_at": minute(50.5), "pending_reason": "None"},
    }
    mine.add("job", [{**fixed, "job_id": name, **row} for name, row in waits.items()])
    assert said(mine, hours(1)) == [
        ("unallocated", "no_demand", 10),
        ("unallocated", "fragmentation", 15),
        ("unallocated", "quota", 15),
        ("unallocated", "no_demand", 20),
    ]


@pytest.mark.parametrize(
    ("pending_reason", "reason"),
    [
        ("Unschedulable: 0/4 nodes are available: 4 Insufficient nvidia.com/gpu.", "fragmentation"),
        ("SchedulingGated: kueue.x-k8s.io/admission", "quota"),
        ("QuotaReserved: insufficient unused quota for nvidia.com/gpu in flavor h100, 8 more needed", "quota"),
        ("SchedulingGated: example.org/my-gate", "no_demand"),
    ],
)
def test_what_pods_wait_for_says_why_a_device_stays_free(
    ledger: Any, hours: Spans, minute: Minutes, pending_reason: str, reason: str
) -> None:
    mine = device(ledger, minute)
    mine.add("gpu_sample", sampled(minute, IDLE))
    row = {"cluster": "c", "restart_count": 0, "state": "PENDING", "source": "kubernetes", "requested_gpu_count": 8.0}
    mine.add("job", [{**row, "job_id": "u", "submitted_at": minute(-10), "pending_reason": pending_reason}])
    assert said(mine, hours(1)) == [("unallocated", reason, 60)]


def test_who_has_no_word_on_a_node_leaves_that_of_others(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = device(ledger, minute)
    agent = {"cluster": "c", "node": "n", "exists_start": minute(-300), "source": "agent", "gpu_count": 1}
    mine.add("node", [agent])
    mine.add("gpu_sample", sampled(minute, IDLE))
    assert said(mine, hours(1)) == [("unallocated", "no_demand", 60)]


@pytest.mark.parametrize(
    ("closing", "broken"),
    [
        ({"event": "reset"}, 30),
        ({"event": "driver_reload"}, 30),
        ({"event": "xid", "xid_code": 31}, 50),
        ({}, 50),
    ],
)
def test_a_fault_stays_open_until_something_closes_it(
    ledger: Any, hours: Spans, minute: Minutes, closing: dict[str, Any], broken: float
) -> None:
    mine = device(ledger, minute)
    held(mine, minute, "1", -60)
    mine.add("gpu_sample", sampled(minute, {**BUSY, "process_count": 1, "process_job_ids": "1"}))
    event = {**PLACE, "occurred_at": minute(10), "event": "xid", "xid_code": 79, "is_critical": True}
    later = {**PLACE, "occurred_at": minute(40), "xid_code": 0, "is_critical": False, **closing}
    mine.add("gpu_event", [event, *([later] if closing else [])])
    rest = 60 - 10 - broken
    expected = [("productive", None, 10), ("faulty", "xid_79", broken), ("productive", None, rest)]
    assert said(mine, hours(1)) == [row for row in expected if row[2]]


@pytest.mark.parametrize(("state", "broken"), [("COMPLETED", 20), ("RUNNING", 20), ("FAILED", 50)])
def test_the_next_job_that_runs_closes_a_fault_and_one_that_fails_does_not(
    ledger: Any, hours: Spans, minute: Minutes, state: str, broken: float
) -> None:
    mine = device(ledger, minute)
    held(mine, minute, "2", 30, state=state)
    mine.add("gpu_sample", sampled(minute, {**BUSY, "process_count": 1, "process_job_ids": "2"}))
    event = {**PLACE, "occurred_at": minute(10), "event": "xid", "xid_code": 48, "is_critical": True}
    mine.add("gpu_event", [event])
    rows = said(mine, hours(1))
    assert sum(length for name, _, length in rows if name == "faulty") == broken


def test_a_fault_that_nothing_closes_is_forgotten_after_a_week(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = device(ledger, minute)
    mine.tables["gpu"] = mine.get("gpu").with_columns(exists_start=pl.lit(minute(-30 * 1440)))
    mine.tables["node"] = mine.get("node").with_columns(exists_start=pl.lit(minute(-30 * 1440)))
    mine.add("gpu_sample", sampled(minute, IDLE))
    week = 7 * 24 * 60
    mine.add(
        "gpu_event",
        [{**PLACE, "occurred_at": minute(30 - week), "event": "remap_failed", "xid_code": 0, "is_critical": True}],
    )
    assert said(mine, hours(1)) == [("faulty", "remap_failed", 30), ("unallocated", "no_demand", 30)]


def test_a_lost_device_is_broken_while_its_status_says_so(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = device(ledger, minute)
    held(mine, minute, "1", -60)
    mine.add("gpu_sample", sampled(minute, {"status": "lost", "evidence_quality": "X"}, 0, 29))
    mine.add("gpu_sample", sampled(minute, {"status": "denied", "evidence_quality": "X"}, 30, 60))
    assert said(mine, hours(1)) == [("faulty", "lost", 30), ("unknown", "denied", 30)]


def test_a_process_of_no_live_job_is_stray_only_after_its_grace(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = device(ledger, minute)
    held(mine, minute, "1", -60, 20)
    mine.add("gpu_sample", sampled(minute, {**BUSY, "process_count": 1, "process_job_ids": "1"}))
    # At minute 25 it is 300 seconds old, which is not more than the grace; the sample at 26 says that it is.
    assert said(mine, hours(1)) == [
        ("productive", None, 20),
        ("unallocated", "no_demand", 6),
        ("orphaned", None, 34),
    ]
    shorter = said(mine, hours(1), thresholds=Thresholds(stray_grace_seconds=60))
    assert [row[2] for row in shorter] == [20, 2, 38]


def test_without_a_scheduler_the_owner_of_a_process_holds_the_device(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = device(ledger, minute, holder="process")
    mine.add("gpu_sample", sampled(minute, {**BUSY, "process_count": 1, "process_job_ids": ""}, 0, 19))
    mine.add("gpu_sample", sampled(minute, {**IDLE, "process_count": 1, "process_job_ids": "5"}, 20, 39))
    mine.add("gpu_sample", sampled(minute, IDLE, 40, 49))
    mine.add("gpu_sample", sampled(minute, BUSY, 50, 60))
    assert said(mine, hours(1)) == [
        ("productive", None, 20),
        ("held_idle", None, 20),
        ("unallocated", "no_demand", 10),
        ("productive", None, 10),
    ]
    rows = mine.get("gpu_state_interval")
    assert rows["job_id"].to_list() == ["", "5", "", ""]
    assert rows["holder_count"].to_list() == [1, 1, 0, None]


def test_a_holding_counts_where_nobody_says_how_devices_are_held(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = device(ledger, minute, holder=None)
    held(mine, minute, "1", -60, 30)
    mine.add("gpu_sample", sampled(minute, IDLE))
    assert said(mine, hours(1)) == [("allocated_idle", None, 30), ("unknown", "holder_unknown", 30)]


def test_a_reset_at_the_instant_of_a_fault_does_not_close_it(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = device(ledger, minute)
    mine.add("gpu_sample", sampled(minute, IDLE))
    event = {**PLACE, "occurred_at": minute(10), "xid_code": 0}
    mine.add(
        "gpu_event",
        [{**event, "event": "lost", "is_critical": True}, {**event, "event": "reset", "is_critical": False}],
    )
    assert said(mine, hours(1)) == [("unallocated", "no_demand", 10), ("faulty", "lost", 50)]


@pytest.mark.parametrize(("late", "unknown"), [(0, 0), (0.001, 3 + 0.001 / 60)])
def test_three_paces_are_a_step_and_a_millisecond_more_is_a_gap_all_of_it(
    ledger: Any, hours: Spans, minute: Minutes, late: float, unknown: float
) -> None:
    mine = device(ledger, minute)
    mine.add("gpu_sample", sampled(minute, IDLE, 0, 10))
    after = sampled(minute, IDLE, 13, 60)
    after[0]["sampled_at"] = minute(13 + late / 60)
    mine.add("gpu_sample", after)
    found = said(mine, hours(1))
    assert sum(length for state, _, length in found if state == "unknown") == pytest.approx(unknown)
    assert sum(length for _, _, length in found) == pytest.approx(60)
