"""A cache of frames, bounded in bytes, that computes each entry once however many people ask."""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple, TypeVar, cast

T = TypeVar("T")

_OTHER_BYTES = 65_536
"""What an entry counts for that does not say how large it is."""

KEPT_SECONDS = 1_800
"""What nobody has asked for since then goes: the windows of pages move on, and earlier ones would stay."""


class _Entry(NamedTuple):
    """A value, what it counts for, of which version it is, which frame it was made of, and when it was asked for."""

    value: Any
    size: int
    version: Hashable
    of: int | None
    asked: float


class Cache:
    """Entries by key, each of one version; least recently used dropped first; frames are immutable: nothing is copied.

    A newer version takes the place of the older one, and of what was made of that.
    """

    def __init__(self, max_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._bytes = 0
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._held: Counter[int] = Counter()
        self._made_of: dict[int, set[Hashable]] = {}
        self._busy: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T], *, version: Hashable = None, of: object = None) -> T:
        """Return the entry of a version, made now if it is missing; a second asker waits for the first.

        What is made `of` an entry goes with it, and counts without it.
        """
        with self._lock:
            found = self._entries.get(key)
            if found is not None and found.version == version:
                self._entries[key] = found._replace(asked=self._clock())
                self._entries.move_to_end(key)
                return cast("T", found.value)
            turn = self._busy.setdefault((key, version), threading.Lock())
        with turn:
            with self._lock:
                found = self._entries.get(key)
                if found is not None and found.version == version:
                    return cast("T", found.value)
            try:
                value = make()
                if of is None:
                    self._keep(key, _Entry(value, _size(value), version, None, self._clock()))
                else:
                    self._keep(key, _Entry(value, _size(value, of), version, id(of), self._clock()), _size(of))
            finally:
                with self._lock:
                    self._busy.pop((key, version), None)
        return value

    def peek(self, key: Hashable) -> Any:
        """Return the entry, or None if it would have to be made."""
        with self._lock:
            found = self._entries.get(key)
            return None if found is None else found.value

    def holds(self, value: object) -> bool:
        """Tell whether the value is an entry: then its identity says what it is, for as long as it stays one."""
        return self._held[id(value)] > 0

    @property
    def size_bytes(self) -> int:
        """Return what all entries count for."""
        return self._bytes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._held.clear()
            self._made_of.clear()
            self._bytes = 0

    def _keep(self, key: Hashable, entry: _Entry, source_bytes: int = 0) -> None:
        with self._lock:
            older = self._drop(key)
            if older is not None and older.value is not entry.value:
                self._outdate(older)
            # What it was made of may have gone meanwhile: then nobody can ask for it. Nor may it drive that out.
            if entry.size + source_bytes > self._max_bytes or (entry.of is not None and not self._held[entry.of]):
                return
            self._entries[key] = entry
            self._count(entry.value, 1)
            self._bytes += entry.size
            if entry.of is not None:
                self._made_of.setdefault(entry.of, set()).add(key)
            while self._entries and (self._bytes > self._max_bytes or self._is_old(next(iter(self._entries.values())))):
                self._outdate(cast("_Entry", self._drop(next(iter(self._entries)))))

    def _is_old(self, entry: _Entry) -> bool:
        return entry.asked < self._clock() - KEPT_SECONDS

    def _drop(self, key: Hashable) -> _Entry | None:
        gone = self._entries.pop(key, None)
        if gone is None:
            return None
        self._count(gone.value, -1)
        self._bytes -= gone.size
        if gone.of is not None:
            beside = self._made_of[gone.of]
            beside.discard(key)
            if not beside:
                del self._made_of[gone.of]
        return gone

    def _outdate(self, older: _Entry) -> None:
        """Drop what was made of an entry that is gone, and what was made of that: nobody can ask for it again."""
        parts = older.value if isinstance(older.value, tuple) else (older.value,)
        # What was made of a frame is kept with that frame, which may be in force still.
        for part in parts if older.of is None else parts[:1]:
            if id(part) == older.of:
                continue
            for key in tuple(self._made_of.get(id(part), ())):
                gone = self._drop(key)
                if gone is not None:
                    self._outdate(gone)

    def _count(self, value: object, change: int) -> None:
        for each in value if isinstance(value, tuple) else (value,):
            self._held[id(each)] += change
            if not self._held[id(each)]:
                del self._held[id(each)]


def _size(value: object, of: object = None) -> int:
    """Return what an entry counts for, without the frame that it was made of: that one is an entry of its own."""
    if isinstance(value, tuple):
        return sum(_size(each) for each in value if each is not of)
    estimate = getattr(value, "estimated_size", None)
    return _OTHER_BYTES if estimate is None else int(estimate())
