"""What the weekly mail says: gathered once, from the same questions as the pages."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import polars as pl

from app import format as written
from app import sums, trust
from app.headline import Answer, Headline, MonthEnd, headline, month_end
from app.reports.week import Week
from app.theme import STATE_MEANINGS, STATE_WORDS
from ledger.names import IDLE_STATES, State
from ledger.tables.partition import after, floor

TOP_MODELS: Final = 5
ACTIONS: Final = 3

_PARTS: Final[tuple[State, ...]] = (*IDLE_STATES, "orphaned")


@dataclass(frozen=True)
class Part:
    """One of the three parts of idle cost, or orphaned time beside them."""

    state: str
    word: str
    meaning: str
    cost: str
    gpu_hours: str
    change: str


@dataclass(frozen=True)
class ModelLine:
    """One model's week."""

    model: str
    cost: str
    productive: str
    change: str


@dataclass(frozen=True)
class Action:
    """One thing to change, with who can and what it saves."""

    finding_id: str
    title: str
    team: str
    owner: str
    frees: str
    cash: str
    directive: str
    may_be_wrong: str


@dataclass(frozen=True)
class Weekly:
    """One week for one scope: '' is all teams."""

    week: Week
    team: str
    made_at: datetime
    now: Headline
    before: Headline
    month: tuple[MonthEnd, ...]
    findings: pl.DataFrame
    all_findings: pl.DataFrame
    open_incidents: int
    marks: tuple[trust.Mark, ...]
    url: str

    @property
    def subject(self) -> str:
        """The subject: the two numbers that matter."""
        whose = f", team {self.team}" if self.team else ""
        if not self.now.spent and not self.now.gpu_hours:
            return f"AI cluster week {self.week.name}{whose}: nothing in the ledger"
        idle = (
            f"{sums.shown(self.now.idle_cost)} idle"
            if self.now.idle_cost
            else f"{written.percent(self.now.idle_ratio, 0)} idle"
        )
        return f"AI cluster week {self.week.name}{whose}: {sums.shown(self.now.spent)} spent, {idle}"

    @property
    def spent(self) -> str:
        """Effective cost of the week."""
        return sums.shown(self.now.spent)

    @property
    def spent_change(self) -> str:
        """Change against the week before, per currency."""
        return changes(self.now.spent, self.before.spent)

    @property
    def idle(self) -> str:
        """Cost of the three idle parts together."""
        return sums.shown(self.now.idle_cost)

    @property
    def idle_change(self) -> str:
        """Its change against the week before."""
        return changes(self.now.idle_cost, self.before.idle_cost)

    @property
    def idle_ratio(self) -> str:
        """Idle GPU time against all of it."""
        return written.percent(self.now.idle_ratio)

    @property
    def productive_ratio(self) -> str:
        """Productive GPU time against all of it."""
        return written.percent(self.now.productive_ratio)

    @property
    def month_end(self) -> str:
        """What the month is expected to cost."""
        return sums.shown({end.currency: end.expected for end in self.month})

    @property
    def month_interval(self) -> str:
        """The interval of the expectation, in the main currency."""
        first = self.month[0] if self.month else None
        if first is None or first.lower is None or first.upper is None:
            return ""
        return " to ".join(written.money(end, first.currency, compact=True) for end in (first.lower, first.upper))

    @cached_property
    def parts(self) -> list[Part]:
        """The parts of idle cost, in the ledger's order, orphaned time last."""
        return [self._part(state) for state in _PARTS if self._hours(self.now, state)]

    def _part(self, state: State) -> Part:
        costs, old = (
            sums.by_currency(each.idle.filter(pl.col("state") == state), "effective_cost")
            for each in (self.now, self.before)
        )
        hours = self._hours(self.now, state)
        return Part(
            state,
            STATE_WORDS[state],
            STATE_MEANINGS[state],
            sums.shown(costs),
            written.gpu_hours(hours * 3600),
            changes(costs, old),
        )

    @staticmethod
    def _hours(found: Headline, state: str) -> float:
        return found.state_hours.get(state, 0.0)

    @cached_property
    def models(self) -> list[ModelLine]:
        """The models that cost most, in the main currency."""
        currency = sums.main_currency(self.now.models, "effective_cost")
        rows = self.now.models.filter((pl.col("billing_currency") == currency) & (pl.col("effective_cost") != 0))
        old = {
            str(row["model"]): row["effective_cost"]
            for row in self.before.models.filter(pl.col("billing_currency") == currency).iter_rows(named=True)
        }
        return [
            ModelLine(
                row["model"],
                written.money(row["effective_cost"], currency, compact=True),
                written.percent(sums.share(row["productive_cost"], row["effective_cost"]), 0),
                change(row["effective_cost"], old.get(row["model"])),
            )
            for row in rows.head(TOP_MODELS).iter_rows(named=True)
        ]

    @cached_property
    def actions(self) -> list[Action]:
        """The findings that free most, counted once where several claim the same saving."""
        taken: set[str] = set()
        lines: list[Action] = []
        ordered = self.findings.sort(
            "saving_effective_month",
            "freed_gpu_hours_month",
            "finding_id",
            descending=[True, True, False],
            nulls_last=True,
        )
        for row in ordered.iter_rows(named=True):
            if len(lines) == ACTIONS:
                break
            if row["finding_id"] not in taken:
                lines.append(_action(row))
                taken.update(each for each in row["excludes"].split(",") if each)
        return lines

    @property
    def saved(self) -> str:
        """What applied findings save in an average month; '' where none was applied."""
        applied = self.all_findings.filter(pl.col("status") == "applied")
        totals = sums.by_currency(applied, "saving_realised_month")
        return sums.shown(totals) if totals else ""

    @property
    def is_empty(self) -> bool:
        """Tell whether the ledger has nothing for the week."""
        return not self.now.gpu_hours and not self.now.spent


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
) -> Weekly:
    """Ask everything that a week's report says.

    `findings` are rows of `finding`, `forecast` of `forecast_day`; `mailed` are findings that this reader has
    seen within the cool-down: they are not said again.
    """
    mine = findings.filter(pl.col("team") == team) if team else findings
    month = floor(now, "month")
    spend = answer(
        "cost_days",
        start=month,
        end=after(floor(now, "hour"), "hour"),
        cluster="",
        team=team,
        by="bucket",
        measure="effective",
        estate="in",
    )
    scope = f"team:{team}" if team else "total"
    fresh = answer("freshness", now=now.replace(second=0, microsecond=0)).row(0, named=True)
    return Weekly(
        week=week,
        team=team,
        made_at=now,
        now=headline(answer, week.window, team=team),
        before=headline(answer, week.before.window, team=team),
        month=tuple(month_end(sums.by_currency(spend, "cost"), forecast.filter(pl.col("scope") == scope), now)),
        findings=mine.filter((pl.col("status") == "open") & ~pl.col("finding_id").is_in(list(mailed))),
        all_findings=mine,
        open_incidents=answer("open_incidents", cluster="", team=team).height,
        marks=trust.marks(fresh, now),
        url=url.rstrip("/"),
    )


def change(now: Decimal | None, before: Decimal | None) -> str:
    """Write a change against the week before: `+12 %`, `new`, or a dash."""
    if now is None or before is None:
        return "new" if now else written.UNKNOWN
    ratio = sums.share(now - before, abs(before))
    return "new" if ratio is None else f"{ratio:+.0%}".replace("%", " %")


def changes(now: dict[str, Decimal], before: dict[str, Decimal]) -> str:
    """Write the changes of several currencies beside each other."""
    return ", ".join(
        change(amount, before.get(currency)) + (f" {currency}" if len(now) > 1 else "")
        for currency, amount in now.items()
    )


def _action(row: dict[str, Any]) -> Action:
    currency = row["billing_currency"] or ""
    hours = row["freed_gpu_hours_month"]
    frees = written.money(row["saving_effective_month"], currency, compact=True) if currency else ""
    return Action(
        finding_id=row["finding_id"],
        title=row["title"],
        team=row["team"],
        owner=row["owner"] or row["team"],
        frees=frees or (f"{written.count(round(hours))} GPU-h" if hours is not None else written.UNKNOWN),
        cash=written.money(row["saving_cash_month"], currency, compact=True) if currency else written.UNKNOWN,
        directive=row["directive"],
        may_be_wrong=row["may_be_wrong"],
    )
