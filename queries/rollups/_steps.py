"""Steps: the time from one sample of a device to the next, and what its counters grew by meanwhile.

A step is at most three times the collector's pace and never longer than `LONGEST_STEP`; what is longer is a gap,
all of it. A step is judged by the sample at its start: gauges say what was so when it began, and counters need
the sample at its end as well. Nothing is assumed about the time after a last sample.
"""

from datetime import timedelta
from typing import Final

import polars as pl

from ledger.counters import LINE_RATE_MARGIN

GAP_STEPS: Final = 3

LONGEST_STEP: Final = timedelta(minutes=5)
"""So much of the neighbouring hours is read for the steps at the edges: paces of up to 100 seconds fit."""

LOOKBACK: Final = LONGEST_STEP + timedelta(minutes=10)
"""So much is read before a stretch of time: a stray process must have been seen for its grace, at most nine minutes,
before the first hour begins. Rollups of samples that read the same rows share the reading."""

_LONGEST: Final = LONGEST_STEP // timedelta(milliseconds=1)

_ASSUMED_PACE: Final = 10.0
"""The pace of a collector that does not say it: the agent's default."""


def steps(samples: pl.DataFrame) -> pl.DataFrame:
    """Return samples that are located, in order of `key`, with `step` in milliseconds.

    Nulls: `step` is null where the next sample of the device is missing or too far away.
    """
    apart = pl.col("key").shift(-1) - pl.col("key")
    most = (pl.col("step_seconds").fill_null(_ASSUMED_PACE) * (GAP_STEPS * 1000)).clip(upper_bound=_LONGEST)
    # Keys of two devices lie further apart than any step, so that no text or number of a device is compared.
    return samples.with_columns(pl.when(apart <= most).then(apart).alias("step"))


def grown(column: str, most_per_second: float | None = None) -> pl.Expr:
    """Return what a counter grew by during the step.

    `most_per_second` is more than any device can do: what a driver counts beyond it, it has not counted.
    Nulls: after a reset, over a gap, where an end is missing, and beyond what is possible.
    """
    change = pl.col(column).shift(-1) - pl.col(column)
    is_known = pl.col("step").is_not_null() & (change >= 0)
    if most_per_second is not None:
        is_known &= change <= pl.col("step") * (LINE_RATE_MARGIN * most_per_second / 1000)
    return pl.when(is_known).then(change)


def grown_milliseconds(column: str) -> pl.Expr:
    """Return what a counter of seconds grew by, in whole milliseconds.

    The counter is rounded, not the difference: over many steps nothing is lost.
    """
    counted = whole_milliseconds(column)
    change = counted.shift(-1) - counted
    return pl.when(pl.col("step").is_not_null() & (change >= 0)).then(change)


def whole_milliseconds(column: str) -> pl.Expr:
    """Return a counter of seconds in whole milliseconds, rounded down."""
    return (pl.col(column) * 1000).floor().cast(pl.Int64)
