import time
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from collectors.node._command import Command
from collectors.node.ipmi import IpmiSettings, ipmi
from ledger.errors import SourceError, SourceMissing
from ledger.registry import Row
from tests.collectors.node.ended import PATIENCES, has_ended

DCMI = """

    Instantaneous power reading:                   {now:>4} Watts
    Minimum during sampling period:                  68 Watts
    Maximum during sampling period:                 504 Watts
    Average power reading over sample period:       348 Watts
    IPMI timestamp:                           Fri Nov 20 12:00:00 2026
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   {state}

"""
ELIST = """Inlet Temp       | 05h | ok  |  7.1 | 23 degrees C
Temp             | 0Eh | ok  |  3.1 | 61 degrees C
Temp             | 0Fh | ok  |  3.2 | 58 degrees C
Fan1 RPM         | 30h | ok  |  7.1 | 5400 RPM
Fan2 RPM         | 31h | ns  |  7.1 | No Reading
Pwr Consumption  | 77h | ok  |  7.1 | 168 Watts
PS1 Input Power  | 78h | ok  | 10.1 | 90 Watts
GPU2 Power       | 79h | ok  | 11.2 | 65535 Watts
Voltage 1        | 6Ch | ok  | 10.1 | 232 Volts
Intrusion        | 73h | ok  |  7.1 |
"""
CSV = "Inlet Temp,23,degrees C,ok\nFan1 RPM,5400,RPM,ok\nPwr Consumption,168,Watts,ok\nVoltage 1,232,Volts,ok\n"
LIST = "Inlet Temp       | 23 degrees C      | ok\nFan1 RPM | 5400 RPM | ok\nPwr Consumption | 168 Watts | ok\n"
SENSOR = (
    "Inlet Temp       | 23.000     | degrees C  | ok    | na        | 3.000     | 42.000\n"
    "Fan1 RPM         | 5400.000   | RPM        | ok    | na\nPwr Consumption  | 168.000    | Watts      | ok    | na\n"
    "Exhaust          | na         | degrees C  | na    | na\n"
)

FREE = """ID  | Name            | Type         | Reading    | Units | Event
4   | Inlet Temp      | Temperature  | 23.00      | C     | 'OK'
17  | Fan1 RPM        | Fan          | 5400.00    | RPM   | 'OK'
18  | Fan2 RPM        | Fan          | N/A        | RPM   | N/A
52  | Pwr Consumption | Current      | 168.00     | W     | 'OK'
60  | Voltage 1       | Voltage      | 232.00     | V     | 'OK'
"""
FREE_CSV = (
    "ID,Name,Type,Reading,Units,Event\n4,Inlet Temp,Temperature,23.00,C,'OK'\n17,Fan1 RPM,Fan,5400.00,RPM,'OK'\n"
    "52,Pwr Consumption,Current,168.00,W,'OK'\n60,Voltage 1,Voltage,232.00,V,'OK'\n"
)


def tool(folder: Path, name: str, script: str) -> tuple[str, ...]:
    """Write a program that stands in for the real one."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return (str(path),)


def says(folder: Path, name: str, text: str, code: int = 0, error: str = "") -> tuple[str, ...]:
    (folder / f"{name}.txt").write_text(text)
    return tool(folder, name, f"cat {folder / name}.txt; printf '%s' '{error}' >&2; exit {code}")


@pytest.fixture
def procfs(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/ipmi0").touch()
    return tmp_path / "proc"


def rows_of(procfs: Path, power: tuple[str, ...], sensors: tuple[str, ...] = ()) -> dict[object, Row]:
    settings = IpmiSettings(power_command=power, sensor_command=sensors, answer_seconds=5)
    return {row["power_source"]: row for _, row in ipmi.open(procfs=procfs, settings=settings)()}


def test_the_nodes_draw_overlaps_with_all_else(
    procfs: Path, tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    power = says(tmp_path, "dcmi", DCMI.format(now=332, state="activated"))
    sensors = says(tmp_path, "sdr", ELIST)
    rows = rows_of(procfs, power, sensors)
    node = rows["ipmi:dcmi"]
    assert (node["power_watts"], node["scope"], node["is_overlapping"]) == (332.0, "node", True)
    assert {source: (row["scope"], row.get("power_watts")) for source, row in rows.items() if "power_watts" in row} == {
        "ipmi:dcmi": ("node", 332.0),
        "ipmi:Pwr Consumption": ("node", 168.0),
        "ipmi:PS1 Input Power": ("supply", 90.0),
        "ipmi:GPU2 Power": ("gpu", None),
    }
    assert all(row["is_overlapping"] for row in rows.values() if "power_watts" in row), "never added to the parts"
    assert (rows["ipmi:Inlet Temp"]["temperature_celsius"], rows["ipmi:Fan1 RPM"]["fan_hertz"]) == (23.0, 90.0)
    assert (rows["ipmi:Temp"]["temperature_celsius"], rows["ipmi:Temp@2"]["temperature_celsius"]) == (61.0, 58.0)
    assert "ipmi:Fan2 RPM" not in rows
    assert "ipmi:Voltage 1" not in rows
    settings = IpmiSettings(power_command=power, sensor_command=sensors)
    assert kept(ipmi.open(procfs=procfs, settings=settings)())["power_sample"].height == len(rows)


@pytest.mark.parametrize("text", [CSV, LIST, SENSOR, FREE, FREE_CSV])
def test_all_forms_of_a_list_of_sensors_say_the_same(procfs: Path, tmp_path: Path, text: str) -> None:
    rows = rows_of(procfs, (), says(tmp_path, "sdr", text))
    assert rows["ipmi:Inlet Temp"]["temperature_celsius"] == 23.0
    assert rows["ipmi:Fan1 RPM"]["fan_hertz"] == 90.0
    assert rows["ipmi:Pwr Consumption"]["power_watts"] == 168.0
    assert len(rows) == 3


def test_a_distance_in_degrees_is_no_temperature(procfs: Path, tmp_path: Path) -> None:
    """A processor that is 53 degrees from its limit is not 53 degrees below zero."""
    text = (
        "P1 Therm Margin  | -53 degrees C     | ok\nP1 DTS Therm Mgn | -48 degrees C | ok\n"
        "GPU0 T.Limit     | 41 degrees C      | ok\nP1 Temperature   | 47 degrees C | ok\n1 | 30 degrees C | ok\n"
    )
    rows = rows_of(procfs, (), says(tmp_path, "sdr", text))
    assert {source: row["temperature_celsius"] for source, row in rows.items()} == {
        "ipmi:P1 Temperature": 47.0,
        "ipmi:1": 30.0,
    }


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("System Power Consumption", "node"),
        ("Total System Power", "node"),
        ("Sys_Pwr_Total", "node"),
        ("Power Meter", "node"),
        ("Server Power", "node"),
        ("CPU Power", "package"),
        ("Total GPU Power", "gpu"),
        ("PSU1 Power In", "supply"),
        ("Fan Power", "device"),
    ],
)
def test_what_a_sensor_measures_is_in_its_name(procfs: Path, tmp_path: Path, name: str, scope: str) -> None:
    (row,) = rows_of(procfs, (), says(tmp_path, "sdr", f"{name} | 500 Watts | ok\n")).values()
    assert row["scope"] == scope


@pytest.mark.parametrize(
    ("text", "watts"),
    [
        (DCMI.format(now=0, state="deactivated"), None),
        (DCMI.format(now=235, state="deactivated"), 235.0),
        (DCMI.format(now=65535, state="activated"), None),
        ("Current Power                        : 164 Watts\nPower Measurement : Active\n", 164.0),
    ],
)
def test_a_reading_that_is_none_is_null(procfs: Path, tmp_path: Path, text: str, watts: float | None) -> None:
    assert rows_of(procfs, says(tmp_path, "dcmi", text))["ipmi:dcmi"]["power_watts"] == watts


def test_a_controller_without_dcmi_has_sensors_all_the_same(procfs: Path, tmp_path: Path) -> None:
    power = says(tmp_path, "dcmi", "", code=1, error="DCMI request failed because: Invalid command (c1)")
    assert list(rows_of(procfs, power, says(tmp_path, "sdr", LIST))) == [
        "ipmi:Inlet Temp",
        "ipmi:Fan1 RPM",
        "ipmi:Pwr Consumption",
    ]
    with pytest.raises(SourceMissing, match="measures nothing"):
        rows_of(procfs, power)


@pytest.mark.parametrize(
    "said",
    [
        "Could not open device at /dev/ipmi0: Permission denied",
        "Could not open device at /dev/ipmi0 or /dev/ipmi/0 or /dev/ipmidev/0: No such file or directory",
        "DCMI request failed because: Insufficient privilege level (d4)",
        "sudo: a password is required",
        "Sorry, user agent is not allowed to execute ipmitool as root on n1.",
    ],
)
def test_a_permission_that_is_missing_is_said_with_what_to_do(procfs: Path, tmp_path: Path, said: str) -> None:
    """Whichever of the two it refuses; the other one is read."""
    refusing = says(tmp_path, "dcmi", "", code=1, error=said)
    seen: list[Row] = []
    for power, sensors in ((refusing, ()), ((), refusing), (refusing, says(tmp_path, "sdr", LIST))):
        settings = IpmiSettings(power_command=power, sensor_command=sensors)
        with pytest.raises(SourceMissing, match=r"dcmi: permission is missing .*; let the agent's group") as missing:
            seen.extend(row for _, row in ipmi.open(procfs=procfs, settings=settings)())
        assert "measures nothing" not in str(missing.value)
        assert "No such file" not in str(missing.value)
    assert [(row["power_source"], row["is_readable"]) for row in seen if not row["is_readable"]] == [
        ("ipmi:dcmi", False),
        ("ipmi:dcmi", False),
    ]
    assert "ipmi:Inlet Temp" in {row["power_source"] for row in seen}


def test_another_failure_is_said_and_costs_no_sensor(procfs: Path, tmp_path: Path) -> None:
    power = says(tmp_path, "dcmi", "", code=1, error="Unable to establish a session")
    settings = IpmiSettings(power_command=power, sensor_command=says(tmp_path, "sdr", LIST))
    one_round = ipmi.open(procfs=procfs, settings=settings)()
    seen: list[tuple[str, Row]] = []
    with pytest.raises(SourceError, match="ended with 1: Unable to establish"):
        seen.extend(one_round)
    assert [row["power_source"] for _, row in seen] == ["ipmi:Inlet Temp", "ipmi:Fan1 RPM", "ipmi:Pwr Consumption"]


def test_a_node_without_a_controller_or_without_the_tool_says_so(tmp_path: Path, procfs: Path) -> None:
    with pytest.raises(SourceMissing, match="not installed"):
        rows_of(procfs, (str(tmp_path / "no-such-tool"),))
    (tmp_path / "dev/ipmi0").unlink()
    with pytest.raises(SourceMissing, match="does not exist"):
        rows_of(procfs, ("true",))


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    mark = tmp_path / "pid"
    program = tool(tmp_path, "hang", f"sleep 600 & echo $! > {mark}; wait")
    started = time.monotonic()
    for seconds in PATIENCES:
        hanging = Command(program, seconds)
        with pytest.raises(SourceError, match=f"no answer after {seconds:g} s"):
            hanging.answer()
        if mark.exists() and mark.read_text():
            break
    assert time.monotonic() - started < 300
    assert has_ended(int(mark.read_text())), "the program's own child"
    with pytest.raises(SourceError, match="no answer"):
        hanging.answer()


@pytest.mark.parametrize("where", ["", " >&2"])
def test_a_command_that_prints_without_an_end_is_ended_before_it_fills_the_memory(tmp_path: Path, where: str) -> None:
    mark = tmp_path / "pid"
    endless = Command(tool(tmp_path, "endless", f"echo $$ > {mark}; exec yes garbage{where}"), PATIENCES[-1])
    with pytest.raises(SourceError, match="found more than 4194304 bytes"):
        endless.answer()
    assert has_ended(int(mark.read_text()))


@pytest.mark.parametrize(
    "text", ["", "|||\n|", "a|b|c", ",".join("x" * 9), "T | 9" + "9" * 400 + " degrees C | ok", "\x00"]
)
def test_garbage_of_a_tool_is_no_row_or_null(
    procfs: Path, tmp_path: Path, text: str, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    settings = IpmiSettings(
        power_command=says(tmp_path, "dcmi", DCMI.format(now=100, state="activated")),
        sensor_command=says(tmp_path, "sdr", text),
    )
    frame = kept(ipmi.open(procfs=procfs, settings=settings)())["power_sample"]
    assert frame.filter(pl.col("power_source") == "ipmi:dcmi")["power_watts"].to_list() == [100.0]
