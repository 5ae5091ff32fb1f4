"""Collectors at their own pace, each in a thread that stops no other; any of them can be exchanged while they run."""

import queue
import random
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from collectors._round import Result, Source
from collectors._watch import Deadlines

# Collectors start a little apart: a node must not do all its work in one instant, nor all nodes at once.
_JITTER_SECONDS: Final = 0.5


@dataclass(frozen=True)
class _Running:
    """A collector's thread and what ends it."""

    source: Source
    thread: threading.Thread
    stop: threading.Event


class Paces:
    """The threads of collectors, and what they brought."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._results: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._deadlines = Deadlines()
        self._running: dict[str, _Running] = {}

    def set(self, wanted: Iterable[Source]) -> None:
        """Run these from now on: those that run already go on as they are, others end and begin."""
        by_name = {source.name: source for source in wanted}
        before = self._running
        for name, each in before.items():
            if by_name.get(name) is not each.source:
                each.stop.set()
        self._running = {
            name: before[name] if name in before and before[name].source is source else self._begun(source, before)
            for name, source in by_name.items()
        }

    def stop(self) -> None:
        """Let every thread end after its round."""
        self.set(())

    def arrived(self) -> list[Result]:
        """Return what collectors brought since the last call, and a failed run for each that is overdue."""
        results = self._deadlines.overdue()
        while not self._results.empty():
            results.append(self._results.get())
        return results

    def _begun(self, source: Source, before: dict[str, _Running]) -> _Running:
        stop = threading.Event()
        predecessor = before.get(source.name)
        thread = threading.Thread(target=self._pace, args=(source, stop, predecessor), name=source.name, daemon=True)
        thread.start()
        return _Running(source, thread, stop)

    def _pace(self, source: Source, stop: threading.Event, predecessor: _Running | None) -> None:
        """Run one collector at its pace; a round that was late does not make the next ones hurry."""
        if predecessor is not None:
            # What both open, such as a driver, is one's at a time; one that hangs is not waited for.
            predecessor.thread.join(predecessor.source.deadline_seconds)
        due = time.monotonic() + random.uniform(0, _JITTER_SECONDS)  # noqa: S311  spreads load, guards nothing
        while not stop.wait(max(0.0, due - time.monotonic())):
            started_at = self._now()
            self._deadlines.begin(source, started_at)
            result = source.collect(self._now)
            if self._deadlines.end(source):
                self._results.put(result)
            due += source.step_seconds
            if due < time.monotonic():
                due = time.monotonic() + source.step_seconds
