"""The running total of a month: what was spent, what is expected from there on, and the line that it must not pass."""

from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl

from app.budgets import cumulated
from app.charts.budget import against
from ledger.tables import ForecastDay
from queries.budgets import Budget, Standing
from tests.bills import rows

NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
BUDGET = Budget(date(2026, 11, 1), "team:red", "USD", Decimal(100), (1.0,), "", "page")
STANDING = Standing(BUDGET, Decimal(50), Decimal(57), None, None, None, "on track", has_estimate=False)


def lines(lower: int | None) -> pl.DataFrame:
    spent = pl.DataFrame(
        {
            "day": [date(2026, 11, 8), date(2026, 11, 9), date(2026, 11, 9)],
            "scope": ["team:red", "team:red", "total"],
            "billing_currency": ["USD"] * 3,
            "cost": [Decimal(20), Decimal(30), Decimal(999)],
            "usage_cost": [Decimal(20), Decimal(30), Decimal(999)],
        }
    )
    coming = [
        {
            "day": date(2026, 11, day),
            "scope": "team:red",
            "billing_currency": "USD",
            "made_on": date(2026, 11, 9),
            "forecast_cost": Decimal(cost),
            "lower_cost": None if lower is None else Decimal(lower),
            "upper_cost": None if lower is None else Decimal(9),
            "method": "seasonal_naive_7",
        }
        for day, cost in ((10, 99), (11, 3), (12, 4))
    ]
    return cumulated(STANDING, spent, rows(ForecastDay, coming), NOW)


def test_what_is_expected_goes_on_from_what_was_spent() -> None:
    found = lines(1)
    assert found["spent"].drop_nulls().to_list() == [20, 50]
    # Today is expected to cost 99 and has cost nothing yet.
    assert found["expected"].drop_nulls().to_list() == [50, 149, 152, 156]
    assert found["lower"].drop_nulls().to_list() == [50, 51, 52, 53]
    chart = against(found, Decimal(100), "USD")
    drawn = {trace.name: trace for trace in chart.data}
    assert set(drawn) == {"interval", "spent", "expected", "budget"}
    assert list(drawn["budget"].y) == [100, 100]
    assert list(drawn["budget"].x) == [date(2026, 11, 8), date(2026, 11, 12)]


def test_without_an_interval_there_is_no_band_after_today() -> None:
    drawn = {trace.name: trace for trace in against(lines(None), Decimal(100), "USD").data}
    assert set(drawn["interval"].x) == {date(2026, 11, 9)}
