"""What the weekly mail says, in the words and numbers of the pages."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Final

import polars as pl

from app import format as written
from app import sums, trust
from app.headline import (
    Headline,
    MonthEnd,
)
from app.reports.lines import Action, Card, ModelLine, Part, action, card, changes
from app.reports.week import Week
from app.theme import STATE_MEANINGS, STATE_WORDS
from ledger.names import IDLE_STATES, State
from queries import measure
from queries.display import Shown, words
from queries.measures import spending

TOP_MODELS: Final = 5
ACTIONS: Final = 3

_PARTS: Final[tuple[State, ...]] = (*IDLE_STATES, "orphaned")


@dataclass(frozen=True)
class Weekly:
    """One week for one scope: '' is all teams.

    `now` and `before` are in the display currency where one is configured: then `shown` says what was converted, and
    `billed` holds the week as billed. `has_whole_week_before` says whether the week before can be compared with: a
    ledger begins in some week.
    """

    week: Week
    team: str
    made_at: datetime
    now: Headline
    before: Headline
    month: tuple[MonthEnd, ...]
    findings: pl.DataFrame
    all_findings: pl.DataFrame
    open_incidents: float | None
    marks: tuple[trust.Mark, ...]
    url: str
    has_whole_week_before: bool = True
    budgets: tuple[str, ...] = ()
    unusual_days: tuple[str, ...] = ()
    rules: str = ""
    shown: tuple[Shown, ...] = ()
    billed: Headline | None = None

    @property
    def subject(self) -> str:
        """The subject: the two numbers that matter."""
        whose = f", team {self.team}" if self.team else ""
        if not self.now.spent and not self.now.gpu_hours:
            return f"AI cluster week {self.week.name}{whose}: nothing in the ledger"
        idle = f"{self.idle} idle" if self.now.idle_cost else f"{written.percent(self.now.idle_ratio, 0)} idle"
        return f"AI cluster week {self.week.name}{whose}: {self.spent} spent, {idle}"

    @property
    def lead(self) -> str:
        """The week in three short sentences."""
        whose = f"The jobs of team {self.team}" if self.team else "The AI estate"
        said = [f"{whose} cost {self.spent}."]
        if self.now.idle_ratio is not None:
            price = f", which cost {self.idle}" if self.now.idle_cost else ""
            said.append(f"{self.idle_ratio} of the GPU time was idle{price}.")
        if self.actions:
            count = f"{len(self.actions)} changes" if len(self.actions) > 1 else "One change"
            frees = measure.amounts(self._chosen, spending.SAVING_EFFECTIVE)
            told = sums.shown(frees, marked=self._marked)
            said.append(f"{count} below would free {told} a month." if frees else f"See {count} below.")
        return " ".join(said)

    @cached_property
    def cards(self) -> list[Card]:
        """The numbers that open the mail, the currency first that was spent most."""
        main = next(iter(self.now.spent), "")
        estimate = ", partly estimated" if self.now.has_estimate else ""
        ends = {end.currency: end.expected for end in self.month}
        idle = f"{self.idle_ratio} of GPU time" + (f", {self.idle_change}" if self.idle_change else "")
        return [
            card(
                spending.SPEND,
                self.now.spent,
                main,
                f"{self.spent_change or 'no whole week before'}{estimate}",
                billed=self.as_billed,
                marked=self._marked,
            ),
            card(
                spending.IDLE_COST,
                self.now.idle_cost,
                main,
                idle,
                is_bad=True,
                billed=self.idle_as_billed,
                marked=self._marked,
            ),
            card(spending.MONTH_END, ends, main, self.month_interval or "no interval yet", marked=self._marked),
        ]

    @property
    def spent(self) -> str:
        """Effective cost of the week."""
        return sums.shown(self.now.spent, marked=self._marked)

    @property
    def as_billed(self) -> str:
        """The same in the currencies of the bills; '' where nothing is converted."""
        return sums.shown(self.billed.spent) if self.billed is not None else ""

    @property
    def idle_as_billed(self) -> str:
        """What idled, in the currencies of the bills; '' where nothing is converted."""
        return sums.shown(self.billed.idle_cost) if self.billed is not None else ""

    @property
    def _marked(self) -> frozenset[str]:
        """The currencies that amounts were converted to."""
        return frozenset[str]().union(*(each.marked for each in self.shown))

    @property
    def conversion(self) -> str:
        """At rates of which days money was converted, and what could not be; '' where it is as billed."""
        return words(*self.shown)

    @property
    def spent_change(self) -> str:
        """Change against the week before, per currency."""
        return changes(self.now.spent, self.before.spent) if self.has_whole_week_before else ""

    @property
    def idle(self) -> str:
        """Cost of the three idle parts together."""
        return sums.shown(self.now.idle_cost, marked=self._marked)

    @property
    def idle_change(self) -> str:
        """Its change against the week before."""
        return changes(self.now.idle_cost, self.before.idle_cost) if self.has_whole_week_before else ""

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
        return sums.shown({end.currency: end.expected for end in self.month}, marked=self._marked)

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
        return [self._part(state) for state in _PARTS if self.now.state_hours[state]]

    def _part(self, state: State) -> Part:
        costs, old = self.now.part_cost(state), self.before.part_cost(state)
        return Part(
            state,
            STATE_WORDS[state],
            STATE_MEANINGS[state],
            sums.shown(costs, marked=self._marked),
            written.gpu_hours(self.now.state_hours[state]),
            changes(costs, old) if self.has_whole_week_before else written.UNKNOWN,
        )

    @property
    def spend_beside(self) -> str:
        """What was spent in currencies that the picture of days does not draw; '' where it draws all."""
        return _beside(self.now.spent, next(iter(self.now.spent), ""), self._marked)

    @property
    def models_beside(self) -> str:
        """What models cost in other currencies than those that are listed; '' where there are none."""
        currency = sums.main_currency(self.now.models, "effective_cost")
        return _beside(measure.by_currency(self.now.models, "effective_cost"), currency, self._marked)

    @property
    def models_time(self) -> str:
        """Say that models are told by days of UTC where the week is not of such days; '' where it is."""
        return "Told by whole days in UTC." if any(each.hour or each.minute for each in self.week.window) else ""

    @cached_property
    def models(self) -> list[ModelLine]:
        """The models that cost most, in the main currency."""
        currency = sums.main_currency(self.now.models, "effective_cost")
        rows = measure.with_each(
            self.now.models.filter((pl.col("billing_currency") == currency) & (pl.col("effective_cost") != 0)),
            ["model"],
            spending.MODELS_PRODUCTIVE,
        )
        old = {
            str(row["model"]): row["effective_cost"]
            for row in self.before.models.filter(pl.col("billing_currency") == currency).iter_rows(named=True)
        }
        return [
            ModelLine(
                row["model"],
                sums.shown({currency: row["effective_cost"]}, marked=self._marked),
                written.percent(row[spending.MODELS_PRODUCTIVE.name], 0),
                sums.change(row["effective_cost"], old.get(row["model"]))
                if self.has_whole_week_before
                else written.UNKNOWN,
            )
            for row in rows.head(TOP_MODELS).iter_rows(named=True)
        ]

    @cached_property
    def _chosen(self) -> pl.DataFrame:
        """The findings that free most."""
        return measure.counted_once(self.findings).head(ACTIONS)

    @cached_property
    def actions(self) -> list[Action]:
        """What to do first."""
        return [action(row, self._marked) for row in self._chosen.iter_rows(named=True)]

    @property
    def saved(self) -> str:
        """What applied findings save in an average month; '' where none was applied."""
        totals = measure.amounts(self.all_findings, spending.SAVING_REALISED)
        return sums.shown(totals, marked=self._marked) if totals else ""

    @property
    def is_empty(self) -> bool:
        """Tell whether the ledger has nothing for the week."""
        return not self.now.gpu_hours and not self.now.spent


def _beside(totals: Mapping[str, Decimal], currency: str, marked: Collection[str]) -> str:
    """Say what is not drawn or listed beside one currency."""
    others = {name: amount for name, amount in totals.items() if name != currency and amount}
    return (
        f"In {currency}. Beside it {sums.shown(others, marked=marked)}: currencies are never added." if others else ""
    )
