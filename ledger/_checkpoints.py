"""Checkpoints beside those who commit: a hub's agents wait for none.

A commit that finds much in the log would write it into the file itself, with all that come meanwhile waiting for it;
and joining small groups of rows, which a checkpoint does by default, takes seconds of wide tables. Beside commits the
log is written often, while it is small, and nothing is joined; rows of the small groups that this makes are written
again later (`ledger._compaction`), and `join` joins what is left at a quiet hour. Queries leave one processor to them.
Who changes rows waits for it; who only inserts, as agents do, goes on (`ledger._turns`).
Every ten minutes the file is opened again, for which all who come wait: the memory that DuckDB keeps for an open file
grows with the rows that came.
"""

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, cast

import duckdb
import polars as pl

from ledger._access import Access, is_fatal
from ledger._compaction import compact
from ledger._tails import Stretch, Tails
from ledger._turns import hold
from ledger.errors import StoreError
from ledger.log import log

_LOG_BYTES: Final = 12_000_000
"""What is written while commits wait: a fifth of a second on a slow machine."""

# Where no checkpoint gets a turn, a commit makes one after all.
_SETTINGS: Final = ("SET GLOBAL wal_autocheckpoint = '1GB'", "SET GLOBAL max_vacuum_tasks = 0")
# How a small group is best compressed takes longer to find out than to write it, while commits wait; what is written
# again in whole groups is compressed.
_AS_IT_IS: Final = "SET GLOBAL force_compression = 'uncompressed'"
_COMPRESSED: Final = "SET GLOBAL force_compression = 'auto'"
_BLOCK_BYTES: Final = 2**18
"""What a column's newest rows take in memory, however few they are, until they are written into the file."""

_BYTES_OF: Final = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
"""The units in which DuckDB tells a limit that needs more room; what it tells in larger ones has enough."""

_EVERY_SECONDS: Final = 1.0
_TURN_SECONDS: Final = 1.0
"""So long a checkpoint waits among those who change rows, one after the other."""

_AGAIN_SECONDS: Final = 0.05
"""How soon it is tried again where a commit was in its way: the log grows meanwhile, and with it who waits."""

_PATIENCE: Final = timedelta(minutes=10)
"""So long rows that could be written again wait for others who need the processors."""

_COUNTED_AFTER: Final = 20
"""After so many checkpoints beside others it is looked for groups of which no row is left: a minute of many agents."""

_TASKS_OF_A_NIGHT: Final = 10

_REST_SECONDS: Final = 10.0
"""So long nothing is tried after a failure that had to be mended: it would be the same."""

_FAILURES: Final = (duckdb.Error, pl.exceptions.PolarsError, StoreError, MemoryError, OSError, RuntimeError)

_RENEWED_SECONDS: Final = 600.0
"""Ten minutes of 20,000 GPUs add 8 MB to what DuckDB keeps, and 100 MB of room between it that is not given back."""


class Checkpoints:
    """Writes the log of one store into its file whenever it has grown, in a thread of its own."""

    def __init__(
        self,
        access: Access,
        path: Path,
        tails: Tails,
        now: Callable[[], datetime],
        is_busy: Callable[[], bool],
    ) -> None:
        self._access = access
        self._log = path.with_name(f"{path.name}.wal")
        self._tails = tails
        self._now = now
        self._is_busy = is_busy
        self._due_since: datetime | None = None
        self._renewed = time.monotonic()
        self._rests_until = 0.0
        self._has_empty_groups = False
        self._beside_count = 0
        self._tried_until = 0.0
        self._stop = threading.Event()
        self._turn = threading.Lock()
        with access.cursor() as asked:
            # A part of a commit that one of DuckDB's own threads has taken waits with it for a processor, which a
            # large query may hold: on two processors each query has the thread that asks, and no other.
            threads = max(1, cast("tuple[int]", asked.execute("SELECT current_setting('threads')").fetchone())[0] - 1)
            room = _room(asked) if access.is_limited else ()
        self._settings = (f"SET GLOBAL threads = {threads}", *room, *_SETTINGS)
        access.set(self._settings)
        self._thread = threading.Thread(target=self._work, name="ledger-checkpoints", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Join small groups of rows: of each table as many as take a moment; commits may wait for it."""
        with self._turn:
            try:
                self._run(f"SET GLOBAL max_vacuum_tasks = {_TASKS_OF_A_NIGHT}", "FORCE CHECKPOINT")
            finally:
                self._run(*self._settings)

    def close(self) -> None:
        """End the thread; a checkpoint that runs is finished."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        pause = _EVERY_SECONDS
        while not self._stop.wait(pause):
            try:
                is_done = self._turned()
            except _FAILURES:
                # The log of a store without this thread grows until it is closed.
                log.exception("checkpoints failed, and go on")
                is_done = True
            pause = _EVERY_SECONDS if is_done else min(_AGAIN_SECONDS, _EVERY_SECONDS)

    def _turned(self) -> bool:
        """Do what is due next; return False if it should be tried again soon."""
        if time.monotonic() < self._rests_until:
            return True
        waiting = self._waiting_bytes()
        if self._has_empty_groups and waiting < _LOG_BYTES // 4:
            if waiting and self._drop_empty():
                return True
            if time.monotonic() < self._tried_until:
                return False
        if waiting >= _LOG_BYTES:
            # The log is small right after that, and who comes while it is written again waits little.
            return self._write_log() and not self._has_empty_groups
        if time.monotonic() - self._renewed >= _RENEWED_SECONDS and self._renew():
            return True
        if (stretch := self._tails.due(self._now())) is not None and self._has_time():
            self._write_again(stretch)
        return True

    def _renew(self) -> bool:
        """Open the file again, and tell whether that is over."""
        # What is in the log is written while the file is closed, with everybody waiting.
        if self._waiting_bytes() >= _LOG_BYTES // 4 and not self._write_log():
            return False
        is_done = True
        try:
            is_done = self._access.renew()
            self._has_empty_groups &= not is_done
        except StoreError as error:
            log.warning("store not opened again", message=error.message, hint=error.hint)
        finally:
            if is_done:
                self._renewed = time.monotonic()
        return is_done

    def _write_log(self) -> bool:
        """Write the log into the file; where others are busy, those who only insert go on meanwhile."""
        if not self._is_busy():
            return self._checkpointed(self._alone)
        if not self._access.changing.acquire(timeout=_TURN_SECONDS):
            return False
        try:
            is_written = self._checkpointed(self._beside)
        finally:
            self._access.changing.release()
        self._beside_count += is_written
        if self._beside_count >= _COUNTED_AFTER:
            # What was counted of `partition_change` leaves empty groups, as rows do that were written again.
            self._has_empty_groups, self._beside_count = True, 0
        self._tried_until = time.monotonic() + _EVERY_SECONDS
        return is_written

    def _drop_empty(self) -> bool:
        """Write the log where nobody reads or writes: only that drops groups of which no row is left."""
        if not self._access.is_alone() or not self._checkpointed(self._alone):
            return False
        self._has_empty_groups = False
        return True

    def _checkpointed(self, checkpoint: Callable[[], None]) -> bool:
        with self._turn:
            try:
                is_written = self._run(_AS_IT_IS) and self._tried(checkpoint)
            finally:
                self._run(_COMPRESSED)
        if is_written:
            self._tails.note_checkpoint(self._now())
        return is_written

    def _alone(self) -> None:
        self._execute("CHECKPOINT")

    def _beside(self) -> None:
        with self._access.cursor() as cursor, self._access.cursor() as holding:
            # The transaction ends with its cursor.
            hold(holding, self._access.prefix)
            cursor.execute("CHECKPOINT")

    def _has_time(self) -> bool:
        """Tell whether rows may be written again now; where others are always busy, that is done in the end too."""
        now = self._now()
        self._due_since = self._due_since or now
        if self._is_busy() and now - self._due_since < _PATIENCE:
            return False
        self._due_since = None
        return True

    def _write_again(self, stretch: Stretch) -> None:
        try:
            with self._access.cursor() as cursor:
                rows = compact(cursor, self._access.prefix, stretch)
        except (duckdb.Error, StoreError) as error:
            # Somebody has changed the same rows, or the disk is full: the rows are as they were.
            self._tails.put_off(stretch, self._now())
            log.debug("rows not written again now", table_name=stretch.table.name, message=_in_a_line(error))
            self._mend(error)
            return
        self._tails.written(stretch, rows)
        self._has_empty_groups = True

    def _waiting_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0

    def _run(self, *statements: str) -> bool:
        return self._tried(lambda: self._execute(*statements))

    def _execute(self, *statements: str) -> None:
        with self._access.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def _tried(self, work: Callable[[], None]) -> bool:
        """Do what talks to the database, and tell whether that was possible."""
        try:
            work()
        except (duckdb.Error, StoreError) as error:
            # Others are writing, or the disk is full, which the next commit tells: the log holds all meanwhile.
            log.debug("no checkpoint now", message=_in_a_line(error))
            self._mend(error)
            return False
        return True

    def _mend(self, error: Exception) -> None:
        """Let others read on after a failure after which the database refuses everything, such as of a full disk."""
        if is_fatal(error):
            self._rests_until = time.monotonic() + _REST_SECONDS
            self._access.recover(error)


def _room(cursor: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """Return what lets a store hold the newest rows of all its tables beside what it may hold for those who read.

    Where agents fill many tables they would take most of the limit: what is read is fetched from the file again and
    again then, commits wait for it, and in the end they are refused.
    """
    query = "SELECT current_setting('memory_limit'), (SELECT count(*) FROM duckdb_columns() WHERE NOT internal)"
    ((limit, columns),) = cast("list[tuple[str, int]]", cursor.execute(query).fetchall())
    number, unit = limit.split()
    if unit not in _BYTES_OF:
        return ()
    whole = round(float(number) * _BYTES_OF[unit]) + columns * _BLOCK_BYTES
    return (f"SET GLOBAL memory_limit = '{whole}B'",)


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())


__all__ = ["Checkpoints"]
