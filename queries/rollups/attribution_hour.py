"""Of how much of the time that processes used devices it is known whose they were, and from where."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import per, to_seconds
from ledger.names import ATTRIBUTION_SOURCES
from ledger.tables import AttributionHour, Gpu, GpuProcessSample, GpuSample
from queries.graph import Input, Span, rollup

_KEY: Final = ("hour_start", "cluster", "node")
_NODE: Final = ("sampled_at", "cluster", "node", "step_seconds")

_ASSUMED_PACE: Final = 10.0
"""The pace of a collector that does not say it: the agent's default."""

_NOBODY: Final = "none"

_MILLION: Final = 1_000_000


@rollup()
def attribution_hour(
    samples: Annotated[dy.LazyFrame[GpuSample], Input(columns=(*_NODE, "gpu_uuid", "process_count"), apart=True)],
    processes: Annotated[
        dy.LazyFrame[GpuProcessSample],
        Input(columns=(*_NODE, "attribution_source", "attribution_confidence_ratio"), fills=False, apart=True),
    ],
    gpus: Annotated[
        dy.LazyFrame[Gpu],
        Input(columns=("cluster", "node", "parent_gpu_uuid", "exists_start", "exists_end"), fills=False, apart=True),
    ],
    span: Span,
) -> dy.LazyFrame[AttributionHour]:
    """Add up how long processes were seen on a node's devices, by what told whose they were.

    Each round counts for its pace: it is a share that is asked for, and a gap has none. The processes of a device that
    is cut are those of its slices: of itself it is not asked.

    Nulls: the confidence where nothing is attributed.
    """
    seen = (
        _without_cut(_rounds(samples, span), gpus)
        .group_by(_KEY)
        .agg(
            pl.col("ms").sum().alias("observed_seconds"),
            pl.col("ms").filter(pl.col("process_count").is_null()).sum().alias("invisible_seconds"),
        )
    )
    hours = seen.join(_by_source(_rounds(processes, span)), on=_KEY, how="left")
    whole = [name for name in AttributionHour.column_names() if name.endswith("_seconds")]
    return AttributionHour.cast(
        hours.with_columns(to_seconds(pl.col(name).fill_null(0)).alias(name) for name in whole)
        .sort(_KEY)
        .select(AttributionHour.column_names())
    )


def _rounds(samples: pl.LazyFrame, span: Span) -> pl.LazyFrame:
    """Return rows with their hour, and the pace of their round in milliseconds."""
    pace = (pl.col("step_seconds").fill_null(_ASSUMED_PACE) * 1000).round().cast(pl.Int64)
    inside = samples.filter(pl.col("sampled_at").is_between(span.start, span.end, closed="left"))
    return inside.with_columns(pl.col("sampled_at").dt.truncate("1h").alias("hour_start"), pace.alias("ms"))


def _without_cut(samples: pl.LazyFrame, gpus: pl.LazyFrame) -> pl.LazyFrame:
    """Return the samples without those of devices that were cut into slices then."""
    columns = ("cluster", "node", "parent_gpu_uuid", "exists_start", "exists_end")
    slices = gpus.filter(pl.col("parent_gpu_uuid") != "").select(columns).unique().collect()
    if slices.is_empty():
        return samples
    place = ("cluster", "node", "gpu_uuid")
    mine = samples.join(slices.lazy().rename({"parent_gpu_uuid": "gpu_uuid"}), on=place)
    cut = mine.filter(
        pl.col("sampled_at") >= pl.col("exists_start"),
        pl.col("exists_end").is_null() | (pl.col("sampled_at") < pl.col("exists_end")),
    )
    return samples.join(cut, on=[*place, "sampled_at"], how="anti")


def _by_source(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the time of processes in each hour, by who told whose they were; the columns sum to all of it."""
    source = pl.col("attribution_source").fill_null(_NOBODY)
    sure = (pl.col("attribution_confidence_ratio") * _MILLION).round().cast(pl.Int64)
    known = sure.is_not_null() & (source != _NOBODY)
    by_source = {f"{name}_seconds": source == name for name in ATTRIBUTION_SOURCES}
    by_source["unattributed_seconds"] = source == _NOBODY
    by_source["other_seconds"] = ~source.is_in([*ATTRIBUTION_SOURCES, _NOBODY])
    hours = rows.group_by(_KEY).agg(
        pl.col("ms").sum().alias("process_seconds"),
        *(pl.col("ms").filter(told).sum().alias(name) for name, told in by_source.items()),
        # Whole numbers: their sums do not depend on the order of rows.
        (sure * pl.col("ms")).filter(known).sum().alias("sure"),
        pl.col("ms").filter(known).sum().alias("weight"),
    )
    return hours.with_columns(per("sure", pl.col("weight") * _MILLION).alias("confidence_ratio"))
