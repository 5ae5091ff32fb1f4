"""Jobs with their mean GPU utilisation from a ClusterCockpit job table in Parquet."""

from pathlib import Path

import polars as pl

from collectors.dumps._dump import Dump, JobDump, Rejected
from ledger.errors import InputError
from ledger.tables.jobs import Job

_NEEDED = ("job_id", "cluster", "user", "start_time", "duration_s", "num_gpus", "gpu_util_avg_pct")


def detect(path: Path, head: bytes) -> bool:
    """Tell whether a Parquet file has ClusterCockpit's job columns."""
    if not head.startswith(b"PAR1"):
        return False
    try:
        return set(_NEEDED) <= set(pl.read_parquet_schema(path))
    except (pl.exceptions.ComputeError, OSError):
        return False


def read(path: Path) -> Dump:
    """Read a job table into `job`.

    The archive has no submit time: the start stands in for it. Only a job's mean utilisation is known, so its
    idle time is an estimate. Rows without a start or with a negative duration are refused.

    Raises: InputError: the file cannot be read as Parquet.
    """
    try:
        table = pl.read_parquet(path)
    except pl.exceptions.ComputeError as error:
        raise InputError(f"{path}: found no readable Parquet ({error}), expected a job table") from error
    bad = pl.col("start_time").is_null() | pl.col("duration_s").is_null() | (pl.col("duration_s") < 0)
    rejected = tuple(
        Rejected("job", f"{path}: job {row['job_id']}", "found no start or no duration, expected both", str(row))
        for row in table.filter(bad).iter_rows(named=True)
    )
    started = pl.from_epoch("start_time", time_unit="s").cast(pl.Datetime("us", "UTC"))
    hosts = pl.col("hosts").list.sort()
    frame = table.filter(~bad).select(
        cluster="cluster",
        job_id=pl.col("job_id").cast(pl.String),
        submitted_at=started,
        restart_count=pl.lit(0, pl.Int64),
        user="user",
        account="project",
        partition="partition",
        state=pl.col("job_state").str.to_uppercase(),
        started_at=started,
        ended_at=started + pl.duration(seconds="duration_s"),
        time_limit_seconds=pl.col("walltime_s").cast(pl.Float64),
        requested_gpu_count=pl.col("num_gpus").cast(pl.Float64),
        gpu_count=pl.col("num_gpus").cast(pl.Float64),
        cpu_count=pl.col("num_hwthreads").cast(pl.Int64),
        node_count=pl.col("num_nodes").cast(pl.Int64),
        nodes=hosts.list.join(","),
        requested_gpu_model=pl.when(pl.col("num_gpus") > 0).then(pl.col("subcluster")),
        source=pl.lit("clustercockpit"),
        mean_kernel_active_ratio=pl.col("gpu_util_avg_pct") / 100,
        # The table calls the unit MiB; upstream's values are megabytes summed over the job's GPUs.
        mean_memory_used_bytes=pl.col("gpu_mem_used_sum_mib") * 2**20,
    )
    empty = Job.create_empty()
    return Dump("clustercockpit", {Job: pl.concat([empty, frame], how="diagonal")}, rejected)


clustercockpit = JobDump("clustercockpit", detect, read, __name__)
