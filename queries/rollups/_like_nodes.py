"""What a node's network should have: what its own row says, else what most of the nodes like it have.

Like are the nodes of one cluster, one instance type and one number of GPUs.
"""

from typing import Final

import polars as pl

PLACE: Final = ("hour_start", "cluster", "node")
_KIND: Final = ("hour_start", "cluster", "instance_type", "gpu_count")

_FEWEST_PEERS: Final = 3


def described(hours: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """Return each node-hour once, with what its newest row of that time says the node is and should have."""
    facts = ("instance_type", "gpu_count", "expected_port_count", "expected_line_rate_bytes_per_second")
    places = hours.select(PLACE).unique()
    end = pl.col("hour_start").dt.offset_by("1h")
    there = (pl.col("exists_start") < end) & (
        pl.col("exists_end").is_null() | (pl.col("exists_end") > pl.col("hour_start"))
    )
    told = places.join(nodes, on=["cluster", "node"]).filter(there).sort("exists_start")
    # Several sources tell of a node, and not each of all.
    latest = told.group_by(PLACE).agg(pl.col(name).drop_nulls().last() for name in facts)
    return places.join(latest, on=PLACE, how="left")


def usual_count(ports: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """Return how many ports most nodes like each one have up: its key, `usual_count`."""
    up = ports.group_by(PLACE).agg((pl.col("up_ms") > 0).sum().cast(pl.Int64).alias("value"))
    return _usual(up.join(nodes.select(*_KIND, "node"), on=PLACE), (), "usual_count")


def usual_rates(ports: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """Return at which rate each port of most nodes like each one runs: kind, device, port, `usual_rate`."""
    rates = ports.with_columns(pl.col("highest").alias("value")).join(nodes.select(*_KIND, "node"), on=PLACE)
    # Where most of them are down nothing is usual.
    return _usual(rates, ("device", "port"), "usual_rate").drop_nulls("usual_rate")


def _usual(rows: pl.DataFrame, of: tuple[str, ...], name: str) -> pl.DataFrame:
    """Return the value that more than half of at least three like nodes have; no row where there is none."""
    values = rows.group_by(*_KIND, *of, "value").agg(pl.len().alias("with"))
    most = values.with_columns(pl.col("with").sum().over(*_KIND, *of).alias("all")).filter(
        pl.col("all") >= _FEWEST_PEERS, pl.col("with") * 2 > pl.col("all")
    )
    return most.select(*_KIND, *of, pl.col("value").alias(name))


def with_usual(rows: pl.DataFrame, usual: pl.DataFrame) -> pl.DataFrame:
    """Return rows, which tell a node's kind, with what is usual there."""
    on = [name for name in usual.columns if not name.startswith("usual_")]
    return rows.join(usual, on=on, how="left", nulls_equal=True)
