"""What the pages on jobs and bottlenecks read, in the display currency if there is one: each day by its own rate."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import polars as pl

from app import controls, data, display
from queries import converted, sql
from queries.display import Shown
from queries.measures.gpu_time import RUN


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
    if not data.settings().money.display_currency:
        return Shown(controls.answer(question), "")
    frame = data.made(
        f"{question} converted",
        sorted(sql.load(question).tables),
        lambda: with_costs(controls.answer(question), _days().frame),
        scope=controls.scope(),
        window=controls.window(),
        cluster=controls.cluster(),
        team=controls.team(),
        currency=display.chosen(),
    )
    return replace(_days(), frame=frame)


def _days() -> Shown:
    return display.shown(controls.answer("job_cost_days"), converted.JOB_COSTS, day="day", key=RUN)
