"""The numbers that bottlenecks are judged by, and how far one lies beyond a threshold."""

from typing import Final

import polars as pl

from ledger.expressions import per
from queries.rollups._pressure import RESOURCES

_NEVER: Final = -1.0


def above(column: str, threshold: float) -> pl.Expr:
    """Return how far a ratio lies above a threshold."""
    return ((pl.col(column) - threshold) / (1 - threshold)).fill_null(_NEVER)


def below(column: str, threshold: float) -> pl.Expr:
    """Return how far a ratio lies below a threshold."""
    return ((threshold - pl.col(column)) / threshold).fill_null(_NEVER)


def every(*scores: pl.Expr) -> pl.Expr:
    """Return the weakest of the conditions that must all hold."""
    return pl.min_horizontal(*scores)


def either(*scores: pl.Expr) -> pl.Expr:
    """Return the strongest of the conditions of which one must hold."""
    return pl.max_horizontal(*scores)


def where(condition: pl.Expr, score: pl.Expr) -> pl.Expr:
    """Return a score where a condition holds, and no match elsewhere."""
    return pl.when(condition.fill_null(value=False)).then(score).otherwise(_NEVER)


PROFILED = pl.col("evidence_quality") == "A"
_DUTY_CYCLE = pl.col("evidence_quality").is_in(["B", "C"])

_ACTIVE: Final = {
    "graphics_active_ratio": PROFILED & pl.col("graphics_active_ratio").is_not_null(),
    "sm_active_ratio": PROFILED & pl.col("graphics_active_ratio").is_null(),
    "kernel_active_ratio": _DUTY_CYCLE,
    "power_ratio": pl.col("evidence_quality") == "D",
}
"""Which number says how active a device was, by quality."""

_LARGER: Final = {
    # The kernel does not count waiting for every network file system.
    "read_wait_ratio": ("node_cpu_iowait_ratio", "node_file_system_wait_ratio"),
    "link_active_ratio": ("node_network_active_ratio", "nvlink_active_ratio"),
}
"""Numbers of which the larger one is shown, whose name stands with it."""

_PRESSURES: Final = {f"{resource}_pressure_ratio": resource for resource in RESOURCES}


def measured(rows: pl.DataFrame) -> pl.DataFrame:
    """Add the ratios that the scores read and minutes do not carry, and how active the device was.

    What a job's own cgroup waited for, where it was watched, stands for what its node did: no other job is part of it.
    Every column is copied for millions of rows, so what nobody measured is not added.
    """
    # Above its limit for a moment, a board uses all of it. What was not measured stays null: it is not all of it.
    ratios = rows.with_columns(
        per("power_watts", "power_limit_watts").clip(upper_bound=1.0).alias("power_ratio"),
        per("power_capped_seconds", "observed_seconds").clip(upper_bound=1.0).alias("power_capped_ratio"),
        per("observed_ms", "held_ms").fill_null(0.0).alias("coverage_ratio"),
    )
    active = pl.coalesce(pl.when(condition).then(name) for name, condition in _ACTIVE.items()).alias("active_ratio")
    if _of_jobs(rows):
        named = ratios.with_columns(pl.coalesce(f"job_{name}", f"node_{name}").alias(name) for name in _PRESSURES)
        return named.drop(f"node_{name}" for name in _PRESSURES).with_columns(active)
    return ratios.rename({f"node_{name}": name for name in _PRESSURES}).with_columns(active)


def _of_jobs(rows: pl.DataFrame) -> bool:
    """Tell whether the rows carry what cgroups of jobs waited for."""
    return all(f"job_{name}" in rows.columns for name in _PRESSURES)


def value_of(number: str) -> pl.Expr:
    """Return a number that stands as evidence."""
    return pl.max_horizontal(_LARGER[number]) if number in _LARGER else pl.col(number)


def name_of(number: str, rows: pl.DataFrame) -> pl.Expr:
    """Return the name of a number: of one that is chosen among several, which it was."""
    if number == "active_ratio":
        return pl.coalesce(pl.when(condition).then(pl.lit(name)) for name, condition in _ACTIVE.items())
    if number in _LARGER:
        usual, other = _LARGER[number]
        is_other = (pl.col(other) > pl.col(usual).fill_null(_NEVER)).fill_null(value=False)
        return pl.when(is_other).then(pl.lit(other)).otherwise(pl.lit(usual))
    if number in _PRESSURES and _of_jobs(rows):
        is_own = pl.col(f"job_{number}").is_not_null()
        return pl.when(is_own).then(pl.lit(f"job_{number}")).otherwise(pl.lit(f"node_{number}"))
    return pl.lit(f"node_{number}" if number in _PRESSURES else number)


def own(resource: str, threshold: float, rows: pl.DataFrame) -> pl.Expr:
    """Return whether the job's own cgroup bears its class out, whoever else is on the node."""
    if not _of_jobs(rows):
        return pl.lit(value=False)
    return above(f"job_{resource}_pressure_ratio", threshold) >= 0
