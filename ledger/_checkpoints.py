"""Checkpoints beside those who commit: a hub's agents wait for none.

A commit that finds much in the log would write it into the file itself, with all that come meanwhile waiting for it;
and joining small groups of rows, which a checkpoint does by default, takes seconds of wide tables. Beside commits the
log is written often and nothing is joined; `join` does that at a quiet hour. Queries leave one processor to them.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, cast

import duckdb

from ledger.errors import StoreError
from ledger.log import log

BESIDE: Final = ("max_vacuum_tasks", "threads", "wal_autocheckpoint")
"""Settings that change while a store is open."""

_LOG_BYTES: Final = 32_000_000
"""A fifth of a second to write, and groups of ten thousand rows and more where many come."""

# Where no checkpoint gets a turn, a commit makes one after all.
_SETTINGS: Final = ("SET GLOBAL wal_autocheckpoint = '1GB'", "SET GLOBAL max_vacuum_tasks = 0")
_EVERY_SECONDS: Final = 1.0
_TASKS_OF_A_NIGHT: Final = 10


class Checkpoints:
    """Writes the log of one store into its file whenever it has grown, in a thread of its own."""

    def __init__(self, cursor: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]], path: Path) -> None:
        self._cursor = cursor
        self._log = path.with_name(f"{path.name}.wal")
        self._stop = threading.Event()
        with cursor() as asked:
            # A part of a commit that one of DuckDB's own threads has taken waits with it for a processor, which a
            # large query may hold: on two processors each query has the thread that asks, and no other.
            threads = max(1, cast("tuple[int]", asked.execute("SELECT current_setting('threads')").fetchone())[0] - 1)
        self._settings = (f"SET GLOBAL threads = {threads}", *_SETTINGS)
        self._run(*self._settings)
        self._thread = threading.Thread(target=self._work, name="ledger-checkpoints", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Join small groups of rows: of each table as many as take a moment; commits may wait for it."""
        self._run(f"SET GLOBAL max_vacuum_tasks = {_TASKS_OF_A_NIGHT}", "FORCE CHECKPOINT", *self._settings)

    def close(self) -> None:
        """End the thread; a checkpoint that runs is finished."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            if self._waiting_bytes() >= _LOG_BYTES:
                # A store that was opened again after a failed write has none of its settings.
                self._run(*self._settings, "CHECKPOINT")

    def _waiting_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _run(self, *statements: str) -> None:
        try:
            with self._cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
        except (duckdb.Error, StoreError) as error:
            # Others are writing, or the disk is full, which the next commit tells: the log holds all meanwhile.
            log.debug("no checkpoint now", message=" ".join(str(error).split()))


__all__ = ["BESIDE", "Checkpoints"]
