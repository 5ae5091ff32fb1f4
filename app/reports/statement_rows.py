"""What a statement says: asked from the ledger, or what it said when it was closed."""

from collections.abc import Mapping
from datetime import date, datetime

import polars as pl

from app.data import Window
from app.headline import Answer
from app.reports.statement import Closed, Statement
from ledger.exchange import Exchange
from ledger.money_sections import MoneySettings
from ledger.tables.partition import after
from queries import statements
from queries.unit_costs import between_runs


def gather(
    answer: Answer,
    team: str,
    month: date,
    now: datetime,
    rules: MoneySettings,
    *,
    stored: MoneySettings | None = None,
    exchange: Exchange | None = None,
) -> Statement:
    """Ask everything that a statement says; `answer` is asked with the team, whoever looks.

    The charges of a closed one are what it said. Of the first open month after closed ones, adjustments are among them.
    With `stored` it is asked by other rules than these: what was stated has no place in it then.
    `exchange` holds the rates to the display currency.
    """
    start = datetime(month.year, month.month, 1, tzinfo=now.tzinfo)
    window = Window(start, after(start, "month"))
    span = {"start": window.start, "end": window.end}
    closes = answer("statement_closes", team=team)
    if stored is not None:
        closes = closes.clear()
    closing = closes.filter(pl.col("month") == start.date())
    told = _stated(answer, start, team) if closing.height else _known(answer, window, team, closes["month"])
    return Statement(
        team=team,
        month=start.date(),
        made_at=now,
        charges=told["charges"],
        models=told["models"],
        users=told["users"],
        runs=told["runs"],
        whole=told["team"],
        unheld=_unheld(answer, span, team),
        invoices=answer("statement_invoices", **span, team=team),
        carbon=answer("carbon", **span, cluster="", team=team, by="team"),
        rules=rules.model_copy(update=closing.select("split_rule", "shared_cost").to_dicts()[0])
        if closing.height
        else rules,
        is_over=window.end <= now,
        stored=stored,
        exchange=exchange,
        closed=Closed(*closing.select("closed_at", "closed_by").row(0)) if closing.height else None,
    )


def parts(found: Statement) -> dict[str, pl.DataFrame]:
    """Return what of a statement is kept when it is closed, by section."""
    return {
        "charges": found.charges,
        "models": found.models,
        "users": found.users,
        "runs": found.runs,
        "team": found.whole,
    }


def _stated(answer: Answer, start: datetime, team: str) -> dict[str, pl.DataFrame]:
    """Return what a closed statement said."""
    stored = answer("statement_lines", start=start, team=team)
    return statements.sections(stored.filter(pl.col("month") == start.date()))


def _known(answer: Answer, window: Window, team: str, closed: pl.Series) -> dict[str, pl.DataFrame]:
    """Return what is known of a month, and on the month after the closed ones what changed of these."""
    span = {"start": window.start, "end": window.end}
    found = {
        section: answer("unit_costs", **span, cluster="", team=team, by=by)
        for section, by in (("models", "model"), ("users", "user"), ("runs", "run"), ("team", "team"))
    }
    charges = statements.as_stated(answer("statement_charges", **span, team=team))
    first, last = closed.min(), closed.max()
    if isinstance(first, date) and isinstance(last, date) and _month_after(last) == window.start.date():
        since = window.start.replace(year=first.year, month=first.month)
        known = answer("statement_charges", start=since, end=window.start, team=team)
        stored = answer("statement_lines", start=window.start, team=team)
        charges = pl.concat([charges, statements.adjustments(known, stored)])
    return {**found, "charges": charges}


def _month_after(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _unheld(answer: Answer, span: Mapping[str, datetime], team: str) -> pl.DataFrame:
    """Return what idled between the team's runs: its part follows from what others held beside it."""
    idle = between_runs(answer("unheld_days", **span, cluster=""), answer("held_days", **span, by="team"))
    return idle.filter((pl.col("team") == team) & (pl.col("name") == team))
