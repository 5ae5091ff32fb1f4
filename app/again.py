"""What pages asked a short time ago is asked again after a change, so that no reader waits for it.

Nothing old is ever shown for it: a page that comes first asks itself, and whoever comes meanwhile waits for it.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import polars as pl

from app.cache import KEPT_SECONDS
from ledger.errors import ClusterLedgerError

T = TypeVar("T")

_RECENT_SECONDS: Final = 300
"""Whoever reads a page longer than that waits once, as the first one did."""

_MOST: Final = 300
"""Reads that are remembered: twenty people on all pages have about half as many."""

_MOST_BYTES: Final = 16 * 1024 * 1024
"""A frame that is larger is remembered by the cache alone."""


@dataclass(eq=False)
class Made:
    """What was made of a frame, or the frame that a read returned, with what was made of it in turn."""

    make: Callable[..., Any]
    value: Any
    used: float
    parts: dict[Hashable, "Made"] = field(default_factory=dict)


class Asked:
    """The reads of pages, with how to ask each again, the least recent forgotten first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._reads: OrderedDict[Hashable, Made] = OrderedDict()
        # A frame's identity says what it is, while it is remembered here.
        self._of: dict[int, Made] = {}
        self._lock = threading.Lock()
        self._asking = threading.local()

    def same(self, key: Hashable, value: pl.DataFrame) -> pl.DataFrame:
        """Return the earlier frame of a read where it equals the new one: what was made of it holds."""
        with self._lock:
            known = self._reads.get(key)
        return known.value if known is not None and known.value.equals(value) else value

    def read(self, key: Hashable, value: T, ask: Callable[[], object]) -> T:
        """Remember what a read returned and how to ask for it again, and return it."""
        if isinstance(value, pl.DataFrame) and value.estimated_size() > _MOST_BYTES:
            return value
        with self._lock:
            known = self._reads.pop(key, None) or Made(ask, None, 0.0)
            known.make = ask
            self._reads[key] = self._put(known, value)
            for oldest, each in list(self._reads.items()):
                if len(self._reads) <= _MOST and not self._is_old(each):
                    break
                self._forget(oldest)
        return value

    def part(self, frame: pl.DataFrame, key: Hashable, value: object, make: Callable[[pl.DataFrame], object]) -> None:
        """Remember what was made of a frame, if that is the newest of a read or a part of one."""
        with self._lock:
            whole = self._of.get(id(frame))
            if whole is not None:
                whole.parts[key] = self._put(whole.parts.get(key) or Made(make, None, 0.0), value)

    def again(self, stop: Callable[[], bool]) -> int:
        """Ask for all that was asked a short time ago, the most recent first, and return how many reads these are."""
        since = self._clock() - _RECENT_SECONDS
        with self._lock:
            recent = [(key, each) for key, each in reversed(self._reads.items()) if each.used >= since]
        done = 0
        with self._quietly():
            for key, each in recent:
                if stop():
                    break
                try:
                    each.make()
                except ClusterLedgerError:
                    # What it asked for is gone or not allowed any more: a page says so, to the one who asks.
                    with self._lock:
                        self._forget(key)
                    continue
                self._parts(each, since)
                done += 1
        return done

    def _parts(self, whole: Made, since: float) -> None:
        if isinstance(whole.value, pl.DataFrame) and whole.value.is_empty():
            # Of no rows a page makes nothing: it says that there are none.
            return
        for key, part in list(whole.parts.items()):
            if part.used >= since:
                part.make(whole.value)
                self._parts(part, since)
            else:
                with self._lock:
                    self._drop(whole.parts.pop(key))

    def _put(self, made: Made, value: object) -> Made:
        if made.value is not value:
            if self._of.get(id(made.value)) is made:
                del self._of[id(made.value)]
            made.value = value
        self._of[id(value)] = made
        if not getattr(self._asking, "quietly", False):
            made.used = self._clock()
        return made

    def _is_old(self, made: Made) -> bool:
        """Tell whether the cache keeps it no more."""
        return made.used < self._clock() - KEPT_SECONDS

    def _forget(self, key: Hashable) -> None:
        gone = self._reads.pop(key, None)
        if gone is not None:
            self._drop(gone)

    def _drop(self, made: Made) -> None:
        if self._of.get(id(made.value)) is made:
            del self._of[id(made.value)]
        for part in made.parts.values():
            self._drop(part)

    @contextmanager
    def _quietly(self) -> Iterator[None]:
        """Ask without being a reader: what only this asks for is forgotten in time."""
        self._asking.quietly = True
        try:
            yield
        finally:
            self._asking.quietly = False
