"""What each run of a job used of each node in each hour: processors, memory and block devices."""

from datetime import timedelta
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import to_seconds, total
from ledger.names import NOBODY_AT
from ledger.tables import Job, JobCgroupSample, JobNodeHour
from queries.counters import delta_name, deltas
from queries.graph import Input, Span, rollup
from queries.rollups._context import RUN

_LOOKBACK: Final = timedelta(minutes=15)
"""How far back the sample before the first of an hour may lie: three steps of a slow collector."""

_GROUP: Final = ("cluster", "node", "job_id")
_HOUR: Final = ("hour_start", *_GROUP)

_COUNTERS: Final = {
    "cpu_seconds_total": "cpu_seconds",
    "cpu_throttled_seconds_total": "cpu_throttled_seconds",
    "oom_kill_count_total": "oom_kill_count",
    "read_bytes_total": "read_bytes",
    "written_bytes_total": "written_bytes",
}
_GAUGES: Final = ("memory_used_bytes", "memory_peak_bytes", "memory_resident_bytes", "memory_limit_bytes")


@rollup()
def job_node_hour(
    groups: Annotated[
        dy.LazyFrame[JobCgroupSample],
        Input(
            before=_LOOKBACK,
            columns=("sampled_at", *_GROUP, "boot_id", "step_seconds", *_COUNTERS, *_GAUGES),
            apart=True,
        ),
    ],
    jobs: Annotated[dy.LazyFrame[Job], Input(columns=(*RUN, "ended_at"), fills=False)],
    span: Span,
) -> dy.LazyFrame[JobNodeHour]:
    """Sum what a job's cgroup counted over the steps that end in the hour.

    What a job used before its first sample on a node, and after its last, is not in it. Of the runs of an id it is the
    latest that lived in the hour; without a record nobody submitted it yet.

    Nulls: what no controller counts there. The peak is the kernel's own where it keeps one, else the highest sample.
    """
    grown = deltas(groups, list(_COUNTERS), by=_GROUP).filter(
        pl.col("sampled_at").is_between(span.start, span.end, closed="left")
    )
    is_step = (pl.col("elapsed_ms") <= _LOOKBACK // timedelta(milliseconds=1)) & ~pl.col("is_gap").fill_null(value=True)
    steps = grown.with_columns(
        pl.when(is_step).then(name).alias(name) for name in ("elapsed_ms", *map(delta_name, _COUNTERS))
    )
    hours = steps.group_by(pl.col("sampled_at").dt.truncate("1h").alias("hour_start"), *_GROUP).agg(
        *(total(delta_name(counter)).alias(name) for counter, name in _COUNTERS.items()),
        pl.max_horizontal(pl.col("memory_peak_bytes").max(), pl.col("memory_used_bytes").max()).alias(
            "memory_peak_bytes"
        ),
        pl.col("memory_resident_bytes").max(),
        pl.col("memory_limit_bytes").sort_by("sampled_at").drop_nulls().last(),
        to_seconds(pl.col("elapsed_ms").sum()).alias("observed_seconds"),
    )
    rows = hours.with_columns(pl.col("oom_kill_count").round(0).cast(pl.Int64))
    return JobNodeHour.cast(_with_runs(rows, jobs).sort(_HOUR).select(JobNodeHour.column_names()))


def _with_runs(hours: pl.LazyFrame, jobs: pl.LazyFrame) -> pl.LazyFrame:
    """Add the run that each job was in each hour: the latest of its id that lived then."""
    lived = (pl.col("submitted_at") < pl.col("hour_start").dt.offset_by("1h")) & (
        pl.col("ended_at").is_null() | (pl.col("ended_at") > pl.col("hour_start"))
    )
    known = hours.select(_HOUR).join(jobs.select(*RUN, "ended_at"), on=["cluster", "job_id"]).filter(lived)
    latest = (
        known.sort("submitted_at", "restart_count")
        .group_by(_HOUR)
        .agg(pl.col("submitted_at").last(), pl.col("restart_count").last())
    )
    return hours.join(latest, on=_HOUR, how="left").with_columns(
        pl.col("submitted_at").fill_null(pl.lit(NOBODY_AT, pl.Datetime("us", "UTC"))),
        pl.col("restart_count").fill_null(0),
    )
