import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from ledger.names import STATES
from ledger.tables import (
    AllocationHour,
    Asset,
    BottleneckHour,
    Finding,
    FindingDecision,
    FocusCharge,
    Job,
    JobGpuHour,
)
from queries.graph import Span
from queries.rules.idle_gpu import IdleGpu, idle_gpu

END = datetime(2026, 11, 20, 5, tzinfo=UTC)
DAYS = 14
START = END - timedelta(days=DAYS)
HOURS = DAYS * 24
SUBMITTED = START - timedelta(hours=1)
MONTH = Decimal("730.5") / HOURS


def frame(schema: type[dy.Schema], rows: Sequence[Mapping[str, Any]]) -> pl.LazyFrame:
    types = schema.create_empty().schema
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in types}, schema=types, strict=False).lazy()


def held(place: int, idle: int = 3600, **more: Any) -> dict[str, Any]:
    states = {f"{state}_seconds": Decimal(0) for state in STATES}
    return {
        "hour_start": START + timedelta(hours=place),
        "cluster": "c",
        "node": "n",
        "gpu_uuid": "g",
        "job_id": "7",
        "restart_count": 0,
        "submitted_at": SUBMITTED,
        "user": "ada",
        "team": "vision",
        "workload_kind": "notebook",
        "model": "m",
        "gpu_fraction": Decimal(1),
        "is_estimated": False,
        "held_seconds": Decimal(3600),
        "coverage_ratio": 1.0,
        **states,
        "held_idle_seconds": Decimal(idle),
        "productive_seconds": Decimal(3600 - idle),
        **more,
    }


def cost(place: int, amount: str = "2", **more: Any) -> dict[str, Any]:
    return {
        "hour_start": START + timedelta(hours=place),
        "cluster": "c",
        "node": "n",
        "gpu_uuid": "g",
        "job_id": "7",
        "restart_count": 0,
        "submitted_at": SUBMITTED,
        "state": "held_idle",
        "provider": "cloud",
        "billing_account_id": "a",
        "commitment_status": "",
        "billing_currency": "USD",
        "is_estimated": False,
        "billed_cost": Decimal(amount),
        "effective_cost": Decimal(amount),
        **more,
    }


def found(
    hours: Sequence[Mapping[str, Any]],
    costs: Sequence[Mapping[str, Any]] = (),
    *,
    earlier: pl.DataFrame | None = None,
    decisions: Sequence[Mapping[str, Any]] = (),
    purchases: Sequence[Mapping[str, Any]] = (),
    assets: Sequence[Mapping[str, Any]] = (),
    causes: Sequence[Mapping[str, Any]] = (),
    jobs: Sequence[Mapping[str, Any]] = (),
    end: datetime = END,
    settings: IdleGpu | None = None,
) -> pl.DataFrame:
    before = Finding.create_empty() if earlier is None else earlier
    rows = idle_gpu.rollup.function(
        frame(JobGpuHour, hours),
        frame(AllocationHour, costs),
        frame(BottleneckHour, causes),
        frame(Job, jobs),
        frame(FocusCharge, purchases),
        frame(Asset, assets),
        before.lazy(),
        frame(FindingDecision, decisions),
        Span(START - timedelta(days=30), end, end + timedelta(minutes=20)),
        settings or IdleGpu(),
    ).collect()
    return Finding.validate(rows)


def one(*args: Any, **more: Any) -> dict[str, Any]:
    (row,) = found(*args, **more).to_dicts()
    return row


IDLE = [held(place) for place in range(HOURS)]
COST = [cost(place) for place in range(HOURS)]


def test_a_session_that_idles_for_two_weeks_is_told_with_its_price() -> None:
    run = {"cluster": "c", "job_id": "7", "restart_count": 0, "submitted_at": SUBMITTED}
    row = one(IDLE, COST, jobs=[{**run, "source": "slurm", "job_name": "lab"}])
    assert (row["subject"], row["owner"], row["status"]) == ("user:ada/notebook", "ada", "open")
    assert row["saving_effective_month"] == Decimal(1461)
    assert row["saving_cash_month"] == Decimal(1461)
    assert row["freed_gpu_hours_month"] == Decimal("730.5")
    assert (row["billing_currency"], row["cash_from"], row["confidence"]) == ("USD", None, "high")
    assert "scancel 7  # lab" in row["directive"]
    assert json.loads(row["evidence"])["idle_gpu_hours"] == HOURS
    assert (row["evidence_start"], row["evidence_end"]) == (START, END)


def test_only_hours_that_idle_are_claimed_and_few_of_them_are_not_told() -> None:
    mixed = [held(place, 3600 if place < 30 else 1800) for place in range(HOURS)]
    row = one(mixed, COST)
    assert row["saving_effective_month"] == pytest.approx(60 * MONTH)
    few = [held(place, 3600 if place < 20 else 1800) for place in range(HOURS)]
    assert found(few, COST).is_empty()


def test_a_slice_and_a_share_count_as_their_part() -> None:
    sliced = [held(place, gpu_fraction=Decimal("0.5")) for place in range(HOURS)]
    assert one(sliced, COST)["freed_gpu_hours_month"] == Decimal("365.25")


def test_without_two_weeks_or_coverage_there_is_no_advice() -> None:
    assert found([held(place) for place in range(HOURS - 7 * 24, HOURS)], COST).is_empty()
    assert found([held(place, coverage_ratio=0.8) for place in range(HOURS)], COST).is_empty()


def test_without_a_price_the_hours_are_told_and_the_money_is_null() -> None:
    row = one(IDLE)
    assert (row["saving_effective_month"], row["saving_cash_month"], row["billing_currency"]) == (None, None, None)
    assert row["freed_gpu_hours_month"] == Decimal("730.5")


def test_under_a_commitment_cash_waits_for_its_end() -> None:
    ends = datetime(2027, 3, 1, tzinfo=UTC)
    purchase = {
        "ServiceProviderName": "cloud",
        "BillingAccountId": "a",
        "CommitmentDiscountId": "x",
        "ChargePeriodEnd": ends,
    }
    covered = [cost(place, commitment_status="Used" if place % 2 else "") for place in range(HOURS)]
    row = one(IDLE, covered, purchases=[purchase])
    assert row["saving_effective_month"] == Decimal(1461)
    assert row["saving_cash_month"] == Decimal("730.5")
    assert row["cash_from"] == ends


def test_owned_hardware_saves_no_cash_before_it_is_written_off() -> None:
    asset = {"asset_id": "1", "cluster": "c", "node": "n", "life_end": date(2029, 1, 1)}
    row = one(IDLE, COST, assets=[asset])
    assert (row["saving_cash_month"], row["cash_from"]) == (Decimal(0), datetime(2029, 1, 1, tzinfo=UTC))


def test_two_currencies_stay_apart() -> None:
    row = one(IDLE, [*COST, *(cost(place, "1", billing_currency="EUR") for place in range(HOURS))])
    assert (row["billing_currency"], row["saving_effective_month"]) == ("USD", Decimal(1461))
    assert json.loads(row["evidence"])["other_currencies"] == {"EUR": str(HOURS)}


def test_a_starved_session_is_told_what_it_waits_for() -> None:
    cause = {
        "hour_start": START,
        "cluster": "c",
        "job_id": "7",
        "restart_count": 0,
        "submitted_at": SUBMITTED,
        "idle_seconds": Decimal(3600),
        "idle_cause": "input_storage",
    }
    assert one(IDLE, COST, causes=[cause])["directive"].startswith("# these jobs wait for storage")


def decision(key: str, status: str, at: datetime = END, **more: Any) -> dict[str, Any]:
    return {"finding_id": key, "status": status, "decided_at": at, "decided_by": "eve", "reason": "why", **more}


def test_decisions_and_the_first_sight_are_kept() -> None:
    first = found(IDLE, COST)
    key = first["finding_id"][0]
    later = END + timedelta(hours=5)
    again = one(IDLE, COST, earlier=first, end=END, decisions=[decision(key, "dismissed")])
    assert (again["status"], again["decided_by"], again["reason"]) == ("dismissed", "eve", "why")
    assert again["first_seen_at"] == first["first_seen_at"][0]
    snoozed = [decision(key, "snoozed", snoozed_until=later)]
    assert one(IDLE, COST, earlier=first, decisions=snoozed)["status"] == "snoozed"
    over = [decision(key, "snoozed", snoozed_until=END - timedelta(hours=1))]
    assert one(IDLE, COST, earlier=first, decisions=over)["status"] == "open"


def test_what_is_no_longer_found_expires() -> None:
    first = found(IDLE, COST)
    row = one([], earlier=first)
    assert (row["status"], row["saving_effective_month"]) == ("expired", Decimal(1461))


def test_an_applied_finding_is_measured_against_what_it_was() -> None:
    first = found(IDLE, COST)
    key = first["finding_id"][0]
    applied = [decision(key, "applied", END)]
    later = END + timedelta(days=2)
    after = [held(HOURS + place) for place in range(12)]
    price = [cost(HOURS + place) for place in range(12)]
    row = one([*IDLE, *after], [*COST, *price], earlier=first, decisions=applied, end=later)
    assert (row["status"], row["applied_at"], row["saving_effective_month"]) == ("applied", END, Decimal(1461))
    # Twelve of 48 hours still idled: a quarter of the money is still spent.
    assert row["saving_realised_month"] == Decimal("1095.75")
    gone = one(IDLE, COST, earlier=first, decisions=applied, end=later)
    assert gone["saving_realised_month"] == Decimal(1461)


def test_running_again_with_its_own_output_changes_nothing() -> None:
    first = found(IDLE, COST)
    assert found(IDLE, COST, earlier=first).equals(first)
