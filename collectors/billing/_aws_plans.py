"""Usage that a savings plan covers, and the lines that take its cost back: neither is billed, since the plan is.

The lines that take back may stand in another file of a report than the usage: what they sum to is known at its end.
"""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final

import polars as pl

from collectors.billing._texts import Texts
from ledger import money

COVERED: Final = "SavingsPlanCoveredUsage"
NEGATION: Final = "SavingsPlanNegation"

_KIND: Final = pl.col("lineitemlineitemtype")
_COST: Final = "lineitemunblendedcost"
_UNIT: Final = ("billpayeraccountid", "billbillingperiodstartdate", "lineitemcurrencycode")


@dataclass(frozen=True)
class _Rest:
    """What covered usage and the lines that take it back sum to, and one of them, to say where it stands."""

    amount: Decimal
    line: pl.DataFrame
    label: str
    place: int
    is_line: bool
    is_negation: bool


@dataclass
class Plans:
    """What of covered usage is not taken back, by account, period and currency, while a report is read."""

    rests: dict[tuple[object, ...], _Rest] = field(default_factory=dict)

    def billed(self, rows: pl.DataFrame, texts: Texts, places: pl.Series) -> pl.Series:
        """Return what each line of a part is billed: 0 for covered usage and what takes it back, which are noted.

        `places` are the lines of the file at which the rows stand. What is no amount stays, and is refused.
        """
        cost = rows[_COST]
        pairs = rows.select(_KIND.is_in([COVERED, NEGATION]).fill_null(value=False).alias("is_pair")).to_series()
        if not pairs.any():
            return cost.alias("billed")
        parsed = money.parse_column(cost)
        is_known = pairs & parsed.amounts.is_not_null()
        frame = rows.select(*_UNIT, is_negation=_KIND == NEGATION).with_row_index("row")
        for part in frame.with_columns(amount=parsed.amounts).filter(is_known).partition_by(_UNIT, maintain_order=True):
            known = set(part["row"])
            residues = (each for index, each in parsed.residues.items() if index in known)
            amount = money.add(money.total(part["amount"]) or Decimal(0), *residues)
            takes_back = part.filter("is_negation")
            row = int((takes_back if takes_back.height else part)["row"][0])
            here = _Rest(amount, rows[row], texts.label, int(places[row]), texts.is_line, bool(takes_back.height))
            self._note(part.select(_UNIT).row(0), here)
        return pl.select(pl.when(is_known).then(pl.lit("0")).otherwise(cost).alias("billed")).to_series()

    def _note(self, unit: tuple[object, ...], here: _Rest) -> None:
        before = self.rests.get(unit)
        if before is None:
            self.rests[unit] = here
            return
        stays = before if before.is_negation or not here.is_negation else here
        self.rests[unit] = replace(stays, amount=money.add(before.amount, here.amount))

    def left(self) -> list[tuple[pl.DataFrame, Texts]]:
        """Return what does not cancel, each as a line that takes back, at the place of one that does."""
        found = []
        for each in self.rests.values():
            if each.amount:
                line = each.line.with_columns(
                    pl.lit(NEGATION).alias("lineitemlineitemtype"), pl.lit(money.written(each.amount)).alias(_COST)
                )
                lines = pl.Series([each.place], dtype=pl.Int64)
                found.append((line, Texts(each.label, line, lines, (), each.is_line)))
        return found
