"""What one team is charged for one month, and how that was computed: one for page, file and PDF."""

from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any, Final

import polars as pl

from app import format as written
from app import sums
from ledger import money
from ledger.exchange import Exchange
from ledger.money_sections import MoneySettings
from queries import display, measure
from queries.display import CURRENCY, Shown
from queries.measures import carbon, per_unit
from queries.statements import COSTS

LINES: Final[Mapping[str, tuple[str, str]]] = {
    "held": ("Held by its jobs", "GPUs, and their nodes' processors and memory, while jobs of the team held them"),
    "owned": ("Owned", "volumes, buckets and services that are the team's by rule, and egress that its jobs caused"),
    "shared": ("Part of shared cost", "control plane, support and services for everybody, by the shared-cost rule"),
    "tax": ("Tax", "its part of what is taxed"),
    "credit": ("Credits", "its part of what the provider takes off"),
    "adjustment": ("Adjustments", "its part of rounding and other adjustments of the provider"),
    "correction": ("Corrections", "what the provider restated, of this month or an earlier one"),
}
"""What a charge is for, in the order of a statement."""

_PLACES: Final = {line: place for place, line in enumerate(LINES)}

TOP_RUNS: Final = 10

STATUS_WORDS: Final[Mapping[str, str]] = {
    "matches_invoice": "matches its invoice",
    "matches_export": "equals the provider's own totals; no invoice yet",
    "estimated": "partly estimated: not billed yet",
    "differs": "differs from its invoice",
    "unchecked": "no invoice to compare with yet",
}


@dataclass(frozen=True)
class Closed:
    """When a statement was closed, and by whom."""

    at: datetime
    by: str


@dataclass(frozen=True)
class Statement:
    """One team's charges of one month; currencies stand beside each other and are never added.

    `charges` are answers of `statement_charges`, of earlier months where these are adjustments; `models`, `users`,
    `runs` of `unit_costs`; `unheld` is what idled between the runs of the team, which is in no total; `invoices` are
    answers of `statement_invoices`, `carbon` those of `carbon`. Of a closed statement charges, models, users and runs
    are as they were stated. `rules` are those that it was divided by; where they were tried, `stored` are the others.
    `exchange` holds the rates by which amounts are told in the display currency too, beside those that are billed.
    """

    team: str
    month: date
    made_at: datetime
    charges: pl.DataFrame
    models: pl.DataFrame
    users: pl.DataFrame
    runs: pl.DataFrame
    whole: pl.DataFrame
    unheld: pl.DataFrame
    invoices: pl.DataFrame
    carbon: pl.DataFrame
    rules: MoneySettings
    is_over: bool
    closed: Closed | None = None
    stored: MoneySettings | None = None
    exchange: Exchange | None = None

    @property
    def title(self) -> str:
        """What it is called."""
        return f"Statement of team {self.team}, {self.month:%B %Y}"

    @property
    def stem(self) -> str:
        """The name of its files."""
        return f"statement-{self.team}-{self.month:%Y-%m}"

    @cached_property
    def currencies(self) -> list[str]:
        """The currencies that anything was charged in, the largest first."""
        first = list(measure.by_currency(self.charges, "effective_cost"))
        return [*first, *sorted(set(self.charges["billing_currency"]) - set(first))]

    def total(self, currency: str, column: str) -> Decimal | None:
        """Return the sum of a column of the charges in one currency; null where nothing of it is known."""
        return money.total(self.charges.filter(pl.col("billing_currency") == currency)[column])

    @cached_property
    def converted(self) -> Shown:
        """The totals in the display currency, by the rates of the month's last day; as billed where none is known."""
        rows = [{CURRENCY: code, **{name: self.total(code, name) for name in COSTS}} for code in self.currencies]
        return self._in_display_currency(
            pl.DataFrame(rows, schema={CURRENCY: pl.String(), **dict.fromkeys(COSTS, money.MONEY)})
        )

    @property
    def conversion(self) -> str:
        """The totals in the display currency in a sentence, with the rates' day; '' where nothing is converted."""
        found = self.converted
        if not found.words:
            return ""
        marked = {found.currency} if found.converted else set()
        said = [
            f"{sums.shown({code: effective}, compact=False, marked=marked)} effective, "
            f"{sums.shown({code: billed}, compact=False, marked=marked)} billed"
            for code, effective, billed in found.frame.sort(pl.col(CURRENCY) != found.currency, maintain_order=True)
            .select(CURRENCY, "effective_cost", "billed_cost")
            .iter_rows()
        ]
        return f"In {found.currency}: {'; as billed: '.join(said)}. {found.words}" if found.converted else found.words

    def _in_display_currency(self, rows: pl.DataFrame) -> Shown:
        to = self.rules.display_currency
        if self.exchange is None or not to or rows.is_empty():
            return Shown(rows, to)
        last = date(self.month.year, self.month.month, monthrange(self.month.year, self.month.month)[1])
        return display.in_currency(rows, self.exchange, to, COSTS, on=last)

    def lines(self, currency: str) -> list[dict[str, Any]]:
        """Return one row for each kind of charge in one currency, in the order of a statement, adjustments last."""
        by = ["for_month", "line"]
        mine = self.charges.filter(pl.col("billing_currency") == currency)
        sums = money.summed(mine, by=by, columns=COSTS)
        hours = mine.group_by(by).agg((pl.col("held_gpu_seconds").cast(pl.Float64).sum() / 3600).alias("gpu_hours"))
        found = sums.join(hours, on=by).sort(
            pl.col("for_month") != self.month, "for_month", pl.col("line").replace_strict(_PLACES)
        )
        return [{**row, **self._told(row["for_month"], row["line"])} for row in found.iter_rows(named=True)]

    def _told(self, month: date, line: str) -> dict[str, str]:
        """Say what a row is for."""
        words, means = LINES[line]
        if month == self.month:
            return {"words": words, "means": means}
        return {
            "words": f"Adjustment for {month:%Y-%m}: {words[0].lower()}{words[1:]}",
            "means": f"what is known of {month:%B %Y} by now, less what closed statements said of it",
        }

    @property
    def adjusted(self) -> pl.DataFrame:
        """The charges that adjust what closed statements said."""
        return self.charges.filter(pl.col("for_month") != self.month)

    def prices(self, currency: str) -> dict[str, Decimal]:
        """Return what units cost in one currency, by the names of their measures."""
        found = {each.name: measure.unit_costs(self.whole, each).get(currency) for each in per_unit.OWNER_UNITS}
        return {name: price for name, price in found.items() if price is not None}

    @property
    def has_estimate(self) -> bool:
        """Tell whether a part of it has no bill yet."""
        return bool(self.charges["has_estimate"].any())

    @property
    def badge(self) -> tuple[str, bool | None]:
        """Say whether the invoices behind it agree; true, false, or null where there is none to compare with."""
        rows = self.invoices
        if rows.is_empty():
            return "No bill of the month was imported", None
        differing = rows.filter(pl.col("is_ok").not_())
        if differing.height:
            return f"{differing.height} of {rows.height} invoices behind it differ", False
        agreeing = rows.filter("is_ok").height
        if agreeing == rows.height and not self.has_estimate:
            return f"Its charges come from {rows.height} invoices that all agree", True
        return f"{agreeing} of {rows.height} invoices behind it are there and agree", None

    @cached_property
    def notes(self) -> list[str]:
        """How it was computed, in sentences."""
        methods = sorted(
            {each for text in self.charges["allocated_method_id"] for each in str(text).split(", ")} - {"None"}
        )
        apart = self.rules.shared_cost == "apart"
        shared = ": it stays apart and is not in this statement." if apart else "."
        said = [
            "Effective cost is amortised: what the use of the month is worth, with commitments and prepayments spread.",
            "Billed cost is what the month's billing periods invoice, corrections of earlier months among it.",
            "Its days are those of UTC; billing periods that begin in it do so at the hour that their provider has.",
            f"A node's price goes to its GPUs by the split rule {self.rules.split_rule}, and from there by time held.",
            f"Rules in these rows: {', '.join(methods) or 'none'}.",
            f"Cost that belongs to all goes by the rule '{self.rules.shared_cost}'{shared}",
            "Idle is time that a job held and did not use; it is in the total. Time that nobody held is in no total.",
            "Between runs: what of that lay on nodes which the team held on the same day, by its part of their time.",
            "A run that was requeued is one run. A GPU-hour of a slice or a share counts as its fraction.",
            "Samples and tokens are priced by the runs whose training told them, on the days on which it did.",
            "Whose prompts a model server answered is not known: what tokens cost is told by model, for all teams.",
        ]
        if self.stored is not None:
            said.append(
                f"These rules were asked for; the ledger's are {self.stored.split_rule} and "
                f"'{self.stored.shared_cost}'. Nothing of closed statements is in it."
            )
        said.append(_energy(self.carbon))
        if self.adjusted.height:
            said.append(
                "An adjustment is what is known of a closed month by now (late, restated and corrected charges, "
                "time that was told later, other rules), less what closed statements said of it."
            )
        if self.closed is not None:
            said.append(
                f"Closed by {self.closed.by} at {written.instant(self.closed.at)}: its charges stay as stated, and "
                "what changes later posts on the statement of the first open month."
            )
        if self.has_estimate:
            said.append("A part has no bill yet and is estimated at the last billed rate, else the list price.")
        if not self.is_over:
            said.append("The month is not over: this statement is preliminary.")
        return said

    def frame(self) -> pl.DataFrame:
        """Return everything in one table, exact: what is charged, and the same by model, user and run.

        Shape, grain: one row per section, month that it is about, line or name, provider, service, charge category and
        currency. Only the rows of the section `charges` are to be summed: the others tell the same cost in another way.
        """
        adjusts = pl.concat_str(pl.lit("adjustment for "), pl.col("for_month").dt.strftime("%Y-%m: "), "line")
        name = pl.when(pl.col("for_month") == self.month).then("line").otherwise(adjusts)
        charges = self.charges.with_columns(pl.lit("charges").alias("section"), name.alias("name"))
        parts = [charges]
        for section, rows in (("models", self.models), ("users", self.users), ("runs", self.runs)):
            parts.append(rows.with_columns(pl.lit(section).alias("section")))
        if self.unheld.height:
            parts.append(self.unheld.with_columns(pl.lit("between runs, in no total").alias("section")))
        parts = [each.with_columns(pl.col("held_gpu_seconds").cast(money.MONEY)) for each in parts]
        every = self._with_conversions(pl.concat(parts, how="diagonal"))
        told = [each for each in every.columns if each.startswith("display_")]
        return every.select(
            pl.lit(self.team).alias("team"),
            pl.lit(self.month).alias("month"),
            *("section", pl.col("for_month").fill_null(pl.lit(self.month)), "name", "provider", "service_name"),
            *("charge_category", "billing_currency", *COSTS),
            (pl.col("held_gpu_seconds").cast(pl.Float64) / 3600).alias("gpu_hours"),
            *("run_count", "has_estimate", "allocated_method_id"),
            *("trained_sample_count", "sampled_cost", "trained_token_count", "token_trained_cost", *told),
        )

    def _with_conversions(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with their amounts in the display currency beside them; null where no rate is known."""
        if not self.converted.currency:
            return rows
        names = {name: f"display_{name}" for name in COSTS}
        found = []
        for mine in rows.with_row_index("row").partition_by(CURRENCY):
            # The row's number keeps apart what would be one row in one currency.
            kept = mine.select(pl.col("row").cast(pl.String), CURRENCY, *COSTS)
            told = self._in_display_currency(kept)
            is_known = pl.lit(value=bool(told.converted) or mine[CURRENCY][0] == told.currency)
            found.append(
                told.frame.select(
                    pl.col("row").cast(pl.UInt32),
                    pl.when(is_known).then(pl.lit(told.currency)).alias("display_currency"),
                    *(pl.when(is_known).then(name).alias(other) for name, other in names.items()),
                    pl.lit(told.first_day, dtype=pl.Date).alias("display_rate_day"),
                )
            )
        return rows.with_row_index("row").join(pl.concat(found), on="row", maintain_order="left").drop("row")


def _energy(rows: pl.DataFrame) -> str:
    """Say what the team's GPUs used and what that emitted, as far as it is known."""
    found = measure.values(rows, (carbon.ENERGY, carbon.CARBON, carbon.ENERGY_KNOWN))
    energy, grams, known = found.values()
    if energy is None:
        return "The energy of its GPUs was not measured."
    emitted = f"{written.measured('grams', '', grams)} of CO2 equivalent" if grams is not None else "an unknown amount"
    return (
        f"Its jobs' GPUs used {written.measured('joules', '', energy)}, which emitted {emitted}; energy is known for "
        f"{written.percent(known)} of their time."
    )


def shown(amount: Decimal | None, currency: str) -> str:
    """Write an amount of a statement: in full, to the cent."""
    return written.money(amount, currency)


def top(rows: pl.DataFrame, currency: str, most: int) -> Sequence[dict[str, Any]]:
    """Return the dearest rows in one currency."""
    return rows.filter(pl.col("billing_currency") == currency).head(most).to_dicts()
