"""Pods that share a GPU, and pods that were never scheduled."""

from pathlib import Path

import polars as pl
import pytest

from collectors.dumps.alibaba import alibaba
from ledger.errors import InputError
from ledger.tables.jobs import Job

HEADER = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time"


def test_a_share_of_a_gpu_stays_a_share(tmp_path: Path) -> None:
    path = tmp_path / "pods.csv"
    path.write_text(f"{HEADER}\np1,6000,12288,1,460,V100M16,LS,Running,100,900,130\np2,1,1,1,1000,,BE,Pending,5,9,\n")
    assert alibaba.detect(path, path.read_bytes())
    first, second = Job.validate(alibaba.read(path).frames[Job]).to_dicts()
    assert (first["gpu_count"], first["requested_gpu_model"], first["cpu_count"]) == (0.46, "V100M16", 6)
    assert (first["started_at"] - first["submitted_at"]).total_seconds() == 30
    assert (second["state"], second["started_at"], second["gpu_count"]) == ("PENDING", None, None)


def test_a_bad_pod_is_refused_alone_and_an_empty_trace_whole(tmp_path: Path) -> None:
    path = tmp_path / "pods.csv"
    path.write_text(f"{HEADER}\np1,6000,12288,one,460,,LS,Running,100,900,130\np2,1,1,1,1000,,BE,Failed,5,9,6\n")
    dump = alibaba.read(path)
    assert dump.frames[Job]["job_id"].to_list() == ["p2"]
    assert dump.rejected[0].where.endswith("line 2")
    path.write_text(f"{HEADER}\n")
    with pytest.raises(InputError, match="found no pod"):
        alibaba.read(path)


@pytest.mark.real_data
def test_real_pods_keep_their_requests_and_queueing(shared_data: Path) -> None:
    jobs = Job.validate(alibaba.read(shared_data / "jobs/alibaba_openb2023_pods_part1.csv").frames[Job])
    queued = jobs.filter(pl.col("started_at").is_not_null()).select(
        (pl.col("started_at") - pl.col("submitted_at")).dt.total_seconds().alias("queue")
    )["queue"]
    assert jobs.height == 4891
    assert jobs["requested_gpu_count"].sum() == pytest.approx(3616.15, abs=1e-6)
    assert jobs["started_at"].null_count() == 431
    assert queued.mean() == pytest.approx(52.32219730941704)
    assert (queued.median(), queued.quantile(0.95, "lower")) == (2.0, 141.0)
    assert jobs.filter(pl.col("requested_gpu_count").is_between(0, 1, closed="none")).height == 1806
