"""What tests of cluster sources share: a Slurm that runs."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.context import Context
from ledger.config import load
from ledger.frames import to_frame
from ledger.tables import Gpu
from tests.collectors.cluster.slurm_ledger import Ledger, gpu
from tests.slurm_cluster import CUT, DETECTED, WHOLE, Layout, SlurmCluster, running


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[SlurmCluster]:
    """Yield a Slurm of two nodes with four GPUs each."""
    yield from _running(WHOLE)


@pytest.fixture(scope="module")
def cut_cluster() -> Iterator[SlurmCluster]:
    """Yield a Slurm of two nodes with three GPUs each, of which one is cut into MIG devices; tokens open slurmrestd."""
    yield from _running(CUT)


@pytest.fixture(scope="module")
def detected_cluster() -> Iterator[SlurmCluster]:
    """Yield a Slurm of two nodes whose GPUs and MIG devices it detects, with our prolog and epilog."""
    yield from _running(DETECTED)


def _running(layout: Layout) -> Iterator[SlurmCluster]:
    # The path of a socket has 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    try:
        with running(folder, layout) as started:
            yield started
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ledger(slurm_cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Yield a store that knows the devices of the nodes; what still runs in the end is cancelled."""
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    context = Context(load(store={"url": "duckdb::memory:"}))
    devices = [gpu(node, index) for node in ("n1", "n2") for index in range(4)]
    context.store.append(Gpu, to_frame(Gpu, devices), source="t")
    yield Ledger(slurm_cluster, context)
    context.close()
    slurm_cluster.clear()
