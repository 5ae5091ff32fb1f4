"""Pages in a display currency: every converted number says so, with the day of its rate."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

import pytest

from app import data, display
from app.context import Context
from ledger.money_sections import StatedRate
from queries.measures import spending
from tests.app.conftest import used
from tests.app.opening import metrics, opened, said
from tests.demo import DEMO_NOW

RATES = (
    StatedRate(
        day=DEMO_NOW.date() - timedelta(days=400), from_currency="USD", to_currency="EUR", unit_price=Decimal("0.5")
    ),
    StatedRate(day=date(2000, 1, 1), from_currency="EUR", to_currency="CHF", unit_price=Decimal(1)),
)


def _showing(context: Context, currency: str) -> Context:
    money = context.settings.money.model_copy(update={"display_currency": currency, "exchange_rates": RATES})
    return replace(context, settings=context.settings.model_copy(update={"money": money}))


def _worth(text: str) -> float:
    digits = "".join(each for each in text if each.isdigit() or each == ".")
    return float(digits) * {"k": 1e3, "M": 1e6}.get(text[-1], 1)


@pytest.mark.parametrize("page", ["cost", "overview"])
def test_a_converted_number_says_so(demo_context: Context, page: str) -> None:
    with used(demo_context):
        billed = opened(page, query={"window": "30d"})
    with used(_showing(demo_context, "EUR")):
        shown = opened(page, query={"window": "30d"})
    words = f"to EUR at rates of {RATES[0].day}"
    assert words in said(shown)
    assert words not in said(billed)
    if page == "cost":
        before = metrics(billed)["Effective cost, USD"][0]
        after = metrics(shown)["≈ Effective cost, EUR"][0]
        assert after.startswith("€")
        assert _worth(after) >= _worth(before) / 2 * 0.99


def test_without_a_rate_pages_show_what_was_billed(demo_context: Context) -> None:
    with used(_showing(demo_context, "JPY")):
        shown = opened("cost", query={"window": "30d"})
    assert "No rate to JPY is known for all days in" in said(shown)
    assert "Effective cost, USD" in metrics(shown)


def test_what_is_made_of_converted_rows_is_kept(demo_context: Context) -> None:
    counted: list[int] = []
    with used(_showing(demo_context, "EUR")):
        days = {"start": DEMO_NOW - timedelta(days=7), "end": DEMO_NOW, "cluster": "", "by": "team"}
        rows = data.answer("cost_days", scope=data.Scope(), **days, **spending.SPEND.asks)
        for _ in range(2):
            shown = display.shown(rows, ("cost",), day="day")
            data.once(lambda frame: counted.append(frame.height), shown.frame)
    assert len(counted) == 1
    assert shown.frame.height <= rows.height
