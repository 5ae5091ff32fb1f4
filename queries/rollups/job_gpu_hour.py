"""Each clock hour of each device that a job held."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import to_seconds
from ledger.names import UNASSIGNED, UNATTRIBUTED
from ledger.tables import Gpu, GpuMinute, GpuProcessSample, GpuStateInterval, Job, JobGpu, JobGpuHour, Node
from queries.graph import Input, Span, rollup
from queries.rollups._boards import with_board_energy
from queries.rollups._context import RUN
from queries.rollups._hours import ACTIVITY_COLUMNS, activity, best_known_quality, described
from queries.rollups._minutes import STATE_COLUMNS, by_minute, existing, state_milliseconds
from queries.rollups._naming import COLUMNS as NAMING_COLUMNS
from queries.rollups._naming import Naming, named
from queries.rollups._process_holders import HOLDING, owners_as_jobs, process_holdings, with_owners
from queries.rollups._sharing import HOLDER, PROCESS_COLUMNS, divided, process_time, weighed
from queries.rollups._steps import LONGEST_STEP
from queries.rollups._timeline import (
    DEVICE,
    HOUR,
    MINUTE,
    clipped,
    instant,
    located,
    milliseconds,
    packed,
    pieces,
    spread,
)

_INTERVAL_COLUMNS: Final = (
    *DEVICE,
    "started_at",
    "ended_at",
    "state",
    "job_id",
    "holder_count",
    "is_observed",
    "evidence_quality",
)
_NODE_COLUMNS: Final = ("cluster", "node", "exists_start", "exists_end", "holder")
_MINUTE_COLUMNS: Final = (*DEVICE, "minute_start", "observed_seconds", *ACTIVITY_COLUMNS)
_JOB_COLUMNS: Final = (*RUN, "ended_at", *NAMING_COLUMNS)
_GPU_COLUMNS: Final = (*DEVICE, "exists_start", "exists_end", "gpu_fraction", "parent_gpu_uuid")

_HOLDING: Final = HOLDING[:-1]
_ROW: Final = ("device", "hour", *HOLDER)


@rollup()
def job_gpu_hour(
    intervals: Annotated[dy.LazyFrame[GpuStateInterval], Input(columns=_INTERVAL_COLUMNS, apart=True)],
    minutes: Annotated[dy.LazyFrame[GpuMinute], Input(columns=_MINUTE_COLUMNS, coded=DEVICE, fills=False, apart=True)],
    holdings: Annotated[dy.LazyFrame[JobGpu], Input(fills=False, apart=True)],
    jobs: Annotated[dy.LazyFrame[Job], Input(columns=_JOB_COLUMNS, fills=False)],
    gpus: Annotated[dy.LazyFrame[Gpu], Input(columns=_GPU_COLUMNS, fills=False, apart=True)],
    nodes: Annotated[dy.LazyFrame[Node], Input(columns=_NODE_COLUMNS, fills=False, apart=True)],
    processes: Annotated[
        dy.LazyFrame[GpuProcessSample], Input(before=LONGEST_STEP, columns=PROCESS_COLUMNS, fills=False, apart=True)
    ],
    span: Span,
    naming: Naming,
) -> dy.LazyFrame[JobGpuHour]:
    """Divide each device's held time among the jobs that held it, by state.

    Everything that happens to a device while it is held belongs to its holders, so that faulty, unknown and orphaned
    seconds are theirs too. Where no scheduler runs, the jobs of the processes on a device hold it, else their owners,
    each as a job `user:NAME`. Time whose holder is unknown is in `gpu_hour` alone.
    """
    stretches: pl.DataFrame = intervals.collect()
    seen: pl.DataFrame = processes.collect()
    runs: pl.DataFrame = jobs.collect()
    recorded = holdings.collect().select(_HOLDING)
    by_process = process_holdings(stretches, recorded, nodes.collect(), seen, runs)
    if by_process.height:
        seen, runs = owners_as_jobs(seen), with_owners(runs, by_process)
    held = pl.concat([recorded, by_process.select(_HOLDING)])
    devices = held.select(DEVICE).unique().sort(DEVICE).with_row_index("device")
    window = (milliseconds(span.start), milliseconds(span.end))
    told = clipped(held.join(devices, on=DEVICE), "held_start", "held_end", window)
    done = clipped(stretches.join(devices, on=DEVICE), "started_at", "ended_at", window)
    if told.is_empty() or done.is_empty():
        return JobGpuHour.create_empty(lazy=True)
    holders = _holders(told, devices, window, process_time(seen, devices))
    rows = _seconds(holders, done, devices, window)
    inventory: pl.DataFrame = gpus.collect()
    means = _means(holders, with_board_energy(minutes.collect(), inventory), devices, existing(done))
    rows = rows.join(means, on=_ROW, how="left").join(devices, on="device")
    return JobGpuHour.cast(_described(rows, named(runs, naming), inventory).lazy())


def _holders(
    told: pl.DataFrame, devices: pl.DataFrame, window: tuple[int, int], measured: pl.DataFrame
) -> pl.DataFrame:
    """Return who held each device from when to when, with shares; a run that is told twice holds once."""
    cut = pieces(window, devices, told)
    covered = spread(told.select("device", "start", "end", *HOLDER, "requested_share_ratio"), cut)
    once = covered.group_by("device", "piece", *HOLDER).agg(pl.col("requested_share_ratio").max())
    rows = once.join(cut.select("piece", "start", "end"), on="piece")
    # Floats are summed over these rows: in one order, a second run gives the same last digit.
    return weighed(rows.sort("device", "piece", *HOLDER), measured)


def _seconds(holders: pl.DataFrame, done: pl.DataFrame, devices: pl.DataFrame, window: tuple[int, int]) -> pl.DataFrame:
    """Return each holder's milliseconds by state, per device and hour."""
    edges = holders.select("device", "start", "end").unique()
    cut = pieces(window, devices, edges, done)
    names = ("state", "is_observed", "evidence_quality")
    states = spread(done.select("device", "start", "end", *names), cut).select("piece", *names)
    rows = spread(holders.drop("piece"), cut).drop("start", "end").join(states, on="piece")
    rows = rows.join(cut.select("piece", "start", (pl.col("end") - pl.col("start")).alias("length")), on="piece")
    rows = divided(rows, "length", "piece").with_columns((pl.col("start") // HOUR).alias("hour"))
    qualities = best_known_quality(rows, _ROW, "length")
    return (
        rows.with_columns(state_milliseconds())
        .group_by(_ROW)
        .agg(
            pl.col(STATE_COLUMNS).sum(),
            pl.col("length").sum().alias("held"),
            pl.col("part").sum().alias("shared"),
            pl.col("length").filter("is_observed").sum().alias("observed"),
            pl.col("is_estimated").any(),
        )
        .join(qualities, on=_ROW, how="left")
    )


def _means(holders: pl.DataFrame, minutes: pl.DataFrame, devices: pl.DataFrame, there: pl.DataFrame) -> pl.DataFrame:
    """Return what the device did while each holder held it, and the holder's share of its energy.

    `there` says from when to when devices existed: a holding may reach over that.
    """
    start, end = pl.max_horizontal("start", "start_there"), pl.min_horizontal("end", "end_there")
    # Millions of minutes are summed by a number and not by the names behind it.
    who = holders.select("device", *HOLDER).unique(maintain_order=True).with_row_index("who")
    held = holders.select("device", *HOLDER, "share", "start", "end").join(
        there, on="device", suffix="_there", maintain_order="left"
    )
    held = held.with_columns(start, end).filter(pl.col("start") < pl.col("end"))
    held = held.join(who, on=["device", *HOLDER], maintain_order="left").drop(HOLDER)
    parts = by_minute(held.with_columns((pl.col("end") - pl.col("start")).alias("length")), "start", "length")
    measured = located(minutes, devices, at="minute_start").select(
        "key",
        *ACTIVITY_COLUMNS,
        (pl.col("observed_seconds").cast(pl.Float64) * 1000).alias("observed"),
    )
    rows = (
        parts.with_columns(packed(pl.col("minute") * MINUTE).alias("key"))
        .join(measured, on="key", maintain_order="left")
        .join(_short_minutes(there), on="key", how="left", maintain_order="left")
        .with_columns(
            (pl.col("minute") * MINUTE // HOUR).alias("hour"), (pl.col("part") * pl.col("observed")).alias("weight")
        )
    )
    mine = pl.col("part") / pl.col("existed").fill_null(MINUTE)
    sums = rows.group_by("who", "hour").agg(activity("weight", pl.col("energy_joules") * mine * pl.col("share")))
    return sums.join(who, on="who").drop("who")


def _short_minutes(there: pl.DataFrame) -> pl.DataFrame:
    """Return the minutes that a device existed for a part of only: key, existed in milliseconds."""
    head, tail = pl.col("start") // MINUTE, (pl.col("end") - 1) // MINUTE
    begun = pl.min_horizontal("end", (head + 1) * MINUTE) - pl.col("start")
    edges = pl.concat(
        [
            there.select("device", head.alias("minute"), begun.alias("existed")),
            there.filter(head < tail).select(
                "device", tail.alias("minute"), (pl.col("end") - tail * MINUTE).alias("existed")
            ),
        ]
    )
    sums = edges.group_by(packed(pl.col("minute") * MINUTE).alias("key")).agg(pl.col("existed").sum())
    return sums.filter(pl.col("existed") < MINUTE)


def _described(rows: pl.DataFrame, runs: pl.DataFrame, gpus: pl.DataFrame) -> pl.DataFrame:
    """Return finished rows: whose the job is, and which part of a device it held."""
    rows = rows.with_columns((pl.col("hour") * HOUR).alias("time")).with_columns(instant("time").alias("hour_start"))
    people = runs.select(*RUN, "user", "team", "model", "workload_kind")
    return (
        rows.join(described(rows, gpus), on=[*DEVICE, "hour_start"], how="left")
        .join(people, on=RUN, how="left")
        .with_columns(
            *(to_seconds(name).alias(name) for name in STATE_COLUMNS),
            to_seconds("held").alias("held_seconds"),
            (pl.col("shared") / pl.col("held")).alias("share_ratio"),
            (pl.col("observed") / pl.col("held")).alias("coverage_ratio"),
            pl.col("team").fill_null(UNASSIGNED),
            pl.col("model").fill_null(UNATTRIBUTED),
            pl.col("workload_kind").fill_null(""),
            pl.col("evidence_quality").fill_null("X"),
        )
        .sort("cluster", "node", "gpu_uuid", "hour_start", *HOLDER)
        .select(JobGpuHour.column_names())
    )
