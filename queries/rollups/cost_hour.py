"""What each clock hour cost, by resource, before anybody is charged for it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.billed import LONGEST_DAY, complete_through, is_of_a_day, long_usage_end, usage_end
from ledger.money_sections import MoneySettings
from ledger.tables import BillImport, CostHour, FocusCharge, Node, NodeResource, Price
from ledger.tables.partition import after, floor
from queries.graph import Input, Span, rollup
from queries.rollups._estimate import billed_rates, estimates, last_owner, node_hours, not_yet_billed, without_charge
from queries.rollups._lines import CHARGE_COLUMNS, by_hour, current, lines, placed
from queries.rollups._spread import pool, presence
from queries.rollups._stays import stays

_LOOK_BACK: Final = timedelta(days=62)
"""Reaches into the two months before any month: where the last billed rate of a node is looked for."""

_LOOK_AHEAD: Final = timedelta(days=31)
"""Reaches into the month after: its bill says that this one is over."""

_EXISTENCE: Final = timedelta(days=400)
"""How far before its billing period a corrected charge is still matched with a node."""

_RATE_DAYS: Final = timedelta(days=2)


@rollup()
def cost_hour(
    charges: Annotated[
        dy.LazyFrame[FocusCharge],
        Input(by="BillingPeriodStart", before=_LOOK_BACK, after=_LOOK_AHEAD, columns=CHARGE_COLUMNS),
    ],
    imports: Annotated[
        dy.LazyFrame[BillImport], Input(by="billing_period_start", before=_LOOK_BACK, after=_LOOK_AHEAD)
    ],
    nodes: Annotated[dy.LazyFrame[Node], Input(before=_EXISTENCE)],
    resources: Annotated[dy.LazyFrame[NodeResource], Input(before=_EXISTENCE)],
    prices: dy.LazyFrame[Price],
    span: Span,
    settings: MoneySettings,
) -> dy.LazyFrame[CostHour]:
    """Spread usage over the time in which its resource existed, book the rest whole, estimate what no bill covers yet.

    Sums over a billing period are those of its current charges, exactly, in each measure. Estimates are hours of
    nodes with GPUs that are over, lie after what their provider's bills are complete through and have no charge.

    Nulls: a cost is null where no charge behind it says it; unknown is not zero.
    """
    deliveries: pl.DataFrame = imports.collect()
    known = _Known(
        current(charges.collect(), deliveries),
        deliveries.select("import_id", "imported_at").unique("import_id", keep="any"),
        stays(nodes.collect()),
        resources.collect(),
        prices.collect(),
    )
    months: list[pl.DataFrame] = []
    month = floor(span.start, "month")
    while month < span.end:
        if month >= span.start:
            months.append(_month(known, month, span.now, settings))
        month = after(month, "month")
    return CostHour.cast(pl.concat(months).lazy() if months else CostHour.create_empty().lazy())


@dataclass(frozen=True)
class _Known:
    """What was read: the charges that count, when they were delivered, and what exists."""

    bills: pl.DataFrame
    delivered: pl.DataFrame
    nodes: pl.DataFrame
    resources: pl.DataFrame
    prices: pl.DataFrame


def _month(known: _Known, month: datetime, now: datetime, settings: MoneySettings) -> pl.DataFrame:
    """Return the hours of one month's bills; what other months are read for is the same for each month alone."""
    end = after(month, "month")
    oldest = month - _EXISTENCE
    lasted = pl.col("exists_end").is_null() | (pl.col("exists_end") > oldest)
    nodes = known.nodes.filter(lasted, pl.col("exists_start") < end)
    held = pl.col("valid_end").is_null() | (pl.col("valid_end") > oldest)
    resources = known.resources.filter(held, pl.col("valid_start") < end)
    earliest = floor(floor(month - timedelta(days=1), "month") - timedelta(days=1), "month")
    period = pl.col("BillingPeriodStart")
    near = known.bills.filter(period >= earliest, period < after(end, "month"))
    present, pools = presence(nodes, resources), pool(nodes)
    parts = placed(lines(near.filter(period >= month, period < end), settings), present, pools)
    billed = by_hour(parts).with_columns(pl.lit(value=False).alias("is_estimated"))
    finished = min(end, floor(now, "hour"))
    missing = without_charge(node_hours(nodes, month, finished), parts)
    if missing.is_empty():
        return billed.select(CostHour.column_names())
    last = _last_usage(near.filter(period < end), settings, present, pools)
    rates = billed_rates(last, node_hours(nodes, earliest - timedelta(days=31), end))
    waiting = not_yet_billed(missing, last_owner(last), _complete(near, known.delivered))
    guessed = estimates(waiting, rates, known.prices)
    flags = [pl.lit(value=True).alias("is_estimated"), pl.lit(value=False).alias("has_unstated_charge")]
    estimated = guessed.with_columns(flags).sort("hour_start", "cluster", "node")
    return pl.concat([each.select(CostHour.column_names()) for each in (billed, estimated)])


def _complete(bills: pl.DataFrame, delivered: pl.DataFrame) -> pl.DataFrame:
    """Return through when each account's bills are complete: the end of the last usage on them.

    Purchases and fees say nothing about it: theirs is the end of what was bought. Usage that stands for a whole month
    does not either, unless there is no other.
    """
    provider = pl.col("ServiceProviderName").str.to_lowercase().alias("provider_key")
    ends = bills.group_by(provider, pl.col("BillingAccountId").alias("own_account"), "import_id").agg(
        usage_end().alias("end"), long_usage_end().alias("long_end")
    )
    through = complete_through("end", "long_end", pl.col("imported_at")).alias("complete_through")
    return (
        ends.join(delivered, on="import_id")
        .group_by("provider_key", "own_account")
        .agg(through.max())
        .drop_nulls("complete_through")
    )


def _last_usage(
    bills: pl.DataFrame, settings: MoneySettings, present: pl.DataFrame, pools: pl.DataFrame
) -> pl.DataFrame:
    """Return the last days of usage of each resource, in hours and on nodes; `is_long` is what is no usage of a day.

    Usage of a whole month may last longer than what else is billed of a resource: each is taken to its own end.
    """
    usage = bills.filter(pl.col("ChargeCategory") == "Usage", pl.col("ChargeClass").is_null())
    kind = ("ServiceProviderName", "BillingAccountId", "ResourceId", is_of_a_day())
    last = pl.col("ChargePeriodEnd").max().over(kind)
    told = lines(usage.filter(pl.col("ChargePeriodEnd") > last - _RATE_DAYS), settings)
    is_long = told.select("line", ((pl.col("end") - pl.col("start")) > LONGEST_DAY).alias("is_long"))
    return placed(told, present, pools).join(is_long, on="line", maintain_order="left")
