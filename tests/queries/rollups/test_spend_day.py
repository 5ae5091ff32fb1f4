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
from tests.frames import validated
from tests.queries.rollups.test_forecast_day import hour

UNIT = Decimal(1).scaleb(-18)


def spent(given_: list[dict[str, Any]]) -> pl.DataFrame:
    made = spend_day.function(rows(AllocationHour, given_).lazy(), Span(MONTH, NEXT, NEXT))
    return validated(SpendDay, made.collect())


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
        hour(MONTH + HOUR, Decimal(5), restart_count=1, held_gpu_seconds=Decimal(60)),
        hour(MONTH + HOUR, Decimal(3), restart_count=1, state="held_idle", held_gpu_seconds=Decimal(1800)),
        hour(MONTH + 2 * HOUR, Decimal(2), restart_count=1, state="underused", held_gpu_seconds=Decimal(60)),
        hour(MONTH + 2 * HOUR, Decimal(9), bucket="idle", state="unallocated", team="", job_id=""),
    ]
    made = spent(given_).filter(pl.col("job_id") == "j1").sort("state")
    assert made.select("state", "effective_cost", "productive_cost", "idle_cost").rows() == [
        ("held_idle", 3, 0, 3),
        ("productive", 9, 9, 0),
        ("underused", 2, 0, 0),
    ]
    seconds = ("held_gpu_seconds", "productive_gpu_seconds", "idle_gpu_seconds")
    assert [sum(made[name]) for name in seconds] == [5520, 3660, 1800]
    assert made.filter(pl.col("state") == "productive").select("first_hour_start", "last_hour_end").rows() == [
        (MONTH, MONTH + 2 * HOUR)
    ]


def test_a_resource_is_named_where_no_node_is() -> None:
    given_ = [
        hour(MONTH, Decimal(4)),
        hour(MONTH, Decimal(1), node="", cluster="", resource_id="vol-1", bucket="unallocable"),
        hour(MONTH + HOUR, Decimal(2), node="", cluster="", resource_id="vol-1", bucket="unallocable"),
        hour(MONTH, Decimal(8), node="", cluster="", resource_id="vol-2", bucket="unallocable"),
    ]
    made = spent(given_).sort("effective_cost")
    assert made.select("node", "resource_id", "effective_cost").rows() == [
        ("", "vol-1", 3), ("a1", "", 4), ("", "vol-2", 8)
    ]  # fmt: skip


def test_text_as_codes_gives_the_same_days() -> None:
    given_ = rows(AllocationHour, [
        hour(MONTH, Decimal(4), service_name="EC2"),
        hour(MONTH, Decimal(1), node="", cluster="", resource_id="vol-1", bucket="unallocable", state="held_idle"),
    ])  # fmt: skip
    (source,) = spend_day.sources
    coded = given_.with_columns(
        pl.col(name).cast(pl.Enum(given_[name].drop_nulls().unique().sort())) for name in source.read.coded
    )
    span = Span(MONTH, NEXT, NEXT)
    plain = spend_day.function(given_.lazy(), span).collect()
    assert spend_day.function(coded.lazy(), span).collect().rows() == plain.rows()
    assert plain.height == 2
