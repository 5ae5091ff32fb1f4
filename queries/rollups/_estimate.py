"""What hours of nodes will cost that no bill covers yet: the last billed rate, else the list price."""

from datetime import datetime
from typing import Final

import polars as pl

from ledger import money
from queries.rollups._lines import CHARGE, COSTS
from queries.rollups._spread import OPEN_END, hours

_TYPE: Final = ("provider_key", "region", "instance_type")
_OWNER: Final = ("provider", "invoice_issuer", "billing_account_id", "billing_currency")
_RATE_HOURS: Final = "24h"
_HOUR_MICROSECONDS: Final = 3_600_000_000


def node_hours(nodes: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """Return the clock hours in [start, end) in which nodes with GPUs existed, with the time in microseconds."""
    stays = (
        nodes.filter(pl.col("gpu_count") > 0)
        .select(
            "cluster",
            "node",
            pl.col("provider").fill_null(""),
            pl.col("provider").fill_null("").str.to_lowercase().alias("provider_key"),
            pl.col("region").fill_null(""),
            pl.col("instance_type").fill_null(""),
            pl.col("provider_instance_id").fill_null("").str.to_lowercase().alias("resource_id"),
            pl.max_horizontal("exists_start", pl.lit(start)).alias("since"),
            pl.min_horizontal(pl.col("exists_end").fill_null(OPEN_END), pl.lit(end)).alias("until"),
        )
        .filter(pl.col("until") > pl.col("since"))
    )
    return (
        hours(stays)
        .group_by("cluster", "node", "hour_start", maintain_order=True)
        .agg(pl.col("weight").sum(), pl.exclude("weight").last())
    )


def without_charge(existing: pl.DataFrame, parts: pl.DataFrame) -> pl.DataFrame:
    """Keep the hours of nodes in which no usage is charged for a resource of theirs; a correction is no charge."""
    billed = parts.filter(pl.col("charge_category") == "Usage", pl.col("charge_class") == "", pl.col("node") != "")
    return existing.join(billed, on=["cluster", "node", "hour_start"], how="anti")


def not_yet_billed(missing: pl.DataFrame, owners: pl.DataFrame, complete: pl.DataFrame) -> pl.DataFrame:
    """Keep the hours that lie after what the bills of a node's account are complete through, with that account.

    What a bill left out until then is unbilled, not estimated. A node that was never billed goes by the account
    of its provider that is furthest.
    """
    furthest = complete.group_by("provider_key").agg(pl.col("complete_through").max().alias("furthest"))
    through = pl.coalesce("complete_through", "furthest")
    return (
        missing.join(owners, on=["cluster", "node"], how="left")
        .join(complete, on=["provider_key", "own_account"], how="left")
        .join(furthest, on="provider_key", how="left")
        .filter(through.is_null() | (pl.col("hour_start").dt.offset_by("1h") > through))
        .drop("complete_through", "furthest")
    )


def billed_rates(parts: pl.DataFrame, existing: pl.DataFrame) -> pl.DataFrame:
    """Return what nodes of one account and instance type cost together in the last 24 hours that were billed.

    Usage that is charged for longer than a day, `is_long`, counts where a type has no other.

    Shape, grain: one row per type and account, with the node time behind it, `base`, in microseconds.
    """
    usage = parts.filter(
        pl.col("charge_category") == "Usage", pl.col("charge_class") == "", pl.col("commitment_status") != "Unused"
    )
    group = [*_TYPE, *_OWNER]
    timed = usage.join(
        existing.select("cluster", "node", "hour_start", *_TYPE, pl.col("weight").alias("base")),
        on=["cluster", "node", "hour_start"],
    )
    last = pl.col("hour_start").max().over(group)
    timed = timed.filter(pl.col("is_long") == pl.col("is_long").all().over(group))
    recent = timed.with_columns(last.alias("last_hour")).filter(
        pl.col("hour_start") > pl.col("last_hour").dt.offset_by(f"-{_RATE_HOURS}")
    )
    group.append("last_hour")
    base = recent.unique(["cluster", "node", "hour_start", *group]).group_by(group).agg(pl.col("base").sum())
    return money.summed(recent.sort(group), by=group, columns=COSTS).join(base, on=group)


def rates_by_hour(costs: pl.DataFrame, existing: pl.DataFrame) -> pl.DataFrame:
    """Return what nodes of one type cost together in each hour that is billed, in the currency of most node time.

    Shape, grain: one row per type and hour, in order of `hour_start`, with the node time behind it, `base`.
    """
    timed = costs.filter(
        pl.col("charge_category") == "Usage", pl.col("charge_class") == "", pl.col("commitment_status") != "Unused"
    ).join(
        existing.select("cluster", "node", "hour_start", *_TYPE, pl.col("weight").alias("base")),
        on=["cluster", "node", "hour_start"],
    )
    group = [*_TYPE, "hour_start", "billing_currency"]
    base = timed.unique(["cluster", "node", *group]).group_by(group).agg(pl.col("base").sum())
    sums = money.summed(timed.sort(group), by=group, columns=["effective_cost"]).join(base, on=group)
    sums = sums.filter(pl.col("effective_cost").is_not_null())
    most = sums.sort("base", "billing_currency", descending=[True, False])
    return most.unique([*_TYPE, "hour_start"], keep="first", maintain_order=True).sort("hour_start", *_TYPE)


def last_owner(parts: pl.DataFrame) -> pl.DataFrame:
    """Return the account that each node was last billed on, and in which currency."""
    usage = parts.filter(pl.col("charge_category") == "Usage", pl.col("node") != "")
    return (
        usage.sort("hour_start", "billing_account_id", descending=[True, False])
        .unique(["cluster", "node"], keep="first", maintain_order=True)
        .select(
            "cluster",
            "node",
            pl.col("billing_account_id").alias("own_account"),
            pl.col("billing_currency").alias("own_currency"),
        )
    )


def list_rates(prices: pl.DataFrame) -> pl.DataFrame:
    """Return hourly on-demand list prices in the shape of `billed_rates`, with the instant they hold from."""
    hourly = pl.col("pricing_unit").is_null() | pl.col("pricing_unit").str.to_lowercase().str.starts_with("hour")
    price = pl.col("unit_price")
    return prices.filter(hourly, pl.col("price_category") == "on_demand").select(
        pl.col("provider").str.to_lowercase().alias("provider_key"),
        "region",
        "instance_type",
        "billing_currency",
        pl.col("valid_start").alias("listed_at"),
        price.alias("billed_cost"),
        price.alias("effective_cost"),
        price.alias("list_cost"),
        pl.lit(None, dtype=money.MONEY).alias("contracted_cost"),
        pl.lit(_HOUR_MICROSECONDS, dtype=pl.Int64).alias("base"),
    )


def estimates(missing: pl.DataFrame, rates: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Return the estimated cost of the hours that no bill covers, in the shape of the hours that are billed.

    A node takes the rate of its own account, else that of the account last billed for its type, else the list
    price that held at the hour: in the currency that it is billed in before another, of its region before one for all
    regions. Without any of these there is no row. An amount stands under the currency of its own rate, and the
    description says which rate that is.
    """
    wanted = missing.sort("cluster", "node", "hour_start").with_row_index("wanted")
    own = (pl.col("billing_account_id") == pl.col("own_account")).fill_null(value=False)
    near = (pl.col("billing_currency") == pl.col("own_currency")).fill_null(value=False)
    rated = (
        wanted.rename({"provider": "node_provider"})
        .join(rates, on=_TYPE)
        .with_columns(own.alias("is_own"), near.alias("is_near"))
        .sort(
            ["wanted", "is_own", "is_near", "last_hour", *_OWNER],
            descending=[False, True, True, True, *[False] * len(_OWNER)],
        )
        .unique("wanted", keep="first", maintain_order=True)
        .with_columns(_said("the rate last billed").alias("charge_description"))
    )
    unrated = wanted.join(rated.select("wanted"), on="wanted", how="anti")
    listed = at_list_price(unrated, prices).with_columns(
        pl.col("provider").alias("invoice_issuer"),
        pl.lit("").alias("billing_account_id"),
        _said("the list price").alias("charge_description"),
    )
    columns = [
        *("cluster", "node", "hour_start", "resource_id", "weight", "base", "charge_description"),
        *(*_OWNER, *COSTS),
    ]
    return _as_hours(pl.concat([rated.select(columns), listed.select(columns)]))


def _said(rate: str) -> pl.Expr:
    """Say which rate an estimate is made at, and that it is in another currency than the node is billed in."""
    is_other = (pl.col("billing_currency") != pl.col("own_currency")).fill_null(value=False)
    other = pl.format(", as none in {} is known", "own_currency")
    return pl.concat_str(
        pl.format(f"Estimated at {rate} in {{}}", "billing_currency"),
        pl.when(is_other).then(other).otherwise(pl.lit("")),
        pl.lit(": no bill covers this hour yet"),
    )


def at_list_price(hours: pl.DataFrame, prices: pl.DataFrame) -> pl.DataFrame:
    """Return the hours of nodes that a list prices, with the price that held: of the region before one for all.

    A price in `own_currency` goes before one in another.
    """
    row = ["cluster", "node", "hour_start"]
    is_own = (pl.col("billing_currency") == pl.col("own_currency")).fill_null(value=False)
    return (
        hours.join(list_rates(prices), on=["provider_key", "instance_type"], suffix="_listed")
        .filter(_same_region())
        .filter(pl.col("listed_at") <= pl.col("hour_start"))
        .with_columns(is_own.alias("is_own"))
        .sort(
            [*row, "is_own", "region_listed", "listed_at", "billing_currency"],
            descending=[*[False] * 3, True, True, True, False],
        )
        .unique(row, keep="first", maintain_order=True)
    )


def _same_region() -> pl.Expr:
    return (pl.col("region_listed") == "") | (pl.col("region_listed") == pl.col("region"))


def _as_hours(priced: pl.DataFrame) -> pl.DataFrame:
    """Scale rates to the time that each node existed and add the rest of the key."""
    return priced.with_columns(
        *(scaled(each).alias(each) for each in COSTS),
        *(pl.lit(None, dtype=money.MONEY).alias(f"shared_{each}") for each in COSTS[:2]),
        pl.lit("").alias("invoice_id"),
        pl.col("hour_start").dt.truncate("1mo").alias("billing_period_start"),
        pl.lit("Usage").alias("charge_category"),
        pl.lit("").alias("charge_class"),
        pl.lit("").alias("commitment_status"),
        pl.lit("usage").alias("cost_kind"),
        pl.lit("").alias("named_model"),
        pl.lit("").alias("owner_team"),
        pl.lit(value=True).alias("in_scope"),
        pl.lit("existence").alias("spread_method"),
        pl.lit(None, dtype=pl.String).alias("service_name"),
    ).select(
        "hour_start",
        *CHARGE,
        "cluster",
        "node",
        *COSTS,
        "shared_billed_cost",
        "shared_effective_cost",
        "spread_method",
        "service_name",
        "charge_description",
    )


def scaled(column: str) -> pl.Expr:
    """Return `column * weight / base` on whole units, the fraction of a unit left out."""
    units = money.to_units(column)
    weight, base = pl.col("weight").cast(pl.Int128), pl.col("base").cast(pl.Int128)
    size = units.abs()
    part = (size // base) * weight + (size % base) * weight // base
    return money.from_units(pl.when(units < 0).then(pl.lit(0, dtype=pl.Int128) - part).otherwise(part))
