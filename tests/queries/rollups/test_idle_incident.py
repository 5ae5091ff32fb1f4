"""Incidents open after the time that is set, close by themselves, and listen to people."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from queries.rollups.idle_incident import Incidents

Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]

DEVICE = {"cluster": "c", "node": "n", "gpu_uuid": "G"}


def stretch(minute: Minutes, start: float, end: float, state: str = "held_idle", **more: object) -> dict[str, Any]:
    """Return one interval of the device, held by job 7 unless it says otherwise."""
    held = {"job_id": "7", "restart_count": 0, "team": "lab", "user": "ann", "is_observed": True}
    return {**DEVICE, "started_at": minute(start), "ended_at": minute(end), "state": state, **held, **more}


def test_idleness_over_clock_hours_and_both_kinds_is_one_incident(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add(
        "gpu_state_interval",
        [
            stretch(minute, 10, 40, "productive"),
            stretch(minute, 40, 60),
            stretch(minute, 60, 75, "allocated_idle"),
            stretch(minute, 75, 80, "productive"),
            stretch(minute, 80, 105),
            stretch(minute, 105, 120, job_id="8"),
        ],
    )
    rows = mine.compute("idle_incident", hours(2, now=2)).to_dicts()
    assert [(row["opened_at"], row["closed_at"], row["status"]) for row in rows] == [(minute(40), minute(75), "closed")]
    assert rows[0]["idle_seconds"] == Decimal(35 * 60)
    assert rows[0]["state"] == "allocated_idle"
    assert rows[0]["effective_cost"] is None
    sooner = mine.compute("idle_incident", hours(2, now=2), settings=Incidents(opens_after_minutes=15)).to_dicts()
    assert [row["job_id"] for row in sooner] == ["7", "7", "8"]
    assert [row["closed_at"] for row in sooner] == [minute(75), minute(105), None]


@pytest.mark.parametrize(
    ("decision", "until", "status"),
    [
        ("acknowledged", None, "acknowledged"),
        ("exempt", None, "exempt"),
        ("snoozed", 300, "snoozed"),
        ("snoozed", 90, "open"),
    ],
)
def test_a_decision_holds_while_the_incident_lasts(
    ledger: Any, hours: Spans, minute: Minutes, decision: str, until: float | None, status: str
) -> None:
    mine = ledger()
    mine.add("gpu_state_interval", [stretch(minute, 0, 60), stretch(minute, 60, 119.9)])
    made = {**DEVICE, "opened_at": minute(0), "decided_at": minute(61), "decided_by": "me", "decision": decision}
    earlier = {**made, "decided_at": minute(50), "decision": "acknowledged"}
    mine.add("incident_decision", [{**made, "snoozed_until": None if until is None else minute(until)}])
    assert mine.compute("idle_incident", hours(2, now=2))["status"].to_list() == [status]
    mine.tables["incident_decision"] = mine.get("incident_decision").clear()
    mine.add("incident_decision", [earlier])
    assert mine.compute("idle_incident", hours(2, now=2))["status"].to_list() == ["acknowledged"]
    mine.add("gpu_state_interval", [stretch(minute, 119.9, 121, "productive")])
    assert mine.compute("idle_incident", hours(3, now=2.1))["status"].to_list() == ["closed"]


def test_a_device_that_is_no_longer_seen_is_no_longer_idle(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add("gpu_state_interval", [stretch(minute, 0, 60), stretch(minute, 60, 120, "unknown", is_observed=False)])
    assert mine.compute("idle_incident", hours(2, now=1.1))["closed_at"].to_list() == [None]
    assert mine.compute("idle_incident", hours(2, now=2))["closed_at"].to_list() == [minute(60)]
