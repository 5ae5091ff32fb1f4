"""Days of spend: they sum to the allocations, and a run that restarts is one run."""

from decimal import Decimal
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ledger import money
from ledger.tables import AllocationHour, SpendDay
from queries.graph import Span
from queries.rollups.spend_day import spend_day
from tests.bills import HOUR, MONTH, NEXT, rows
from tests.queries.rollups.test_forecast_day import hour

UNIT = Decimal(1).scaleb(-18)


def spent(given_: list[dict[str, Any]]) -> pl.DataFrame:
    made = spend_day.function(rows(AllocationHour, given_).lazy(), Span(MONTH, NEXT, NEXT))
    return SpendDay.validate(made.collect())


PARTS = st.fixed_dictionaries(
    {
        "hour_start": st.integers(0, 24 * 5).map(lambda index: MONTH + index * HOUR),
        "gpu_uuid": st.sampled_from(["g0", "g1", "g2"]),
        "state": st.sampled_from(["productive", "held_idle", "allocated_idle", "unknown"]),
        "team": st.sampled_from(["red", "blue"]),
        "restart_count": st.integers(0, 2),
        "billing_currency": st.sampled_from(["USD", "JPY"]),
        "billed_cost": st.integers(-(10**30), 10**30).map(lambda units: units * UNIT),
        "cost": st.none() | st.integers(-(10**30), 10**30).map(lambda units: units * UNIT),
        "held_gpu_seconds": st.integers(0, 3600).map(Decimal),
    }
)


def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in sorted(row) if name not in {"billed_cost", "cost", "held_gpu_seconds"})


@given(st.lists(PARTS, max_size=30, unique_by=key_of))
def test_parts_sum_to_the_allocations(parts: list[dict[str, Any]]) -> None:
    given_ = [hour(each["hour_start"], each["cost"]) | {k: v for k, v in each.items() if k != "cost"} for each in parts]
    made = spent(given_)
    for name in ("billed_cost", "effective_cost"):
        for currency in ("USD", "JPY"):
            whole = [each[name] for each in given_ if each["billing_currency"] == currency and each[name] is not None]
            rest = made.filter(pl.col("billing_currency") == currency)[name].drop_nulls()
            assert money.add(*rest) == money.add(*whole)
    assert sum(made["held_gpu_seconds"]) == sum(each["held_gpu_seconds"] for each in given_)
    for row in made.iter_rows(named=True):
        assert (row["effective_cost"] is None) == (row["productive_cost"] is None) == (row["idle_cost"] is None)


def test_a_run_that_restarts_is_one_run_and_its_states_are_parts() -> None:
    given_ = [
        hour(MONTH, Decimal(4), held_gpu_seconds=Decimal(3600)),
        hour(MONTH + HOUR, Decimal(3), restart_count=1, state="held_idle", held_gpu_seconds=Decimal(1800)),
        hour(MONTH + 2 * HOUR, Decimal(2), restart_count=1, state="underused", held_gpu_seconds=Decimal(60)),
        hour(MONTH + 2 * HOUR, Decimal(9), bucket="idle", state="unallocated", team="", job_id=""),
    ]
    made = spent(given_).filter(pl.col("job_id") == "j1").to_dicts()
    assert len(made) == 1
    (row,) = made
    assert (row["effective_cost"], row["productive_cost"], row["idle_cost"]) == (9, 4, 3)
    assert (row["held_gpu_seconds"], row["productive_gpu_seconds"], row["idle_gpu_seconds"]) == (5460, 3600, 1800)
    assert (row["first_hour_start"], row["last_hour_end"]) == (MONTH, MONTH + 3 * HOUR)
