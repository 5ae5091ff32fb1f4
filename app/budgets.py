"""How budgets stand, for the page, the command line, receivers and the mail: asked once, so that they cannot differ."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

import polars as pl

from app import format as written
from app.context import Context
from app.data import Scope, Window, answered
from app.headline import Answer
from app.lengths import length
from ledger.money import share
from ledger.tables import Budget, BudgetDecision, Team
from ledger.tables.partition import after, floor
from queries.budgets import Standing, in_force, standings
from queries.still_to_come import still_to_come

TABLES: Final = ("budget", "budget_decision", "team", "spend_day", "forecast_day")
"""What they are made of."""


def month_window(month: date, now: datetime) -> Window:
    """Return a month as a stretch of time."""
    start = datetime(month.year, month.month, 1, tzinfo=now.tzinfo)
    return Window(start, after(start, "month"))


def standing(context: Context, scope: Scope, *, month: date | None = None) -> list[Standing]:
    """Return how the budgets of a month stand; who is limited to a team sees that team's."""

    def answer(question: str, **asked: object) -> pl.DataFrame:
        return answered(context, question, scope=scope, **asked)

    return of(context, answer, month or floor(context.now(), "month").date(), scope)


def of(context: Context, answer: Answer, month: date, scope: Scope) -> list[Standing]:
    """Return how the budgets of a month stand, from answers to questions that a page may have asked before."""
    store, now = context.store, context.now()
    with store.transaction():
        stored, decided, teams = store.read(Budget), store.read(BudgetDecision), store.read(Team)
    known = in_force(month, stored, context.settings.budgets, decided, teams)
    visible = [each for each in known if not scope.is_limited or each.team == scope.team]
    window = month_window(month, now)
    asked = {"start": window.start, "end": window.end, "team": scope.team}
    return standings(visible, answer("spend_scopes", **asked), answer("forecast_scopes", **asked), now)


def urgent(found: Sequence[Standing]) -> list[Standing]:
    """Return the budgets that are broken or will break."""
    return [each for each in found if each.status in {"broken", "will break"}]


def escaped(text: str) -> str:
    """Return a sentence in which a page finds no markup: two dollar signs would be a formula."""
    return text.replace("$", "\\$").replace("_", "\\_").replace("*", "\\*")


def sentence(each: Standing) -> str:
    """Say how one budget stands: what, when, by how much, who must act."""
    budget, currency = each.budget, each.budget.currency
    who = f" Must act: {budget.owner}." if budget.owner and each.status != "on track" else ""
    amount = written.money(budget.cost, currency, compact=True)
    over = written.money(each.over.copy_abs(), currency, compact=True)
    expected = written.money(each.expected, currency, compact=True)
    when = f"{each.breaks_on:%-d %B}" if each.breaks_on else ""
    named = scope_words(budget.scope)
    if each.status == "broken":
        ends = f", and the month is expected to end at {expected}" if each.expected is not None else ""
        spent = written.money(each.spent, currency, compact=True)
        return f"{named} has spent {spent} of {amount}: broken on {when}{ends}.{who}"
    if each.status == "will break" or (each.status == "may break" and each.over > 0):
        word = "will break" if each.status == "will break" else "is expected to break"
        return f"{named} {word} its budget of {amount} on {when}, by {over} at the month's end.{who}"
    if each.status == "may break":
        upper = written.money(each.upper, currency, compact=True)
        return f"{named} is expected to stay {over} under its budget of {amount}, but may reach {upper}.{who}"
    if each.status == "no forecast":
        spent = written.money(each.spent, currency, compact=True)
        return f"{named} has spent {spent} of {amount}; there is no forecast yet."
    return f"{named} stays {over} under its budget of {amount}."


def scope_words(scope: str) -> str:
    """Return a scope as people say it: `Team vision`."""
    kind, _, name = scope.partition(":")
    return f"{kind.capitalize()} {name}" if name else "The whole estate"


def cumulated(each: Standing, spent: pl.DataFrame, forecast: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Return the running total of a month, day by day, for a chart: what was spent, then what is expected.

    Shape, grain: one row per day of `day`, `spent`, `expected`, `lower`, `upper`, for the eye.
    """
    budget = each.budget
    mine = (pl.col("scope") == budget.scope) & (pl.col("billing_currency") == budget.currency)
    days = spent.filter(mine, pl.col("day") <= now.date()).sort("day")
    past = days.select("day", pl.col("cost").cast(pl.Float64).fill_null(0).cum_sum().alias("spent"))
    base = length(each.spent)
    used = days.with_columns(pl.col("usage_cost").alias("cost"))
    coming = still_to_come(forecast.filter(mine), used, now).sort("day")
    rising = coming.select(
        "day",
        *(
            (pl.col(f"{name}_cost").cast(pl.Float64).cum_sum() + base).alias(name if name != "forecast" else "expected")
            for name in ("forecast", "lower", "upper")
        ),
    )
    last = [now.date()] if past.is_empty() else [past["day"][-1]]
    rising = rising.filter(pl.col("day") > last[0])
    bridge = pl.DataFrame({"day": last, "expected": [base], "lower": [base], "upper": [base]}).cast({"day": pl.Date})
    return pl.concat([past, bridge, rising], how="diagonal").sort("day")


def anomaly_sentence(row: Mapping[str, Any]) -> str:
    """Say what was unusual of one day, a row of the question `anomalies`: how much, against what, and why."""
    currency, day = row["billing_currency"], row["day"]
    actual, expected = (written.money(row[name], currency, compact=True) for name in ("actual_cost", "expected_cost"))
    difference = written.money(row["difference_cost"].copy_abs(), currency, compact=True)
    more = "more" if row["difference_cost"] > 0 else "less"
    who = scope_words(row["scope"])
    usual = f"{difference} {more} than on a usual {day:%A} ({expected})"
    return f"{who} cost {actual} on {day:%-d %B}, {usual}. {cause_words(row)}"


_HALF: Final = Decimal("0.5")

_CAUSES: Final = {
    "volume": "{way} GPU time",
    "price": "the price of GPU time",
    "charge": "what was charged",
    "new": "something new",
    "gone": "something that ended",
}


def cause_words(row: Mapping[str, Any]) -> str:
    """Say which part made most of a difference, or the largest one: whose, on what, amount or price."""
    words = _CAUSES[row["cause"]].format(way="more" if row["difference_cost"] > 0 else "less")
    who = f" of team {row['cause_team']}" if row["cause_team"] else ""
    where = f" on {row['cause_resource']}" if row["cause_resource"] else ""
    amount = written.money(row["cause_cost"], row["billing_currency"], compact=True)
    half = share(row["difference_cost"].copy_abs(), _HALF)
    part = "Most of it" if row["cause_cost"].copy_abs() > half else "Its largest part"
    return f"{part}: {words}{who}{where} ({row['cause_provider']}), {amount}."
