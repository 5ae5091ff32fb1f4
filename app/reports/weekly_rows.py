"""What the weekly mail is made from: gathered once, from the same questions as the pages."""

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final

import polars as pl

from app import advice, trust
from app import budgets as budgeting
from app.headline import (
    Answer,
    headline,
    in_display_currency,
    month_end,
    month_so_far,
    spend,
    usage,
)
from app.reports.week import Week
from app.reports.weekly import Weekly
from ledger import money
from ledger.exchange import Exchange
from ledger.money_sections import MoneySettings
from queries import display, measure
from queries.budgets import Standing
from queries.display import Shown
from queries.measures import gpu_time

UNUSUAL_DAYS: Final = 3


def gather(
    answer: Answer,
    findings: pl.DataFrame,
    forecast: pl.DataFrame,
    week: Week,
    now: datetime,
    *,
    team: str = "",
    url: str = "",
    mailed: Collection[str] = (),
    budgets: Sequence[Standing] = (),
    rules: MoneySettings,
    stored: MoneySettings,
    exchange: Exchange | None = None,
) -> Weekly:
    """Ask everything that a week's report says; `answer` divides by `rules`, which are the `stored` ones or tried.

    `findings` are rows of `finding`, `forecast` of `forecast_day`; `mailed` are findings that this reader has
    seen within the cool-down: they are not said again. With `exchange` money is told in the display currency.
    """
    mine = findings.filter(pl.col("team") == team) if team else findings
    convert = partial(_in_currency, exchange=exchange or Exchange([]), to=stored.display_currency)
    converts = bool(stored.display_currency)
    billed = headline(answer, week.window, team=team, converts=converts)
    told, shown = in_display_currency(billed, convert)
    advised: tuple[Shown, ...] = ()
    if converts:
        mine, opened, others = advice.in_display_currency(mine, convert)
        advised = (opened, others)
    before, _ = in_display_currency(headline(answer, week.before.window, team=team, converts=converts), convert)
    so_far = convert(spend(answer, month_so_far(now), team=team), ("cost",), day="day")
    used = usage(answer, month_so_far(now), team=team)
    forecast = forecast.filter(pl.col("scope") == (f"team:{team}" if team else "total"))
    fresh = answer("freshness", now=now.replace(second=0, microsecond=0))
    return Weekly(
        week=week,
        team=team,
        made_at=now,
        now=told,
        before=before,
        month=tuple(month_end(so_far.frame, used, forecast, now, convert)),
        findings=mine.filter(~pl.col("finding_id").is_in(list(mailed))),
        all_findings=mine,
        open_incidents=measure.value(answer("open_incidents", cluster="", team=team), gpu_time.IDLE_INCIDENTS),
        marks=trust.marks(fresh, now),
        url=url.rstrip("/"),
        has_whole_week_before=_is_whole(answer, week.before),
        budgets=tuple(budgeting.sentence(each) for each in budgets if each.status not in {"on track", "no forecast"}),
        unusual_days=_unusual(answer, week, team),
        rules=_rules(rules, stored),
        shown=tuple(each for each in (*shown, so_far, *advised) if each.words),
        billed=billed if shown else None,
    )


def _in_currency(
    frame: pl.DataFrame, columns: Sequence[str], *, day: str = "", on: date | None = None, exchange: Exchange, to: str
) -> Shown:
    return (
        display.in_currency(frame, exchange, to, columns, day=day, on=on) if to and frame.height else Shown(frame, to)
    )


def _rules(rules: MoneySettings, stored: MoneySettings) -> str:
    """Name the rules that cost was divided by."""
    said = f"Cost is divided by the split rule {rules.split_rule}, shared cost by the rule '{rules.shared_cost}'."
    if rules == stored:
        return said
    return (
        f"{said} These were asked for; the ledger's are {stored.split_rule} and '{stored.shared_cost}', by which "
        "forecasts, budgets, unusual days and savings are told."
    )


def _unusual(answer: Answer, week: Week, team: str) -> tuple[str, ...]:
    """Return the days of a week on which a scope cost far more or less than usual, in words, the largest first."""
    window = week.window
    rows = answer("anomalies", start=window.start, end=window.end, team=team)
    by_size = rows.sort(money.to_units("difference_cost").abs(), descending=True).head(UNUSUAL_DAYS)
    return tuple(budgeting.anomaly_sentence(row) for row in by_size.iter_rows(named=True))


def _is_whole(answer: Answer, week: Week) -> bool:
    """Tell whether the ledger knows GPU time from a week's first hour on."""
    window = week.window
    hours = answer("state_hours", start=window.start, end=window.end, cluster="", bucket="hour")["at"]
    first = hours.min()
    return isinstance(first, datetime) and first < window.start + timedelta(hours=1)
