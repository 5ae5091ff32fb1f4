"""Days that were converted, each by its own rate, and then summed: money of each day once, counts as they were."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from ledger.exchange import Exchange
from ledger.money import MONEY
from queries import converted
from queries.display import Shown, in_currency

FIRST, SECOND = date(2026, 9, 1), date(2026, 9, 2)
EXCHANGE = Exchange([(FIRST, "USD", "EUR", Decimal("0.5")), (SECOND, "USD", "EUR", Decimal("0.25"))])


def model(day: date, name: str, cost: str | None, **given: Any) -> dict[str, Any]:
    row = dict.fromkeys(converted.MODEL_COSTS, None) | {
        "day": day, "model": name, "provider": "", "billing_currency": "USD", "gpu_hours": 2.0,
        "prompt_token_count": None, "has_estimate": False, "effective_cost": None if cost is None else Decimal(cost),
    }  # fmt: skip
    return row | given


def frame(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pl.DataFrame:
    types = dict.fromkeys(columns, MONEY) | {"prompt_token_count": pl.Int64(), "billing_currency": pl.String()}
    return pl.DataFrame(rows, schema_overrides={name: types[name] for name in rows[0] if name in types})


def test_each_day_of_a_model_goes_by_its_own_rate() -> None:
    days = frame(
        [
            model(FIRST, "iris", "8", prompt_token_count=5),
            model(SECOND, "iris", "8", has_estimate=True, productive_cost=Decimal(4)),
            model(SECOND, "iris", "1", billing_currency="EUR", provider="Cloud", prompt_token_count=2),
            model(FIRST, "echo", None),
        ],
        converted.MODEL_COSTS,
    )
    shown = in_currency(days, EXCHANGE, "EUR", converted.MODEL_COSTS, day="day")
    iris, echo = converted.models(shown.frame).to_dicts()
    assert (iris["model"], iris["effective_cost"], iris["billing_currency"]) == ("iris", Decimal(7), "EUR")
    assert iris["productive_cost"] == Decimal(1)
    assert (iris["provider"], iris["prompt_token_count"], iris["gpu_hours"], iris["has_estimate"]) == (
        "Cloud", 7, 6.0, True,
    )  # fmt: skip
    assert (echo["effective_cost"], echo["provider"], echo["prompt_token_count"]) == (None, None, None)
    assert "day" not in iris


def test_a_run_of_two_days_is_one_run_with_the_money_of_both() -> None:
    who = {"name": "vision", "team": "vision"}
    usd = {"billing_currency": "USD"} | who
    amounts = dict.fromkeys(converted.RUN_COSTS, None)
    days = frame(
        [amounts | {"day": day, "effective_cost": Decimal(8)} | usd for day in (FIRST, SECOND)], converted.RUN_COSTS
    )
    counted = frame(
        [
            {**usd, **amounts, "effective_cost": Decimal(16), "run_count": 3, "has_estimate": False},
            {**who, "billing_currency": "GBP", **amounts, "run_count": 1, "has_estimate": True},
        ],
        converted.RUN_COSTS,
    )
    pounds = days.head(1).with_columns(billing_currency=pl.lit("GBP"))
    shown = in_currency(pl.concat([days, pounds]), EXCHANGE, "EUR", converted.RUN_COSTS, day="day")
    assert shown.kept == ("GBP",)
    found = {row["billing_currency"]: row for row in converted.runs(counted, shown).to_dicts()}
    assert set(found) == {"EUR", "GBP"}
    assert (found["EUR"]["effective_cost"], found["EUR"]["run_count"]) == (Decimal(6), 3)
    assert (found["GBP"]["effective_cost"], found["GBP"]["run_count"], found["GBP"]["has_estimate"]) == (8, 1, True)


def test_nothing_converts_to_nothing() -> None:
    none = frame([model(FIRST, "iris", "1")], converted.MODEL_COSTS).clear()
    assert converted.models(Shown(none, "EUR").frame).is_empty()


RUN = {"cluster": "c", "job_id": "7", "submitted_at": datetime(2026, 9, 1, tzinfo=UTC)}


def job_day(day: date, cost: str, currency: str = "USD", restart_count: int = 0) -> dict[str, Any]:
    return {
        "day": day, **RUN, "restart_count": restart_count, "billing_currency": currency,
        "effective_cost": Decimal(cost), "has_estimate": day == SECOND, "idle_cost": None,
    }  # fmt: skip


def job_days(*rows: dict[str, Any]) -> pl.DataFrame:
    """Return days of jobs in euros, as far as rates are known."""
    days = frame(list(rows), converted.JOB_COSTS)
    return in_currency(days, EXCHANGE, "EUR", converted.JOB_COSTS, day="day", key=["restart_count"]).frame


def test_a_run_that_costs_in_two_currencies_is_one_row_in_one() -> None:
    """Its seconds are those of the run: they are not added for each currency. Another start of it is another run."""
    found = frame(
        [
            {**RUN, "restart_count": restart, "gpu_allocated_seconds": 60, "billing_currency": currency,
             "effective_cost": Decimal(99), "idle_cost": None, "has_estimate": False}
            for restart, currency in ((1, "USD"), (0, "EUR"), (0, "GBP"), (0, "USD"))
        ],
        converted.JOB_COSTS,
    )  # fmt: skip
    days = job_days(
        job_day(FIRST, "8"), job_day(SECOND, "8"), job_day(SECOND, "1", "EUR"), job_day(FIRST, "3", "GBP"),
        job_day(FIRST, "2", restart_count=1),
    )  # fmt: skip
    told = converted.jobs(found, days)
    assert told.columns == found.columns
    shown = told.select("restart_count", "billing_currency", "effective_cost", "gpu_allocated_seconds", "has_estimate")
    assert shown.rows() == [
        (1, "EUR", Decimal(1), 60, False),
        (0, "EUR", Decimal(7), 60, True),
        (0, "GBP", Decimal(3), 60, False),
    ]


def test_a_run_without_a_price_stays_in_the_list() -> None:
    found = frame([{**RUN, "restart_count": 0, "billing_currency": None, "effective_cost": None, "idle_cost": None,
                    "has_estimate": None}], converted.JOB_COSTS)  # fmt: skip
    none = job_days(job_day(FIRST, "8")).clear()
    assert converted.jobs(found, none).select("job_id", "billing_currency", "effective_cost").rows() == [
        ("7", None, None)
    ]


def test_what_limited_a_run_has_its_cost_once_for_each_class() -> None:
    found = pl.DataFrame(
        [
            {**RUN, "restart_count": 0, "bottleneck": name, "gpu_seconds": seconds, "billing_currency": currency,
             "job_cost": Decimal(99)}
            for name, seconds in (("idle", 30), ("dram_bound", 10)) for currency in ("EUR", "USD")
        ],
        schema_overrides={"job_cost": MONEY},
    )  # fmt: skip
    told = converted.bottleneck_jobs(found, job_days(job_day(FIRST, "8"), job_day(SECOND, "1", "EUR")))
    assert told.columns == found.columns
    assert told.select("bottleneck", "gpu_seconds", "billing_currency", "job_cost").rows() == [
        ("idle", 30, "EUR", Decimal(5)), ("dram_bound", 10, "EUR", Decimal(5)),
    ]  # fmt: skip


def test_what_was_paid_before_any_rate_stands_beside_what_is_converted() -> None:
    terms = pl.DataFrame({"commitment_id": ["a", "b"], "term_end": [SECOND, None]})
    spent = pl.DataFrame(
        [
            {"day": day, "commitment_id": "a", "billing_currency": "USD", "used_cost": Decimal(8), "gap_count": 1}
            for day in (FIRST, SECOND)
        ],
        schema_overrides={"used_cost": MONEY},
    )
    paid = pl.DataFrame(
        [{"day": date(2024, 1, 1), "commitment_id": "a", "billing_currency": "USD", "purchased_cost": Decimal(900)}],
        schema_overrides={"purchased_cost": MONEY},
    )
    spent = in_currency(spent, EXCHANGE, "EUR", ["used_cost"], day="day").frame
    assert in_currency(paid, EXCHANGE, "EUR", ["purchased_cost"], day="day").kept == ("USD",)
    told = converted.with_costs(terms, ["commitment_id"], spent, paid)
    shown = told.select("commitment_id", "billing_currency", "used_cost", "purchased_cost", "gap_count", "term_end")
    assert shown.rows() == [
        ("a", "EUR", Decimal(6), None, 2, SECOND),
        ("a", "USD", None, Decimal(900), None, SECOND),
        ("b", None, None, None, None, None),
    ]


def test_idle_states_are_summed_over_their_days() -> None:
    days = pl.DataFrame(
        [
            {"day": day, "billing_currency": "USD", "state": state, "effective_cost": cost and Decimal(cost),
             "gpu_hours": 1.0, "has_estimate": day == SECOND}
            for day, state, cost in ((FIRST, "held_idle", "8"), (SECOND, "held_idle", "8"), (FIRST, "orphaned", "20"),
                                     (FIRST, "unallocated", None))
        ],
        schema_overrides={"effective_cost": MONEY},
    )  # fmt: skip
    shown = in_currency(days, EXCHANGE, "EUR", ["effective_cost"], day="day")
    told = converted.idle(shown.frame).select("state", "effective_cost", "gpu_hours", "has_estimate")
    assert told.rows() == [
        ("orphaned", Decimal(10), 1.0, False), ("held_idle", Decimal(6), 2.0, True), ("unallocated", None, 1.0, False),
    ]  # fmt: skip
