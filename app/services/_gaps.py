"""Stretches of which a source answered only a part: noted, and made good piece by piece by a later pull.

Whoever asks again from where a stretch begins, and is answered whole, closes it as far as the answers reach. An answer
without a single sample closes nothing: a source that has forgotten those days answers whole as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import dataframely as dy
import polars as pl

from ledger.tables.partition import declared

_SAMPLES: Final = frozenset({"sample", "slow_sample", "event"})
_UTC: Final = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Stretch:
    """A piece of time that a source was asked for; `since` is None where nobody knows from when it answers."""

    since: datetime | None
    until: datetime


def _missing_since() -> pl.Expr:
    """Return from where on something of a gap is missing; null where nobody knows."""
    return pl.coalesce("whole_until", "gap_start")


def touched(gaps: pl.DataFrame, asked: Stretch) -> pl.DataFrame:
    """Return the gaps of which something is missing in a piece of time."""
    is_open = _missing_since().ne_missing(pl.col("gap_end"))
    begins_before = _missing_since().is_null() | (_missing_since() < asked.until)
    since = pl.lit(asked.since, dtype=_UTC)
    ends_after = since.is_null() | (pl.col("gap_end") > since)
    return gaps.filter(is_open & begins_before & ends_after)


def narrowed(gaps: pl.DataFrame, asked: Stretch) -> pl.DataFrame:
    """Return the gaps that a whole answer of a piece of time closes, or makes shorter from where they begin."""
    begun = touched(gaps, asked).filter(_missing_since() >= pl.lit(asked.since, dtype=_UTC))
    return begun.with_columns(whole_until=pl.min_horizontal("gap_end", pl.lit(asked.until, dtype=_UTC)))


def asked_again(gaps: pl.DataFrame, asked: Stretch) -> pl.DataFrame:
    """Return the gap that a piece of time lies in, which was answered in part once more; no row where there is none."""
    is_around = (pl.col("gap_start") <= pl.lit(asked.since, dtype=_UTC)) & (pl.col("gap_end") >= asked.until)
    return gaps.filter(is_around).head(1).with_columns(pl.col("asked_count") + 1)


def has_samples(frames: Mapping[type[dy.Schema], pl.DataFrame]) -> bool:
    """Tell whether a source told anything that was measured."""
    return any(declared(schema).group in _SAMPLES and not frame.is_empty() for schema, frame in frames.items())
