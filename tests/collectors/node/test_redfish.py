import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr, ValidationError

from collectors._round import Source
from collectors.node._redfish_rows import thermal
from collectors.node.redfish import RedfishSettings, redfish
from ledger.errors import ConfigError, SourceError, SourceMissing
from ledger.registry import Row
from tests.collectors.node.bmc import PASSWORD, USER, Controller, certificate, collection, linked, serving

ROOT = "/redfish/v1/Chassis"
NODE = f"{ROOT}/Node1"

OLD: dict[str, Any] = {
    **collection(ROOT, "Node1"),
    NODE: {"Id": "Node1", "ChassisType": "RackMount", "Power": linked(f"{NODE}/Power"), "Thermal": linked(f"{NODE}/T")},
    f"{NODE}/Power": {
        "PowerControl": [
            {"MemberId": "0", "Name": "System Power Control", "PowerConsumedWatts": 4210},
            {"MemberId": "1", "Name": "CPU Power", "PowerConsumedWatts": 380.5, "PhysicalContext": "CPU"},
        ],
        "PowerSupplies": [
            {"MemberId": "0", "Name": "PS1", "PowerInputWatts": 2100, "Status": {"State": "Enabled"}},
            {"MemberId": "1", "Name": "PS2", "PowerInputWatts": 0, "Status": {"State": "Enabled"}},
            {"MemberId": "2", "Name": "PS3", "Status": {"State": "Absent"}},
        ],
    },
    f"{NODE}/T": {
        "Temperatures": [
            {"MemberId": "0", "Name": "Inlet", "ReadingCelsius": 24, "PhysicalContext": "Intake"},
            {"MemberId": "1", "Name": "CPU1", "ReadingCelsius": 61.5, "PhysicalContext": "CPU"},
            {"MemberId": "2", "Name": "Gone", "ReadingCelsius": 0, "Status": {"State": "Absent"}},
        ],
        "Fans": [
            {"MemberId": "0", "Name": "Fan 1", "Reading": 9000, "ReadingUnits": "RPM"},
            {"MemberId": "1", "Name": "Fan 2", "Reading": 45, "ReadingUnits": "Percent"},
        ],
    },
}
NEW: dict[str, Any] = {
    **collection(ROOT, "Node1", "GPU_0"),
    NODE: {
        "Id": "Node1",
        "ChassisType": "RackMount",
        "EnvironmentMetrics": linked(f"{NODE}/EnvironmentMetrics"),
        "PowerSubsystem": linked(f"{NODE}/PowerSubsystem"),
        "ThermalSubsystem": linked(f"{NODE}/ThermalSubsystem"),
        "Power": linked(f"{NODE}/Power"),
        "Thermal": linked(f"{NODE}/T"),
    },
    f"{NODE}/EnvironmentMetrics": {
        "PowerWatts": {"Reading": 4300.5},
        "EnergykWh": {"Reading": 2.0},
        "FanSpeedsPercent": [{"DeviceName": "Fan1", "Reading": 40, "SpeedRPM": 6000}],
    },
    f"{NODE}/PowerSubsystem": {"PowerSupplies": linked(f"{NODE}/Supplies")},
    **collection(f"{NODE}/Supplies", "0"),
    f"{NODE}/Supplies/0": {"Metrics": linked(f"{NODE}/Supplies/0/Metrics")},
    f"{NODE}/Supplies/0/Metrics": {"InputPowerWatts": {"Reading": 2200}, "EnergykWh": {"Reading": 1}},
    f"{NODE}/ThermalSubsystem": {"ThermalMetrics": linked(f"{NODE}/ThermalMetrics")},
    f"{NODE}/ThermalMetrics": {"TemperatureReadingsCelsius": [{"DeviceName": "CPU 1", "Reading": 60}]},
    f"{NODE}/Power": OLD[f"{NODE}/Power"],
    f"{NODE}/T": OLD[f"{NODE}/T"],
    f"{ROOT}/GPU_0": {"Id": "GPU_0", "ChassisType": "Module", "EnvironmentMetrics": linked(f"{ROOT}/GPU_0/E")},
    f"{ROOT}/GPU_0/E": {"PowerWatts": {"Reading": 640}, "TemperatureCelsius": {"Reading": 71}},
}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("bmc"), "bmc")


@pytest.fixture
def bmc(keys: tuple[Path, Path]) -> Iterator[Controller]:
    with serving(Controller(), *keys) as controller:
        yield controller


@pytest.fixture
def settings(bmc: Controller, keys: tuple[Path, Path]) -> RedfishSettings:
    return RedfishSettings(url=bmc.url, user=USER, password=SecretStr(PASSWORD), ca_file=keys[0], answer_seconds=5)


def rows_of(settings: RedfishSettings) -> dict[object, Row]:
    return {row["power_source"]: row for _, row in redfish.open(settings=settings)()}


def test_old_resources_give_the_nodes_draw_its_supplies_heat_and_fans(
    bmc: Controller, settings: RedfishSettings, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    bmc.resources = OLD
    rows = rows_of(settings)
    watts = {source: (row["scope"], row["power_watts"]) for source, row in rows.items() if "power_watts" in row}
    assert watts == {
        "redfish:Node1/PowerControl/0": ("node", 4210.0),
        "redfish:Node1/PowerControl/1": ("package", 380.5),
        "redfish:Node1/PowerSupplies/0": ("supply", 2100.0),
        "redfish:Node1/PowerSupplies/1": ("supply", None),
    }
    assert all(rows[source]["is_overlapping"] for source in watts), "the same watts, seen at several places"
    assert rows["redfish:Node1/Temperatures/1"]["temperature_celsius"] == 61.5
    assert rows["redfish:Node1/Temperatures/1"]["scope"] == "package"
    assert rows["redfish:Node1/Fans/0"]["fan_hertz"] == 150.0
    assert not {"redfish:Node1/Temperatures/2", "redfish:Node1/Fans/1", "redfish:Node1/PowerSupplies/2"} & set(rows)
    assert kept(redfish.open(settings=settings)())["power_sample"].height == len(rows)


def test_new_resources_come_first_and_the_draw_is_told_once(
    bmc: Controller, settings: RedfishSettings, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    bmc.resources = NEW
    rows = rows_of(settings)
    assert [source for source, row in rows.items() if row["scope"] == "node"] == ["redfish:Node1"]
    node = rows["redfish:Node1"]
    assert (node["power_watts"], node["energy_joules_total"], node["is_overlapping"]) == (4300.5, 7_200_000.0, True)
    supply = rows["redfish:Node1/supply0"]
    assert (supply["scope"], supply["power_watts"], supply["energy_joules_total"]) == ("supply", 2200.0, 3_600_000.0)
    assert rows["redfish:Node1/Fan1"]["fan_hertz"] == 100.0
    assert rows["redfish:Node1/CPU 1"]["temperature_celsius"] == 60.0
    gpu = rows["redfish:GPU_0"]
    assert (gpu["scope"], gpu["power_watts"]) == ("gpu", 640.0)
    assert rows["redfish:GPU_0/temperature"]["temperature_celsius"] == 71.0
    assert not [source for source in rows if "PowerControl" in str(source) or "Temperatures" in str(source)]
    assert kept(redfish.open(settings=settings)())["power_sample"].height == len(rows)


def test_what_the_new_do_not_tell_the_old_do(bmc: Controller, settings: RedfishSettings) -> None:
    bmc.resources = {**NEW, f"{NODE}/EnvironmentMetrics": {"PowerWatts": {"Reading": None}}}
    rows = rows_of(settings)
    assert rows["redfish:Node1"]["power_watts"] is None
    assert rows["redfish:Node1/PowerControl/0"]["power_watts"] == 4210.0
    assert rows["redfish:Node1/Fans/0"]["fan_hertz"] == 150.0
    assert "redfish:Node1/PowerSupplies/0" not in rows, "the new schema tells the supplies"


def test_a_search_is_not_made_in_every_round(bmc: Controller, settings: RedfishSettings) -> None:
    bmc.resources = NEW
    one_round = redfish.open(settings=settings)
    list(one_round())
    bmc.asked.clear()
    list(one_round())
    assert sorted(bmc.asked) == sorted(
        [
            f"{NODE}/EnvironmentMetrics",
            f"{NODE}/Supplies/0/Metrics",
            f"{NODE}/ThermalMetrics",
            f"{ROOT}/GPU_0/E",
        ]
    )


def test_only_chosen_chassis_count(bmc: Controller, settings: RedfishSettings) -> None:
    bmc.resources = NEW
    assert {row["scope"] for row in rows_of(settings.model_copy(update={"chassis": ("GPU_0",)})).values()} == {"gpu"}


def test_a_wrong_password_and_a_strange_certificate_are_said(
    bmc: Controller, settings: RedfishSettings, tmp_path: Path
) -> None:
    bmc.resources = OLD
    with pytest.raises(SourceError, match="HTTP 401: the controller refuses this user") as refused:
        rows_of(settings.model_copy(update={"password": SecretStr("wrong")}))
    assert "wrong" not in str(refused.value)
    other, _ = certificate(tmp_path, "other")
    with pytest.raises(SourceError, match="certificate"):
        rows_of(settings.model_copy(update={"ca_file": other}))
    assert rows_of(settings.model_copy(update={"ca_file": None, "is_verified": False}))
    with pytest.raises(ConfigError, match="ca_file"):
        rows_of(settings.model_copy(update={"ca_file": tmp_path / "none.pem"}))


def test_a_controller_that_drips_takes_no_more_than_its_time(bmc: Controller, settings: RedfishSettings) -> None:
    bmc.resources = OLD
    bmc.drip_seconds = 0.05
    started = time.monotonic()
    with pytest.raises(SourceError, match="took all the time of this round"):
        rows_of(settings.model_copy(update={"round_seconds": 0.5}))
    assert time.monotonic() - started < 3


def test_a_controller_that_hangs_or_is_away_is_said_in_time(settings: RedfishSettings, bmc: Controller) -> None:
    bmc.resources = OLD
    bmc.drip_seconds = 5
    started = time.monotonic()
    with pytest.raises(SourceError, match="timed out"):
        rows_of(settings.model_copy(update={"answer_seconds": 0.3}))
    assert time.monotonic() - started < 30
    with pytest.raises(SourceError):
        rows_of(settings.model_copy(update={"url": "https://127.0.0.1:9"}))


def test_no_controller_is_configured_or_it_measures_nothing(bmc: Controller, settings: RedfishSettings) -> None:
    with pytest.raises(SourceMissing, match="url is not set"):
        list(redfish.open(settings=RedfishSettings())())
    bmc.resources = {**collection(ROOT, "Node1"), NODE: {"Id": "Node1"}}
    with pytest.raises(SourceMissing, match="measures nothing"):
        rows_of(settings)


@pytest.mark.parametrize(
    "nasty",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"Members": 3}',
        b'{"PowerWatts": {"Reading": true}, "FanSpeedsPercent": [3, {"SpeedRPM": "fast"}]}',
        b'{"PowerWatts": {"Reading": 1e300}, "EnergykWh": {"Reading": -4}, "TemperatureCelsius": {"Reading": 9e9}}',
        b'{"TemperatureReadingsCelsius": [{"Reading": null}], "PowerSupplies": {"@odata.id": "//elsewhere/x"}}',
        b'{"ChassisType": ["RackMount"], "EnvironmentMetrics": {"@odata.id": ["/"]}, "Id": {"a": 1}}',
        b'{"PowerWatts": {"Reading": 1%s}, "PowerControl": [{"PowerConsumedWatts": 9%s}]}' % (b"0" * 400, b"0" * 30),
    ],
    ids=range(9),
)
def test_garbage_of_a_controller_is_refused_in_words_or_null(
    bmc: Controller, settings: RedfishSettings, nasty: bytes, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    rows: list[tuple[str, Row]] = []
    for place, path in enumerate(NEW):
        bmc.resources = {**NEW, path: nasty}
        found: list[tuple[str, Row]] = []
        with suppress(SourceError, SourceMissing):
            found.extend(redfish.open(settings=settings)())
        rows += [(table, {**row, "power_source": f"{place}: {row['power_source']}"}) for table, row in found]
    assert kept(rows)["power_sample"].height == len(rows) > len(NEW)


@pytest.mark.parametrize("state", [["Absent"], {"a": 1}, 3, None])
def test_a_state_that_is_none_hides_no_sensor(state: object) -> None:
    heat = {"MemberId": "0", "Name": "Inlet", "ReadingCelsius": 24, "Status": {"State": state}}
    assert [row["temperature_celsius"] for row in thermal("redfish:1", {"Temperatures": [heat]})] == [24.0]


@pytest.mark.parametrize(
    "url", ["bmc.example", "ftp://bmc", "https://bmc/redfish/v1", "https://{host}-bmc", "https://user:word@bmc"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        RedfishSettings(url=url)
    assert RedfishSettings(url="https://{node}-bmc.example").url


def test_a_password_that_is_none_is_never_shown() -> None:
    with pytest.raises(ConfigError) as refused:
        Source(redfish, {"password": 20261120}, {})
    assert refused.value.message.startswith(
        "configuration: collectors.redfish.password: found a value that is not shown"
    )
    assert "20261120" not in str(refused.value)


def test_a_chassis_that_fails_costs_no_other_and_is_said(bmc: Controller, settings: RedfishSettings) -> None:
    """Large machines list dozens of chassis, and one sensor board that does not answer is nothing unusual."""
    for broken in (f"{ROOT}/GPU_0", f"{ROOT}/GPU_0/E", f"{NODE}/Supplies/0/Metrics", f"{NODE}/PowerSubsystem"):
        bmc.resources = {**NEW, **collection(ROOT, "GPU_0", "Node1"), broken: 500}
        seen: list[Row] = []
        with pytest.raises(SourceError, match=f"{broken}: found HTTP 500"):
            seen.extend(row for _, row in redfish.open(settings=settings)())
        assert {row["power_watts"] for row in seen if row["power_source"] == "redfish:Node1"} == {4300.5}


def test_what_failed_is_asked_for_alone_until_it_answers(bmc: Controller, keys: tuple[Path, Path]) -> None:
    """A search takes many times what a round does, and a controller that is asked too much answers nobody."""
    bmc.resources = {**NEW, f"{ROOT}/GPU_0": 500}
    section = {"url": bmc.url, "user": USER, "password": PASSWORD, "ca_file": keys[0], "answer_seconds": 5}
    source = Source(redfish, section, {})
    read = [f"{NODE}/EnvironmentMetrics", f"{NODE}/Supplies/0/Metrics", f"{NODE}/ThermalMetrics"]
    outcomes = []
    for _ in range(3):
        bmc.asked.clear()
        outcomes.append(source.collect())
    assert bmc.asked == [*read, f"{ROOT}/GPU_0"]
    assert all("GPU_0: found HTTP 500" in str(each.run.error) and not each.run.ok for each in outcomes)
    assert {len(each.rows) for each in outcomes} == {len(outcomes[0].rows)} != {0}
    bmc.resources = NEW
    assert source.collect().run.ok
    assert "redfish:GPU_0" in {row["power_source"] for _, row in source.collect().rows}


def test_a_chassis_of_which_something_fails_is_read_last(bmc: Controller, keys: tuple[Path, Path]) -> None:
    """What hangs takes the time of what comes behind it."""
    bmc.resources = {**NEW, f"{NODE}/ThermalMetrics": 500}
    source = Source(redfish, {"url": bmc.url, "user": USER, "password": PASSWORD, "ca_file": keys[0]}, {})
    first = []
    for resources in (bmc.resources, bmc.resources, NEW, NEW):
        bmc.resources = resources
        bmc.asked.clear()
        source.collect()
        first.append(next(path for path in bmc.asked if path.endswith(("/E", "/EnvironmentMetrics"))))
    node, gpu = f"{NODE}/EnvironmentMetrics", f"{ROOT}/GPU_0/E"
    assert first == [node, gpu, gpu, node]


def test_a_search_goes_on_where_the_one_before_failed(bmc: Controller, keys: tuple[Path, Path]) -> None:
    bmc.resources = {**NEW, "/redfish/v1/": 503}
    source = Source(redfish, {"url": bmc.url, "user": USER, "password": PASSWORD, "ca_file": keys[0]}, {})
    assert "/redfish/v1/: found HTTP 503" in str(source.collect().run.error)
    bmc.resources = {**NEW, f"{NODE}/PowerSubsystem": 503}
    source.collect()
    bmc.resources = NEW
    source.collect()
    found = {row["power_source"] for _, row in source.collect().rows}
    assert {"redfish:Node1", "redfish:Node1/supply0", "redfish:GPU_0"} <= found


def test_what_fails_in_a_later_search_is_read_as_it_was_known(bmc: Controller, keys: tuple[Path, Path]) -> None:
    bmc.resources = {path: document for path, document in NEW.items() if path != f"{NODE}/PowerSubsystem"}
    section = {"url": bmc.url, "user": USER, "password": PASSWORD, "ca_file": keys[0], "chassis": ["GPU_0"]}
    source = Source(redfish, section, {})
    assert all(source.collect().run.ok for _ in range(60))
    bmc.resources = {**bmc.resources, f"{ROOT}/GPU_0": 500}
    searching, after = source.collect(), source.collect()
    assert ["GPU_0: found HTTP 500" in str(each.run.error) for each in (searching, after)] == [True, True]
    assert "redfish:GPU_0" in {row["power_source"] for _, row in after.rows}


def test_what_one_user_may_not_see_costs_nothing_else_and_a_stranger_is_not_tried_again(
    bmc: Controller, settings: RedfishSettings
) -> None:
    """Controllers lock a user out after some wrong passwords."""
    bmc.resources = {**NEW, f"{NODE}/ThermalMetrics": 403}
    seen: list[Row] = []
    with pytest.raises(SourceError, match=r"ThermalMetrics: HTTP 403: the controller refuses this user"):
        seen.extend(row for _, row in redfish.open(settings=settings)())
    assert {"redfish:Node1", "redfish:GPU_0"} <= {row["power_source"] for row in seen}
    bmc.asked.clear()
    with pytest.raises(SourceError, match="HTTP 401"):
        rows_of(settings.model_copy(update={"password": SecretStr("wrong")}))
    assert len(bmc.asked) == 1


def test_chassis_are_where_the_service_says_in_as_many_pieces_as_it_likes(
    bmc: Controller, settings: RedfishSettings
) -> None:
    """Some controllers answer to the path that most have with a redirection."""
    moved = {path: document for path, document in NEW.items() if path != ROOT}
    pieces = {
        "/redfish/v1/": {"Chassis": linked(f"{ROOT}/")},
        f"{ROOT}/": {"Members": [linked(NODE)], "Members@odata.nextLink": f"{ROOT}/?$skip=1"},
        f"{ROOT}/?$skip=1": {"Members": [linked(f"{ROOT}/GPU_0")]},
    }
    bmc.resources = {**moved, **pieces, ROOT: 308}
    found = set(rows_of(settings))
    assert {"redfish:Node1", "redfish:GPU_0"} <= found
    bmc.resources[f"{ROOT}/?$skip=1"]["Members@odata.nextLink"] = f"{ROOT}/"
    assert set(rows_of(settings)) == found, "a circle ends"


def test_a_supply_keeps_its_name_when_another_is_pulled_out(bmc: Controller, settings: RedfishSettings) -> None:
    supplies = f"{NODE}/Supplies"
    both = {
        **collection(supplies, "0", "1", "PSU_C"),
        f"{supplies}/1": {"Metrics": linked(f"{supplies}/1/Metrics")},
        f"{supplies}/PSU_C": {"Metrics": linked(f"{supplies}/PSU_C/Metrics")},
        f"{supplies}/1/Metrics": {"InputPowerWatts": {"Reading": 1111}},
        f"{supplies}/PSU_C/Metrics": {"InputPowerWatts": {"Reading": 3333}},
    }
    for known in (NEW, {path: document for path, document in NEW.items() if path != f"{supplies}/0"}):
        bmc.resources = {**known, **both}
        rows = rows_of(settings)
        assert (rows["redfish:Node1/supply1"]["power_watts"], rows["redfish:Node1/PSU_C"]["power_watts"]) == (
            1111,
            3333,
        )
    assert "redfish:Node1/supply0" not in rows


def test_names_that_come_twice_stay_apart_and_a_supply_says_what_it_knows(
    bmc: Controller, settings: RedfishSettings, kept: Callable[..., dict[str, pl.DataFrame]]
) -> None:
    control = [{"MemberId": "0", "PowerConsumedWatts": 4210}]
    supplies = [{"MemberId": "0", "PowerInputWatts": None, "LastPowerOutputWatts": watts} for watts in (900, 950)]
    heat = [
        {"MemberId": "0", "Name": "CPU1", "ReadingCelsius": 61},
        {"MemberId": "0", "Name": "CPU2", "ReadingCelsius": 62},
        {"MemberId": "3", "Name": "CPU1 DTS Margin", "ReadingCelsius": -35},
    ]
    power = {"PowerControl": control, "PowerSupplies": supplies}
    bmc.resources = {**OLD, f"{NODE}/Power": power, f"{NODE}/T": {"Temperatures": heat}}
    rows = rows_of(settings)
    watts = [rows[f"redfish:Node1/PowerSupplies/0{more}"]["power_watts"] for more in ("", "@2")]
    celsius = [rows[f"redfish:Node1/Temperatures/0{more}"]["temperature_celsius"] for more in ("", "@2")]
    assert (watts, celsius) == ([900.0, 950.0], [61.0, 62.0])
    assert len(rows) == 5, "a distance to a limit is no temperature"
    assert kept(redfish.open(settings=settings)())["power_sample"].height == 5


def test_a_controller_that_failed_keeps_no_connection(bmc: Controller, settings: RedfishSettings) -> None:
    """Some have four, for all who ask."""
    bmc.resources, bmc.keeps_open = {**NEW, f"{ROOT}/GPU_0/E": 500}, True
    for _ in range(4):
        with pytest.raises(SourceError, match="HTTP 500"):
            rows_of(settings)
    until = time.monotonic() + 60
    while bmc.connection_count and time.monotonic() < until:
        time.sleep(0.02)
    assert bmc.connection_count == 0
