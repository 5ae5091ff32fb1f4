"""Billed cost on pages: of whole billing periods, whatever window is chosen, and equal to what bills charge."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import format as written
from app.context import Context
from app.data import Window
from app.views import _billed
from ledger import money
from ledger.tables import Reconciliation
from tests.app.conftest import used
from tests.app.opening import metrics, opened, said


def month(number: int, year: int = 2026) -> datetime:
    return datetime(year, number, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("chosen", "shown", "before"),
    [
        (Window(datetime(2026, 11, 13, 6, tzinfo=UTC), month(11).replace(day=20)), (11, 12), (10, 11)),
        (Window(month(10), month(11)), (10, 11), (9, 10)),
        (Window(datetime(2026, 9, 30, 23, tzinfo=UTC), datetime(2026, 11, 1, 1, tzinfo=UTC)), (9, 12), (6, 9)),
    ],
)
def test_a_window_shows_the_billing_periods_that_it_touches(
    chosen: Window, shown: tuple[int, int], before: tuple[int, int]
) -> None:
    found = _billed.months(chosen)
    assert found == Window(*map(month, shown))
    assert _billed.before(found) == Window(*map(month, before))


def test_the_months_of_a_year_lie_before_each_other() -> None:
    found = _billed.months(Window(month(12, 2025).replace(day=31), month(1).replace(day=2)))
    assert found == Window(month(12, 2025), month(2))
    assert _billed.before(found) == Window(month(10, 2025), month(12, 2025))


def totals(test: AppTest) -> dict[str, str]:
    return {name: value for name, (value, _) in metrics(test).items() if name.startswith("Billed cost, ")}


def billed(context: Context, window: str, **query: str) -> AppTest:
    with used(context):
        return opened("cost", query={"measure": "billed", **query}, window=window)


def amounts(context: Context, **where: Any) -> dict[str, str]:
    """Return what reconciliation says that the bills of November charge, and what is estimated beside them."""
    found: dict[str, Decimal] = {}
    rows = context.store.read(Reconciliation).filter(billing_period_start=month(11), **where)
    for code, charged, estimated in rows.select("billing_currency", "charged", "estimated").iter_rows():
        found[code] = money.add(found.get(code, Decimal(0)), charged, estimated or Decimal(0))
    return {f"Billed cost, {code}": written.money(cost, code, compact=True) for code, cost in found.items()}


@pytest.mark.parametrize("window", ["24h", "7d", "month"])
def test_any_window_of_a_month_shows_what_its_bills_charge(demo_context: Context, window: str) -> None:
    """Half of a month's bill is no number that stands on any invoice."""
    test = billed(demo_context, window, estate="all")
    assert totals(test) == amounts(demo_context)
    assert "of whole billing periods, those that begin in November 2026" in said(test)
    assert "Days with estimates" not in metrics(test)


def test_effective_cost_goes_by_hours_as_before(demo_context: Context) -> None:
    with used(demo_context):
        week, whole = (opened("cost", query={"estate": "all"}, window=each) for each in ("7d", "month"))
    assert metrics(week)["Effective cost, USD"][0] != metrics(whole)["Effective cost, USD"][0]
    assert "whole billing periods" not in said(week)


@pytest.mark.parametrize(
    "rules", [{"split": "70_30"}, {"idle": "even"}, {"split": "95_3_2", "shared": "even", "idle": "proportional"}]
)
def test_other_rules_change_no_billed_total(demo_context: Context, rules: dict[str, str]) -> None:
    stored, tried = (billed(demo_context, "7d", **each) for each in ({}, rules))
    assert totals(stored) == totals(tried) != {}
    names = [set(each.dataframe[0].value["name"]) for each in (stored, tried)]
    assert names[0] & names[1]


def test_the_chart_has_a_bar_for_each_month(demo_context: Context) -> None:
    test = billed(demo_context, "30d")
    chart = test.get("plotly_chart")[0].proto.spec
    assert '"dtick":"M1"' in chart.replace(" ", "")
    assert "2026-11-01" in chart
    assert "2026-11-02" not in chart
