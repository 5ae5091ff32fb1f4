"""The GPU collector against a driver that plays what goes wrong."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pynvml
import pytest

from collectors.fake_nvml import FakeNvml, Gpu, Incident, Phase, Process, Scenario, Slice
from collectors.node._cgroup_names import job_of
from collectors.node.nvml import nvml
from ledger.errors import SourceError, SourceMissing
from tests.collectors.node.gpu_node import GIB, Node

TRAINING = Phase(
    kernel=0.98,
    memory=0.4,
    graphics=0.96,
    sm=0.7,
    occupancy=0.35,
    tensor=0.5,
    dram=0.25,
    power_watts=640.5,
    memory_used_bytes=60 * GIB,
    temperature_celsius=66,
    sm_clock_megahertz=1755,
    sw_thermal=0.125,
    power_cap=0.5,
    pcie_transmit_bytes_per_second=1e9,
    nvlink_bytes_per_second=4096.0,
    processes=(Process(4242, 40 * GIB, 0.9), Process(4343, None), Process(4444, GIB), Process(4545), Process(99999)),
)


@pytest.fixture
def node(small_node: Path) -> Callable[..., Node]:
    return lambda *gpus, **options: Node(small_node / "proc", gpus, **options)


Make = Callable[..., Node]


def test_every_value_is_in_base_units(node: Make) -> None:
    gpu = node(Gpu("GPU-a", phases=(TRAINING,)))
    gpu.round()
    sample = gpu.samples()["GPU-a"]
    expected = {
        "status": "ok",
        "evidence_quality": "A",
        "kernel_active_ratio": 0.98,
        "memory_active_ratio": 0.4,
        "memory_used_bytes": 60 * GIB,
        "memory_total_bytes": 80 * GIB,
        "power_watts": 640.5,
        "power_limit_watts": 700.0,
        "energy_joules_total": 640.5 * 110,
        "temperature_celsius": 66,
        "memory_temperature_celsius": 74,
        "sm_clock_hertz": 1_755_000_000,
        "sm_clock_max_hertz": 1_980_000_000,
        "memory_clock_hertz": 2_619_000_000,
        "clock_event_reasons_bitmask": 0x24,
        "sw_thermal_throttle_seconds_total": 110 * 0.125,
        "hw_thermal_throttle_seconds_total": 0.0,
        "power_brake_throttle_seconds_total": 0.0,
        "power_cap_seconds_total": 55.0,
        "pcie_transmit_bytes_total": 110e9,
        "pcie_receive_bytes_total": 0.0,
        "nvlink_transmit_bytes_total": 110 * 4096,
        "process_count": 4,
    }
    assert {name: sample[name] for name in expected} == expected
    for name, value in (("graphics", 0.96), ("sm", 0.7), ("tensor", 0.5), ("dram", 0.25)):
        assert sample[f"{name}_active_ratio"] == pytest.approx(value)


def test_profiling_averages_the_whole_interval(node: Make) -> None:
    """Half of the interval busy is one half, where a snapshot of its end would say idle."""
    gpu = node(Gpu("GPU-a", phases=(Phase(graphics=1.0, kernel=1.0), Phase(105.0))))
    first = gpu.samples()["GPU-a"]
    assert first["evidence_quality"] == "B", "the first round has nothing to compare with"
    second = gpu.samples()["GPU-a"]
    assert second["graphics_active_ratio"] == pytest.approx(0.5)
    assert second["kernel_active_ratio"] == 0.0


def test_profiling_is_not_read_over_too_short_or_too_long_a_time(node: Make) -> None:
    gpu = node(Gpu("GPU-a", phases=(TRAINING,)))
    gpu.round(after=0.4)
    assert gpu.round(after=1000)["gpu_sample"][0]["evidence_quality"] == "B"
    assert gpu.round()["gpu_sample"][0]["evidence_quality"] == "B", "an average over 1000 s says nothing about now"
    assert gpu.round()["gpu_sample"][0]["evidence_quality"] == "A"


@pytest.mark.parametrize(
    ("refused", "quality"),
    [
        ((), "B"),
        (("nvmlDeviceGetSamples",), "C"),
        (("nvmlDeviceGetSamples", "nvmlDeviceGetUtilizationRates"), "D"),
        (("nvmlDeviceGetSamples", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage"), "X"),
    ],
)
def test_the_quality_says_what_the_evidence_is(node: Make, refused: tuple[str, ...], quality: str) -> None:
    incidents = tuple(Incident("error", call=call, code=pynvml.NVML_ERROR_NOT_SUPPORTED) for call in refused)
    sample = node(Gpu("GPU-a", generation="ampere", incidents=incidents)).samples()["GPU-a"]
    assert sample["evidence_quality"] == quality
    assert sample["status"] == "ok"


@pytest.mark.parametrize("generation", ["ampere", "hopper", "blackwell"])
def test_nvlink_bytes_are_bytes_in_every_generation(node: Make, generation: Any) -> None:
    phase = Phase(nvlink_bytes_per_second=1024.0 * 1024)
    sample = node(Gpu("GPU-a", generation=generation, phases=(phase,))).samples()["GPU-a"]
    assert sample["nvlink_receive_bytes_total"] == 100 * 1024 * 1024


@pytest.mark.parametrize(
    ("code", "is_asked_again"),
    [
        (pynvml.NVML_ERROR_NOT_SUPPORTED, False),
        (pynvml.NVML_ERROR_FUNCTION_NOT_FOUND, False),
        (pynvml.NVML_ERROR_NO_PERMISSION, True),
        (pynvml.NVML_ERROR_TIMEOUT, True),
    ],
)
def test_a_refusal_is_null_and_what_does_not_exist_is_asked_once(node: Make, code: int, is_asked_again: bool) -> None:
    call = "nvmlDeviceGetTotalEnergyConsumption"
    gpu = node(Gpu("GPU-a", incidents=(Incident("error", call=call, code=code),)))
    for _ in range(3):
        assert "energy_joules_total" not in gpu.samples()["GPU-a"]
    assert gpu.fake.calls[call] == (3 if is_asked_again else 1)


def test_a_field_that_is_refused_costs_no_other_field(node: Make) -> None:
    gpu = node(Gpu("GPU-a", incidents=(Incident("error", call="field 269", code=pynvml.NVML_ERROR_NOT_SUPPORTED),)))
    sample = gpu.samples()["GPU-a"]
    assert "sw_thermal_throttle_seconds_total" not in sample
    assert sample["hw_thermal_throttle_seconds_total"] == 0.0


def test_a_binding_without_a_function_gives_null(node: Make) -> None:
    gpu = node(Gpu("GPU-a"))
    assert "retired_page_count" not in gpu.samples()["GPU-a"]
    health = gpu.round()["gpu_health_sample"][0]
    assert health["pcie_link_width_count"] is None
    assert health["nvlink_active_count"] == 18


def test_a_device_that_only_denies_says_so(node: Make) -> None:
    calls = ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetTemperature")
    denied = tuple(Incident("error", call=call, code=pynvml.NVML_ERROR_NO_PERMISSION) for call in calls)
    failed = tuple(Incident("error", call=call, code=pynvml.NVML_ERROR_UNKNOWN) for call in calls)
    rows = node(Gpu("GPU-a", incidents=denied), Gpu("GPU-b", incidents=failed)).samples()
    assert rows["GPU-a"]["status"] == "denied"
    assert rows["GPU-b"]["status"] == "error"


@pytest.mark.parametrize("kind", ["lost", "vanish"])
def test_a_lost_device_keeps_a_row_and_is_told_once(
    node: Make, kind: Any, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    gpu = node(Gpu("GPU-a"), Gpu("GPU-b", incidents=(Incident(kind, 105, 125),)))
    tables = [gpu.round() for _ in range(5)]
    statuses = [{row["gpu_uuid"]: row["status"] for row in each["gpu_sample"]} for each in tables]
    assert [each["GPU-b"] for each in statuses] == ["ok", "lost", "lost", "ok", "ok"]
    assert {each["GPU-a"] for each in statuses} == {"ok"}
    events = [(row["event"], row["is_critical"]) for each in tables for row in each.get("gpu_event", [])]
    assert events == [("lost", True), ("recovered", False)]
    lost = next(row for row in tables[1]["gpu_sample"] if row["gpu_uuid"] == "GPU-b")
    assert "power_watts" not in lost
    assert lost["status_reason"]
    kept((name, row) for name, rows in tables[1].items() for row in rows)


def test_a_device_that_vanishes_in_the_middle_of_a_round_costs_only_its_own_row(node: Make) -> None:
    """Found by its handle, lost at the third call."""
    late = Incident("error", 105, call="nvmlDeviceGetPowerUsage", code=pynvml.NVML_ERROR_GPU_IS_LOST)
    gpu = node(Gpu("GPU-a", incidents=(late,)), Gpu("GPU-b"))
    gpu.round()
    rows = gpu.samples()
    assert rows["GPU-a"] == {
        "gpu_uuid": "GPU-a",
        "status": "lost",
        "status_reason": "GPU is lost",
        "evidence_quality": "X",
    }
    assert rows["GPU-b"]["status"] == "ok"


def test_an_energy_counter_that_starts_again_is_a_reset(node: Make) -> None:
    gpu = node(Gpu("GPU-a", incidents=(Incident("energy_reset", 118),)))
    tables = [gpu.round() for _ in range(4)]
    assert [row["gpu_sample"][0]["energy_joules_total"] for row in tables] == [7000.0, 7700.0, 140.0, 840.0]
    events = [row for each in tables for row in each.get("gpu_event", [])]
    assert [(row["event"], row["is_critical"]) for row in events] == [("reset", False)]


def test_pcie_bytes_may_wrap(node: Make) -> None:
    phase = Phase(pcie_transmit_bytes_per_second=2.0**32 / 105)
    gpu = node(Gpu("GPU-a", pcie_counter_bits=32, phases=(phase,)))
    before, after = (gpu.samples()["GPU-a"]["pcie_transmit_bytes_total"] for _ in range(2))
    assert isinstance(before, int | float)
    assert isinstance(after, int | float)
    assert after < before


def test_xids_keep_their_number_their_device_and_their_count(node: Make) -> None:
    xids = (Incident("xid", 101, code=79), Incident("xid", 102, code=13), Incident("xid", 103, 109, code=13))
    gpu = node(Gpu("GPU-a"), Gpu("GPU-b", incidents=(*xids, Incident("lost", 104))))
    gpu.round()
    events = [row for row in gpu.round()["gpu_event"] if row["event"] == "xid"]
    assert [(row["gpu_uuid"], row["xid_code"], row["is_critical"]) for row in events] == [
        ("GPU-b", 79, True),
        ("GPU-b", 13, False),
        ("GPU-b", 13, False),
    ]
    assert len({row["occurred_at"] for row in events}) == 3


def test_what_the_driver_asks_for_is_told_once_even_if_it_is_new(node: Make) -> None:
    incidents = (Incident("recovery", 105, code=1), Incident("recovery", 125, code=42), Incident("remap_failed", 115))
    first = Incident("recovery", 105, 125, code=1)
    gpu = node(Gpu("GPU-a", incidents=(first, *incidents[1:])))
    tables = [gpu.round() for _ in range(5)]
    assert [each["gpu_health_sample"][0]["recovery_action"] for each in tables] == [
        "none", "gpu_reset", "gpu_reset", "action_42", "action_42",
    ]  # fmt: skip
    events = [row["event"] for each in tables for row in each.get("gpu_event", [])]
    assert events == ["recovery_action", "remap_failed", "recovery_action"]


def test_processes_are_attributed_by_their_cgroup(node: Make, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    tables = node(Gpu("GPU-a", phases=(TRAINING,))).round()
    rows = {row["pid_code"]: row for row in tables["gpu_process_sample"]}
    assert sorted(rows) == [4242, 4343, 4444, 99999], "the driver's own helper is nobody's process"
    assert (rows[4242]["job_id"], rows[4242]["attribution_source"]) == ("777", "cgroup")
    assert (rows[4242]["user"], rows[4242]["process_name"], rows[4242]["process_state"]) == ("54321", "train.py", "S")
    assert rows[4242]["kernel_active_ratio"] == 0.9
    assert rows[4242]["memory_used_bytes"] == 40 * GIB
    assert rows[4343]["job_id"] == "0a1b2c3d-1111-2222-3333-444455556666"
    assert rows[4343]["memory_used_bytes"] is None
    assert rows[4343]["kernel_active_ratio"] == 0.0
    assert (rows[4444]["job_id"], rows[4444]["attribution_source"]) == ("", "none")
    assert rows[99999]["process_state"] == "dead"
    (sample,) = tables["gpu_sample"]
    assert sample["process_count"] == 4
    assert sample["process_job_ids"] == "0a1b2c3d-1111-2222-3333-444455556666,777"
    assert sample["jobless_process_count"] == 2
    assert kept((name, row) for name, each in tables.items() for row in each)["gpu_process_sample"].height == 4


def test_no_process_is_zero_and_an_unreadable_list_is_null(node: Make, small_node: Path) -> None:
    assert node(Gpu("GPU-a")).samples()["GPU-a"]["process_job_ids"] == ""
    call = "nvmlDeviceGetComputeRunningProcesses_v3"
    denied = Incident("error", call=call, code=pynvml.NVML_ERROR_NO_PERMISSION)
    assert "process_count" not in node(Gpu("GPU-a", incidents=(denied,))).samples()["GPU-a"]


def test_in_a_container_processes_are_invisible(tmp_path: Path) -> None:
    (tmp_path / "self/ns").mkdir(parents=True)
    (tmp_path / "self/ns/pid").symlink_to("pid:[4026532999]")
    gpu = Node(tmp_path, (Gpu("GPU-a", phases=(TRAINING,)),))
    tables = gpu.round()
    assert "process_count" not in tables["gpu_sample"][0]
    assert "gpu_process_sample" not in tables


@pytest.mark.parametrize(
    ("cgroup", "job"),
    [
        ("5:memory:/slurm/uid_1000/job_12345/step_0/task_0", "12345"),
        ("5:cpuset:/slurm_node7/uid_1000/job_9/step_batch", "9"),
        ("0::/system.slice/slurmstepd.scope/job_4242/step_0", "4242"),
        ("0::/system.slice/node7_slurmstepd.scope/job_77/step_extern", "77"),
        ("0::/system.slice/slurmstepd.scope/s8FXABCDE01234/step_0", "s8FXABCDE01234"),
        ("0::/system.slice/slurmstepd.scope/system", ""),
        (
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_1111_2222_3333_444455556666.slice/cri-containerd-abc.scope",
            "0a1b2c3d-1111-2222-3333-444455556666",
        ),
        (
            "3:cpu:/kubepods/besteffort/pod0a1b2c3d-1111-2222-3333-444455556666/abc",
            "0a1b2c3d-1111-2222-3333-444455556666",
        ),
        ("0::/user.slice/user-1000.slice/job_5/x", ""),
        ("", ""),
    ],
)
def test_a_job_is_read_from_each_schedulers_path(cgroup: str, job: str) -> None:
    assert job_of(cgroup) == job


def test_slices_are_rows_whose_parts_sum_to_one(node: Make, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    busy = (Phase(graphics=0.8, memory_used_bytes=7 * GIB, processes=(Process(4242),)),)
    slices = (Slice("MIG-1", 1, phases=busy), Slice("MIG-2", 2, "1g.10gb", 1, 10 * GIB))
    gpu = node(Gpu("GPU-a", slices=slices, phases=(TRAINING,)))
    gpu.round()
    tables = gpu.round()
    rows = {row["gpu_uuid"]: row for row in tables["gpu_sample"]}
    assert list(rows) == ["GPU-a", "MIG-1", "MIG-2", "GPU-a-rest"]
    assert rows["MIG-1"]["graphics_active_ratio"] == pytest.approx(0.8)
    assert rows["MIG-1"]["memory_used_bytes"] == 7 * GIB
    assert rows["MIG-1"]["process_job_ids"] == "777"
    assert "power_watts" not in rows["MIG-1"], "no driver says the power of a slice"
    assert rows["GPU-a"]["power_watts"] == 640.5
    assert "kernel_active_ratio" not in rows["GPU-a"]
    exists = {row["gpu_uuid"]: row for row in tables["gpu"]}
    assert list(exists) == ["MIG-1", "MIG-2", "GPU-a-rest"]
    assert [row["gpu_fraction"] for row in exists.values()] == [
        Decimal("0.5"),
        Decimal("0.142857"),
        Decimal("0.357143"),
    ]
    assert exists["MIG-1"]["mig_profile"] == "3g.40gb"
    assert [row.get("mig_index") for row in exists.values()] == [0, 1, None]
    assert {row["parent_gpu_uuid"] for row in exists.values()} == {"GPU-a"}
    kept((name, row) for name, each in tables.items() for row in each)


def test_seven_equal_slices_leave_no_rest(node: Make) -> None:
    slices = tuple(Slice(f"MIG-{n}", n, "1g.10gb", 1, 10 * GIB) for n in range(7))
    exists = node(Gpu("GPU-a", slices=slices)).round()["gpu"]
    assert sum(row["gpu_fraction"] for row in exists if isinstance(row["gpu_fraction"], Decimal)) == 1
    assert len(exists) == 7


def test_slices_that_come_and_go_end_what_was_there(node: Make) -> None:
    gpu = node(Gpu("GPU-a", slices=(Slice("MIG-1", 1, start_seconds=105, end_seconds=125),)))
    tables = [gpu.round() for _ in range(4)]
    ends = [{row["gpu_uuid"]: row["exists_end"] is not None for row in each["gpu"]} for each in tables]
    assert ends == [
        {"GPU-a": False},
        {"MIG-1": False, "GPU-a-rest": False, "GPU-a": True},
        {"MIG-1": False, "GPU-a-rest": False},
        {"GPU-a": False, "MIG-1": True, "GPU-a-rest": True},
    ]


def test_a_slice_that_is_made_again_is_not_compared_with_the_one_before(node: Make) -> None:
    slices = (
        Slice("MIG-old", 1, end_seconds=115, phases=(Phase(graphics=1.0),)),
        Slice("MIG-new", 1, start_seconds=115, phases=(Phase(graphics=0.0),)),
    )
    gpu = node(Gpu("GPU-a", slices=slices))
    gpu.round()
    gpu.round()
    fresh = gpu.samples()["MIG-new"]
    assert fresh["evidence_quality"] == "X"
    assert gpu.samples()["MIG-new"]["graphics_active_ratio"] == 0.0


def test_the_calm_minute_is_the_baseline(node: Make) -> None:
    phases = (Phase(power_watts=72.5, memory_used_bytes=GIB), Phase(165.0, power_watts=400.0, kernel=1.0))
    gpu = node(Gpu("GPU-a", phases=phases), health_every_rounds=2)
    exists = [row for _ in range(10) for row in gpu.round().get("gpu", [])]
    assert "idle_power_watts" not in exists[0]
    assert exists[-1]["idle_power_watts"] == 72.5
    assert exists[-1]["memory_baseline_bytes"] == GIB


def test_health_is_read_every_few_rounds(node: Make) -> None:
    gpu = node(Gpu("GPU-a"), health_every_rounds=3)
    assert ["gpu_health_sample" in gpu.round() for _ in range(7)] == [True, False, False, True, False, False, True]


def test_all_tables_pass_the_door(node: Make, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    gpu = node(Gpu("GPU-a", phases=(TRAINING,), incidents=(Incident("xid", 105, code=48),)))
    gpu.round()
    found = kept((name, row) for name, rows in gpu.round().items() for row in rows)
    assert set(found) == {"gpu_sample", "gpu_process_sample", "gpu_health_sample", "gpu_event", "gpu", "collector_run"}
    assert found["gpu_event"]["xid_code"].to_list() == [48]
    assert found["gpu"]["gpu_fraction"].to_list() == [Decimal("1.000000")]


def test_no_driver_is_missing_and_a_broken_one_is_an_error(small_node: Path) -> None:
    class Broken(FakeNvml):
        code = pynvml.NVML_ERROR_LIBRARY_NOT_FOUND

        def _nvmlInit(self) -> None:  # noqa: N802
            raise self.NVMLError(self.code)

    absent = Broken(Scenario(), lambda: 0.0)
    with pytest.raises(SourceMissing) as missing:
        nvml.open(procfs=small_node, library=absent)
    assert "collectors.nvml.enabled = false" in missing.value.hint
    absent.code = pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH
    with pytest.raises(SourceError):
        nvml.open(procfs=small_node, library=absent)


def test_a_node_without_gpus_is_missing(node: Make) -> None:
    with pytest.raises(SourceMissing, match="no GPU"):
        node().round()
