"""Memory of each NUMA node of a host, and where processes got theirs from."""

import re
from pathlib import Path
from typing import Final

from collectors.node._files import as_count, listed, text
from ledger.errors import SourceMissing
from ledger.registry import Emitted, collector

_NODE: Final = re.compile(r"^node(\d+)$")
_LINE: Final = re.compile(r"^Node \d+ (?P<name>[^:]+):\s+(?P<value>\d+)(?P<unit> kB)?$", re.MULTILINE)
_KIBIBYTE: Final = 1024
_MOST_KIBIBYTES: Final = 2**43
_MOST_PROCESSORS: Final = 2**20

_MEMORY: Final = {
    "memory_total_bytes": "MemTotal",
    "memory_free_bytes": "MemFree",
    "memory_cache_bytes": "FilePages",
    "memory_anonymous_bytes": "AnonPages",
}
_COUNTERS: Final = {
    "hit_page_count_total": "numa_hit",
    "miss_page_count_total": "numa_miss",
    "foreign_page_count_total": "numa_foreign",
    "local_page_count_total": "local_node",
    "remote_page_count_total": "other_node",
}


@collector(emits=("numa_sample",), every_seconds=30)
def numa(sysfs: Path = Path("/sys")) -> Emitted:
    """Yield one row per NUMA node.

    A page that a process wanted on one node and got on another is a miss of the node that gave it, and foreign to the
    node that was wanted. A node without processors is memory alone: of a GPU, or of another tier.

    Raises: SourceMissing: the kernel knows of no NUMA nodes. Nulls: what this kernel does not count.
    Source: Documentation/admin-guide/numastat, Documentation/ABI/stable/sysfs-devices-node.
    """
    root = sysfs / "devices/system/node"
    found = [(int(match[1]), path) for path in listed(root) if (match := _NODE.match(path.name))]
    if not found:
        raise SourceMissing(f"{root} has no nodes", hint="set collectors.numa.enabled = false on this node")
    for index, path in sorted(found):
        memory = _sizes(path / "meminfo")
        counted = dict(line.partition(" ")[::2] for line in (text(path / "numastat") or "").splitlines())
        yield (
            "numa_sample",
            {
                "numa_node_index": index,
                "cpu_count": _cpu_count(text(path / "cpulist")),
                **{column: memory.get(name) for column, name in _MEMORY.items()},
                **{column: as_count(counted.get(name, "").strip()) for column, name in _COUNTERS.items()},
            },
        )


def _sizes(path: Path) -> dict[str, int]:
    """Return a node's meminfo in bytes."""
    found = {}
    for match in _LINE.finditer(text(path) or ""):
        number = as_count(match["value"])
        if number is not None and number <= _MOST_KIBIBYTES:
            found[match["name"]] = number * (_KIBIBYTE if match["unit"] else 1)
    return found


def _cpu_count(ranges: str | None) -> int | None:
    """Return how many processors a list such as 0-3,8 names; null where it is none."""
    if ranges is None:
        return None
    total = 0
    for part in filter(None, ranges.split(",")):
        first, dash, last = part.partition("-")
        low, high = as_count(first), as_count(last if dash else first)
        if low is None or high is None or not low <= high < _MOST_PROCESSORS:
            return None
        total += high - low + 1
    return total
