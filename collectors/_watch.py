"""What the loop watches: rounds that do not end, a clock that jumps, memory that is not needed."""

import ctypes
import gc
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, NamedTuple

from collectors._clock import since_boot
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


class Clocks(NamedTuple):
    """What three clocks say at one instant: of the day, and seconds that the machine ran, and that passed."""

    wall: datetime
    running: float
    passed: float

    @classmethod
    def read(cls, now: Callable[[], datetime]) -> "Clocks":
        """Return what they say now; `now` is the clock of the day."""
        return cls(now(), time.monotonic(), since_boot())


def clock_events(before: Clocks, now: Clocks) -> Iterator[dict[str, Any]]:
    """Yield an event if the machine was suspended, and one if its clock moved by more than time passed, or by less."""
    passed = now.passed - before.passed
    suspended = passed - (now.running - before.running)
    jump = (now.wall - before.wall).total_seconds() - passed
    if suspended > _JUMP_SECONDS:
        said = f"the node was suspended for {suspended:.3f} s"
        yield {"event": "suspended", "message": said, "amount_seconds": suspended}
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
