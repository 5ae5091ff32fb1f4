"""How memory that is no longer used goes back to the system: a hub that rolled up a day must not keep what it took."""

import ctypes
import os
from typing import Final

# Polars' own allocator. By default it returns pages only when somebody allocates again, and some of them never.
_POLARS: Final = ("_RJEM_MALLOC_CONF", "background_thread:true,dirty_decay_ms:500,muzzy_decay_ms:0")

# The C library keeps an arena for each thread, eight for each processor: a gigabyte after a day of 1,000 GPUs.
_M_ARENA_MAX: Final = -8
_ARENAS: Final = 2


def settle() -> None:
    """Set both allocators; call it before Polars is imported and before threads are started.

    Where the C library is another one than glibc, or the environment says something else, that stays.
    """
    os.environ.setdefault(*_POLARS)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None and "MALLOC_ARENA_MAX" not in os.environ:
        mallopt(_M_ARENA_MAX, _ARENAS)


def release() -> None:
    """Give back what the C library keeps for later: frames that went from DuckDB to Polars were in its hands."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
