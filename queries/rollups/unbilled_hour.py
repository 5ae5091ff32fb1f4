"""Device time that no bill covers and no estimate prices: a list beside the totals."""

from datetime import datetime, timedelta
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import to_gpu_seconds
from ledger.tables import CostHour, GpuHour, Node, Price, UnbilledHour
from ledger.tables.partition import floor
from queries.graph import Input, Span, rollup
from queries.rollups._estimate import at_list_price, node_hours, rates_by_hour, scaled
from queries.rollups._stays import stays

_BEFORE: Final = timedelta(days=62)
_AFTER: Final = timedelta(days=31)
"""How far from an hour a billed rate of its type is looked for: as far as the estimates of `cost_hour` look."""

_HOUR: Final = timedelta(hours=1)

_PLACE: Final = ("hour_start", "cluster", "node")
_TYPE: Final = ("provider_key", "region", "instance_type")
_COST_COLUMNS: Final = (
    *_PLACE,
    "charge_category",
    "charge_class",
    "commitment_status",
    "billing_currency",
    "is_estimated",
    "effective_cost",
)
_GPU_COLUMNS: Final = (*_PLACE, "existed_seconds", "unknown_seconds", "gpu_fraction")
_RATE: Final = ("effective_cost", "billing_currency", "base")


@rollup()
def unbilled_hour(
    gpu_hours: Annotated[dy.LazyFrame[GpuHour], Input(columns=_GPU_COLUMNS)],
    costs: Annotated[
        dy.LazyFrame[CostHour], Input(by="hour_start", before=_BEFORE, after=_AFTER, columns=_COST_COLUMNS)
    ],
    nodes: Annotated[dy.LazyFrame[Node], Input(before=_BEFORE, after=_AFTER)],
    prices: dy.LazyFrame[Price],
    span: Span,
) -> dy.LazyFrame[UnbilledHour]:
    """List the device time of nodes that no charge of usage and no estimate covers, with what it should cost.

    `cost_hour` estimates only what bills may still bring. What a bill left out that is complete past the hour is
    `left_out`, at the nearest earlier billed rate of its type, else the nearest later one, else the list price;
    what nothing prices is `no_price`. Neither is in any total. The present hour is not over, and not listed.

    Nulls: `expected_cost` where no price is known.
    """
    time = gpu_hours.filter(pl.col("hour_start") < floor(span.now, "hour")).collect()
    booked = costs.collect()
    covered = booked.filter(pl.col("charge_category") == "Usage", pl.col("charge_class") == "")
    missing = time.join(covered, on=_PLACE, how="anti")
    if missing.is_empty():
        return UnbilledHour.create_empty(lazy=True)
    known = stays(nodes.collect())
    wanted = _wanted(missing).join(_existing(known, missing, span), on=_PLACE, how="left")
    billed = booked.filter(~pl.col("is_estimated"), pl.col("node") != "")
    rated = _rated(wanted, rates_by_hour(billed, _existing(known, billed, span)))
    # No node of its type was billed: none says in which currency it would be.
    unbilled = rated.filter(pl.col("base").is_null()).drop(_RATE)
    unrated = unbilled.with_columns(pl.lit(None, dtype=pl.String).alias("own_currency"))
    listed = at_list_price(unrated, prices.collect()).select(*_PLACE, *_RATE)
    rows = rated.join(listed, on=_PLACE, how="left", suffix="_listed").with_columns(
        pl.coalesce(each, f"{each}_listed").alias(each) for each in _RATE
    )
    reason = pl.when(pl.col("base").is_null()).then(pl.lit("no_price")).otherwise(pl.lit("left_out"))
    return UnbilledHour.cast(
        rows.with_columns(
            reason.alias("reason"),
            scaled("effective_cost").alias("expected_cost"),
            *(pl.when(pl.col(name) != "").then(name).alias(name) for name in ("provider", "instance_type")),
        )
        .select(UnbilledHour.column_names())
        .sort(_PLACE)
        .lazy()
    )


def _existing(known: pl.DataFrame, rows: pl.DataFrame, span: Span) -> pl.DataFrame:
    """Return the clock hours of the nodes that rows tell of, from the first of these hours to the last."""
    hours = rows.get_column("hour_start")
    edges = [each for each in (hours.min(), hours.max()) if isinstance(each, datetime)] or [span.start]
    mine = known.join(
        rows.select("cluster", "node").unique(), on=["cluster", "node"], how="semi", maintain_order="left"
    )
    return node_hours(mine, edges[0], edges[-1] + _HOUR)


def _wanted(missing: pl.DataFrame) -> pl.DataFrame:
    """Return the device time of each node-hour without a cost."""
    seen = (pl.col("existed_seconds") - pl.col("unknown_seconds")).alias("seen")
    return (
        missing.with_columns(seen)
        .group_by(_PLACE)
        .agg(
            to_gpu_seconds("existed_seconds", "gpu_fraction").sum().alias("gpu_existed_seconds"),
            to_gpu_seconds("seen", "gpu_fraction").sum().alias("gpu_known_seconds"),
        )
    )


def _rated(wanted: pl.DataFrame, rates: pl.DataFrame) -> pl.DataFrame:
    """Add the nearest billed rate of each node's type: an earlier one before a later one."""
    found = wanted.sort("hour_start")
    for direction in ("backward", "forward"):
        near = rates.select(*_TYPE, "hour_start", *(pl.col(each).alias(f"{each}_{direction}") for each in _RATE))
        found = found.join_asof(
            near,
            on="hour_start",
            by=list(_TYPE),
            strategy="backward" if direction == "backward" else "forward",
            tolerance=_BEFORE if direction == "backward" else _AFTER,
            check_sortedness=False,
        )
    return found.with_columns(pl.coalesce(f"{each}_backward", f"{each}_forward").alias(each) for each in _RATE)
