"""Budgets: which are in force in a month, how they stand, when they will break, and what is worth telling."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal

import polars as pl

from ledger import money
from ledger.budget_rule import DEFAULT_THRESHOLDS, BudgetRule
from ledger.tables.partition import after, floor
from queries.still_to_come import still_to_come

Source = Literal["page", "configuration", "ledger"]
Status = Literal["broken", "will break", "may break", "on track", "no forecast"]

STATUSES: Final[tuple[Status, ...]] = ("broken", "will break", "may break", "no forecast", "on track")
"""How a budget can stand, what needs an act first."""

_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Budget:
    """What one scope may spend in one month; `source` says where that was decided."""

    month: date
    scope: str
    currency: str
    cost: Decimal
    thresholds: tuple[float, ...]
    owner: str
    source: Source

    @property
    def team(self) -> str:
        """The team of a team's budget, '' for others."""
        kind, _, name = self.scope.partition(":")
        return name if kind == "team" else ""


@dataclass(frozen=True)
class Standing:
    """How a budget stands at an instant.

    `spent` is up to and with today: what a charge of the whole month has for later days is still to come. `expected` is
    that and what is still to come; null where the scope has no forecast, and its ends where that has no interval.
    `breaks_on` is the day since which more is spent, or will be, than it allows; null where it lasts: a credit may make
    good what had broken it.
    """

    budget: Budget
    spent: Decimal
    expected: Decimal | None
    lower: Decimal | None
    upper: Decimal | None
    breaks_on: date | None
    status: Status
    has_estimate: bool

    @property
    def over(self) -> Decimal:
        """By how much the month is expected to pass the budget, or has; negative where it stays under."""
        return money.difference(self.spent if self.expected is None else self.expected, self.budget.cost)

    @property
    def used_ratio(self) -> float:
        """Spend so far against the budget."""
        return float(Fraction(self.spent) / Fraction(self.budget.cost))

    @property
    def reached(self) -> list[float]:
        """The thresholds that the spend has reached."""
        return [each for each in self.budget.thresholds if self.spent >= money.share(self.budget.cost, _exact(each))]


def in_force(
    month: date, stored: pl.DataFrame, configured: Iterable[BudgetRule], decided: pl.DataFrame, teams: pl.DataFrame
) -> list[Budget]:
    """Return the budgets of a month: what a person decided goes before the configuration, that before the ledger.

    `stored` are rows of `budget`, `decided` of `budget_decision`, `teams` of `team`.
    """
    owners = {team: owner for team, owner in teams.select("team", "owner").iter_rows() if owner}
    found: dict[tuple[str, str], Budget] = {}
    for row in stored.filter(pl.col("month") == month).iter_rows(named=True):
        ratio = row["threshold_ratio"]
        thresholds = DEFAULT_THRESHOLDS if ratio is None else tuple(sorted({float(ratio), 1.0}))
        _put(
            found,
            owners,
            Budget(month, row["scope"], row["billing_currency"], row["budget_cost"], thresholds, "", "ledger"),
        )
    for rule in configured:
        if (not rule.since or f"{month:%Y-%m}" >= rule.since) and (not rule.until or f"{month:%Y-%m}" <= rule.until):
            thresholds = tuple(sorted(set(rule.thresholds)))
            _put(
                found,
                owners,
                Budget(month, rule.scope, rule.currency, rule.amount, thresholds, rule.owner, "configuration"),
            )
    begun = decided.filter(pl.col("month") <= month).sort("month")
    for row in begun.unique(["scope", "billing_currency"], keep="last", maintain_order=True).iter_rows(named=True):
        key = (row["scope"], row["billing_currency"])
        if row["budget_cost"] is None:
            found.pop(key, None)
            continue
        thresholds = thresholds_of(row["thresholds"])
        _put(found, owners, Budget(month, *key, row["budget_cost"], thresholds, row["owner"], "page"))
    return [found[key] for key in sorted(found)]


def _put(found: dict[tuple[str, str], Budget], owners: Mapping[str, str], budget: Budget) -> None:
    owner = budget.owner or owners.get(budget.team, "")
    if budget.cost > 0:
        found[budget.scope, budget.currency] = Budget(**{**vars(budget), "owner": owner})


def thresholds_of(text: str) -> tuple[float, ...]:
    """Return thresholds that are joined by commas."""
    return tuple(sorted({float(each) for each in text.split(",") if each}))


def standings(budgets: Sequence[Budget], spent: pl.DataFrame, forecast: pl.DataFrame, now: datetime) -> list[Standing]:
    """Return how the budgets of a month stand, those that need an act first.

    `spent` are rows of the question `spend_scopes` of that month, `forecast` of `forecast_day`.
    """
    found = [_standing(each, _of(spent, each), _of(forecast, each), now) for each in budgets]
    return sorted(
        found,
        key=lambda each: (
            STATUSES.index(each.status),
            -Fraction(each.over) / Fraction(each.budget.cost),
            each.budget.scope,
        ),
    )


def _of(rows: pl.DataFrame, budget: Budget) -> pl.DataFrame:
    return rows.filter((pl.col("scope") == budget.scope) & (pl.col("billing_currency") == budget.currency)).sort("day")


def _standing(budget: Budget, days: pl.DataFrame, forecast: pl.DataFrame, now: datetime) -> Standing:
    present = floor(now, "month")
    is_present = budget.month == present.date()
    days = days.filter(pl.col("day") <= now.date()) if is_present else days
    used = days.with_columns(pl.col("usage_cost").alias("cost"))
    coming = still_to_come(forecast, used, now).to_dicts() if is_present else []
    running, breaks_on = Decimal(0), None
    for day, cost in days.select("day", "cost").iter_rows():
        running = money.add(running, cost or Decimal(0))
        breaks_on = None if running <= budget.cost else breaks_on or day
    spent, is_over = running, budget.month < present.date()
    has_forecast = bool(coming) or (is_present and now.date() >= after(present, "month").date() - _DAY)
    for row in coming:
        running = money.add(running, row["forecast_cost"])
        breaks_on = None if running <= budget.cost else breaks_on or row["day"]
    ends = [
        money.add(spent, *(row[name] for row in coming)) if all(row[name] is not None for row in coming) else None
        for name in ("lower_cost", "upper_cost")
    ]
    expected = running if has_forecast or is_over else None
    lower, upper = ends if expected is not None else (None, None)
    status = _status(budget.cost, spent, expected, lower, upper)
    estimated = bool(days["has_estimate"].any()) if days.height else False
    return Standing(budget, spent, expected, lower, upper, breaks_on, status, estimated)


def _status(
    cost: Decimal, spent: Decimal, expected: Decimal | None, lower: Decimal | None, upper: Decimal | None
) -> Status:
    """Return the word: it breaks where that is expected, surely or not; it may where the interval reaches over it."""
    if spent > cost:
        return "broken"
    if expected is None:
        return "no forecast"
    if expected > cost and (lower is None or lower > cost):
        return "will break"
    return "may break" if expected > cost or (upper is not None and upper > cost) else "on track"


def _exact(ratio: float) -> Decimal:
    return Decimal(str(ratio))
