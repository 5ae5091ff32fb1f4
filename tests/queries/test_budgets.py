"""Budgets: which is in force, whether it breaks, when and by how much."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.budget_rule import BudgetRule
from ledger.tables import Budget as BudgetTable
from ledger.tables import BudgetDecision, ForecastDay, Team
from queries.budgets import Budget, Standing, in_force, standings
from tests.bills import rows

NOVEMBER = date(2026, 11, 1)
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
RULE = BudgetRule(scope="team:red", currency="USD", amount=Decimal(100))


def stored(amount: int, month: date = NOVEMBER, ratio: float | None = 0.9) -> dict[str, Any]:
    return {
        "month": month,
        "scope": "team:red",
        "billing_currency": "USD",
        "budget_cost": Decimal(amount),
        "threshold_ratio": ratio,
    }


def decided(amount: int | None, month: date = NOVEMBER) -> dict[str, Any]:
    return stored(0, month) | {
        "budget_cost": None if amount is None else Decimal(amount),
        "thresholds": "0.5,1.0",
        "owner": "",
        "decided_at": NOW,
        "decided_by": "ann",
    }


def found(
    tables: list[dict[str, Any]], rules: list[BudgetRule], decisions: list[dict[str, Any]], month: date = NOVEMBER
) -> list[Budget]:
    team = {"team": "red", "match_field": "account", "match_value": "red", "rank_index": 0, "owner": "lead@example.org"}
    frames = rows(BudgetTable, tables), rows(BudgetDecision, decisions), rows(Team, [team])
    return in_force(month, frames[0], rules, frames[1], frames[2])


def test_a_person_goes_before_the_configuration_and_that_before_the_ledger() -> None:
    (ledger,) = found([stored(50)], [], [])
    assert (ledger.cost, ledger.source, ledger.thresholds, ledger.owner) == (
        50,
        "ledger",
        (0.9, 1.0),
        "lead@example.org",
    )
    (configured,) = found([stored(50)], [RULE], [])
    assert (configured.cost, configured.source) == (100, "configuration")
    (person,) = found([stored(50)], [RULE], [decided(7)])
    assert (person.cost, person.source, person.thresholds, person.team) == (7, "page", (0.5, 1.0), "red")


def test_a_decision_holds_until_the_next_and_a_rule_in_its_months() -> None:
    decisions = [decided(7, date(2026, 9, 1)), decided(8, date(2026, 11, 1)), decided(None, date(2027, 1, 1))]
    months = {date(2026, 8, 1): [100], date(2026, 10, 1): [7], date(2026, 12, 1): [8], date(2027, 2, 1): []}
    for month, amounts in months.items():
        assert [each.cost for each in found([], [RULE], decisions, month)] == amounts
    dated = RULE.model_copy(update={"since": "2026-11", "until": "2026-12"})
    assert [len(found([], [dated], [], date(2026, month, 1))) for month in (10, 11, 12)] == [0, 1, 1]
    assert not found([stored(50, date(2026, 10, 1))], [], [])


def stands(
    spent: list[tuple[int, int]],
    forecast: dict[int, tuple[int, int | None, int | None]],
    now: datetime = NOW,
    booked: dict[int, int] | None = None,
) -> Standing:
    """Return how a budget of 100 stands: what usage cost by day, what it is foreseen to, and what was booked whole."""
    key = {"scope": "team:red", "billing_currency": "USD", "has_estimate": False}
    text = {"scope": pl.String, "billing_currency": pl.String, "has_estimate": pl.Boolean}
    used, whole = dict(spent), booked or {}
    days = pl.DataFrame(
        [
            {
                **key,
                "day": date(2026, 11, day),
                "cost": Decimal(used.get(day, 0) + whole.get(day, 0)),
                "usage_cost": Decimal(used[day]) if day in used else None,
            }
            for day in sorted({*used, *whole})
        ],
        schema={**text, "day": pl.Date, "cost": pl.Decimal(38, 18), "usage_cost": pl.Decimal(38, 18)},
    )
    coming = [
        {
            "day": date(2026, 11, day),
            "scope": "team:red",
            "billing_currency": "USD",
            "made_on": date(2026, 11, 7),
            "forecast_cost": Decimal(cost),
            "lower_cost": None if lower is None else Decimal(lower),
            "upper_cost": None if upper is None else Decimal(upper),
            "method": "seasonal_naive_7",
        }
        for day, (cost, lower, upper) in forecast.items()
    ]
    budget = Budget(NOVEMBER, "team:red", "USD", Decimal(100), (0.5, 1.0), "", "page")
    (each,) = standings([budget], days, rows(ForecastDay, coming), now)
    return each


REST = range(11, 31)


@pytest.mark.parametrize(
    ("spent", "forecast", "status", "breaks_on", "over"),
    [
        ([(3, 60), (9, 50)], dict.fromkeys(REST, (1, 1, 1)), "broken", date(2026, 11, 9), 30),
        ([(9, 50)], dict.fromkeys(REST, (4, 3, 5)), "will break", date(2026, 11, 23), 30),
        ([(9, 50)], dict.fromkeys(REST, (3, 2, 4)), "may break", date(2026, 11, 27), 10),
        ([(9, 50)], dict.fromkeys(REST, (2, 1, 4)), "may break", None, -10),
        ([(9, 50)], dict.fromkeys(REST, (1, 1, 2)), "on track", None, -30),
        ([(9, 50)], dict.fromkeys(REST, (4, None, None)), "will break", date(2026, 11, 23), 30),
        ([(9, 50)], {}, "no forecast", None, -50),
        ([], dict.fromkeys(REST, (1, 1, 1)), "on track", None, -80),
    ],
)
def test_whether_it_breaks_when_and_by_how_much(
    spent: list[tuple[int, int]],
    forecast: dict[int, tuple[int, int | None, int | None]],
    status: str,
    breaks_on: date | None,
    over: int,
) -> None:
    each = stands(spent, forecast)
    assert (each.status, each.breaks_on, each.over) == (status, breaks_on, over)


def test_thresholds_are_reached_exactly() -> None:
    assert stands([(9, 49)], {}).reached == []
    assert stands([(9, 50)], {}).reached == [0.5]
    assert stands([(9, 100)], {}).reached == [0.5, 1.0]


def test_what_is_left_of_days_that_have_begun_is_still_to_come() -> None:
    """Today is not over, and bills of the days before may lag: what they were expected to cost will come."""
    late = {8: (9, 6, 12), 9: (9, 6, 12), 10: (9, 6, 12), 11: (1, 1, 1)}
    each = stands([(7, 50), (8, 9), (9, 4), (10, 20)], late)
    # The 8th has come as expected, of the 9th five are missing, the 10th has cost more than it should.
    assert (each.spent, each.expected) == (83, 83 + 5 + 1)
    assert (each.lower, each.upper) == (83 + 2 + 1, 83 + 3 + 8 + 1)
    assert stands([(7, 50)], late).expected == 50 + 3 * 9 + 1
    assert stands([(7, 50)], late, datetime(2026, 11, 30, 23, tzinfo=UTC)).expected == 50 + 3 * 9 + 1


def test_taxes_and_credits_say_nothing_of_what_is_missing_of_their_day() -> None:
    """Forecasts are of usage: a credit is not used up by it, and a tax does not take its place."""
    late = {8: (9, 6, 12), 9: (9, 6, 12), 10: (9, 6, 12), 11: (1, 1, 1)}
    plain = stands([(7, 50), (8, 9)], late)
    assert (plain.spent, plain.expected) == (59, 59 + 9 + 9 + 1)
    credit = stands([(7, 50), (8, 9)], late, booked={8: -40})
    assert (credit.spent, credit.expected) == (19, 19 + 9 + 9 + 1)
    assert (credit.lower, credit.upper) == (19 + 6 + 6 + 1, 19 + 3 + 12 + 12 + 1)
    tax = stands([(7, 50), (8, 9)], late, booked={9: 40})
    assert (tax.spent, tax.expected) == (99, 99 + 9 + 9 + 1)
    assert (tax.status, tax.breaks_on) == ("will break", date(2026, 11, 9))


def test_a_credit_may_make_good_what_had_broken_it() -> None:
    rest = dict.fromkeys(REST, (1, 1, 1))
    good = stands([(3, 120), (9, 1)], rest, booked={5: -60})
    assert (good.spent, good.status, good.breaks_on) == (61, "on track", None)
    again = stands([(3, 120), (9, 1)], dict.fromkeys(REST, (3, 3, 3)), booked={5: -60})
    assert (again.status, again.breaks_on) == ("will break", date(2026, 11, 24)), "not the 3rd, which is over"
    more = stands([(9, 20)], rest, booked={5: -500})
    assert (more.spent, more.expected, more.status, more.used_ratio) == (-480, -460, "on track", -4.8)


def test_a_charge_of_the_whole_month_counts_as_its_days_come() -> None:
    """Thirty a month, one of it on each day: ten are spent by the 10th, and twenty are still to come, once."""
    each = stands([(day, 1) for day in range(1, 31)], dict.fromkeys(REST, (1, 1, 1)))
    assert (each.spent, each.expected) == (10, 30)
    over = stands([(day, 1) for day in range(1, 31)], {}, datetime(2026, 12, 5, tzinfo=UTC))
    assert over.spent == 30


def test_a_month_that_is_over_needs_no_forecast() -> None:
    for forecast in ({}, {29: (9, 9, 9), 30: (9, 9, 9)}):
        over = stands([(9, 50)], forecast, datetime(2026, 12, 5, tzinfo=UTC))
        assert (over.status, over.expected, over.over) == ("on track", 50, -50)


@given(st.lists(st.tuples(st.integers(1, 10), st.integers(0, 40)), max_size=10, unique_by=lambda each: each[0]),
       st.dictionaries(st.integers(11, 30), st.integers(0, 20), max_size=20))  # fmt: skip
def test_what_breaks_is_over_and_what_is_expected_is_the_sum(
    spent: list[tuple[int, int]], forecast: dict[int, int]
) -> None:
    each = stands(spent, {day: (cost, cost, cost) for day, cost in forecast.items()})
    whole = sum(cost for _, cost in spent) + sum(forecast.values())
    assert each.spent == sum(cost for _, cost in spent)
    if each.expected is not None:
        assert each.expected == whole == each.lower == each.upper
        assert (each.breaks_on is not None) == (whole > 100)
        assert (each.status in {"broken", "will break"}) == (whole > 100)
