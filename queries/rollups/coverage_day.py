"""Each UTC day of each node: how much of it the ledger saw."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import per, to_gpu_seconds, to_seconds
from ledger.tables import AgentHour, CoverageDay, Gpu, GpuStateInterval, RejectedRow
from queries.graph import Input, Span, rollup
from queries.rollups._hours import best_known_quality
from queries.rollups._timeline import DEVICE

_NODE: Final = ("day", "cluster", "node")
_COLUMNS: Final = (*DEVICE, "started_at", "ended_at", "holder_count", "is_observed", "evidence_quality")
_GPU_COLUMNS: Final = (*DEVICE, "exists_start", "exists_end", "gpu_fraction")
_AGENT_COLUMNS: Final = ("hour_start", "cluster", "node", "failed_round_count")


@rollup()
def coverage_day(
    intervals: Annotated[dy.LazyFrame[GpuStateInterval], Input(columns=_COLUMNS, apart=True)],
    gpus: Annotated[dy.LazyFrame[Gpu], Input(columns=_GPU_COLUMNS, apart=True)],
    agents: Annotated[dy.LazyFrame[AgentHour], Input(columns=_AGENT_COLUMNS, fills=False, apart=True)],
    rejected: Annotated[dy.LazyFrame[RejectedRow], Input(columns=("rejected_id", "source", "rejected_at"))],
    span: Span,
) -> dy.LazyFrame[CoverageDay]:
    """Add up how much of each node's device time samples cover, and for how much of it the holder is known.

    Nulls: `failed_run_count` where no collector reported; `last_sampled_at` where no sample came.
    """
    length = to_seconds((pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds())
    rows = intervals.collect().with_columns(pl.col("started_at").dt.date().alias("day"), length.alias("length"))
    rows = rows.join(_fractions(rows, gpus.collect()), on=[*DEVICE, "day"], how="left").with_columns(
        to_gpu_seconds("length", "gpu_fraction").alias("part")
    )
    known = pl.col("holder_count").is_not_null()
    days = rows.group_by(_NODE).agg(
        pl.col("part").sum().alias("gpu_existed_seconds"),
        pl.col("part").filter("is_observed").sum().alias("gpu_observed_seconds"),
        pl.col("part").filter(known).sum().alias("gpu_held_known_seconds"),
        pl.col("ended_at").filter("is_observed").max().alias("last_sampled_at"),
    )
    told = agents.collect().group_by(pl.col("hour_start").dt.date().alias("day"), "cluster", "node")
    days = days.join(best_known_quality(rows, _NODE, "part"), on=_NODE, how="left")
    days = days.join(told.agg(pl.col("failed_round_count").sum().alias("failed_run_count")), on=_NODE, how="left")
    days = days.join(_rejections(rejected.collect(), span), on=["day", "node"], how="left")
    existed = "gpu_existed_seconds"
    return CoverageDay.cast(
        days.with_columns(
            per("gpu_observed_seconds", existed).fill_null(0.0).alias("coverage_ratio"),
            per("gpu_held_known_seconds", existed).fill_null(0.0).alias("allocation_coverage_ratio"),
            pl.col("evidence_quality").fill_null("X"),
            pl.col("rejected_count").fill_null(0),
        )
        .sort(_NODE)
        .select(CoverageDay.column_names())
        .lazy()
    )


def _fractions(rows: pl.DataFrame, gpus: pl.DataFrame) -> pl.DataFrame:
    """Return which part of a device each device was on each day."""
    there = (pl.col("exists_start").dt.date() <= pl.col("day")) & (
        pl.col("exists_end").is_null() | (pl.col("exists_end").dt.date() >= pl.col("day"))
    )
    told = rows.select(*DEVICE, "day").unique().join(gpus, on=DEVICE).filter(there).sort("exists_start")
    return told.group_by(*DEVICE, "day").agg(pl.col("gpu_fraction").last())


def _rejections(rejected: pl.DataFrame, span: Span) -> pl.DataFrame:
    """Return how many rows of each node were refused on each day: a node's rows come under its name."""
    inside = rejected.filter(pl.col("rejected_at").is_between(span.start, span.end, closed="left"))
    node = pl.col("source").str.replace(r"^.*[: ]", "").alias("node")
    days = inside.group_by(pl.col("rejected_at").dt.date().alias("day"), node)
    return days.agg(pl.len().cast(pl.Int64).alias("rejected_count"))
