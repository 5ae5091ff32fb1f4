"""Rows from the resources of a management controller, of the old and of the new schemas.

Source: DSP2046: Power and Thermal (deprecated in 2020), EnvironmentMetrics, ThermalMetrics, PowerSupplyMetrics.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from collectors.node._bmc import Document
from collectors.node._meter import celsius, hertz, is_margin, meter, scope_of, watts
from ledger.registry import Row

_JOULES_PER_KILOWATT_HOUR: Final = 3_600_000
_MOST: Final = 2**63
_SUPPLY_DRAWS: Final = ("PowerInputWatts", "LastPowerOutputWatts", "PowerOutputWatts")
_AWAY: Final = frozenset({"Absent", "Disabled", "UnavailableOffline"})

# What a chassis is decides what its draw is the draw of.
_NODE_TYPES: Final = frozenset(
    {"RackMount", "StandAlone", "Blade", "Sled", "Tower", "Drawer", "Node", "Desktop", "IPBasedDrive", "Cartridge"}
)
_ENCLOSURE_TYPES: Final = frozenset({"Rack", "Row", "Pod", "Enclosure", "Shelf", "RackGroup", "PowerStrip"})
_CONTEXTS: Final = {"CPU": "package", "Memory": "dram", "GPU": "gpu", "Accelerator": "gpu", "PowerSupply": "supply"}


def scope(chassis: Document) -> str:
    """Return what the draw of a chassis is the draw of: node, enclosure (several nodes), or a part by its name."""
    kind = str(chassis.get("ChassisType") or "")
    if kind in _NODE_TYPES:
        return "node"
    if kind in _ENCLOSURE_TYPES:
        return "enclosure"
    return scope_of(str(chassis.get("Id") or chassis.get("Name") or ""))


def environment(source: str, of: str, document: Document) -> Iterator[Row]:
    """Yield the rows of an EnvironmentMetrics: draw and energy in one row, temperature, fans."""
    draw, energy = _reading(document, "PowerWatts"), _reading(document, "EnergyJoules")
    if energy is None:
        hours = _reading(document, "EnergykWh")
        energy = None if hours is None else hours * _JOULES_PER_KILOWATT_HOUR
    if "PowerWatts" in document or energy is not None:
        yield meter(source, of, None, power_watts=watts(draw), energy_joules_total=_counted(energy))
    heat = _reading(document, "TemperatureCelsius")
    if heat is not None:
        yield meter(f"{source}/temperature", of, None, temperature_celsius=celsius(heat))
    for index, fan in enumerate(_list(document, "FanSpeedsPercent")):
        turns = _number(fan.get("SpeedRPM"))
        if turns is not None:
            name = str(fan.get("DeviceName") or f"fan{index}").rpartition("/")[2]
            yield meter(f"{source}/{name}", "device", name, fan_hertz=hertz(turns))


def thermal_metrics(source: str, document: Document) -> Iterator[Row]:
    """Yield a row per temperature of a ThermalMetrics."""
    for index, each in enumerate(_list(document, "TemperatureReadingsCelsius")):
        name = str(each.get("DeviceName") or each.get("DataSourceUri") or index).rpartition("/")[2]
        if is_margin(name):
            continue
        heat = celsius(_number(each.get("Reading")))
        place = str(each.get("PhysicalContext") or "")
        yield meter(f"{source}/{name}", _CONTEXTS.get(place, scope_of(name)), name, temperature_celsius=heat)


def supply_metrics(source: str, document: Document) -> Iterator[Row]:
    """Yield the row of a PowerSupplyMetrics: what it takes from the line."""
    energy = _reading(document, "EnergyJoules")
    if energy is None:
        hours = _reading(document, "EnergykWh")
        energy = None if hours is None else hours * _JOULES_PER_KILOWATT_HOUR
    draw = watts(_reading(document, "InputPowerWatts"))
    yield meter(source, "supply", None, power_watts=draw, energy_joules_total=_counted(energy))


def power(source: str, of: str, document: Document, *, with_all: bool) -> Iterator[Row]:
    """Yield the rows of an old Power: the draw as a whole, unless the new schema has told it, and of each supply."""
    for index, each in enumerate(_list(document, "PowerControl") if with_all else []):
        if "PowerConsumedWatts" in each:
            part = _CONTEXTS.get(str(each.get("PhysicalContext") or ""))
            name = str(each.get("Name") or "") or None
            # A controller may tell the draw of the processors beside that of the whole.
            place = part or (of if index == 0 else scope_of(name or ""))
            yield meter(
                f"{source}/PowerControl/{each.get('MemberId', index)}",
                place,
                name,
                power_watts=watts(_number(each["PowerConsumedWatts"])),
            )
    for index, each in enumerate(_list(document, "PowerSupplies")):
        draw = next((told for told in map(each.get, _SUPPLY_DRAWS) if told is not None), None)
        if not _is_away(each) and draw is not None:
            name = str(each.get("Name") or "") or None
            place = f"{source}/PowerSupplies/{each.get('MemberId', index)}"
            yield meter(place, "supply", name, power_watts=watts(_number(draw)))


def thermal(source: str, document: Document) -> Iterator[Row]:
    """Yield the rows of an old Thermal: temperatures, and fans that tell their revolutions."""
    for index, each in enumerate(_list(document, "Temperatures")):
        name = str(each.get("Name") or each.get("MemberId") or index)
        if not _is_away(each) and not is_margin(name):
            place = _CONTEXTS.get(str(each.get("PhysicalContext") or ""), scope_of(name))
            heat = celsius(_number(each.get("ReadingCelsius")))
            yield meter(f"{source}/Temperatures/{each.get('MemberId', index)}", place, name, temperature_celsius=heat)
    for index, each in enumerate(_list(document, "Fans")):
        if not _is_away(each) and each.get("ReadingUnits") == "RPM":
            name = str(each.get("Name") or each.get("FanName") or index)
            turns = hertz(_number(each.get("Reading")))
            yield meter(f"{source}/Fans/{each.get('MemberId', index)}", "device", name, fan_hertz=turns)


def members(document: Document | None) -> list[str]:
    """Return the paths of the members of a collection, or of a list of links."""
    return [path for each in _list(document or {}, "Members") if (path := link(each))]


def continued(document: Document) -> str | None:
    """Return where a collection goes on that is told in pieces; None where this was all of it."""
    return link({"@odata.id": document.get("Members@odata.nextLink")})


def link(value: object) -> str | None:
    """Return the path that a link names; only one on the same controller counts."""
    path = value.get("@odata.id") if isinstance(value, Mapping) else None
    return path if isinstance(path, str) and path.startswith("/") and not path.startswith("//") else None


def _reading(document: Document, name: str) -> float | None:
    found = document.get(name)
    return _number(found.get("Reading")) if isinstance(found, Mapping) else _number(found)


def _number(value: object) -> float | None:
    """Return a number; none for what is none, such as a text, a truth value, or more digits than any meter has."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if -_MOST < value < _MOST else None


def _counted(value: float | None) -> float | None:
    return value if value is not None and 0 <= value < _MOST else None


def _list(document: Document, name: str) -> Sequence[Mapping[str, Any]]:
    found = document.get(name)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _is_away(each: Mapping[str, Any]) -> bool:
    status = each.get("Status")
    return isinstance(status, Mapping) and str(status.get("State")) in _AWAY
