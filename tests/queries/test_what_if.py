"""Another split rule moves cost between names, and changes no total."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from app.context import Context
from app.services import named
from ledger.config import load
from ledger.sections import SHARED_COST_RULES, SPLIT_RULES
from ledger.tables import AllocationHour
from queries import sql, what_if

NOW = datetime(2026, 11, 18, 9, 30, tzinfo=UTC)
WINDOW = (NOW.replace(hour=0, minute=0) - timedelta(days=1), NOW.replace(minute=0))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Context:
    url = f"duckdb:{tmp_path_factory.mktemp('what-if') / 'demo.duckdb'}"
    context = Context(load(store={"url": url}), now=lambda: NOW)
    service = named("demo")
    service.run(context, service.asked({"gpus": 24, "days": 2}))
    yield context
    context.close()


@pytest.mark.parametrize("by", sorted(what_if._NAMES))
@pytest.mark.parametrize("measure", ["billed", "effective"])
def test_the_stored_rule_gives_what_the_question_answers(demo: Context, by: str, measure: str) -> None:
    asked = {"cluster": "", "team": "", "by": by, "measure": measure, "estate": "in"}
    stored = demo.store.select(sql.load("cost_days").text, start=WINDOW[0], end=WINDOW[1], **asked)
    rows = demo.store.read(AllocationHour, WINDOW)
    computed = what_if.cost_days(rows, **asked)
    key = ["day", "billing_currency", "name"]
    assert not stored.is_empty()
    assert (
        computed.sort(key).select(sorted(computed.columns)).rows()
        == stored.sort(key).select(sorted(stored.columns)).rows()
    )


@pytest.mark.parametrize("shared", SHARED_COST_RULES)
def test_a_rule_of_shared_cost_moves_it_to_teams_and_changes_no_total(demo: Context, shared: str) -> None:
    ratios = {"vision": Decimal("0.4"), "language": Decimal("0.35")}
    rules = demo.settings.money.model_copy(update={"shared_cost": shared, "shared_cost_ratios": ratios})
    found = what_if.allocations(demo.store.read, rules, rules.split_rule, WINDOW, NOW)
    stored = demo.store.read(AllocationHour, WINDOW)
    per = ["billing_currency", "provider"]
    totals = [pl.col("billed_cost").sum(), pl.col("effective_cost").sum()]
    assert found.group_by(per).agg(totals).sort(per).rows() == stored.group_by(per).agg(totals).sort(per).rows()
    teams = set(found.filter(pl.col("bucket") == "shared", "in_scope")["team"])
    expected = {"apart": {""}, "fixed": {"", "vision", "language"}}.get(shared, teams)
    assert teams == expected
    assert shared == "direct" or (teams == {""}) == (shared == "apart")


@pytest.mark.parametrize("rule", SPLIT_RULES)
def test_a_rule_changes_no_total(demo: Context, rule: str) -> None:
    found = what_if.allocations(demo.store.read, demo.settings.money, rule, WINDOW, NOW)
    stored = demo.store.read(AllocationHour, WINDOW)
    per = ["billing_currency", "provider"]
    totals = [pl.col("billed_cost").sum(), pl.col("effective_cost").sum()]
    assert found.group_by(per).agg(totals).sort(per).rows() == stored.group_by(per).agg(totals).sort(per).rows()
    if rule == demo.settings.money.split_rule:
        key = AllocationHour.primary_key()
        assert found.sort(key).select(stored.columns).rows() == stored.sort(key).rows()
