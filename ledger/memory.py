"""How memory that is no longer used goes back to the system: a hub that rolled up a day must not keep what it took."""

import ctypes
import os
from typing import Final

# Polars' own allocator. By default it returns pages only when somebody allocates again, and some of them never.
# For five seconds it keeps them: a rollup wants as much again for its next stretch, and each new page costs a fault.
_POLARS: Final = ("_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:5000,muzzy_decay_ms:0")

# The C library keeps an arena for each thread, eight for each processor: a gigabyte after a day of 1,000 GPUs. In one,
# what DuckDB hands over as Arrow lies where the last stretch lay. A column of it has room for a million values, 8 MB:
# below the largest threshold that there is, it comes from the arena and is not mapped and faulted in each time. What
# is kept at most is what one stretch takes.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
_GLIBC: Final = {
    "MALLOC_ARENA_MAX": (_M_ARENA_MAX, 1),
    "MALLOC_MMAP_THRESHOLD_": (_M_MMAP_THRESHOLD, 2**25),
    "MALLOC_TRIM_THRESHOLD_": (_M_TRIM_THRESHOLD, 2**28),
}


def settle() -> None:
    """Set both allocators; call it before Polars is imported and before threads are started.

    Where the C library is another one than glibc, or the environment says something else, that stays.
    """
    os.environ.setdefault(*_POLARS)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    for variable, (parameter, value) in _GLIBC.items():
        if mallopt is not None and variable not in os.environ:
            mallopt(parameter, value)


def release() -> None:
    """Give back what the C library keeps for later: frames that went from DuckDB to Polars were in its hands."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
