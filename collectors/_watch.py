"""What the loop watches: rounds that do not end, a clock that jumps, memory that is not needed."""

import ctypes
import gc
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from collectors._round import Result, Source

_JUMP_SECONDS: Final = 2.0


class Deadlines:
    """Which collectors are in a round, since when; a round that is overdue is told once, its late rows are dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[Source, tuple[datetime, float]] = {}
        self._told: set[Source] = set()

    def begin(self, source: Source, started_at: datetime) -> None:
        """Note that a round starts."""
        with self._lock:
            self._running[source] = (started_at, time.monotonic())

    def end(self, source: Source) -> bool:
        """Note that a round ended; tell whether it did so in time."""
        with self._lock:
            self._running.pop(source, None)
            is_late = source in self._told
            self._told.discard(source)
        return not is_late

    def overdue(self) -> list[Result]:
        """Return a failed run for each round that has passed its deadline since the last call."""
        with self._lock:
            late = [
                (source, started_at)
                for source, (started_at, started) in self._running.items()
                if source not in self._told and time.monotonic() - started > source.deadline_seconds
            ]
            self._told.update(source for source, _ in late)
        return [source.overdue(started_at) for source, started_at in late]


def clock_jump(
    wall_before: datetime, steady_before: float, wall_now: datetime, steady_now: float
) -> Iterator[dict[str, Any]]:
    """Yield an event if the wall clock moved by more than time passed, or by less."""
    jump = (wall_now - wall_before).total_seconds() - (steady_now - steady_before)
    if abs(jump) > _JUMP_SECONDS:
        yield {"event": "clock_jump", "message": f"the clock moved by {jump:+.3f} s", "amount_seconds": jump}


def give_back_memory() -> None:
    """Give back what loading libraries took and left free: a fifth of the process, once after the start.

    What lives on is no longer looked at by the collector of cycles.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
