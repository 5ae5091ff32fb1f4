"""Meters of power, temperature and fans that the kernel's drivers offer."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from collectors.node._files import integer, listed, refused, text
from ledger.registry import Row

_FILE: Final = re.compile(r"^(?P<sensor>(?:power|energy|temp|fan)\d+)_(?:average|input)$")
_MICRO: Final = 1_000_000
_MILLI: Final = 1000
_SECONDS_PER_MINUTE: Final = 60

# One row per core says little more than the row of its package.
_PER_CORE: Final = re.compile(r"^(Core \d+|Ecore\d+|Tccd\d+)$")

_SCOPES: Final = {
    "coretemp": "package",
    "k10temp": "package",
    "zenpower": "package",
    "amd_energy": "package",
    "power_meter": "node",
    "amdgpu": "gpu",
    "nvme": "drive",
    "drivetemp": "drive",
}

# What is wired to nothing reads as one of the ends of its scale.
_COLDEST, _HOTTEST = -55, 150


def hwmon(sysfs: Path) -> Iterator[Row]:
    """Yield one row per sensor; the number of a chip changes from boot to boot, so its name and device identify it.

    Source: Documentation/hwmon/sysfs-interface: microwatts, microjoules, millidegrees, revolutions per minute.
    """
    for folder in listed(sysfs / "class/hwmon"):
        # Before Linux 3.10 the sensors lay in the folder of the device.
        own, of_device = (sorted(_sensors(each)) for each in (folder, folder / "device"))
        chip = folder if own else folder / "device"
        name = text(folder / "name") or text(folder / "device/name") or folder.name
        device = (folder / "device").resolve().name if (folder / "device").exists() else folder.name
        for sensor in dict.fromkeys(own or of_device):
            label = text(chip / f"{sensor}_label")
            if not _PER_CORE.match(label or ""):
                yield {
                    "power_source": f"hwmon:{name}:{device}:{sensor}",
                    "scope": _SCOPES.get(name, "device"),
                    "label": label,
                    # A meter of the node holds all others; what another driver measures nobody knows.
                    "is_overlapping": True if name in {"power_meter", "amd_energy"} else None,
                    **_value(chip, sensor),
                }


def _sensors(folder: Path) -> Iterator[str]:
    for path in listed(folder):
        if match := _FILE.match(path.name):
            yield match["sensor"]


def _value(chip: Path, sensor: str) -> Row:
    """Return a sensor's value in its column; null where it is faulty or refuses to say."""
    paths = [chip / f"{sensor}_{kind}" for kind in ("average", "input")]
    raw = next((value for value in map(integer, paths) if value is not None), None)
    is_readable = raw is not None or not any(refused(path) for path in paths)
    if integer(chip / f"{sensor}_fault") == 1:
        raw = None
    kind = sensor.rstrip("0123456789")
    if kind == "temp":
        celsius = None if raw is None else raw / _MILLI
        is_wired = celsius is not None and _COLDEST < celsius < _HOTTEST
        return {"is_readable": is_readable, "temperature_celsius": celsius if is_wired else None}
    value = None if raw is None or raw < 0 else raw
    if kind == "fan":
        return {"is_readable": is_readable, "fan_hertz": None if value is None else value / _SECONDS_PER_MINUTE}
    column = "power_watts" if kind == "power" else "energy_joules_total"
    return {"is_readable": is_readable, column: None if value is None else value / _MICRO}
