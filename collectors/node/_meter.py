"""Rows of meters that a management controller reads: one sensor, one column, and what cannot be a value."""

import re
from typing import Final

from ledger.registry import Row

_PER_MINUTE: Final = 60
_NO_READING: Final = 0xFFFF

# Beyond these ends a sensor is wired to nothing.
_COLDEST: Final = -55
_HOTTEST: Final = 150
_FASTEST_HERTZ: Final = 10_000

# What a sensor's own name says of where it measures; the first that fits.
_SCOPES: Final = (
    ("supply", re.compile(r"\b(psu?\s?\d*|power\s?supply|supplies)\b|^ps\d|^psu", re.IGNORECASE)),
    ("gpu", re.compile(r"gpu|accelerator|\boam\b", re.IGNORECASE)),
    ("dram", re.compile(r"dimm|\bmem(ory)?\b|dram", re.IGNORECASE)),
    ("package", re.compile(r"cpu|processor|\bsoc\b", re.IGNORECASE)),
    ("drive", re.compile(r"nvme|drive|disk|\bhdd|\bssd", re.IGNORECASE)),
)
_ALL: Final = re.compile(
    r"^(pwr|power|sys(tem)?|total|node|chassis|board|server)"
    r"([ _]*(pwr|power|consumption|input|in|usage|level|meter|total|sys(tem)?|draw|watts))*$",
    re.IGNORECASE,
)


# How far something is from its limit is told in degrees as well, and is no temperature.
_MARGIN: Final = re.compile(r"margin|mgn|delta|headroom|t\.?limit", re.IGNORECASE)


def scope_of(name: str, otherwise: str = "device") -> str:
    """Return which part of a node a sensor belongs to, by its name."""
    return next((scope for scope, pattern in _SCOPES if pattern.search(name)), otherwise)


def is_of_all(name: str) -> bool:
    """Tell whether a sensor's name says that it measures the whole node."""
    return _ALL.match(name.strip()) is not None


def is_margin(name: str) -> bool:
    """Tell whether a sensor's name says that its degrees are a distance, and not how hot something is."""
    return _MARGIN.search(name) is not None


def watts(value: float | None) -> float | None:
    """Return a draw of power; none for what a controller says that has no reading: nothing at all, or all bits set."""
    return None if value is None or not 0 < value < _NO_READING else float(value)


def hertz(revolutions_per_minute: float | None) -> float | None:
    """Return the revolutions of a fan in a second."""
    if revolutions_per_minute is None or not 0 <= revolutions_per_minute <= _FASTEST_HERTZ * _PER_MINUTE:
        return None
    return revolutions_per_minute / _PER_MINUTE


def celsius(value: float | None) -> float | None:
    """Return a temperature."""
    return None if value is None or not _COLDEST <= value <= _HOTTEST else float(value)


def meter(source: str, scope: str, label: str | None, **values: float | None) -> Row:
    """Return a meter's row. A whole node, a supply and a part overlap with what processors measure of themselves."""
    is_power = not {"temperature_celsius", "fan_hertz"} & set(values)
    row = {"power_source": source, "scope": scope, "label": label, "is_readable": True, **values}
    return {**row, "is_overlapping": True} if is_power else row
