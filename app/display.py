"""The currency in which pages show money, where one is configured: converted for the eye, and told so."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import polars as pl

from app import data
from app.context import Context
from ledger.config import Settings
from ledger.exchange import Exchange, Row
from ledger.money_sections import MoneySettings
from ledger.tables import ExchangeRate
from queries import display
from queries.display import CURRENCY, MARK, Shown

_COLUMNS = ("rate_date", "from_currency", "to_currency", "unit_price")


def exchange() -> Exchange:
    """Return all known rates: those of the configuration, and those that were imported."""
    stated = data.settings().money.exchange_rates
    return data.made("exchange", ["exchange_rate"], _exchange, scope=data.Scope(), stated=stated)


def chosen() -> tuple[str, Exchange | None]:
    """Return the display currency and the rates: what is made of converted rows is kept under them."""
    currency = data.settings().money.display_currency
    return currency, exchange() if currency else None


def _exchange() -> Exchange:
    return rates(data.rows(ExchangeRate, scope=data.Scope(), columns=_COLUMNS), data.settings())


def rates(imported: pl.DataFrame, settings: Settings) -> Exchange:
    """Return the rates of the configuration together with imported ones, rows of `exchange_rate`."""
    stated = (
        (each.day, each.from_currency, each.to_currency, each.unit_price) for each in settings.money.exchange_rates
    )
    return Exchange([*imported.select(_COLUMNS).rows(), *stated])


def known(context: Context) -> Exchange:
    """Return all known rates, read anew: for mails and files."""
    rows = context.store.read(ExchangeRate, columns=_COLUMNS).select(_COLUMNS).rows()
    return _with_stated(rows, context.settings.money)


def _with_stated(rows: Sequence[Row], stated: MoneySettings) -> Exchange:
    return Exchange(
        [*rows, *((each.day, each.from_currency, each.to_currency, each.unit_price) for each in stated.exchange_rates)]
    )


def shown(
    frame: pl.DataFrame, columns: Sequence[str], *, day: str = "", on: date | None = None, key: Sequence[str] = ()
) -> Shown:
    """Return rows in the display currency; as they are where none is configured or no rate is known.

    `key` names numbers that tell rows apart.
    """
    to = data.settings().money.display_currency
    if not to or frame.is_empty():
        return Shown(frame, to)
    rates = exchange()
    asked = {"day": day, "on": on, "key": tuple(key)}
    # What charts and tables make of the rows is kept for rows that are a cached read themselves.
    data.once(_frame, frame, rates, to, tuple(columns), **asked)
    return _shown(frame, rates, to, tuple(columns), **asked)


def _frame(frame: pl.DataFrame, /, rates: Exchange, to: str, columns: tuple[str, ...], **asked: Any) -> pl.DataFrame:
    return _shown(frame, rates, to, columns, **asked).frame


def _shown(frame: pl.DataFrame, rates: Exchange, to: str, columns: tuple[str, ...], **asked: Any) -> Shown:
    return data.once(display.in_currency, frame, rates, to, columns, **asked)


def marked(frame: pl.DataFrame, *of: Shown) -> pl.DataFrame:
    """Return rows for a table: a currency to which amounts were converted says so."""
    to = sorted({each for one in of for each in one.marked})
    return data.once(_marked, frame, to) if to else frame


def _marked(frame: pl.DataFrame, to: Sequence[str]) -> pl.DataFrame:
    code = pl.col(CURRENCY)
    told = pl.when(code.is_in(to)).then(pl.lit(f"{MARK} ") + code).otherwise(code)
    return frame.with_columns(told.alias(CURRENCY))


def last_day(window: data.Window) -> date:
    """Return the last day of a stretch of time."""
    return (window.end - timedelta(microseconds=1)).date()


def is_converted(of: Shown, currency: str) -> bool:
    """Tell whether amounts in a currency are converted, in part at least."""
    return currency in of.marked


def label(of: Shown, currency: str, title: str = "") -> str:
    """Return how a number is called, its currency alone without a title; a mark before it says that it is converted."""
    mark = f"{MARK} " if is_converted(of, currency) else ""
    return f"{mark}{title or currency}"
