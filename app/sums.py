"""Amounts of several currencies and their changes, as people read them: never added."""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Final

import polars as pl

from app import format as written
from ledger import money
from queries import measure
from queries.display import MARK
from queries.measure import UnitCost

_TIMES_FROM: Final = 10
_MOST_TIMES: Final = 100


def main_currency(frame: pl.DataFrame, column: str, first: str = "") -> str:
    """Return `first` where an amount in it is known, else the currency with the largest total, '' without any."""
    totals = measure.by_currency(frame, column)
    return first if first in totals else next(iter(totals), "")


def shown(totals: Mapping[str, Decimal | None], *, compact: bool = True, marked: Collection[str] = ()) -> str:
    """Write totals of several currencies beside each other, marked where they are converted: they are never added."""
    if not totals:
        return written.UNKNOWN
    return " + ".join(
        f"{f'{MARK} ' if currency in marked else ''}{written.money(amount, currency, compact=compact)}"
        for currency, amount in totals.items()
    )


def headline(totals: Mapping[str, Decimal], first: str = "") -> tuple[str, str]:
    """Return one currency's total as the number of a card, and the others' as its small print.

    It is `first` where that is known, so that the cards of a page agree, else the largest.
    """
    if not totals:
        return written.UNKNOWN, ""
    ordered = sorted(totals, key=lambda currency: currency != first)
    main, *others = (written.money(totals[currency], currency, compact=True) for currency in ordered)
    return main, " and ".join(others)


def in_currency(frame: pl.DataFrame, currency: str) -> pl.DataFrame:
    """Return the rows in one currency."""
    return frame.filter(pl.col("billing_currency") == currency)


def together(*totals: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Return several amounts as one, each currency for itself: exact."""
    currencies = dict.fromkeys(currency for each in totals for currency in each)
    return {currency: money.add(*(each[currency] for each in totals if currency in each)) for currency in currencies}


def with_prices(rows: pl.DataFrame, units: Sequence[UnitCost]) -> pl.DataFrame:
    """Return rows with what so many of something cost, each in its currency.

    What no row has a price of gets no column.
    """
    found = {each.name: measure.each_unit_cost(rows, each) for each in units}
    return rows.with_columns(
        pl.Series(name, prices, money.MONEY)
        for name, prices in found.items()
        if any(price is not None for price in prices)
    )


def change(now: Decimal | None, before: Decimal | None) -> str:
    """Write a change against an earlier amount: `+12 %`, from tenfold on `×25`, `new`, or a dash."""
    if now is None or before is None:
        return "new" if now else written.UNKNOWN
    ratio = measure.share(money.difference(now, before), before.copy_abs())
    if ratio is None:
        return "new"
    times = ratio + 1
    if before > 0 and times >= _TIMES_FROM:
        return f"×{times:,.0f}" if times <= _MOST_TIMES else f"more than ×{_MOST_TIMES}"
    return f"{ratio:+.0%}".replace("%", " %")
