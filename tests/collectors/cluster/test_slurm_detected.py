"""A real Slurm that detects its devices and runs our prolog: the map says by UUID what the hub makes of an index.

Slurm sorts what it detects through NVML by the place on the bus, and MIG devices by the place on their GPU as if that
were one: kinds of devices mix.
"""

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from app.context import Context
from collectors.node._files import text
from collectors.node._slurm_devices import Device, Gres, indices
from ledger.config import load
from ledger.frames import to_frame
from ledger.tables import Gpu, JobGpu
from tests.collectors.cluster.slurm_ledger import WAYS, Ledger
from tests.missing import missing
from tests.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.xdist_group("slurm")

SINCE = datetime.now(UTC) - timedelta(days=1)
PROFILES = ("3g.40gb", "1g.10gb")

HERE = {
    "GPU-0": Device(3, (0, 16, 0)),
    "GPU-1": Device(0, (0, 17, 0), is_cut=True, slices=(("MIG-1-0", 0), ("MIG-1-1", 1))),
    "GPU-2": Device(4, (0, 18, 0), is_cut=True, slices=(("MIG-2-0", 0), ("MIG-2-1", 1))),
    "GPU-3": Device(2, (0, 19, 0)),
}


def devices() -> Iterator[Mapping[str, object]]:
    """Yield the rows of a node as its agent tells them."""
    counted = indices(HERE, Gres("nvml"))
    for index, (uuid, device) in enumerate(HERE.items()):
        common = {"cluster": "c", "node": "n1", "exists_start": SINCE, "gpu_fraction": 1, "gpu_index": index}
        if not device.is_cut:
            yield {**common, "gpu_uuid": uuid, "parent_gpu_uuid": "", "scheduler_index": counted[uuid]}
        for part, place in device.slices:
            known = {"gpu_uuid": part, "parent_gpu_uuid": uuid, "scheduler_index": counted[part]}
            yield {**common, **known, "mig_profile": PROFILES[place], "mig_index": place}


@pytest.fixture
def ledger(detected_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Yield a store that knows the devices; what still runs in the end is cancelled."""
    if shutil.which("flock") is None:
        missing("flock not found; apt-get install util-linux")
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    context = Context(load(store={"url": "duckdb::memory:"}))
    context.store.append(Gpu, to_frame(Gpu, list(devices())), source="t")
    yield Ledger(detected_cluster, context)
    context.close()
    detected_cluster.clear()


def mapped(cluster: SlurmCluster) -> dict[str, list[str]]:
    """Return the devices of each job by the prolog's map."""
    found: dict[str, list[str]] = {}
    for path in sorted((cluster.folder / "map").glob("[!.]*")):
        for line in (text(path) or "").splitlines():
            found.setdefault(line.split()[0], []).append(path.name)
    return found


@pytest.mark.parametrize("way", WAYS)
def test_an_index_is_the_device_that_slurm_gives(ledger: Ledger, way: str) -> None:
    cluster = ledger.cluster
    jobs = [
        cluster.submit(f"--gres=gpu:{kind}:{count}", "--nodelist=n1")
        for kind, count in (("1g.10gb", 1), ("h100", 1), ("3g.40gb", 2), ("h100", 1), ("1g.10gb", 1))
    ]
    for job in jobs:
        cluster.until_state(job, "RUNNING")
    cluster.until(lambda: mapped(cluster).keys() >= set(jobs), "no prolog")
    truth = {job: names for job, names in mapped(cluster).items() if job in jobs}
    assert sorted(name for names in truth.values() for name in names) == sorted(
        str(row["gpu_uuid"]) for row in devices()
    )
    outcome = ledger.pull(way)
    assert (outcome.rejected, outcome.remarks) == (0, [])
    assert {job: [uuid for uuid, _ in ledger.held(job)] for job in jobs} == truth
    cluster.run("scancel", *jobs)
    cluster.until(lambda: not mapped(cluster).keys() & set(jobs), "no epilog")


def test_a_share_is_of_the_device_that_slurm_gives(ledger: Ledger) -> None:
    """Shares are dealt out in the order of what Slurm detected; which device it was, the prolog knows."""
    cluster = ledger.cluster
    jobs = [cluster.submit("--gres=shard:2", "--nodelist=n1") for _ in range(6)]
    for job in jobs:
        cluster.until_state(job, "RUNNING")
    cluster.until(lambda: mapped(cluster).keys() >= set(jobs), "no prolog")
    # Of what is shared out Slurm tells the prolog only its index.
    counted = {str(index): uuid for uuid, index in indices(HERE, Gres("nvml")).items()}
    truth = {job: [counted[name] for name in names] for job, names in mapped(cluster).items() if job in jobs}
    ledger.pull()
    assert {job: [uuid for uuid, _ in ledger.held(job)] for job in jobs} == truth
    held = ledger.read(JobGpu).filter(pl.col("job_id").is_in(jobs))
    assert set(held["requested_share_ratio"]) == {1.0}
    assert held["gpu_uuid"].n_unique() == len(jobs)
    cluster.run("scancel", *jobs)
    cluster.until(lambda: not mapped(cluster).keys() & set(jobs), "no epilog")


def test_a_job_on_a_whole_node_holds_all_that_it_has(ledger: Ledger) -> None:
    cluster = ledger.cluster
    job = cluster.submit("--gres=gpu:h100:2,gpu:3g.40gb:2,gpu:1g.10gb:2", "--nodelist=n1", script="sleep 1")
    cluster.until_recorded(job, "COMPLETED")
    ledger.pull()
    assert {uuid for uuid, _ in ledger.held(job)} == {row["gpu_uuid"] for row in devices()}


def test_a_device_that_was_misnamed_was_never_held(ledger: Ledger) -> None:
    """An agent that could not read how Slurm counts learns it: what jobs held until then was another device."""
    cluster, store = ledger.cluster, ledger.context.store
    others = {"MIG-1-0": "MIG-2-0", "MIG-2-0": "MIG-1-0"}
    told = {str(row["gpu_uuid"]): row["scheduler_index"] for row in devices()}
    wrong = [
        {**row, "scheduler_index": told[others.get(uuid, uuid)]} for row in devices() if (uuid := str(row["gpu_uuid"]))
    ]
    store.append(Gpu, to_frame(Gpu, wrong), source="t")
    jobs = [cluster.submit(f"--gres=gpu:{kind}:1", "--nodelist=n1") for kind in ("3g.40gb", "3g.40gb", "h100")]
    for job in jobs:
        cluster.until_state(job, "RUNNING")
    ledger.pull()
    truth = {job: names for job, names in mapped(cluster).items() if job in jobs}
    assert [ledger.held(job)[0][0] for job in jobs] == [others.get(truth[job][0], truth[job][0]) for job in jobs]
    store.append(Gpu, to_frame(Gpu, list(devices())), source="t")
    ledger.pull()
    held = ledger.read(JobGpu).filter(pl.col("job_id").is_in(jobs))
    really = held.filter(pl.col("held_end").is_null())
    assert {job: really.filter(job_id=job)["gpu_uuid"].to_list() for job in jobs} == truth
    never = held.filter(pl.col("held_end").is_not_null())
    assert never.height == len(others)
    assert never["held_start"].equals(never["held_end"], check_names=False)
