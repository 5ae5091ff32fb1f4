"""What two pages, or a page and the mail, say of the same money is the same, to the last digit."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

import polars as pl
import pytest

from app import budgets, data
from app.context import Context
from app.data import Scope, Window
from app.headline import headline, month_end, month_so_far, spend, usage
from app.reports.statement_rows import gather
from app.services.findings import standing
from ledger import money
from ledger.names import HELD_IDLE_STATES, IDLE_STATES
from ledger.tables import ForecastDay
from queries import measure
from queries.measure import Amount
from queries.measures import commitments, per_unit, spending
from queries.unit_costs import between_runs, owners
from tests.app.opening import WEEK as HOURS
from tests.app.opening import money_of
from tests.app.weekly_mail import WEEK, weekly_of
from tests.demo import DEMO_NOW

DAYS = Window(datetime(2026, 11, 13, tzinfo=UTC), datetime(2026, 11, 18, tzinfo=UTC))
PART_DAYS = Window(**HOURS)
MONTH = Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))

TEAMS = ("", "vision", "language")
CLUSTER = "aws-east"

Amounts = Mapping[str, Decimal]


def answer(context: Context, question: str, window: Window = DAYS, **asked: object) -> pl.DataFrame:
    return data.answered(context, question, scope=Scope(), start=window.start, end=window.end, **asked)


def days(
    context: Context, by: str, window: Window = DAYS, *, cluster: str = "", team: str = "", of: Amount = spending.SPEND
) -> pl.DataFrame:
    """Return the rows of the Cost page."""
    return answer(context, "cost_days", window, by=by, cluster=cluster, team=team, **of.asks)


def cost(context: Context, window: Window = DAYS, *, cluster: str = "", team: str = "") -> Amounts:
    """Return the total of the Cost page."""
    return known(measure.amounts(days(context, "team", window, cluster=cluster, team=team), spending.SPEND))


def named(context: Context, by: str, window: Window = DAYS, *, cluster: str = "", team: str = "") -> dict[str, Amounts]:
    """Return the rows of the table of the Cost page by name."""
    rows = days(context, by, window, cluster=cluster, team=team)
    return {
        name: known(measure.amounts(rows.filter(pl.col("name") == name), spending.SPEND))
        for name in rows["name"].unique()
    }


def known(found: Amounts) -> dict[str, Decimal]:
    """Return amounts that are not 0: of nothing there is no row."""
    return {currency: amount for currency, amount in sorted(found.items()) if amount}


def together(*found: Amounts) -> dict[str, Decimal]:
    every = sorted({currency for each in found for currency in each})
    return known({name: money.add(*(each[name] for each in found if name in each)) for name in every})


@pytest.mark.parametrize("team", TEAMS)
@pytest.mark.parametrize("cluster", ["", CLUSTER])
def test_models_and_what_is_no_models_are_what_the_cost_page_says(
    owners_context: Context, cluster: str, team: str
) -> None:
    who = {"cluster": cluster, "team": team}
    models, rest, by_day = (
        answer(owners_context, name, **who) for name in ("model_costs", "modelless_costs", "model_days")
    )
    named_cost, unnamed, apart = (
        measure.amounts(rows, of)
        for rows, of in (
            (models, spending.NAMED_COST), (models, spending.UNNAMED_COST), (rest, spending.MODELLESS_COST),
        )
    )  # fmt: skip
    whole = cost(owners_context, **who)
    assert whole
    assert together(named_cost, unnamed, apart) == whole
    assert known(measure.amounts(models, spending.MODELS_COST)) == together(named_cost, unnamed)
    assert known(measure.by_currency(by_day, "cost")) == together(named_cost, unnamed)
    table = named(owners_context, "model", **who)
    for name in models.filter(pl.col("effective_cost").is_not_null())["model"].unique():
        mine = models.filter(pl.col("model") == name)
        assert known(measure.amounts(mine, spending.MODELS_COST)) == table[name], name
    buckets = {
        name: known(measure.amounts(rest.filter(pl.col("bucket") == name), spending.MODELLESS_COST))
        for name in rest["bucket"].unique()
    }
    assert {name: amount for name, amount in buckets.items() if amount} == {
        name: amount for name, amount in table.items() if name in buckets and amount
    }


@pytest.mark.parametrize("window", [DAYS, PART_DAYS])
@pytest.mark.parametrize("team", TEAMS)
def test_the_cost_page_has_one_total_however_it_is_told_apart(
    owners_context: Context, window: Window, team: str
) -> None:
    whole = cost(owners_context, window, team=team)
    for by in ("model", "provider", "resource", "service", "state", "bucket", "category", "kind"):
        assert together(*named(owners_context, by, window, team=team).values()) == whole, by
    asked = {"by": "team", "cluster": "", "team": team, **spending.SPEND.asks}
    parts = answer(owners_context, "cost_parts", window, **asked)
    assert known(measure.by_currency(parts, "cost")) == whole


@pytest.mark.parametrize("window", [DAYS, PART_DAYS])
@pytest.mark.parametrize("team", TEAMS)
def test_the_overview_says_what_the_cost_page_says(owners_context: Context, window: Window, team: str) -> None:
    found = headline(partial(data.answered, owners_context, scope=Scope()), window, team=team)
    assert known(found.spent) == cost(owners_context, window, team=team)
    states = named(owners_context, "state", window, team=team)
    for state in (*IDLE_STATES, "orphaned"):
        assert known(found.part_cost(state)) == states.get(state, {}), state
    assert known(found.idle_cost) == together(*(states.get(state, {}) for state in IDLE_STATES))


@pytest.mark.parametrize("team", TEAMS)
def test_the_mail_says_what_the_pages_say_of_its_week(owners_context: Context, team: str) -> None:
    mail, window = weekly_of(owners_context, team=team), WEEK.window
    assert known(mail.now.spent) == cost(owners_context, window, team=team)
    states = named(owners_context, "state", window, team=team)
    assert known(mail.now.idle_cost) == together(*(states.get(state, {}) for state in IDLE_STATES))
    models = answer(owners_context, "model_costs", window, cluster="", team=team)
    assert measure.amounts(mail.now.models, spending.NAMED_COST) == measure.amounts(models, spending.NAMED_COST)


def test_the_mail_and_the_command_save_what_the_page_of_savings_says(demo_context: Context) -> None:
    page = data.answered(demo_context, "findings", scope=Scope(), now=DEMO_NOW, cluster="", team="")
    mail, command = weekly_of(demo_context).all_findings, standing(demo_context)
    for of in (spending.SAVING_EFFECTIVE, spending.SAVING_CASH):
        found = [measure.amounts(measure.counted_once(rows), of) for rows in (page, mail, command)]
        assert found[0]
        assert found[0] == found[1] == found[2]


def test_budgets_have_spent_what_the_cost_page_says(demo_context: Context) -> None:
    found = budgets.standing(demo_context, Scope())
    assert {each.budget.scope for each in found} >= {"total", "team:language", "team:vision"}
    for each in found:
        kind, _, name = each.budget.scope.partition(":")
        told = cost(demo_context, MONTH) if kind == "total" else named(demo_context, kind, MONTH)[name]
        assert each.spent == told.get(each.budget.currency, Decimal(0)), each.budget.scope


def test_the_overview_expects_the_month_end_that_the_budget_page_expects(demo_context: Context) -> None:
    asked = partial(data.answered, demo_context, scope=Scope())
    days, used = (each(asked, month_so_far(DEMO_NOW)) for each in (spend, usage))
    spent = measure.amounts(days, spending.SPEND)
    forecast = demo_context.store.read(ForecastDay).filter(pl.col("scope") == "total")
    ends = {end.currency: end for end in month_end(days, used, forecast, DEMO_NOW)}
    total = {each.budget.currency: each for each in budgets.standing(demo_context, Scope()) if not each.budget.team}
    assert total
    for currency, each in total.items():
        assert (each.spent, each.expected) == (spent[currency], ends[currency].expected)
        assert (each.lower, each.upper) == (ends[currency].lower, ends[currency].upper)
    mail = weekly_of(demo_context)
    assert {end.currency: end.expected for end in mail.month} == {name: end.expected for name, end in ends.items()}


@pytest.mark.parametrize("team", TEAMS[1:])
def test_a_statement_charges_what_the_cost_page_says(owners_context: Context, team: str) -> None:
    asked = partial(data.answered, owners_context, scope=Scope("team", team, (team,)))

    def of_team(question: str, **given: object) -> pl.DataFrame:
        everybody = question in {"unheld_days", "held_days"}
        return (
            data.answered(owners_context, question, scope=Scope(), **given) if everybody else asked(question, **given)
        )

    found = gather(of_team, team, MONTH.start.date(), DEMO_NOW, owners_context.settings.money)
    totals = {each: found.total(each, "effective_cost") or Decimal(0) for each in found.currencies}
    assert known(totals) == cost(owners_context, MONTH, team=team)
    held = named(owners_context, "bucket", MONTH, team=team)["allocated"]
    for rows in (found.models, found.users, found.runs, found.whole):
        assert known(measure.amounts(rows, per_unit.OWNER_COST)) == held
    states = named(owners_context, "state", MONTH, team=team)
    idle = together(*(states.get(state, {}) for state in HELD_IDLE_STATES))
    assert known(measure.by_currency(found.whole, "idle_cost")) == idle
    models = answer(owners_context, "model_costs", MONTH, cluster="", team=team)
    assert known(measure.by_currency(models, "idle_cost")) == idle


@pytest.mark.parametrize("by", ["model", "team", "project", "user", "run"])
def test_what_owners_cost_and_what_idled_between_them_are_on_the_cost_page(owners_context: Context, by: str) -> None:
    runs = answer(owners_context, "unit_costs", by=by, cluster="", team="")
    buckets = named(owners_context, "bucket")
    assert known(measure.amounts(runs, per_unit.OWNER_COST)) == buckets["allocated"]
    if by == "run":
        return
    unheld = answer(owners_context, "unheld_days", cluster="")
    every = owners(runs, between_runs(unheld, answer(owners_context, "held_days", by=by)))
    assert known(measure.by_currency(every, "effective_cost")) == together(
        buckets["allocated"], measure.by_currency(unheld, "effective_cost")
    )


def test_a_held_gpu_hour_costs_the_same_wherever_it_is_told(owners_context: Context) -> None:
    everybody = {"cluster": "", "team": ""}
    hours = answer(owners_context, "price_per_gpu_hour", **everybody)
    teams = answer(owners_context, "unit_costs", by="team", **everybody)
    assert measure.unit_costs(hours, spending.GPU_HOUR_COST) == measure.unit_costs(teams, per_unit.OWNER_HOUR_COST)
    assert known(measure.amounts(hours, spending.HELD_COST)) == named(owners_context, "bucket")["allocated"]


@pytest.mark.parametrize("window", [DAYS, PART_DAYS])
def test_jobs_cost_and_left_idle_what_the_cost_page_says(owners_context: Context, window: Window) -> None:
    jobs = answer(owners_context, "jobs", window, cluster="", team="")
    assert known(measure.by_currency(jobs, "effective_cost")) == named(owners_context, "bucket", window)["allocated"]
    states = named(owners_context, "state", window)
    idle = together(*(states.get(state, {}) for state in HELD_IDLE_STATES))
    assert known(measure.amounts(jobs, spending.JOBS_IDLE_COST)) == idle


def test_commitments_and_owned_hardware_waste_what_the_cost_page_says(owners_context: Context) -> None:
    held = answer(owners_context, "commitment_costs")
    asked = {"by": "team", "cluster": "", "team": "", **spending.SPEND.asks}
    parts = answer(owners_context, "cost_parts", **asked)
    unused = parts.filter(pl.col("part") == "unused_commitment")
    assert known(measure.amounts(held, commitments.COMMITMENT_WASTE)) == known(measure.by_currency(unused, "cost"))
    query = (
        "SELECT billing_currency, sum(effective_cost) FROM spend_day WHERE in_scope AND commitment_status <> '' "
        "AND day >= $start AND day < $end GROUP BY ALL"
    )
    committed = known(measure.amounts(held, commitments.COMMITTED_COST))
    assert committed
    assert committed == known(money_of(owners_context, query, start=DAYS.start, end=DAYS.end))
    owned = answer(owners_context, "owned_hardware")
    providers = named(owners_context, "provider")
    of_owners = together(*(providers[owner] for owner in owned["owner"].unique()))
    assert known(measure.amounts(owned, commitments.OWNED_COST)) == of_owners
