"""Budgets as the person who looks at a page sees them."""

from datetime import date
from functools import partial

from app import controls, data
from app.budgets import TABLES, of
from app.data import Scope
from queries.budgets import Standing


def looked_at() -> Scope:
    """Return whose budgets a page shows: a chosen team's alone, as its own members see it."""
    scope = controls.scope()
    return scope if scope.is_limited or not controls.team() else Scope("team", controls.team())


def current(month: date) -> list[Standing]:
    """Return how the budgets of a month stand for a page, asked once until something changes."""
    scope = looked_at()
    return data.kept(
        "budgets",
        TABLES,
        lambda: of(data.hub(), partial(data.answer, scope=scope), month, scope),
        scope=scope,
        month=month,
        day=data.now().date(),
    )
