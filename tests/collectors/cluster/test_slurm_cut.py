"""A real Slurm whose nodes have MIG devices, and a slurmrestd that only a token opens."""

import stat
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app.context import Context
from ledger.config import load
from ledger.frames import to_frame
from ledger.tables import Gpu, Job, JobGpu
from tests.collectors.cluster.slurm_ledger import RUN, WAYS, Ledger
from tests.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.xdist_group("slurm")

PROFILES = ("3g.40gb", "1g.10gb", "1g.10gb")


def devices(node: str) -> Iterator[Mapping[str, object]]:
    """Yield the rows of a node's devices as its agent tells them: of three GPUs the second one is cut."""
    since = datetime.now(UTC) - timedelta(days=1)
    common = {"cluster": "c", "node": node, "exists_start": since, "gpu_fraction": 1, "parent_gpu_uuid": ""}
    yield from ({**common, "gpu_index": index, "gpu_uuid": f"GPU-{node}-{index}"} for index in (0, 2))
    parent = {**common, "gpu_index": 1, "parent_gpu_uuid": f"GPU-{node}-1", "gpu_fraction": 0.25}
    for index, profile in enumerate(PROFILES):
        yield {**parent, "gpu_uuid": f"MIG-{node}-{index}", "mig_profile": profile, "mig_index": index}
    yield {**parent, "gpu_uuid": f"GPU-{node}-1-rest"}


@pytest.fixture
def cut(cut_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator["Cut"]:
    """Yield a store that knows the devices; what still runs in the end is cancelled."""
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    context = Context(load(store={"url": "duckdb::memory:"}))
    rows = [row for node in ("n1", "n2") for row in devices(node)]
    context.store.append(Gpu, to_frame(Gpu, rows), source="t")
    yield Cut(cut_cluster, context, tmp_path / "token")
    context.close()
    cut_cluster.clear()


class Cut(Ledger):
    """A store that asks slurmrestd with a token."""

    def __init__(self, cluster: SlurmCluster, context: Context, token_file: Path) -> None:
        super().__init__(cluster, context)
        self.token_file = token_file
        self.renew()

    def renew(self, text: str = "") -> None:
        """Write a token as an administrator does."""
        self.token_file.write_text((text or self.cluster.token()) + "\n")
        self.token_file.chmod(stat.S_IRUSR | stat.S_IWUSR)

    def ask(self, way: str = "commands", since: datetime | None = None, **changes: Any) -> Any:
        """Ask Slurm as the hub does."""
        who = {"user": "root", "token_file": self.token_file} if way == "slurmrestd" else {}
        return super().ask(way, since, **{**who, **changes})


@pytest.mark.parametrize("way", WAYS)
def test_a_job_on_mig_devices_holds_them_by_their_uuid(cut: Cut, way: str) -> None:
    cluster = cut.cluster
    jobs = {
        gres: cluster.submit(f"--gres={gres}", "--nodelist=n1")
        for gres in ("gpu:1g.10gb:2", "gpu:3g.40gb:1", "gpu:h100:2")
    }
    for job in jobs.values():
        cluster.until_state(job, "RUNNING")
    outcome = cut.pull(way)
    assert (outcome.rejected, outcome.remarks) == (0, [])
    held = {gres: [uuid for uuid, _ in cut.held(job)] for gres, job in jobs.items()}
    assert held == {
        "gpu:1g.10gb:2": ["MIG-n1-1", "MIG-n1-2"],
        "gpu:3g.40gb:1": ["MIG-n1-0"],
        "gpu:h100:2": ["GPU-n1-0", "GPU-n1-2"],
    }
    (run,) = cut.runs(jobs["gpu:1g.10gb:2"])
    assert (run["gpu_count"], run["requested_gpu_model"]) == (2, None)
    cluster.run("scancel", "--user=root")
    for job in jobs.values():
        cluster.until_recorded(job, "CANCELLED")
    cut.pull(way)
    ended = cut.read(JobGpu).filter(pl.col("job_id").is_in(jobs.values()))
    assert ended["held_end"].null_count() == 0
    assert ended.height == 5


@pytest.mark.parametrize("way", WAYS)
def test_shares_are_of_whole_devices_and_of_slices(cut: Cut, way: str) -> None:
    """Slurm deals shares out to all devices that it counts: each of the five here has four."""
    cluster = cut.cluster
    jobs = [cluster.submit("--gres=shard:4", "--nodelist=n1") for _ in range(4)]
    jobs += [cluster.submit("--gres=shard:1", "--nodelist=n1") for _ in range(2)]
    for job in jobs:
        cluster.until_state(job, "RUNNING")
    outcome = cut.pull(way)
    assert (outcome.rejected, outcome.remarks) == (0, [])
    rows = cut.read(JobGpu).filter(pl.col("job_id").is_in(jobs) & pl.col("held_end").is_null())
    shares = {job: rows.filter(job_id=job).select("gpu_uuid", "requested_share_ratio").rows() for job in jobs}
    assert [[part for _, part in shares[job]] for job in jobs] == [[1.0]] * 4 + [[0.25]] * 2
    named = ["GPU-n1-0", "GPU-n1-2", "MIG-n1-0", "MIG-n1-1", "MIG-n1-2"]
    assert sorted({uuid for found in shares.values() for uuid, _ in found}) == named
    assert shares[jobs[4]][0][0] == shares[jobs[5]][0][0]


@pytest.mark.parametrize("way", WAYS)
def test_a_part_of_mps_is_a_part_of_one_device(cut: Cut, way: str) -> None:
    """Of each device there are a hundred parts, and one job's are all of one device."""
    cluster = cut.cluster
    jobs = [cluster.submit(f"--gres=mps:{parts}", "--nodelist=n1") for parts in (25, 50)]
    for job in jobs:
        cluster.until_state(job, "RUNNING")
    outcome = cut.pull(way)
    assert (outcome.rejected, outcome.remarks) == (0, [])
    rows = cut.read(JobGpu).filter(pl.col("job_id").is_in(jobs) & pl.col("held_end").is_null())
    assert dict(rows.select("job_id", "requested_share_ratio").rows()) == dict(zip(jobs, (0.25, 0.5), strict=True))
    assert rows["gpu_uuid"].n_unique() == 1, "Slurm lets MPS run on one device of a node"


def test_a_job_on_a_whole_node_holds_slices_too(cut: Cut) -> None:
    cluster = cut.cluster
    job = cluster.submit("--gres=gpu:h100:2,gpu:3g.40gb:1,gpu:1g.10gb:2", script="sleep 1")
    cluster.until_recorded(job, "COMPLETED")
    cut.pull()
    assert cut.runs(job)[0]["gpu_count"] == 5
    node = cut.runs(job)[0]["nodes"]
    named = [f"GPU-{node}-0", f"GPU-{node}-2", *(f"MIG-{node}-{index}" for index in range(3))]
    assert cut.held(job) == [(uuid, False) for uuid in named]


def test_both_ways_tell_the_same_of_slices(cut: Cut) -> None:
    job = cut.cluster.submit("--gres=gpu:1g.10gb:1", "--nodes=2")
    cut.cluster.until_state(job, "RUNNING")
    cut.pull("commands")
    first = cut.read(JobGpu).sort(*RUN, "gpu_uuid")
    assert [uuid for uuid, _ in cut.held(job)] == ["MIG-n1-1", "MIG-n2-1"]
    cut.pull("slurmrestd")
    assert cut.read(JobGpu).sort(*RUN, "gpu_uuid").equals(first)


def test_a_token_opens_slurmrestd_and_one_that_was_renewed_is_read_anew(cut: Cut) -> None:
    job = cut.cluster.submit("--gres=gpu:h100:1")
    cut.cluster.until_state(job, "RUNNING")
    for refused in ({}, {"token_file": None}, {"user": ""}):
        cut.renew("SLURM_JWT=a.b.c")
        outcome = cut.ask("slurmrestd", **refused)
        assert outcome.error is not None
        assert "token" in outcome.error.hint, str(outcome.error)
    assert cut.read(Job).is_empty()
    cut.renew()
    assert cut.pull("slurmrestd").rows > 0
    assert cut.read(Job).filter(pl.col("job_id") == job)["state"].to_list() == ["RUNNING"]
