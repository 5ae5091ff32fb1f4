"""The recordings of a real GPU, as far as they can be tried without one: against stand-ins for both libraries."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pynvml
import pytest

from bench._gpu_checks import checks, growth, unit
from bench._gpu_ptx import KERNELS
from bench._gpu_smi import compared, parsed
from bench._gpu_work import WORKLOADS
from bench.gpu import Plan, record_all, write
from collectors.fake_nvml import FakeNvml, Gpu, Incident, Phase, Scenario
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import GpuSample
from tests.missing import missing

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "nvml"
GIB = 1 << 30
SMI = """#!/bin/sh
trap 'exit 0' TERM
while :; do echo '55, 11, 3072, 81920, 123.40, 700.00, [N/A], 1980, 2619'; sleep 0.1 & wait; done
"""


@dataclass
class Time:
    """A clock that moves when somebody sleeps."""

    now: float = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def played(*phases: Phase, incidents: tuple[Incident, ...] = (), rounds: int = 8) -> dict[str, Any]:
    """Return the recording of a device that a scenario plays, with nothing of ours running on it."""
    time = Time()
    fake = FakeNvml(Scenario((Gpu("GPU-0", phases=phases, incidents=incidents),)), time.clock)
    found, left_out = record_all(Plan(("idle",), rounds=rounds), fake, clock=time.clock, sleep=time.sleep)
    assert left_out == {}
    return found[0]


def test_a_recording_is_a_series_with_its_label_and_where_it_comes_from() -> None:
    found = played(Phase(kernel=0.9, graphics=0.8, sm=0.6, dram=0.7, power_watts=500.0, memory_used_bytes=3 * GIB))
    assert (found["workload"], found["expected_bottleneck"]) == ("idle", "idle")
    assert [row["offset_seconds"] for row in found["samples"]] == [float(second) for second in range(8)]
    assert [row["evidence_quality"] for row in found["samples"]] == ["B", *["A"] * 7], "profiling compares two rounds"
    assert {row.get("dram_active_ratio") for row in found["samples"][1:]} == {0.7}
    assert found["provenance"]["gpu_model"] == "NVIDIA H100 80GB HBM3"
    assert found["provenance"]["driver_version"] == "580.95.05"
    assert found["health"]["gpu_model"] == "NVIDIA H100 80GB HBM3"


REFUSED = Incident("error", call="nvmlGpmSampleGet", code=pynvml.NVML_ERROR_NO_PERMISSION)


def ordinary_user(*incidents: Incident) -> str:
    """Return what a recording says of an ordinary user."""
    return str(played(Phase(), incidents=incidents)["provenance"]["gpm_of_an_ordinary_user"])


def test_what_profiling_answers_to_an_ordinary_user_is_noted() -> None:
    # It is a fork that asks: this process may have grown too large for one, a new one has not.
    code = "from tests.bench.test_gpu import REFUSED, ordinary_user as ask; print(ask(), ask(REFUSED), sep='\\n')"
    root = Path(__file__).parents[2]
    told = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == ["works", "nvmlGpmSampleGet: denied"]
    assert {row["evidence_quality"] for row in played(Phase(), incidents=(REFUSED,))["samples"]} == {"B"}


def test_nothing_in_a_recording_names_the_machine() -> None:
    found = json.dumps(played(Phase()), default=str)
    assert "GPU-0" not in found
    assert "1A:00.0" not in found


def test_the_cost_of_each_call_is_counted() -> None:
    found = played(Phase(), rounds=6)["cost"]
    assert len(found["round_seconds"]) == 6
    assert found["calls"]["nvmlDeviceGetPowerUsage"]["calls"] == 6
    assert found["calls"]["nvmlDeviceGetFieldValues"]["calls"] == 6
    of = found["calls"]["nvmlGpmMetricsGet"]
    assert of["calls"] == 5
    assert 0 <= of["median_seconds"] <= of["longest_seconds"] < 1


def test_a_recording_goes_through_the_ledgers_door(tmp_path: Path) -> None:
    paths = write([played(Phase(kernel=0.5, graphics=0.4))], tmp_path)
    assert [path.name for path in paths] == ["nvidia-h100-80gb-hbm3__580.95.05__idle.json"]
    rows = json.loads(paths[0].read_text())["samples"]
    stamped = [
        {**row, "gpu_uuid": "GPU-R", "cluster": "bench", "node": "n1", "sampled_at": 1_763_596_800_000 + 1000 * place}
        for place, row in enumerate(rows)
    ]
    columns = {name: [row.get(name) for row in stamped] for name in {name for row in stamped for name in row}}
    del columns["offset_seconds"]
    with Store.open("duckdb::memory:") as store:
        written = store.append(GpuSample, to_frame(GpuSample, columns), source="test")
        assert (written.rows, written.rejected, written.unknown_columns) == (8, 0, ())
        assert store.read(GpuSample).get_column("graphics_active_ratio").drop_nulls().unique().to_list() == [0.4]


def test_a_device_that_is_lost_meanwhile_leaves_its_workload_out() -> None:
    time = Time()
    gpu = Gpu("GPU-0", incidents=(Incident("lost", start_seconds=103.0),))
    fake = FakeNvml(Scenario((gpu,)), time.clock)
    found, left_out = record_all(Plan(("idle",)), fake, clock=time.clock, sleep=time.sleep)
    assert found == []
    assert "expected a device that answers" in left_out["idle"]


def test_the_power_limit_is_left_alone_unless_that_is_allowed() -> None:
    time = Time()
    fake = FakeNvml(Scenario((Gpu("GPU-0"),)), time.clock)
    _, left_out = record_all(Plan(("power_capped",)), fake, clock=time.clock, sleep=time.sleep)
    assert "--power-cap" in left_out["power_capped"]
    assert "nvmlDeviceSetPowerManagementLimit" not in fake.calls


def test_lines_of_nvidia_smi_are_in_our_units() -> None:
    rows = parsed(["55, 11, 3072, 81920, 123.40, 700.00, [N/A], 1980, 2619\n", "55, 1", "No devices were found\n"])
    assert len(rows) == 1, "a broken line is left out"
    assert rows[0]["kernel_active_ratio"] == pytest.approx(0.55)
    assert (rows[0]["memory_used_bytes"], rows[0]["temperature_celsius"]) == (3 * GIB, None)
    assert rows[0]["sm_clock_hertz"] == 1_980_000_000


def test_both_tools_are_compared_by_their_means() -> None:
    ours: list[dict[str, float | None]] = [
        {"power_watts": 110.0, "kernel_active_ratio": None},
        {"power_watts": 130.0},
    ]
    (found,) = compared(ours, [{"power_watts": 100.0, "kernel_active_ratio": 0.5}])
    assert (found.column, found.ours, found.theirs) == ("power_watts", 120.0, 100.0)
    assert found.difference == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("measured", "expected"), [(1.02e9, "bytes"), (1.02e6, "KB or KiB"), (970.0, "MB or MiB"), (4e12, "none")]
)
def test_a_unit_is_told_from_bytes_that_are_known(measured: float, expected: str) -> None:
    assert unit(measured, 1e9).startswith(expected)


def raw(count: int, **metrics: Callable[[int], float]) -> list[dict[str, Any]]:
    """Return readings a second apart; `f198` is field 198, `g256` is metric 256 of GPM."""
    return [
        {
            "offset_seconds": float(place),
            "fields": {name[1:]: value(place) for name, value in metrics.items() if name[0] == "f"},
            "gpm": {name[1:]: value(place) for name, value in metrics.items() if name[0] == "g"},
        }
        for place in range(count)
    ]


def verdicts(readings: list[dict[str, Any]], samples: list[dict[str, Any]], sent: float) -> dict[str, str]:
    return {each.question: each.verdict for each in checks(readings, samples, sent)}


def test_units_are_found_where_the_driver_counts_otherwise_than_it_says() -> None:
    readings = raw(
        5,
        f198=lambda place: 2e10 * place + 7,
        g21=lambda _: 2e4,
        g256=lambda place: 1e12 + 2e7 * place,
        g248=lambda _: 1.98e9,
        g249=lambda _: 0.99e9,
        g2=lambda _: 50.0,
    )
    found = verdicts(readings, [{"sm_clock_hertz": 1.98e9}], 2e10)
    assert found["field 198, received, its growth in a second"] == "bytes"
    assert found["GPM 21, received, its mean"] == "MB or MiB"
    assert found["GPM 256, its growth in a second"] == "KB or KiB"
    assert found["GPM 256: what two samples give"] == "goes on growing"
    assert found["GPM 248: what two samples give"] == "is of the time between them alone"
    assert found["GPM 248, cycles, between two samples, in a second"] == "1 times the SM clock"
    assert found["GPM 249 against GPM 2 in percent"] == "50 % of GPM 248"
    assert found["field 198: does it wrap"] == "wider than 32 bits"
    assert found["field 197: does it wrap"] == "not given by this device"


def test_a_counter_that_falls_has_no_growth_and_says_where_it_wrapped() -> None:
    readings = raw(4, f198=lambda place: (3e9 + 1e9 * place) % 2**32)
    assert growth(readings, "fields", "198") is None
    assert verdicts(readings, [], 0.0)["field 198: does it wrap"].startswith("fell 1 times, after 4e+09")


def test_every_workload_that_computes_has_a_kernel_that_the_toolkit_takes(tmp_path: Path) -> None:
    compiler = shutil.which("ptxas")
    if compiler is None:
        pytest.skip("no ptxas on the PATH: Debian's nvidia-cuda-toolkit has it, and nothing else needs it")
    for name, text in KERNELS.items():
        source = tmp_path / f"{name}.ptx"
        source.write_text(text)
        for target in ("sm_80", "sm_90", "sm_100"):
            done = subprocess.run(
                [compiler, f"-arch={target}", "-o", tmp_path / "out", source],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, (name, target, done.stderr)


# -- both libraries, as stand-ins, and a program that prints what nvidia-smi does


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment in which there is a device."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        missing("no C compiler on the PATH: install Debian's gcc and libc6-dev")
    folder = tmp_path_factory.mktemp("machine")
    for source, library in (("driver.c", "libnvidia-ml.so.1"), ("cuda.c", "libcuda.so.1")):
        subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / library, FIXTURES / source], check=True)
    smi = folder / "nvidia-smi"
    smi.write_text(SMI)
    smi.chmod(0o755)
    return {**os.environ, "LD_LIBRARY_PATH": str(folder), "PATH": f"{folder}:{os.environ['PATH']}"}


def run(*arguments: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "bench.gpu", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=ROOT)


def test_workloads_are_played_recorded_and_compared(machine: dict[str, str], tmp_path: Path) -> None:
    options = ("--rounds", "4", "--pace", "0.8", "--out", str(tmp_path))
    done = run("idle", "memory_held", "copy", "matmul", *options, environment=machine)
    assert done.returncode == 0, done.stderr
    found = {each["workload"]: each for path in tmp_path.iterdir() if (each := json.loads(path.read_text()))}
    assert set(found) == {"idle", "memory_held", "copy"}
    assert "* matmul: cuBLAS: libcublas is not installed" in done.stdout
    assert found["memory_held"]["work"]["held_bytes"] == 2 * GIB
    copied = found["copy"]["work"]
    assert copied["device_bytes"] == copied["launches"] * GIB > 0
    assert {row["power_watts"] for row in found["copy"]["samples"]} == {123.456}
    both = {each["column"]: each for each in found["copy"]["compared"]}
    assert (both["memory_used_bytes"]["ours"], both["memory_used_bytes"]["theirs"]) == (3 * GIB, 3 * GIB)
    assert both["power_watts"]["difference_ratio"] == pytest.approx(123.456 / 123.4 - 1)
    source = found["copy"]["provenance"]
    assert source["driver_version"] == "580.0"
    assert source["gpm_of_an_ordinary_user"] == "works"
    assert "| copy | dram_bound | " in done.stdout


@pytest.mark.parametrize("name", sorted(set(WORKLOADS) - {"idle", "matmul"}))
def test_each_workload_asks_the_driver_for_what_it_takes(machine: dict[str, str], name: str) -> None:
    command = [sys.executable, "-m", "bench._gpu_work", name, "0.3"]
    done = subprocess.run(command, env=machine, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    begun, said = done.stdout.splitlines()
    work = json.loads(said)
    assert begun == "begun"
    assert work["seconds"] >= 0.3
    assert any(work[what] > 0 for what in ("launches", "held_bytes", "sent_bytes"))


def test_what_is_missing_is_one_line_and_a_hint(machine: dict[str, str]) -> None:
    no_device = {**machine, "CUDA_STAND_IN_HAS_NO_DEVICE": "1"}
    command = [sys.executable, "-m", "bench._gpu_work", "copy", "1"]
    done = subprocess.run(command, env=no_device, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr == "CUDA: cuInit: CUDA_ERROR_NO_DEVICE\n  hint: run it where nvidia-smi lists a GPU\n"
    no_kernel = {**machine, "CUDA_STAND_IN_HAS_NO_KERNEL": "1"}
    done = subprocess.run(command, env=no_kernel, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr.startswith("CUDA: cuModuleGetFunction: CUDA_ERROR_NOT_FOUND, expected success\n  hint: ")


def test_without_a_driver_it_says_so(tmp_path: Path) -> None:
    # On a machine that has one, a file that is no library hides it.
    (tmp_path / "libnvidia-ml.so.1").touch()
    done = run("idle", environment={**os.environ, "LD_LIBRARY_PATH": str(tmp_path)})
    assert done.returncode == 1
    assert done.stderr == (
        "bench.gpu: NVML: libnvidia-ml.so.1 is not installed\n  hint: run it where nvidia-smi lists a GPU\n"
    )


def test_a_name_or_a_device_that_is_not_there_is_refused(machine: dict[str, str]) -> None:
    done = run("matmull", environment=machine)
    assert (done.returncode, "expected some of idle, memory_held, matmul" in done.stderr) == (2, True)
    done = run("idle", "--device", "7", environment=machine)
    assert (done.returncode, done.stderr) == (
        2,
        "bench.gpu: --device: found 7, expected one of 0 (GPU-0), 1 (GPU-1)\n",
    )
    assert "idle            no process on the device" in run("--help", environment=machine).stdout


def test_recordings_are_labelled_with_words_of_the_ledger() -> None:
    labels = pl.Series([each.bottleneck for each in WORKLOADS.values() if each.bottleneck])
    assert labels.n_unique() == 7
    assert [name for name, each in WORKLOADS.items() if each.changes_settings] == ["power_capped"]
