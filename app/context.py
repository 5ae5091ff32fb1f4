"""What this process works on: the open store, the settings, the clock, and which tables have changed.

The hub sets one context for its pages, its API and its jobs; a command that runs without a hub makes
its own. Rollups, ingestion and restoring take turns under `work`; what sources tell is kept under `keeping`.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ledger.config import Settings

if TYPE_CHECKING:
    from app.api._reader import Reader
    from app.data import Scope
    from ledger.store import Store
    from queries.aside import Aside


_GROWTH_SECONDS: Final = 10.0
"""So long cached reads of growing tables last: the step of an agent."""

_MOST_SECONDS: Final = 30.0
"""So long they last where the hub has no time to read them anew before a page asks: a large rollup computes."""

_PATIENCE_SECONDS: Final = 0.6
"""So long an agent waits for its answer while the hub does other things than answering."""

_VISIT_SECONDS: Final = 2.0
"""So long what can wait gives way to a page: one that takes longer would hold it up, and be little faster for it."""

_LOOK_SECONDS: Final = 0.05
_GIVEN_SECONDS: Final = 1.0
"""What can wait does so for so long at most, and then goes on: it is done too, however many agents there are."""

COMMAND_LINE: Final = "command line"

acting: ContextVar[str] = ContextVar("who acts", default=COMMAND_LINE)
"""Who acts in this thread or task, as the audit log names them."""


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


@dataclass(eq=False)
class Context:
    """One store with what belongs to it; it is opened when it is first asked for.

    `matched` says on which nodes and bills the links between them were last computed, `held` on which hours of what
    kubelets tell the holders of devices were; `longest_wait` says for how many seconds an agent has waited for its
    answer, the one that has waited longest; `viewer` says what the one who looks at the page that runs now may see,
    and without one everybody is an admin; `person` says their name; large calls of rollups go `aside`, and `reader`
    reads the batches of many agents.
    """

    settings: Settings
    now: Callable[[], datetime] = utc_now
    viewer: "Callable[[], Scope] | None" = None
    person: Callable[[], str] | None = None
    work: threading.RLock = field(default_factory=threading.RLock)
    keeping: threading.RLock = field(default_factory=threading.RLock)
    stop: threading.Event = field(default_factory=threading.Event)
    longest_wait: Callable[[], float] = lambda: 0.0
    aside: "Aside | None" = None
    reader: "Reader | None" = None
    matched: object = None
    held: Mapping[tuple[str, str], int] = field(default_factory=dict)
    _store: "Store | None" = None
    _opening: threading.Lock = field(default_factory=threading.Lock)
    _identity: object = field(default_factory=object)
    _versions: Counter[str] = field(default_factory=Counter)
    _unsaid: set[str] = field(default_factory=set)
    _said_at: float = 0.0
    _all: int = 0
    _latest: datetime | None = None
    _turns: dict[str, threading.Lock] = field(default_factory=dict)
    _visits: dict[int, float] = field(default_factory=dict)
    _works_until: float = 0.0

    @property
    def actor(self) -> str:
        """Return who acts: a person, a program or a command."""
        return acting.get()

    @property
    def store(self) -> "Store":
        """Return the open store.

        Raises: StoreError: it cannot be opened.
        """
        with self._opening:
            if self._store is None:
                # A node with the agent alone has no DuckDB; what needs no store works there.
                from ledger.store import Store  # noqa: PLC0415

                self._store = Store.open(
                    self.settings.store.url, now=self.now, memory_limit=self.settings.store.memory_limit
                )
            return self._store

    def changed(self, tables: Iterable[str] | None = None) -> None:
        """Say that tables have new rows, so that cached reads of them are read again; None means all."""
        if tables is None:
            self._all += 1
        else:
            self._versions.update(set(tables))

    def grown(self, tables: Iterable[str]) -> None:
        """Say that tables go on growing: their cached reads last for a while, however many commits there are."""
        self._unsaid.update(tables)

    def say_growth(self, after: float = _GROWTH_SECONDS) -> None:
        """Let growth count as a change, if the last did so long ago: whoever says it reads anew what pages show."""
        if self._unsaid and (now := time.monotonic()) - self._said_at >= after:
            self._said_at, said = now, set(self._unsaid)
            self._unsaid -= said
            self.changed(said)

    def version(self, tables: Iterable[str]) -> tuple[object, ...]:
        """Return a value that differs after any of the tables has changed, and from any other context's."""
        self.say_growth(_MOST_SECONDS)
        return (self._identity, self._all, *(self._versions[name] for name in sorted(tables)))

    @contextmanager
    def visit(self) -> Iterator[None]:
        """Say that this thread makes a page or a part of one, until the block ends."""
        me = threading.get_ident()
        if me in self._visits:
            yield
            return
        self._visits[me] = time.monotonic()
        try:
            yield
        finally:
            self._visits.pop(me, None)

    def is_awaited(self) -> bool:
        """Tell whether an agent has waited for long, or somebody waits for a page that another thread makes."""
        me, since = threading.get_ident(), time.monotonic() - _VISIT_SECONDS
        visits = tuple(self._visits.items())
        return self._is_agent_awaited() or any(who != me and began > since for who, began in visits)

    def _is_agent_awaited(self) -> bool:
        return self.longest_wait() > _PATIENCE_SECONDS

    def is_over(self) -> bool:
        """Tell whether work that can wait is to end; it asks between its parts, and whoever waits comes first.

        Where pages are made without a break it goes on, once it has given way, for as long as that took.
        """
        began = now = time.monotonic()
        waits = self.is_awaited if began >= self._works_until else self._is_agent_awaited
        while waits() and now < began + _GIVEN_SECONDS:
            if self.stop.wait(_LOOK_SECONDS):
                break
            now = time.monotonic()
        if now > began:
            self._works_until = now + (now - began)
        return self.stop.is_set()

    def is_busy(self) -> bool:
        """Tell whether agents, a page or a job need the processors now; whoever asks works without `work`."""
        if self.is_awaited() or not self.work.acquire(blocking=False):
            return True
        self.work.release()
        return False

    def went_back(self) -> timedelta:
        """Return by how much the clock is behind the latest instant at which it was asked so."""
        now = self.now()
        self._latest = max(self._latest or now, now)
        return self._latest - now

    def turn(self, name: str) -> threading.Lock:
        """Return the lock of one thing of which only one may go on at a time, such as the pull of one source."""
        return self._turns.setdefault(name, threading.Lock())

    def restore(self, path: Path) -> None:
        """Put the rows of a backup in the place of all rows, while no job works; the store stays open."""
        with self.work, self.keeping:
            self.store.load(path)
            self.changed()

    def close(self) -> None:
        """Ask jobs to stop, wait for the one that works, and close the store."""
        self.stop.set()
        for each in (self.aside, self.reader):
            if each is not None:
                each.close()
        with self.work, self.keeping, self._opening:
            if self._store is not None:
                self._store.close()
                self._store = None


_current: Context | None = None


def use(context: Context | None) -> None:
    """Set what pages of this process read; None takes it away."""
    global _current  # noqa: PLW0603  Streamlit calls a page without arguments: this is the one way in
    _current = context


def current() -> Context | None:
    """Return what pages of this process read, or None outside a hub."""
    return _current
