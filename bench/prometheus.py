"""Thirty days of 64 series at 60 s, from a real Prometheus into a store."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
from prometheus_api_client import PrometheusConnect

from bench._measure import child, peak_bytes
from collectors.cluster._prometheus_api import grid_of, instant, windows
from collectors.cluster.prometheus import PrometheusSettings, prometheus
from ledger.config import Settings
from ledger.store import Store
from ledger.tables import GpuSample

DAYS, DEVICES, STEP = 30, 8, 60
END = datetime(2026, 11, 20, tzinfo=UTC)

_START_SECONDS = 60
_GAUGES = {
    "DCGM_FI_DEV_GPU_UTIL": 100.0,
    "DCGM_FI_DEV_POWER_USAGE": 700.0,
    "DCGM_FI_DEV_FB_USED": 81_559.0,
    "DCGM_FI_DEV_SM_CLOCK": 1_980.0,
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": 1.0,
    "DCGM_FI_PROF_SM_ACTIVE": 1.0,
    "DCGM_FI_PROF_DRAM_ACTIVE": 1.0,
}
_COUNTER = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"


def is_here() -> bool:
    """Tell whether this machine has the programs."""
    return all(shutil.which(name) for name in ("prometheus", "promtool"))


def measure(folder: Path) -> dict[str, float]:
    """Fill a Prometheus, import it in a process of its own, and return the figures."""
    data = folder / "prometheus"
    fill(data)
    with server(data) as url:
        return child("bench.prometheus", url, f"duckdb:{folder / 'imported.duckdb'}")


def fill(folder: Path) -> None:
    """Write blocks of Prometheus: eight metrics of eight devices, each value drawn."""
    folder.mkdir(parents=True)
    drawn = np.random.default_rng(1)
    count = DAYS * 86_400 // STEP
    seconds = int(END.timestamp()) - STEP * np.arange(count - 1, -1, -1)
    text = folder / "samples.txt"
    with text.open("wb") as file:
        for name, most in (*_GAUGES.items(), (_COUNTER, 0.0)):
            file.write(f"# TYPE {name} unknown\n".encode())
            for device in range(DEVICES):
                labels = f'{{UUID="GPU-{device}",gpu="{device}",Hostname="node-1",modelName="NVIDIA H100"}}'
                grown = np.cumsum(drawn.integers(4_000_000, 42_000_000, count)).astype(np.float64)
                values = np.round(drawn.random(count) * most, 3) if most else grown
                lines = pl.DataFrame({"series": [name + labels], "value": [values], "at": [seconds]})
                lines.explode("value", "at").write_csv(file, separator=" ", quote_style="never", include_header=False)
        file.write(b"# EOF\n")
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=768h"]
    subprocess.run([*command, str(text), str(folder / "data")], check=True, stdout=subprocess.DEVNULL)
    text.unlink()


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Serve the blocks, and yield the address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1m}\n", encoding="utf-8")
    arguments = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        _ready(url)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _ready(url: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            urllib.request.urlopen(f"{url}/-/ready", timeout=2).close()  # noqa: S310  loopback
        except OSError:
            if time.monotonic() > deadline:
                raise SystemExit(f"bench: no Prometheus answers at {url}") from None
            time.sleep(0.1)
        else:
            return


def imported(url: str, store_url: str) -> dict[str, float]:
    """Import everything, and read the same with the client library alone."""
    settings = PrometheusSettings(kind="prometheus", cluster="bench", url=url, delay_seconds=0, history_days=DAYS)
    rows, points, kept = 0, 0, 0.0
    with Store.open(store_url, memory_limit=Settings().store.memory_limit) as store:
        began = time.perf_counter()
        for piece in prometheus.open(settings)(END - timedelta(days=DAYS), END):
            at = time.perf_counter()
            written = store.append_together(piece.frames, source="bench")
            kept += time.perf_counter() - at
            rows += written["gpu_sample"].rows
            points += piece.frames[GpuSample].height * (len(_GAUGES) + 1)
        taken = time.perf_counter() - began
    peak = peak_bytes()
    grid = grid_of(END - timedelta(days=DAYS), END, STEP)
    library = PrometheusConnect(url, timeout=60)
    began = time.perf_counter()
    for each in windows(grid, 10_000):
        library.custom_query_range('{__name__=~"DCGM_.*"}', instant(each.start), instant(each.end), str(STEP))
    return {
        "rows": rows,
        "points": points,
        "import_seconds": taken,
        "kept_seconds": kept,
        "import_peak_bytes": peak,
        "library_seconds": time.perf_counter() - began,
    }


if __name__ == "__main__":
    print(json.dumps(imported(*sys.argv[1:3])))
