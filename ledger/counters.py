"""Differences of counters: what grew, and what only looks as if it had shrunk.

A counter that falls was reset (driver reload, reboot, replaced device): what it counted in between is not
known, so the difference is null and never the new value. A narrow counter near its top wraps. What exceeds
the line is refused. The Polars twin for whole tables is `queries.counters`.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["ok", "missing", "reset", "wrap", "gap", "saturated", "absurd"]
"""ok and wrap carry a value; the others say why there is none."""

FULL_WIDTH: Final = 64
"""A 64-bit counter does not wrap within the life of the hardware."""

GAP_STEPS: Final = 3.0
"""After more than three steps without a sample the time between is unknown."""

LINE_RATE_MARGIN: Final = 1.2
"""A line may beat its nominal rate by this much (clock skew between two reads), not more."""

NEAR_TOP_RATIO: Final = 0.99
"""A wrap is believed only from within one percent of the counter's top."""

LARGEST_WRAP_RATIO: Final = 0.5
"""Without a line rate, a wrap of more than half the range cannot be told from a reset."""


@dataclass(frozen=True, slots=True)
class Delta:
    """What a counter grew by between two samples, or why that is not known."""

    value: float | None
    kind: Kind


def top_of(width: int, scale: float = 1.0) -> float:
    """Return the largest value that a counter of `width` bits can show, in the column's unit.

    `scale` is one tick in that unit: 0.001 for a counter of milliseconds in a column of seconds.
    """
    return float((1 << width) - 1) * scale


def delta(
    previous: float | None,
    current: float | None,
    *,
    width: int = FULL_WIDTH,
    scale: float = 1.0,
    elapsed_seconds: float,
    step_seconds: float | None = None,
    line_rate: float | None = None,
) -> Delta:
    """Return what a counter grew by, or why that is not known.

    `line_rate` is the most it can grow by in a second. The first reason that matches is given:
    missing, gap, saturated, reset, absurd.
    """
    if previous is None or current is None:
        return Delta(None, "missing")
    reason = _unusable(current, top_of(width, scale), width, elapsed_seconds, step_seconds)
    if reason is not None:
        return Delta(None, reason)
    most = None if line_rate is None else LINE_RATE_MARGIN * line_rate * elapsed_seconds
    if current >= previous:
        grown = current - previous
        return Delta(grown, "ok") if most is None or grown <= most else Delta(None, "absurd")
    return _fallen(previous, current, width, scale, most)


def _unusable(
    current: float, top: float, width: int, elapsed_seconds: float, step_seconds: float | None
) -> Kind | None:
    """Return why two samples cannot be compared at all, or None."""
    if elapsed_seconds <= 0:
        return "absurd"
    if step_seconds is not None and elapsed_seconds > GAP_STEPS * step_seconds:
        return "gap"
    return "saturated" if width < FULL_WIDTH and current >= top else None


def _fallen(previous: float, current: float, width: int, scale: float, most: float | None) -> Delta:
    """Return the growth of a counter that shows less than before: around its top, or a reset."""
    top = top_of(width, scale)
    if width >= FULL_WIDTH or not NEAR_TOP_RATIO * top <= previous <= top:
        return Delta(None, "reset")
    wrapped = (top - previous) + current + scale
    limit = LARGEST_WRAP_RATIO * top if most is None else most
    return Delta(wrapped, "wrap") if wrapped <= limit else Delta(None, "reset")
