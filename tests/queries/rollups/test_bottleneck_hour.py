from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import dataframely as dy
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ledger.names import BOTTLENECKS, STATES
from ledger.tables import BottleneckHour, BottleneckMinute, JobGpuHour
from queries.rollups.bottleneck_hour import bottleneck_hour
from tests.frames import validated

HOUR = datetime(2026, 11, 20, 5, tzinfo=UTC)
SUBMITTED = datetime(2026, 11, 19, tzinfo=UTC)
CLASSES = [each for each in BOTTLENECKS if each not in {"idle", "throttled", "unknown"}]
ZERO = {f"{state}_seconds": Decimal(0) for state in STATES}


def frame(schema: type[dy.Schema], rows: Sequence[Mapping[str, Any]]) -> pl.LazyFrame:
    types = schema.create_empty().schema
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in types}, schema=types, strict=False).lazy()


def held(gpu: str = "g0", fraction: str = "1", **seconds: Any) -> dict[str, Any]:
    return {
        "hour_start": HOUR,
        "cluster": "c",
        "node": "n",
        "gpu_uuid": gpu,
        "job_id": "7",
        "restart_count": 0,
        "submitted_at": SUBMITTED,
        "gpu_fraction": Decimal(fraction),
        **ZERO,
        **seconds,
    }


def minute(place: int, bottleneck: str, limited: Decimal, gpu: str = "g0", **more: Any) -> dict[str, Any]:
    return {
        "minute_start": HOUR + timedelta(minutes=place),
        "cluster": "c",
        "node": "n",
        "gpu_uuid": gpu,
        "job_id": "7",
        "restart_count": 0,
        "submitted_at": SUBMITTED,
        "gpu_allocated_seconds": limited,
        "gpu_limited_seconds": limited,
        "gpu_idle_seconds": Decimal(0),
        "bottleneck": bottleneck,
        "confidence_ratio": 0.5,
        **more,
    }


def divided(hours: Sequence[Mapping[str, Any]], minutes: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    rows = bottleneck_hour.function(frame(JobGpuHour, hours), frame(BottleneckMinute, minutes)).collect()
    return validated(BottleneckHour, rows)


def test_an_hour_is_divided_as_its_minutes_say() -> None:
    seconds = {"productive_seconds": Decimal(100), "underused_seconds": Decimal(20), "held_idle_seconds": Decimal(7)}
    rows = divided(
        [held(**seconds, throttled_seconds=Decimal("0.5"), faulty_seconds=Decimal(3))],
        [
            minute(0, "compute_tensor", Decimal(60), runner_up="dram_bound"),
            minute(1, "dram_bound", Decimal(40), runner_up="compute_tensor"),
            minute(2, "dram_bound", Decimal(20), gpu_idle_seconds=Decimal(7), idle_cause="input_cpu"),
        ],
    )
    (row,) = rows.to_dicts()
    assert row["compute_tensor_seconds"] == Decimal(60)
    assert row["dram_bound_seconds"] == Decimal(60)
    assert (row["idle_seconds"], row["throttled_seconds"], row["unknown_seconds"]) == (7, Decimal("0.5"), 3)
    assert row["gpu_allocated_seconds"] == Decimal("130.5")
    assert (row["idle_cause"], row["runner_up"], row["confidence_ratio"]) == ("input_cpu", "dram_bound", 0.5)


def test_busy_time_without_minutes_stays_busy() -> None:
    (row,) = divided([held(productive_seconds=Decimal(9))], []).to_dicts()
    assert (row["compute_other_seconds"], row["gpu_allocated_seconds"], row["confidence_ratio"]) == (9, 9, 0)


milliseconds = st.integers(0, 3_600_000)


@given(
    st.lists(st.fixed_dictionaries(dict.fromkeys(STATES, milliseconds)), min_size=1, max_size=4),
    st.lists(st.tuples(st.sampled_from(CLASSES), st.integers(1, 60_000), st.integers(0, 3)), max_size=20),
    st.sampled_from(["1", "0.142857", "0.5"]),
)
def test_classes_sum_to_the_held_time_to_the_last_digit(
    devices: list[dict[str, int]], weights: list[tuple[str, int, int]], part: str
) -> None:
    fraction = Decimal(part)
    hours = [
        held(f"g{place}", part, **{f"{state}_seconds": Decimal(ms) / 1000 for state, ms in each.items()})
        for place, each in enumerate(devices)
    ]
    minutes = [
        minute(place, name, Decimal(ms) / 1000 * fraction, f"g{gpu}") for place, (name, ms, gpu) in enumerate(weights)
    ]
    (row,) = divided(hours, minutes).to_dicts()
    total = sum(sum(each.values()) for each in devices)
    idle = sum(each["allocated_idle"] + each["held_idle"] for each in devices)
    throttled = sum(each["throttled"] for each in devices)
    unknown = sum(each[name] for each in devices for name in ("unknown", "faulty", "orphaned", "unallocated"))
    assert row["gpu_allocated_seconds"] == Decimal(total) / 1000 * fraction
    assert row["idle_seconds"] == Decimal(idle) / 1000 * fraction
    assert row["throttled_seconds"] == Decimal(throttled) / 1000 * fraction
    assert row["unknown_seconds"] == Decimal(unknown) / 1000 * fraction
    assert sum(row[f"{name}_seconds"] for name in BOTTLENECKS) == row["gpu_allocated_seconds"]


@given(
    st.lists(st.tuples(st.sampled_from(CLASSES), st.integers(1, 60_000)), min_size=1, max_size=60),
    st.sampled_from(["1", "0.142857"]),
)
def test_a_device_with_one_holder_is_not_scaled(weights: list[tuple[str, int]], part: str) -> None:
    fraction = Decimal(part)
    busy = sum(ms for _, ms in weights)
    minutes = [minute(place, name, Decimal(ms) / 1000 * fraction) for place, (name, ms) in enumerate(weights)]
    (row,) = divided([held("g0", part, productive_seconds=Decimal(busy) / 1000)], minutes).to_dicts()
    for name in CLASSES:
        expected = sum(ms for each, ms in weights if each == name)
        assert row[f"{name}_seconds"] == Decimal(expected) / 1000 * fraction


def test_ids_recur_and_runs_stay_apart() -> None:
    later = SUBMITTED + timedelta(hours=3)
    rows = divided(
        [held(productive_seconds=Decimal(5)), held("g1", submitted_at=later, productive_seconds=Decimal(7))],
        [
            minute(0, "dram_bound", Decimal(5), runner_up="straggler"),
            minute(0, "compute_tensor", Decimal(7), "g1", submitted_at=later),
        ],
    ).sort("submitted_at")
    assert rows["dram_bound_seconds"].to_list() == [5, 0]
    assert rows["compute_tensor_seconds"].to_list() == [0, 7]
    assert rows["runner_up"].to_list() == ["straggler", None]
