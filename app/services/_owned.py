"""Owned hardware in the ledger: its inventory becomes charges, day by day."""

from datetime import datetime
from typing import Final

import polars as pl

from app.context import Context
from app.services._bills import keep
from collectors.billing._ownership import own_charges
from ledger.tables import Asset, Node, NodeEnergyHour
from ledger.tables.partition import floor
from queries import sql

_PLACE: Final = ("hour_start", "cluster", "node")

# A controller that is asked once a minute sees a little less of an hour than counters that are read every ten seconds.
_ENOUGH: Final = 0.9


def charge(context: Context) -> int:
    """Charge owned hardware for each whole day since its node joined, and return how many charges there are.

    Days that are charged already give the same import again, which changes nothing; a changed inventory replaces
    the months it touches.
    """
    assets = context.store.read(Asset)
    if assets.is_empty():
        return 0
    now = context.now()
    since, until = _since(context, assets, now), floor(now, "day")
    energy = _energy(context, assets, since, until)
    found = own_charges(assets, since, until, step="day", energy=energy, imported_at=now)
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


def _energy(context: Context, assets: pl.DataFrame, since: datetime, until: datetime) -> pl.DataFrame | None:
    """Return the measured energy of the nodes of assets, hour by hour; None where nothing measures it.

    A meter of the whole node counts, unless it saw much less of the hour than the GPUs' own counters did.
    """
    servers = assets.select("cluster", "node").unique()
    metered = (
        context.store.read(NodeEnergyHour, (since, until))
        .join(servers, on=["cluster", "node"], how="semi")
        .select(
            *_PLACE,
            pl.col("energy_joules").alias("meter_joules"),
            pl.col("measured_seconds").cast(pl.Float64).alias("meter_seconds"),
        )
    )
    counted = _of_devices(context, assets, since, until)
    both = counted.join(metered, on=_PLACE, how="full", coalesce=True)
    if both.is_empty():
        return None
    seen, by_meter = pl.col("measured_seconds"), pl.col("meter_seconds")
    is_metered = by_meter.is_not_null() & (by_meter >= _ENOUGH * seen.fill_null(0))
    return both.select(
        "cluster",
        "node",
        pl.col("hour_start").alias("at"),
        pl.when(is_metered).then("meter_joules").otherwise("joules").alias("joules"),
        pl.when(is_metered).then(by_meter).otherwise(seen).alias("measured_seconds"),
    )


def _of_devices(context: Context, assets: pl.DataFrame, since: datetime, until: datetime) -> pl.DataFrame:
    """Return the energy of nodes whose power without GPUs is stated: hour_start, cluster, node, joules, seconds.

    GPUs count their own energy, the rest of a server does not: without its power the rated power of all of it holds.
    """
    stated = assets.group_by("cluster", "node").agg(
        pl.col("host_power_watts").sum().alias("host_watts"), pl.col("host_power_watts").null_count().alias("unknown")
    )
    seen = context.store.select(sql.load("node_energy").text, start=since, end=until)
    return seen.join(stated.filter(pl.col("unknown") == 0), on=["cluster", "node"]).select(
        *_PLACE,
        (pl.col("energy_joules") + pl.col("host_watts") * pl.col("measured_seconds")).alias("joules"),
        "measured_seconds",
    )
