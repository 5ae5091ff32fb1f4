"""Which devices exist: since when, and until when, whatever is cut into pulls."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.context import Context
from app.services._pulling import pull
from collectors.cluster._configured import Configured
from collectors.cluster.prometheus import PrometheusSettings, prometheus
from ledger.config import load
from ledger.tables import Gpu, Node
from tests.collectors.cluster.prometheus_server import at, open_metrics, prometheus_of, series

pytestmark = pytest.mark.xdist_group("prometheus")

END = 1200
CUT = {"GPU_I_ID": "1", "GPU_I_PROFILE": "3g.40gb"}


def devices() -> Iterator[tuple[str, list[str]]]:
    """Of one node a device stays, one goes, one comes back, one is cut; for some hours nobody was seen."""
    steps = [step for step in range(END) if not 500 <= step < 900]
    seen = {
        "stays": steps,
        "goes": range(20),
        "returns": [*range(10), *range(400, 500), *range(900, END)],
        "cut": range(60),
    }
    for uuid, told in seen.items():
        labels = {"UUID": uuid, "gpu": "0", "Hostname": "n1", "modelName": "H100"}
        yield series("DCGM_FI_DEV_FB_USED", labels, dict.fromkeys(told, 10))
    later = [step for step in steps if step >= 60]
    yield series("DCGM_FI_DEV_FB_USED", {"UUID": "cut", "Hostname": "n1", **CUT}, dict.fromkeys(later, 5))
    yield series("DCGM_FI_DEV_FB_USED", {"UUID": "other", "Hostname": "n2"}, dict.fromkeys(range(5, 15), 5))
    for cpu in ("0", "1"):
        yield series("node_cpu_seconds_total", {"node": "n1", "cpu": cpu, "mode": "idle"}, dict.fromkeys(steps, 5))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with prometheus_of(tmp_path_factory.mktemp("devices") / "it", open_metrics(devices())) as address:
        yield address


@pytest.mark.parametrize("stops", [(*range(30, END, 30), END), (*range(120, END, 120), END)])
def test_a_device_exists_from_its_first_sample_until_it_was_last_seen(
    url: str, stops: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CLUSTERLEDGER_STORE", raising=False)
    given = {"kind": "prometheus", "cluster": "c", "url": url, "delay_seconds": 0, "gone_after_hours": 4}
    source = Configured("p", prometheus, PrometheusSettings.model_validate(given))
    context = Context(load(store={"url": "duckdb::memory:"}), now=lambda: at(END))
    for stop in stops:
        outcome = pull(context, source, at(-1) if stop == stops[0] else None, at(stop))
        assert (outcome.error, outcome.rejected) == (None, 0)
    rows = context.store.read(Gpu).sort("gpu_uuid", "exists_start")
    found: dict[str, list[tuple[object, object]]] = {}
    for row in rows.iter_rows(named=True):
        found.setdefault(row["gpu_uuid"], []).append((row["exists_start"], row["exists_end"]))
    nodes = context.store.read(Node).sort("node").select("node", "exists_start", "exists_end", "cpu_count", "source")
    context.close()
    assert nodes.rows() == [("n1", at(0), None, 2, "prometheus"), ("n2", at(5), at(14), None, "prometheus")]
    assert found["other"] == [(at(5), at(14))]
    # While nobody was seen nothing was gone: it is unknown time of what exists.
    assert found["stays"] == [(at(0), None)]
    assert found["goes"] == [(at(0), at(19))]
    assert found["returns"] == [(at(0), at(9)), (at(400), None)]
    assert found["cut"] == [(at(0), at(60))]
    assert found["cut-gi-1"] == found["cut-rest"] == [(at(60), None)]
