"""Unusual days: against the same weekdays, only when whole, with the part that made the difference."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.tables import AllocationHour, AnomalyDay, BillImport, FocusCharge
from queries.graph import Span
from queries.rollups.anomaly_day import Anomalies, anomaly_day
from queries.rollups.spend_day import spend_day
from tests.bills import HOUR, charge, imports_of, rows
from tests.frames import validated
from tests.queries.rollups.test_forecast_day import hour

FIRST = datetime(2026, 2, 2, tzinfo=UTC)
DAY = timedelta(days=1)
LAST = FIRST + 63 * DAY


def weekday(index: int) -> Decimal:
    return Decimal(200 if index % 7 > 4 else 1000) + index % 3


def days(cost: Any = weekday, count: int = 63, **given_: Any) -> list[dict[str, Any]]:
    """Return an hour at each end of each day; the last one costs."""
    made = []
    for index in range(count):
        start = FIRST + index * DAY
        amount = cost(index)
        seconds = given_.get("held_gpu_seconds", amount * 36)
        made.append(hour(start, Decimal(0), **{**given_, "held_gpu_seconds": Decimal(0)}))
        made.append(hour(start + 23 * HOUR, amount, **{**given_, "held_gpu_seconds": Decimal(seconds)}))
    return made


def anomalies(
    given_: list[dict[str, Any]],
    *,
    start: datetime = FIRST,
    end: datetime = LAST,
    imports: pl.DataFrame | None = None,
) -> Any:
    spent = spend_day.function(rows(AllocationHour, given_).lazy(), Span(FIRST, LAST, LAST)).collect()
    bills = rows(BillImport, []) if imports is None else imports
    found = anomaly_day.function(spent.lazy(), bills.lazy(), Span(start, end, LAST), Anomalies())
    return validated(AnomalyDay, found.collect())


def test_a_weekend_is_no_anomaly_and_a_weekday_like_a_weekend_is_one() -> None:
    assert anomalies(days()).is_empty()
    quiet = anomalies(days(lambda index: Decimal(200) if index == 59 else weekday(index)))
    whole = quiet.filter(pl.col("scope") == "total").row(0, named=True)
    assert whole["day"] == date(2026, 4, 2)
    assert whole["expected_cost"] == 1001
    assert whole["difference_cost"] == 200 - 1001
    assert whole["weekday_count"] == 8
    assert sorted(quiet["scope"]) == ["provider:AWS", "team:red", "total"]


def test_more_time_is_told_from_a_higher_price_and_what_is_new() -> None:
    base = days(node="a1") + days(lambda _: Decimal(100), node="a2", team="blue", resource_id="i-a2")

    def of(changed: list[dict[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = anomalies(changed).filter(pl.col("scope") == "total").row(0, named=True)
        return found

    last = FIRST + 60 * DAY + 23 * HOUR
    for name, factors in (("volume", (3, 3)), ("price", (3, 1))):
        cost, time = factors
        changed = [
            row | {"effective_cost": row["effective_cost"] * cost, "held_gpu_seconds": row["held_gpu_seconds"] * time}
            if row["hour_start"] == last and row["team"] == "red"
            else row
            for row in base
        ]
        found = of(changed)
        assert (found["cause"], found["cause_provider"], found["cause_resource"]) == (name, "AWS", "a1")
        assert found["cause_team"] == "red"
        assert found["volume_cost"] + found["price_cost"] == found["difference_cost"]
    new = hour(last, Decimal(900), node="z9", team="green", resource_id="i-z9")
    found = of([*base, new])
    assert (found["cause"], found["cause_resource"], found["cause_team"]) == ("new", "z9", "green")
    charge = hour(last, Decimal(900), node="", team="", service_name="Backup", held_gpu_seconds=Decimal(0))
    assert of([*base, charge])["cause_resource"] == "Backup"


def test_a_price_that_moves_for_all_names_no_team() -> None:
    teams = [each for team in ("red", "blue", "green") for each in days(node=f"n-{team}", team=team, resource_id=team)]
    last = FIRST + 60 * DAY + 23 * HOUR
    dearer = [each | {"effective_cost": each["effective_cost"] * (1 + (each["hour_start"] == last))} for each in teams]
    found = anomalies(dearer).filter(pl.col("scope") == "total").row(0, named=True)
    assert (found["cause"], found["cause_provider"], found["cause_team"]) == ("price", "AWS", "")
    assert abs(found["volume_cost"]) < 10 < found["price_cost"]


def test_estimates_and_days_that_are_not_billed_to_their_end_are_not_judged() -> None:
    wild = days(lambda index: Decimal(9000) if index == 62 else weekday(index))
    assert not anomalies(wild).is_empty()
    assert anomalies([row | {"is_estimated": row["hour_start"] >= FIRST + 62 * DAY} for row in wild]).is_empty()
    cut = [row | {"hour_start": row["hour_start"] - HOUR} if row["hour_start"].hour else row for row in wild]
    assert anomalies(cut).is_empty()


@pytest.mark.parametrize("unknown", [{"effective_cost": None}, {"has_unstated_charge": True}])
def test_a_day_of_which_a_part_is_unknown_is_not_cheap(unknown: dict[str, Any]) -> None:
    """A quarter of the estate is billed; a rate is missing for the rest of one day: nothing tells what that cost."""
    cheap = days(lambda index: Decimal(200) if index == 59 else weekday(index))
    assert anomalies(cheap)["difference_cost"].max() < 0
    first = FIRST + 59 * DAY
    unpriced = [row | unknown if row["hour_start"] == first else row for row in cheap]
    assert anomalies(unpriced).is_empty()
    elsewhere = {"provider": "Rented", "team": "blue", "resource_id": "i-9", "held_gpu_seconds": Decimal(0)}
    other = hour(first + 23 * HOUR, Decimal(0)) | elsewhere | unknown
    assert sorted(anomalies([*cheap, other])["scope"]) == ["provider:AWS", "team:red"], "what is known is judged"


def test_a_day_of_which_a_part_is_unknown_is_no_weekday_to_compare_with() -> None:
    """Of eight weekdays before, the last four only look cheap: the usual cost is that of the others."""
    cheap = {59 - 7 * week for week in range(1, 5)}
    dear = days(lambda index: Decimal(4000) if index == 59 else Decimal(200) if index in cheap else weekday(index))
    partly = [row | {"has_unstated_charge": (row["hour_start"] - FIRST).days in cheap} for row in dear]
    for given_, usual in ((dear, (Decimal(200), 8)), (partly, (Decimal(1000), 4))):
        made = anomalies(given_, start=FIRST + 59 * DAY, end=FIRST + 60 * DAY).filter(pl.col("scope") == "total")
        assert made.select("expected_cost", "weekday_count").row(0) == usual


def test_an_account_whose_bill_is_still_to_come_is_waited_for() -> None:
    """Of two accounts of one provider the other is billed; three days on it is not waited for any more."""
    cheap = days(lambda index: Decimal(200) if index == 59 else weekday(index))
    end = FIRST + 60 * DAY
    one = rows(FocusCharge, [charge(0, BillingPeriodStart=FIRST, ChargePeriodEnd=end - HOUR)])
    for through, status, is_told in (
        (end - HOUR, "current", False),
        (end, "current", True),
        (end - 3 * DAY, "current", True),
        (end - 3 * DAY + HOUR, "current", False),
        (end - HOUR, "superseded", True),
    ):
        late = imports_of(one, complete_through=through, status=status)
        assert anomalies(cheap, imports=late).is_empty() != is_told, through


def test_too_few_weekdays_and_what_has_become_usual_are_not_told() -> None:
    jump = days(lambda index: Decimal(5000) if index >= 40 else Decimal(100))
    told = anomalies(jump).filter(pl.col("scope") == "total")["day"].to_list()
    assert told == [date(2026, 3, 14)]
    twice = days(lambda index: Decimal(9000 if index >= 43 else 5000) if index >= 40 else Decimal(100))
    steps = anomalies(twice).filter(pl.col("scope") == "total")["day"].to_list()
    assert steps == [date(2026, 3, 14), date(2026, 3, 17)]
    assert anomalies(days(lambda index: Decimal(9000) if index == 27 else Decimal(100), 28)).is_empty()


def test_before_its_first_charge_a_team_is_not_known_to_have_cost_nothing() -> None:
    """The estate is 15 times larger from its 31st day on, when a team comes; only the whole has a past to compare."""
    small = days(lambda _: Decimal(100))
    late = [row for row in days(lambda _: Decimal(1400), team="blue") if row["hour_start"] >= FIRST + 30 * DAY]
    told = anomalies(small + late)
    assert sorted(zip(told["scope"], told["day"], strict=True)) == [
        ("provider:AWS", date(2026, 3, 4)),
        ("total", date(2026, 3, 4)),
    ]
    assert set(told["cause"]) == {"new"}
    assert set(told["cause_team"]) == {"blue"}


def test_what_comes_in_bursts_is_unusual_only_beyond_its_bursts() -> None:
    def bursts(index: int) -> Decimal:
        return Decimal(600) if index % 5 in {1, 2} and index % 7 != 3 else Decimal(0)

    def on_thursday(cost: int) -> list[str]:
        told = anomalies(days(lambda index: Decimal(cost) if index == 59 else bursts(index)))
        return [str(day) for day in told.filter(pl.col("scope") == "team:red")["day"]]

    assert on_thursday(600) == []
    assert on_thursday(6000) == ["2026-04-02"]


def test_outside_the_estate_and_what_is_no_usage_do_not_count() -> None:
    spike = FIRST + 60 * DAY + 23 * HOUR
    others = [
        hour(spike, Decimal(90_000), in_scope=False),
        hour(spike, Decimal(90_000), charge_category="Tax", gpu_uuid="", bucket="shared"),
    ]
    assert anomalies(days() + others).is_empty()


@settings(max_examples=10)
@given(st.integers(0, 62), st.integers(0, 20_000), st.integers(1, 62))
def test_a_day_is_the_same_whatever_is_computed_with_it(at: int, amount: int, cut: int) -> None:
    changed = days(lambda index: Decimal(amount) if index == at else weekday(index))
    whole = anomalies(changed)
    middle = FIRST + cut * DAY
    parts = pl.concat([anomalies(changed, end=middle), anomalies(changed, start=middle)])
    assert whole.rows() == parts.sort(AnomalyDay.primary_key()).rows()
    for row in whole.iter_rows(named=True):
        assert row["actual_cost"] - row["expected_cost"] == row["difference_cost"]
