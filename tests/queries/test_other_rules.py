"""Another split rule moves cost between names, and changes no total."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest

from app.context import Context
from app.services import named
from ledger.config import load
from ledger.money_sections import SHARED_COST_RULES, SPLIT_RULES, MoneySettings
from ledger.tables import AllocationHour
from queries import idle_borne, other_rules, sql

NOW = datetime(2026, 11, 18, 9, 30, tzinfo=UTC)
WINDOW = (NOW.replace(hour=0, minute=0) - timedelta(days=1), NOW.replace(minute=0))
WINDOWS = (
    WINDOW,
    (WINDOW[0] + timedelta(hours=5), WINDOW[1] - timedelta(hours=3)),
    (WINDOW[0], WINDOW[0] + timedelta(days=1)),
    (WINDOW[0] + timedelta(hours=2), WINDOW[0] + timedelta(hours=4)),
    (WINDOW[0] + timedelta(hours=2), WINDOW[0] + timedelta(days=1)),
    (WINDOW[0] - timedelta(days=300), WINDOW[1]),
)
"""With whole days, with hours beside them, and within one."""


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Context:
    url = f"duckdb:{tmp_path_factory.mktemp('rules') / 'demo.duckdb'}"
    context = Context(load(store={"url": url}), now=lambda: NOW)
    service = named("demo")
    service.run(context, service.asked({"gpus": 24, "days": 2}))
    yield context
    context.close()


def tried(demo: Context, rules: MoneySettings, window: tuple[datetime, datetime] = WINDOW) -> pl.DataFrame:
    told: list[float] = []
    store = demo.store
    found = other_rules.spent(store.read, store.select, demo.settings.money, rules, window, NOW, told.append)
    assert told == sorted(told)
    assert told[-1] == 1
    return found


def of_hours(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `allocation_hour` under the names of costs by day."""
    return rows.with_columns(
        pl.col("hour_start").dt.date().alias("day"),
        pl.col("service_name").fill_null(""),
        pl.when(pl.col("node") == "").then("resource_id").otherwise(pl.lit("")).alias("resource_id"),
    )


@pytest.mark.parametrize("by", sorted(other_rules._NAMES))
@pytest.mark.parametrize("measure", ["billed", "effective"])
def test_the_stored_rule_gives_what_the_question_answers(demo: Context, by: str, measure: str) -> None:
    asked = {"cluster": "", "team": "", "by": by, "measure": measure, "estate": "in"}
    rows = of_hours(demo.store.read(AllocationHour))
    key = ["day", "billing_currency", "name"]
    for window in WINDOWS:
        stored = demo.store.select(sql.load("cost_days").text, start=window[0], end=window[1], **asked)
        hours = rows.filter(pl.col("hour_start").is_between(*window, closed="left"))
        computed = other_rules.cost_days(hours, **asked)
        assert not stored.is_empty()
        assert computed.sort(key).select(sorted(computed.columns)).rows() == (
            stored.sort(key).select(sorted(stored.columns)).rows()
        )


@pytest.mark.parametrize("by", ["team", "model"])
@pytest.mark.parametrize("measure", ["billed", "effective"])
def test_parts_by_day_are_those_of_the_hours(demo: Context, by: str, measure: str) -> None:
    asked = {"cluster": "", "team": "", "by": by, "measure": measure, "estate": "in"}
    rows = of_hours(demo.store.read(AllocationHour))
    for window in WINDOWS:
        stored = demo.store.select(sql.load("cost_parts").text, start=window[0], end=window[1], **asked)
        computed = idle_borne.parts_of(rows.filter(pl.col("hour_start").is_between(*window, closed="left")), **asked)
        assert computed.sort(computed.columns).rows() == stored.select(computed.columns).sort(computed.columns).rows()


def test_names_beyond_the_largest_are_one_row_that_keeps_the_total(demo: Context) -> None:
    rows = of_hours(demo.store.read(AllocationHour, WINDOW))
    split = rows.with_columns(pl.format("{} {} {}", "hour_start", "node", "gpu_uuid").alias("team"))
    asked = {"cluster": "", "team": "", "by": "team", "measure": "effective", "estate": "all"}
    found = other_rules.cost_days(split, **asked)
    dollars = found.filter(pl.col("billing_currency") == "USD")
    assert split.filter(pl.col("billing_currency") == "USD")["team"].n_unique() > other_rules.MOST + 1
    assert dollars["name"].n_unique() == other_rules.MOST + 1
    assert other_rules.OTHER in dollars["name"]
    assert found["cost"].sum() == rows["effective_cost"].sum()


@pytest.mark.parametrize("rule", [*SPLIT_RULES])
def test_days_by_another_rule_are_its_hours(demo: Context, rule: str) -> None:
    rules = other_rules.tried(demo.settings.money, rule, None)
    whole = of_hours(other_rules.allocations(demo.store.read, rules, rule, WINDOW, NOW))
    found = tried(demo, rules)
    for by in ("team", "state", "resource"):
        asked = {"cluster": "", "team": "", "by": by, "measure": "effective", "estate": "all"}
        assert other_rules.cost_days(found, **asked).rows() == other_rules.cost_days(whole, **asked).rows()


@pytest.mark.parametrize("shared", ["even", "direct"])
def test_days_by_another_rule_of_shared_cost_are_its_hours(demo: Context, shared: str) -> None:
    rules = other_rules.tried(demo.settings.money, "70_30", shared)
    whole = of_hours(other_rules.allocations(demo.store.read, rules, "70_30", WINDOW, NOW))
    asked = {"cluster": "", "team": "", "by": "team", "measure": "billed", "estate": "all"}
    assert other_rules.cost_days(tried(demo, rules), **asked).rows() == other_rules.cost_days(whole, **asked).rows()


@pytest.mark.parametrize("shared", SHARED_COST_RULES)
def test_a_rule_of_shared_cost_moves_it_to_teams_and_changes_no_total(demo: Context, shared: str) -> None:
    ratios = {"vision": Decimal("0.4"), "language": Decimal("0.35")}
    rules = demo.settings.money.model_copy(update={"shared_cost": shared, "shared_cost_ratios": ratios})
    found = other_rules.allocations(demo.store.read, rules, rules.split_rule, WINDOW, NOW)
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
    found = other_rules.allocations(demo.store.read, demo.settings.money, rule, WINDOW, NOW)
    stored = demo.store.read(AllocationHour, WINDOW)
    per = ["billing_currency", "provider"]
    totals = [pl.col("billed_cost").sum(), pl.col("effective_cost").sum()]
    assert found.group_by(per).agg(totals).sort(per).rows() == stored.group_by(per).agg(totals).sort(per).rows()
    if rule == demo.settings.money.split_rule:
        key = AllocationHour.primary_key()
        assert found.sort(key).select(stored.columns).rows() == stored.sort(key).rows()
