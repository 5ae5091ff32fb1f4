"""What the page on commitments reads, in the display currency where one is configured: each day by its own rate."""

from collections.abc import Callable
from typing import Final

import polars as pl

from app import controls, data, display
from app.data import Window
from ledger.tables import Asset
from queries import converted
from queries.display import Shown

_COMMITMENT: Final = ("provider", "billing_account_id", "commitment_id")
_ASSET: Final = ("asset_id", "node", "gpu_count", "life_start", "life_end")
_PRICE: Final = ("asset_id", "life_start", "billing_currency", "purchase_cost")


def terms() -> pl.DataFrame:
    """Return commitments, each once, with their terms."""
    return controls.answer("commitments")


def held(window: Window) -> tuple[pl.DataFrame, Shown, Shown]:
    """Return commitments with what they cost, once for each currency, the most wasted first; and what was converted.

    A price that was paid before any known rate stays as billed, as a row of its own.
    """

    def make() -> pl.DataFrame:
        found = converted.with_costs(terms(), _COMMITMENT, _spent(window).frame, _paid().frame)
        return found.sort("unused_cost", "term_end", "commitment_id", descending=[True, False, False], nulls_last=True)

    return _made("commitments", ["commitment_day"], window, make), _spent(window), _paid()


def _spent(window: Window) -> Shown:
    return display.shown(controls.answer("commitment_costs", window), converted.COMMITMENT_COSTS, day="day")


def _paid() -> Shown:
    return display.shown(controls.answer("commitment_purchases"), ("purchased_cost",), day="day")


def coverable(window: Window) -> Shown:
    """Return the usage that a commitment could cover, by day."""
    return display.shown(controls.answer("coverable", window), converted.COVERABLE_COSTS, day="day")


def missed(window: Window) -> Shown:
    """Return what was wasted beside usage on demand, by day."""
    return display.shown(controls.answer("missed_cover", window), ("missed_cost",), day="day")


def days(window: Window) -> Shown:
    """Return what commitments and usage without one cost, by day."""
    return display.shown(controls.answer("commitment_days", window), ("cost",), day="day")


def owned(window: Window) -> tuple[pl.DataFrame, Shown, Shown]:
    """Return owned hardware with its cost and its price, as `held` does; a price goes by the first day of service."""

    def make() -> pl.DataFrame:
        assets = _assets().select(_ASSET)
        found = converted.with_costs(assets, ["asset_id"], _owned_spent(window).frame, _owned_paid().frame)
        return found.sort("unheld_cost", "asset_id", descending=[True, False], nulls_last=True)

    return _made("owned hardware", ["asset", "allocation_hour"], window, make), _owned_spent(window), _owned_paid()


def _assets() -> pl.DataFrame:
    return data.rows(Asset, scope=controls.scope(), columns=tuple(dict.fromkeys((*_ASSET, *_PRICE))))


def _owned_spent(window: Window) -> Shown:
    return display.shown(controls.answer("owned_hardware", window), converted.OWNED_COSTS, day="day")


def _owned_paid() -> Shown:
    return display.shown(data.once(_prices, _assets()), ("purchase_cost",), day="life_start")


def _prices(assets: pl.DataFrame) -> pl.DataFrame:
    return assets.select(_PRICE)


def _made(name: str, tables: list[str], window: Window, make: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    return data.made(name, tables, make, scope=controls.scope(), window=window, currency=display.chosen())
