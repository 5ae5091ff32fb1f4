"""What other collectors get wrong about GPUs; each test is named after what this one does."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pynvml
import pytest

from collectors.fake_nvml import Accounted, FakeNvml, Gpu, Incident, Phase, Process, Slice
from tests.collectors.node.gpu_node import GIB, Node, events

Make = Callable[..., Node]


@pytest.fixture
def node(small_node: Path) -> Make:
    return lambda *gpus, **options: Node(small_node / "proc", gpus, **options)


def refused(*calls: str, code: int = pynvml.NVML_ERROR_NOT_SUPPORTED) -> tuple[Incident, ...]:
    return tuple(Incident("error", call=call, code=code) for call in calls)


# -- values


def test_energy_is_kept_to_the_millijoule(node: Make) -> None:
    """Whole joules would lose up to one in each sample: a tenth of an idle device's."""
    sample = node(Gpu("GPU-a", phases=(Phase(power_watts=0.012345),))).samples()["GPU-a"]
    assert sample["energy_joules_total"] == 1.234


def test_two_rounds_in_one_instant_divide_by_nothing(node: Make) -> None:
    gpu = node(Gpu("GPU-a", phases=(Phase(kernel=1.0),)))
    gpu.round(after=0.0)
    assert gpu.samples()["GPU-a"]["evidence_quality"] == "C", "the driver has no sample that is new"


def test_devices_at_zero_are_counted(node: Make) -> None:
    """Seven idle devices and a busy one are eight rows; that their mean is an eighth `test_defects` shows."""
    gpus = [Gpu(f"GPU-{n}", phases=(Phase(kernel=float(n == 0)),)) for n in range(8)]
    rows = node(*gpus).samples()
    assert [row["kernel_active_ratio"] for row in rows.values()] == [1.0] + [0.0] * 7


def test_a_device_of_two_jobs_is_one_row(node: Make) -> None:
    processes = (Process(4242), Process(4343))
    tables = node(Gpu("GPU-a", phases=(Phase(processes=processes, power_watts=300.0),))).round()
    (sample,) = tables["gpu_sample"]
    assert len(str(sample["process_job_ids"]).split(",")) == 2
    assert len(tables["gpu_process_sample"]) == 2


def test_a_device_that_is_cut_has_no_duty_cycle_instead_of_zero(node: Make) -> None:
    gpu = node(Gpu("GPU-a", generation="ampere", slices=(Slice("MIG-1", 1),), phases=(Phase(kernel=1.0),)))
    rows = gpu.samples()
    assert "kernel_active_ratio" not in rows["GPU-a"]
    assert rows["GPU-a"]["evidence_quality"] == "D"
    assert rows["MIG-1"]["evidence_quality"] == "X"


@pytest.mark.parametrize(
    ("profile", "compute", "memory", "fraction"),
    [
        ("1g.10gb", 1, 10, "0.142857"),
        ("1g.20gb", 1, 20, "0.250000"),
        ("2g.20gb", 2, 20, "0.285714"),
        ("3g.40gb", 3, 40, "0.500000"),
        ("4g.40gb", 4, 40, "0.571428"),
        ("7g.80gb", 7, 80, "1.000000"),
    ],
)
def test_a_slice_counts_by_its_own_size_and_has_no_power(
    node: Make, profile: str, compute: int, memory: int, fraction: str
) -> None:
    """A coefficient of seven for a slice of four sevenths gives it the power of the whole device."""
    part = Slice("MIG-1", 1, profile, compute, memory * GIB, phases=(Phase(power_watts=300.0),))
    tables = node(Gpu("GPU-a", slices=(part,), phases=(Phase(power_watts=300.0),))).round()
    exists = {row["gpu_uuid"]: row["gpu_fraction"] for row in tables["gpu"]}
    assert exists["MIG-1"] == Decimal(fraction)
    assert sum(exists.values()) == 1
    rows = {row["gpu_uuid"]: row for row in tables["gpu_sample"]}
    assert not {"power_watts", "energy_joules_total"} & set(rows["MIG-1"])
    assert rows["GPU-a"]["power_watts"] == 300.0


@pytest.mark.parametrize("ratio", [1.5, float("nan"), -0.25])
def test_a_profiling_value_that_is_no_share_is_null_and_costs_no_other(node: Make, ratio: float) -> None:
    """More than full is seen on slices, no number after a profiler was there."""
    phase = Phase(graphics=0.5, sm=ratio, dram=0.25, pcie_transmit_bytes_per_second=ratio)
    gpu = node(Gpu("GPU-a", slices=(Slice("MIG-1", 1, phases=(phase,)),)))
    gpu.round()
    sample = gpu.samples()["MIG-1"]
    assert "sm_active_ratio" not in sample
    assert (sample["graphics_active_ratio"], sample["dram_active_ratio"]) == (0.5, 0.25)
    assert ratio > 1 or "pcie_transmit_bytes_per_second" not in sample


def test_one_profiling_metric_that_is_missing_leaves_the_others(node: Make) -> None:
    gpu = node(Gpu("GPU-a", phases=(Phase(graphics=0.5, tensor=0.25),), incidents=refused("metric 2")))
    gpu.round()
    sample = gpu.samples()["GPU-a"]
    assert "sm_active_ratio" not in sample
    assert (sample["graphics_active_ratio"], sample["tensor_active_ratio"]) == (0.5, 0.25)
    assert sample["evidence_quality"] == "A"


ENGINES = ("encoder_active_ratio", "decoder_active_ratio", "jpeg_active_ratio", "ofa_active_ratio")


def test_engines_beside_the_kernels_are_shares_of_their_own(node: Make) -> None:
    sample = node(Gpu("GPU-a", phases=(Phase(encoder=0.07, decoder=0.6, jpeg=0.05, ofa=1.0),))).samples()["GPU-a"]
    assert [sample[name] for name in ENGINES] == [0.07, 0.6, 0.05, 1.0]
    assert sample["kernel_active_ratio"] == 0.0


def test_an_engine_that_a_device_has_not_is_null_and_asked_once(node: Make) -> None:
    """Older devices have no JPEG decoder, older drivers no such function."""
    missing = Incident("error", call="nvmlDeviceGetOfaUtilization", code=pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    gpu = node(Gpu("GPU-a", incidents=(*refused("nvmlDeviceGetJpgUtilization"), missing)))
    for each in gpu.rounds(3):
        sample = each["gpu_sample"][0]
        assert [sample.get(name) for name in ENGINES] == [0.0, 0.0, None, None]
    asked = {name: count for name, count in gpu.fake.calls.items() if name.endswith("Utilization")}
    assert asked == {
        "nvmlDeviceGetEncoderUtilization": 3, "nvmlDeviceGetDecoderUtilization": 3,
        "nvmlDeviceGetJpgUtilization": 1, "nvmlDeviceGetOfaUtilization": 1, "nvmlDeviceGetProcessUtilization": 3,
    }  # fmt: skip


def test_engines_of_a_device_that_is_cut_are_unknown(node: Make) -> None:
    phase = Phase(decoder=0.6)
    gpu = node(Gpu("GPU-a", phases=(phase,), slices=(Slice("MIG-1", 1, phases=(phase,)),)))
    for sample in gpu.samples().values():
        assert not set(ENGINES) & sample.keys()
    assert not [name for name in gpu.fake.calls if name.endswith("OfaUtilization") and gpu.fake.calls[name] > 1]


def test_profiling_that_is_denied_is_said_and_tried_again(node: Make) -> None:
    """An administrator may allow it (RmProfilingAdminOnly) while the agent runs."""
    denied = Incident("error", 0, 125, call="nvmlGpmSampleGet", code=pynvml.NVML_ERROR_NO_PERMISSION)
    gpu = node(Gpu("GPU-a", incidents=(denied,)))
    tables = gpu.rounds(5)
    assert [each["gpu_sample"][0]["evidence_quality"] for each in tables] == ["B", "B", "B", "B", "A"]
    assert "nvmlGpmSampleGet: denied" in str(tables[0]["gpu_health_sample"][0]["refused"])
    assert "nvmlGpmSampleGet" not in str(tables[4]["gpu_health_sample"][0]["refused"])


def test_profiling_whose_first_answer_fails_is_not_given_up(node: Make) -> None:
    failing = Incident("error", 0, 105, call="nvmlGpmQueryDeviceSupport", code=pynvml.NVML_ERROR_TIMEOUT)
    tables = node(Gpu("GPU-a", incidents=(failing,))).rounds(3)
    assert [each["gpu_sample"][0]["evidence_quality"] for each in tables] == ["B", "B", "A"]


def test_pipes_and_links_are_averages_in_base_units(node: Make) -> None:
    phases = (
        Phase(tensor_half=0.5, tensor_integer=0.25, tensor_double=0.125, single=1.0,
              pcie_transmit_bytes_per_second=4e9, nvlink_bytes_per_second=2e9),
        Phase(105.0),
    )  # fmt: skip
    gpu = node(Gpu("GPU-a", phases=phases))
    gpu.round()
    sample = gpu.samples()["GPU-a"]
    expected = {
        "tensor_half_active_ratio": 0.25,
        "tensor_integer_active_ratio": 0.125,
        "tensor_double_active_ratio": 0.0625,
        "single_active_ratio": 0.5,
        "pcie_transmit_bytes_per_second": 2e9,
        "pcie_receive_bytes_per_second": 0.0,
        "nvlink_transmit_bytes_per_second": 1e9,
        "nvlink_receive_bytes_per_second": 1e9,
    }
    assert {name: sample[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("generation", ["hopper", "blackwell"])
def test_links_are_summed_where_the_driver_does_not_sum_them(node: Make, generation: Any) -> None:
    """The first round learns it; an unknown scope is no missing link."""
    phase = Phase(nvlink_bytes_per_second=18 * 1024.0 * 1024)
    gpu = node(Gpu("GPU-a", generation=generation, nvlink_scopes="each", phases=(phase,)))
    assert "nvlink_transmit_bytes_total" not in gpu.samples()["GPU-a"]
    sample = gpu.samples()["GPU-a"]
    assert sample["nvlink_transmit_bytes_total"] == 110 * 18 * 1024 * 1024
    assert sample["nvlink_receive_bytes_total"] == 110 * 18 * 1024 * 1024


def test_scopes_of_power_are_columns_of_their_own(node: Make) -> None:
    rows = node(Gpu("GPU-a", module_power_watts=812.5, memory_power_watts=61.25), Gpu("GPU-b")).samples()
    assert (rows["GPU-a"]["module_power_watts"], rows["GPU-a"]["memory_power_watts"]) == (812.5, 61.25)
    assert rows["GPU-a"]["power_watts"] == 70.0
    assert "module_power_watts" not in rows["GPU-b"]


def test_the_drivers_own_time_is_kept_beside_the_whole(node: Make) -> None:
    gpu = node(Gpu("GPU-a", field_latency_microseconds=100))
    slow, fast = gpu.samples()["GPU-a"], node(Gpu("GPU-a", field_latency_microseconds=0)).samples()["GPU-a"]
    asked = 0.0001 * 21
    assert slow["driver_seconds"] == pytest.approx(asked)
    assert fast["driver_seconds"] == 0.0
    assert gpu.samples()["GPU-a"]["driver_seconds"] < asked, "what it does not have is not asked again"


def test_all_fields_of_a_round_are_one_call(node: Make) -> None:
    gpu = node(Gpu("GPU-a"), Gpu("GPU-b"), health_every_rounds=2)
    gpu.rounds(4)
    assert gpu.fake.calls["nvmlDeviceGetFieldValues"] == 8
    assert "nvmlDeviceGetRemappedRows" not in gpu.fake.calls
    assert "nvmlDeviceGetTotalEccErrors" not in gpu.fake.calls


def test_a_driver_too_old_for_the_fields_of_health_is_asked_by_functions(node: Make) -> None:
    missing = refused("field 3", "field 4", "field 143", code=pynvml.NVML_ERROR_INVALID_ARGUMENT)
    health = node(Gpu("GPU-a", incidents=(*missing, Incident("remap_failed")))).round()["gpu_health_sample"][0]
    assert health["is_remap_failed"] is True
    assert health["ecc_uncorrected_count_total"] == 0


SLOWED = Phase(sw_thermal=0.25, hw_thermal=0.5, power_cap=0.125)
TIMES = ("sw_thermal_throttle_seconds_total", "hw_thermal_throttle_seconds_total", "power_cap_seconds_total")


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ((), (25.0, 50.0, 12.5)),
        (("field 269", "field 270", "field 271"), (75.0, None, 12.5)),
        (("field 74", "field 75", "field 269", "field 270"), (75.0, None, 12.5)),
        (("field 74",), (25.0, 50.0, 12.5)),
        (("field 269",), (None, 50.0, 12.5)),
        (("nvmlDeviceGetFieldValues",), (75.0, None, 12.5)),
        (("field 74", "field 75", "field 269", "field 270", "nvmlDeviceGetViolationStatus"), (None, None, None)),
    ],
)
def test_a_driver_too_old_to_say_who_slowed_the_clock_says_how_long_heat_did(
    node: Make, missing: tuple[str, ...], expected: tuple[float | None, ...]
) -> None:
    """Before 570 heat is one time, in the same nanoseconds; it stands in one column, so that nothing counts twice."""
    for code in (pynvml.NVML_ERROR_INVALID_ARGUMENT, pynvml.NVML_ERROR_NOT_SUPPORTED):
        if "nvmlDeviceGetFieldValues" in missing and code == pynvml.NVML_ERROR_INVALID_ARGUMENT:
            continue
        sample = node(Gpu("GPU-a", phases=(SLOWED,), incidents=refused(*missing, code=code))).samples()["GPU-a"]
        assert tuple(sample.get(name) for name in TIMES) == expected


def test_a_field_that_fails_once_does_not_change_what_a_counter_counts(node: Make) -> None:
    once = (Incident("error", 105.0, 115.0, f"field {field}", pynvml.NVML_ERROR_UNKNOWN) for field in (269, 270))
    gpu = node(Gpu("GPU-a", phases=(SLOWED,), incidents=tuple(once)))
    found = [next(iter(each["gpu_sample"])).get(TIMES[0]) for each in gpu.rounds(3)]
    assert found == [25.0, None, 30.0]
    assert "nvmlDeviceGetViolationStatus" not in gpu.fake.calls


def test_an_old_driver_is_asked_for_its_fields_in_one_call_after_the_first_round(node: Make) -> None:
    missing = refused("field 269", "field 270", "field 271", code=pynvml.NVML_ERROR_INVALID_ARGUMENT)
    gpu = node(Gpu("GPU-a", generation="ampere", phases=(SLOWED,), incidents=missing))
    gpu.round()
    before = gpu.fake.calls["nvmlDeviceGetFieldValues"]
    gpu.rounds(3)
    assert gpu.fake.calls["nvmlDeviceGetFieldValues"] == before + 3


# -- health and events


def test_what_an_old_driver_has_under_another_name_is_read(node: Make) -> None:
    names = ("nvmlDeviceGetMemoryInfo_v2", "nvmlDeviceGetCurrentClocksEventReasons")
    missing = refused(*names, code=pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
    gpu = node(Gpu("GPU-a", phases=(Phase(memory_used_bytes=3 * GIB, power_cap=0.5),), incidents=missing))
    gpu.round()
    sample = gpu.samples()["GPU-a"]
    assert (sample["memory_used_bytes"], sample["memory_total_bytes"]) == (3 * GIB, 80 * GIB)
    assert sample["clock_event_reasons_bitmask"] == 0x5
    assert gpu.fake.calls["nvmlDeviceGetCurrentClocksEventReasons"] == 1, "what is not there is asked once"
    denied = refused(*names, code=pynvml.NVML_ERROR_NO_PERMISSION)
    assert "memory_used_bytes" not in node(Gpu("GPU-a", incidents=denied)).samples()["GPU-a"]


def test_a_row_that_was_remapped_is_health_and_no_fault(node: Make) -> None:
    """The spare row works; only a failed remap wants a new device, and a pending one a reset."""
    incidents = (Incident("remapped", code=3), Incident("remap_pending"), Incident("ecc_uncorrected", code=2))
    tables = node(Gpu("GPU-a", incidents=incidents)).round()
    (health,) = tables["gpu_health_sample"]
    assert (health["remapped_uncorrected_count"], health["ecc_uncorrected_count_total"]) == (3, 2)
    assert (health["is_remap_pending"], health["is_remap_failed"]) == (True, False)
    assert "gpu_event" not in tables


def test_an_xid_is_told_once_and_never_again(node: Make) -> None:
    """A gauge of the last one never clears."""
    gpu = node(Gpu("GPU-a", incidents=(Incident("xid", 105, code=31),)))
    assert events(gpu.rounds(12), "xid_code") == [(31,)]


def test_a_driver_that_knows_no_new_events_queues_the_old_ones(node: Make) -> None:
    """It refuses a mask with one unknown type as a whole."""
    xid = Incident("xid", 105, code=79)
    refusing = refused("nvmlDeviceGetSupportedEventTypes")
    gpu = node(
        Gpu("GPU-a", event_types=0x8, incidents=(xid,)), Gpu("GPU-b", event_types=0x8, incidents=(xid, *refusing))
    )
    assert events(gpu.rounds(3), "gpu_uuid", "xid_code") == [("GPU-a", 79), ("GPU-b", 79)]


def test_events_of_other_types_have_a_name_and_only_the_fatal_ones_open_a_fault(
    node: Make, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    incidents = tuple(Incident("event", 105 + n, code=code) for n, code in enumerate((0x2, 0x200, 0x1000, 0x4000)))
    gpu = node(Gpu("GPU-a", incidents=incidents))
    gpu.round()
    tables = gpu.round()
    assert events([tables], "event", "is_critical") == [
        ("ecc_uncorrected", False),
        ("ecc_corrected_storm", False),
        ("poison_contained", False),
        ("unavailable", True),
    ]
    kept((name, row) for name, rows in tables.items() for row in rows)


def test_what_the_driver_asks_for_is_read_when_it_says_that_it_has_changed(node: Make) -> None:
    """Health is due a minute later."""
    incidents = (Incident("event", 105, code=0x8000), Incident("recovery", 105, code=1))
    gpu = node(Gpu("GPU-a", incidents=incidents), health_every_rounds=6)
    tables = gpu.rounds(4)
    assert ["gpu_health_sample" in each for each in tables] == [True, False, True, False]
    assert events(tables, "event", "message") == [("recovery_action", "the driver asks for gpu_reset")]


def test_pcie_bytes_that_wrap_are_no_reset(node: Make) -> None:
    phase = Phase(pcie_transmit_bytes_per_second=2.0**32 / 25)
    gpu = node(Gpu("GPU-a", pcie_counter_bits=32, phases=(phase,)))
    assert events(gpu.rounds(6), "event") == []


def test_any_wide_counter_that_falls_is_a_reset(node: Make) -> None:
    """Not every device counts energy."""

    class Forgetting(FakeNvml):
        def _field(self, handle: Any, field: int, scope: int) -> float | None:
            found = super()._field(handle, field, scope)
            return 5e9 if field == 270 and self._clock() >= 115 and found is not None else found

    gpu = node(Gpu("GPU-a", phases=(Phase(hw_thermal=0.5),), incidents=refused("nvmlDeviceGetTotalEnergyConsumption")))
    gpu.fake.__class__ = Forgetting
    told = events(gpu.rounds(4), "event", "message")
    assert told == [("reset", "hw_thermal_throttle_seconds_total fell from 55 to 5")]


# -- processes


def test_the_ghosts_of_a_zombie_are_no_activity(node: Make) -> None:
    """Drivers report a hundred percent, or a thousand, for a process that ended while it held the device."""
    processes = (Process(4343, kernel_ratio=9.0), Process(4242, kernel_ratio=0.5), Process(99999, kernel_ratio=1.0))
    gpu = node(Gpu("GPU-a", phases=(Phase(processes=processes),)))
    rows = {row["pid_code"]: row["kernel_active_ratio"] for row in gpu.round()["gpu_process_sample"]}
    assert rows == {4242: 0.5, 4343: None, 99999: None}


def test_activity_of_a_process_is_averaged_over_what_is_new(node: Make) -> None:
    """The driver's buffer reaches back over several rounds; each of its samples counts once."""
    phases = (Phase(processes=(Process(4242, kernel_ratio=1.0),)), Phase(105.5, processes=(Process(4242),)))
    gpu = node(Gpu("GPU-a", phases=phases))
    ratios = [each["gpu_process_sample"][0]["kernel_active_ratio"] for each in gpu.rounds(3)]
    assert ratios == [1.0, 1.0, 0.0]


def test_activity_of_a_device_is_averaged_over_the_drivers_own_samples(node: Make) -> None:
    """A snapshot at the end of the round would say idle."""
    phases = (Phase(kernel=1.0, memory=0.5), Phase(105.5))
    gpu = node(Gpu("GPU-a", generation="ampere", phases=phases))
    gpu.round()
    second, third = gpu.samples()["GPU-a"], gpu.samples()["GPU-a"]
    assert (second["kernel_active_ratio"], second["memory_active_ratio"]) == (0.5, 0.25)
    assert (third["kernel_active_ratio"], third["evidence_quality"]) == (0.0, "B")


def test_garbage_in_the_sample_buffer_is_left_out(node: Make) -> None:
    phases = (Phase(kernel=0.5), Phase(105.5, kernel=40.0), Phase(108.5, kernel=0.5))
    gpu = node(Gpu("GPU-a", generation="ampere", phases=phases))
    gpu.round()
    assert gpu.samples()["GPU-a"]["kernel_active_ratio"] == 0.5


def test_a_process_that_no_round_saw_is_told_by_the_drivers_account(
    node: Make, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    account = (
        Accounted(3131, 20, 30),
        Accounted(5151, 112, 113.5, kernel_ratio=0.75, memory_ratio=0.5, memory_peak_bytes=3 * GIB),
        Accounted(4242, 101, 125),
    )
    phases = (Phase(), Phase(105, processes=(Process(4242),)), Phase(125))
    gpu = node(Gpu("GPU-a", phases=phases, accounting=account), Gpu("GPU-b"))
    tables = gpu.rounds(6)
    told = [(index, row) for index, each in enumerate(tables) for row in each.get("gpu_process_run", [])]
    assert [(index, row["pid_code"], row["job_id"]) for index, row in told] == [(2, 5151, ""), (3, 4242, "777")]
    short, known = told[0][1], told[1][1]
    assert (short["duration_seconds"], short["kernel_active_ratio"], short["memory_active_ratio"]) == (1.5, 0.75, 0.5)
    assert (short["memory_peak_bytes"], short["user"], short["attribution_source"]) == (3 * GIB, None, "none")
    assert (known["user"], known["process_name"], known["attribution_source"]) == ("54321", "train.py", "cgroup")
    accounts = {row["gpu_uuid"]: row["is_accounting_enabled"] for row in tables[0]["gpu_health_sample"]}
    assert accounts == {"GPU-a": True, "GPU-b": False}
    found = kept((name, row) for name, rows in tables[3].items() for row in rows)["gpu_process_run"]
    assert found["process_start"].dt.timestamp("ms").to_list() == [101_000]


def test_a_process_id_that_comes_back_is_another_process(node: Make) -> None:
    account = (Accounted(5151, 102, 103), Accounted(5151, 122, 124))
    phases = (Phase(), Phase(115, processes=(Process(5151),)), Phase(123.5))
    gpu = node(Gpu("GPU-a", phases=phases, accounting=account))
    told = [row["duration_seconds"] for each in gpu.rounds(6) for row in each.get("gpu_process_run", [])]
    assert told == [1.0, 2.0]


def test_a_kind_of_value_that_is_newer_than_this_is_null(node: Make) -> None:
    class Newer(FakeNvml):
        def _nvmlDeviceGetFieldValues(self, handle: Any, wanted: Any) -> list[Any]:  # noqa: N802
            found = super()._nvmlDeviceGetFieldValues(handle, wanted)
            for each in found:
                each.valueType = 42 if each.fieldId == 74 else each.valueType
            return found

    gpu = node(Gpu("GPU-a"))
    gpu.fake.__class__ = Newer
    sample = gpu.samples()["GPU-a"]
    assert "power_cap_seconds_total" not in sample
    assert sample["hw_thermal_throttle_seconds_total"] == 0.0
