from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl

from ledger.names import NOBODY_AT
from ledger.tables import AllocationHour, ForecastCheck, ForecastDay, SpendDay
from queries.graph import Span
from queries.rollups.forecast_check import forecast_check
from queries.rollups.forecast_day import forecast_day
from queries.rollups.spend_day import spend_day
from tests.bills import HOUR, MONTH, NODE_COST, rows
from tests.frames import validated

FIRST = datetime(2026, 2, 1, tzinfo=UTC)


def hour(at: datetime, cost: Decimal | None, **given: Any) -> dict[str, Any]:
    row = NODE_COST | {
        "hour_start": at,
        "gpu_uuid": "g0",
        "bucket": "allocated",
        "state": "productive",
        "team": "red",
        "user": "",
        "job_id": "j1",
        "restart_count": 0,
        "submitted_at": NOBODY_AT,
        "model": "m",
        "billed_cost": Decimal(0),
        "effective_cost": cost,
        "allocated_method_id": "whole_node_to_gpu",
        "held_gpu_seconds": Decimal(3600),
    }
    return row | given


def days(count: int, cost: Any, **given: Any) -> list[dict[str, Any]]:
    """Return hours of whole days from the first of February on; `cost` of a day goes to its last hour."""
    made = []
    for index in range(count):
        start = FIRST + timedelta(days=index)
        made.append(hour(start, Decimal(0), **given))
        made.append(hour(start + 23 * HOUR, cost(index), **given))
    return made


def forecast(given: list[dict[str, Any]], now: datetime) -> pl.DataFrame:
    made = forecast_day.function(spent(given), Span(FIRST, now, now))
    return validated(ForecastDay, made.collect())


def spent(given: list[dict[str, Any]]) -> pl.LazyFrame:
    """Return the days of these hours."""
    last = datetime(2027, 1, 1, tzinfo=UTC)
    return validated(
        SpendDay, spend_day.function(rows(AllocationHour, given).lazy(), Span(FIRST, last, last)).collect()
    ).lazy()


def checked(given: list[dict[str, Any]], now: datetime) -> pl.DataFrame:
    made = validated(ForecastCheck, forecast_check.function(spent(given), Span(FIRST, now, now)).collect())
    return made.filter(pl.col("scope") == "total")


def week(index: int) -> Decimal:
    return Decimal(10) + index % 7


def test_each_weekday_repeats_to_the_end_of_the_month() -> None:
    made = forecast(days(35, week), datetime(2026, 3, 8, tzinfo=UTC))
    whole = made.filter(pl.col("scope") == "total")
    assert whole["day"].to_list() == [date(2026, 3, 8) + timedelta(days=index) for index in range(24)]
    assert whole["forecast_cost"].to_list() == [week(35 + index) for index in range(24)]
    assert whole["made_on"].unique().to_list() == [date(2026, 3, 7)]
    assert whole["lower_cost"].equals(whole["forecast_cost"].rename("lower_cost"))
    assert sorted(made["scope"].unique()) == ["model:m", "provider:AWS", "team:red", "total"]


def test_the_interval_is_as_wide_as_past_weeks_differed() -> None:
    made = forecast(days(28, lambda index: week(index) + (index // 7 % 2) * 2), datetime(2026, 3, 1, 1, tzinfo=UTC))
    first = made.filter(pl.col("scope") == "total").row(0, named=True)
    assert (first["lower_cost"], first["forecast_cost"], first["upper_cost"]) == (10, 12, 14)
    assert first["interval_ratio"] == 0.8
    two_weeks_on = made.filter(pl.col("scope") == "total").row(7, named=True)
    assert (two_weeks_on["lower_cost"], two_weeks_on["upper_cost"]) == (12, 12)


def test_a_short_history_has_no_interval_and_less_than_a_week_no_forecast_for_other_days() -> None:
    made = forecast(days(9, week), datetime(2026, 2, 10, tzinfo=UTC)).filter(pl.col("scope") == "total")
    assert made.height == 19
    assert made["lower_cost"].null_count() == 19
    short = forecast(days(3, week), datetime(2026, 2, 4, tzinfo=UTC)).filter(pl.col("scope") == "total")
    assert {each.isoweekday() for each in short["day"]} == {7, 1, 2}
    assert forecast([], MONTH).is_empty()


def test_incomplete_days_and_estimates_are_no_evidence() -> None:
    late = days(10, lambda _: Decimal(5), provider="GCP", resource_id="x")
    estimated = [
        each | {"is_estimated": True, "provider": "GCP"}
        for each in days(14, lambda _: Decimal(99), resource_id="x")[20:]
    ]
    made = forecast(days(14, week) + late + estimated, datetime(2026, 2, 15, tzinfo=UTC))
    whole = made.filter(pl.col("scope") == "total")
    assert whole["made_on"].unique().to_list() == [date(2026, 2, 10)]
    assert whole["forecast_cost"][0] == week(3) + 5
    assert made.filter(pl.col("scope") == "provider:AWS")["made_on"].unique().to_list() == [date(2026, 2, 14)]


def test_a_charge_of_the_whole_month_makes_no_estimate_evidence() -> None:
    """Storage stands on the bill to the end of the month; the servers beside it are estimated from the 11th on."""
    storage = days(28, lambda _: Decimal(1), resource_id="x", gpu_uuid="", job_id="", held_gpu_seconds=Decimal(0))
    estimated = [each | {"is_estimated": True} for each in days(14, lambda _: Decimal(99))[20:]]
    made = forecast(days(10, week) + storage + estimated, datetime(2026, 2, 15, tzinfo=UTC))
    whole = made.filter(pl.col("scope") == "total")
    assert whole["made_on"].unique().to_list() == [date(2026, 2, 10)]
    assert whole["forecast_cost"][0] == week(3) + 1


def test_currencies_stay_apart_and_the_rest_is_left_out() -> None:
    other = days(14, lambda _: Decimal(7), billing_currency="JPY", team="")
    tax = days(14, lambda _: Decimal(1000), charge_category="Tax", gpu_uuid="")
    outside = days(14, lambda _: Decimal(1000), in_scope=False)
    made = forecast(days(14, week) + other + tax + outside, datetime(2026, 2, 15, tzinfo=UTC))
    whole = made.filter(pl.col("scope") == "total", pl.col("day") == date(2026, 2, 15))
    assert dict(whole.select("billing_currency", "forecast_cost").iter_rows()) == {"USD": week(14), "JPY": 7}
    assert made.filter(pl.col("scope").str.starts_with("team:"))["scope"].unique().to_list() == ["team:red"]


def test_an_unknown_day_is_not_a_free_day() -> None:
    made = forecast(
        [each | {"effective_cost": None} if each["hour_start"].day == 12 else each for each in days(14, week)],
        datetime(2026, 2, 15, tzinfo=UTC),
    )
    whole = made.filter(pl.col("scope") == "total")
    assert date(2026, 2, 19) not in whole["day"].to_list()
    assert date(2026, 2, 18) in whole["day"].to_list()


def test_a_first_day_that_is_cut_does_not_count() -> None:
    made = forecast(days(14, week)[1:], datetime(2026, 2, 15, tzinfo=UTC)).filter(pl.col("scope") == "total")
    assert made.filter(pl.col("day") == date(2026, 2, 15))["forecast_cost"].item() == week(7)
    assert made.filter(pl.col("day") == date(2026, 2, 22))["forecast_cost"].item() == week(7)


def test_the_simplest_method_stays_unless_another_was_nearer_on_enough_days() -> None:
    now = datetime(2026, 4, 12, tzinfo=UTC)
    spiky = days(70, lambda index: Decimal(1000) if index == 40 else week(index))
    found = {row["method"]: row for row in checked(spiky, now).to_dicts()}
    assert found["seasonal_naive_7"]["error_cost"] == 2 * (1000 - week(40))
    assert found["seasonal_median_3"]["error_cost"] == 1000 - week(40)
    assert found["seasonal_median_3"]["is_chosen"]
    assert found["seasonal_naive_7"]["day_count"] == found["seasonal_median_3"]["day_count"] == 49
    assert set(forecast(spiky, now)["method"]) == {"seasonal_median_3"}
    steady = {row["method"]: row for row in checked(days(70, week), now).to_dicts()}
    assert steady["seasonal_naive_7"]["is_chosen"]
    assert steady["seasonal_naive_7"]["inside_ratio"] == 1
    few = {row["method"]: row for row in checked(spiky[: 2 * 48], now).to_dicts()}
    assert few["seasonal_naive_7"]["day_count"] == 27
    assert few["seasonal_naive_7"]["is_chosen"]


def test_an_interval_that_was_too_narrow_is_told() -> None:
    widening = days(70, lambda index: Decimal(100) + Decimal(index // 7) ** 2)
    found = {row["method"]: row for row in checked(widening, datetime(2026, 4, 12, tzinfo=UTC)).to_dicts()}
    assert found["seasonal_naive_7"]["inside_ratio"] == 0


def test_before_its_first_charge_a_team_is_not_known_to_have_cost_nothing() -> None:
    """A team that began on the 12th of March costs 100 a day: the next Wednesday is no free day."""
    begun = [
        hour(FIRST + timedelta(days=index, hours=each), Decimal(50), team="new")
        for index in range(39, 44)
        for each in (0, 23)
    ]
    made = forecast([*days(44, lambda _: Decimal(7)), *begun], FIRST + timedelta(days=44))
    mine = made.filter(scope="team:new")
    # The 12th was a Thursday, the 16th a Monday: of Tuesdays and Wednesdays nothing is known.
    assert mine["day"].dt.weekday().unique().sort().to_list() == [1, 4, 5, 6, 7]
    assert set(mine["forecast_cost"]) == {100}
    assert mine["lower_cost"].null_count() == mine.height
    assert set(made.filter(scope="total")["forecast_cost"]) == {7, 107}
