"""Who holds a device where no scheduler says it: the jobs of the processes on it, else their owners.

A node with `holder = "process"` has no record of who was given a device: what its processes say stands for one.
"""

from typing import Final

import polars as pl

from ledger.names import PROCESS_OWNER
from queries.rollups._context import RUN
from queries.rollups._steps import GAP_STEPS, LONGEST_STEP
from queries.rollups._timeline import DEVICE

HOLDING: Final = (*DEVICE, *RUN[1:], "held_start", "held_end", "requested_share_ratio", "user")
"""A holding in the shape of `job_gpu`, with the owner of the processes where they belong to no job."""

_ASSUMED_PACE: Final = 10.0


def process_holdings(
    intervals: pl.DataFrame, held: pl.DataFrame, nodes: pl.DataFrame, processes: pl.DataFrame, jobs: pl.DataFrame
) -> pl.DataFrame:
    """Return who held devices of nodes without a scheduler, from their processes.

    A process of a job makes that job the holder, whose record is the latest of its id that lived in that hour.
    Processes of no job make their owners holders, under `user:NAME` for a job. Without a record nobody submitted it:
    the node's own start stands for when. What names neither job nor owner is nobody's.

    Shape, grain: one row per held stretch and holder, with `HOLDING`.
    """
    told = _held_by_processes(intervals, held, nodes)
    if told.is_empty():
        return told.select(DEVICE).with_columns(
            pl.lit(None, dtype=pl.String).alias("job_id"),
            pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("submitted_at"),
            pl.lit(None, dtype=pl.Int64).alias("restart_count"),
            *(pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias(each) for each in ("held_start", "held_end")),
            pl.lit(None, dtype=pl.Float64).alias("requested_share_ratio"),
            pl.lit(None, dtype=pl.String).alias("user"),
        )
    columns = [*DEVICE, "exists_start", "held_start", "held_end", "job_id", "user"]
    of_jobs = told.filter(pl.col("job_id") != "").with_columns(
        pl.col("job_id").str.split(","), pl.lit(None, dtype=pl.String).alias("user")
    )
    of_owners = _owned(told.filter(pl.col("job_id") == ""), processes)
    named = pl.concat([of_jobs.explode("job_id").select(columns), of_owners.select(columns)])
    return _with_runs(named, jobs).select(HOLDING)


def owners_as_jobs(processes: pl.DataFrame) -> pl.DataFrame:
    """Return processes with their owner for a job where they belong to none."""
    owner = pl.when(pl.col("user") != "").then(pl.lit(PROCESS_OWNER) + pl.col("user"))
    job = pl.when(pl.col("job_id") != "").then("job_id").otherwise(owner.fill_null(""))
    return processes.with_columns(job.alias("job_id"))


def with_owners(jobs: pl.DataFrame, holdings: pl.DataFrame) -> pl.DataFrame:
    """Return job records with one for each holder that has none: all that is known of it is its owner."""
    unknown = holdings.select(*RUN, "user").unique(RUN, keep="first").join(jobs, on=RUN, how="anti")
    return pl.concat([jobs, unknown], how="diagonal")


def _held_by_processes(intervals: pl.DataFrame, held: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """Return the stretches that processes held: on nodes that say so, where no record names a holder."""
    of_node = nodes.filter(pl.col("holder") == "process").select("cluster", "node").unique()
    mine = intervals.filter(pl.col("holder_count") > 0).join(of_node, on=["cluster", "node"], how="semi")
    mine = mine.with_row_index("stretch")
    stays = nodes.select("cluster", "node", "exists_start", "holder")
    told = mine.join(stays, on=["cluster", "node"]).filter(pl.col("exists_start") < pl.col("ended_at"))
    last = told.sort("exists_start").unique("stretch", keep="last", maintain_order=True)
    last = last.filter(pl.col("holder") == "process")
    begun, ended = (pl.col(each).dt.timestamp("ms") for each in ("started_at", "ended_at"))
    lasts = pl.col("held_end").is_null() | (pl.col("held_end").dt.timestamp("ms") > begun)
    recorded = (
        last.join(held.select(*DEVICE, "held_start", "held_end"), on=DEVICE)
        .filter(pl.col("held_start").dt.timestamp("ms") < ended, lasts)
        .select("stretch")
    )
    return last.join(recorded, on="stretch", how="anti").rename({"started_at": "held_start", "ended_at": "held_end"})


def _owned(told: pl.DataFrame, processes: pl.DataFrame) -> pl.DataFrame:
    """Return the parts of stretches in which the owners of processes are known."""
    of_no_job = processes.filter(pl.col("job_id") == "")
    # Processes may come with codes for names; a device that none of them names is no code.
    coded = (pl.col(name).cast(of_no_job.schema[name], strict=False) for name in DEVICE)
    mine = told.select(coded).unique().drop_nulls()
    runs = _owner_runs(of_no_job.join(mine, on=DEVICE, how="semi")).with_columns(pl.col(DEVICE).cast(pl.String))
    parts = told.join(runs, on=DEVICE).with_columns(
        pl.max_horizontal("held_start", "since").alias("held_start"),
        pl.min_horizontal("held_end", "until").alias("held_end"),
    )
    owned = parts.filter(pl.col("held_start") < pl.col("held_end"), pl.col("owners") != "")
    return (
        owned.with_columns(pl.col("owners").str.split("\n").alias("user"))
        .explode("user")
        .with_columns((pl.lit(PROCESS_OWNER) + pl.col("user")).alias("job_id"))
    )


def _owner_runs(processes: pl.DataFrame) -> pl.DataFrame:
    """Return from when to when whose processes without a job were on each device: since, until, owners (by lines).

    A round of samples holds until the next, and for three times the pace at most.
    """
    name = pl.when(pl.col("user") != "").then(pl.col("user").cast(pl.String))
    rounds = (
        processes.group_by(*DEVICE, "sampled_at")
        .agg(
            name.drop_nulls().unique().sort().str.join("\n").alias("owners"),
            pl.col("step_seconds").max().fill_null(_ASSUMED_PACE).alias("pace"),
        )
        .sort(*DEVICE, "sampled_at")
    )
    most = pl.min_horizontal(
        pl.duration(milliseconds=(pl.col("pace") * (GAP_STEPS * 1000)).cast(pl.Int64)), pl.lit(LONGEST_STEP)
    )
    until = pl.min_horizontal(pl.col("sampled_at").shift(-1).over(DEVICE), pl.col("sampled_at") + most)
    steps = rounds.with_columns(until.alias("until"))
    same = [pl.col(each).eq_missing(pl.col(each).shift(1)) for each in (*DEVICE, "owners")]
    follows = pl.all_horizontal(*same, pl.col("until").shift(1) == pl.col("sampled_at")).fill_null(value=False)
    return (
        steps.group_by(*DEVICE, "owners", (~follows).cum_sum().alias("run"), maintain_order=True)
        .agg(pl.col("sampled_at").min().alias("since"), pl.col("until").max())
        .drop("run")
    )


def _with_runs(named: pl.DataFrame, jobs: pl.DataFrame) -> pl.DataFrame:
    """Add the run that each holder is: the latest of its id that lived in the clock hour."""
    rows = named.with_row_index("row").with_columns(pl.col("held_start").dt.truncate("1h").alias("hour"))
    lived = pl.col("ended_at").is_null() | (pl.col("ended_at") > pl.col("hour"))
    known = (
        rows.join(jobs.select(*RUN, "ended_at"), on=["cluster", "job_id"])
        .filter(pl.col("submitted_at") < pl.col("hour").dt.offset_by("1h"), lived)
        .sort("submitted_at", "restart_count")
        .unique("row", keep="last", maintain_order=True)
        .select("row", "submitted_at", "restart_count")
    )
    return rows.join(known, on="row", how="left", maintain_order="left").with_columns(
        pl.coalesce("submitted_at", "exists_start").alias("submitted_at"),
        pl.col("restart_count").fill_null(0),
        pl.lit(None, dtype=pl.Float64).alias("requested_share_ratio"),
    )
