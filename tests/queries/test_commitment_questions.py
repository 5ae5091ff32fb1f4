"""What commitments cost and what they could cover, day by day: each day's money can be converted by its own rate."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from ledger.store import Store
from ledger.tables import CommitmentDay
from queries import converted, sql
from tests.bills import MONTH, NEXT, at, rows

PLAN = {"commitment_id": "plan-1", "commitment_type": "Savings Plans"}


def day(number: int, **given: Any) -> dict[str, Any]:
    costs = {name: Decimal(value) for name, value in given.items() if name.endswith("_cost")}
    row = {
        "billing_period_start": MONTH, "day": date(2026, 3, number), "provider": "AWS", "billing_account_id": "acct",
        "commitment_id": "", "region": "us-east-1", "instance_type": "p5", "billing_currency": "USD", "in_scope": True,
    }  # fmt: skip
    return row | given | costs


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:", now=lambda: NEXT) as opened:
        yield opened


def asked(store: Store, question: str, *days: dict[str, Any], first: int = 1, last: int = 31) -> pl.DataFrame:
    store.replace(CommitmentDay, rows(CommitmentDay, days), partitions=["2026-03"], state=None)
    asks = sql.load(question)
    stretch = {"start": at(first), "end": at(last)}
    return store.select(asks.text, **{name: stretch[name] for name in asks.asks})


def on_demand(number: int, lowest: int | None = 5, **given: Any) -> dict[str, Any]:
    cost = {} if lowest is None else {"lowest_hour_cost": lowest}
    return day(number, on_demand_cost=120, on_demand_list_cost=150, **cost, **given)


def steady(found: pl.DataFrame) -> dict[int, Decimal]:
    return {each.day: cost for each, cost in found.select("day", "steady_hour_cost").drop_nulls().rows()}


def test_the_cheapest_hour_stands_on_the_last_day_that_is_as_cheap(store: Store) -> None:
    lowest = {10: 1, 11: 5, 12: 4, 13: 4, 14: 6, 15: 1}
    found = asked(store, "coverable", *(on_demand(number, cost) for number, cost in lowest.items()))
    assert steady(found) == {13: Decimal(4)}, "the first and the last day are not whole"
    assert found["day"].to_list() == [date(2026, 3, number) for number in lowest]
    whole = converted.coverable(found)
    assert whole.select("on_demand_cost", "eligible_list_cost", "covered_list_cost", "steady_hour_cost").rows() == [
        (Decimal(720), Decimal(900), Decimal(0), Decimal(4))
    ]


def test_a_day_without_usage_runs_nothing_around_the_clock(store: Store) -> None:
    days = [on_demand(number) for number in (10, 11, 13, 14)]
    other = [on_demand(number, region="eu") for number in range(10, 15)]
    found = asked(store, "coverable", *days, *other)
    assert steady(found.filter(pl.col("region") == "us-east-1")) == {13: Decimal(0)}
    assert steady(found.filter(pl.col("region") == "eu")) == {13: Decimal(5)}


def test_of_one_day_no_hour_is_known_to_be_the_cheapest(store: Store) -> None:
    assert steady(asked(store, "coverable", on_demand(10))) == {}


def test_what_a_commitment_covers_at_an_unknown_list_price_is_unknown_on_all_days(store: Store) -> None:
    """On the day without it nothing is covered: that is no list price of the days on which something is."""
    covered = day(12, used_cost=5, **PLAN)
    found = asked(store, "coverable", *(on_demand(number) for number in (10, 11, 12)), covered)
    assert found["covered_list_cost"].to_list() == [None, None, None]
    known = asked(store, "coverable", *(on_demand(number) for number in (10, 11, 12)), covered | {
        "covered_list_cost": Decimal(9)})  # fmt: skip
    assert converted.coverable(known)["covered_list_cost"].to_list() == [Decimal(9)]


def test_what_neither_runs_on_demand_nor_is_covered_is_not_listed(store: Store) -> None:
    assert asked(store, "coverable", day(12, unused_cost=5, **PLAN)).is_empty()


def test_what_a_commitment_saves_is_told_by_day_and_only_where_all_list_prices_are_known(store: Store) -> None:
    used = [day(number, used_cost=75, covered_list_cost=150, **PLAN) for number in (11, 12)]
    wasted = day(13, unused_cost=25, **PLAN | {"instance_type": ""})
    found = asked(store, "commitment_costs", *used, wasted)
    amounts = found.select("used_cost", "unused_cost", "committed_cost", "net_saving_cost").rows()
    assert amounts == [(75, None, 75, 75), (75, None, 75, 75), (None, 25, 25, -25)]
    unlisted = day(14, used_cost=1, **PLAN)
    found = asked(store, "commitment_costs", *used, wasted, unlisted)
    assert found["net_saving_cost"].to_list() == [None] * 4
    assert found["committed_cost"].to_list() == [75, 75, 25, 1]


def test_purchases_stand_on_their_days_and_terms_stand_once(store: Store) -> None:
    bought = {"term_start": at(1), "term_end": at(20)}
    days = [
        day(9, purchased_cost=900, **bought, **PLAN),
        day(10, purchased_cost=800, billing_currency="EUR", **PLAN),
        day(11, used_cost=1, **PLAN),
    ]
    paid = asked(store, "commitment_purchases", *days)
    assert paid.select("day", "billing_currency", "purchased_cost").rows() == [
        (date(2026, 3, 9), "USD", 900), (date(2026, 3, 10), "EUR", 800),
    ]  # fmt: skip
    terms = asked(store, "commitments", *days)
    assert terms.select("commitment_id", "term_end").rows() == [("plan-1", at(20))]


def test_waste_beside_usage_on_demand_is_told_by_day(store: Store) -> None:
    wasted = [day(number, unused_cost=cost, **PLAN) for number, cost in ((11, 200), (12, 30), (13, 7))]
    found = asked(store, "missed_cover", *wasted, on_demand(11), on_demand(12))
    assert found.select("day", "missed_cost").rows() == [(date(2026, 3, 11), 120), (date(2026, 3, 12), 30)]
