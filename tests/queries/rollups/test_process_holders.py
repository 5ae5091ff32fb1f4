"""Where no scheduler runs, the processes on a device say who holds it."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from ledger.names import STATES
from ledger.sections import Match
from queries.rollups._naming import Naming

Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]

CHAIN = ("gpu_state_interval", "gpu_minute", "gpu_hour", "job_gpu_hour")
PLACE = {"cluster": "c", "node": "n"}
VISION = Naming(teams=(Match(name="vision", field="user", value="ali*"),))


def machine(ledger: Any, minute: Minutes, holder: str | None = "process") -> Any:
    """Return a ledger with one node of one device."""
    mine = ledger()
    mine.add("node", [{**PLACE, "exists_start": minute(-600), "holder": holder}])
    mine.add(
        "gpu",
        [{**PLACE, "gpu_uuid": "G", "exists_start": minute(-600), "parent_gpu_uuid": "", "gpu_fraction": Decimal(1)}],
    )
    return mine


def ran(
    ledger: Any, minute: Minutes, minutes: Sequence[float], *processes: tuple[str | None, str, float | None]
) -> None:
    """Add a sample a minute of a busy device, with processes of (user, job, share of its kernels)."""
    jobs = sorted({job for _, job, _ in processes if job})
    for at in minutes:
        told = {**PLACE, "sampled_at": minute(at), "gpu_uuid": "G", "step_seconds": 60.0}
        busy = {"status": "ok", "evidence_quality": "A", "graphics_active_ratio": 0.9, "sm_active_ratio": 0.9}
        seen = {"process_count": len(processes), "process_job_ids": ",".join(jobs)}
        seen["jobless_process_count"] = sum(not job for _, job, _ in processes)
        ledger.add("gpu_sample", [{**told, **busy, **seen}])
        ledger.add(
            "gpu_process_sample",
            [
                {**told, "pid_code": 100 + index, "user": user, "job_id": job, "kernel_active_ratio": share}
                for index, (user, job, share) in enumerate(processes)
            ],
        )


def held(frame: pl.DataFrame) -> dict[tuple[str, str, str | None], Decimal]:
    """Return productive seconds by job, team and user."""
    rows = frame.group_by("job_id", "team", "user").agg(pl.col("productive_seconds").sum()).rows()
    return {(job, team, user): seconds for job, team, user, seconds in rows}


def test_the_owner_of_a_process_holds_the_device_and_the_team_rules_name_the_team(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = machine(ledger, minute)
    ran(mine, minute, range(10, 31), ("alice", "", None))
    ran(mine, minute, range(31, 61), ("bob", "", None))
    rows = mine.chain(hours(1), *CHAIN, naming=VISION)
    assert held(rows) == {("user:alice", "vision", "alice"): 21 * 60, ("user:bob", "unassigned", "bob"): 29 * 60}
    assert rows["submitted_at"].unique().to_list() == [minute(-600)]
    assert not rows["is_estimated"].any()


def test_two_owners_share_a_device_by_measured_time_else_evenly(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = machine(ledger, minute)
    ran(mine, minute, range(60), ("alice", "", 0.75), ("bob", "", 0.25))
    ran(mine, minute, range(60, 121), ("alice", "", None), ("bob", "", None))
    rows = mine.chain(hours(2), *CHAIN)
    first, second = (rows.filter(hour_start=minute(at)) for at in (0, 60))
    assert [each for *_, each in sorted(held(first).items())] == [2700, 900]
    assert [each for *_, each in sorted(held(second).items())] == [1800, 1800]
    assert not first["is_estimated"].any()
    assert second["is_estimated"].all()


@pytest.mark.parametrize("ended", [None, 40])
def test_a_job_of_a_process_holds_the_device_and_its_record_says_whose_it_is(
    ended: float | None, ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = machine(ledger, minute)
    record = {"cluster": "c", "job_id": "7", "restart_count": 1, "state": "RUNNING", "source": "simulation"}
    end = None if ended is None else minute(ended)
    mine.add("job", [{**record, "submitted_at": minute(-30), "ended_at": end, "user": "alice", "account": "lab"}])
    mine.add("job", [{**record, "submitted_at": minute(-90), "ended_at": minute(-20), "user": "eve", "account": "old"}])
    ran(mine, minute, range(61), ("root", "7", None), ("carol", "8", None), ("dave", "", None))
    rows = mine.chain(hours(1), *CHAIN)
    assert held(rows) == {("7", "lab", "alice"): 1800, ("8", "unassigned", None): 1800}
    assert rows.filter(job_id="7").select("submitted_at", "restart_count").row(0) == (minute(-30), 1)


def test_what_names_nobody_is_nobodys_and_a_gap_ends_a_holding(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = machine(ledger, minute)
    ran(mine, minute, range(11), (None, "", None))
    ran(mine, minute, range(11, 21), ("alice", "", None))
    ran(mine, minute, (50, 51), ("alice", "", None))
    rows = mine.chain(hours(1), *CHAIN)
    assert held(rows) == {("user:alice", "unassigned", "alice"): 600}
    assert mine.get("gpu_hour")["productive_seconds"].to_list() == [1260]


def test_a_scheduler_or_a_record_goes_before_processes(ledger: Any, hours: Spans, minute: Minutes) -> None:
    for holder in ("scheduler", None):
        mine = machine(ledger, minute, holder)
        ran(mine, minute, range(61), ("alice", "", None))
        assert mine.chain(hours(1), *CHAIN).is_empty()
    mine = machine(ledger, minute)
    run = {"cluster": "c", "job_id": "9", "submitted_at": minute(-5), "restart_count": 0}
    mine.add("job_gpu", [{**run, **PLACE, "gpu_uuid": "G", "held_start": minute(20), "held_end": None}])
    ran(mine, minute, range(61), ("alice", "", None))
    rows = mine.chain(hours(1), *CHAIN)
    assert dict(rows.select("job_id", "held_seconds").iter_rows()) == {"user:alice": 1200, "9": 2400}


def test_hours_may_be_computed_apart(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = machine(ledger, minute)
    ran(mine, minute, [at + 0.5 for at in range(180)], ("alice", "", None))
    whole = mine.chain(hours(3), *CHAIN)
    assert whole["held_seconds"].to_list() == [3570, 3600, 3570]
    parts = [mine.chain(hours(1, first=hour, now=3), *CHAIN) for hour in range(3)]
    assert pl.concat(parts).equals(whole)


def mixes(mine: Any, span: Any, **settings: Any) -> pl.DataFrame:
    """Return the mix of each job's hours, computed after all that it is computed from."""
    return mine.chain(span, *CHAIN, "node_minute", "bottleneck_minute", "bottleneck_hour", **settings)


def test_the_mix_of_what_processes_hold_is_told_and_sums_to_their_time(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = machine(ledger, minute)
    ran(mine, minute, range(10, 31), ("alice", "", None))
    ran(mine, minute, range(31, 61), ("bob", "", None), ("carol", "", None))
    ran(mine, minute, range(61, 121), (None, "8", None))
    ran(mine, minute, range(121, 181), ("root", "7", None), ("carol", "8", None))
    mixes(mine, hours(3))
    of_states = pl.sum_horizontal(pl.col(f"{state}_seconds") for state in STATES)
    held = mine.get("job_gpu_hour").group_by("job_id", "hour_start").agg(of_states.sum())
    mix = mine.get("bottleneck_hour")
    expected = {(job, hour): seconds for job, hour, seconds in held.rows()}
    assert expected["user:bob", minute(0)] == Decimal(29 * 30)
    allocated = mix.select("job_id", "hour_start", "gpu_allocated_seconds").rows()
    assert {(job, hour): seconds for job, hour, seconds in allocated} == expected
    # What limits a device is said of each of its holders.
    assert set(mine.get("bottleneck_minute")["job_id"]) == {"user:alice", "user:bob", "user:carol", "7", "8"}
    assert mix["confidence_ratio"].min() > 0
    by_minute = mine.get("bottleneck_minute").group_by(
        "job_id", pl.col("minute_start").dt.truncate("1h").alias("hour_start")
    )
    told = by_minute.agg(pl.col("gpu_allocated_seconds").sum())
    assert {(job, hour): seconds for job, hour, seconds in told.rows()} == expected


def test_a_minute_that_a_record_names_belongs_to_the_record(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = machine(ledger, minute)
    run = {"cluster": "c", "job_id": "9", "submitted_at": minute(-5), "restart_count": 0}
    mine.add("job_gpu", [{**run, **PLACE, "gpu_uuid": "G", "held_start": minute(20), "held_end": minute(40)}])
    ran(mine, minute, range(61), ("alice", "", None), ("bob", "5", None))
    mixes(mine, hours(1))
    rows = mine.get("bottleneck_minute").group_by("job_id").agg(pl.col("gpu_allocated_seconds").sum()).rows()
    assert dict(rows) == {"5": 2400, "9": 1200}


def test_minutes_of_process_holders_may_be_computed_apart(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = machine(ledger, minute)
    ran(mine, minute, [at + 0.5 for at in range(180)], ("alice", "", None), ("bob", "", None))
    mixes(mine, hours(3))
    whole = mine.get("bottleneck_minute")
    assert whole.height == 2 * 180
    parts = [mine.compute("bottleneck_minute", hours(1, first=hour, now=3)) for hour in range(3)]
    order = ["minute_start", "job_id"]
    assert pl.concat(parts).sort(order).equals(whole.sort(order))
