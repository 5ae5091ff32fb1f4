"""Each run of each job, from submission to end."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import divided, per, to_gpu_seconds, to_seconds, total
from ledger.tables import Job, JobGpuHour, JobNodeHour, JobUsage
from queries.graph import Input, Span, rollup
from queries.rollups._context import RUN
from queries.rollups._decision import Thresholds
from queries.rollups._gpu_time import COLUMNS, coverage, gpu_time
from queries.rollups._naming import Naming, named

_MEANS: Final = ("sm_active_ratio", "kernel_active_ratio")
_TIMES: Final = ("gpu_allocated_seconds", "gpu_idle_seconds", "gpu_productive_seconds")
_DEVICE_COLUMNS: Final = (
    *RUN,
    "hour_start",
    "node",
    "gpu_uuid",
    "is_estimated",
    "evidence_quality",
    "memory_used_bytes",
    *_MEANS,
    *COLUMNS,
)


_HOST_COLUMNS: Final = (
    *RUN,
    *("hour_start", "node", "cpu_seconds", "memory_peak_bytes", "memory_resident_bytes", "oom_kill_count"),
    *("read_bytes", "written_bytes", "observed_seconds"),
)


@rollup()
def job_usage(
    jobs: Annotated[dy.LazyFrame[Job], Input(by="submitted_at")],
    devices: Annotated[dy.LazyFrame[JobGpuHour], Input(by="submitted_at", columns=_DEVICE_COLUMNS)],
    hosts: Annotated[dy.LazyFrame[JobNodeHour], Input(by="submitted_at", columns=_HOST_COLUMNS, fills=False)],
    span: Span,
    thresholds: Thresholds,
    naming: Naming,
) -> dy.LazyFrame[JobUsage]:
    """Put the GPU time of a run beside what the scheduler says of it.

    Where no device was measured but the source gives a mean over the whole job (an imported history), what it held is
    run time x GPUs, and all of it is idle if the mean is idle, else none of it. Productive is 0 if it was idle, else
    null: the mean of a duty cycle does not tell productive from underused.
    What it used of processors, memory and block devices is as far as its nodes were watched.
    Nulls: GPU time of a run that had GPUs and of which nothing else is known. A run that never started, or had no GPU,
    held 0 seconds. What it used of hosts where no cgroup of it was sampled.
    """
    measured = _measured(devices.collect())
    rows = named(jobs.collect(), naming).join(measured, on=RUN, how="left", maintain_order="left")
    rows = _with_hosts(rows, hosts.collect())
    rows = _with_mean(rows, span, thresholds)
    began = pl.coalesce("started_at", "ended_at", pl.lit(span.now))
    queued = divided((began - pl.col("submitted_at")).dt.total_milliseconds(), 1000)
    return JobUsage.cast(
        rows.with_columns(
            *(pl.coalesce(name, f"mean_{name}").alias(name) for name in _TIMES),
            pl.coalesce("kernel_active_ratio", "mean_kernel_active_ratio").alias("kernel_active_ratio"),
            pl.coalesce("evidence_quality", "mean_evidence_quality").alias("evidence_quality"),
            pl.coalesce("is_estimated", pl.col("mean_evidence_quality").is_not_null()).alias("is_estimated"),
            pl.when(queued >= 0).then(queued).alias("queue_seconds"),
            pl.col("coverage_ratio").fill_null(0.0),
        )
        .sort(RUN)
        .select(JobUsage.column_names())
        .lazy()
    )


def _measured(devices: pl.DataFrame) -> pl.DataFrame:
    """Return the GPU time of each run that held a known device."""
    weight = pl.col("gpu_allocated_seconds").cast(pl.Float64) * pl.col("coverage_ratio")
    known = {name: pl.when(pl.col(name).is_not_null()).then("weight").sum() for name in _MEANS}
    means = (
        pl.when(known[name] > 0).then((pl.col(name) * pl.col("weight")).sum() / known[name]).alias(name)
        for name in _MEANS
    )
    ordered = devices.sort(*RUN, "hour_start", "node", "gpu_uuid")
    rows = ordered.with_columns(gpu_time()).with_columns(weight.alias("weight"))
    grades = rows.group_by(*RUN, "evidence_quality").agg(pl.col("gpu_allocated_seconds").sum())
    grades = grades.sort(
        *RUN, "gpu_allocated_seconds", "evidence_quality", descending=[*(False for _ in RUN), True, True]
    )
    sums = rows.group_by(RUN).agg(
        pl.col(_TIMES).sum(),
        total("energy_joules").alias("energy_joules"),
        *means,
        pl.col("memory_used_bytes").max(),
        coverage().alias("coverage_ratio"),
        pl.col("is_estimated").any(),
    )
    first = grades.unique(RUN, keep="first", maintain_order=True).select(*RUN, "evidence_quality")
    return sums.join(first, on=RUN, how="left")


def _with_hosts(rows: pl.DataFrame, hosts: pl.DataFrame) -> pl.DataFrame:
    """Add what each run used of its hosts.

    Processors are given to a run over all its nodes: of the time of each node its part of them counts.
    """
    used = (
        hosts.sort(*RUN, "hour_start", "node")
        .group_by(RUN, maintain_order=True)
        .agg(
            *(total(name) for name in ("cpu_seconds", "oom_kill_count", "read_bytes", "written_bytes")),
            pl.col("memory_peak_bytes").max().alias("host_memory_peak_bytes"),
            pl.col("memory_resident_bytes").max().alias("host_memory_resident_bytes"),
            pl.col("observed_seconds").sum().cast(pl.Float64).alias("watched"),
            pl.col("node").n_unique().alias("nodes_watched"),
        )
    )
    told = rows.rename({"memory_bytes": "host_memory_bytes"}).join(used, on=RUN, how="left", maintain_order="left")
    nodes = pl.max_horizontal("node_count", "nodes_watched")
    given = pl.col("watched") * pl.col("cpu_count") / pl.when(nodes > 0).then(nodes)
    # A job that may use more than it asked for, and the pace of the clocks, can pass the whole.
    return told.with_columns(per(pl.col("cpu_seconds"), given).clip(upper_bound=1.0).alias("cpu_active_ratio"))


def _with_mean(rows: pl.DataFrame, span: Span, thresholds: Thresholds) -> pl.DataFrame:
    """Add what can be said without a measured device, as `mean_<time>`, and on which evidence."""
    ended = pl.coalesce("ended_at", pl.lit(span.now))
    ran = to_seconds((ended - pl.col("started_at")).dt.total_milliseconds())
    held = to_gpu_seconds(ran, "gpu_count")
    mean = pl.col("mean_kernel_active_ratio")
    nothing = (pl.col("started_at").is_null() | (pl.col("gpu_count") == 0)).fill_null(value=False)
    zero = to_gpu_seconds(to_seconds(pl.lit(0)), pl.lit(1))
    is_idle = mean < thresholds.idle_below_ratio
    return rows.with_columns(
        pl.when(nothing).then(zero).when(mean.is_not_null()).then(held).alias("mean_gpu_allocated_seconds"),
        pl.when(nothing)
        .then(zero)
        .when(is_idle)
        .then(held)
        .when(mean.is_not_null())
        .then(zero)
        .alias("mean_gpu_idle_seconds"),
        pl.when(nothing | is_idle).then(zero).alias("mean_gpu_productive_seconds"),
        pl.when(~nothing & mean.is_not_null()).then(pl.lit("C")).alias("mean_evidence_quality"),
    )
