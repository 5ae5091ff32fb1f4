"""The way into an open store: cursors for whoever asks, and the snapshot that a thread may read from."""

import gc
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import duckdb
import polars as pl

from ledger._connection import ROOM, explained, fetch, fetch_row, path_of, read_only
from ledger._ddl import FENCE
from ledger._opening import opened
from ledger.errors import StoreError

_GIVEN_BACK_SECONDS: Final = 2.0
"""How long a file that was closed may stay open for the rest of an answer that somebody still holds."""

_OPEN_FILES: Final = Path("/proc/self/fd")


class Access:
    """One connection to a store's database, shared by threads: each call has a cursor of its own."""

    def __init__(self, url: str, memory_limit: str) -> None:
        self.url = url
        self._memory_limit = memory_limit
        self._settings: tuple[str, ...] = ()
        # Held while the file is opened: nothing that somebody must do to give a cursor back may need it.
        self._turn = threading.Lock()
        self._is_closed = False
        # None where the file could not be opened again: whoever comes next tries.
        self._connection: duckdb.DuckDBPyConnection | None
        self._connection, self.prefix = opened(url, memory_limit)
        self._file = _identity(url)
        self._local = threading.local()

    def close(self) -> None:
        """Give the file back."""
        with self._turn:
            self._is_closed = True
            if self._connection is not None:
                self._connection.close()

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor of its own, closed at the end."""
        with self._turn:
            connection = self._connected()
            try:
                cursor = connection.cursor()
            except duckdb.Error as error:
                raise explained(self.url, error) from error
        try:
            yield cursor
        finally:
            cursor.close()

    def set(self, statements: Sequence[str]) -> None:
        """Run statements that hold for as long as the file is open, now and whenever it is opened again.

        Raises: StoreError: one failed.
        """
        with self._turn:
            _apply(self.url, self._connected(), statements)
            self._settings = tuple(statements)

    def renew(self) -> bool:
        """Open the file again if nobody has a cursor at this moment, and tell whether: who comes meanwhile waits.

        DuckDB keeps for as long as a file is open where each column of each group of rows lies that was ever written
        or read, about a kilobyte for each.
        Raises: StoreError: the file is no longer there, and stays open; or it could not be opened again, and whoever
        needs a cursor next tries.
        """
        with self._turn:
            if self._is_closed or self._file is None:
                return False
            if self._connection is not None:
                self._require_same()
                try:
                    (cursors,) = fetch_row(self._connection, "SELECT count FROM duckdb_connection_count()")
                except duckdb.Error as error:
                    raise explained(self.url, error) from error
                if cursors != 1:
                    return False
            self._open_again()
            return True

    def rows(self, query: str, params: Mapping[str, object], room: int = ROOM) -> pl.DataFrame:
        """Return a query's rows, of the snapshot that this thread holds or else of now.

        `room` is how many are fetched as one piece.
        Raises: StoreError: it failed.
        """
        held: duckdb.DuckDBPyConnection | None = getattr(self._local, "cursor", None)
        if held is not None:
            return self._fetch(held, query, params, room)
        with self.cursor() as cursor, read_only(cursor):
            return self._fetch(cursor, query, params, room)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all that this thread reads be of one instant, until the block ends."""
        if getattr(self._local, "cursor", None) is not None:
            yield
            return
        with self.cursor() as cursor, read_only(cursor):
            # A snapshot begins with the first read, not with BEGIN.
            self._fetch(cursor, f"SELECT turn_count FROM {self.prefix}{FENCE}", {})
            self._local.cursor = cursor
            try:
                yield
            finally:
                self._local.cursor = None

    def recover(self, error: duckdb.Error) -> None:
        """Open the file again where a failed write has made the database refuse everything."""
        if self._file is None or not isinstance(error, (duckdb.FatalException, duckdb.InternalException)):
            return
        # What failed is told; where the file cannot be opened, the next one tells that.
        with self._turn, suppress(StoreError):
            self._open_again()

    def _connected(self) -> duckdb.DuckDBPyConnection:
        if self._is_closed:
            raise StoreError(f"store {self.url}: is closed, expected to be open")
        return self._connection or self._open_again()

    def _open_again(self) -> duckdb.DuckDBPyConnection:
        patience = 0.0 if self._connection is None else _GIVEN_BACK_SECONDS
        if self._connection is not None:
            self._connection.close()
        self._connection = None
        self._require_same()
        self._require_given_back(patience)
        connection, _ = opened(self.url, self._memory_limit)
        try:
            _apply(self.url, connection, self._settings)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _require_same(self) -> None:
        """Raise if the path names another file than before, or none: one would be made, and rows go there."""
        found = _identity(self.url)
        if found != self._file:
            raise StoreError(
                f"store {self.url}: found {'no file' if found is None else 'another file'} there, "
                "expected the one that was opened",
                hint="put it back under its name, or end this process and start it anew",
            )

    def _require_given_back(self, seconds: float) -> None:
        """Raise if this process still has the file open: DuckDB would wait for that, for as long as it takes."""
        until = time.monotonic() + seconds
        while _is_open_here(self._file):
            if time.monotonic() >= until:
                raise StoreError(
                    f"store {self.url}: found an answer of it that is still held, expected none while it is opened",
                    hint="the next read or write tries again; if this stays, end this process and start it anew",
                )
            # An error that went by may hold one.
            gc.collect()
            time.sleep(0.01)

    def _fetch(
        self, cursor: duckdb.DuckDBPyConnection, query: str, params: Mapping[str, object], room: int = ROOM
    ) -> pl.DataFrame:
        try:
            return fetch(cursor, query, params, room)
        except duckdb.Error as error:
            raise explained(self.url, error) from error


def _identity(url: str) -> tuple[int, int] | None:
    """Return what file an address names, None for one in memory or where there is none."""
    path = path_of(url)
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _is_open_here(file: tuple[int, int] | None) -> bool:
    """Tell whether this process has a file open, as far as the system tells that."""
    with suppress(OSError):
        for each in _OPEN_FILES.iterdir():
            with suppress(OSError):
                found = each.stat()
                if (found.st_dev, found.st_ino) == file:
                    return True
    return False


def _apply(url: str, connection: duckdb.DuckDBPyConnection, statements: Sequence[str]) -> None:
    try:
        for statement in statements:
            connection.execute(statement)
    except duckdb.Error as error:
        raise explained(url, error) from error
