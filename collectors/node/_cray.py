"""Power and energy that a Cray's board measures; anybody may read it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from collectors.node._files import as_count, listed, text
from ledger.registry import Row

_PARTS: Final = {"": "node", "cpu": "package", "memory": "dram"}
_COLUMNS: Final = {"power": ("power_watts", "W"), "energy": ("energy_joules_total", "J")}


def cray(sysfs: Path, *, is_alone: bool) -> Iterator[Row]:
    """Yield one row per part; `is_alone` if nothing else measures the processors and the memory.

    Source: HPE Cray EX, /sys/cray/pm_counters: a value, its unit and the time of the reading in microseconds.
    """
    found: dict[str, dict[str, object]] = {}
    for path in listed(sysfs / "cray/pm_counters"):
        part, _, quantity = path.name.rpartition("_")
        if quantity in _COLUMNS and (part in _PARTS or part.startswith("accel")):
            column, unit = _COLUMNS[quantity]
            words = (text(path) or "").split()
            value = as_count(words[0]) if words[1:2] == [unit] else None
            found.setdefault(part, {})[column] = value
    for part, values in found.items():
        scope = _PARTS.get(part, "gpu")
        yield {
            "power_source": f"cray:{part or 'node'}",
            "scope": scope,
            "is_overlapping": scope in {"node", "gpu"} or not is_alone,
            **values,
        }
