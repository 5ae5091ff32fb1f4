import errno
import json
import shutil
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.node._amd_metrics import parsed
from collectors.node._device_files import DeviceFiles
from collectors.node._nvml_driver import DeviceLost
from collectors.node.amd import AmdSettings
from ledger.counters import delta
from ledger.errors import SourceMissing
from tests.collectors.node.amd_node import GIB, AmdNode, put, table_1_3, table_1_6

WHOLE = "GPU-79ccd55167a2124a"


@pytest.fixture
def node(tmp_path: Path) -> AmdNode:
    return AmdNode(tmp_path)


def test_a_device_is_sampled_in_base_units(node: AmdNode, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    node.card()
    tables = node.round()
    (sample,) = tables["gpu_sample"]
    expected = {
        "gpu_uuid": WHOLE,
        "status": "ok",
        "evidence_quality": "C",
        "kernel_active_ratio": 0.37,
        "memory_active_ratio": 0.12,
        "memory_used_bytes": 6_750_208,
        "power_watts": 36.0,
        "power_limit_watts": 290.0,
        "energy_joules_total": 500.0,
        "temperature_celsius": 53.0,
        "memory_temperature_celsius": 51.0,
        "sm_clock_hertz": 300e6,
        "sm_clock_max_hertz": 1502e6,
        "memory_clock_hertz": 1200e6,
        "clock_event_reasons_bitmask": 0x4,
    }
    assert {name: sample[name] for name in expected} == expected
    (health,) = tables["gpu_health_sample"]
    assert (health["ecc_corrected_count_total"], health["ecc_uncorrected_count_total"]) == (6, 1)
    assert (health["pcie_link_generation_index"], health["pcie_link_width_count"]) == (4, 16)
    assert health["gpu_model"] == "AMD Instinct MI100"
    (gpu,) = tables["gpu"]
    assert (gpu["gpu_uuid"], gpu["gpu_fraction"], gpu["numa_node_index"]) == (WHOLE, 1, 1)
    frames = kept(node.rows())
    assert {name: frame.height for name, frame in frames.items() if name.startswith("gpu")} == {
        "gpu_sample": 1,
        "gpu_health_sample": 1,
        "gpu": 1,
    }


def test_a_node_without_the_driver_says_so(node: AmdNode) -> None:
    put(node.sysfs / "class/drm/card0/device", {"vendor": "0x10de", "gpu_busy_percent": 1})
    with pytest.raises(SourceMissing, match="no AMD GPU"):
        node.rows()


def test_only_listed_devices_count(tmp_path: Path) -> None:
    node = AmdNode(tmp_path, AmdSettings(devices=("0000:c3:00.0",)))
    node.card(0)
    node.card(1)
    assert list(node.samples()) == ["GPU-04edfb117a17a07d"], "as ROCm shows it: sixteen digits"


def test_a_model_without_a_unique_id_is_named_by_its_place(node: AmdNode) -> None:
    node.card(unique_id=None)
    node.card(1, unique_id=0)
    assert list(node.samples()) == ["GPU-0000:83:00.0", "GPU-0000:c3:00.0"]


def test_what_the_driver_has_not_is_null_and_said(node: AmdNode) -> None:
    node.card(
        gpu_busy_percent="N/A",
        mem_busy_percent=None,
        mem_info_vram_used="abc",
        gpu_metrics=b"\x10\x00\x09\x09",
        hwmon__hwmon7__power1_average=None,
        hwmon__hwmon7__power1_input=250_000_000,
    )
    tables = node.round()
    (sample,) = tables["gpu_sample"]
    assert (sample["power_watts"], sample["evidence_quality"]) == (250.0, "D")
    assert not {"kernel_active_ratio", "memory_active_ratio", "memory_used_bytes", "energy_joules_total"} & set(sample)
    refused = dict(part.split(": ") for part in tables["gpu_health_sample"][0]["refused"].split("; "))
    assert refused["gpu_busy_percent"] == refused["mem_busy_percent"] == "unsupported"
    assert refused["mem_info_vram_used"] == "error"
    assert refused["gpu_metrics 9.9 of 16 bytes"] == "no_symbol"


def test_a_refused_device_has_a_status_of_its_own(refused_root: Path) -> None:
    node = AmdNode(refused_root)
    folder = node.card(gpu_metrics=None)
    for name in ("gpu_busy_percent", "mem_info_vram_used"):
        (folder / name).chmod(0)
    (sample,) = node.round()["gpu_sample"]
    assert (sample["status"], sample["power_watts"]) == ("denied", 36.0)


@pytest.mark.parametrize(
    ("number", "word"), [(errno.EINVAL, "unsupported"), (errno.EPERM, "denied"), (errno.EIO, "error")]
)
def test_kinds_of_refusal_are_kept_apart(tmp_path: Path, number: int, word: str) -> None:
    assert DeviceFiles(tmp_path)._refusal(OSError(number, "text")) == word


def test_a_device_that_answers_enodev_is_lost(tmp_path: Path) -> None:
    with pytest.raises(DeviceLost, match="No such device"):
        DeviceFiles(tmp_path)._refusal(OSError(errno.ENODEV, "No such device"))


def test_a_device_that_vanishes_is_lost_and_costs_no_other_its_row(node: AmdNode) -> None:
    node.card(0)
    node.card(1)
    node.round()
    shutil.rmtree(node.sysfs / "class/drm/card0")
    tables = node.round()
    assert [(row["event"], row["is_critical"]) for row in tables["gpu_event"]] == [("lost", True)]
    assert {row["gpu_uuid"]: row["status"] for row in tables["gpu_sample"]} == {
        WHOLE: "lost",
        "GPU-04edfb117a17a07d": "ok",
    }
    assert "gpu_event" not in node.round(), "told once"
    node.card(0)
    assert [row["event"] for row in node.round()["gpu_event"]] == ["recovered"]


def test_a_device_that_does_not_say_its_id_while_it_is_reset_is_no_other_one(node: AmdNode) -> None:
    folder = node.card()
    node.round()
    (folder / "unique_id").unlink()
    tables = node.round()
    assert [(row["gpu_uuid"], row["status"]) for row in tables["gpu_sample"]] == [(WHOLE, "ok")]
    assert [(row["gpu_uuid"], row["exists_end"]) for row in tables["gpu"]] == [(WHOLE, None)]
    assert "gpu_event" not in tables


def test_a_sleeping_device_is_not_woken(node: AmdNode) -> None:
    folder = node.card(power__runtime_status="suspended")
    (folder / "gpu_busy_percent").unlink()
    (sample,) = node.round()["gpu_sample"]
    assert (sample["status"], sample["status_reason"], sample["evidence_quality"]) == ("ok", "suspended", "X")
    assert "power_watts" not in sample


def test_energy_falls_with_a_reset_and_an_event(node: AmdNode) -> None:
    node.card()
    before = node.samples()[WHOLE]["energy_joules_total"]
    node.card(gpu_metrics=table_1_3(energy=65_536, power=30))
    tables = node.round()
    after = tables["gpu_sample"][0]["energy_joules_total"]
    assert delta(before, after, elapsed_seconds=10).kind == "reset"
    assert [row["event"] for row in tables["gpu_event"]] == ["reset"]


def test_a_counter_of_energy_that_is_stuck_is_no_measurement(node: AmdNode) -> None:
    node.card()
    seen = [node.samples()[WHOLE].get("energy_joules_total") for _ in range(5)]
    assert seen == [500.0, 500.0, 500.0, None, None]
    node.card(gpu_metrics=table_1_3(energy=65_536 * 900, power=36))
    tables = node.round()
    assert tables["gpu_sample"][0]["energy_joules_total"] == 900.0
    assert "energy" not in tables["gpu_health_sample"][0]["refused"]


def test_processes_are_on_the_device_that_they_use(node: AmdNode, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    node.card(0)
    node.card(1)
    node.compute(4101)
    node.compute(4102, bus=0xC3)
    node.process(700, {4101: 5 * GIB, 4102: 0}, job=77)
    node.process(701, {4101: 0, 4102: 0}, queues=(4101,))
    tables = node.round()
    samples = {row["gpu_uuid"]: row for row in tables["gpu_sample"]}
    first, second = samples[WHOLE], samples["GPU-04edfb117a17a07d"]
    assert (first["process_count"], first["process_job_ids"], first["jobless_process_count"]) == (2, "77", 1)
    assert (second["process_count"], second["process_job_ids"]) == (0, "")
    rows = {row["pid_code"]: row for row in tables["gpu_process_sample"]}
    assert (rows[700]["memory_used_bytes"], rows[700]["attribution_source"]) == (5 * GIB, "cgroup")
    assert rows[701]["memory_used_bytes"] == 0
    assert kept(node.rows())["gpu_process_sample"].height == 2


def test_without_the_compute_driver_processes_are_invisible(node: AmdNode) -> None:
    node.card()
    assert "process_count" not in node.samples()[WHOLE]


def partitioned(node: AmdNode, count: int, busy: tuple[tuple[int, ...], ...]) -> None:
    modes = {"current_compute_partition": "CPX", "current_memory_partition": "NPS1"}
    node.card(gpu_metrics=table_1_6(busy, power=400, energy=1 << 20), **modes)
    shutil.rmtree(node.sysfs / "class/kfd", ignore_errors=True)
    for partition in range(count):
        node.compute(4200 + partition, partition=partition, memory=64 * GIB)


def test_partitions_are_parts_of_a_whole(node: AmdNode, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    partitioned(node, 3, ((100, 50), (0, 0), (30, 10)))
    node.process(700, {4200: 5 * GIB, 4201: 0, 4202: 0}, job=77)
    tables = node.round()
    samples = {row["gpu_uuid"]: row for row in tables["gpu_sample"]}
    assert samples[WHOLE]["power_watts"] == 36.0
    assert samples[WHOLE]["energy_joules_total"] == 16.0
    parts = [samples[f"{WHOLE}-{place}"] for place in range(3)]
    assert [part["kernel_active_ratio"] for part in parts] == [0.75, 0.0, 0.2]
    assert [part["memory_used_bytes"] for part in parts] == [5 * GIB, 0, 0]
    assert [part["process_job_ids"] for part in parts] == ["77", "", ""]
    existing = tables["gpu"]
    assert sum(row["gpu_fraction"] for row in existing) == Decimal(1)
    assert {(row["parent_gpu_uuid"], row["mig_profile"]) for row in existing} == {(WHOLE, "CPX/NPS1")}
    assert kept(node.rows())["gpu"].height == 3


def test_a_change_of_partitions_ends_what_was_and_is_no_loss(node: AmdNode) -> None:
    partitioned(node, 4, ((10,),) * 4)
    node.round()
    shutil.rmtree(node.sysfs / "class/kfd")
    node.compute(4200)
    tables = node.round()
    assert "gpu_event" not in tables
    ended = {row["gpu_uuid"]: row["exists_end"] is not None for row in tables["gpu"]}
    assert ended == {WHOLE: False} | {f"{WHOLE}-{place}": True for place in range(4)}
    assert [row["gpu_uuid"] for row in tables["gpu_sample"]] == [WHOLE]


def test_throttling_is_the_firmwares_share_of_its_own_time(node: AmdNode) -> None:
    def at(ticks: int, seconds: int, **held: int) -> None:
        values = {"prochot": 0, "package_power": 0, "socket_heat": 0, "regulator_heat": 0} | held
        node.card(gpu_metrics=table_1_6(ticks=ticks, stamp=seconds * 100_000_000, power=700, **values))

    at(1000, 50)
    first = node.samples()[WHOLE]
    assert (first["hw_thermal_throttle_seconds_total"], first["power_cap_seconds_total"]) == (0.0, 0.0)
    at(11_000, 60, package_power=5000, socket_heat=2000, regulator_heat=1000)
    second = node.samples()[WHOLE]
    assert second["power_cap_seconds_total"] == pytest.approx(5.0)
    assert second["hw_thermal_throttle_seconds_total"] == pytest.approx(2.0), "kinds of heat overlap"
    at(500, 5)
    third = node.samples()[WHOLE]
    assert third["power_cap_seconds_total"] == pytest.approx(5.0), "a firmware that began anew adds nothing"


def test_links_count_in_bytes_and_only_those_that_are_there(node: AmdNode) -> None:
    node.card(gpu_metrics=table_1_6(read_0=10, read_1=20, written_0=5, clock=2100, memory_clock=1300))
    sample = node.samples()[WHOLE]
    assert (sample["nvlink_receive_bytes_total"], sample["nvlink_transmit_bytes_total"]) == (30 * 1024, 5 * 1024)


def test_new_uncorrected_errors_are_an_event_and_old_ones_none(node: AmdNode) -> None:
    node.card()
    assert "gpu_event" not in node.round()
    node.card(ras__umc_err_count="ue: 2\nce: 4", gpu_metrics=table_1_3(energy=1 << 40))
    (event,) = node.round()["gpu_event"]
    assert (event["event"], event["message"]) == ("ecc_uncorrected", "uncorrected errors rose from 1 to 3")


def log(node: AmdNode, *lines: str) -> None:
    path = node.root / "var/log/kern.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.writelines(
            f"2026-11-20T12:01:{second:02}.123456+00:00 n1 kernel: {line}\n" for second, line in enumerate(lines)
        )


def test_the_kernels_log_tells_resets_and_failures_each_once(
    node: AmdNode, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    node.card()
    log(node, "amdgpu 0000:83:00.0: amdgpu: GPU reset(1) succeeded!")
    assert "gpu_event" not in node.round(), "what was written before anybody asked has no sure time"
    log(
        node,
        "amdgpu 0000:83:00.0: amdgpu: GPU reset begin!",
        "amdgpu 0000:83:00.0: amdgpu: GPU reset(2) succeeded!",
        "amdgpu 0000:83:00.0: amdgpu: 2 uncorrectable hardware errors detected in umc block",
        "amdgpu 0000:83:00.0: amdgpu: GPU reset(3) failed",
        "amdgpu 0000:83:00.0: amdgpu: GPU Recovery Failed: -19",
        "amdgpu 0000:ff:00.0: amdgpu: device lost from bus!",
        "nvme 0000:03:00.0: GPU reset(3) failed",
    )
    node.card(gpu_metrics=table_1_3(energy=65_536))
    rows = node.rows()
    events = [(row["event"], row["gpu_uuid"], row["is_critical"]) for table, row in rows if table == "gpu_event"]
    assert events == [
        ("reset", WHOLE, False),
        ("ecc_uncorrected", WHOLE, False),
        ("unavailable", WHOLE, True),
        ("lost", "", True),
    ], "the counter that fell tells the same reset"
    assert kept(rows)["gpu_event"].height == 4
    assert "gpu_event" not in node.round()


def test_errors_are_unknown_while_one_block_does_not_count_them(node: AmdNode) -> None:
    """A sum without one block falls, and then rises by errors that are not new."""
    folder = node.card()
    counted = []
    for umc in ("ue: 2\nce: 4", "Query currently inaccessible", "ue: 2\nce: 4"):
        (folder / "ras/umc_err_count").write_text(f"{umc}\n")
        tables = node.round()
        counted.append(tables["gpu_health_sample"][0]["ecc_uncorrected_count_total"])
        assert "gpu_event" not in tables
    assert counted == [3, None, 3]


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_a_table_that_is_cut_short_is_not_read(cut: int) -> None:
    assert parsed(table_1_3(energy=1)[:cut]) is None
    assert parsed(table_1_3(energy=1)) is not None


def test_a_revision_of_another_size_is_not_read() -> None:
    table = bytearray(table_1_6(power=100))
    table[0:2] = (1000).to_bytes(2, "little")
    assert parsed(bytes(table)) is None


@pytest.mark.real_data
def test_what_rocm_smi_showed_of_two_devices_comes_out(shared_data: Path, node: AmdNode) -> None:
    """A tree is written from what the maker's tool showed of a real node; the samples say the same again."""
    shown = json.loads((shared_data / "gpu/amd/mi100_rocm602.json").read_text())
    cards = [value for name, value in sorted(shown.items()) if name.startswith("card")][:2]
    for index, card in enumerate(cards):
        node.card(
            index,
            uevent=f"PCI_SLOT_NAME={card['PCI Bus'].lower()}",
            unique_id=card["Unique ID"].removeprefix("0x"),
            gpu_busy_percent=card["GPU use (%)"],
            mem_info_vram_used=card["VRAM Total Used Memory (B)"],
            mem_info_vram_total=card["VRAM Total Memory (B)"],
            hwmon__hwmon7__power1_average=int(float(card["Average Graphics Package Power (W)"]) * 1e6),
            hwmon__hwmon7__temp1_input=int(float(card["Temperature (Sensor edge) (C)"]) * 1000),
        )
    samples = node.samples()
    for card in cards:
        sample = samples[f"GPU-{int(card['Unique ID'], 16):016x}"]
        assert sample["memory_used_bytes"] == int(card["VRAM Total Used Memory (B)"])
        assert sample["power_watts"] == float(card["Average Graphics Package Power (W)"])
        assert sample["temperature_celsius"] == float(card["Temperature (Sensor edge) (C)"])
        assert sample["kernel_active_ratio"] == int(card["GPU use (%)"]) / 100
