"""Which prices usage without cost is given: rate cards of the configuration, then what was imported."""

from collections.abc import Callable

import polars as pl

from app.context import Context
from collectors.billing._rates import stated
from ledger.tables import Price


def prices(context: Context) -> Callable[[], pl.DataFrame]:
    """Return what reads the known prices, as late as they are needed: few bills need any."""
    return lambda: pl.concat([stated(context.settings.money.rate_cards), context.store.read(Price)])
