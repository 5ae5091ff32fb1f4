"""A real Slurm that detects its devices and runs our prolog: the map says by UUID what the hub makes of an index.

Slurm sorts what it detects through NVML by the place on the bus, and MIG devices by the place on their GPU: first ones
of all GPUs, then second ones.
"""

import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import pytest

from app.context import Context
from ledger.config import load
from ledger.frames import to_frame
from ledger.tables import Gpu
from tests.collectors.cluster.slurm_ledger import Ledger
from tests.missing import missing
from tests.slurm_cluster import SlurmCluster

pytestmark = pytest.mark.xdist_group("slurm")

PROFILE = "3g.40gb"


def devices() -> Iterator[Mapping[str, object]]:
    """Yield the rows of a node as its agent tells them, which knows that Slurm counts PCI addresses."""
    since = datetime.now(UTC) - timedelta(days=1)
    common = {"cluster": "c", "node": "n1", "exists_start": since, "gpu_fraction": 1, "parent_gpu_uuid": ""}
    for index, minor in ((2, 3), (3, 2)):
        yield {**common, "gpu_uuid": f"GPU-{index}", "gpu_index": index, "minor_index": minor, "scheduler_index": index}
    for index in (0, 1):
        parent = {**common, "gpu_index": index, "scheduler_index": index, "parent_gpu_uuid": f"GPU-{index}"}
        for place in (0, 1):
            yield {**parent, "gpu_uuid": f"MIG-{index}-{place}", "mig_profile": PROFILE, "mig_index": place}


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
        for line in path.read_text().splitlines():
            found.setdefault(line.split()[0], []).append(path.name)
    return found


def test_an_index_is_the_device_that_slurm_gives(ledger: Ledger) -> None:
    cluster = ledger.cluster
    jobs = [
        cluster.submit(f"--gres=gpu:{kind}:{count}", "--nodelist=n1")
        for kind, count in ((PROFILE, 1), ("h100", 1), (PROFILE, 2), ("h100", 1), (PROFILE, 1))
    ]
    for job in jobs:
        cluster.until_state(job, "RUNNING")
    cluster.until(lambda: mapped(cluster).keys() >= set(jobs), "no prolog")
    truth = {job: names for job, names in mapped(cluster).items() if job in jobs}
    assert sorted(name for names in truth.values() for name in names) == sorted(
        str(row["gpu_uuid"]) for row in devices()
    )
    outcome = ledger.pull()
    assert (outcome.rejected, outcome.remarks) == (0, [])
    assert {job: [uuid for uuid, _ in ledger.held(job)] for job in jobs} == truth
    cluster.run("scancel", *jobs)
    cluster.until(lambda: not mapped(cluster).keys() & set(jobs), "no epilog")
