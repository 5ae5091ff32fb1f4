"""Pressure stall information by minute: of a node, or of the cgroups of its jobs."""

from collections.abc import Sequence
from typing import Final

import polars as pl

from ledger.expressions import per
from queries.rollups._minutes import counted

COLUMNS: Final = (
    "sampled_at",
    "cluster",
    "node",
    "boot_id",
    "step_seconds",
    "resource",
    "job_id",
    "some_seconds_total",
    "some_ratio",
)
"""What is read of `pressure_sample`."""

RESOURCES: Final = ("cpu", "io", "memory")
"""What tasks wait for, as far as it is evidence."""


def pressure_minutes(rows: pl.LazyFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return the share of time in which some task waited for a resource: by `by` and `minute`, a column for each.

    Where the counter says nothing, it is the kernel's own mean over ten seconds.
    """
    told = rows.filter(pl.col("resource").is_in(list(RESOURCES)))
    parts = counted(told, ("some_seconds_total",), (*by, "resource"))
    waited = pl.coalesce(pl.col("some_seconds_delta") * 1000 / pl.col("elapsed_ms"), "some_ratio").clip(upper_bound=1)
    known = parts.with_columns(waited.alias("waited")).filter(pl.col("waited").is_not_null())
    means = known.group_by(*by, "minute", "resource").agg(
        per((pl.col("waited") * pl.col("part")).sum(), pl.col("part").sum())
    )
    return means.group_by(*by, "minute").agg(
        pl.col("waited").filter(pl.col("resource") == resource).first().alias(resource) for resource in RESOURCES
    )
