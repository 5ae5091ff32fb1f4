"""Meters of power, temperature and fans that the kernel's drivers offer."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from collectors.node._files import integer, listed, refused, text
from ledger.registry import Row

_FILE: Final = re.compile(r"^(?P<sensor>(?:power|energy|temp|fan)\d+)_(?:average|input)$")

# One row per core says little more than the row of its package.
_PER_CORE: Final = re.compile(r"^(Core \d+|Ecore\d+|Tccd\d+)$")

_SCOPES: Final = {
    "coretemp": "package",
    "k10temp": "package",
    "zenpower": "package",
    "amd_energy": "package",
    "power_meter": "node",
    "fam15h_power": "package",
    "jc42": "dram",
    "spd5118": "dram",
    "amdgpu": "gpu",
    "i915": "gpu",
    "xe": "gpu",
    "nouveau": "gpu",
    "nvme": "drive",
    "drivetemp": "drive",
}


class _Quantity(NamedTuple):
    """Where a kind of sensor goes, in which unit, and between which ends: beyond them it is wired to nothing."""

    column: str
    parts: int
    least: float
    most: float


_QUANTITIES: Final = {
    "power": _Quantity("power_watts", 1_000_000, 0, 100_000),
    "energy": _Quantity("energy_joules_total", 1_000_000, 0, (2**63 - 1) / 1_000_000),
    "temp": _Quantity("temperature_celsius", 1000, -55, 150),
    "fan": _Quantity("fan_hertz", 60, 0, 10_000),
}


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
    quantity = _QUANTITIES[sensor.rstrip("0123456789")]
    value = None if raw is None or integer(chip / f"{sensor}_fault") == 1 else raw / quantity.parts
    is_wired = value is not None and quantity.least <= value <= quantity.most
    return {"is_readable": is_readable, quantity.column: value if is_wired else None}
