"""The rules of the Statement page: the same switches as on Cost, and what they may not change."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from streamlit.testing.v1 import AppTest

from app import format as written
from app.context import Context
from app.services import named
from app.services.statement import of
from ledger.tables import StatementClose
from queries import other_rules
from tests.app.conftest import used
from tests.app.opening import opened, said

MONTH = date(2026, 11, 1)
TRIED = {"split": "95_3_2", "shared": "even"}


def page(context: Context, month: date = MONTH, **query: str) -> AppTest:
    return opened("statement", query=query, team="vision", **{"statement-month": month, "statement-team": "vision"})


def options(test: AppTest, label: str) -> list[str]:
    return next(each for each in test.selectbox if each.label == label).options


def test_the_switches_are_those_of_the_cost_page_and_the_page_says_which_rules_hold(demo_context: Context) -> None:
    with used(demo_context):
        stored, tried, cost = page(demo_context), page(demo_context, **TRIED), opened("cost", query=TRIED)
    for label in ("Split rule", "Shared cost"):
        assert options(stored, label) == options(cost, label)
    assert "Split rule: `whole_node_to_gpu`, shared cost: `apart`." in said(stored)
    assert "Split rule: `95_3_2`, shared cost: `even`. Stored are `whole_node_to_gpu` and `apart`" in said(tried)
    assert "Split rule: `95_3_2`, shared cost: `even`." in said(cost)
    assert "These rules were asked for; the ledger's are whole_node_to_gpu and 'apart'." in said(tried)


def test_the_page_by_other_rules_says_what_the_command_says(demo_context: Context) -> None:
    rules = other_rules.tried(demo_context.settings.money, "95_3_2", "even")
    start = datetime(2026, 11, 1, tzinfo=UTC)
    expected, stored = of(demo_context, "vision", start, rules), of(demo_context, "vision", start)
    with used(demo_context):
        test = page(demo_context, **TRIED)
    for currency in expected.currencies:
        total = expected.total(currency, "effective_cost")
        assert total != stored.total(currency, "effective_cost")
        assert written.money(total, currency).replace("$", "\\$") in said(test)


def test_files_by_other_rules_have_names_of_their_own(demo_context: Context) -> None:
    from app.views import statement  # noqa: PLC0415  a page brings the library of pages

    rules = other_rules.tried(demo_context.settings.money, "70_30", None)
    stored = of(demo_context, "vision", datetime(2026, 11, 1, tzinfo=UTC))
    assert statement._stem(stored) == "statement-vision-2026-11"
    tried = replace(stored, rules=rules, stored=stored.rules)
    assert statement._stem(tried) == "statement-vision-2026-11-70_30-apart"


@pytest.fixture
def over(demo_copy: Context) -> Iterator[Context]:
    """Return the ledger when its month is over."""
    demo_copy.close()
    context = Context(demo_copy.settings, now=lambda: datetime(2026, 12, 2, tzinfo=UTC))
    yield context
    context.close()


CONFIGURED = "Closing keeps the statement by the configured rules, `whole_node_to_gpu` and `apart`, not by the ones"


def test_closing_keeps_the_configured_rules_whatever_is_chosen(over: Context) -> None:
    with used(over):
        assert CONFIGURED not in said(page(over))
        test = page(over, **TRIED)
        assert CONFIGURED in said(test)
        next(each for each in test.button if each.label.startswith("Close")).click()
        test.run()
        assert not test.exception
        again = page(over, **TRIED)
    (closed,) = over.store.read(StatementClose).to_dicts()
    assert (closed["split_rule"], closed["shared_cost_rule"]) == ("whole_node_to_gpu", "apart")
    assert "is closed and stays as it was stated: nothing of it is in this one" in said(again)
    assert not [each for each in again.button if each.label.startswith("Close")]
    listed = named("statements").run(over, named("statements").asked({"action": "list"}))
    expected = of(over, "vision", datetime(2026, 11, 1, tzinfo=UTC))
    assert listed[0]["effective_cost"] == {each: expected.total(each, "effective_cost") for each in expected.currencies}
