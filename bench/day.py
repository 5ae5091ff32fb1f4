"""A day of many GPUs at 10 s: samples to GPU hours and allocations, beside one plain aggregate of the same rows."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta

from bench._measure import peak_bytes
from collectors import simulate
from ledger.config import Settings
from ledger.store import Store
from queries.executor import run_due

ROLLUPS = ("gpu_state_interval", "gpu_minute", "gpu_hour", "job_gpu_hour", "cost_hour", "allocation_hour")

_YARDSTICK = (
    "SELECT cluster, node, gpu_uuid, date_trunc('hour', sampled_at) AS hour_start, avg(kernel_active_ratio), "
    "avg(power_watts), max(energy_joules_total) - min(energy_joules_total) FROM gpu_sample GROUP BY ALL"
)

END = datetime(2026, 11, 20, tzinfo=UTC)


def write(url: str, gpus: int) -> None:
    """Write a day of samples, with what else the rollups read."""
    # A plan of two days ends in the first second of its second: it is one whole day.
    cluster = simulate.plan(gpus, 2, 1, END)
    with Store.open(url, now=lambda: END) as store:
        for schema, frame in simulate.holdings(cluster):
            store.append(schema, frame, source="bench")
        for schema, frame in simulate.samples(cluster, (END - timedelta(days=1), END)):
            store.append(schema, frame, source="bench")


def compute(url: str) -> None:
    """Compute the rollups and print the figures."""
    with Store.open(url, now=lambda: END, memory_limit=Settings().store.memory_limit) as store:
        rows = store.select("SELECT count(*) AS n FROM gpu_sample").item()
        began = time.perf_counter()
        store.select(_YARDSTICK)
        yardstick = time.perf_counter() - began
        began = time.perf_counter()
        done = run_due(store, Settings(), only=ROLLUPS)
        taken = time.perf_counter() - began
    parts = {each.rollup: round(each.seconds, 2) for each in done}
    print(
        json.dumps(
            {"rows": rows, "rollup_seconds": taken, "yardstick_seconds": yardstick, "peak_bytes": peak_bytes(), **parts}
        )
    )


if __name__ == "__main__":
    command, address = sys.argv[1:3]
    if command == "write":
        write(address, int(sys.argv[3]))
    else:
        compute(address)
