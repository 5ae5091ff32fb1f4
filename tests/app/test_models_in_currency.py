"""The page on models in a display currency: each day by its own rate, as the page on cost has it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from polars.testing import assert_frame_equal

from app import data
from app.context import Context
from app.data import Scope
from ledger.money_sections import StatedRate
from queries import converted
from queries.display import Shown
from tests.app.conftest import used
from tests.app.opening import metrics, opened, said
from tests.demo import DEMO_NOW

DAYS = "2026-11-13T00--2026-11-18T00"
FIRST = DEMO_NOW.date() - timedelta(days=30)


def rates() -> tuple[StatedRate, ...]:
    """Return a rate that changes every day."""
    return tuple(
        StatedRate(
            day=FIRST + timedelta(days=number), from_currency="USD", to_currency="EUR",
            unit_price=Decimal("0.5") + Decimal(number) / 100,
        )
        for number in range(31)
    )  # fmt: skip


@pytest.fixture
def in_euros(owners_context: Context) -> Iterator[Context]:
    money = owners_context.settings.money.model_copy(update={"display_currency": "EUR", "exchange_rates": rates()})
    settings = owners_context.settings.model_copy(update={"money": money})
    with used(replace(owners_context, settings=settings, _store=owners_context.store)) as found:
        yield found


def tables(page: str, **query: str) -> list[Any]:
    return [each.value for each in opened(page, query={"window": DAYS, **query}, window=DAYS).dataframe]


def test_every_number_is_converted_and_says_so(in_euros: Context) -> None:
    page = opened("models", window=DAYS)
    shown = metrics(page)
    for title in ("Allocated to models", "Unattributed", "Of no model"):
        assert shown[f"≈ {title}"][0].startswith("€"), title
    words = said(page)
    assert "≈ is converted from USD to EUR at rates of 2026-11-1" in words
    assert "$" not in words.replace("\\$", "")


def test_models_are_what_the_cost_page_says_of_them(in_euros: Context) -> None:
    mine = tables("models")[0].set_index("model")["effective_cost"]
    costs = tables("cost", by="model")
    assert len(costs) == 1, "one currency"
    told = costs[0].set_index("name")["cost"]
    for name, cost in mine.dropna().items():
        assert float(told[name]) == pytest.approx(float(cost), rel=1e-9), name
    assert len(mine.dropna()) > 2


@pytest.mark.parametrize("by", ["team", "run"])
def test_what_owners_cost_is_what_models_cost(in_euros: Context, by: str) -> None:
    found = tables("models", unit=by)
    held = next(each for each in found if "productive_gpu_hour_cost" in each)
    runs = held[held["kind"] == "runs"] if "kind" in held else held
    managed = float(tables("cost", by="bucket")[0].set_index("name")["cost"]["allocated"])
    assert float(runs["effective_cost"].sum()) == pytest.approx(managed, rel=1e-9)


def test_without_a_rate_the_page_stays_as_billed(owners_context: Context) -> None:
    money = owners_context.settings.money.model_copy(update={"display_currency": "JPY"})
    settings = owners_context.settings.model_copy(update={"money": money})
    with used(owners_context):
        billed = metrics(opened("models", window=DAYS))
    with used(replace(owners_context, settings=settings, _store=owners_context.store)):
        page = opened("models", window=DAYS)
    assert metrics(page) == billed
    assert "No rate to JPY is known for all days in" in said(page)


@pytest.mark.parametrize("team", ["", "vision"])
def test_days_that_are_not_converted_sum_to_the_answer_of_the_stretch(owners_context: Context, team: str) -> None:
    start, end = (DEMO_NOW.replace(hour=0, minute=0) - timedelta(days=each) for each in (5, 0))
    asked: dict[str, Any] = {"scope": Scope(), "start": start, "end": end, "cluster": "", "team": team}
    days, whole = (data.answered(owners_context, name, **asked) for name in ("model_cost_days", "model_costs"))
    assert_frame_equal(converted.models(days), whole, check_row_order=False)
    for by in ("team", "run"):
        days, whole = (data.answered(owners_context, name, by=by, **asked) for name in ("unit_cost_days", "unit_costs"))
        assert whole.height > 1
        assert_frame_equal(converted.runs(whole, Shown(days, "")), whole, check_row_order=False)
