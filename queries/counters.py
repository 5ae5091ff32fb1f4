"""Differences of counters for whole tables: the rules of `ledger.counters`, as Polars expressions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from ledger.counters import (
    FULL_WIDTH,
    GAP_STEPS,
    LARGEST_WRAP_RATIO,
    LINE_RATE_MARGIN,
    NEAR_TOP_RATIO,
    top_of,
)
from ledger.expressions import divided

_SAME = "__same_source"


@dataclass(frozen=True)
class Limit:
    """What is known about one counter: width in bits, one tick in the column's unit, the column of its line rate."""

    width: int = FULL_WIDTH
    scale: float = 1.0
    line_rate: str = ""


def delta_name(column: str) -> str:
    """Return the name of a counter's difference: `energy_joules_total` gives `energy_joules_delta`."""
    return f"{column.removesuffix('_total')}_delta"


def deltas(
    frame: pl.LazyFrame,
    columns: Sequence[str],
    *,
    by: Sequence[str],
    at: str = "sampled_at",
    step: str = "step_seconds",
    limits: Mapping[str, Limit] | None = None,
    keep_gaps: bool = False,
) -> pl.LazyFrame:
    """Add to each sample what its counters grew by since the sample before of the same device.

    Shape, grain: the rows of `frame`, sorted by `by` and `at`, with `<counter>_delta` for each of `columns`,
    `elapsed_seconds`, `elapsed_ms` (whole milliseconds) and `is_gap` (more than three steps since the sample before).
    Nulls: the first sample of a device has none of these; a difference is null after a reset, another `boot_id`,
    a saturated or absurd value, and over a gap: what happened in it cannot be put into a minute.
    With `keep_gaps` the difference over a gap stays, for sums that ask only how much.
    """
    keys = list(by)
    known = limits or {}
    before = pl.col(at).shift(1)
    same_device = pl.all_horizontal([pl.col(name).eq_missing(pl.col(name).shift(1)) for name in keys])
    elapsed = pl.when(same_device.fill_null(value=False)).then(pl.col(at) - before)
    timed = (
        frame.sort([*keys, at])
        .with_columns(
            elapsed.dt.total_milliseconds().alias("elapsed_ms"),
            divided(elapsed.dt.total_microseconds(), 1_000_000).alias("elapsed_seconds"),
        )
        .with_columns((pl.col("elapsed_seconds") > GAP_STEPS * pl.col(step)).alias("is_gap"))
    )
    same_source = pl.col("elapsed_seconds").is_not_null() & (pl.col("elapsed_seconds") > 0)
    if "boot_id" in frame.collect_schema().names():
        same_source &= pl.col("boot_id").eq_missing(pl.col("boot_id").shift(1))
    if not keep_gaps:
        same_source &= ~pl.col("is_gap").fill_null(value=False)
    return (
        timed.with_columns(same_source.alias(_SAME))
        .with_columns(_grown(name, known.get(name, Limit())).alias(delta_name(name)) for name in columns)
        .drop(_SAME)
    )


def _grown(column: str, limit: Limit) -> pl.Expr:
    """Return one counter's growth since the row before, null where it is not known."""
    current = pl.col(column)
    previous = current.shift(1)
    grown = current - previous
    trusted = pl.col(_SAME)
    plausible = pl.lit(value=True)
    if limit.line_rate:
        most = LINE_RATE_MARGIN * pl.col(limit.line_rate) * pl.col("elapsed_seconds")
        plausible = (grown <= most).fill_null(value=True)
    rising = pl.when(trusted & (current >= previous) & plausible).then(grown)
    if limit.width >= FULL_WIDTH:
        return rising
    top = top_of(limit.width, limit.scale)
    wrapped = (top - previous) + current + limit.scale
    ceiling: pl.Expr = pl.lit(LARGEST_WRAP_RATIO * top)
    if limit.line_rate:
        rate = LINE_RATE_MARGIN * pl.col(limit.line_rate) * pl.col("elapsed_seconds")
        ceiling = pl.coalesce(rate, ceiling)
    wraps = trusted & (current < previous) & previous.is_between(NEAR_TOP_RATIO * top, top) & (wrapped <= ceiling)
    return pl.when(current < top).then(pl.coalesce(rising, pl.when(wraps).then(wrapped)))
