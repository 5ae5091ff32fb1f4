"""Why a free GPU is free: what jobs wait for meanwhile."""

from datetime import timedelta
from typing import Final

import polars as pl

from queries.graph import Span

_SCHEDULING: Final = timedelta(minutes=1)
"""A job that waits no longer than this only waits for the scheduler's next round."""

_NOT_YET: Final = (
    "Dependency",
    "DependencyNeverSatisfied",
    "BeginTime",
    "JobHeldUser",
    "JobHeldAdmin",
    "JobArrayTaskLimit",
)
"""Reasons for which a job would not start on an empty cluster either."""

_LIMITED: Final = r"^(QOS|Assoc|QuotaReserved:|SchedulingGated:.*\bkueue\.x-k8s\.io)"
"""How reasons begin for which a job waits on a limit: Slurm's, and Kueue's of a workload or at the gate of a pod."""

_GATED: Final = "SchedulingGated:"
"""How the reason of a pod begins that somebody holds back; what is no quota is no demand yet."""


def demand(jobs: pl.DataFrame, window: tuple[int, int], span: Span) -> pl.DataFrame:
    """Return each cluster's reason why free GPUs stay free, as a timeline: cluster, since, demand.

    `fragmentation` while a job that asks for GPUs waits although some are free: it asks for more than a node has
    free, or for others. `quota` while such jobs wait for a limit only. Else `no_demand`, which has no row before
    the first change.
    """
    low, high = window
    waits = pl.coalesce("eligible_at", "submitted_at").dt.timestamp("ms")
    ends = pl.coalesce("started_at", "ended_at", pl.lit(span.now)).dt.timestamp("ms")
    reason = pl.col("pending_reason").fill_null("")
    is_limited = reason.str.contains(_LIMITED)
    is_held = reason.is_in(_NOT_YET) | (reason.str.starts_with(_GATED) & ~is_limited)
    waiting = (
        jobs.filter((pl.col("requested_gpu_count") > 0) & ~is_held)
        .with_columns(waits.alias("from"), ends.alias("to"), is_limited.alias("is_limited"))
        .filter(pl.col("to") - pl.col("from") >= milliseconds_of(_SCHEDULING))
        .with_columns(pl.col("from").clip(lower_bound=low), pl.col("to").clip(upper_bound=high))
        .filter(pl.col("from") < pl.col("to"))
    )
    free, limited = (~pl.col("is_limited")).cast(pl.Int64), pl.col("is_limited").cast(pl.Int64)
    edges = pl.concat(
        [
            waiting.select("cluster", pl.col("from").alias("since"), free.alias("free"), limited.alias("limited")),
            waiting.select("cluster", pl.col("to").alias("since"), -free.alias("free"), -limited.alias("limited")),
        ]
    )
    levels = (
        edges.group_by("cluster", "since")
        .agg(pl.col("free", "limited").sum())
        .sort("cluster", "since")
        .with_columns(pl.col("free", "limited").cum_sum().over("cluster"))
    )
    word = pl.when(pl.col("free") > 0).then(pl.lit("fragmentation")).when(pl.col("limited") > 0).then(pl.lit("quota"))
    told = levels.select("cluster", "since", word.otherwise(pl.lit("no_demand")).alias("demand"))
    return told.filter(pl.struct("cluster", "demand").ne_missing(pl.struct("cluster", "demand").shift(1)))


def milliseconds_of(length: timedelta) -> int:
    """Return a length of time in whole milliseconds."""
    return length // timedelta(milliseconds=1)


def with_demand(free: pl.DataFrame, timeline: pl.DataFrame) -> pl.DataFrame:
    """Return intervals of free devices (cluster, start, end, ...) cut where the demand changes, with `demand`."""
    whole = free.with_row_index("_row")
    changes = timeline.select("cluster", "since")
    inside = whole.select("_row", "cluster", "start", "end").join(changes, on="cluster")
    inside = inside.filter((pl.col("since") > pl.col("start")) & (pl.col("since") < pl.col("end")))
    starts = pl.concat([whole.select("_row", "start"), inside.select("_row", pl.col("since").alias("start"))])
    cut = starts.sort("_row", "start").join(whole.drop("start"), on="_row", how="left", maintain_order="left")
    following = pl.when(pl.col("_row") == pl.col("_row").shift(-1)).then(pl.col("start").shift(-1))
    cut = cut.with_columns(pl.coalesce(following, "end").alias("end")).sort("start", "_row")
    found = cut.join_asof(
        timeline.sort("since"), left_on="start", right_on="since", by="cluster", check_sortedness=False
    )
    return found.with_columns(pl.col("demand").fill_null("no_demand")).drop("_row", "since")
