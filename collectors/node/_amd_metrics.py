"""The table of metrics that an AMD GPU's firmware fills, as the driver hands it out in one file.

Layouts differ from revision to revision and are no extensions of one another: a revision that is not known, or a table
of another size than its own, is not read at all. A field that the firmware does not fill is all ones.

Source: the kernel's gpu_metrics structures (kgd_pp_interface.h), natural alignment, the host's byte order.
"""

import struct
import sys
from collections.abc import Mapping
from typing import Final, NamedTuple

_HEADER: Final = struct.Struct("=HBB")
_LINKS: Final = 8
_ENGINES: Final = 8
_TAIL_BYTES: Final = 8  # one counter behind the partitions, padded

_JOULES: Final = 2**-16
_FIRMWARE_TICKS_PER_SECOND: Final = 100_000_000
_KIBIBYTE: Final = 1024
_MEGAHERTZ: Final = 1_000_000

# Bits of the throttle word that is the same for all models, by what holds the clock back.
_POWER_BITS: Final = 0xFF
_CURRENT_BITS: Final = 0xFF << 16
_HEAT_BITS: Final = 0xFFFF << 32

# The words for it of the column: a power cap, a slow-down by the hardware, heat.
_POWER_REASON: Final = 0x4
_CURRENT_REASON: Final = 0x8
_HEAT_REASON: Final = 0x40


class _Layout(NamedTuple):
    """Where fields lie, in bytes; `sizes` are those that this revision was ever emitted with."""

    sizes: range
    offsets: Mapping[str, tuple[int, int]]
    partitions: int | None = None


def _old(**more: tuple[int, int]) -> dict[str, tuple[int, int]]:
    base = {"hotspot": (6, 2), "memory_heat": (8, 2), "busy": (16, 2), "memory_busy": (18, 2), "power": (22, 2)}
    return {**base, "energy": (24, 8), "clock": (54, 2), "memory_clock": (58, 2), **more}


def _new(energy: int, replays: int, links: int, stamp: int, **more: tuple[int, int]) -> dict[str, tuple[int, int]]:
    """Return where the fields of revision 4 and later lie; clocks follow the time stamp."""
    base = {"hotspot": (4, 2), "memory_heat": (6, 2), "power": (10, 2), "busy": (12, 2), "memory_busy": (14, 2)}
    clocks = {"clock": (stamp + 8, 2), "memory_clock": (stamp + 48, 2)}
    moved = {"replays": (replays, 8), "read": (links, 8), "written": (links + 64, 8), "stamp": (stamp, 8)}
    return {**base, "energy": (energy, 8), **moved, **clocks, **more}


def _held_back(ticks: int) -> dict[str, tuple[int, int]]:
    names = ("ticks", "prochot", "package_power", "socket_heat", "regulator_heat", "memory_slow_heat")
    return {name: (ticks + 4 * place, 4) for place, name in enumerate(names)}


def _exactly(size: int) -> range:
    return range(size, size + 1)


_LAYOUTS: Final = {
    (1, 1): (_Layout(_exactly(96), _old()),),
    (1, 2): (_Layout(_exactly(104), _old()),),
    (1, 3): (_Layout(_exactly(120), _old(reasons=(112, 8))),),
    (1, 4): (_Layout(_exactly(288), _new(24, 88, 104, 232)),),
    (1, 5): (_Layout(_exactly(328), _new(56, 120, 144, 272)),),
    (1, 6): (
        # Kernels before partitions were told apart emitted a shorter table under the same number.
        _Layout(_exactly(384), _new(88, 176, 200, 328, **_held_back(104))),
        _Layout(_exactly(1664), _new(16, 104, 128, 256, **_held_back(32), partition_count=(306, 2)), 312),
    ),
    (1, 7): (_Layout(_exactly(2208), _new(24, 112, 136, 288, **_held_back(40), partition_count=(338, 2)), 344),),
    (1, 8): (_Layout(range(3360, 3900), _new(24, 112, 136, 288, **_held_back(40), partition_count=(338, 2)), 344),),
}


class Metrics(NamedTuple):
    """What a table says, in base units; null for what the firmware does not fill."""

    hotspot_celsius: float | None = None
    memory_celsius: float | None = None
    power_watts: float | None = None
    busy_percent: float | None = None
    memory_busy_percent: float | None = None
    energy_joules: float | None = None
    clock_hertz: float | None = None
    memory_clock_hertz: float | None = None
    replay_count: int | None = None
    read_bytes: int | None = None
    written_bytes: int | None = None
    reasons: int | None = None
    stamp_seconds: float | None = None
    ticks: int | None = None
    ticks_hot: tuple[int, ...] = ()
    ticks_capped: int | None = None
    partition_busy_percent: tuple[float | None, ...] = ()


def revision(table: bytes) -> str:
    """Return a table's own word for its layout, such as 1.6 of 1664 bytes."""
    if len(table) < _HEADER.size:
        return f"{len(table)} bytes"
    size, major, minor = _HEADER.unpack_from(table)
    return f"{major}.{minor} of {size} bytes"


def parsed(table: bytes) -> Metrics | None:
    """Return what a table says; None for a layout that is not known, or a table that is cut short."""
    if len(table) < _HEADER.size:
        return None
    size, major, minor = _HEADER.unpack_from(table)
    layout = next((each for each in _LAYOUTS.get((major, minor), ()) if size in each.sizes), None)
    if layout is None or len(table) < size:
        return None

    def field(name: str, place: int = 0) -> int | None:
        if name not in layout.offsets:
            return None
        offset, width = layout.offsets[name]
        return _unsigned(table, offset + place * width, width)

    hot = [field(name) for name in ("prochot", "socket_heat", "regulator_heat", "memory_slow_heat")]
    links = {name: [field(name, link) for link in range(_LINKS)] for name in ("read", "written")}
    return Metrics(
        hotspot_celsius=field("hotspot"),
        memory_celsius=field("memory_heat"),
        power_watts=field("power"),
        busy_percent=field("busy"),
        memory_busy_percent=field("memory_busy"),
        energy_joules=_times(field("energy"), _JOULES),
        clock_hertz=_times(field("clock"), _MEGAHERTZ),
        memory_clock_hertz=_times(field("memory_clock"), _MEGAHERTZ),
        replay_count=field("replays"),
        read_bytes=_total(links["read"], _KIBIBYTE),
        written_bytes=_total(links["written"], _KIBIBYTE),
        reasons=_reasons(field("reasons")),
        stamp_seconds=_times(field("stamp"), 1 / _FIRMWARE_TICKS_PER_SECOND),
        ticks=field("ticks"),
        ticks_hot=tuple(each for each in hot if each is not None),
        ticks_capped=field("package_power"),
        partition_busy_percent=tuple(_partitions(table, size, layout, field("partition_count"))),
    )


def _partitions(table: bytes, size: int, layout: _Layout, count: int | None) -> list[float | None]:
    """Return how busy each partition is: the mean of its engines. What follows its engines differs in length."""
    if layout.partitions is None or not count or count > _ENGINES:
        return []
    each = (size - layout.partitions - _TAIL_BYTES) // _ENGINES
    found: list[float | None] = []
    for partition in range(count):
        start = layout.partitions + partition * each
        engines = [_unsigned(table, start + 4 * engine, 4) for engine in range(_ENGINES)]
        busy = [engine for engine in engines if engine is not None]
        found.append(sum(busy) / len(busy) if busy else None)
    return found


def _unsigned(table: bytes, offset: int, width: int) -> int | None:
    """Return a number; None where all of its bits are set, which is how the driver marks what is not filled."""
    value = int.from_bytes(table[offset : offset + width], sys.byteorder)
    return None if value == (1 << 8 * width) - 1 else value


def _reasons(bits: int | None) -> int | None:
    """Return why the clock is where it is, in the words of the column."""
    if bits is None:
        return None
    parts = ((_POWER_BITS, _POWER_REASON), (_CURRENT_BITS, _CURRENT_REASON), (_HEAT_BITS, _HEAT_REASON))
    return sum(reason for mask, reason in parts if bits & mask)


def _times(value: int | None, unit: float) -> float | None:
    return None if value is None else value * unit


def _total(values: list[int | None], unit: int) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) * unit if known else None
