"""Every number that a person sees: one place, computed from what its question answers, null where nothing is known."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ledger.names import BOTTLENECKS, IDLE_STATES, STATES
from ledger.store import Store
from ledger.tables import TABLES
from ledger.units import UNITS
from queries import measure, sql
from queries.measure import Amount, Measure, Part, UnitCost
from queries.measures import catalogue, gpu_time, health, per_unit, spending

ROOT = Path(__file__).parents[2]
MONEY = pl.Decimal(38, 18)
AT = datetime(2026, 11, 20, 5, tzinfo=UTC)
ASKED = {"start": AT, "end": AT, "now": AT, "bucket": "hour", "restart_count": 0, "submitted_at": AT}


def hours(**states: float | None) -> pl.DataFrame:
    return pl.DataFrame(
        {"state": list(states), "gpu_hours": list(states.values())}, schema_overrides={"gpu_hours": pl.Float64}
    )


def costs(*rows: tuple[str | None, str | None, str], column: str = "effective_cost") -> pl.DataFrame:
    return pl.DataFrame(
        [
            {"billing_currency": currency, column: None if amount is None else Decimal(amount), "state": state}
            for currency, amount, state in rows
        ],
        schema={"billing_currency": pl.String, column: MONEY, "state": pl.String},
    )


def test_a_ratio_is_a_sum_against_a_sum() -> None:
    rows = pl.concat([hours(unallocated=3, productive=1), hours(held_idle=1, productive=4, unknown=1)])
    assert measure.value(rows, gpu_time.GPU_HOURS) == 10
    assert measure.value(rows, gpu_time.IDLE_GPU_HOURS) == 4
    assert measure.value(rows, gpu_time.IDLE_RATIO) == pytest.approx(0.4)
    parts = measure.values(rows, tuple(gpu_time.STATE_RATIOS.values()))
    assert sum(value or 0 for value in parts.values()) == pytest.approx(1)
    assert sum(parts[f"{state}_ratio"] or 0 for state in IDLE_STATES) == pytest.approx(0.4)
    assert parts["faulty_ratio"] == 0


def test_no_rows_and_nothing_measured_are_null_and_not_zero() -> None:
    for rows in (hours(), hours(productive=None)):
        assert measure.value(rows, gpu_time.GPU_HOURS) is None
        assert measure.value(rows, gpu_time.IDLE_RATIO) is None
    assert measure.value(hours(productive=0.0), gpu_time.IDLE_RATIO) is None
    assert measure.value(hours(productive=0.0), gpu_time.IDLE_GPU_HOURS) == 0


def test_money_is_exact_and_currencies_stay_apart() -> None:
    rows = costs(
        ("USD", "0.100000000000000001", "held_idle"),
        ("USD", "20000000000000000000", "unallocated"),
        ("USD", "5", "orphaned"),
        ("EUR", "7", "held_idle"),
        ("EUR", None, "held_idle"),
        (None, None, "unallocated"),
    )
    assert measure.amounts(rows, spending.IDLE_COST) == {
        "USD": Decimal("20000000000000000000.100000000000000001"),
        "EUR": Decimal(7),
    }
    assert list(measure.amounts(rows, spending.IDLE_COST)) == ["USD", "EUR"]
    parts = {state: measure.amounts(rows, each) for state, each in spending.IDLE_PART_COSTS.items()}
    assert parts["orphaned"] == {"USD": Decimal(5)}
    assert parts["allocated_idle"] == {}
    groups = measure.grouped(rows, ["state"], spending.IDLE_COST)
    assert groups.rows()[0] == ("unallocated", Decimal(20000000000000000000))


def test_shares_of_a_whole_sum_to_one_and_a_whole_of_nothing_has_none() -> None:
    found = measure.shares(costs(("USD", "3", "a"), ("USD", "1", "b")), ["state"], spending.JOB_COST)
    assert found.rows() == [("a", Decimal(3), 0.75), ("b", Decimal(1), 0.25)]
    assert measure.shares(costs(("USD", "0", "a")), ["state"], spending.JOB_COST)["share"].to_list() == [None]


def test_one_amount_against_another_by_currency() -> None:
    idle = costs(("USD", "1", "held_idle"), ("EUR", "5", "held_idle"), ("CHF", "1", "held_idle"))
    spend = costs(("USD", "4", ""), ("EUR", "0", ""), column="cost")
    assert measure.parts(idle, spending.IDLE_OF_SPEND, spend) == {"USD": 0.25}
    models = pl.DataFrame(
        {
            "model": ["a", "b", "c"],
            "billing_currency": ["USD"] * 3,
            "effective_cost": pl.Series([Decimal(4), Decimal(0), None], dtype=MONEY),
            "productive_cost": pl.Series([Decimal(1), Decimal(0), None], dtype=MONEY),
        }
    )
    assert measure.with_each(models, ["model"], spending.MODELS_PRODUCTIVE)["productive_cost_ratio"].to_list() == [
        0.25,
        None,
        None,
    ]
    assert measure.parts(models, spending.MODELS_PRODUCTIVE) == {"USD": 0.25}


def test_a_unit_cost_divides_a_sum_by_a_sum() -> None:
    rows = pl.DataFrame(
        {
            "billing_currency": ["USD", "USD", "EUR"],
            "effective_cost": pl.Series([Decimal(1), Decimal(5), Decimal(9)], dtype=MONEY),
            "held_gpu_seconds": pl.Series([Decimal(1800), Decimal(5400), Decimal(0)], dtype=pl.Decimal(38, 9)),
        }
    )
    assert measure.unit_costs(rows, spending.GPU_HOUR_COST) == {"USD": Decimal(3)}
    tokens = pl.DataFrame(
        {
            "billing_currency": ["USD", "USD"],
            "serving_cost": pl.Series([Decimal(4), Decimal(2)], dtype=MONEY),
            "prompt_token_count": [1_000_000, None],
            "generated_token_count": [1_000_000, None],
        }
    )
    assert measure.unit_costs(tokens, per_unit.MILLION_TOKENS_COST) == {"USD": Decimal(3)}
    assert measure.unit_costs(tokens[1:], per_unit.MILLION_TOKENS_COST) == {}


def jobs(*rows: Mapping[str, Any]) -> pl.DataFrame:
    seconds = ("gpu_allocated_seconds", "gpu_idle_seconds", "gpu_productive_seconds")
    base = {"cluster": "c", "submitted_at": AT, "restart_count": 0, "state": "RUNNING", **dict.fromkeys(seconds)}
    return pl.DataFrame([{**base, **row} for row in rows], schema_overrides=dict.fromkeys(seconds, pl.Decimal(28, 9)))


def test_a_run_that_cost_in_two_currencies_counts_once() -> None:
    run = {
        "job_id": "1",
        "gpu_allocated_seconds": Decimal(7200),
        "gpu_idle_seconds": Decimal(1800),
        "gpu_productive_seconds": Decimal(5400),
    }
    rows = jobs(run, run, {"job_id": "2", "state": "PENDING"}, {"job_id": "2", "state": "PENDING"})
    found = measure.values(
        rows, (gpu_time.JOB_COUNT, gpu_time.WAITING_COUNT, gpu_time.HELD_GPU_HOURS, gpu_time.HELD_IDLE_RATIO)
    )
    assert list(found.values()) == [2, 1, 2.0, 0.25]
    each = measure.with_each(rows, gpu_time.RUN, gpu_time.HELD_GPU_HOURS, gpu_time.HELD_PRODUCTIVE_RATIO)
    assert each["held_gpu_hours"].to_list() == [2.0, 2.0, None, None]
    assert each["productive_of_held_ratio"].to_list() == [0.75, 0.75, None, None]


def test_what_limits_gpu_time_is_a_share_of_all_of_it() -> None:
    classes = {
        "bottleneck": ["idle", "idle", "dram_bound"],
        "gpu_seconds": [1800, 1800, 5400],
        "billing_currency": ["USD", "EUR", "USD"],
    }
    rows = jobs({"job_id": "1"}).select(*gpu_time.RUN).join(pl.DataFrame(classes), how="cross")
    found = measure.values(rows, tuple(gpu_time.LIMITED_RATIOS.values()))
    assert set(gpu_time.LIMITED_RATIOS) == set(BOTTLENECKS)
    assert {name: ratio for name, ratio in found.items() if ratio} == {
        "limited_idle_ratio": 0.25,
        "limited_dram_bound_ratio": 0.75,
    }
    assert measure.value(rows, gpu_time.LIMITED_GPU_HOURS) == 2


def test_a_file_system_without_a_size_is_not_full() -> None:
    rows = pl.DataFrame({"used_bytes": [0.0, 95.0, 5.0], "capacity_bytes": [0.0, 100.0, 100.0]})
    assert measure.value(rows, health.FULL_COUNT) == 1
    assert measure.value(rows, health.USED_RATIO) == 0.95


def test_days_with_estimates_are_counted_by_day() -> None:
    rows = pl.DataFrame({"day": [date(2026, 11, 1)] * 2 + [date(2026, 11, 2)], "has_estimate": [True, True, False]})
    assert measure.values(rows, (spending.ESTIMATED_DAYS, spending.COST_DAYS)) == {
        "estimated_day_count": 1,
        "cost_day_count": 2,
    }


def findings(*rows: tuple[str, str | None, float | None, str], status: str = "open") -> pl.DataFrame:
    return pl.DataFrame(
        [
            (name, None if saving is None else Decimal(saving), hours, excludes, status)
            for name, saving, hours, excludes in rows
        ],
        schema={
            "finding_id": pl.String,
            "saving_effective_month": MONEY,
            "freed_gpu_hours_month": pl.Float64,
            "excludes": pl.String,
            "status": pl.String,
        },
        orient="row",
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("a", "10", 1.0, "b"), ("b", "20", 1.0, "a"), ("c", "5", 1.0, "")], ["b", "c"]),
        ([("a", "10", 1.0, "b,c"), ("b", "9", 1.0, "a"), ("c", "8", 1.0, "a")], ["a"]),
        # That one names the other is enough, whichever of them it is.
        ([("a", "5", 1.0, ""), ("b", "9", 1.0, "c"), ("c", "3", 1.0, ""), ("d", "1", 1.0, "a")], ["b", "a"]),
        # What is left out excludes nothing.
        ([("a", "10", 1.0, "b"), ("b", "9", 1.0, "a,c"), ("c", "8", 1.0, "b")], ["a", "c"]),
        # Without a price, GPU-hours decide; then the name.
        (
            [("a", None, 1.0, ""), ("b", None, 2.0, ""), ("d", "0", None, ""), ("c", None, 1.0, "")],
            ["d", "b", "a", "c"],
        ),
        ([], []),
    ],
)
def test_the_larger_of_two_claims_counts(
    rows: Sequence[tuple[str, str | None, float | None, str]], expected: list[str]
) -> None:
    decided = findings(("z", "99", 1.0, "a,b,c,d"), status="dismissed")
    found = measure.counted_once(pl.concat([findings(*rows), decided]))
    assert found["finding_id"].to_list() == expected
    assert measure.counted_once(findings(*rows[::-1]))["finding_id"].to_list() == expected


def test_each_measure_says_what_it_means_once_and_in_a_known_unit() -> None:
    known = {unit.suffix for unit in UNITS}
    said = []
    for name, each in catalogue().items():
        assert repr(each) == each.name == name
        assert each.means.endswith(".")
        assert each.title[0].isupper()
        assert each.unit in known
        said.append((each.title, each.means))
    assert len(set(said)) == len(said) > 60
    assert set(gpu_time.STATE_RATIOS) == set(STATES)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:") as opened:
        yield opened


def answers(store: Store, name: str) -> pl.DataFrame:
    """Return what a question answers on an empty store, or a table without rows."""
    if name in TABLES:
        return store.read(TABLES[name].schema)
    question = sql.load(name)
    return store.select(question.text, **{asked: ASKED.get(asked, "") for asked in question.asks})


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_each_measure_is_taken_from_what_its_question_answers(name: str, store: Store) -> None:
    each = catalogue()[name]
    for rows in each.rows:
        frame = answers(store, rows)
        if name == "limited_cost":
            # A job's cost is divided among its classes after it was asked.
            frame = frame.with_columns(cost="job_cost")
        if isinstance(each, Measure):
            assert measure.value(frame.clear(), each) in (None, 0)
        if isinstance(each, Amount):
            assert measure.amounts(frame, each) == {}
            if rows not in TABLES:
                assert set(each.asks) <= sql.load(rows).asks
        if isinstance(each, UnitCost):
            assert measure.unit_costs(frame, each) == {}
    if isinstance(each, Part):
        part, whole = (answers(store, side.rows[0]) for side in (each.part, each.whole))
        assert measure.parts(part, each, whole) == {}


def test_each_measure_is_shown_to_somebody() -> None:
    """A number that nobody reads is no measure: pages, mails and charts use each constant by its name."""
    shown = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "app").rglob("*.py"))
    unused = [
        f"{module.__name__}.{name}"
        for module in (gpu_time, health, spending)
        for name, each in vars(module).items()
        if isinstance(each, Measure | Amount | Part | UnitCost | Mapping)
        and not name.startswith("_")
        and not re.search(rf"\b{module.__name__.rpartition('.')[2]}\.{name}\b", shown)
        and name not in {"STATES_SAY", "HELD_COST"}
    ]
    assert unused == []


def test_of_what_credits_make_less_than_nothing_there_are_no_parts() -> None:
    """A credit that is larger than the cost: idle time is no minus forty per cent of it."""
    idle = costs(("USD", "20", "held_idle"), ("EUR", "20", "held_idle"), ("JPY", "20", "held_idle"))
    spent = costs(("USD", "-50", "x"), ("EUR", "50", "x"), ("JPY", "5", "x"), ("JPY", "-5", "x"), column="cost")
    assert measure.parts(idle, spending.IDLE_OF_SPEND, spent) == {"EUR": 0.4}
