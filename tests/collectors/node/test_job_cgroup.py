import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import polars as pl
import pytest

from collectors.node.job_cgroup import job_cgroup
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row

POD = "0b7f3a52-1111-4222-8333-444455556666"
V2 = {
    "cpu.stat": "usage_usec 5000000\nuser_usec 4000000\nsystem_usec 1000000\nnr_throttled 3\nthrottled_usec 250000",
    "memory.current": 900,
    "memory.peak": 1000,
    "memory.max": "max",
    "memory.stat": "anon 300\nfile 500\nkernel 100\nshmem 200\nfile_mapped 7",
    "memory.swap.current": 0,
    "memory.events": "low 0\nhigh 0\nmax 5\noom 2\noom_kill 1",
    "pids.current": 12,
    "io.stat": "259:0 rbytes=4096 wbytes=100 rios=1 wios=2 dbytes=0 dios=0\n253:0 rbytes=4096 wbytes=100 rios=1 wios=2",
    "io.pressure": "some avg10=25.00 avg60=1 avg300=0 total=1500000\nfull avg10=0.00 avg60=0 avg300=0 total=500000",
}
V1 = {
    "cpuacct/cpuacct.usage": 5_000_000_000,
    "cpuacct/cpuacct.stat": "user 400\nsystem 100",
    "cpu/cpu.stat": "nr_periods 0\nnr_throttled 0\nthrottled_time 250000000",
    "memory/memory.usage_in_bytes": 900,
    "memory/memory.max_usage_in_bytes": 1000,
    "memory/memory.limit_in_bytes": 9223372036854771712,
    "memory/memory.stat": "cache 1\nrss 2\nshmem 3\ntotal_cache 500\ntotal_rss 300\ntotal_shmem 200\ntotal_swap 0",
    "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1",
    "blkio/blkio.throttle.io_service_bytes": "259:0 Read 1\nTotal 1",
    "blkio/blkio.throttle.io_service_bytes_recursive": "259:0 Read 4096\n259:0 Write 100\n259:0 Total 4196\nTotal 4196",
    "blkio/blkio.throttle.io_serviced_recursive": "259:0 Read 1\n259:0 Write 2\n259:0 Total 3\nTotal 3",
}


def put(folder: Path, values: Mapping[str, object]) -> Path:
    for name, value in values.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return folder


def unified(sysfs: Path, job: str, values: Mapping[str, object] = V2) -> Path:
    put(sysfs / "fs/cgroup", {"cgroup.controllers": "cpu io memory pids"})
    return put(sysfs / "fs/cgroup" / job, values)


def separate(sysfs: Path, job: str) -> None:
    for name, value in V1.items():
        controller, _, file = name.partition("/")
        put(sysfs / "fs/cgroup" / controller / job, {file: value})


def rows_of(sysfs: Path) -> dict[object, Row]:
    return {row["job_id"]: row for table, row in job_cgroup.open(sysfs=sysfs)() if table == "job_cgroup_sample"}


USED = {
    "cpu_seconds_total": 5.0,
    "cpu_user_seconds_total": 4.0,
    "cpu_system_seconds_total": 1.0,
    "cpu_throttled_seconds_total": 0.25,
    "memory_used_bytes": 900,
    "memory_peak_bytes": 1000,
    "memory_limit_bytes": None,
    "memory_resident_bytes": 500,
    "memory_cache_bytes": 300,
    "swap_used_bytes": 0,
    "oom_kill_count_total": 1,
    "read_bytes_total": 4096,
    "written_bytes_total": 100,
    "read_count_total": 1,
    "write_count_total": 2,
}


def test_a_job_in_the_unified_hierarchy(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    unified(tmp_path, "system.slice/slurmstepd.scope/job_77")
    (tmp_path / "dev/block/253:0/slaves/nvme0n1").mkdir(parents=True)
    row = rows_of(tmp_path)["77"]
    assert row == {"job_id": "77", "scheduler": "slurm", "hierarchy": "v2", "task_count": 12, **USED}
    found = kept(job_cgroup.open(sysfs=tmp_path)())
    assert found["job_cgroup_sample"].height == 1
    waited = found["pressure_sample"].row(0, named=True)
    assert (waited["job_id"], waited["resource"]) == ("77", "io")
    assert (waited["some_seconds_total"], waited["full_seconds_total"], waited["some_ratio"]) == (1.5, 0.5, 0.25)


def test_a_job_in_the_older_hierarchies(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    separate(tmp_path, "slurm/uid_1000/job_77")
    row = rows_of(tmp_path)["77"]
    assert row == {"job_id": "77", "scheduler": "slurm", "hierarchy": "v1", "task_count": None, **USED}
    assert kept(job_cgroup.open(sysfs=tmp_path)())["job_cgroup_sample"].height == 1


def test_controllers_that_share_a_tree(tmp_path: Path) -> None:
    folder = put(tmp_path / "fs/cgroup/cpu,cpuacct/slurm_n1/uid_5/job_9", {"cpuacct.usage": 2_000_000_000})
    put(folder, {"cpu.stat": "throttled_time 0"})
    row = rows_of(tmp_path)["9"]
    assert (row["cpu_seconds_total"], row["cpu_throttled_seconds_total"]) == (2.0, 0.0)
    assert (row["memory_used_bytes"], row["read_bytes_total"]) == (None, None)


def test_a_request_on_a_stacked_device_counts_once(tmp_path: Path) -> None:
    unified(tmp_path, "system.slice/slurmstepd.scope/job_77")
    assert rows_of(tmp_path)["77"]["read_bytes_total"] == 8192, "nobody says that one stands on the other"
    (tmp_path / "dev/block/253:0/slaves/nvme0n1").mkdir(parents=True)
    assert rows_of(tmp_path)["77"]["read_bytes_total"] == 4096
    shutil.rmtree(tmp_path / "dev")
    (tmp_path / "dev/block/259:0/loop").mkdir(parents=True)
    assert rows_of(tmp_path)["77"]["read_bytes_total"] == 4096


@pytest.mark.parametrize(
    ("folder", "job_id", "scheduler"),
    [
        ("system.slice/slurmstepd.scope/s8FX3K2ABCDE", "s8FX3K2ABCDE", "slurm"),
        ("system.slice/n1_slurmstepd.scope/job_5", "5", "slurm"),
        ("batch.slice/slurmstepd.scope/job_6", "6", "slurm"),
        (f"kubepods/burstable/pod{POD}", POD, "kubernetes"),
        (f"kubepods/pod{POD}", POD, "kubernetes"),
        (
            f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{POD.replace('-', '_')}.slice",
            POD,
            "kubernetes",
        ),
        (f"kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice", POD, "kubernetes"),
    ],
)
def test_names_of_jobs_and_pods(tmp_path: Path, folder: str, job_id: str, scheduler: str) -> None:
    inner = "step_0/user/task_0" if scheduler == "slurm" else "cri-containerd-77.scope"
    path = unified(tmp_path, folder)
    put(path / inner, V2)
    put(path.parent / "system", V2)
    rows = rows_of(tmp_path)
    assert [(row["job_id"], row["scheduler"]) for row in rows.values()] == [(job_id, scheduler)]


def test_a_controller_that_is_off_measures_nothing_and_a_job_without_io_moved_nothing(tmp_path: Path) -> None:
    unified(tmp_path, "system.slice/slurmstepd.scope/job_1", {"cpu.stat": "usage_usec 7", "io.stat": ""})
    row = rows_of(tmp_path)["1"]
    assert (row["cpu_seconds_total"], row["cpu_throttled_seconds_total"]) == (0.000007, None)
    assert (row["memory_used_bytes"], row["memory_resident_bytes"], row["task_count"]) == (None, None, None)
    assert (row["read_bytes_total"], row["write_count_total"]) == (0, 0)


def test_a_job_that_ended_meanwhile_has_no_row(tmp_path: Path) -> None:
    (unified(tmp_path, "system.slice/slurmstepd.scope/job_1") / ".." / "job_2").mkdir()
    assert list(rows_of(tmp_path)) == ["1"]


def test_parts_that_were_read_one_after_the_other_may_contradict_each_other(tmp_path: Path) -> None:
    race = {**V2, "memory.stat": "anon 300\nfile 100\nshmem 200", "io.stat": "259:0 rbytes=-1 wbytes=5"}
    unified(tmp_path, "system.slice/slurmstepd.scope/job_1", race)
    row = rows_of(tmp_path)["1"]
    assert (row["memory_cache_bytes"], row["memory_resident_bytes"]) == (None, 500)
    assert (row["read_bytes_total"], row["written_bytes_total"], row["read_count_total"]) == (None, 5, 0)


def test_a_limit_is_kept(tmp_path: Path) -> None:
    unified(tmp_path, "system.slice/slurmstepd.scope/job_1", {**V2, "memory.max": 2048})
    assert rows_of(tmp_path)["1"]["memory_limit_bytes"] == 2048


def test_a_scheduler_without_jobs_is_no_error_and_none_at_all_is_missing(tmp_path: Path) -> None:
    unified(tmp_path, "system.slice/slurmstepd.scope", {})
    (tmp_path / "fs/cgroup/system.slice/slurmstepd.scope/system").mkdir(parents=True)
    assert rows_of(tmp_path) == {}
    with pytest.raises(SourceMissing, match="no cgroup of Slurm or Kubernetes"):
        rows_of(tmp_path / "elsewhere")


def test_broken_pressure_is_an_error(tmp_path: Path) -> None:
    unified(tmp_path, "system.slice/slurmstepd.scope/job_1", {**V2, "cpu.pressure": "some avg10=x total=y"})
    with pytest.raises(SourceError, match="expected `some"):
        rows_of(tmp_path)


def test_broken_pressure_of_one_job_costs_no_other_job_its_rows(tmp_path: Path) -> None:
    stalled = "some avg10=25.00 total=1500000"
    broken = {**V2, "cpu.pressure": "some avg10=x total=y", "io.pressure": stalled}
    unified(tmp_path, "system.slice/slurmstepd.scope/job_1", broken)
    unified(tmp_path, "system.slice/slurmstepd.scope/job_2", {**V2, "cpu.pressure": stalled})
    found: list[tuple[str, Row]] = []
    with pytest.raises(SourceError, match=r"job_1/cpu\.pressure"):
        found.extend(job_cgroup.open(sysfs=tmp_path)())
    assert [row["job_id"] for table, row in found if table == "job_cgroup_sample"] == ["1", "2"]
    stalls = [(row["job_id"], row["resource"]) for table, row in found if table == "pressure_sample"]
    assert stalls == [("1", "io"), ("2", "cpu"), ("2", "io")]
