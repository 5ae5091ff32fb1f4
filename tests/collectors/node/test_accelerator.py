import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from collectors._round import Source
from collectors.node._accelerator_settings import AcceleratorSettings
from collectors.node._limits import ENDS
from collectors.node.accelerator import accelerator
from ledger.errors import ConfigError, SourceError, SourceMissing
from ledger.registry import Row
from ledger.tables.gpu import GpuSample
from tests.collectors.node.amd_node import put

GIB = 1 << 30
GAUDI = {
    "name": "gaudi",
    "model": "HL-325L",
    "folders": "class/accel/accel*/device",
    "identity": "serial",
    "device_file": "/dev/accel/accel{index}",
    "columns": {
        "power_watts": {"read": "hwmon/hwmon*/power1_input", "factor": 1e-6},
        "temperature_celsius": {"read": "hwmon/hwmon*/temp*_input", "factor": 0.001, "combine": "max"},
        "sm_clock_hertz": {"read": "clk_cur_freq_mhz", "factor": 1e6},
        "kernel_active_ratio": {"read": "load", "factor": 0.01, "pattern": "busy (\\d+) %"},
    },
}
SMI = {
    "name": "smi",
    "fields": ["uuid", "name", "utilization.aip", "memory.used", "power.draw"],
    "identity": "uuid",
    "skip_lines": 1,
    "columns": {
        "kernel_active_ratio": {"read": "utilization.aip", "factor": 0.01},
        "memory_used_bytes": {"read": "memory.used", "factor": 1 << 20},
        "power_watts": {"read": "power.draw"},
    },
}
PRINTED = "uuid, name, utilization.aip, memory.used, power.draw\n01P0-AA, HL-325L, 37 %, 1024 MiB, 412 W\n\n"


def settings(*sources: dict[str, Any]) -> AcceleratorSettings:
    return AcceleratorSettings.model_validate({"sources": sources})


def opened(root: Path, *sources: dict[str, Any]) -> Callable[[], Any]:
    return accelerator.open(sysfs=root / "sys", procfs=root / "proc", settings=settings(*sources))


def tables_of(one_round: Callable[[], Any]) -> dict[str, list[dict[str, Any]]]:
    tables: dict[str, list[dict[str, Any]]] = {}
    for table, row in one_round():
        tables.setdefault(table, []).append(dict(row))
    return tables


def gaudi(root: Path, index: int, **more: object) -> Path:
    folder = root / f"sys/class/accel/accel{index}/device"
    files = {
        "serial": f"AK{index}",
        "hwmon/hwmon3/power1_input": 412_500_000,
        "hwmon/hwmon3/temp1_input": 41_000,
        "hwmon/hwmon3/temp2_input": 63_000,
        "clk_cur_freq_mhz": 1600,
        "load": "cores 8 busy 25 % idle 75 %",
    }
    put(folder, files | {name.replace("__", "/"): value for name, value in more.items()})
    return folder


def program(folder: Path, text: str, code: int = 0) -> list[str]:
    (folder / "printed.txt").write_text(text)
    path = folder / "smi"
    path.write_text(f"#!/bin/sh\ncat {folder}/printed.txt\nexit {code}\n")
    path.chmod(0o755)
    return [str(path)]


def test_files_become_columns(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    gaudi(tmp_path, 2)
    gaudi(tmp_path, 10)
    process = tmp_path / "proc/77"
    put(process, {"status": "Name:\ttrain\nState:\tR\nUid:\t0", "cgroup": "0::/slurm/job_5/step_0"})
    (process / "fd").mkdir()
    (process / "fd/4").symlink_to("/dev/accel/accel10")
    tables = tables_of(opened(tmp_path, GAUDI))
    first, second = tables["gpu_sample"]
    expected = {
        "gpu_uuid": "gaudi-AK2",
        "status": "ok",
        "evidence_quality": "C",
        "kernel_active_ratio": 0.25,
        "power_watts": 412.5,
        "temperature_celsius": 63.0,
        "sm_clock_hertz": 1.6e9,
        "process_count": 0,
    }
    assert {name: first[name] for name in expected} == expected
    assert (second["gpu_uuid"], second["process_count"], second["process_job_ids"]) == ("gaudi-AK10", 1, "5")
    assert [(row["gpu_index"], row["gpu_model"], row["gpu_fraction"]) for row in tables["gpu"]] == [
        (2, "HL-325L", 1),
        (10, "HL-325L", 1),
    ]
    assert tables["gpu_process_sample"][0]["job_id"] == "5"
    frames = kept(opened(tmp_path, GAUDI)())
    assert (frames["gpu_sample"].height, frames["gpu"].height) == (2, 2)


def test_what_is_summed_of_several_files_is_null_where_one_is_not_known(tmp_path: Path) -> None:
    neuron = {
        "name": "neuron",
        "folders": "devices/virtual/neuron_device/neuron*",
        "columns": {"memory_used_bytes": {"read": "neuron_core*/stats/memory_usage/device_mem/present"}},
    }
    for device, values in ((0, (5, 7)), (1, (5, "n/a"))):
        for core, value in enumerate(values):
            path = f"neuron_core{core}/stats/memory_usage/device_mem/present"
            put(tmp_path / f"sys/devices/virtual/neuron_device/neuron{device}", {path: value})
    samples = tables_of(opened(tmp_path, neuron))["gpu_sample"]
    assert [(row["gpu_uuid"], row["memory_used_bytes"]) for row in samples] == [
        ("neuron-neuron0", 12.0),
        ("neuron-neuron1", None),
    ]
    assert "process_count" not in samples[0], "nobody said which file a process opens"


def test_a_programs_lines_become_columns(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    source = {**SMI, "command": program(tmp_path, PRINTED)}
    (sample,) = tables_of(opened(tmp_path, source))["gpu_sample"]
    assert (sample["gpu_uuid"], sample["kernel_active_ratio"]) == ("smi-01P0-AA", 0.37)
    assert (sample["memory_used_bytes"], sample["power_watts"]) == (GIB, 412.0)
    assert kept(opened(tmp_path, source)())["gpu_sample"].height == 1


def test_lines_of_another_length_are_refused_and_known_devices_say_so(tmp_path: Path) -> None:
    one_round = opened(tmp_path, {**SMI, "command": program(tmp_path, PRINTED)})
    tables_of(one_round)
    program(tmp_path, PRINTED + "Segmentation fault\n")
    rows: list[tuple[str, Row]] = []
    with pytest.raises(SourceError, match="found 1 values in 'Segmentation fault', expected 5: uuid"):
        rows.extend(one_round())
    assert [(row["gpu_uuid"], row["status"]) for _, row in rows] == [("smi-01P0-AA", "error")]
    program(tmp_path, "", code=3)
    with pytest.raises(SourceError, match="ended with 3: no word"):
        tables_of(one_round)


def test_a_value_that_cannot_be_one_is_null_and_said(
    tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    gaudi(tmp_path, 0, hwmon__hwmon3__power1_input=412_500_000_000)
    rows: list[tuple[str, Row]] = []
    with pytest.raises(SourceError, match="gaudi: power_watts: found 412500, expected 0 to 2000"):
        rows.extend(opened(tmp_path, GAUDI)())
    assert kept(rows)["gpu_sample"]["power_watts"].to_list() == [None]


def test_one_kind_that_fails_costs_no_other_its_rows(tmp_path: Path) -> None:
    gaudi(tmp_path, 0)
    rows: list[tuple[str, Row]] = []
    with pytest.raises(SourceError, match="ended with 1"):
        rows.extend(opened(tmp_path, {**SMI, "command": program(tmp_path, "", code=1)}, GAUDI)())
    assert [row["gpu_uuid"] for table, row in rows if table == "gpu_sample"] == ["gaudi-AK0"]


def test_a_device_that_vanishes_is_lost_even_if_the_collector_was_opened_anew(tmp_path: Path) -> None:
    gaudi(tmp_path, 0)
    gaudi(tmp_path, 1)
    tables_of(opened(tmp_path, GAUDI))
    shutil.rmtree(tmp_path / "sys/class/accel/accel0")
    tables = tables_of(opened(tmp_path, GAUDI))
    assert [(row["gpu_uuid"], row["event"]) for row in tables["gpu_event"]] == [("gaudi-AK0", "lost")]
    assert {row["gpu_uuid"]: row["status"] for row in tables["gpu_sample"]} == {"gaudi-AK1": "ok", "gaudi-AK0": "lost"}


def test_a_node_without_such_devices_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="none is described"):
        tables_of(opened(tmp_path))
    with pytest.raises(SourceMissing, match="no device is shown"):
        tables_of(opened(tmp_path, GAUDI))
    with pytest.raises(SourceMissing, match="not installed"):
        tables_of(opened(tmp_path, {**SMI, "command": [str(tmp_path / "none")]}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": {"powr_watts": {"read": "x"}}}, "columns: found powr_watts; did you mean power_watts"),
        ({"columns": {"colour": {"read": "x"}}}, "columns: found colour; expected one of kernel_active_ratio, "),
        ({"columns": {"power_watts": {"read": "x", "factor": 0}}}, "found 0, expected more than 0"),
        ({"columns": {"power_watts": {"read": "/etc/passwd"}}}, "expected paths below /sys"),
        ({"folders": "../class/accel/accel*"}, "expected paths below /sys"),
        ({"folders": ""}, "expected either folders or a command"),
        ({"columns": {"power_watts": {"read": "x", "pattern": "("}}}, "expected a regular expression"),
        ({"columns": {"power_watts": {"read": "x", "pattern": "a"}}}, "expected one group"),
        ({"folders": "", "command": ["smi"], "fields": ["a"]}, "expected one of fields: a"),
        ({"device_file": "/dev/{name}"}, "expected text that matches"),
        ({"colour": "red"}, "sources.0.colour: found an unknown key"),
    ],
)
def test_a_wrong_description_is_one_clear_line(change: dict[str, Any], words: str) -> None:
    section = {"sources": [{**GAUDI, **change}]}
    with pytest.raises(ConfigError) as refused:
        Source(accelerator, section, {})
    line = refused.value.message
    assert line.startswith("configuration: collectors.accelerator.sources.0")
    assert words.lower() in line.lower()
    assert "\n" not in line


def test_devices_without_an_id_of_their_own_are_said_and_not_mixed_up(
    tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    """An operator who takes the model for an id would see one device in the place of eight."""
    lines = "uuid, name, utilization.aip, memory.used, power.draw\nA, x, 3 %, 1 MiB, 40 W\nA, x, 90 %, 2 MiB, 400 W\n"
    rows: list[tuple[str, Row]] = []
    with pytest.raises(
        SourceError, match=r"smi: found a second device smi-A, expected an id.*\(and 1 more\)"
    ) as failed:
        rows.extend(opened(tmp_path, {**SMI, "command": program(tmp_path, f"{lines}, x, 7 %, 3 MiB, 70 W\n")})())
    assert "see identity" in failed.value.hint
    sample = kept(rows)["gpu_sample"]
    assert sample.select("gpu_uuid", "power_watts").rows() == [("smi-A", 40.0)]


def test_two_kinds_of_one_name_are_refused() -> None:
    with pytest.raises(ValidationError, match="found gaudi twice"):
        settings(GAUDI, GAUDI)


def test_what_may_be_told_are_columns_of_a_sample_and_the_table_takes_their_ends() -> None:
    columns = GpuSample.columns()
    for name, (low, high) in ENDS.items():
        column = columns[name]
        assert getattr(column, "min", None) is not None
        assert low >= column.min  # type: ignore[attr-defined]
        assert high <= column.max  # type: ignore[attr-defined]
