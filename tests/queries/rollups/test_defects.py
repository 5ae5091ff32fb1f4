"""What other tools get wrong about the use of GPUs; each test is named after what this one does.

Those about what a node measures stand in `test_nvml_defects`, those about counters in `test_counters_torture`, the one
about numbers that stand for no value in `test_prometheus`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import polars as pl
import pytest

from queries import measure
from queries.measures import gpu_time

Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]

HELD_HOURS = 72
SPIN = {"evidence_quality": "A", "sm_active_ratio": 0.04, "graphics_active_ratio": 1.0}


def held(ledger: Any, minute: Minutes, pace_minutes: float, value: Callable[[int], dict[str, Any]]) -> Any:
    """Return a device that a job holds for three days, with what its samples say."""
    own = ledger()
    place = {"cluster": "c", "node": "n1", "gpu_uuid": "G1"}
    run = {"cluster": "c", "job_id": "1", "submitted_at": minute(-10), "restart_count": 0}
    gpu = {**place, "parent_gpu_uuid": "", "gpu_fraction": 1, "exists_start": minute(-600), "idle_power_watts": 60.0}
    own.add("node", [{"cluster": "c", "node": "n1", "exists_start": minute(-600), "holder": "scheduler"}])
    own.add("gpu", [{**gpu, "power_limit_watts": 700.0, "memory_baseline_bytes": 5e8}])
    own.add("job", [{**run, "state": "RUNNING", "started_at": minute(-5), "user": "u", "requested_gpu_count": 1.0}])
    own.add("job_gpu", [{**run, **place, "held_start": minute(-5)}])
    count = int(HELD_HOURS * 60 / pace_minutes) + 2
    usual = {"status": "ok", "parent_gpu_uuid": "", "process_count": 1, "process_job_ids": "1", "power_watts": 65.0}
    samples = [
        {
            **place,
            **usual,
            "jobless_process_count": 0,
            "sampled_at": minute(index * pace_minutes - 1),
            "step_seconds": pace_minutes * 60,
            **value(index),
        }
        for index in range(count)
    ]
    own.add("gpu_sample", samples)
    return own


def share(own: Any, hours: Spans) -> dict[str, float]:
    """Return the share of each state in the device's three days."""
    found: pl.DataFrame = own.chain(hours(HELD_HOURS), "gpu_state_interval", "gpu_minute", "gpu_hour")
    states = [name for name in found.columns if name.endswith("_seconds")]
    sums = found.select(pl.col(states).cast(pl.Float64).sum()).row(0, named=True)
    return {name.removesuffix("_seconds"): value / sums["existed_seconds"] for name, value in sums.items() if value}


@pytest.mark.parametrize(("memory", "state"), [(5e8, "allocated_idle"), (60e9, "held_idle")])
def test_one_blip_does_not_hide_days_of_idleness_and_memory_that_is_held_is_told_apart(
    ledger: Any, hours: Spans, minute: Minutes, memory: float, state: str
) -> None:
    """A rule that wants every sample to be exactly zero is silenced by one sample at a percent."""

    def value(index: int) -> dict[str, Any]:
        blip = 0.01 if index % 500 == 0 else 0.0
        nobody = {"process_count": 0, "process_job_ids": ""} if state == "allocated_idle" else {}
        return {"evidence_quality": "C", "kernel_active_ratio": blip, "memory_used_bytes": memory, **nobody}

    found = share(held(ledger, minute, 1.0, value), hours)
    assert found[state] > 0.99


def test_seven_devices_at_zero_and_a_busy_one_are_a_node_at_an_eighth(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    """A mean that leaves out what is 0 shows a node with seven idle devices as its busy one."""
    own = ledger()
    run = {"cluster": "c", "job_id": "1", "submitted_at": minute(-10), "restart_count": 0}
    own.add("node", [{"cluster": "c", "node": "n1", "exists_start": minute(-600), "holder": "scheduler"}])
    own.add("job", [{**run, "state": "RUNNING", "started_at": minute(-5), "user": "u", "requested_gpu_count": 8.0}])
    for number in range(8):
        place = {"cluster": "c", "node": "n1", "gpu_uuid": f"G{number}"}
        own.add("gpu", [{**place, "parent_gpu_uuid": "", "gpu_fraction": 1, "exists_start": minute(-600)}])
        own.add("job_gpu", [{**run, **place, "held_start": minute(-5)}])
        said = {"status": "ok", "evidence_quality": "C", "kernel_active_ratio": float(number == 0)}
        said |= {"process_count": 1, "process_job_ids": "1", "jobless_process_count": 0, "step_seconds": 60.0}
        own.add("gpu_sample", [{**place, **said, "sampled_at": minute(each - 1)} for each in range(63)])
    own.chain(hours(1), "gpu_state_interval", "gpu_minute", "gpu_hour", "job_gpu_hour", "job_hour")
    (found,) = own.compute("job_usage", hours(2, first=-1, now=1)).to_dicts()
    assert found["kernel_active_ratio"] == pytest.approx(1 / 8)
    assert found["gpu_allocated_seconds"] == 8 * 3600


def test_a_device_whose_processors_stand_still_under_a_full_duty_cycle_is_underused(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    """A kernel of one block keeps the duty cycle at a hundred percent."""
    row = {**SPIN, "kernel_active_ratio": 1.0, "memory_used_bytes": 60e9, "power_watts": 180.0}
    found = share(held(ledger, minute, 1.0, lambda _: row), hours)
    assert found["underused"] > 0.99
    assert found.get("productive", 0.0) == 0.0


def test_a_job_that_needs_no_processor_and_little_memory_is_productive_by_its_device(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    """A score of processor and host memory calls a perfect GPU job a bad one."""
    row = {"evidence_quality": "A", "kernel_active_ratio": 1.0, "graphics_active_ratio": 1.0, "sm_active_ratio": 0.9}
    own = held(ledger, minute, 1.0, lambda _: {**row, "memory_used_bytes": 70e9, "power_watts": 690.0})
    host = {"cluster": "c", "node": "n1", "step_seconds": 60.0, "load_average_count": 0.1}
    own.add("host_sample", [{**host, "sampled_at": minute(index)} for index in range(60)])
    assert share(own, hours)["productive"] > 0.99


def test_a_share_is_of_the_whole_that_it_names() -> None:
    """A published share of 148 in 419 is 30.1 %, though it is 35.3 %: its parts sum to another whole."""
    spent = {"faulty": 148, "productive": 230, "allocated_idle": 41}
    rows = pl.DataFrame({"state": list(spent), "gpu_hours": [float(value) for value in spent.values()]})
    shares = measure.values(rows, tuple(gpu_time.STATE_RATIOS.values()))
    assert shares["faulty_ratio"] == pytest.approx(148 / 419)
    assert sum(share or 0 for share in shares.values()) == pytest.approx(1)
