"""What owners cost by unit: their runs, and what idled between them."""

from typing import Final

import polars as pl

from ledger import money

NOBODY: Final = "nobody"

_PLACE: Final = ["day", "cluster", "node"]
_AMOUNTS: Final = ["effective_cost", "held_gpu_seconds"]


def between_runs(unheld: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Return what idled between runs, on the nodes that an owner held: a row of its own for each owner.

    The time of a node that nobody held goes to those who held the node on that day, in proportion to how long; of a
    day on which nobody held it, to `nobody`. Parts sum to the whole, exactly: only the row changes, not a total.

    Shape, grain: `unheld` are answers of `unheld_days`, `held` of `held_days`; one row per owner (`name`, `team`) and
    currency, with `effective_cost` and `held_gpu_seconds`.
    """
    key = [*_PLACE, "billing_currency"]
    milliseconds = (pl.col("held_gpu_seconds") * 1000).cast(pl.Int64)
    leaves = (
        held.with_columns(milliseconds.alias("weight"))
        .select(*_PLACE, "name", "team", "weight")
        .join(unheld.select(key), on=_PLACE)
    )
    split = money.apportion(unheld, leaves, by=key, weight="weight", tie=["name", "team"], columns=_AMOUNTS)
    named = ["name", "team", "billing_currency", *_AMOUNTS]
    nobody = split.unplaced.with_columns(pl.lit(NOBODY).alias("name"), pl.lit("").alias("team"))
    every = pl.concat([split.parts.select(named), nobody.select(named)])
    return money.summed(every, by=named[:3], columns=_AMOUNTS)


def owners(runs: pl.DataFrame, idle: pl.DataFrame) -> pl.DataFrame:
    """Return the runs of each owner and what idled between them, the dearest first; `kind` tells them apart.

    Shape, grain: `runs` are answers of `unit_costs`, `idle` what `between_runs` returns.
    Nulls: what idled has no productive cost and no runs.
    """
    mine = runs.with_columns(pl.lit("runs").alias("kind"), pl.col("held_gpu_seconds").cast(money.MONEY))
    theirs = idle.with_columns(pl.lit("between runs").alias("kind"), pl.col("effective_cost").alias("idle_cost"))
    every = pl.concat([mine, theirs], how="diagonal")
    hours = (pl.col("held_gpu_seconds").cast(pl.Float64) / 3600).alias("gpu_hours")
    return every.with_columns(hours).sort(
        ["effective_cost", "name", "kind"], descending=[True, False, False], nulls_last=True
    )


def unheld_none() -> pl.DataFrame:
    """Return what idled between the runs of nobody: nothing."""
    text = dict.fromkeys(("name", "team", "billing_currency"), pl.String())
    return pl.DataFrame(schema={**text, **dict.fromkeys(_AMOUNTS, money.MONEY)})
