"""Each minute of each GPU: its states, what it did, and how its node was meanwhile."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import to_seconds
from ledger.tables import GpuMinute, GpuSample, GpuStateInterval, HostSample, NetworkPortSample, PressureSample
from queries.graph import Input, Span, rollup
from queries.rollups._activity import COLUMNS, activity_minutes
from queries.rollups._minutes import STATE_COLUMNS, interval_minutes
from queries.rollups._node_evidence import HOST_COLUMNS, PORT_COLUMNS, PRESSURE_COLUMNS, node_minutes
from queries.rollups._steps import LONGEST_STEP
from queries.rollups._timeline import DEVICE, MINUTE, instant, located, milliseconds, numbered, packed

_AROUND: Final = LONGEST_STEP

_OF_DEVICE: Final = (*DEVICE, "host")

_INTERVAL_COLUMNS: Final = (
    *DEVICE,
    "started_at",
    "ended_at",
    "state",
    "is_observed",
    "job_id",
    "submitted_at",
    "restart_count",
    "holder_count",
    "evidence_quality",
)


@rollup()
def gpu_minute(
    intervals: Annotated[dy.LazyFrame[GpuStateInterval], Input(columns=_INTERVAL_COLUMNS)],
    samples: Annotated[dy.LazyFrame[GpuSample], Input(before=_AROUND, after=_AROUND, columns=COLUMNS)],
    host: Annotated[dy.LazyFrame[HostSample], Input(before=_AROUND, after=_AROUND, columns=HOST_COLUMNS)],
    pressure: Annotated[dy.LazyFrame[PressureSample], Input(before=_AROUND, after=_AROUND, columns=PRESSURE_COLUMNS)],
    ports: Annotated[dy.LazyFrame[NetworkPortSample], Input(before=_AROUND, after=_AROUND, columns=PORT_COLUMNS)],
    span: Span,
) -> dy.LazyFrame[GpuMinute]:
    """Cut a GPU's intervals into minutes and put beside them what its samples measured.

    The nine states of a minute sum to `existed_seconds`, exactly; means are weighted by the time of the steps.
    """
    stretches = intervals.collect()
    if stretches.is_empty():
        return GpuMinute.create_empty(lazy=True)
    devices = numbered(stretches)
    whole = located(stretches, devices, at="started_at").with_columns(
        pl.col("time").alias("start"), pl.col("ended_at").dt.timestamp("ms").alias("end")
    )
    minutes = interval_minutes(whole.drop(*DEVICE, "started_at", "ended_at", "time", "key"))
    low, high = milliseconds(span.start) // MINUTE, -(-milliseconds(span.end) // MINUTE)
    minutes = minutes.filter(pl.col("minute").is_between(low, high, closed="left"))
    minutes = minutes.join(activity_minutes(samples.collect(), devices), on="key", how="left", maintain_order="left")
    devices = devices.with_columns((pl.struct("cluster", "node").rank("dense") - 1).alias("host"))
    minutes = minutes.with_columns(devices.get_column(name).gather(minutes.get_column("device")) for name in _OF_DEVICE)
    minutes = minutes.with_columns(packed("minute", "host").alias("host_key"))
    hosts = devices.select("cluster", "node", "host").unique()
    evidence = node_minutes(host.lazy(), pressure.lazy(), ports.lazy()).join(hosts, on=["cluster", "node"])
    evidence = evidence.with_columns(packed("minute", "host").alias("host_key")).drop(
        "cluster", "node", "minute", "host"
    )
    minutes = minutes.join(evidence, on="host_key", how="left", maintain_order="left")
    minutes = minutes.join(_node_jobs(minutes), on="host_key", how="left", maintain_order="left")
    return GpuMinute.cast(_finished(minutes).lazy())


def _node_jobs(minutes: pl.DataFrame) -> pl.DataFrame:
    """Return how many jobs hold a device of each node in each minute; null where the holder of one is unknown."""
    jobs = minutes.filter(pl.col("job_id") != "").select("host_key", "job_id")
    shared = pl.col("job_id").str.contains(",", literal=True)
    apart = jobs.filter(shared).with_columns(pl.col("job_id").str.split(",")).explode("job_id", empty_as_null=False)
    each = pl.concat([jobs.filter(~shared), apart]).with_columns(pl.col("job_id").cast(pl.Categorical))
    counted = each.unique().group_by("host_key").agg(pl.len().cast(pl.Int64).alias("jobs"))
    known = minutes.group_by("host_key").agg(pl.col("holder_count").is_not_null().all().alias("known"))
    count = pl.when("known").then(pl.col("jobs").fill_null(0)).alias("node_job_count")
    return known.join(counted, on="host_key", how="left").select("host_key", count)


def _finished(minutes: pl.DataFrame) -> pl.DataFrame:
    """Return minutes under the names of the table."""
    return (
        minutes.with_columns((pl.col("minute") * MINUTE).alias("time"))
        .with_columns(
            instant("time").alias("minute_start"),
            *(to_seconds(name).alias(name) for name in STATE_COLUMNS),
            to_seconds("existed").alias("existed_seconds"),
            to_seconds("observed").alias("observed_seconds"),
            to_seconds("power_capped").alias("power_capped_seconds"),
            pl.col("restart_count").fill_null(0),
            pl.col("pcie").alias("pcie_bytes_per_second"),
            pl.col("nvlink").alias("nvlink_bytes_per_second"),
        )
        .select(GpuMinute.column_names())
    )
