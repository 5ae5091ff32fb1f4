"""Minutes summed into hours: means weighted by observed time, energy added up."""

import polars as pl

from ledger.expressions import total
from queries.rollups._activity import MEANS

ACTIVITY_COLUMNS = (*MEANS, "memory_used_bytes", "energy_joules")
"""What of a minute's activity is kept in an hour."""


def activity(weight: str, energy: pl.Expr) -> list[pl.Expr]:
    """Return the activity of some minutes: means by `weight` where they are known, highest memory, energy."""
    known = {name: pl.when(pl.col(name).is_not_null()).then(pl.col(weight)).sum() for name in MEANS}
    means = [
        pl.when(known[name] > 0).then((pl.col(name) * pl.col(weight)).sum() / known[name]).alias(name) for name in MEANS
    ]
    return [*means, pl.col("memory_used_bytes").max(), total(energy).alias("energy_joules")]


def best_known_quality(rows: pl.DataFrame, by: tuple[str, ...], part: str) -> pl.DataFrame:
    """Return the evidence quality of most of the observed time, the worse of two equals.

    Where nothing was observed there is no row.
    """
    sums = rows.filter("is_observed").group_by(*by, "evidence_quality").agg(pl.col(part).sum())
    ordered = sums.sort(*by, part, "evidence_quality", descending=[*(False for _ in by), True, True])
    return ordered.unique(by, keep="first", maintain_order=True).select(*by, "evidence_quality")
