"""Job tables that know only a job's mean utilisation."""

from pathlib import Path

import polars as pl
import pytest

from collectors.dumps.clustercockpit import clustercockpit
from ledger.errors import InputError
from ledger.tables.jobs import Job

ROW = {
    "job_id": 7, "cluster": "alpha", "subcluster": "a40", "partition": "a40", "user": "ana", "project": "vision",
    "start_time": 1_793_527_200, "duration_s": 3600, "walltime_s": 7200, "job_state": "completed", "num_nodes": 1,
    "num_hwthreads": 16, "num_gpus": 2, "hosts": ["n2", "n1"], "gpu_util_avg_pct": 42.5, "gpu_mem_used_sum_mib": 1024.0,
}  # fmt: skip


def test_a_mean_stays_a_mean(tmp_path: Path) -> None:
    path = tmp_path / "jobs.parquet"
    pl.DataFrame([ROW, {**ROW, "job_id": 8, "duration_s": None}]).write_parquet(path)
    assert clustercockpit.detect(path, path.read_bytes()[:64])
    dump = clustercockpit.read(path)
    (job,) = Job.validate(dump.frames[Job]).to_dicts()
    assert job["mean_kernel_active_ratio"] == pytest.approx(0.425)
    assert (job["gpu_count"], job["nodes"], job["state"]) == (2.0, "n1,n2", "COMPLETED")
    assert (job["ended_at"] - job["started_at"]).total_seconds() == 3600
    assert dump.rejected[0].reason == "found no start or no duration, expected both"


def test_a_truncated_file_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "jobs.parquet"
    pl.DataFrame([ROW]).write_parquet(path)
    path.write_bytes(path.read_bytes()[:-40])
    assert not clustercockpit.detect(path, path.read_bytes()[:64])
    with pytest.raises(InputError, match="no readable Parquet"):
        clustercockpit.read(path)


@pytest.mark.real_data
def test_real_jobs_keep_their_gpu_hours(shared_data: Path) -> None:
    path = shared_data / "jobs/clustercockpit_alex_a40_gpu_jobs.parquet"
    jobs = Job.validate(clustercockpit.read(path).frames[Job])
    seconds = (pl.col("ended_at") - pl.col("started_at")).dt.total_seconds() * pl.col("gpu_count")
    idle = pl.col("mean_kernel_active_ratio") < 0.05
    assert jobs.height == 216
    assert jobs["user"].n_unique() == 22
    assert jobs.select(seconds.sum() / 3600).item() == pytest.approx(2175.3683333333333, abs=1e-9)
    assert jobs.filter(idle).select(seconds.sum() / 3600).item() == pytest.approx(41.891666666666666, abs=1e-9)
