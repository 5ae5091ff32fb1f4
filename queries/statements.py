"""What closed statements said, and by how much that differs from what is known by now."""

from collections.abc import Mapping
from datetime import date
from typing import Final

import dataframely as dy
import polars as pl

from ledger import money
from ledger.tables import StatementLine

COSTS: Final = ("billed_cost", "effective_cost", "productive_cost", "idle_cost")

_AMOUNTS: Final = (*COSTS, "held_gpu_seconds")
_OF_A_CHARGE: Final = ("provider", "service_name", "charge_category")
_KEY: Final = ("for_month", "billing_currency", "line", *_OF_A_CHARGE)
_NOTHING: Final = pl.lit(0, dtype=pl.Int128)
_COLUMNS: Final = (*_KEY, *_AMOUNTS, "allocated_method_id", "has_estimate")


def adjustments(known: pl.DataFrame, stated: pl.DataFrame) -> pl.DataFrame:
    """Return by how much what is known of closed months differs from all that statements have said of them.

    What was stated and these rows sum to what is known, exactly, in each amount. What is no longer known is taken
    back; what was unknown and is known now is added.

    Shape, grain: `known` are answers of `statement_charges` over the closed months, `stated` rows of their section
    `charges` in `statement_line`; the answer is as the first, without rows of which nothing differs.
    Nulls: an amount is null where it neither is known nor was stated.
    """
    said = stated.select(
        "for_month",
        "billing_currency",
        pl.col("name").alias("line"),
        *_OF_A_CHARGE,
        *(money.from_units(_NOTHING - money.to_units(each)).alias(each) for each in _AMOUNTS),
        pl.lit(None, dtype=pl.String).alias("allocated_method_id"),
        pl.lit(value=False).alias("has_estimate"),
    )
    every = pl.concat([as_stated(known), said]).sort(_KEY)
    sums = money.summed(every, by=_KEY, columns=_AMOUNTS)
    rest = every.group_by(_KEY).agg(pl.col("allocated_method_id").drop_nulls().first(), pl.col("has_estimate").any())
    differs = pl.any_horizontal(pl.col(each).fill_null(0) != 0 for each in _AMOUNTS)
    return sums.join(rest, on=_KEY, maintain_order="left").filter(differs).select(_COLUMNS)


def as_stated(charges: pl.DataFrame) -> pl.DataFrame:
    """Return answers of `statement_charges` with the columns, and the types, that statements are kept in."""
    return charges.select(_COLUMNS).with_columns(pl.col(each).cast(money.MONEY) for each in _AMOUNTS)


def lines(team: str, month: date, sections: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Return the rows of `statement_line` for a statement that is closed."""
    columns = StatementLine.create_empty().schema
    parts = []
    for section, rows in sections.items():
        named = rows.rename({"line": "name"}) if "line" in rows.columns else rows
        known = named.with_columns(
            pl.lit(team).alias("team"),
            pl.lit(month).alias("month"),
            pl.lit(section).alias("section"),
            *([] if "for_month" in named.columns else [pl.lit(month).alias("for_month")]),
            *(pl.lit("").alias(each) for each in _OF_A_CHARGE if each not in named.columns),
        )
        missing = [
            pl.lit(None, dtype=dtype).alias(name) for name, dtype in columns.items() if name not in known.columns
        ]
        parts.append(known.with_columns(missing).select(pl.col(name).cast(dtype) for name, dtype in columns.items()))
    return pl.concat(parts)


def sections(stored: dy.DataFrame[StatementLine] | pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Return what a closed statement said by section, under the names of the questions that it was asked from."""
    found = {
        name: stored.filter(pl.col("section") == name).drop("month", "section")
        for name in ("charges", "models", "users", "runs", "team")
    }
    return {**found, "charges": as_stated(found["charges"].rename({"name": "line"}))}
