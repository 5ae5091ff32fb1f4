"""The numbers that open the first page and the weekly mail: taken once, so that they cannot differ."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Final, Protocol

import polars as pl

from app.data import Window
from ledger import money
from ledger.names import State
from ledger.tables.partition import after, floor
from queries import converted, measure
from queries.display import Shown
from queries.measures import gpu_time, spending
from queries.still_to_come import COSTS, still_to_come

Answer = Callable[..., pl.DataFrame]
"""Asks a question of `queries/sql` with its parameters."""

FORECAST_COSTS: Final = COSTS


class Convert(Protocol):
    """Gives rows in the display currency: each by the rate of its `day`, or all by that of one day, `on`."""

    def __call__(self, frame: pl.DataFrame, columns: Sequence[str], *, day: str = "", on: date | None = None) -> Shown:
        """Return the rows, and what was converted."""


@dataclass(frozen=True)
class Headline:
    """What one stretch of time cost and how its GPU time went, for all teams or one.

    `spend` and `idle` are by day, `models` are not. `model_days` is null where no money is converted: only then are the
    days of models needed.
    """

    window: Window
    hours: pl.DataFrame
    spend: pl.DataFrame
    idle: pl.DataFrame
    models: pl.DataFrame
    model_days: pl.DataFrame | None = None

    @cached_property
    def spent(self) -> dict[str, Decimal]:
        """Effective cost of the AI estate by currency."""
        return measure.amounts(self.spend, spending.SPEND)

    @cached_property
    def idle_cost(self) -> dict[str, Decimal]:
        """Effective cost of unallocated, allocated idle and held idle time by currency."""
        return measure.amounts(self.idle, spending.IDLE_COST)

    def part_cost(self, state: State) -> dict[str, Decimal]:
        """Effective cost of one of the parts of idle time, or of orphaned time, by currency."""
        return measure.amounts(self.idle, spending.IDLE_PART_COSTS[state])

    @cached_property
    def idle_of_spend(self) -> dict[str, float]:
        """Idle cost against the spend of the same stretch, by currency."""
        return measure.parts(self.idle, spending.IDLE_OF_SPEND, self.spend)

    @cached_property
    def state_hours(self) -> dict[State, float | None]:
        """GPU-hours by state."""
        found = measure.values(self.hours, tuple(gpu_time.STATE_GPU_HOURS.values()))
        return {state: found[each.name] for state, each in gpu_time.STATE_GPU_HOURS.items()}

    @cached_property
    def gpu_hours(self) -> float | None:
        """All GPU-hours, in whatever state."""
        return measure.value(self.hours, gpu_time.GPU_HOURS)

    @cached_property
    def idle_hours(self) -> float | None:
        """GPU-hours in one of the three idle states."""
        return measure.value(self.hours, gpu_time.IDLE_GPU_HOURS)

    @cached_property
    def idle_ratio(self) -> float | None:
        """Idle GPU time against all of it."""
        return measure.value(self.hours, gpu_time.IDLE_RATIO)

    @cached_property
    def productive_ratio(self) -> float | None:
        """Productive GPU time against all of it."""
        return measure.value(self.hours, gpu_time.STATE_RATIOS["productive"])

    @cached_property
    def has_estimate(self) -> bool:
        """Tell whether a part of the cost has no bill yet."""
        return bool(self.spend["has_estimate"].any())


def headline(
    answer: Answer,
    window: Window,
    *,
    cluster: str = "",
    team: str = "",
    bucket: str = "day",
    days: Window | None = None,
    converts: bool = False,
) -> Headline:
    """Ask what is needed for the headline of a stretch of time; `days` are the days of its models, if others.

    `converts` says that its money will be brought to a display currency.
    """
    span = {"start": window.start, "end": window.end}
    who = {"cluster": cluster, "team": team}
    hours = (
        answer("team_state_hours", **span, **who, bucket=bucket)
        if team
        else answer("state_hours", **span, cluster=cluster, bucket=bucket)
    )
    of_days = {"start": (days or window).start, "end": (days or window).end, **who}
    return Headline(
        window=window,
        hours=hours,
        spend=spend(answer, window, **who),
        idle=answer("idle_costs", **span, **who),
        models=answer("model_costs", **of_days),
        model_days=answer("model_cost_days", **of_days) if converts else None,
    )


def in_display_currency(found: Headline, convert: Convert) -> tuple[Headline, tuple[Shown, ...]]:
    """Return the headline's money in the display currency, each day by its own rate, and what was converted."""
    if found.model_days is None:
        return found, ()
    spent = convert(found.spend, ("cost",), day="day")
    idle = convert(found.idle, ("effective_cost",), day="day")
    models = convert(found.model_days, converted.MODEL_COSTS, day="day")
    if not (spent.words or idle.words or models.words):
        return found, ()
    changed = replace(found, spend=spent.frame, idle=idle.frame, models=converted.models(models.frame))
    return changed, (spent, idle, models)


def spend(answer: Answer, window: Window, *, cluster: str = "", team: str = "") -> pl.DataFrame:
    """Ask what the AI estate cost, day by day, by the state of its GPUs, or the bucket of what has none."""
    who = {"cluster": cluster, "team": team}
    return answer("cost_days", start=window.start, end=window.end, **who, by="state", **spending.SPEND.asks)


@dataclass(frozen=True)
class MonthEnd:
    """What a month is expected to cost, in one currency; ends are null without an interval."""

    currency: str
    expected: Decimal
    lower: Decimal | None
    upper: Decimal | None


def month_so_far(now: datetime) -> Window:
    """Return the stretch from the first of a month to the end of the present hour."""
    return Window(floor(now, "month"), after(floor(now, "hour"), "hour"))


def usage(answer: Answer, window: Window, *, cluster: str = "", team: str = "") -> pl.DataFrame:
    """Ask what usage of the AI estate cost, day by day: what a forecast of its days is held against."""
    return answer("usage_days", start=window.start, end=window.end, cluster=cluster, team=team)


def coming_days(
    used: pl.DataFrame, forecast: pl.DataFrame, now: datetime, convert: Convert | None = None
) -> pl.DataFrame:
    """Return what the days of the month will still cost, in the display currency where `convert` gives it.

    Each currency has its own newest forecast, which is held against its own usage: they are converted last.
    """
    coming = still_to_come(forecast, used, now)
    return coming if convert is None else convert(coming, FORECAST_COSTS, on=now.date()).frame


def month_end(
    days: pl.DataFrame, used: pl.DataFrame, forecast: pl.DataFrame, now: datetime, convert: Convert | None = None
) -> list[MonthEnd]:
    """Return spend so far plus what is still to come, per currency; none without a forecast.

    `days` are what `spend` returns, `used` what `usage` does, `forecast` has rows of `forecast_day` of one scope; with
    `convert` the `days` are in the display currency, and the others as they are billed.
    An end of the interval is known where it is of each day.
    """
    if forecast.is_empty():
        return []
    spent, coming = measure.amounts(days, spending.SPEND), coming_days(used, forecast, now, convert)
    is_known = pl.all_horizontal(pl.col("lower_cost", "upper_cost").is_not_null())
    whole = coming.filter(is_known.all().over(measure.CURRENCY))
    expected, lower, upper = (
        measure.amounts(rows, each)
        for rows, each in (
            (coming, spending.MONTH_END),
            (whole, spending.MONTH_END_LOWER),
            (whole, spending.MONTH_END_UPPER),
        )
    )
    return [
        MonthEnd(
            currency,
            money.add(amount, expected.get(currency, Decimal(0))),
            money.add(amount, lower[currency]) if currency in lower else None,
            money.add(amount, upper[currency]) if currency in upper else None,
        )
        for currency, amount in spent.items()
    ]
