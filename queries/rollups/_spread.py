"""When and where a charge counts: over the time in which its resource was a node, evenly, or whole.

A *line* is a charge, or several that agree in all that is kept of them; a *leaf* is one clock hour of a line
on one node, with its weight in microseconds.
"""

from datetime import UTC, datetime
from typing import Final

import polars as pl

OPEN_END: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Stands for the end of what still exists: later than any charge."""

LEAF: Final = ("line", "cluster", "node", "hour_start", "weight", "spread_method")

METHODS: Final = ("even", "existence", "exact_hour", "whole")
"""How a charge is spread over hours, the least certain first."""


def presence(nodes: pl.DataFrame, resources: pl.DataFrame) -> pl.DataFrame:
    """Return the stretches in which a resource of a bill was a node.

    Shape, grain: one row per link and stay of its node, half-open; `is_known` is false where the inventory
    does not know the node, so that only the link's own validity stands.
    """
    stays = nodes.select("cluster", "node", "exists_start", pl.col("exists_end").fill_null(OPEN_END))
    links = resources.select(
        pl.col("provider").str.to_lowercase(),
        pl.col("resource_id").str.to_lowercase(),
        "cluster",
        "node",
        "valid_start",
        pl.col("valid_end").fill_null(OPEN_END),
    ).unique(maintain_order=True)
    known = pl.col("exists_start").is_not_null()
    return (
        links.join(stays, on=["cluster", "node"], how="left", maintain_order="left")
        .select(
            "provider",
            "resource_id",
            "cluster",
            "node",
            pl.max_horizontal("valid_start", "exists_start").alias("since"),
            pl.min_horizontal("valid_end", "exists_end").alias("until"),
            known.alias("is_known"),
        )
        .filter(pl.col("until") > pl.col("since"))
        .unique()
        .sort("provider", "resource_id", "cluster", "node", "since", "until")
    )


def pool(nodes: pl.DataFrame) -> pl.DataFrame:
    """Return the stays of nodes by what a bill without resource ids names them by: region and instance type."""
    return (
        nodes.filter(pl.col("provider").is_not_null() & pl.col("instance_type").is_not_null())
        .select(
            pl.col("provider").str.to_lowercase(),
            pl.col("region").alias("node_region"),
            pl.col("instance_type").str.to_lowercase().alias("instance_type"),
            "cluster",
            "node",
            pl.col("exists_start").alias("since"),
            pl.col("exists_end").fill_null(OPEN_END).alias("until"),
            pl.lit(value=True).alias("is_known"),
        )
        .sort("provider", "instance_type", "cluster", "node", "since")
    )


def spread(lines: pl.DataFrame, present: pl.DataFrame, pools: pl.DataFrame) -> pl.DataFrame:
    """Return the leaves of usage: the seconds of its nodes inside its charge period, else the period evenly.

    Nodes that have a resource of their own on the bill take no part of a pool.
    """
    slim = lines.select("line", "start", "end", "provider", "resource_id", "region", "instance_type").with_columns(
        pl.col("provider").str.to_lowercase()
    )
    linked = _inside(slim.join(present, on=["provider", "resource_id"], how="inner"))
    own = linked.select("cluster", "node").unique()
    unnamed = slim.filter(pl.col("resource_id") == "", pl.col("instance_type").is_not_null())
    shared = unnamed.join(pools.join(own, on=["cluster", "node"], how="anti"), on=["provider", "instance_type"])
    somewhere = pl.col("region").is_null() | pl.col("node_region").is_null()
    same_region = somewhere | (pl.col("region") == pl.col("node_region"))
    pooled = _inside(shared.filter(same_region))
    placed = pl.concat([linked, pooled])
    rest = slim.join(placed.select("line").unique(), on="line", how="anti").select(
        "line",
        pl.lit("").alias("cluster"),
        pl.lit("").alias("node"),
        pl.col("start").alias("since"),
        pl.col("end").alias("until"),
        pl.lit(value=False).alias("is_known"),
    )
    leaves = hours(pl.concat([placed, rest]))
    one_hour = lines.select("line", within_an_hour().alias("is_one_hour"))
    method = (
        pl.when("is_one_hour")
        .then(pl.lit("exact_hour"))
        .when("is_known")
        .then(pl.lit("existence"))
        .otherwise(pl.lit("even"))
    )
    return (
        leaves.group_by("line", "cluster", "node", "hour_start")
        .agg(pl.col("weight").sum(), pl.col("is_known").all())
        .join(one_hour, on="line")
        .with_columns(method.alias("spread_method"))
        .select(LEAF)
    )


def book(lines: pl.DataFrame, present: pl.DataFrame) -> pl.DataFrame:
    """Return the one leaf of each line: the hour of its start, or of the billing period's if that lies outside."""
    outside = (pl.col("start") < pl.col("billing_period_start")) | (pl.col("start") >= pl.col("period_end"))
    at = pl.when(outside).then("billing_period_start").otherwise("start").dt.truncate("1h")
    booked = lines.with_columns(at.alias("hour_start"), pl.col("provider").str.to_lowercase())
    node = (
        booked.with_columns(pl.col("hour_start").alias("start"), pl.col("hour_start").dt.offset_by("1h").alias("end"))
        .select("line", "provider", "resource_id", "start", "end")
        .join(present, on=["provider", "resource_id"])
        .pipe(_inside)
        .with_columns((pl.col("until") - pl.col("since")).alias("length"))
        .sort("line", "length", "cluster", "node", descending=[False, True, False, False])
        .unique("line", keep="first", maintain_order=True)
        .select("line", "cluster", "node")
    )
    return booked.join(node, on="line", how="left").select(
        "line",
        pl.col("cluster").fill_null(""),
        pl.col("node").fill_null(""),
        "hour_start",
        pl.lit(1, dtype=pl.Int64).alias("weight"),
        pl.lit("whole").alias("spread_method"),
    )


def hours(stretches: pl.DataFrame) -> pl.DataFrame:
    """Cut stretches `since`-`until` at clock hours; `weight` is the length of each piece in microseconds."""
    hour = pl.col("hour_start")
    cut = stretches.with_columns(
        pl.datetime_ranges(pl.col("since").dt.truncate("1h"), "until", "1h", closed="left").alias("hour_start")
    ).explode("hour_start")
    length = pl.min_horizontal("until", hour.dt.offset_by("1h")) - pl.max_horizontal("since", hour)
    return cut.with_columns(length.dt.total_microseconds().alias("weight")).drop("since", "until")


def within_an_hour() -> pl.Expr:
    """Tell whether a charge period lies within one clock hour."""
    return pl.col("end") <= pl.col("start").dt.truncate("1h").dt.offset_by("1h")


def _inside(candidates: pl.DataFrame) -> pl.DataFrame:
    """Keep what of a node's stretch lies inside the charge period."""
    return (
        candidates.with_columns(pl.max_horizontal("since", "start"), pl.min_horizontal("until", "end"))
        .filter(pl.col("until") > pl.col("since"))
        .select("line", "cluster", "node", "since", "until", "is_known")
    )
