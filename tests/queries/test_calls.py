"""How much one call of a rollup gets."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.config import Settings
from ledger.store import Store
from ledger.tables import FocusCharge
from queries._due import Versions
from queries._work import Asked, calls, due_of, work_of
from queries.graph import Rollup
from queries.rollups.cost_hour import cost_hour
from tests.bills import charge, rows

NOW = datetime(2026, 11, 3, tzinfo=UTC) + timedelta(hours=1)


def planned(store: Store, *rollups: Rollup) -> list[tuple[Any, list[Any]]]:
    versions = Versions(store, NOW)
    works = [work_of(each, Settings(), versions) for each in rollups]
    return [
        (work, parts)
        for work in works
        for parts in calls(work, versions, due_of(work, versions, Asked(None, None, everything=True))[0])
    ]


def test_a_call_gets_no_more_months_of_bills_than_it_can_hold() -> None:
    months = [datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 7)]
    charges = [charge(index, BillingPeriodStart=month) for month in months for index in range(120)]
    charges = [each | {"import_id": f"{each['BillingPeriodStart']:%m}"} for each in charges]
    with Store.open("duckdb::memory:", now=lambda: NOW) as store:
        store.append(FocusCharge, rows(FocusCharge, charges), source="t")
        assert store.read(FocusCharge).height == 720
        together = {
            limit: [len(parts) for _, parts in planned(store, replace(cost_hour, rows_at_once=limit))]
            for limit in (100, 240, 10_000)
        }
        # Each month has 120 rows.
        assert together == {100: [1] * 6, 240: [2] * 3, 10_000: [6]}
