"""Samples that say the same are judged once; what ends, cuts or interrupts them is seen to the millisecond."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from queries.rollups._decision import Thresholds
from queries.rollups._evidence import evidence
from queries.rollups._timeline import located, numbered

Spans = Callable[..., Any]
Minutes = Callable[[float], datetime]

NODE = {"cluster": "c", "node": "n"}
DEVICE = {**NODE, "gpu_uuid": "G"}
BUSY = {"graphics_active_ratio": 0.9, "sm_active_ratio": 0.9, "process_count": 1, "process_job_ids": "7"}
STRAY = {**BUSY, "process_job_ids": "", "jobless_process_count": 1}
NOBODY = {"graphics_active_ratio": 0.0, "sm_active_ratio": 0.0, "process_count": 0}


def cluster(ledger: Any, minute: Minutes, *holdings: tuple[str, float, float | None]) -> Any:
    """Return a ledger with one device, of which the scheduler says who holds it: job, from minute, to minute."""
    mine = ledger()
    since = {**NODE, "exists_start": minute(-600)}
    mine.add("node", [{**since, "holder": "scheduler"}])
    mine.add("gpu", [{**since, "gpu_uuid": "G", "parent_gpu_uuid": "", "gpu_fraction": Decimal(1)}])
    for job, start, end in holdings:
        run = {"cluster": "c", "job_id": job, "submitted_at": minute(-9), "restart_count": 0}
        times = {"held_start": minute(start), "held_end": None if end is None else minute(end)}
        mine.add("job_gpu", [{**DEVICE, **run, **times}])
    return mine


def sample(ledger: Any, minute: Minutes, times: Sequence[float], pace: float = 30.0, **values: Any) -> None:
    """Add a sample at each of some seconds after the hour."""
    fixed = {**DEVICE, "status": "ok", "step_seconds": pace, "evidence_quality": "A", **values}
    ledger.add("gpu_sample", [{**fixed, "sampled_at": minute(0) + timedelta(seconds=time)} for time in times])


def told(rows: pl.DataFrame) -> list[tuple[float, str]]:
    """Return at which second of the hour which state begins; equal neighbours are one."""
    found: list[tuple[float, str]] = []
    for row in rows.sort("started_at").to_dicts():
        second = (row["started_at"] - row["started_at"].replace(minute=0, second=0, microsecond=0)).total_seconds()
        if not found or found[-1][1] != row["state"]:
            found.append((second, row["state"]))
    return found


def test_samples_that_say_the_same_are_one_row_and_what_differs_or_breaks_off_is_another(
    ledger: Any, minute: Minutes
) -> None:
    mine = cluster(ledger, minute)
    sample(mine, minute, range(0, 300, 30), **BUSY, power_watts=300.0)
    sample(mine, minute, [300, 330], **BUSY, power_watts=310.0)
    sample(mine, minute, [360, 390], **NOBODY)
    sample(mine, minute, [900, 930, 960], **NOBODY)
    rows = mine.get("gpu_sample")
    devices = numbered(rows)
    limits = pl.DataFrame(
        {"key": [0], "idle_power_watts": [60.0], "rated_power_watts": [700.0], "memory_baseline_bytes": [0.0]}
    )
    found = evidence(located(rows, devices, at="sampled_at"), limits, Thresholds())
    start = minute(0).timestamp() * 1000
    assert [(key - start) / 1000 for key in found["key"]] == [0, 360, 390, 900, 960]
    # Twelve steps of work, one idle one before a gap; what comes after a last sample is not known.
    assert found["step"].to_list() == [360_000, 30_000, None, 60_000, None]


@pytest.mark.parametrize(("pace", "old"), [(7, 301), (30, 330), (60, 360), (100, 400), (10, 310)])
def test_a_stray_process_is_old_at_the_first_sample_past_the_grace_and_is_cut_there(
    pace: int, old: int, ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = cluster(ledger, minute)
    sample(mine, minute, range(0, 3600 + pace, pace), pace=pace, **STRAY)
    assert told(mine.compute("gpu_state_interval", hours(1))) == [(0, "unallocated"), (old, "orphaned")]


def test_the_age_of_a_stray_process_begins_anew_after_a_gap_or_a_sample_without_it(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = cluster(ledger, minute)
    sample(mine, minute, range(0, 271, 30), **STRAY)
    sample(mine, minute, range(600, 901, 30), **STRAY)
    sample(mine, minute, [930], **NOBODY)
    sample(mine, minute, range(960, 1351, 30), **STRAY)
    found = told(mine.compute("gpu_state_interval", hours(1)))
    assert found == [
        (0, "unallocated"), (270, "unknown"), (600, "unallocated"), (1290, "orphaned"), (1350, "unknown"),
    ]  # fmt: skip


def test_the_age_goes_on_where_something_else_changes_within_the_run(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    values = {**BUSY, "process_count": 2, "process_job_ids": "7", "jobless_process_count": 1}
    mine = cluster(ledger, minute, ("7", -60, 7.25))
    sample(mine, minute, range(-60, 3631, 30), **values)
    mine.add("node_state", [{**NODE, "state": "RESERVED", "state_start": minute(8), "state_end": minute(9)}])
    # While the job's own process is there the device is not orphaned; from its end on it is, at once.
    assert told(mine.compute("gpu_state_interval", hours(1))) == [(0, "productive"), (435, "orphaned")]


def test_a_process_is_a_stray_from_the_end_of_its_job_on(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = cluster(ledger, minute, ("7", -60, 7.25))
    sample(mine, minute, range(-60, 3631, 30), **BUSY)
    found = told(mine.compute("gpu_state_interval", hours(1)))
    # It is nobody's from second 435 on: the first sample more than 300 seconds later is that of 750.
    assert found == [(0, "productive"), (435, "unallocated"), (750, "orphaned")]


def test_the_age_is_the_same_when_hours_are_computed_apart(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = cluster(ledger, minute)
    sample(mine, minute, range(3600 - 120, 7231, 30), **STRAY)
    assert told(mine.compute("gpu_state_interval", hours(1, first=1))) == [(0, "unallocated"), (210, "orphaned")]


IDLE_JOB = {"process_count": 1, "process_job_ids": "7", "power_watts": 64.0, "power_limit_watts": 400.0}


@pytest.mark.parametrize(
    ("engines", "state"),
    [
        ({}, "held_idle"),
        ({"encoder_active_ratio": 0.0, "decoder_active_ratio": 0.0}, "held_idle"),
        ({"encoder_active_ratio": 0.0, "decoder_active_ratio": 0.6}, "underused"),
        ({"encoder_active_ratio": 0.3}, "underused"),
        ({"decoder_active_ratio": 0.6, "power_watts": 200.0}, "productive"),
    ],
)
@pytest.mark.parametrize("grade", ["B", "C"])
def test_a_device_whose_video_engines_work_is_not_idle_and_no_incident(
    grade: str, engines: dict[str, float], state: str, ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = cluster(ledger, minute, ("7", -60, None))
    mine.tables["gpu"] = mine.get("gpu").with_columns(idle_power_watts=pl.lit(60.0))
    times = range(0, 3601, 30)
    sample(mine, minute, times, **IDLE_JOB | {"kernel_active_ratio": 0.0, "evidence_quality": grade} | engines)
    assert told(mine.compute("gpu_state_interval", hours(1))) == [(0, state)]
    incidents = mine.compute("idle_incident", hours(1, now=1))
    assert incidents.height == (state == "held_idle")


def heated(ledger: Any, minute: Minutes, *seconds: float) -> None:
    """Add equal busy samples every half minute with what a throttle counter said at each."""
    for place, value in enumerate(seconds):
        sample(ledger, minute, [30 * place], **BUSY, hw_thermal_throttle_seconds_total=value)


def test_throttled_steps_are_cut_out_of_calm_ones_that_say_the_same(ledger: Any, hours: Spans, minute: Minutes) -> None:
    mine = cluster(ledger, minute, ("7", -60, None))
    #              calm 0, calm 30, slow 60, calm 90, slow 120, slow 150, slow to its end 180, calm 210
    heated(mine, minute, 0.0, 0.0, 0.0, 7.125, 7.125, 7.25, 8.25, 48.25, 48.25)
    assert told(mine.compute("gpu_state_interval", hours(1))) == [
        (0, "productive"),
        (60, "throttled"), (67.125, "productive"),
        (120, "throttled"), (120.125, "productive"),
        (150, "throttled"), (151, "productive"),
        (180, "throttled"), (210, "productive"),
        (240, "unknown"),
    ]  # fmt: skip


def test_throttled_milliseconds_are_those_of_the_longest_counter_and_the_rest_is_worked(
    ledger: Any, hours: Spans, minute: Minutes
) -> None:
    mine = cluster(ledger, minute, ("7", 0, 2.75))
    heat = [(1.0, 5.0), (1.0, 5.0), (8.125, 7.0), (48.125, 7.0)]
    for place, (hw, sw) in enumerate(heat):
        values = {"hw_thermal_throttle_seconds_total": hw, "sw_thermal_throttle_seconds_total": sw}
        sample(mine, minute, [30 * place], **BUSY, **values)
    rows = mine.compute("gpu_state_interval", hours(1))
    assert told(rows) == [
        (0, "productive"), (30, "throttled"), (37.125, "productive"), (60, "throttled"), (90, "unknown"),
    ]  # fmt: skip
    # A counter that grew by more than the step fills it and no more.
    assert rows.filter(pl.col("state") == "throttled").select(
        (pl.col("ended_at") - pl.col("started_at")).dt.total_milliseconds()
    ).to_series().to_list() == [7_125, 30_000]
