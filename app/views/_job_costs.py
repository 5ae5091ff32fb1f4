"""What the pages on jobs and bottlenecks read, in the display currency if there is one: each day by its own rate."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl

from app import controls, data, display
from queries import converted, sql
from queries.display import Shown
from queries.measures.gpu_time import RUN

_DAYS = "job_cost_days"


def jobs() -> Shown:
    """Return jobs with what they cost in the window."""
    return _in_currency("jobs", converted.jobs)


def bottleneck_jobs() -> Shown:
    """Return what limited jobs, with what they cost in the window."""
    return _in_currency("bottleneck_jobs", converted.bottleneck_jobs)


def states(**run: Any) -> Shown:
    """Return what one job has cost by the state of its devices, on each day."""
    return display.shown(controls.answer("job_costs", **run), ("effective_cost", "billed_cost"), day="day")


def _in_currency(question: str, with_costs: Callable[[pl.DataFrame, pl.DataFrame], pl.DataFrame]) -> Shown:
    found = controls.answer(question)
    if not data.settings().money.display_currency:
        return Shown(found, "")
    days = display.shown(controls.answer(_DAYS), converted.JOB_COSTS, day="day", key=RUN)
    frame = data.made(
        f"{question} converted",
        [*sql.load(question).tables, *sql.load(_DAYS).tables],
        lambda: with_costs(found, days.frame),
        scope=controls.scope(),
        window=controls.window(),
        cluster=controls.cluster(),
        team=controls.team(),
        currency=display.chosen(),
    )
    return replace(days, frame=frame)
