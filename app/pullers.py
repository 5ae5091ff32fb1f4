"""The hub asks the services of a cluster and looks for bills, each at its own pace and in a thread of its own.

A pull that fails is tried again later and later; one that hangs holds its own thread only. Threads are
daemons: the end of the hub waits a moment for them, and what was not kept is asked for again.
"""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from app.context import Context, acting
from app.services import _fetching
from app.services._fetching import BillSource, bill_sources, fetch
from app.services._pulling import Outcome, pull
from collectors.cluster._configured import Configured, configured
from ledger.log import log

_WAKE_SECONDS: Final = 0.5
_MOST_WAIT_SECONDS: Final = 900.0
"""However long a source fails, it is asked again after that, or after its own pace where that is slower."""

_JITTER_RATIO: Final = 0.1
"""Sources that fail together, as behind one proxy, are not asked again together."""

_GRACE_SECONDS: Final = 3.0


@dataclass
class Turn:
    """When a source is asked next, how often in a row it failed, and the thread that asks it now."""

    source: Configured | BillSource
    due: float = 0.0
    failed_count: int = 0
    thread: threading.Thread | None = None
    outcome: Outcome | _fetching.Outcome | None = field(default=None)


def wait_seconds(every_seconds: float, failed_count: int, drawn: float) -> float:
    """Return how long to wait after a pull; `drawn` is from 0 to 1 and spreads what failed together."""
    if not failed_count:
        return every_seconds
    doubled = every_seconds * 2.0 ** min(failed_count - 1, 20)
    return min(doubled, max(_MOST_WAIT_SECONDS, every_seconds)) * (1 + _JITTER_RATIO * drawn)


class Pullers:
    """Asks each enabled source when it is due, one pull of a source at a time."""

    def __init__(
        self,
        context: Context,
        sources: Sequence[Configured | BillSource] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        settings = context.settings
        all_of: Sequence[Configured | BillSource] = (*configured(settings), *bill_sources(settings))
        self._turns = [Turn(each) for each in (all_of if sources is None else sources)]
        self._clock = clock
        self._pacer = threading.Thread(target=self._pace, name="sources", daemon=True)

    def start(self) -> None:
        """Begin; without a source nothing runs."""
        if self._turns:
            self._pacer.start()

    def stop(self) -> None:
        """Begin no further pull, and give those that run a moment: each ends at its next piece."""
        self._context.stop.set()
        deadline = time.monotonic() + _GRACE_SECONDS
        for thread in (self._pacer, *(turn.thread for turn in self._turns)):
            if thread is not None and thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _pace(self) -> None:
        while not self._context.stop.wait(_WAKE_SECONDS):
            for turn in self._turns:
                self._next(turn)

    def _next(self, turn: Turn) -> None:
        """Begin a pull that is due, unless the one before still runs."""
        if turn.thread is not None:
            if turn.thread.is_alive():
                return
            self._ended(turn)
        if turn.thread is None and self._clock() >= turn.due:
            turn.due = self._clock() + turn.source.every_seconds
            turn.outcome = None
            turn.thread = threading.Thread(
                target=self._ask, args=(turn,), name=f"source {turn.source.name}", daemon=True
            )
            turn.thread.start()

    def _ask(self, turn: Turn) -> None:
        source = turn.source
        if isinstance(source, BillSource):
            acting.set(f"bills {source.name}")
            turn.outcome = fetch(self._context, source)
        else:
            acting.set(f"source {source.name}")
            turn.outcome = pull(self._context, source)

    def _ended(self, turn: Turn) -> None:
        """Say how a pull went, and when the source is asked again; without an outcome its thread died of an error."""
        turn.thread = None
        error = turn.outcome.error if turn.outcome is not None else "an error of this program"
        if error is None:
            if turn.failed_count:
                log.info("source answers again", source=turn.source.name, failed_count=turn.failed_count)
            turn.failed_count = 0
            return
        turn.failed_count += 1
        wait = wait_seconds(turn.source.every_seconds, turn.failed_count, random.random())  # noqa: S311  no secret
        turn.due = self._clock() + wait
        log.warning("source failed", source=turn.source.name, message=str(error), next_try_seconds=round(wait, 1))
