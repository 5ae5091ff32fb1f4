"""What each node drew in each hour, by a meter of all of it: a management controller, or the machine's own."""

from datetime import timedelta
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import to_seconds
from ledger.tables import NodeEnergyHour, PowerSample
from queries.counters import delta_name, deltas
from queries.graph import Input, Span, rollup

_AROUND: Final = timedelta(minutes=15)
"""How far away the neighbour of an hour's first or last sample may lie: three steps of a slow controller."""

_HOUR: Final = 3_600_000
_COUNTER: Final = "energy_joules_total"
_METER: Final = ("cluster", "node", "power_source")
_PLACE: Final = ("hour", "cluster", "node")
_COLUMNS: Final = ("sampled_at", *_METER, "boot_id", "step_seconds", "power_watts", _COUNTER)

# Meters of one node are asked at their own paces: they saw an hour alike if they saw nearly as much of it.
_ALIKE: Final = 0.9


@rollup()
def node_energy_hour(
    meters: Annotated[
        dy.LazyFrame[PowerSample],
        Input(before=_AROUND, after=_AROUND, columns=_COLUMNS, where={"scope": ("node",)}, apart=True),
    ],
    span: Span,
) -> dy.LazyFrame[NodeEnergyHour]:
    """Sum what a meter of a whole node counted; a meter that only tells its draw holds it until it is read again.

    Several meters see one draw and are never added: of those that saw nearly as much of the hour as any, one that
    counts energy goes before one that tells its draw, then the first by name.

    Nulls: none; an hour that no meter saw has no row.
    """
    parts = _by_hour(_steps(meters).collect())
    of_meter = (
        parts.sort(*_PLACE, "power_source", "begin")
        .group_by(*_PLACE, "power_source", maintain_order=True)
        .agg(pl.col("joules").sum(), pl.col("part").sum(), pl.col("is_counted").all())
    )
    best = (
        of_meter.filter(pl.col("part") >= _ALIKE * pl.col("part").max().over(_PLACE))
        .sort(*_PLACE, "is_counted", "power_source", descending=[False, False, False, True, False])
        .unique(_PLACE, keep="first", maintain_order=True)
    )
    start = pl.from_epoch(pl.col("hour") * _HOUR, time_unit="ms").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    rows = best.select(
        start.alias("hour_start"),
        *_METER,
        pl.col("joules").alias("energy_joules"),
        to_seconds("part").alias("measured_seconds"),
    )
    inside = rows.filter(pl.col("hour_start").is_between(span.start, span.end, closed="left"))
    return NodeEnergyHour.cast(inside.lazy())


def _steps(meters: pl.LazyFrame) -> pl.LazyFrame:
    """Return the time between two readings of a meter with its joules: begin, elapsed_ms, joules, is_counted.

    What was drawn in a gap, or while the node started anew, is not known; nor in a step that is longer than what is
    read of the neighbouring hours.
    """
    grown = deltas(meters, (_COUNTER,), by=_METER)
    same_boot = pl.col("boot_id").eq_missing(pl.col("boot_id").shift(1))
    drawn = pl.when(same_boot).then(pl.col("power_watts").shift(1) * pl.col("elapsed_ms") * 0.001)
    counted = pl.col(delta_name(_COUNTER))
    known = grown.with_columns(
        pl.coalesce(counted, drawn).alias("joules"),
        counted.is_not_null().alias("is_counted"),
        (pl.col("sampled_at").dt.timestamp("ms") - pl.col("elapsed_ms")).alias("begin"),
    )
    is_step = pl.col("elapsed_ms").is_between(1, _AROUND // timedelta(milliseconds=1))
    is_known = is_step & ~pl.col("is_gap").fill_null(value=True) & pl.col("joules").is_not_null()
    return known.filter(is_known).select(*_METER, "begin", "elapsed_ms", "joules", "is_counted")


def _by_hour(steps: pl.DataFrame) -> pl.DataFrame:
    """Return steps cut at clock hours, each part with its share of the joules."""
    end = pl.col("begin") + pl.col("elapsed_ms")
    cut = steps.with_columns(pl.int_ranges(pl.col("begin") // _HOUR, (end - 1) // _HOUR + 1).alias("hour"))
    parts = cut.explode("hour", empty_as_null=False).with_columns(
        (
            pl.min_horizontal(end, (pl.col("hour") + 1) * _HOUR)
            - pl.max_horizontal(pl.col("begin"), pl.col("hour") * _HOUR)
        ).alias("part")
    )
    return parts.with_columns(pl.col("joules") * pl.col("part") / pl.col("elapsed_ms"))
