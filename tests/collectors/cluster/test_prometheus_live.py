"""A Prometheus that scrapes: Debian's node_exporter of this very machine, and what real exporters have told."""

import gzip
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from collectors.cluster._source import Pulled
from collectors.cluster.prometheus import PrometheusSettings, prometheus
from ledger.store import Store
from ledger.tables import (
    GpuHealthSample,
    GpuSample,
    HostSample,
    JobCgroupSample,
    NetworkPortSample,
    Node,
    NodeState,
    PressureSample,
)
from tests.collectors.cluster.prometheus_server import prometheus_of, served, started, until
from tests.missing import missing
from tests.ports import free_port

pytestmark = pytest.mark.xdist_group("prometheus")

_SECONDS = 120


def scraping(addresses: Mapping[str, str]) -> str:
    """Return a configuration that scrapes each second; times that an exporter tells itself are long ago."""
    jobs = "".join(
        f"  - job_name: {name}\n    metrics_path: /metrics\n    honor_timestamps: false\n"
        f"    static_configs: [{{targets: ['{address.removeprefix('http://')}']}}]\n"
        for name, address in addresses.items()
    )
    return f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{jobs}"


def pulled(url: str, wanted: set[type], **others: object) -> Pulled:
    """Ask until there are rows of all these tables, and return those of the next pull: a first scrape may be half."""
    given = {"kind": "prometheus", "cluster": "c", "url": url, "step_seconds": 2, "delay_seconds": 0, **others}
    pull, found = prometheus.open(PrometheusSettings.model_validate(given)), []

    def is_there() -> bool:
        now = datetime.now(UTC)
        found[:] = list(pull(now - timedelta(seconds=40), now))
        return bool(found) and wanted <= set(found[-1].frames)

    for _ in range(2):
        until(
            is_there, lambda: f"found {[sorted(each.__name__ for each in piece.frames) for piece in found]}", _SECONDS
        )
    with Store.open("duckdb::memory:") as store:
        written = store.append_together(found[-1].frames, source="test")
    assert {name: each.rejected for name, each in written.items() if each.rejected} == {}
    return found[-1]


def last(piece: Pulled, schema: type) -> pl.DataFrame:
    frame: pl.DataFrame = piece.frames[schema]
    return frame.filter(pl.col("sampled_at") == frame["sampled_at"].max())


class Exporter:
    """Tells one device, until it dies."""

    is_alive = True

    def __call__(self, path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        del path, body, headers
        text = b'DCGM_FI_DEV_GPU_UTIL{UUID="GPU-0",gpu="0",Hostname="n1"} 55\n'
        return (200, {"content-type": "text/plain"}, text) if self.is_alive else (500, {}, b"")


@pytest.fixture(scope="module")
def exporter() -> Exporter:
    return Exporter()


@pytest.fixture(scope="module")
def url(exporter: Exporter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a Prometheus that scrapes this machine's node_exporter and the exporter of a device."""
    if shutil.which("prometheus-node-exporter") is None:
        missing("no node_exporter here: apt-get install prometheus-node-exporter")
    folder, node = tmp_path_factory.mktemp("live"), f"http://127.0.0.1:{free_port()}"
    command = ["prometheus-node-exporter", f"--web.listen-address={node.removeprefix('http://')}"]
    with (
        served(exporter) as device,
        started(command, folder / "exporter.log", f"{node}/metrics"),
        prometheus_of(folder / "it", config=scraping({"node": node, "dcgm": device})) as address,
    ):
        yield address


def test_this_machine_is_what_node_exporter_says(url: str) -> None:
    host = last(pulled(url, {HostSample}), HostSample).row(0, named=True)
    assert host["node"] == os.uname().nodename
    assert host["cpu_count"] == os.sysconf("SC_NPROCESSORS_ONLN")
    meminfo = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
    assert host["memory_total_bytes"] == int(meminfo["MemTotal"].split()[0]) * 1024
    uptime = float(Path("/proc/uptime").read_text(encoding="utf-8").split()[0])
    assert 0 < host["cpu_user_seconds_total"] + host["cpu_idle_seconds_total"] < uptime * host["cpu_count"] * 1.01
    assert host["uptime_seconds"] > 0


def test_an_exporter_that_dies_leaves_a_gap_and_not_its_last_values(url: str, exporter: Exporter) -> None:
    pulled(url, {GpuSample})
    exporter.is_alive = False

    def gap() -> timedelta:
        piece = pulled(url, {GpuSample}, step_seconds=1)
        newest = piece.frames[GpuSample]["sampled_at"].max()
        assert isinstance(newest, datetime)
        return piece.reached_at - newest

    # A plain query would tell the last value for five minutes more.
    until(lambda: gap() >= timedelta(seconds=3), lambda: "its last value goes on", _SECONDS)


@pytest.mark.real_data
def test_what_real_exporters_told(tmp_path: Path, shared_data: Path) -> None:
    texts = {
        "dcgm": (shared_data / "gpu/dcgm/datadog_tesla_t4.prom").read_bytes(),
        "node": (shared_data / "node/node_exporter_e2e_output.prom").read_bytes(),
        "kube": (shared_data / "kubernetes/k8s_1_31_ksm_metrics.prom").read_bytes(),
        "cadvisor": gzip.decompress((shared_data / "kubernetes/k8s_1_31_cadvisor.prom.gz").read_bytes()),
    }

    def metrics(path: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        return 200, {"content-type": "text/plain; version=0.0.4"}, texts[path.strip("/").split("/")[0]]

    wanted = {GpuSample, GpuHealthSample, HostSample, PressureSample, NetworkPortSample, JobCgroupSample}
    with served(metrics) as address:
        paths = scraping(dict.fromkeys(texts, address))
        for name in texts:
            paths = paths.replace(
                f"job_name: {name}\n    metrics_path: /", f"job_name: {name}\n    metrics_path: /{name}/"
            )
        with prometheus_of(tmp_path / "it", config=paths) as url:
            piece = pulled(url, {*wanted, Node, NodeState})
    device = last(piece, GpuSample).filter(node="424773df46e0").row(0, named=True)
    assert device["gpu_uuid"] == "GPU-20c56d28-0da5-6d26-a36a-e7af1ce2586e"
    assert (device["power_watts"], device["temperature_celsius"], device["kernel_active_ratio"]) == (8.969, 25, 0)
    assert device["energy_joules_total"] == 128_996.013
    assert (device["sm_clock_hertz"], device["memory_clock_hertz"]) == (300e6, 405e6)
    assert (device["memory_used_bytes"], device["memory_total_bytes"]) == (0, 15_109 * 2**20)
    assert device["evidence_quality"] == "C"
    ports = last(piece, NetworkPortSample)
    fast = ports.filter(device="mlx4_0", port="1").row(0, named=True)
    assert (fast["receive_bytes_total"], fast["transmit_bytes_total"]) == (18_527_668, 14_933_760)
    assert (fast["line_rate_bytes_per_second"], fast["is_up"]) == (5e9, True)
    stalled = last(piece, PressureSample).filter(resource="io", job_id="").row(0, named=True)
    assert (stalled["some_seconds_total"], stalled["full_seconds_total"]) == (159.886802, 159.229614)
    host = last(piece, HostSample).row(0, named=True)
    assert host["cpu_count"] == 8
    pods = last(piece, JobCgroupSample)
    scraper = pods.filter(job_id="0f8da95e-e976-4aea-aeb6-80e58a1b0c44").row(0, named=True)
    assert scraper["cpu_seconds_total"] == 0.414784
    # Each of the pods is one row: neither its containers nor the groups above it are.
    assert pods["job_id"].n_unique() == pods.height
    node = piece.frames[Node].row(0, named=True)
    assert (node["node"], node["cpu_count"], node["gpu_count"]) == ("datagen-1-31", 10, None)
    assert piece.frames[NodeState]["state"].to_list() == ["UP"]
