"""What the page on models reads, in the display currency where one is configured: each day by its own rate."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from app import controls, data, display
from app.data import Scope, Window
from queries import converted
from queries.display import Shown
from queries.unit_costs import between_runs, owners, unheld_none

_MOST_RUNS: Final = 500

_TABLES: Final = ("spend_day", "training_day", "job", "exchange_rate")
"""What runs and the time between them are told from."""


def models(window: Window) -> Shown:
    """Return what each model cost."""
    if not data.settings().money.display_currency:
        return Shown(controls.answer("model_costs", window), "")
    return _over_days(controls.answer("model_cost_days", window), converted.MODEL_COSTS, converted.models)


def modelless(window: Window) -> pl.DataFrame:
    """Return what is no model's, by day and bucket."""
    return display.shown(controls.answer("modelless_costs", window), ("effective_cost",), day="day").frame


def days(window: Window) -> pl.DataFrame:
    """Return what models cost by day."""
    return display.shown(controls.answer("model_days", window), ("cost",), day="day").frame


def managed(window: Window) -> Shown:
    """Return what models of managed services cost."""
    return _over_days(controls.answer("managed_models", window), converted.MANAGED_COSTS, converted.managed)


def _over_days(rows: pl.DataFrame, columns: Sequence[str], summed: Callable[[pl.DataFrame], pl.DataFrame]) -> Shown:
    shown = display.shown(rows, columns, day="day")
    return replace(shown, frame=data.once(summed, shown.frame))


def owned(window: Window, by: str) -> tuple[pl.DataFrame, tuple[Shown, ...]]:
    """Return what runs cost by their owner with what idled between them, and what of it was converted."""
    scope, team, cluster = controls.scope(), controls.team(), controls.cluster()
    found = data.made(
        "owners",
        _TABLES,
        lambda: _owners(window, by),
        scope=scope,
        window=window,
        by=by,
        cluster=cluster,
        team=team,
        currency=display.chosen(),
    )
    return found, _converted(window, by)


def _owners(window: Window, by: str) -> pl.DataFrame:
    asked = {"start": window.start, "end": window.end}
    team = controls.team()
    runs = controls.answer("unit_costs", window, by=by)
    shown = _converted(window, by)
    if shown:
        runs = converted.runs(runs, shown[0])
    if by == "run":
        return owners(runs.head(_MOST_RUNS), unheld_none())
    # Whose part of a node's idle time is how large follows from what others held: the parts of others are left out.
    held = data.answer("held_days", scope=Scope(), **asked, by=by)
    idle = between_runs(shown[1].frame if shown else _unheld(window), held)
    return owners(runs, idle.filter(pl.col("team") == team) if team else idle)


def _converted(window: Window, by: str) -> tuple[Shown, ...]:
    """Return the money of runs and of the time that nobody held by day, converted; nothing where it stays as billed."""
    if not data.settings().money.display_currency:
        return ()
    runs = display.shown(controls.answer("unit_cost_days", window, by=by), converted.RUN_COSTS, day="day")
    return runs, display.shown(_unheld(window), ("effective_cost",), day="day")


def _unheld(window: Window) -> pl.DataFrame:
    asked = {"start": window.start, "end": window.end}
    return data.answer("unheld_days", scope=Scope(), **asked, cluster=controls.cluster())
