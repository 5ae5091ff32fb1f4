"""Forecasts of drawn teams against a plain reading, and faults in what they are made of."""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache

import polars as pl
import pytest

from ledger.tables import SpendDay
from queries.graph import Span
from queries.rollups.forecast_day import forecast_day
from tests.oracle.faults import LAST_UNIT
from tests.oracle.money_frames import money, units
from tests.oracle.oracle_forecast import MEDIAN, NAIVE, Foreseen, forecast
from tests.oracle.oracle_money import Units
from tests.oracle.searching import CI
from tests.queries.rollups.test_forecast_day import hour, spent

TEAMS = 400 if CI else 60
NOW = datetime(2026, 11, 17, 9, tzinfo=UTC)
FIRST = datetime(2026, 9, 8, 9, tzinfo=UTC).date() + timedelta(days=1)
LAST = date(2026, 11, 30)

Histories = Mapping[str, Mapping[int, Units]]


@cache
def histories() -> Histories:
    """Draw what teams cost on each day: with weekends, steps, bursts, rest, and days that nobody knows."""
    draw = random.Random(5)  # noqa: S311  seeded, not secret
    yesterday = (NOW.date() - FIRST).days - 1
    found: dict[str, dict[int, Units]] = {}
    for number in range(TEAMS):
        level, noise = draw.randint(1, 10 ** draw.choice((21, 21, 30))), draw.choice((0, 10**17, 10**20))
        since = draw.choice((0, 0, 0, 20, yesterday - 5))
        costs: dict[int, Units] = {}
        for day in range(since, yesterday + 1):
            weekend = (FIRST + timedelta(days=day)).weekday() > 4
            cost = (level // 4 if weekend else level) + draw.randint(-noise, noise)
            costs[day] = None if draw.random() < 0.02 else 0 if draw.random() < 0.05 else cost
            costs[day] = cost * 30 if draw.random() < 0.04 else costs[day]
        found[f"t{number}"] = costs
    return found


@cache
def spending() -> pl.DataFrame:
    """Return the days as the ledger has them; somebody else is billed every day, so that all days are known."""
    start = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    every = range((NOW.date() - FIRST).days)
    rows = [hour(start + timedelta(days=day, hours=each), Decimal(1), team="x") for day in every for each in (0, 23)]
    for team, costs in histories().items():
        rows += [hour(start + timedelta(days=day), money(cost), team=team) for day, cost in costs.items()]
    return spent(rows).collect()


Found = dict[tuple[str, int], Foreseen]


def foreseen(days: pl.DataFrame) -> Found:
    made = forecast_day.function(days.lazy(), Span(NOW - timedelta(days=70), NOW, NOW)).collect()
    return {
        (row["scope"].removeprefix("team:"), (row["day"] - FIRST).days): Foreseen(
            units(row["forecast_cost"]) or 0, units(row["lower_cost"]), units(row["upper_cost"]), row["method"]
        )
        for row in made.iter_rows(named=True)
        if row["scope"].startswith("team:t")
    }


def check(found: Found) -> None:
    wanted = {
        (team, day): each
        for team, costs in histories().items()
        for day, each in forecast(costs, (LAST - FIRST).days).items()
    }
    for place in found.keys() | wanted.keys():
        assert found.get(place) == wanted.get(place), (place, "rollup", found.get(place), "oracle", wanted.get(place))


def test_each_day_is_foreseen_as_a_plain_reading_says() -> None:
    found = foreseen(spending())
    check(found)
    assert {each.method for each in found.values()} == {NAIVE, MEDIAN}
    assert any(each.lower is None for each in found.values())


TEAM = pl.col("team").str.starts_with("t")

FAULTS: Mapping[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "a day later": lambda days: days.with_columns(
        pl.when(TEAM).then(pl.col("day").dt.offset_by("1d")).otherwise("day").alias("day")
    ),
    "an unknown day is free": lambda days: days.with_columns(pl.col("effective_cost").fill_null(Decimal(0))),
    "a last unit more": lambda days: days.with_columns(pl.col("effective_cost") + LAST_UNIT),
    "the oldest weeks are lost": lambda days: days.filter(pl.col("day") > FIRST + timedelta(days=28)),
    "the newest week is lost": lambda days: days.filter(~TEAM | (pl.col("day") < NOW.date() - timedelta(days=7))),
    "teams are one": lambda days: days.with_columns(pl.when(TEAM).then(pl.lit("t0")).otherwise("team").alias("team")),
    "taxes come again": lambda days: days.with_columns(
        pl.when(TEAM).then(pl.lit("Tax")).otherwise("charge_category").alias("charge_category")
    ),
    "others' charges count": lambda days: days.with_columns(
        pl.when(TEAM).then(pl.lit(value=False)).otherwise("in_scope").alias("in_scope")
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_what_was_spent_turns_the_comparison_red(name: str) -> None:
    with pytest.raises(AssertionError):
        check(foreseen(SpendDay.cast(FAULTS[name](spending()))))


def test_one_wrong_day_turns_the_comparison_red() -> None:
    found = foreseen(spending())
    place = max(found)
    for wrong in (found[place]._replace(cost=found[place].cost + 1), found[place]._replace(lower=None, upper=None)):
        with pytest.raises(AssertionError):
            check(found | {place: wrong})
    with pytest.raises(AssertionError):
        check({key: each for key, each in found.items() if key != place})
