"""What a measure is, and how its number is taken from rows.

Rows are the answer to a question in `queries/sql`, or of a table. Each function here takes the frame first: a page
caches what it returns with the frame.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Final

import polars as pl

from ledger import money
from ledger.expressions import per

CURRENCY: Final = "billing_currency"

_NOTHING: Final = Decimal(0)


@dataclass(frozen=True, eq=False, repr=False)
class _Named:
    """What a person sees beside a number: its heading, and what it means in a sentence."""

    name: str
    title: str
    means: str

    def __repr__(self) -> str:
        """Return the name: it tells measures apart wherever a key is made of one."""
        return self.name


@dataclass(frozen=True, eq=False, repr=False)
class Measure(_Named):
    """One number over rows; `rows` names the questions or tables that give them, `unit` is one of `ledger.units`."""

    rows: tuple[str, ...]
    unit: str
    expression: pl.Expr


@dataclass(frozen=True, eq=False, repr=False)
class Amount(_Named):
    """One sum of money over rows, by currency; `where` says which of them count.

    `asks` are the parameters that the question is asked with: what is billed, and of what.
    """

    rows: tuple[str, ...]
    column: str
    where: pl.Expr | None = None
    asks: Mapping[str, str] = field(default_factory=dict)
    unit: str = "cost"


@dataclass(frozen=True, eq=False, repr=False)
class Part(_Named):
    """One amount against another of the same currency."""

    part: Amount
    whole: Amount
    unit: str = "ratio"

    @property
    def rows(self) -> tuple[str, ...]:
        """Where both amounts come from."""
        return tuple(dict.fromkeys((*self.part.rows, *self.whole.rows)))

    @property
    def expression(self) -> pl.Expr:
        """The quotient over rows in one currency that hold both amounts."""
        return per(_for_the_eye(self.part), _for_the_eye(self.whole))


@dataclass(frozen=True, eq=False, repr=False)
class UnitCost(_Named):
    """Money for so many of something: an amount against a quantity of the same rows, by currency."""

    amount: Amount
    quantity: pl.Expr
    each: int
    unit: str = "cost"

    @property
    def rows(self) -> tuple[str, ...]:
        """Where amount and quantity come from."""
        return self.amount.rows


def value(frame: pl.DataFrame, measure: Measure) -> float | int | None:
    """Return a measure of some rows; null where nothing was measured, and for a sum without rows."""
    return values(frame, (measure,))[measure.name]


def values(frame: pl.DataFrame, measures: Sequence[Measure]) -> dict[str, float | int | None]:
    """Return measures of the same rows by name."""
    return frame.select(each.expression.alias(each.name) for each in measures).row(0, named=True)


def with_each(frame: pl.DataFrame, by: Sequence[str], *measures: Measure | Part) -> pl.DataFrame:
    """Return rows, each with the measures of its group in columns of their names."""
    return frame.with_columns(each.expression.over(by).alias(each.name) for each in measures)


def by_currency(frame: pl.DataFrame, column: str) -> dict[str, Decimal]:
    """Return the exact total of a money column per currency, the largest first; unknown amounts are left out."""
    totals: dict[str, Decimal] = {}
    # This is asked of a few hundred rows, many times: a query costs more than the sum.
    for currency, amount in zip(frame[CURRENCY].to_list(), frame[column].to_list(), strict=True):
        if currency is not None and amount is not None:
            totals[currency] = money.add(totals.get(currency, _NOTHING), amount)
    return dict(sorted(totals.items(), key=lambda item: (item[1].copy_abs().copy_negate(), item[0])))


def amounts(frame: pl.DataFrame, amount: Amount) -> dict[str, Decimal]:
    """Return an amount of some rows by currency, the largest first; what nobody knows is left out."""
    return by_currency(_counting(frame, amount), amount.column)


def grouped(frame: pl.DataFrame, by: Sequence[str], amount: Amount) -> pl.DataFrame:
    """Return an amount per group: the columns of `by`, and the amount's own, the largest first."""
    sums = money.summed(_counting(frame, amount), by=by, columns=[amount.column])
    return sums.sort(amount.column, descending=True, nulls_last=True)


def shares(frame: pl.DataFrame, by: Sequence[str], amount: Amount) -> pl.DataFrame:
    """Return what `grouped` returns, of rows in one currency, with each group's `share` of the whole."""
    found = grouped(frame, by, amount)
    cost = pl.col(amount.column).cast(pl.Float64)
    return found.with_columns(share=per(cost, pl.lit(float(money.add(*amounts(frame, amount).values())))))


def share(part: Decimal | float | None, whole: Decimal | float | None) -> float | None:
    """Return a quotient for the eye; null where either is unknown, or the whole is not above 0."""
    return None if part is None or whole is None or whole <= 0 else float(part) / float(whole)


def parts(frame: pl.DataFrame, part: Part, whole: pl.DataFrame | None = None) -> dict[str, float]:
    """Return one amount against another by currency; `whole` are the rows of the other where they are not the same."""
    wholes = amounts(frame if whole is None else whole, part.whole)
    ratios = {currency: share(cost, wholes.get(currency)) for currency, cost in amounts(frame, part.part).items()}
    return {currency: ratio for currency, ratio in ratios.items() if ratio is not None}


def unit_costs(frame: pl.DataFrame, cost: UnitCost) -> dict[str, Decimal]:
    """Return the price of so many of something by currency: quantities of rows without that currency do not count."""
    found: dict[str, Decimal] = {}
    for currency, whole in amounts(frame, cost.amount).items():
        rows = _counting(frame, cost.amount).filter(pl.col(CURRENCY) == currency)
        count = rows.select(cost.quantity).item()
        if count:
            found[currency] = money.priced(whole, Fraction(cost.each) / Fraction(count))
    return found


def each_unit_cost(frame: pl.DataFrame, cost: UnitCost) -> list[Decimal | None]:
    """Return the price of so many of something for each row, in its own currency: null where a part is unknown or 0."""
    rows = frame if cost.amount.where is None else frame.with_columns(pl.when(cost.amount.where).then(pl.all()))
    counts = rows.with_row_index("_row").select(cost.quantity.over("_row").alias("_count")).to_series().to_list()
    return [
        money.priced(amount, Fraction(cost.each) / Fraction(count)) if count and amount is not None else None
        for amount, count in zip(rows[cost.amount.column].to_list(), counts, strict=True)
    ]


def counted_once(findings: pl.DataFrame) -> pl.DataFrame:
    """Return open findings so that each saving is claimed by one: the largest goes first, those it excludes go out.

    That one names the other is enough, whichever of them it is.
    """
    rows = findings.filter(pl.col("status") == "open").sort(
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


def _counting(frame: pl.DataFrame, amount: Amount) -> pl.DataFrame:
    return frame if amount.where is None else frame.filter(amount.where)


def _for_the_eye(amount: Amount) -> pl.Expr:
    column = pl.col(amount.column).cast(pl.Float64)
    known = column if amount.where is None else column.filter(amount.where)
    return pl.when(known.is_not_null().any()).then(known.sum())
