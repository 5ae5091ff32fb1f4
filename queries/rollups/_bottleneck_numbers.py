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


def _more(column: str, other: str) -> pl.Expr:
    """Return whether a ratio is known and above another, which may be unknown."""
    return (pl.col(column) > pl.col(other).fill_null(_NEVER)).fill_null(value=False)


PROFILED = pl.col("evidence_quality") == "A"
_DUTY_CYCLE = pl.col("evidence_quality").is_in(["B", "C"])

_CHOSEN: Final[dict[str, dict[str, pl.Expr]]] = {
    "active_ratio": {
        "graphics_active_ratio": PROFILED & pl.col("graphics_active_ratio").is_not_null(),
        "sm_active_ratio": PROFILED & pl.col("graphics_active_ratio").is_null(),
        "kernel_active_ratio": _DUTY_CYCLE,
        "power_ratio": pl.col("evidence_quality") == "D",
    },
    # Of the job's own cgroup where one was watched: another job on the node is not in it.
    **{
        f"{resource}_pressure_ratio": {
            f"job_{resource}_pressure_ratio": pl.col(f"job_{resource}_pressure_ratio").is_not_null(),
            f"node_{resource}_pressure_ratio": pl.lit(value=True),
        }
        for resource in RESOURCES
    },
    # The kernel does not count waiting for every network file system.
    "read_wait_ratio": {
        "node_file_system_wait_ratio": _more("node_file_system_wait_ratio", "node_cpu_iowait_ratio"),
        "node_cpu_iowait_ratio": pl.lit(value=True),
    },
    "link_active_ratio": {
        "nvlink_active_ratio": _more("nvlink_active_ratio", "node_network_active_ratio"),
        "node_network_active_ratio": pl.lit(value=True),
    },
}
"""Numbers of which there are several, by what is known: the first whose condition holds is meant."""


def measures() -> list[pl.Expr]:
    """Return the ratios that the scores read and minutes do not carry."""
    # Above its limit for a moment, a board uses all of it. What was not measured stays null: it is not all of it.
    return [
        per("power_watts", "power_limit_watts").clip(upper_bound=1.0).alias("power_ratio"),
        per("power_capped_seconds", "observed_seconds").clip(upper_bound=1.0).alias("power_capped_ratio"),
        per("nvlink_bytes_per_second", "link_bytes_per_second").clip(upper_bound=1.0).alias("nvlink_active_ratio"),
        per("observed_ms", "held_ms").fill_null(0.0).alias("coverage_ratio"),
    ]


def chosen() -> list[pl.Expr]:
    """Return the numbers of which there are several, such as how active a device was by its quality of evidence."""
    return [
        pl.coalesce(pl.when(condition).then(name) for name, condition in choices.items()).alias(number)
        for number, choices in _CHOSEN.items()
    ]


def name_of(number: str) -> pl.Expr:
    """Return the name of a number: of one that is chosen among several, which it was."""
    if number not in _CHOSEN:
        return pl.lit(number)
    return pl.coalesce(pl.when(condition).then(pl.lit(name)) for name, condition in _CHOSEN[number].items())
