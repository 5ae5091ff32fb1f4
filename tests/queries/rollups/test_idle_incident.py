"""Incidents open after the time that is set, close by themselves, and listen to people."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
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


def allocated(
    minute: Minutes, hour: int, amount: str | None, state: str = "held_idle", **more: object
) -> dict[str, Any]:
    """Return what one clock hour of the device's idle time cost job 7, unless it says otherwise."""
    charge = {
        "provider": "p",
        "invoice_issuer": "p",
        "billing_account_id": "a",
        "invoice_id": "",
        "billing_period_start": datetime(2026, 11, 1, tzinfo=UTC),
        "resource_id": "r",
        "charge_category": "Usage",
        "charge_class": "",
        "commitment_status": "",
        "billing_currency": "EUR",
        "is_estimated": False,
        "in_scope": True,
    }
    holder = {"bucket": "allocated", "team": "lab", "user": "ann", "job_id": "7", "restart_count": 0, "model": "m"}
    return {
        **DEVICE,
        **charge,
        **holder,
        "hour_start": minute(60 * hour),
        "state": state,
        "billed_cost": Decimal(0),
        "effective_cost": None if amount is None else Decimal(amount),
        "allocated_method_id": "whole_node_to_gpu",
        "held_gpu_seconds": Decimal(0),
        **more,
    }


def told(mine: Any, hours: Spans, until: float) -> list[tuple[object, object, object]]:
    """Return the costs of the incidents, in the order in which they opened."""
    rows = mine.compute("idle_incident", hours(ceil(until), now=until)).sort("opened_at")
    return list(rows.select("effective_cost", "billing_currency", "is_estimated").iter_rows())


def test_whole_hours_cost_what_was_allocated(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add("gpu_state_interval", [stretch(minute, 0, 60), stretch(minute, 60, 90)])
    mine.add("gpu_state_interval", [stretch(minute, 90, 120, "allocated_idle")])
    # A node has several charges, and what it costs is no round number.
    mine.add(
        "allocation_hour",
        [
            allocated(minute, 0, "3.333333333333333333"),
            allocated(minute, 0, "0.000000000000000001", resource_id="disk"),
            allocated(minute, 1, "1.111111111111111111"),
            allocated(minute, 1, "1.111111111111111112", "allocated_idle"),
            allocated(minute, 1, "9", job_id="8"),
            allocated(minute, 1, "9", gpu_uuid="H"),
            allocated(minute, 1, "9", bucket="unallocable"),
            allocated(minute, 1, "9", "productive"),
        ],
    )
    assert told(mine, hours, 2) == [(Decimal("5.555555555555555557"), "EUR", False)]


def test_incidents_and_shorter_pauses_of_an_hour_divide_its_cost_exactly(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = ledger()
    idle = [(0, 7), (10, 45), (50, 53)]
    mine.add("gpu_state_interval", [stretch(minute, *each) for each in idle])
    mine.add("allocation_hour", [allocated(minute, 0, "1")])
    # The three minutes that are no incident carry the rest, and what no share divides goes to the longest.
    assert told(mine, hours, 1) == [(Decimal("0.777777777777777779"), "EUR", False)]
    every = mine.compute("idle_incident", hours(1, now=1), settings=Incidents(opens_after_minutes=5))
    shorter = every.sort("opened_at")["effective_cost"].to_list()
    assert shorter == [Decimal("0.155555555555555555"), Decimal("0.777777777777777779")]
    assert 1 - sum(shorter) == Decimal("0.066666666666666666")


def test_hours_that_nothing_has_priced_yet_count_at_the_last_rate(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add("gpu_state_interval", [stretch(minute, 30, 60), stretch(minute, 60, 120), stretch(minute, 120, 140)])
    assert told(mine, hours, 2.4) == [(None, None, None)]
    mine.add("allocation_hour", [allocated(minute, 0, "3")])
    assert told(mine, hours, 2.4) == [(Decimal(3 + 6 + 2), "EUR", True)]
    mine.add("allocation_hour", [allocated(minute, 1, "5", is_estimated=True), allocated(minute, 2, None)])
    assert told(mine, hours, 2.4) == [(3 + 5 + Decimal("1.666666666666666667"), "EUR", True)]


def test_an_earlier_hour_without_a_price_leaves_the_cost_unknown(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add("gpu_state_interval", [stretch(minute, 0, 60), stretch(minute, 60, 120)])
    mine.add("allocation_hour", [allocated(minute, 0, None), allocated(minute, 1, "5")])
    assert told(mine, hours, 2) == [(None, None, None)]


def test_amounts_of_two_currencies_are_never_added(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add("gpu_state_interval", [stretch(minute, 0, 60)])
    mine.add("allocation_hour", [allocated(minute, 0, "2"), allocated(minute, 0, "3", billing_currency="USD")])
    assert told(mine, hours, 1) == [(Decimal(3), "USD", False)]


def test_all_who_hold_an_idle_device_are_counted(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    both: dict[str, Any] = {"job_id": "7,8", "restart_count": None}
    mine.add("gpu_state_interval", [stretch(minute, 0, 20), stretch(minute, 20, 60, **both)])
    # Of the hour job 7 has twenty minutes alone and half of forty, job 8 the other half.
    mine.add("allocation_hour", [allocated(minute, 0, "4"), allocated(minute, 0, "2", job_id="8")])
    assert told(mine, hours, 1) == [(Decimal(4), "EUR", False)]


def test_a_rule_exempts_by_the_name_and_model_of_the_run_that_idles(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = ledger()
    mine.add("gpu_state_interval", [stretch(minute, 0, 60), stretch(minute, 60, 119.9)])
    run = {"cluster": "c", "job_id": "7", "restart_count": 0, "user": "ann", "state": "RUNNING"}
    mine.add(
        "job",
        [
            {**run, "submitted_at": minute(-900), "job_name": "another job of that id", "model": "old"},
            {**run, "submitted_at": minute(-30), "job_name": "serve", "model": "llama-3-70b"},
        ],
    )
    before = mine.compute("idle_incident", hours(2, now=2)).to_dicts()
    assert [(row["job_name"], row["model"], row["status"]) for row in before] == [("serve", "llama-3-70b", "open")]
    rule = {**dict.fromkeys(("cluster", "node", "user", "job"), ""), "model": "llama*", "exemption_id": "r"}
    times = {"starts_at": minute(0), "ends_at": minute(500), "reason": "kept warm", "made_by": "bob"}
    mine.add("incident_exemption", [{**rule, **times}])
    after = mine.compute("idle_incident", hours(2, now=2)).to_dicts()
    assert after == [{**before[0], "status": "exempt"}], "nothing else of it changes"
