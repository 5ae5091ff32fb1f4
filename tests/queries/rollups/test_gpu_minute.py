"""What stands beside a minute's states: activity, holder and the node's own evidence."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]

NODE = {"cluster": "c", "node": "n"}
CHAIN = ("gpu_state_interval", "gpu_minute")


def cluster(ledger: Any, minute: Minutes) -> Any:
    """Return a ledger with one device and a job that holds it from the first second to minute 2.75."""
    mine = ledger()
    since = {**NODE, "exists_start": minute(-600)}
    mine.add("node", [{**since, "holder": "scheduler"}])
    mine.add("gpu", [{**since, "gpu_uuid": "G", "parent_gpu_uuid": "", "gpu_fraction": Decimal(1)}])
    run = {"cluster": "c", "job_id": "7", "submitted_at": minute(-9), "restart_count": 2}
    times = {"held_start": minute(0), "held_end": minute(2.75)}
    mine.add("job_gpu", [{**run, "node": "n", "gpu_uuid": "G", **times}])
    return mine


def samples(minute: Minutes, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a sample every half minute, each with its own values."""
    fixed = {**NODE, "gpu_uuid": "G", "status": "ok", "step_seconds": 30.0, "evidence_quality": "A"}
    return [{**fixed, "sampled_at": minute(number / 2), **row} for number, row in enumerate(rows)]


def test_means_are_weighted_by_time_and_counters_are_spread_over_their_step(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = cluster(ledger, minute)
    rows = samples(
        minute,
        {"graphics_active_ratio": 0.2, "energy_joules_total": 100.0, "memory_used_bytes": 5.0, "power_watts": 100.0},
        {"graphics_active_ratio": 0.6, "energy_joules_total": 400.0, "memory_used_bytes": 9.0},
        {"graphics_active_ratio": 1.0, "energy_joules_total": 1000.0, "memory_used_bytes": 7.0},
        {"graphics_active_ratio": 0.0, "energy_joules_total": 4.0},
    )
    rows[3]["sampled_at"] = minute(2.25)
    mine.add("gpu_sample", rows)
    found = mine.chain(hours(1), *CHAIN).to_dicts()
    assert len(found) == 60
    first, second, third = found[:3]
    assert first["graphics_active_ratio"] == pytest.approx(0.4)
    assert first["energy_joules"] == pytest.approx(900)
    assert first["memory_used_bytes"] == 9
    assert first["power_watts"] == 100
    assert first["kernel_active_ratio"] is None
    assert second["observed_seconds"] == 60
    assert second["energy_joules"] is None, "the counter was reset"
    assert third["observed_seconds"] == 15
    assert third["unknown_seconds"] == 45
    assert third["graphics_active_ratio"] == 1
    assert [row["job_id"] for row in found[:4]] == ["7", "7", "7", ""]
    assert third["restart_count"] == 2
    assert found[3]["holder_count"] == 0
    assert [row["node_job_count"] for row in found[:4]] == [1, 1, 1, 0]


def test_throttled_milliseconds_are_those_of_the_longest_counter_and_the_rest_is_worked(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = cluster(ledger, minute)
    busy = {"graphics_active_ratio": 0.9, "sm_active_ratio": 0.9, "process_count": 1, "process_job_ids": "7"}
    heat = [(1.0, 5.0), (1.0, 5.0), (8.125, 7.0), (48.125, 7.0)]
    rows = [
        {**busy, "hw_thermal_throttle_seconds_total": hw, "sw_thermal_throttle_seconds_total": sw} for hw, sw in heat
    ]
    mine.add("gpu_sample", samples(minute, *rows))
    first, second = mine.chain(hours(1), *CHAIN).to_dicts()[:2]
    assert first["throttled_seconds"] == Decimal("7.125")
    assert first["productive_seconds"] == Decimal("52.875")
    assert second["throttled_seconds"] == 30, "a counter that grew by more than the step fills it"


def test_the_node_is_put_beside_each_of_its_devices(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = cluster(ledger, minute)
    kinds = ("user", "system", "idle", "iowait")
    paces = {"user": 6.0, "system": 3.0, "idle": 18.0, "iowait": 3.0}
    ports = {"mlx5_0": (25e9, 30 * 10e9, 5), "mlx5_1": (25e9, 30 * 5e9, 2), "eth0": (1e9, 30 * 0.9e9, 900)}
    for number in range(5):
        at = {**NODE, "sampled_at": minute(number / 2), "step_seconds": 30.0, "boot_id": "b"}
        mine.add("host_sample", [{**at, **{f"cpu_{kind}_seconds_total": number * paces[kind] for kind in kinds}}])
        waited = {"cpu": 3.0, "io": 12.0, "memory": 0.0}
        mine.add(
            "pressure_sample",
            [
                {**at, "resource": name, "job_id": "", "some_seconds_total": number * value}
                for name, value in waited.items()
            ],
        )
        mine.add(
            "network_port_sample",
            [
                {
                    **at,
                    "device": name,
                    "port": "1",
                    "line_rate_bytes_per_second": rate,
                    "transmit_bytes_total": number * sent / 2,
                    "receive_bytes_total": number * sent,
                    "transmit_wait_count_total": float(number * wait),
                }
                for name, (rate, sent, wait) in ports.items()
            ],
        )
    first, *rest = mine.chain(hours(1), *CHAIN).to_dicts()
    assert first["node_cpu_active_ratio"] == pytest.approx(0.3)
    assert first["node_cpu_iowait_ratio"] == pytest.approx(0.1)
    assert first["node_cpu_pressure_ratio"] == pytest.approx(0.1)
    assert first["node_io_pressure_ratio"] == pytest.approx(0.4)
    assert first["node_memory_pressure_ratio"] == 0
    assert first["node_network_active_ratio"] == pytest.approx(0.4), "the slow port says nothing about a job"
    assert first["node_network_wait_count"] == 14
    assert rest[5]["node_cpu_active_ratio"] is None
