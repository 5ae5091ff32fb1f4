"""Energy of processors and memory, from the counters that Intel and AMD processors keep (RAPL)."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from collectors.node._files import counted, listed, refused, text
from ledger.registry import Row

_ZONE: Final = re.compile(r"^intel-rapl(?P<mmio>-mmio)?(?P<numbers>(:\d+)+)$")
_MICROJOULES: Final = 1_000_000

# Memory is measured beside its package; cores lie within it, and a platform (psys) around it.
_APART: Final = frozenset({"package", "dram"})

# No package or memory draws more, nor a platform with several: a fall that needs more watts was no wrap, and after the
# time in which this much fills the counter's range nobody knows how often it wrapped.
_MOST_WATTS: Final = 1000
_MOST_WATTS_OF_PLATFORM: Final = 4000


class _Zone(NamedTuple):
    path: Path
    name: str
    is_mmio: bool


class _Reading(NamedTuple):
    at: float
    microjoules: int
    carried: int


class Rapl:
    """The domains of a node; remembers the last reading of each, so that wraps can be added up."""

    def __init__(self, sysfs: Path, clock: Callable[[], float]) -> None:
        self._root = sysfs / "class/powercap"
        self._clock = clock
        self._last: dict[Path, _Reading] = {}

    def rows(self) -> Iterator[Row]:
        """Yield one row per domain.

        A domain that the processor shows twice, through its registers and through its memory map, is one row.
        Source: Documentation/power/powercap; root alone may read the counters since 2020 (CVE-2020-8694).
        """
        zones = list(_zones(self._root))
        own = {zone.name for zone in zones if not zone.is_mmio}
        scopes = {_scope(zone.name) for zone in zones}
        seen: set[str] = set()
        for zone in zones:
            if zone.is_mmio and zone.name in own:
                continue
            source = f"rapl:{zone.name}" if zone.name not in seen else f"rapl:{zone.name}@{zone.path.name}"
            seen.add(zone.name)
            scope = _scope(zone.name)
            joules = self._joules(zone.path, _MOST_WATTS_OF_PLATFORM if scope == "psys" else _MOST_WATTS)
            yield {
                "power_source": source,
                "scope": scope,
                "is_overlapping": scope not in _APART and not (scope == "psys" and not scopes & _APART),
                "is_readable": joules is not None or not refused(zone.path / "energy_uj"),
                "energy_joules_total": joules,
            }

    def _joules(self, zone: Path, most_watts: int) -> float | None:
        """Return a domain's energy, with what it counted before it wrapped."""
        now, read = self._clock(), counted(zone / "energy_uj")
        if read is None:
            return None
        before, top = self._last.get(zone), counted(zone / "max_energy_range_uj")
        carried, is_known = _carried(before, _Reading(now, read, 0), top, most_watts)
        self._last[zone] = _Reading(now, read, carried)
        return (carried + read) / _MICROJOULES if is_known else None


def _carried(before: _Reading | None, now: _Reading, top: int | None, most_watts: int) -> tuple[int, bool]:
    """Return what was counted before the last wrap, and whether that is known.

    A fall that is no wrap is a reset: the sum falls with it, and what was used in between is not known. Nor is a rise
    by more than can be drawn.
    """
    if before is None or top is None:
        return 0, True
    most = most_watts * _MICROJOULES * (now.at - before.at)
    if most >= top:
        return 0, False
    if now.microjoules >= before.microjoules:
        is_possible = now.microjoules - before.microjoules <= most
        return (before.carried if is_possible else 0), is_possible
    is_wrap = top - before.microjoules + now.microjoules <= most
    return (before.carried + top if is_wrap else 0), True


def _zones(root: Path) -> Iterator[_Zone]:
    """Yield the domains, each with the names of those that it lies in: package-0/dram."""
    for path in listed(root):
        match = _ZONE.match(path.name)
        if match is None:
            continue
        numbers = match["numbers"][1:].split(":")
        kind = path.name.split(":")[0]
        above = [f"{kind}:{':'.join(numbers[: depth + 1])}" for depth in range(len(numbers))]
        names = [text(root / name / "name") or name for name in above]
        yield _Zone(path, "/".join(names), match["mmio"] is not None)


def _scope(name: str) -> str:
    """Return what a domain measures: package-1-die-0 is a package."""
    last = name.rpartition("/")[2]
    return "package" if last.startswith("package") else last
