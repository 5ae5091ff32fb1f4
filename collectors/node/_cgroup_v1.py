"""What a job used, in the older hierarchies: one tree per controller."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from collectors.node._cgroup import Devices, Numbers, held, table, total
from collectors.node._files import as_count, counted, text
from ledger.registry import Row

CONTROLLERS: Final = ("cpuacct", "cpu", "memory", "blkio", "pids")

_NANOSECONDS: Final = 1_000_000_000
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")

_LINE_WORDS: Final = 3


def usage(paths: Mapping[str, Path], devices: Devices) -> Row:
    """Return one job's counters and gauges, from its folder in each controller's tree.

    Only what includes the steps below is read: `total_` values, recursive counts.
    Source: Documentation/admin-guide/cgroup-v1; times are nanoseconds and, split by mode, ticks.
    """
    ticks, memory = _table(paths, "cpuacct.stat"), _table(paths, "memory.stat")
    resident, shared, cache = (memory.get(f"total_{name}") for name in ("rss", "shmem", "cache"))
    return {
        "cpu_seconds_total": _per(_number(paths, "cpuacct.usage"), _NANOSECONDS),
        "cpu_user_seconds_total": _per(ticks.get("user"), _TICKS_PER_SECOND),
        "cpu_system_seconds_total": _per(ticks.get("system"), _TICKS_PER_SECOND),
        "cpu_throttled_seconds_total": _per(_table(paths, "cpu.stat").get("throttled_time"), _NANOSECONDS),
        "memory_used_bytes": held(_number(paths, "memory.usage_in_bytes")),
        "memory_peak_bytes": held(_number(paths, "memory.max_usage_in_bytes")),
        # Without a limit the kernel writes the largest number of whole pages, which no node has.
        "memory_limit_bytes": held(_number(paths, "memory.limit_in_bytes")),
        "memory_resident_bytes": held(resident, shared),
        "memory_cache_bytes": held(cache, without=shared),
        "swap_used_bytes": held(memory.get("total_swap")),
        "oom_kill_count_total": _table(paths, "memory.oom_control").get("oom_kill"),
        "task_count": _number(paths, "pids.current"),
        "read_bytes_total": _io(paths, "blkio.throttle.io_service_bytes_recursive", "Read", devices),
        "written_bytes_total": _io(paths, "blkio.throttle.io_service_bytes_recursive", "Write", devices),
        "read_count_total": _io(paths, "blkio.throttle.io_serviced_recursive", "Read", devices),
        "write_count_total": _io(paths, "blkio.throttle.io_serviced_recursive", "Write", devices),
    }


def _file(paths: Mapping[str, Path], name: str) -> Path | None:
    """Return the file of a controller, by which its name begins; None where this node does not use it."""
    folder = paths.get(name.partition(".")[0])
    return None if folder is None else folder / name


def _number(paths: Mapping[str, Path], name: str) -> int | None:
    path = _file(paths, name)
    return None if path is None else counted(path)


def _table(paths: Mapping[str, Path], name: str) -> Numbers:
    path = _file(paths, name)
    return {} if path is None else table(path)


def _io(paths: Mapping[str, Path], name: str, kind: str, devices: Devices) -> int | None:
    """Return the sum over whole devices of lines such as `8:0 Read 4096`; a last line repeats their total."""
    path = _file(paths, name)
    content = None if path is None else text(path)
    if content is None:
        return None
    lines = [words for words in (line.split() for line in content.splitlines()) if len(words) == _LINE_WORDS]
    return total([as_count(words[2]) for words in lines if words[1] == kind and not devices.is_stacked(words[0])])


def _per(value: int | None, parts: int) -> float | None:
    return None if value is None else value / parts
