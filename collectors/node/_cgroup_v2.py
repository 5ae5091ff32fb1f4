"""What a job used, in the unified hierarchy."""

from pathlib import Path
from typing import Final

from collectors.node._cgroup import Devices, held, table, total
from collectors.node._files import as_count, counted, text
from ledger.registry import Row

_MICROSECONDS: Final = 1_000_000

_IO: Final = {
    "read_bytes_total": "rbytes",
    "written_bytes_total": "wbytes",
    "read_count_total": "rios",
    "write_count_total": "wios",
}


def usage(path: Path, devices: Devices) -> Row:
    """Return one cgroup's counters and gauges; empty values where a controller is off.

    Source: Documentation/admin-guide/cgroup-v2.rst; `file` holds shared memory, which belongs to the processes.
    """
    cpu, memory = table(path / "cpu.stat"), table(path / "memory.stat")
    shared, file = memory.get("shmem"), memory.get("file")
    return {
        "cpu_seconds_total": _seconds(cpu.get("usage_usec")),
        "cpu_user_seconds_total": _seconds(cpu.get("user_usec")),
        "cpu_system_seconds_total": _seconds(cpu.get("system_usec")),
        "cpu_throttled_seconds_total": _seconds(cpu.get("throttled_usec")),
        "memory_used_bytes": held(counted(path / "memory.current")),
        "memory_peak_bytes": held(counted(path / "memory.peak")),
        "memory_limit_bytes": held(counted(path / "memory.max")),  # the word `max` is no number
        "memory_resident_bytes": held(memory.get("anon"), shared),
        "memory_cache_bytes": held(file, without=shared),
        "swap_used_bytes": held(counted(path / "memory.swap.current")),
        "oom_kill_count_total": table(path / "memory.events").get("oom_kill"),
        "task_count": counted(path / "pids.current"),
        **_io(path / "io.stat", devices),
    }


def _io(path: Path, devices: Devices) -> Row:
    """Return what whole devices carried: `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0` and more."""
    content = text(path)
    if content is None:
        return {}
    lines = [line.split() for line in content.splitlines()]
    moved = [dict(_pairs(words[1:])) for words in lines if words and not devices.is_stacked(words[0])]
    # A job that touched no device has an empty file: it moved nothing.
    return {column: total([line.get(name, 0) for line in moved]) for column, name in _IO.items()}


def _pairs(words: list[str]) -> list[tuple[str, int | None]]:
    return [(name, as_count(value)) for name, _, value in (word.partition("=") for word in words)]


def _seconds(microseconds: int | None) -> float | None:
    return None if microseconds is None else microseconds / _MICROSECONDS
