"""Rows with money, in one currency for the eye: converted by the rates of their days, and told so."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

import polars as pl

from ledger import money
from ledger.exchange import Exchange, Quote
from ledger.expressions import total

CURRENCY: Final = "billing_currency"

MARK: Final = "\N{ALMOST EQUAL TO}"
"""Stands before a number that is converted."""


@dataclass(frozen=True)
class Shown:
    """Rows in the display currency where rates are known; `converted` and `kept` name the currencies of the bills.

    A currency of which any row lacks a rate stays as it is, whole: half of it would be no number. `first_day` and
    `last_day` are those of the rates that were taken, null where nothing was converted.
    """

    frame: pl.DataFrame
    currency: str
    converted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    first_day: date | None = None
    last_day: date | None = None

    @property
    def marked(self) -> frozenset[str]:
        """The currency in which amounts are converted, in part at least; none where all are as billed."""
        return frozenset({self.currency} if self.converted else ())

    @property
    def words(self) -> str:
        """What a reader must know about the numbers; '' where they are as billed."""
        return words(self)


def words(*shown: Shown) -> str:
    """Say once of several sets of rows what was converted, at rates of which days, and what was not."""
    converted = sorted({each for one in shown for each in one.converted})
    kept = sorted({each for one in shown for each in one.kept})
    to = next((one.currency for one in shown if one.currency), "")
    said = []
    if converted:
        days = sorted({day for one in shown for day in (one.first_day, one.last_day) if day is not None})
        told = f"{days[0]}" if len(days) == 1 else f"{days[0]} to {days[-1]}"
        said.append(f"{MARK} is converted from {', '.join(converted)} to {to} at rates of {told}.")
    if kept:
        said.append(f"No rate to {to} is known for all days in {', '.join(kept)}: shown as billed.")
    return " ".join(said)


def in_currency(
    frame: pl.DataFrame,
    exchange: Exchange,
    to: str,
    columns: Sequence[str],
    *,
    day: str = "",
    on: date | None = None,
    key: Sequence[str] = (),
) -> Shown:
    """Return rows with their money in one currency; each by the rate of its `day`, or all by that of one day, `on`.

    Rows that agree in their texts and days then become one, unless numbers of the `key` tell them apart: amounts and
    counts are summed (null where all are null), flags are true where one of them is.
    """
    names = sorted(each for each in frame[CURRENCY].unique().to_list() if each and each != to)
    if not to or not names:
        return Shown(frame, to)
    quotes = _quotes(frame, exchange, to, day, on)
    kept = tuple(each for each in names if any(quote is None for (code, _), quote in quotes.items() if code == each))
    converted = tuple(each for each in names if each not in kept)
    if not converted:
        return Shown(frame, to, (), kept)
    known = {key: quote for key, quote in quotes.items() if key[0] in converted and quote is not None}
    whole = _summed(_exchanged(frame, known, to, columns, day), columns, key)
    days = sorted(quote.day for quote in known.values() if quote.day is not None)
    return Shown(whole, to, converted, kept, days[0], days[-1])


def _quotes(
    frame: pl.DataFrame, exchange: Exchange, to: str, day: str, on: date | None
) -> dict[tuple[str, date | None], Quote | None]:
    """Return the rate of each currency and day."""
    rows = frame.select(CURRENCY, *([day] if day else [])).unique().rows()
    keys = [(str(row[0]), row[1] if day else on) for row in rows if row[0]]
    return {(code, at): exchange.quote(code, to, at) if at is not None else None for code, at in keys}


def _exchanged(
    frame: pl.DataFrame, known: dict[tuple[str, date | None], Quote], to: str, columns: Sequence[str], day: str
) -> pl.DataFrame:
    """Return the rows, each amount converted on its own."""
    codes = frame[CURRENCY].to_list()
    # Without a day of its own a row goes by the one day that there is.
    only = next(iter(known))[1]
    days = frame[day].to_list() if day else [only] * frame.height
    found = [known.get((code, at)) for code, at in zip(codes, days, strict=True)]
    changed = []
    for name in columns:
        amounts: list[Decimal | None] = frame[name].to_list()
        changed.append(
            pl.Series(
                name,
                [
                    amount if quote is None or amount is None else quote.of(amount)
                    for amount, quote in zip(amounts, found, strict=True)
                ],
                dtype=money.MONEY,
            )
        )
    told = [to if quote is not None else code for code, quote in zip(codes, found, strict=True)]
    return frame.with_columns(*changed, pl.Series(CURRENCY, told, dtype=pl.String))


def _summed(frame: pl.DataFrame, columns: Sequence[str], key: Sequence[str]) -> pl.DataFrame:
    """Return one row for rows that agree in their texts, days and key, in the order in which they came."""
    counts = [name for name, dtype in frame.schema.items() if dtype.is_numeric() and name not in (*columns, *key)]
    flags = [name for name, dtype in frame.schema.items() if dtype == pl.Boolean]
    by = [name for name in frame.columns if name not in (*columns, *counts, *flags)]
    if not frame.select(by).is_duplicated().any():
        return frame
    sums = money.summed(frame, by=by, columns=columns)
    rest = frame.group_by(by, maintain_order=True).agg(*(total(name) for name in counts), pl.col(flags).any())
    return sums.join(rest, on=by, nulls_equal=True, maintain_order="left").select(frame.columns)
