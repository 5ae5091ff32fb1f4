"""What a measure is, and how its number is taken from rows."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

import dataframely as dy
import polars as pl

from ledger import money


@dataclass(frozen=True)
class Measure:
    """One number over the rows of one table: `unit` is a suffix that `ledger.units` knows."""

    name: str
    title: str
    unit: str
    means: str
    table: type[dy.Schema]
    expression: pl.Expr


@dataclass(frozen=True)
class Amount:
    """One sum of money over the rows of one table, by currency; `where` says which rows count."""

    name: str
    title: str
    means: str
    table: type[dy.Schema]
    column: str
    where: pl.Expr

    unit: str = "cost"


@dataclass(frozen=True)
class UnitCost:
    """Money for one of something: an amount against a measure of the same rows, by currency."""

    name: str
    title: str
    means: str
    amount: Amount
    quantity: pl.Expr
    each: int

    unit: str = "cost"


def value(measure: Measure, frame: pl.DataFrame) -> float | int | Decimal | None:
    """Return a measure of some rows of its table; null where nothing was measured or there are no rows."""
    found = frame.select(measure.expression.alias(measure.name)).item() if frame.height else None
    return found if isinstance(found, (float, int, Decimal)) else None


def grouped(measure: Measure, frame: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Return a measure per group: the columns of `by`, and one named as the measure."""
    return frame.group_by(by, maintain_order=True).agg(measure.expression.alias(measure.name))


def amounts(amount: Amount, frame: pl.DataFrame) -> dict[str, Decimal]:
    """Return an amount of some rows of its table by currency; currencies without a known amount are left out."""
    rows = frame.filter(amount.where & pl.col("billing_currency").is_not_null())
    sums = money.summed(rows, by=["billing_currency"], columns=[amount.column])
    return {currency: each for currency, each in sums.sort("billing_currency").iter_rows() if each is not None}


def unit_costs(cost: UnitCost, frame: pl.DataFrame) -> dict[str, Decimal]:
    """Return the price of one of something by currency: quantities of rows without that currency do not count."""
    found: dict[str, Decimal] = {}
    for currency, whole in amounts(cost.amount, frame).items():
        rows = frame.filter(cost.amount.where & (pl.col("billing_currency") == currency))
        count = rows.select(cost.quantity).item()
        if count:
            found[currency] = money.priced(whole, Fraction(cost.each) / Fraction(count))
    return found


def counted_once(findings: pl.DataFrame) -> pl.DataFrame:
    """Return findings so that each saving is claimed by one: the largest goes first, those that it excludes go out.

    That one names the other is enough, whichever of them it is.
    """
    rows = findings.sort(
        ["saving_effective_month", "freed_gpu_hours_month", "finding_id"],
        descending=[True, True, False],
        nulls_last=True,
    )
    kept: list[str] = []
    out: set[str] = set()
    for key, excludes in rows.select("finding_id", "excludes").iter_rows():
        named = {each for each in excludes.split(",") if each}
        if key in out or named & set(kept):
            continue
        kept.append(key)
        out |= named
    return rows.filter(pl.col("finding_id").is_in(kept))
