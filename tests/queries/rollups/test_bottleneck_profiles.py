"""How often each simulated kind of work is told from the others: the confusion matrix, on noisy minutes."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import dataframely as dy
import polars as pl

from collectors.simulate.profiles import PROFILES, Activity, slowed
from ledger.names import BOTTLENECKS
from ledger.tables import (
    Gpu,
    GpuMinute,
    GpuProcessSample,
    GpuStateInterval,
    Job,
    JobGpu,
    Node,
    NodeMinute,
    PressureSample,
)
from queries.graph import Span
from queries.rollups.bottleneck_minute import bottleneck_minute

HOUR = datetime(2026, 11, 20, 5, tzinfo=UTC)
LABELLED = {name: activity for name, activity in PROFILES.items() if name in BOTTLENECKS}
IDLE_WATTS, LIMIT_WATTS = 70.0, 700.0


def frame(schema: type[dy.Schema], rows: list[dict[str, Any]]) -> pl.LazyFrame:
    types = schema.create_empty().schema
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in types}, schema=types, strict=False).lazy()


def minute(at: datetime, gpu: str, activity: Activity, random: Random) -> dict[str, Any]:
    def noisy(value: float) -> float:
        return min(value * random.uniform(0.97, 1.03), 1.0)

    return {
        "minute_start": at,
        "cluster": "c",
        "node": "n",
        "gpu_uuid": gpu,
        "observed_seconds": Decimal(60),
        "graphics_active_ratio": noisy(activity.graphics),
        "sm_active_ratio": noisy(activity.sm),
        "tensor_active_ratio": noisy(activity.tensor),
        "dram_active_ratio": noisy(activity.dram),
        "power_watts": IDLE_WATTS + noisy(activity.power) * (LIMIT_WATTS - IDLE_WATTS),
        "power_limit_watts": LIMIT_WATTS,
        "power_capped_seconds": Decimal(round(60 * activity.capped)),
        "sm_clock_ratio": activity.clock,
        "node_cpu_active_ratio": noisy(activity.cpu),
        "node_cpu_iowait_ratio": noisy(activity.iowait),
        "node_cpu_pressure_ratio": noisy(activity.pressure_cpu),
        "node_io_pressure_ratio": noisy(activity.pressure_io),
        "node_memory_pressure_ratio": noisy(activity.pressure_memory),
        "node_network_active_ratio": noisy(activity.network),
    }


def told(activities: list[Activity], minutes: int, seed: int) -> pl.DataFrame:
    """Return the classes of one job on some devices, each with its activity."""
    random = Random(seed)  # noqa: S311  seeded noise
    end = HOUR + timedelta(minutes=minutes)
    key = {"cluster": "c", "node": "n"}
    run = {"job_id": "7", "restart_count": 0, "submitted_at": HOUR, "holder_count": 1}
    state = {"state": "productive", "is_observed": True, "evidence_quality": "A"}
    devices = {f"g{place}": activity for place, activity in enumerate(activities)}
    intervals = [{**key, **run, "gpu_uuid": gpu, "started_at": HOUR, "ended_at": end, **state} for gpu in devices]
    rows = [
        minute(HOUR + timedelta(minutes=at), gpu, activity, random)
        for gpu, activity in devices.items()
        for at in range(minutes)
    ]
    gpus = [{**key, "gpu_uuid": gpu, "exists_start": HOUR, "gpu_fraction": Decimal(1)} for gpu in devices]
    # The node is told once for all of its devices: the noise of the first one's row.
    nodes = list({row["minute_start"]: row for row in reversed(rows)}.values())
    found: pl.DataFrame = bottleneck_minute.function(
        frame(GpuStateInterval, intervals),
        frame(GpuMinute, rows),
        frame(NodeMinute, nodes),
        frame(JobGpu, []),
        frame(Gpu, gpus),
        frame(Job, []),
        frame(Node, []),
        frame(GpuProcessSample, []),
        frame(PressureSample, []),
        Span(HOUR, HOUR + timedelta(hours=1), HOUR + timedelta(hours=1)),
    ).collect()
    return found


def test_each_kind_of_work_is_told_from_the_others() -> None:
    matrix = {
        label: Counter(told([activity] * 2, 30, seed)["bottleneck"])
        for seed, (label, activity) in enumerate(LABELLED.items())
    }
    assert len(matrix) == 9
    for label, counts in matrix.items():
        assert counts[label] >= 0.97 * counts.total(), f"{label}: {dict(counts)}"


def test_a_slowed_device_is_a_straggler_and_its_peers_are_not() -> None:
    work = LABELLED["compute_tensor"]
    rows = told([slowed(work), *[work] * 7], 30, 1)
    slow = rows.filter(pl.col("gpu_uuid") == "g0", pl.col("minute_start") >= HOUR + timedelta(minutes=4))
    assert set(slow["bottleneck"]) == {"straggler"}
    assert "straggler" not in set(rows.filter(pl.col("gpu_uuid") != "g0")["bottleneck"])
