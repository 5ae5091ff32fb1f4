"""Days that were converted, each by its own rate, and then summed: money of each day once, counts as they were."""

from datetime import date
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
    types = dict.fromkeys(columns, MONEY) | {"prompt_token_count": pl.Int64()}
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
