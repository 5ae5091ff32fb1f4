"""What is billed, by whole billing periods: what is booked whole belongs to no day."""

from datetime import UTC, datetime, timedelta
from datetime import time as clock

import polars as pl

from app import controls, data
from app.data import Window
from app.views import _rules
from ledger.money_sections import MoneySettings
from ledger.tables.partition import after, floor
from queries import sql
from queries.divided import divided

_QUESTION = "billed_periods"


def months(chosen: Window) -> Window:
    """Return the whole months that a stretch touches."""
    last = floor(chosen.end - timedelta(microseconds=1), "month")
    return Window(floor(chosen.start, "month"), after(last, "month"))


def before(shown: Window) -> Window:
    """Return as many whole months before others, to compare them with."""
    start, left = shown.start, shown.start
    while left < shown.end:
        start, left = floor(start - timedelta(days=1), "month"), after(left, "month")
    return Window(start, shown.start)


def spent(shown: Window, rules: MoneySettings) -> tuple[pl.DataFrame, float]:
    """Return what whole months bill, as rules divide it, and how many seconds that took where they were tried.

    Shape: answers to `billed_periods`: the period's first day stands in `day`.
    """
    if rules == data.settings().money:
        return controls.answer(_QUESTION, shown), 0.0
    asked = {"cluster": controls.cluster(), "team": controls.team()}

    def periods(progress: _rules.Progress) -> pl.DataFrame:
        hub = data.hub()
        days = hub.store.select(sql.load("statement_days").text, start=shown.start, end=shown.end)["day"]
        starts = [datetime.combine(day, clock(), UTC) for day in days]
        windows = [(start, after(start, "day")) for start in starts]
        with divided(hub.store, rules, windows, hub.now(), progress) as answer:
            return answer(_QUESTION, start=shown.start, end=shown.end, **asked)

    return _rules.tried("tried periods", periods, rules, shown, **asked)


def said(shown: Window) -> str:
    """Say which billing periods are shown: a shorter window has no billed cost of its own."""
    last = shown.end - timedelta(microseconds=1)
    first = f"{shown.start:%B %Y}"
    named = first if (shown.start.year, shown.start.month) == (last.year, last.month) else f"{first} to {last:%B %Y}"
    return f"Billed cost is of whole billing periods, those that begin in {named}: what is booked whole is of no day."
