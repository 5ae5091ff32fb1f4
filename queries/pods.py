"""Which pod held which device from when to when: what nodes are told by their kubelet, put to the pods' own records.

A kubelet says who holds a device now, and no more. Since when, and whose the pod is, its record says: of the cluster's
own API where that is read, else one that is made of what the node saw.
"""

from typing import Final

import polars as pl

from ledger.tables import Job, JobGpu

HOLDER: Final = ("cluster", "node", "gpu_uuid", "job_id")

API: Final = "kubernetes"
NODE: Final = "pod_resources"
"""Who tells of a pod: the cluster's API, or the node that runs it."""

_POD: Final = ("cluster", "node", "job_id")


def pod_jobs(seen: pl.DataFrame, jobs: pl.DataFrame, clusters: frozenset[str]) -> pl.DataFrame:
    """Return a record of each pod that nobody else tells of: it was first seen when its node began to see it.

    In `clusters` the API tells of pods: there a record comes, and none is made.

    Shape, grain: one row of `job` per new pod.
    """
    pods = seen.filter(~pl.col("cluster").is_in(list(clusters))).join(jobs, on=["cluster", "job_id"], how="anti")
    begun = pods.group_by(_POD).agg(
        pl.col("first_seen_at").min().alias("submitted_at"),
        pl.col("first_seen_at").min().alias("started_at"),
        pl.col("namespace").first().alias("partition"),
        pl.col("pod_name").first().alias("job_name"),
        pl.col("gpu_uuid").n_unique().cast(pl.Float64).alias("gpu_count"),
    )
    rows = begun.with_columns(
        restart_count=pl.lit(0, pl.Int64),
        requested_gpu_count=pl.col("gpu_count"),
        state=pl.lit("RUNNING"),
        source=pl.lit(NODE),
        nodes=pl.col("node"),
        node_count=pl.lit(1, pl.Int64),
    ).drop("node")
    return pl.concat([jobs.clear(), rows], how="diagonal_relaxed").select(Job.column_names()).sort(Job.primary_key())


def pod_holdings(
    seen: pl.DataFrame, rounds: pl.DataFrame, jobs: pl.DataFrame, open_holdings: pl.DataFrame
) -> pl.DataFrame:
    """Return who held devices, from the record's start to its end, or to the first round that did not see the pod.

    `seen` and `rounds` are the answers to `gpu_holders` and `gpu_holder_rounds` since an instant, `open_holdings` those
    that had no end before. A pod without a record waits for it. One that comes back, after a kubelet that began anew,
    holds again: nobody else could get its device.

    Shape, grain: one row of `job_gpu` per device and pod.
    """
    told = _named(seen, jobs)
    still = open_holdings.join(told, on=HOLDER, how="anti").join(rounds, on=["cluster", "node"], how="left")
    ends = pl.concat([told, still.select(*HOLDER, "confidence_ratio", pl.col("first_round_at").alias("gone_at"))])
    records = jobs.select("cluster", "job_id", "submitted_at", "restart_count", "started_at", "ended_at")
    rows = ends.join(records, on=["cluster", "job_id"]).with_columns(
        pl.coalesce("started_at", "submitted_at").alias("held_start"),
        pl.min_horizontal("ended_at", "gone_at").alias("held_end"),
        pl.lit(NODE).alias("source"),
        pl.lit(None, pl.Float64).alias("requested_share_ratio"),
    )
    # The record may end before the round that saw it: then it held for no time that could be told.
    lasted = pl.col("held_end").is_null() | (pl.col("held_end") > pl.col("held_start"))
    return rows.filter(lasted).select(JobGpu.column_names()).sort(JobGpu.primary_key())


def ended(jobs: pl.DataFrame, holdings: pl.DataFrame) -> pl.DataFrame:
    """Return the records that nodes made of pods, ended where the pod holds nothing any more, open where it does."""
    mine = jobs.filter(pl.col("source") == NODE)
    last = holdings.group_by("cluster", "job_id").agg(
        pl.when(pl.col("held_end").is_not_null().all()).then(pl.col("held_end").max()).alias("last")
    )
    rows = mine.join(last, on=["cluster", "job_id"]).filter(pl.col("ended_at").ne_missing(pl.col("last")))
    done = pl.when(pl.col("last").is_not_null()).then(pl.lit("UNKNOWN")).otherwise(pl.lit("RUNNING"))
    return rows.with_columns(ended_at=pl.col("last"), state=done).select(Job.column_names())


def _named(seen: pl.DataFrame, jobs: pl.DataFrame) -> pl.DataFrame:
    """Return what was seen with the UID of pods of which the node knew the name alone: the latest of that name."""
    by_name = jobs.filter(pl.col("source") == API).select(
        "cluster",
        pl.col("nodes").alias("node"),
        pl.format("{}/{}", "partition", pl.col("labels").str.json_path_match("$.pod")).alias("job_id"),
        pl.col("job_id").alias("uid"),
        "submitted_at",
    )
    latest = by_name.sort("submitted_at").unique(_POD, keep="last").drop("submitted_at")
    rows = seen.join(latest, on=_POD, how="left").with_columns(pl.coalesce("uid", "job_id").alias("job_id"))
    last = rows.sort("last_seen_at").group_by(HOLDER, maintain_order=True)
    return last.agg(pl.col("confidence_ratio").min(), pl.col("gone_at").last())
