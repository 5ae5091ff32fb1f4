"""What the ledger keeps of a demo beside what is true of it: the same seconds, and the same money."""

import json
from collections import defaultdict
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app.context import Context
from ledger import money
from ledger.names import HELD_IDLE_STATES, STATES
from ledger.tables import AllocationHour, Finding, GpuHour, GpuStateInterval, IdleIncident, JobGpuHour
from tests.demo import DEMO_NOW

MEASURES = [f"{state}_seconds" for state in STATES]

Answers = dict[str, dict[str, dict[str, Decimal]]]


@pytest.fixture(scope="module")
def told(owners_context: Context) -> Context:
    """Return what was told of a cluster with all three owners."""
    return owners_context


@pytest.fixture(scope="module")
def truth(told: Context) -> dict[str, Any]:
    """Return the true answers that lie beside the store."""
    path = Path(told.settings.store.url.removeprefix("duckdb:") + ".truth.json")
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return known


def amounts(known: dict[str, dict[str, str]]) -> dict[str, dict[str, Decimal]]:
    """Return what the truth says as numbers, without what is nothing."""
    read = {one: {name: Decimal(each) for name, each in parts.items()} for one, parts in known.items()}
    return {one: {name: each for name, each in parts.items() if each} for one, parts in read.items()}


def by_state(rows: pl.DataFrame, key: str) -> dict[str, dict[str, Decimal]]:
    """Return the seconds of each state by a key, without what is nothing."""
    found: dict[str, dict[str, Decimal]] = {}
    for row in rows.group_by(key).agg(pl.col(MEASURES).sum()).to_dicts():
        found[row[key]] = {str(state): row[name] for state, name in zip(STATES, MEASURES, strict=True) if row[name]}
    return found


def billed(context: Context, truth: dict[str, Any]) -> pl.DataFrame:
    """Return the device time of the hours that each owner has charged."""
    through = {name: datetime.fromisoformat(at) for name, at in truth["complete_through"].items()}
    rows = context.store.read(AllocationHour).filter(pl.col("gpu_uuid") != "")
    complete = pl.col("provider").replace_strict(through, return_dtype=pl.Datetime("us", "UTC"))
    assert rows.filter(pl.col("hour_start") < complete)["is_estimated"].sum() == 0
    return rows.filter(pl.col("hour_start") < complete)


def assert_same_money(rows: pl.DataFrame, key: str, known: dict[str, dict[str, str]]) -> None:
    """Check sums by currency: no cent is missing, and what no division leaves a rest of is the same to the last digit.

    The ledger keeps whole units of 1e-18 and gives the rest of a division to the largest share, so that charges,
    hours, devices and holders add up; the truth divides fractions. Each of a row's three divisions can move it by a
    unit, and the rests are at most as many units again.
    """
    most = 4 * rows.height * money.UNIT
    sums = money.summed(rows, by=["billing_currency", key], columns=["effective_cost"])
    found: dict[str, dict[str, Decimal]] = defaultdict(dict)
    for currency, name, cost in sums.iter_rows():
        found[currency][name] = cost
    expected = amounts(known)
    assert found["USD"] == expected["USD"]
    assert set(found) == set(expected)
    for currency, parts in expected.items():
        assert set(found[currency]) == set(parts)
        for name, cost in parts.items():
            assert abs(money.difference(found[currency][name], cost)) <= most < Decimal("1e-9")


@pytest.mark.slow
def test_devices_did_what_is_true(told: Context, truth: dict[str, Any]) -> None:
    hours = told.store.read(GpuHour)
    known = amounts(truth["device_seconds"])
    assert {state for states in known.values() for state in states} == set(STATES)
    assert by_state(hours, "gpu_uuid") == known
    existed = dict(hours.group_by("gpu_uuid").agg(pl.col("existed_seconds").sum()).iter_rows())
    assert existed == {uuid: Decimal(seconds) for uuid, seconds in truth["existed_seconds"].items()}


@pytest.mark.slow
def test_jobs_held_what_is_true(told: Context, truth: dict[str, Any]) -> None:
    run = pl.format(
        "{}/{}/{}/{}", "cluster", "job_id", pl.col("submitted_at").dt.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
        "restart_count",
    )  # fmt: skip
    rows = told.store.read(JobGpuHour).with_columns(pl.col(MEASURES) * pl.col("gpu_fraction"), run=run)
    assert by_state(rows, "run") == amounts(truth["job_seconds"])


@pytest.mark.slow
def test_models_teams_and_states_cost_what_is_true(told: Context, truth: dict[str, Any]) -> None:
    rows = billed(told, truth)
    held = rows.filter(pl.col("bucket") == "allocated")
    assert_same_money(held, "model", truth["model_costs"])
    assert_same_money(held, "team", truth["team_costs"])
    assert_same_money(
        rows.with_columns(pl.format("{}/{}", "bucket", "state").alias("part")), "part", truth["state_costs"]
    )
    idle = rows.filter(pl.col("state").is_in([*HELD_IDLE_STATES, "unallocated"]))
    assert_same_money(idle, "state", truth["idle_costs"])


@pytest.mark.slow
def test_an_incident_costs_its_part_of_each_hour(told: Context) -> None:
    incidents = told.store.read(IdleIncident)
    assert incidents["effective_cost"].null_count() == 0
    pieces = told.store.read(GpuStateInterval).filter(
        pl.col("state").is_in(HELD_IDLE_STATES), pl.col("holder_count") == 1
    )
    cell = ["hour_start", "cluster", "node", "gpu_uuid", "state", "job_id"]
    pieces = pieces.with_columns(
        pl.col("started_at").dt.truncate("1h").alias("hour_start"),
        (pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds().alias("length"),
    ).with_columns(pl.col("length").sum().over(cell).alias("whole"))
    allocated = told.store.read(AllocationHour).filter(pl.col("bucket") == "allocated")
    cost = {
        tuple(row[:-1]): row[-1] for row in money.summed(allocated, by=cell, columns=["effective_cost"]).iter_rows()
    }
    closed = incidents.filter(~pl.col("job_id").str.contains(","), pl.col("closed_at") < DEMO_NOW - timedelta(hours=2))
    assert closed.height > 0
    device = ["cluster", "node", "gpu_uuid"]
    for each in closed.to_dicts():
        inside = pieces.filter(*(pl.col(name) == each[name] for name in device)).filter(
            pl.col("started_at") >= each["opened_at"], pl.col("ended_at") <= each["closed_at"]
        )
        share = sum(
            (
                Fraction(cost[tuple(row[name] for name in cell)]) * Fraction(row["length"], row["whole"])
                for row in inside.to_dicts()
            ),
            Fraction(0),
        )
        assert abs(Fraction(each["effective_cost"]) - share) <= inside.height * 10 * Fraction(money.UNIT)


def test_the_demo_has_work_that_a_slice_would_hold(demo_context: Context) -> None:
    found = demo_context.store.read(Finding).filter(pl.col("rule") == "oversized_gpu")
    assert "igor" in found["owner"].to_list()
    (server,) = found.filter(pl.col("owner") == "igor").to_dicts()
    assert server["status"] == "open"
    assert "2g.20gb slice" in server["title"]
    assert server["saving_effective_month"] > 0
