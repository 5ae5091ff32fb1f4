"""Stretches of a timeline cut at clock hours, minutes or steps."""

import numpy as np
import numpy.typing as npt
import polars as pl

from collectors.simulate.shapes import Cluster
from collectors.simulate.timeline import HOT_SOFT, Timeline

Ints = npt.NDArray[np.int64]


def pieces(line: Timeline, span: tuple[int, int], width: int) -> tuple[Ints, Ints, Ints]:
    """Return the stretches of a span cut at multiples of `width`: stretch, start and end of each piece."""
    lower, upper = span
    inside = np.flatnonzero((line.start < upper) & (line.end > lower))
    start, end = np.maximum(line.start[inside], lower), np.minimum(line.end[inside], upper)
    first = start // width
    count = -(-end // width) - first
    index = np.repeat(np.arange(len(inside), dtype=np.int64), count)
    offset = np.arange(len(index), dtype=np.int64) - np.repeat(np.cumsum(count) - count, count)
    cell = (first[index] + offset) * width
    return inside[index], np.maximum(cell, start[index]), np.minimum(cell + width, end[index])


def hot_milliseconds(line: Timeline, index: Ints, length: Ints) -> Ints:
    """Return how much of each piece the clock was slowed for heat, in milliseconds."""
    return np.asarray(line.is_hot[index] * line.is_seen[index] * length * HOT_SOFT, dtype=np.int64)


def submitted(plan: Cluster, job: Ints) -> pl.Series:
    """Return the submit time of each job; null for nobody's."""
    values = pl.Series([*(each.submitted * 1_000_000 for each in plan.jobs), None], dtype=pl.Int64)
    return values.cast(pl.Datetime("us", "UTC")).gather(pl.Series(np.where(job < 0, len(plan.jobs), job)))


def restarts(plan: Cluster, job: Ints) -> pl.Series:
    """Return the restart count of each job; null for nobody's."""
    values = pl.Series([*(each.restart_count for each in plan.jobs), None], dtype=pl.Int64)
    return values.gather(pl.Series(np.where(job < 0, len(plan.jobs), job)))
