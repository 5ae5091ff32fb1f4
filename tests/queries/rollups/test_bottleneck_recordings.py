"""Recordings of known work on a device (`bench.gpu`): what the classifier calls them, and how they are labelled.

Those of real devices lie beside the drivers' stand-ins, as soon as somebody has recorded some; until then a scenario's
show that the way from a recording to a class is whole.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.gpu import Plan, record_all
from collectors.fake_nvml import FakeNvml, Gpu, Phase, Scenario

RECORDED = [
    json.loads(path.read_text(encoding="utf-8"))
    for path in sorted((Path(__file__).parents[2] / "fixtures" / "nvml").glob("*__*.json"))
]
# What waits for its host is told by the host's evidence, which a recording does not hold.
TOLD_BY_DEVICE = [each for each in RECORDED if each["expected_bottleneck"] not in {None, "idle", "input_cpu"}]

WORK = {
    "compute_tensor": Phase(kernel=1.0, graphics=0.99, sm=0.95, tensor=0.6, dram=0.2, power_watts=600.0),
    "dram_bound": Phase(kernel=1.0, graphics=0.99, sm=0.9, dram=0.85, power_watts=450.0),
    "compute_other": Phase(kernel=1.0, graphics=0.99, sm=0.97, single=0.9, power_watts=500.0),
    "launch_bound": Phase(kernel=1.0, graphics=0.9, sm=0.01, power_watts=120.0),
}


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def scenario(label: str) -> dict[str, Any]:
    """Return a recording of a device that a scenario plays."""
    time = Time()
    phase = Phase(**{**vars(WORK[label]), "sm_clock_megahertz": 1980})
    fake = FakeNvml(Scenario((Gpu("GPU-0", phases=(phase,)),)), time.clock)
    (found,), _ = record_all(Plan(("idle",)), fake, clock=time.clock, sleep=time.sleep)
    return {**found, "expected_bottleneck": label}


def told(recording: dict[str, Any], ledger: Any, hours: Callable[..., Any], minute: Callable[[float], datetime]) -> str:
    """Return what the classifier calls the steady part of a recording, of a device that one job holds."""
    place = {"cluster": "c", "node": "n", "gpu_uuid": "G"}
    steady = [row for row in recording["samples"] if row["offset_seconds"] >= recording["settle_seconds"]]
    first = steady[0]["offset_seconds"]
    at = [minute(0) + timedelta(seconds=row["offset_seconds"] - first) for row in steady]
    pace = {"step_seconds": recording["pace_seconds"]}
    run = {"job_id": "7", "restart_count": 0, "submitted_at": minute(-600), "holder_count": 1}
    mine = ledger()
    mine.add("gpu_sample", [{**place, **pace, **row, "sampled_at": when} for row, when in zip(steady, at, strict=True)])
    mine.add("gpu", [{**place, "exists_start": minute(-600), "gpu_fraction": 1, "parent_gpu_uuid": ""}])
    seen = {"is_observed": True, "evidence_quality": steady[-1]["evidence_quality"], "state": "productive"}
    mine.add("gpu_state_interval", [{**place, **run, **seen, "started_at": at[0], "ended_at": at[-1]}])
    mine.compute("gpu_minute", hours(1))
    (row,) = mine.compute("bottleneck_minute", hours(1)).to_dicts()
    return str(row["bottleneck"])


@pytest.mark.parametrize("label", WORK)
def test_a_recording_is_enough_to_tell_its_class(
    label: str, ledger: Any, hours: Callable[..., Any], minute: Callable[[float], datetime]
) -> None:
    assert told(scenario(label), ledger, hours, minute) == label


@pytest.mark.parametrize("recording", TOLD_BY_DEVICE or [None])
def test_what_ran_on_a_real_device_is_told(
    recording: dict[str, Any] | None, ledger: Any, hours: Callable[..., Any], minute: Callable[[float], datetime]
) -> None:
    if recording is None:
        pytest.skip("no recording of a real device is here yet: `make bench-gpu` on one makes them")
    assert told(recording, ledger, hours, minute) == recording["expected_bottleneck"]
