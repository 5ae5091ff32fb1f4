"""A run that is requeued is one run: also where the scheduler submits it anew under its id."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from ledger.store import Store
from ledger.tables import Job, SpendDay
from queries import sql
from tests.bills import HOUR, MONTH, NEXT, at, job, rows
from tests.queries.rollups.test_forecast_day import hour, spent

AGAIN = at(5, 3)
RECYCLED = at(20)
"""Slurm's ids begin anew: the same one is another job's days later."""


def run(submitted: datetime, restart: int, cost: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a run as the scheduler tells it, and an hour of it as the ledger prices it."""
    about = {"submitted_at": submitted, "restart_count": restart, "job_id": "7"}
    told = job(**about, account="atlas")
    return told, hour(submitted + HOUR, Decimal(cost), **about)


def test_a_run_that_slurm_submits_anew_is_the_run_that_it_was() -> None:
    runs = [run(MONTH, 0, 5), run(AGAIN, 1, 7), run(at(9), 2, 11), run(RECYCLED, 0, 100), run(at(21), 1, 1000)]
    with Store.open("duckdb::memory:", now=lambda: NEXT) as store:
        store.append(Job, rows(Job, [told for told, _ in runs]), source="test")
        days = [(MONTH + timedelta(days=day)).strftime("%Y-%m-%d") for day in range(31)]
        store.replace(SpendDay, spent([priced for _, priced in runs]).collect(), partitions=days, state=None)

        def asked(by: str) -> dict[str, tuple[Decimal, int]]:
            found = store.select(sql.load("unit_costs").text, start=MONTH, end=NEXT, cluster="", team="", by=by)
            return {row["name"]: (row["effective_cost"], row["run_count"]) for row in found.to_dicts()}

        assert asked("run") == {"c 7 of 1 Mar 00:00": (23, 1), "c 7 of 20 Mar 00:00": (1100, 1)}
        assert asked("team") == {"red": (1123, 2)}
        assert asked("project") == {"atlas": (1123, 2)}


@pytest.mark.parametrize("known", [True, False])
def test_a_run_whose_first_submission_nobody_told_stands_for_itself(known: bool) -> None:
    told, priced = run(AGAIN, 1, 7)
    with Store.open("duckdb::memory:", now=lambda: NEXT) as store:
        if known:
            store.append(Job, rows(Job, [told]), source="test")
        store.replace(SpendDay, spent([priced]).collect(), partitions=["2026-03-05"], state=None)
        found = store.select(sql.load("unit_costs").text, start=MONTH, end=NEXT, cluster="", team="", by="run")
    assert found.select("name", "run_count").rows() == [("c 7 of 5 Mar 03:00", 1)]
