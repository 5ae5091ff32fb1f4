"""The numbers that open the first page and the weekly mail: computed once, so that they cannot differ."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property

import polars as pl

from app import sums
from app.data import Window
from ledger.names import IDLE_STATES
from ledger.tables.partition import after

Answer = Callable[..., pl.DataFrame]
"""Asks a question of `queries/sql` with its parameters."""


@dataclass(frozen=True)
class Headline:
    """What one stretch of time cost and how its GPU time went, for all teams or one."""

    window: Window
    hours: pl.DataFrame
    spend: pl.DataFrame
    idle: pl.DataFrame
    models: pl.DataFrame

    @cached_property
    def spent(self) -> dict[str, Decimal]:
        """Effective cost of the AI estate by currency."""
        return sums.by_currency(self.spend, "cost")

    @cached_property
    def idle_cost(self) -> dict[str, Decimal]:
        """Effective cost of unallocated, allocated idle and held idle time by currency."""
        return sums.by_currency(self.idle_parts, "effective_cost")

    @cached_property
    def idle_parts(self) -> pl.DataFrame:
        """Cost and GPU-hours by currency and idle state, without orphaned time."""
        return self.idle.filter(pl.col("state").is_in(list(IDLE_STATES)))

    @cached_property
    def state_hours(self) -> dict[str, float]:
        """GPU-hours by state."""
        rows = self.hours.group_by("state").agg(pl.col("gpu_hours").sum())
        return {str(state): float(hours) for state, hours in rows.iter_rows()}

    @property
    def gpu_hours(self) -> float:
        """All GPU-hours, in whatever state."""
        return sum(self.state_hours.values())

    @property
    def idle_hours(self) -> float:
        """GPU-hours in one of the three idle states."""
        return sum(self.state_hours.get(state, 0.0) for state in IDLE_STATES)

    @property
    def idle_ratio(self) -> float | None:
        """Idle GPU time against all of it."""
        return sums.share(self.idle_hours, self.gpu_hours)

    @property
    def productive_ratio(self) -> float | None:
        """Productive GPU time against all of it."""
        return sums.share(self.state_hours.get("productive", 0.0), self.gpu_hours)

    @property
    def has_estimate(self) -> bool:
        """Tell whether a part of the cost has no bill yet."""
        return bool(self.spend["has_estimate"].any())

    def idle_share_of_spend(self) -> dict[str, float]:
        """Idle cost against the spend of the same stretch, by currency."""
        ratios = {currency: sums.share(cost, self.spent.get(currency)) for currency, cost in self.idle_cost.items()}
        return {currency: ratio for currency, ratio in ratios.items() if ratio is not None}


def headline(
    answer: Answer,
    window: Window,
    *,
    cluster: str = "",
    team: str = "",
    bucket: str = "day",
    days: Window | None = None,
) -> Headline:
    """Ask what is needed for the headline of a stretch of time; `days` are the days of its models, if others."""
    span = {"start": window.start, "end": window.end}
    who = {"cluster": cluster, "team": team}
    hours = (
        answer("team_state_hours", **span, **who, bucket=bucket)
        if team
        else answer("state_hours", **span, cluster=cluster, bucket=bucket)
    )
    return Headline(
        window=window,
        hours=hours,
        spend=answer("cost_days", **span, **who, by="bucket", measure="effective", estate="in"),
        idle=answer("idle_costs", **span, **who),
        models=answer("model_costs", start=(days or window).start, end=(days or window).end, team=team),
    )


@dataclass(frozen=True)
class MonthEnd:
    """What a month is expected to cost, in one currency; ends are null without an interval."""

    currency: str
    expected: Decimal
    lower: Decimal | None
    upper: Decimal | None


def month_end(spent: dict[str, Decimal], forecast: pl.DataFrame, now: datetime) -> list[MonthEnd]:
    """Return spend so far plus the forecast for the days that are left, per currency; none without a forecast.

    `forecast` has rows of `forecast_day` of scope `total`; days that a forecast covers and that have begun count
    as spent.
    """
    if forecast.is_empty():
        return []
    newest = forecast.filter(pl.col("made_on") == pl.col("made_on").max().over("billing_currency"))
    first = (now + timedelta(days=1)).date()
    last = (after(now.replace(day=1, hour=0, minute=0, second=0, microsecond=0), "month") - timedelta(days=1)).date()
    coming = newest.filter(pl.col("day").is_between(first, last))
    lower, upper = sums.by_currency(coming, "lower_cost"), sums.by_currency(coming, "upper_cost")
    expected = sums.by_currency(coming, "forecast_cost")
    return [
        MonthEnd(
            currency,
            amount + expected.get(currency, Decimal(0)),
            amount + lower[currency] if currency in lower else None,
            amount + upper[currency] if currency in upper else None,
        )
        for currency, amount in spent.items()
    ]
