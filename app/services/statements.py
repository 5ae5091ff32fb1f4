"""Statements that are closed: what they said is kept, and what changes later posts as adjustments."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import Field

from app.context import Context
from app.reports.statement_rows import gather, parts
from app.services._audit import audited
from app.services._service import Params, Progress, service
from app.services.periods import month
from ledger import money
from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.tables import StatementClose, StatementLine
from ledger.tables.partition import after, floor
from queries import sql
from queries import statements as stating

_TURN = "statements"


class Closing(Params):
    """What to do with statements."""

    action: Annotated[Literal["list", "close"], Field(description="list, or close")] = "list"
    month: Annotated[str, Field(description="The month to close: 2026-10")] = ""
    team: Annotated[str, Field(description="Close this team's only; empty for every team")] = ""


@service()
def statements(context: Context, params: Closing, progress: Progress) -> list[dict[str, Any]]:
    """Return closed statements, the newest month first; those of a month that is closed now are returned alone.

    Closing keeps each statement as it stands. It is not undone: what changes later posts as an adjustment on the
    statement of the first open month, so that all statements ever issued sum to what is known.

    Raises: InputError: the month is not over, not the next one to close, or the team has no statement of it.
    """
    if params.action == "list":
        return _listed(context)
    start = month(params.month)
    if after(start, "month") > context.now():
        raise InputError(f"period: found {params.month}, expected a month that is over")
    with context.turn(_TURN):
        teams = _teams(context, params.team, start)
        _close(context, start, params.team, teams, progress)
    audited(context, action="statements closed", subject=f"{params.month} {params.team}".strip())
    context.changed({"statement_close", "statement_line"})
    of_month = [each for each in _listed(context) if each["month"] == start.date()]
    return [each for each in of_month if params.team in ("", each["team"])]


def _teams(context: Context, team: str, start: datetime) -> list[str]:
    """Return whose statements are closed with a month.

    Raises: InputError: it is not the month after the last closed one, or the one team has no statement of it.
    """
    charged = context.store.select(sql.load("statement_teams").text, start=start, end=after(start, "month"), team="")[
        "team"
    ].to_list()
    if team and team not in charged:
        expected = f"one of {', '.join(charged)}" if charged else "a team; nobody is charged in the month"
        raise InputError(f"team: found {team!r}, expected {expected}")
    closes = context.store.read(StatementClose)
    found = []
    for each in [team] if team else sorted({*charged, *closes["team"]} - {""}):
        closed = closes.filter(pl.col("team").is_in(["", each]))["month"]
        # Whose statement was closed alone, and maybe later ones too, has this one already.
        if start.date() in closed.to_list() and not team:
            continue
        _in_order(each, closed.max(), start)
        found.append(each)
    if not team:
        _in_order("", closes.filter(pl.col("team") == "")["month"].max(), start)
    return found


def _in_order(team: str, last: object, start: datetime) -> None:
    """Refuse a month that does not follow the last closed one: what changed of it would post nowhere, or twice."""
    if last is None or last == floor(start - timedelta(days=1), "month").date():
        return
    whose = f" of team {team}" if team else ""
    raise InputError(
        f"period: found {start:%Y-%m}, expected the month after {last:%Y-%m}, the last closed one{whose}",
        hint="`clusterledger statement list`",
    )


def _close(context: Context, start: datetime, team: str, teams: list[str], progress: Progress) -> None:
    """Keep the statements, and that they are closed, all or nothing."""

    def answer(question: str, **asked: object) -> pl.DataFrame:
        return context.store.select(sql.load(question).text, **asked)

    rules = context.settings.money
    rows: list[pl.DataFrame] = [StatementLine.create_empty()]
    with context.store.transaction():
        for index, each in enumerate(teams):
            progress(f"statement of {each}", index / len(teams))
            found = gather(answer, each, start.date(), context.now(), rules)
            rows.append(stating.lines(each, start.date(), parts(found)))
    close = {
        "team": team,
        "month": start.date(),
        "closed_at": context.now(),
        "closed_by": context.actor,
        "split_rule": rules.split_rule,
        "shared_cost_rule": rules.shared_cost,
    }
    frames = {StatementLine: pl.concat(rows), StatementClose: to_frame(StatementClose, [close])}
    context.store.append_batch(
        frames, source=context.actor, batch_id=f"statements {start:%Y-%m} {team}".strip(), node=""
    )


def _listed(context: Context) -> list[dict[str, Any]]:
    """Return the statements that were closed, with their totals by currency; of every team also where it had none."""
    closes = context.store.read(StatementClose).sort("closed_at")
    said = context.store.read(StatementLine, where={"section": ["charges"]})
    found = []
    for close in closes.iter_rows(named=True):
        mine = said.filter(pl.col("month") == close["month"])
        single = closes.filter((pl.col("month") == close["month"]) & (pl.col("team") != ""))["team"].to_list()
        teams = [close["team"]] if close["team"] else sorted({*mine["team"]} - {*single}) or [""]
        found += [{**close, "team": team, **_totals(mine.filter(pl.col("team") == team))} for team in teams]
    return sorted(found, key=lambda each: (-each["month"].toordinal(), each["team"]))


def _totals(rows: pl.DataFrame) -> dict[str, Any]:
    amounts = ("billed_cost", "effective_cost")
    sums = money.summed(rows, by=["billing_currency"], columns=amounts)
    found = {name: dict(sums.select("billing_currency", name).iter_rows()) for name in amounts}
    return {**found, "has_estimate": bool(rows["has_estimate"].any())}
