"""Who bears the cost of idle time: a view of allocations that moves it between names, and changes no total."""

from typing import Final

import polars as pl

from ledger import money
from ledger.names import HELD_IDLE_STATES
from queries import measure

RULES: Final = ("holder", "cluster", "proportional", "even")
"""Idle time stays with who held it, goes to the cluster, or what nobody held is spread over who held anything."""

IDLE: Final = "idle"
"""The name of what nobody held: its bucket."""

_DAY: Final = ("day", "billing_currency")
_NAMED: Final = (*_DAY, "name")
_OF_CLUSTER: Final = ("unallocated", "unused_commitment")
_HELD: Final = ("used", *HELD_IDLE_STATES)
_PRECISE: Final = 10**18


def parts_of(spent: pl.DataFrame, *, cluster: str, team: str, by: str, measure: str, estate: str) -> pl.DataFrame:
    """Return what the question `cost_parts` answers, from costs by day."""
    kept = spent.filter(
        pl.lit(value=not cluster) | (pl.col("cluster") == cluster),
        pl.lit(value=not team) | (pl.col("team") == team),
        pl.lit(value=estate == "all") | pl.col("in_scope"),
    )
    name, bucket, state = pl.col("model" if by == "model" else "team"), pl.col("bucket"), pl.col("state")
    part = (
        pl.when((bucket == "allocated") & state.is_in(HELD_IDLE_STATES))
        .then(state)
        .when(bucket == "allocated")
        .then(pl.lit("used"))
        .when((bucket == "idle") & (pl.col("commitment_status") == "Unused"))
        .then(pl.lit("unused_commitment"))
        .when(bucket == "idle")
        .then(pl.lit("unallocated"))
        .otherwise(pl.lit("apart"))
    )
    key = [*_DAY, "cluster", "name", "part"]
    named = kept.with_columns(
        name=pl.when(name == "").then(bucket).otherwise(name),
        part=part,
        cost=pl.col("billed_cost" if measure == "billed" else "effective_cost"),
    ).sort(key)
    sums = money.summed(named, by=key, columns=["cost"])
    estimates = named.group_by(key, maintain_order=True).agg(has_estimate=pl.col("is_estimated").any())
    return sums.with_columns(estimates["has_estimate"])


def borne(parts: pl.DataFrame, rule: str) -> pl.DataFrame:
    """Return the cost by day and name with what it bears of idle time: `own`, `borne`, and their sum, `cost`.

    `parts` answer `cost_parts`. Under `cluster`, what holders left idle goes from them to `idle`. Under `proportional`
    and `even`, what nobody held goes to who held anything in its cluster that day, by what they held in money, or
    evenly; unused commitments, which are no cluster's, to all. `idle` keeps its row: what it cost, less what others
    bear of it. Where nobody held anything it bears itself.

    Conserves: over each day and currency the costs sum to what they are without the rule, exactly.
    Nulls: `cost` is null where no part of it is known.
    """
    moves = _to_cluster(parts) if rule == "cluster" else _spread(parts, is_even=rule == "even")
    if rule == "holder":
        moves = moves.clear()
    rows = pl.concat(
        [
            parts.select(*_NAMED, pl.col("cost").alias("own"), pl.lit(None, dtype=money.MONEY).alias("borne")),
            moves.select(*_NAMED, pl.lit(None, dtype=money.MONEY).alias("own"), pl.col("cost").alias("borne")),
        ]
    ).with_columns(cost=pl.coalesce("own", "borne"))
    sums = money.summed(rows.sort(_NAMED), by=_NAMED, columns=["own", "borne", "cost"])
    estimates = parts.group_by(_NAMED).agg(pl.col("has_estimate").any())
    return (
        sums.join(estimates, on=_NAMED, how="left")
        .with_columns(pl.col("has_estimate").fill_null(value=False))
        .sort("day", "cost", "name", descending=[False, True, False], nulls_last=True)
    )


def by_name(days: pl.DataFrame, amount: measure.Amount) -> pl.DataFrame:
    """Return what `borne` returns, of one currency, by name: with each name's share of the whole."""
    moved = money.summed(days.sort("name"), by=["name"], columns=["own", "borne"])
    return measure.shares(days, ["name"], amount).join(moved, on="name", how="left", maintain_order="left")


def _to_cluster(parts: pl.DataFrame) -> pl.DataFrame:
    """Return what holders left idle, taken from them and given to `idle`."""
    held = parts.filter(pl.col("part").is_in(HELD_IDLE_STATES), pl.col("cost").is_not_null())
    return pl.concat([_taken(held), held.with_columns(name=pl.lit(IDLE)).select(*_NAMED, "cost")])


def _spread(parts: pl.DataFrame, *, is_even: bool) -> pl.DataFrame:
    """Return what nobody held, taken from `idle` and given to who held anything."""
    idle = parts.filter(pl.col("part").is_in(_OF_CLUSTER), pl.col("cost").is_not_null()).with_row_index("pool")
    held = parts.filter(pl.col("part").is_in(_HELD), pl.col("name") != IDLE)
    near = idle.select("pool", *_DAY, "cluster").join(held, on=[*_DAY, "cluster"])
    anywhere = idle.filter(pl.col("cluster") == "").select("pool", *_DAY).join(held, on=list(_DAY))
    both = pl.concat(
        [each.select("pool", *_NAMED, "cost") for each in (near.filter(pl.col("cluster") != ""), anywhere)]
    )
    # Costs of a name in several parts are one weight; what is not known, or a credit, weighs nothing.
    sums = money.summed(both.sort("pool", "name"), by=["pool", *_NAMED], columns=["cost"])
    units = pl.max_horizontal(money.to_units("cost").fill_null(0), pl.lit(0, dtype=pl.Int128))
    step = pl.max_horizontal(units.sum().over("pool") // pl.lit(_PRECISE, dtype=pl.Int128), pl.lit(1, dtype=pl.Int128))
    weight = pl.lit(1, dtype=pl.Int64) if is_even else (units // step).cast(pl.Int64)
    leaves = sums.select("pool", *_NAMED, weight.alias("weight"))
    split = money.apportion(
        idle.select("pool", "cost"), leaves, by=["pool"], weight="weight", tie=["name"], columns=["cost"]
    )
    given = split.parts
    return pl.concat([given.select(*_NAMED, "cost"), _taken(given.with_columns(name=pl.lit(IDLE)))])


def _taken(rows: pl.DataFrame) -> pl.DataFrame:
    """Return amounts with the other sign."""
    less = money.from_units(pl.lit(0, dtype=pl.Int128) - money.to_units("cost"))
    return rows.select(*_NAMED, less.alias("cost"))
