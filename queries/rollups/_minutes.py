"""Stretches of time cut into clock minutes, with each minute's part of what was counted in them."""

import polars as pl

from ledger.names import STATES, State
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


def interval_minutes(intervals: pl.DataFrame) -> pl.DataFrame:
    """Return one row per device and existing minute, with the nine states in milliseconds.

    Takes device, start, end, state, is_observed, job_id, restart_count, submitted_at, holder_count, evidence_quality,
    in order. Holder and quality are those of the longest part of the minute, the earlier of two equals; quality counts
    observed parts only. Also: key, minute, existed, observed.
    """
    length = (pl.col("end") - pl.col("start")).alias("length")
    parts = by_minute(intervals.with_columns(length), "start", "length").drop("length", "start", "end")
    parts = parts.with_columns(packed("minute").alias("key")).sort("key", "part_start")
    parts = parts.with_columns(
        pl.when("is_observed").then("part").otherwise(0).alias("observed"),
        pl.col("part").alias("existed"),
        *state_milliseconds(),
    )
    key = pl.col("key")
    alone = key.ne_missing(key.shift(1)) & key.ne_missing(key.shift(-1))
    holder = ("job_id", "restart_count", "submitted_at")
    sums = ("existed", "observed", *STATE_COLUMNS)
    several = parts.filter(~alone)
    groups = several.group_by("key", maintain_order=True).agg(
        pl.col("device", "minute").first(), pl.col(sums).sum(), pl.col("holder_count").max()
    )
    groups = groups.join(_longest(several, holder), on="key").join(
        _longest(several.filter("is_observed"), ("evidence_quality",)), on="key", how="left"
    )
    names = ("key", "device", "minute", *sums, "holder_count", *holder, "evidence_quality")
    return parts.filter(alone).select(names).merge_sorted(groups.select(names).sort("key"), "key")


def _longest(parts: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """Return the values that hold for the longest part of each minute."""
    sums = parts.group_by("key", *names, maintain_order=True).agg(pl.col("part").sum(), pl.col("part_start").min())
    ordered = sums.sort("key", "part", "part_start", descending=[False, True, False])
    return ordered.unique("key", keep="first", maintain_order=True).select("key", *names)
