"""A node's processors, memory and load."""

import os
from pathlib import Path
from typing import Final

from collectors.node._files import as_count, counts, required, text
from ledger.errors import SourceError
from ledger.registry import Emitted, collector

_KIBIBYTE: Final = 1024

# More than any node has: what a kernel counted below zero shows as a large number.
_MOST_BYTES: Final = 2**53
_MOST_PROCESSES: Final = 2**22
_MOST_LOAD: Final = 1e6
_MOST_SECONDS: Final = 1e10

# The kernel reports processor time to user space in these ticks, whatever its own timer does.
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")

_CPU_FIELDS: Final = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


@collector(emits=("host_sample",), every_seconds=10)
def host(procfs: Path = Path("/proc")) -> Emitted:
    """Yield one row for the node.

    Guest time is part of user time in the kernel's count and is not added again.

    Raises: SourceMissing: there is no /proc/stat. Nulls: a file or a field that this kernel does not have.
    Source: proc(5).
    """
    stat = procfs / "stat"
    lines = [line.split() for line in required(stat, "host").splitlines() if line.strip()]
    fields = {line[0]: line[1:] for line in lines}
    if "cpu" not in fields:
        raise SourceError(f"{stat}: found no line `cpu`, expected the kernel's processor times")
    ticks = dict(zip(_CPU_FIELDS, counts(fields["cpu"], str(stat)), strict=False))
    memory = _memory(procfs / "meminfo")
    yield (
        "host_sample",
        {
            "cpu_count": sum(1 for name in fields if name.startswith("cpu") and name != "cpu"),
            "cpu_user_seconds_total": _seconds(ticks, "user", "nice"),
            "cpu_system_seconds_total": _seconds(ticks, "system", "irq", "softirq"),
            "cpu_idle_seconds_total": _seconds(ticks, "idle"),
            "cpu_iowait_seconds_total": _seconds(ticks, "iowait"),
            "cpu_steal_seconds_total": _seconds(ticks, "steal"),
            "load_average_count": _first_number(procfs / "loadavg", _MOST_LOAD),
            "running_process_count": _processes(fields.get("procs_running")),
            "blocked_process_count": _processes(fields.get("procs_blocked")),
            "memory_total_bytes": memory.get("MemTotal"),
            "memory_available_bytes": memory.get("MemAvailable"),
            "swap_used_bytes": _difference(memory.get("SwapTotal"), memory.get("SwapFree")),
            "uptime_seconds": _first_number(procfs / "uptime", _MOST_SECONDS),
        },
    )


def _seconds(ticks: dict[str, int | None], *names: str) -> float | None:
    """Return the sum of the parts that this kernel reports; null if it reports none, or one that cannot be."""
    values = [ticks[name] for name in names if name in ticks]
    known = [value for value in values if value is not None]
    return sum(known) / _TICKS_PER_SECOND if known and len(known) == len(values) else None


def _processes(words: list[str] | None) -> int | None:
    """Return how many processes a line tells."""
    found = as_count("".join(words or ()))
    return found if found is not None and found <= _MOST_PROCESSES else None


def _memory(path: Path) -> dict[str, int]:
    """Return /proc/meminfo in bytes."""
    found: dict[str, int] = {}
    for line in (text(path) or "").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        value = as_count(words[0]) if words else None
        size = None if value is None else value * (_KIBIBYTE if words[1:] == ["kB"] else 1)
        if size is not None and size <= _MOST_BYTES:
            found[name] = size
    return found


def _difference(total: int | None, free: int | None) -> int | None:
    """Return what is in use; null where the parts, which are read one after the other, contradict each other."""
    return None if total is None or free is None or free > total else total - free


def _first_number(path: Path, most: float) -> float | None:
    """Return the first word of a file as a number; null where there is none, or one that cannot be."""
    words = (text(path) or "").split()
    try:
        found = float(words[0]) if words else None
    except ValueError:
        return None
    return found if found is not None and 0 <= found <= most else None
