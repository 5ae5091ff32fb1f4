from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.node._rapl import Rapl
from collectors.node.power import power
from ledger.counters import delta
from ledger.errors import SourceMissing
from ledger.registry import Row

TOP = 262_143_328_850
RAPL = "class/powercap/intel-rapl"


class Clock:
    """Seconds that a test moves on."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def put(folder: Path, values: Mapping[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(f"{value}\n")


def zone(sysfs: Path, number: str, name: str, energy: object = 5_000_000, kind: str = RAPL) -> None:
    put(sysfs / f"{kind}:{number}", {"name": name, "energy_uj": energy, "max_energy_range_uj": TOP})


def by_source(one_round: Callable[[], Iterable[tuple[str, Row]]]) -> dict[object, Row]:
    return {row["power_source"]: row for _, row in one_round()}


def rows_of(sysfs: Path) -> dict[object, Row]:
    return by_source(power.open(sysfs=sysfs))


def test_rows_that_do_not_overlap_sum_to_processors_and_memory(
    tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    zone(tmp_path, "0", "package-0", 100_000_000)
    zone(tmp_path, "0:0", "core", 60_000_000)
    zone(tmp_path, "0:1", "dram", 20_000_000)
    zone(tmp_path, "1", "package-1", 90_000_000)
    zone(tmp_path, "1:0", "dram", 10_000_000)
    zone(tmp_path, "2", "psys", 300_000_000)
    put(tmp_path / "class/powercap/intel-rapl", {"enabled": 1})
    put(tmp_path / "class/powercap/dtpm:0", {"energy_uj": 1, "name": "soc"})
    rows = rows_of(tmp_path)
    assert [str(source).removeprefix("rapl:") for source, row in rows.items() if not row["is_overlapping"]] == [
        "package-0",
        "package-0/dram",
        "package-1",
        "package-1/dram",
    ]
    assert sum(row["energy_joules_total"] for row in rows.values() if not row["is_overlapping"]) == 220.0  # type: ignore[misc]
    assert {row["scope"] for row in rows.values()} == {"package", "core", "dram", "psys"}
    assert kept(power.open(sysfs=tmp_path)())["power_sample"].height == 6


def test_a_package_that_is_shown_twice_counts_once(tmp_path: Path) -> None:
    zone(tmp_path, "0", "package-0")
    zone(tmp_path, "0", "package-0", kind="class/powercap/intel-rapl-mmio")
    assert list(rows_of(tmp_path)) == ["rapl:package-0"]


def test_a_platform_alone_is_no_overlap_and_equal_names_stay_apart(tmp_path: Path) -> None:
    zone(tmp_path, "0", "psys")
    zone(tmp_path, "1", "psys")
    rows = rows_of(tmp_path)
    assert list(rows) == ["rapl:psys", "rapl:psys@intel-rapl:1"]
    assert not any(row["is_overlapping"] for row in rows.values())


def test_what_root_alone_may_read_is_there_and_not_readable(refused_root: Path) -> None:
    zone(refused_root, "0", "package-0")
    (refused_root / f"{RAPL}:0/energy_uj").chmod(0)
    put(refused_root / f"{RAPL}:1", {"name": "package-1"})
    rows = rows_of(refused_root)
    assert (rows["rapl:package-0"]["is_readable"], rows["rapl:package-0"]["energy_joules_total"]) == (False, None)
    absent = rows["rapl:package-1"]
    assert (absent["is_readable"], absent["energy_joules_total"]) == (True, None), "no file is no refusal"


def joules(rapl: Rapl) -> float | None:
    (row,) = rapl.rows()
    found = row["energy_joules_total"]
    assert found is None or isinstance(found, float)
    return found


def test_a_wrap_is_added_up_at_the_range_of_the_meter(tmp_path: Path) -> None:
    clock = Clock()
    rapl = Rapl(tmp_path, clock)
    zone(tmp_path, "0", "package-0", TOP - 1_000_000)
    first = joules(rapl)
    clock.now += 10
    zone(tmp_path, "0", "package-0", 2_000_000)
    assert first is not None
    assert (joules(rapl) or 0) - first == pytest.approx(3.0)


@pytest.mark.parametrize(("name", "is_wrap"), [("psys", True), ("package-0", False)])
def test_a_platform_may_draw_more_than_a_package(tmp_path: Path, name: str, is_wrap: bool) -> None:
    clock = Clock()
    rapl = Rapl(tmp_path, clock)
    zone(tmp_path, "0", name, TOP - 1_000_000)
    first = joules(rapl) or 0
    clock.now += 10
    zone(tmp_path, "0", name, 24_000_000_000)
    assert ((joules(rapl) or 0) > first) is is_wrap, "2400 W over ten seconds"


def test_a_fall_that_no_processor_could_use_is_a_reset(tmp_path: Path) -> None:
    clock = Clock()
    rapl = Rapl(tmp_path, clock)
    zone(tmp_path, "0", "package-0", TOP // 2)
    first = joules(rapl)
    clock.now += 10
    zone(tmp_path, "0", "package-0", 0)
    second = joules(rapl)
    assert second == 0
    assert delta(first, second, elapsed_seconds=10).kind == "reset"


def test_a_rise_that_no_processor_could_use_is_no_energy(tmp_path: Path) -> None:
    clock = Clock()
    rapl = Rapl(tmp_path, clock)
    seen = []
    for energy in (5_000_000, TOP - 850, 6_000_000, 7_000_000):
        zone(tmp_path, "0", "package-0", energy)
        seen.append(joules(rapl))
        clock.now += 30
    assert seen[:2] == [5.0, None]
    assert (seen[3] or 0) - (seen[2] or 0) == pytest.approx(1.0)


def test_after_a_long_sleep_nobody_knows_how_often_it_wrapped(tmp_path: Path) -> None:
    clock = Clock()
    rapl = Rapl(tmp_path, clock)
    zone(tmp_path, "0", "package-0", 1_000_000)
    joules(rapl)
    clock.now += 263
    zone(tmp_path, "0", "package-0", 9_000_000)
    assert joules(rapl) is None
    clock.now += 10
    zone(tmp_path, "0", "package-0", 10_000_000)
    assert joules(rapl) == 10.0


@given(st.lists(st.tuples(st.floats(1, 200), st.floats(0, 990)), min_size=1, max_size=30), st.integers(0, TOP - 1))
def test_energy_is_conserved_over_any_number_of_wraps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[float, float]], start: int
) -> None:
    sysfs, clock = tmp_path_factory.mktemp("rapl"), Clock()
    rapl, used = Rapl(sysfs, clock), start
    zone(sysfs, "0", "package-0", used)
    before = joules(rapl)
    for seconds, watts in steps:
        clock.now += seconds
        grown = int(seconds * watts * 1e6)
        used += grown
        zone(sysfs, "0", "package-0", used % TOP)
        after = joules(rapl)
        assert before is not None
        assert after is not None
        assert after - before == pytest.approx(grown / 1e6, abs=1e-3)
        before = after


def test_units_of_the_drivers_sensors(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    chip = tmp_path / "class/hwmon/hwmon3"
    put(chip, {"name": "power_meter", "power1_average": 412_500_000, "power1_input": 7, "energy1_input": 9_500_000})
    put(chip, {"temp1_input": 48500, "temp1_label": "Inlet", "fan1_input": 5400, "in0_input": 12000})
    rows = rows_of(tmp_path)
    assert rows["hwmon:power_meter:hwmon3:power1"]["power_watts"] == 412.5
    assert rows["hwmon:power_meter:hwmon3:power1"]["scope"] == "node"
    assert rows["hwmon:power_meter:hwmon3:power1"]["is_overlapping"] is True
    assert rows["hwmon:power_meter:hwmon3:energy1"]["energy_joules_total"] == 9.5
    assert rows["hwmon:power_meter:hwmon3:temp1"]["temperature_celsius"] == 48.5
    assert rows["hwmon:power_meter:hwmon3:temp1"]["label"] == "Inlet"
    assert rows["hwmon:power_meter:hwmon3:fan1"]["fan_hertz"] == 90.0
    assert kept(power.open(sysfs=tmp_path)())["power_sample"].height == 4


def test_a_sensor_that_is_wired_to_nothing_measures_nothing_and_a_still_fan_zero(tmp_path: Path) -> None:
    put(tmp_path / "class/hwmon/hwmon0", {"name": "nct6779", "temp1_input": -62000, "temp2_input": 255_000})
    put(
        tmp_path / "class/hwmon/hwmon0", {"temp3_input": 30000, "temp3_fault": 1, "fan1_input": 0, "temp4_input": -5000}
    )
    put(tmp_path / "class/hwmon/hwmon0", {"energy1_input": 2**64 - 1, "power1_input": 2**63 - 1})
    rows = rows_of(tmp_path)
    assert rows["hwmon:nct6779:hwmon0:energy1"]["energy_joules_total"] is None
    assert rows["hwmon:nct6779:hwmon0:power1"]["power_watts"] is None
    celsius = [rows[f"hwmon:nct6779:hwmon0:temp{index}"]["temperature_celsius"] for index in (1, 2, 3, 4)]
    assert celsius == [None, None, None, -5.0]
    assert rows["hwmon:nct6779:hwmon0:fan1"]["fan_hertz"] == 0


def test_a_device_names_its_sensors_and_not_the_order_of_the_boot(tmp_path: Path) -> None:
    (tmp_path / "devices/nvme7").mkdir(parents=True)
    for number in (2, 9):
        chip = tmp_path / f"class/hwmon/hwmon{number}"
        put(chip, {"name": "nvme", "temp1_input": 40000})
        (chip / "device").symlink_to(tmp_path / "devices/nvme7")
        assert list(rows_of(tmp_path)) == ["hwmon:nvme:nvme7:temp1"]
        (chip / "device").unlink()
        for path in chip.iterdir():
            path.unlink()


def test_a_cray_board_says_its_unit(tmp_path: Path, kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    counters = {"power": "742 W 1669650000 us", "energy": "99000 J 1669650000 us", "cpu_power": "310 W 1 us"}
    put(tmp_path / "cray/pm_counters", {**counters, "accel0_energy": "5 kJ 1 us", "power_cap": "0 W", "version": 3})
    rows = rows_of(tmp_path)
    assert list(rows) == ["cray:accel0", "cray:cpu", "cray:node"]
    assert (rows["cray:node"]["power_watts"], rows["cray:node"]["energy_joules_total"]) == (742, 99000)
    assert rows["cray:accel0"]["energy_joules_total"] is None, "another unit is not guessed"
    assert (rows["cray:cpu"]["is_overlapping"], rows["cray:node"]["is_overlapping"]) == (False, True)
    zone(tmp_path, "0", "package-0")
    assert rows_of(tmp_path)["cray:cpu"]["is_overlapping"] is True
    assert kept(power.open(sysfs=tmp_path)())["power_sample"].height == 4


@pytest.mark.parametrize(
    ("chip", "scope"),
    [("k10temp", "package"), ("spd5118", "dram"), ("nvme", "drive"), ("amdgpu", "gpu"), ("x", "device")],
)
def test_a_chip_says_of_what_it_is_the_sensor(tmp_path: Path, chip: str, scope: str) -> None:
    put(tmp_path / "class/hwmon/hwmon0", {"name": chip, "temp1_input": 40000, "fan1_input": 1200})
    assert {row["scope"] for row in rows_of(tmp_path).values()} == {scope}


def test_without_a_meter_it_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SourceMissing, match="have no meter"):
        rows_of(tmp_path)


@pytest.mark.real_data
def test_a_recorded_node(recorded: Callable[[str], Path], kept: Callable[..., dict[str, pl.DataFrame]]) -> None:
    sysfs = recorded("node_exporter_sys.tar.gz") / "sys"
    rows = rows_of(sysfs)
    assert rows["rapl:package-0"]["energy_joules_total"] == 240422.366267
    assert (rows["rapl:package-0/core"]["scope"], rows["rapl:package-0/core"]["is_overlapping"]) == ("core", True)
    assert rows["hwmon:coretemp:coretemp.1:temp1"]["temperature_celsius"] == 55.0
    assert "hwmon:coretemp:coretemp.1:temp2" not in rows, "cores are left to their package"
    assert rows["hwmon:applesmc:applesmc.768:fan2"]["fan_hertz"] == pytest.approx(33.3)
    assert kept(power.open(sysfs=sysfs)())["power_sample"].height == len(rows)
