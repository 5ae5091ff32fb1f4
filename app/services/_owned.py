"""Owned hardware in the ledger: its inventory becomes charges, day by day."""

from datetime import datetime

import polars as pl

from app.context import Context
from app.services._bills import keep
from collectors.billing._ownership import own_charges
from ledger.tables import Asset, Node
from ledger.tables.partition import floor


def charge(context: Context) -> int:
    """Charge owned hardware for each whole day since its node joined, and return how many charges there are.

    Days that are charged already give the same import again, which changes nothing; a changed inventory replaces
    the months it touches.
    """
    assets = context.store.read(Asset)
    if assets.is_empty():
        return 0
    now = context.now()
    found = own_charges(assets, _since(context, assets, now), floor(now, "day"), step="day", imported_at=now)
    with context.work:
        rows = sum(keep(context, imported, accept=True).rows for imported in found)
    context.changed()
    return rows


def _since(context: Context, assets: pl.DataFrame, now: datetime) -> datetime:
    """Return the day on which the first of the nodes joined; the month's start where none is known."""
    nodes = context.store.read(Node, columns=("cluster", "node", "exists_start"))
    first = nodes.join(assets.select("cluster", "node").unique(), on=["cluster", "node"], how="semi")[
        "exists_start"
    ].min()
    return floor(first if isinstance(first, datetime) else now, "day" if isinstance(first, datetime) else "month")
