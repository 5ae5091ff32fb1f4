"""A cache of frames, bounded in bytes, that computes each entry once however many people ask."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

T = TypeVar("T")

_OTHER_BYTES = 65_536
"""What an entry counts for that does not say how large it is."""


class Cache:
    """Entries by key, least recently used dropped first; frames are immutable, so nothing is copied."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._entries: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._held: Counter[int] = Counter()
        self._busy: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the entry, made now if it is missing; a second asker waits for the first."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return cast("T", self._entries[key][0])
            turn = self._busy.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                if key in self._entries:
                    return cast("T", self._entries[key][0])
            try:
                value = make()
                self._keep(key, value)
            finally:
                with self._lock:
                    self._busy.pop(key, None)
        return value

    def peek(self, key: Hashable) -> Any:
        """Return the entry, or None if it would have to be made."""
        with self._lock:
            entry = self._entries.get(key)
            return None if entry is None else entry[0]

    def holds(self, value: object) -> bool:
        """Tell whether the value is an entry: then its identity says what it is, for as long as it stays one."""
        return self._held[id(value)] > 0

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
            self._held.clear()
            self._bytes = 0

    def _keep(self, key: Hashable, value: object) -> None:
        size = _size(value)
        if size > self._max_bytes:
            return
        with self._lock:
            self._entries[key] = (value, size)
            self._count(value, 1)
            self._bytes += size
            while self._bytes > self._max_bytes:
                _, (gone, dropped) = self._entries.popitem(last=False)
                self._count(gone, -1)
                self._bytes -= dropped

    def _count(self, value: object, change: int) -> None:
        for each in value if isinstance(value, tuple) else (value,):
            self._held[id(each)] += change
            if not self._held[id(each)]:
                del self._held[id(each)]


def _size(value: object) -> int:
    """Return what an entry counts for; a chart counts with the frame that it keeps alive."""
    if isinstance(value, tuple):
        return sum(_size(each) for each in value)
    estimate = getattr(value, "estimated_size", None)
    return _OTHER_BYTES if estimate is None else int(estimate())
