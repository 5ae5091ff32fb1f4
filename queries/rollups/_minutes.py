"""Stretches of time cut into clock minutes, with each minute's part of what was counted in them."""

from collections.abc import Sequence
from datetime import timedelta

import polars as pl

from ledger.names import STATES, State
from queries.counters import deltas
from queries.rollups._steps import LONGEST_STEP
from queries.rollups._timeline import MINUTE, packed


def by_minute(rows: pl.DataFrame, start: str, length: str) -> pl.DataFrame:
    """Return the rows once for each minute that they touch, with `minute`, `part_start` and `part` in milliseconds.

    Most rows lie in one minute, and all keep their place: what reaches into later minutes is added behind them.
    """
    begin, end = pl.col(start), pl.col(start) + pl.col(length)
    last = pl.min_horizontal(end, (pl.col("minute") + 1) * MINUTE)
    first = rows.with_columns((begin // MINUTE).alias("minute"), begin.alias("part_start")).with_columns(
        (last - begin).alias("part")
    )
    later = (
        first.filter(pl.col("part") < pl.col(length))
        .with_columns(pl.int_ranges(pl.col("minute") + 1, (end - 1) // MINUTE + 1).alias("minute"))
        .explode("minute", empty_as_null=False)
        .with_columns((pl.col("minute") * MINUTE).alias("part_start"))
        .with_columns((last - pl.col("part_start")).alias("part"))
    )
    return pl.concat([first, later])


def counted(rows: pl.LazyFrame, counters: Sequence[str], by: Sequence[str]) -> pl.DataFrame:
    """Return what counters grew by, with each minute's part of the time since the sample before.

    A step that is longer than what is read of the neighbouring hours counts in none: it would in an hour that is
    computed together with its neighbour, and would not in one that is computed alone.
    """
    is_step = pl.col("elapsed_ms").is_between(1, LONGEST_STEP // timedelta(milliseconds=1))
    grown = deltas(rows, counters, by=by).filter(is_step & ~pl.col("is_gap").fill_null(value=True))
    begin = pl.col("sampled_at").dt.timestamp("ms") - pl.col("elapsed_ms")
    return by_minute(grown.with_columns(begin.alias("begin")).collect(), "begin", "elapsed_ms")


def existing(intervals: pl.DataFrame) -> pl.DataFrame:
    """Return from when to when devices existed, in order: device, start, end. Intervals lie end to end meanwhile."""
    rows = intervals.select("device", "start", "end").sort("device", "start")
    follows = (pl.col("start") == pl.col("end").shift(1)) & (pl.col("device") == pl.col("device").shift(1))
    begins = rows.select(~follows.fill_null(value=False)).to_series()
    ends = rows.get_column("end").filter(begins.shift(-1, fill_value=True))
    return rows.filter(begins).with_columns(ends)


def in_existence(minutes: pl.DataFrame, stretches: pl.DataFrame) -> pl.DataFrame:
    """Return the minutes that a device existed for at least a part of; `time` is when a minute begins."""
    begun = stretches.select(packed("start").alias("_last"), packed("end").alias("_until"))
    found = minutes.with_columns(packed(pl.col("time") + MINUTE - 1).alias("_last")).join_asof(
        begun, on="_last", check_sortedness=False
    )
    # Keys of two devices lie further apart than any stretch.
    return found.filter(pl.col("_until") > packed("time")).drop("_last", "_until")


def share(counted: str, length: str) -> pl.Expr:
    """Return a part's share of what was counted over its whole stretch."""
    return pl.col(counted) * pl.col("part") / pl.col(length)


def whole_share(counted: str, start: str, length: str) -> pl.Expr:
    """Return a part's share of whole milliseconds, so that the parts sum to them exactly."""
    before = pl.col("part_start") - pl.col(start)
    after = before + pl.col("part")
    return pl.col(counted) * after // pl.col(length) - pl.col(counted) * before // pl.col(length)


def state_milliseconds(part: str = "part", state: str = "state") -> list[pl.Expr]:
    """Return nine expressions: the part where the state is this one, else 0, as `<state>_seconds`, in milliseconds."""
    return [pl.when(pl.col(state) == each).then(part).otherwise(0).alias(column(each)) for each in STATES]


def column(state: State) -> str:
    """Return the name of a state's column."""
    return f"{state}_seconds"


STATE_COLUMNS = tuple(column(state) for state in STATES)
