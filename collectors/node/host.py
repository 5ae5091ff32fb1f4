"""A node's processors, memory and load."""

import os
from pathlib import Path
from typing import Final

from collectors.node._files import as_integer, integers, required, scaled, text
from ledger.errors import SourceError
from ledger.registry import Emitted, collector

_KIBIBYTE: Final = 1024

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
    lines = [line.split() for line in required(stat, "host").splitlines() if line]
    fields = {line[0]: line[1:] for line in lines}
    if "cpu" not in fields:
        raise SourceError(f"{stat}: found no line `cpu`, expected the kernel's processor times")
    ticks = dict(zip(_CPU_FIELDS, integers(fields["cpu"], str(stat)), strict=False))
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
            "load_average_count": _first_number(procfs / "loadavg"),
            "running_process_count": as_integer("".join(fields.get("procs_running", [""]))),
            "blocked_process_count": as_integer("".join(fields.get("procs_blocked", [""]))),
            "memory_total_bytes": memory.get("MemTotal"),
            "memory_available_bytes": memory.get("MemAvailable"),
            "swap_used_bytes": _difference(memory.get("SwapTotal"), memory.get("SwapFree")),
            "uptime_seconds": _first_number(procfs / "uptime"),
        },
    )


def _seconds(ticks: dict[str, int], *names: str) -> float | None:
    """Return the sum of the parts that this kernel reports; null if it reports none."""
    known = [ticks[name] for name in names if name in ticks]
    return sum(known) / _TICKS_PER_SECOND if known else None


def _memory(path: Path) -> dict[str, float]:
    """Return /proc/meminfo in bytes."""
    found: dict[str, float] = {}
    for line in (text(path) or "").splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        value = scaled(as_integer(words[0]), _KIBIBYTE if words[1:] == ["kB"] else 1) if words else None
        if value is not None:
            found[name] = value
    return found


def _difference(total: float | None, free: float | None) -> float | None:
    return None if total is None or free is None else total - free


def _first_number(path: Path) -> float | None:
    """Return the first word of a file as a number; null where there is none."""
    words = (text(path) or "").split()
    try:
        return float(words[0]) if words else None
    except ValueError:
        return None
