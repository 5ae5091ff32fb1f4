"""The page on what was bought in advance opens with use, waste, ends and what could be covered."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.context import Context
from ledger.config import load
from ledger.tables import CommitmentDay
from tests.app.conftest import used
from tests.app.opening import metrics, opened, said
from tests.bills import rows

NOW = datetime(2026, 3, 20, 15, 20, tzinfo=UTC)
PLAN = {"commitment_id": "plan-1", "commitment_name": "a year of p5", "commitment_type": "Compute Savings Plans"}


def day(number: int, **given: Any) -> dict[str, Any]:
    money = {name: Decimal(value) for name, value in given.items() if name.endswith("_cost") and value is not None}
    row = {
        "billing_period_start": datetime(2026, 3, 1, tzinfo=UTC), "day": date(2026, 3, number), "provider": "AWS",
        "billing_account_id": "acct", "commitment_id": "", "region": "us-east-1", "instance_type": "p5",
        "billing_currency": "USD", "in_scope": True,
    }  # fmt: skip
    return row | given | money


@pytest.fixture
def hub() -> Iterator[Context]:
    found = Context(load(store={"url": "duckdb::memory:"}), now=lambda: NOW)
    yield found
    found.close()


def shown(hub: Context, *days: dict[str, Any]) -> Any:
    frame = rows(CommitmentDay, days)
    hub.store.replace(CommitmentDay, frame, partitions=["2026-03"], state=None)
    hub.changed()
    with used(hub):
        return opened("commitments", window="7d")


def a_week() -> list[dict[str, Any]]:
    """Return days of a plan of which a quarter is wasted, beside a server on demand; the bill ends on the 19th."""
    days = []
    for number in range(10, 20):
        days.append(day(number, used_cost=75, covered_list_cost=150, **PLAN))
        days.append(day(number, unused_cost=25, **PLAN | {"instance_type": ""}))
        lowest = 4 if number == 15 else 5
        days.append(day(number, on_demand_cost=120, on_demand_list_cost=150, lowest_hour_cost=lowest))
    bought = {"term_start": NOW - timedelta(days=300), "term_end": NOW + timedelta(days=40, hours=1)}
    days.append(day(9, purchased_cost=36500, **PLAN, **bought))
    return days


def test_use_waste_coverage_and_ends(hub: Context) -> None:
    test = shown(hub, *a_week())
    found = {label: value for label, (value, _) in metrics(test).items()}
    # The window's seven days: the 13th to the 20th, of which the bill has the 13th to the 19th.
    assert found["Used"] == "75.0 %"
    assert found["Wasted"] == "$175.00"
    table = test.dataframe[0].value
    assert table["net_saving_cost"].to_list() == [350], "1,050 at list less 700 paid, waste included"
    assert found["Covered"] == "50.0 %"
    assert found["Steady, a month"] == "$2,920", "four an hour, 730 hours: the cheapest hour of whole days"
    assert metrics(test)["Ends next"] == ("40 d", "29 Apr 2026")
    missed, ending = (each.value for each in test.warning)
    assert missed.startswith("$175.00 was wasted on days on which servers of the same provider ran on demand")
    assert ending.startswith("a year of p5 ends in 40 days")


def test_a_day_without_usage_runs_nothing_around_the_clock(hub: Context) -> None:
    days = [each for each in a_week() if each["commitment_id"] or each["day"].day != 16]
    assert metrics(shown(hub, *days))["Steady, a month"][0] == "$0.00"


def test_without_a_commitment_nothing_is_covered(hub: Context) -> None:
    found = metrics(shown(hub, *(each for each in a_week() if not each["commitment_id"])))
    assert (found["Covered"][0], found["Used"][0], found["Wasted"][0]) == ("0.0 %", "–", "–")


def test_what_is_unknown_is_a_dash(hub: Context) -> None:
    """One day of a bill, without list prices: nothing is whole, and no list price is 0."""
    test = shown(hub, day(18, used_cost=1, **PLAN), day(18, on_demand_cost=1))
    found = {label: value for label, (value, _) in metrics(test).items()}
    assert found["Used"] == "100.0 %"
    assert {found[label] for label in ("Covered", "Steady, a month", "Ends next")} == {"–"}


def test_waste_that_the_bill_does_not_state_is_not_0(hub: Context) -> None:
    """A charge of three days counts once; what it is a part of is unknown: what was committed, and what was saved."""
    other = PLAN | {"commitment_id": "plan-2", "commitment_name": "b"}
    unstated = [
        day(12 + each, unused_unstated_count=1, unused_unstated_begun_count=int(each == 0), **PLAN, region="ap")
        for each in range(3)
    ]
    more = [
        day(15, unused_cost=25, unused_unstated_count=2, unused_unstated_begun_count=2, **PLAN | {"region": "eu"}),
        day(15, used_unstated_count=1, used_unstated_begun_count=1, **PLAN | {"region": "us"}),
        day(15, used_cost=90, unused_cost=10, covered_list_cost=300, used_unstated_count=0, **other),
    ]
    test = shown(hub, *a_week(), *unstated, *more)
    found = {label: value for label, (value, _) in metrics(test).items()}
    assert found["Wasted"] == "$210.00"
    assert found["Used"] == "90.0 %", "of the plan of which all is stated"
    assert any(
        each.value.startswith("Wasted: not stated for 3 charges; Used: not stated for 1 charge.")
        for each in test.caption
    )
    table = test.dataframe[0].value.sort_values("commitment_name")
    assert table["unused_unstated_count"].to_list() == [3, 0]
    for name, known in (("committed_cost", 100), ("net_saving_cost", 200)):
        assert table[name].isna().to_list() == [True, False]
        assert table[name].to_list()[1] == known
    assert not any("not stated" in each.value for each in shown(hub, *a_week()).caption)


def test_a_list_price_that_is_not_stated_is_no_saving(hub: Context) -> None:
    part = day(15, covered_list_unstated_count=1, used_cost=1, covered_list_cost=1, region="eu", **PLAN)
    test = shown(hub, *a_week(), part)
    assert test.dataframe[0].value["net_saving_cost"].isna().all()


def test_waste_that_nothing_on_demand_could_have_used_is_not_blamed(hub: Context) -> None:
    days = [each for each in a_week() if each["commitment_id"]]
    test = shown(hub, *days, day(14, on_demand_cost=3, lowest_hour_cost=0))
    assert test.warning[0].value.startswith("$3.00 was wasted on days")
    assert shown(hub, *days).warning[0].value.startswith("a year of p5 ends")


def test_what_is_not_of_the_estate_is_not_shown(hub: Context) -> None:
    foreign = {"in_scope": False, "commitment_id": "other", "provider": "Azure"}
    test = shown(hub, *a_week(), day(18, unused_cost=1_000_000, **foreign))
    assert metrics(test)["Wasted"][0] == "$175.00"
    assert "other" not in said(test).split()
