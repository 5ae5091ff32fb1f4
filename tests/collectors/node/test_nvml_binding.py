"""The GPU collector through the real binding, against a driver of a hundred lines."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.missing import missing

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures"
PROGRAM = """
import json, sys
from pathlib import Path
from collectors.node.nvml import NvmlSettings, nvml
now = [0.0]
settings = NvmlSettings(health_every_rounds=2)
one_round = nvml.open(procfs=Path(sys.argv[1]), settings=settings, clock=lambda: now[0])
rounds = []
for _ in range(3):
    rounds.append(list(one_round()))
    now[0] += 10
print(json.dumps(rounds, default=str))
"""


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> list[list[tuple[str, dict[str, Any]]]]:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        missing("no C compiler on the PATH: install Debian's gcc and libc6-dev")
    folder = tmp_path_factory.mktemp("driver")
    source = FIXTURES / "nvml" / "driver.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    environment = os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-c", PROGRAM, str(FIXTURES / "node" / "proc")]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True)
    found: list[list[tuple[str, dict[str, Any]]]] = json.loads(done.stdout)
    return found


def row(emitted: list[tuple[str, dict[str, Any]]], table: str, uuid: str) -> dict[str, Any]:
    return next(values for name, values in emitted if name == table and values["gpu_uuid"] == uuid)


def test_structures_and_unions_are_read_where_they_lie(rounds: list[list[tuple[str, dict[str, Any]]]]) -> None:
    expected = {
        "status": "ok",
        "evidence_quality": "B",
        "kernel_active_ratio": 0.3,
        "memory_active_ratio": 0.3,
        "encoder_active_ratio": 0.07,
        "decoder_active_ratio": 0.6,
        "memory_used_bytes": 3 << 30,
        "memory_total_bytes": 80 << 30,
        "power_watts": 123.456,
        "energy_joules_total": 5_000_000_000.123,
        "memory_temperature_celsius": 44,
        "power_cap_seconds_total": 74.0,
        "sw_thermal_throttle_seconds_total": 269.0,
        "hw_thermal_throttle_seconds_total": 270.0,
        "power_brake_throttle_seconds_total": 271.0,
        "pcie_transmit_bytes_total": 197_000_000_000,
        "pcie_receive_bytes_total": 198_000_000_000,
        "nvlink_transmit_bytes_total": 138_000_000_000 * 1024,
        "nvlink_receive_bytes_total": 139_000_000_000 * 1024,
        "process_job_ids": "777",
    }
    found = row(rounds[0], "gpu_sample", "GPU-0")
    assert {name: found[name] for name in expected} == expected
    assert "temperature_celsius" not in found, "this driver has no such function"
    assert not {"jpeg_active_ratio", "ofa_active_ratio"} & found.keys(), "one is not there, one is no function of it"
    assert found["driver_seconds"] == pytest.approx(0.0015 * 21)


def test_fields_of_health_come_with_the_same_call(rounds: list[list[tuple[str, dict[str, Any]]]]) -> None:
    found = row(rounds[0], "gpu_health_sample", "GPU-0")
    assert (found["remapped_corrected_count"], found["remapped_uncorrected_count"]) == (3, 2)
    assert (found["is_remap_pending"], found["is_remap_failed"]) == (True, False)
    assert found["ecc_uncorrected_count_total"] == 4_000_000_000
    assert "nvmlDeviceGetTemperature: no_symbol" in found["refused"]


def test_a_process_that_ended_is_in_the_drivers_account(rounds: list[list[tuple[str, dict[str, Any]]]]) -> None:
    ended = [values for each in rounds for name, values in each if name == "gpu_process_run"]
    assert [(values["pid_code"], values["duration_seconds"]) for values in ended] == [(5151, 2.5)]
    assert ended[0]["process_start"] == "2025-11-20 00:00:00.000001+00:00"
    assert (ended[0]["kernel_active_ratio"], ended[0]["memory_active_ratio"]) == (0.61, None)
    assert ended[0]["memory_peak_bytes"] == 7 << 30


def test_profiling_compares_two_rounds(rounds: list[list[tuple[str, dict[str, Any]]]]) -> None:
    found = row(rounds[1], "gpu_sample", "GPU-0")
    assert found["evidence_quality"] == "A"
    assert found["graphics_active_ratio"] == 0.025
    assert found["sm_active_ratio"] == 0.05
    assert found["dram_active_ratio"] == 0.25
    assert found["pcie_transmit_bytes_per_second"] == 50 * 1024**2
    assert "sm_occupancy_ratio" not in found, "a metric that is refused is null"


def test_a_process_has_its_activity_and_unknown_memory(rounds: list[list[tuple[str, dict[str, Any]]]]) -> None:
    first = row(rounds[0], "gpu_process_sample", "GPU-0")
    assert (first["pid_code"], first["kernel_active_ratio"], first["memory_used_bytes"]) == (4242, 0.33, None)
    assert row(rounds[1], "gpu_process_sample", "GPU-0")["kernel_active_ratio"] == 0.0


def test_a_lost_device_and_its_xid_are_told_once(rounds: list[list[tuple[str, dict[str, Any]]]]) -> None:
    events = [(values["event"], values["gpu_uuid"], values["xid_code"]) for each in rounds for name, values in each
              if name == "gpu_event"]  # fmt: skip
    assert events == [("lost", "GPU-1", 0), ("xid", "GPU-1", 79)]
    assert [row(each, "gpu_sample", "GPU-1")["status"] for each in rounds] == ["lost"] * 3
