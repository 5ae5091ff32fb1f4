"""What this process works on: the open store, the settings, the clock, and which tables have changed.

The hub sets one context for its pages, its API and its jobs; a command that runs without a hub makes
its own. Rollups, ingestion and restoring take turns under `work`.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from ledger.config import Settings
from ledger.store import Store


def utc_now() -> datetime:
    """Return the present instant."""
    return datetime.now(UTC)


@dataclass(eq=False)
class Context:
    """One open store with what belongs to it."""

    store: Store
    settings: Settings
    now: Callable[[], datetime] = utc_now
    actor: str = "cli"
    work: threading.RLock = field(default_factory=threading.RLock)
    stop: threading.Event = field(default_factory=threading.Event)
    _versions: Counter[str] = field(default_factory=Counter)
    _all: int = 0

    def changed(self, tables: Iterable[str] | None = None) -> None:
        """Say that tables have new rows, so that cached reads of them are read again; None means all."""
        if tables is None:
            self._all += 1
        else:
            self._versions.update(set(tables))

    def version(self, tables: Iterable[str]) -> tuple[int, ...]:
        """Return a value that differs after any of the tables has changed."""
        return (id(self.store), self._all, *(self._versions[name] for name in sorted(tables)))

    def restore(self, path: Path) -> None:
        """Put a backup in the place of the store, and open it."""
        url = self.settings.store.url
        with self.work:
            self.store.close()
            try:
                Store.restore(url, path)
            finally:
                # Also after a refused backup: what was there is opened again.
                self.store = Store.open(url)
                self.changed()


_current: Context | None = None


def use(context: Context | None) -> None:
    """Set what pages of this process read; None takes it away."""
    global _current  # noqa: PLW0603  Streamlit calls a page without arguments: this is the one way in
    _current = context


def current() -> Context | None:
    """Return what pages of this process read, or None outside a hub."""
    return _current


def close(context: Context) -> None:
    """Ask jobs to stop, wait for the one that works, and close the store."""
    context.stop.set()
    with context.work:
        context.store.close()
