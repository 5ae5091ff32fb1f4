"""The currency in which pages show money, where one is configured: converted for the eye, and told so."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl

from app import data
from app.context import Context
from ledger.config import Settings
from ledger.exchange import Exchange, Row
from ledger.money_sections import MoneySettings
from ledger.tables import ExchangeRate
from queries import display
from queries.display import MARK, Shown

_COLUMNS = ("rate_date", "from_currency", "to_currency", "unit_price")


def exchange() -> Exchange:
    """Return all known rates: those of the configuration, and those that were imported."""
    stated = data.settings().money.exchange_rates
    return data.made("exchange", ["exchange_rate"], _exchange, scope=data.Scope(), stated=stated)


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


def shown(frame: pl.DataFrame, columns: Sequence[str], *, day: str = "", on: date | None = None) -> Shown:
    """Return rows in the display currency; as they are where none is configured or no rate is known."""
    to = data.settings().money.display_currency
    if not to or frame.is_empty():
        return Shown(frame, to)
    rates = exchange()
    # What charts and tables make of the rows is kept for rows that are a cached read themselves.
    data.once(_frame, frame, rates, to, tuple(columns), day=day, on=on)
    return _shown(frame, rates, to, tuple(columns), day, on)


def _frame(
    frame: pl.DataFrame, rates: Exchange, to: str, columns: tuple[str, ...], *, day: str, on: date | None
) -> pl.DataFrame:
    return _shown(frame, rates, to, columns, day, on).frame


def _shown(frame: pl.DataFrame, rates: Exchange, to: str, columns: tuple[str, ...], day: str, on: date | None) -> Shown:
    return data.once(display.in_currency, frame, rates, to, columns, day=day, on=on)


def last_day(window: data.Window) -> date:
    """Return the last day of a stretch of time."""
    return (window.end - timedelta(microseconds=1)).date()


def is_converted(of: Shown, currency: str) -> bool:
    """Tell whether amounts in a currency are converted, in part at least."""
    return bool(of.converted) and currency == of.currency


def label(of: Shown, currency: str, title: str = "") -> str:
    """Return how a number is called, its currency alone without a title; a mark before it says that it is converted."""
    mark = f"{MARK} " if is_converted(of, currency) else ""
    return f"{mark}{title or currency}"
