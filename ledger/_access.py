"""The way into an open store: cursors for whoever asks, and the snapshot that a thread may read from."""

import gc
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from weakref import WeakSet, WeakValueDictionary

import duckdb
import polars as pl

from ledger._connection import ROOM, explained, fetch, fetch_row, path_of
from ledger._ddl import FENCE
from ledger._opening import opened, opened_again, version_of
from ledger.errors import StoreError

_GIVEN_BACK_SECONDS: Final = 2.0
"""How long a file that was closed may stay open for the rest of an answer that somebody still holds."""

_OPEN_FILES: Final = Path("/dev/fd")

_READ_ONLY: Final = "BEGIN TRANSACTION READ ONLY"

_FATAL: Final = (duckdb.FatalException, duckdb.InternalException)


class Access:
    """One connection to a store's database, shared by threads: each call has a cursor of its own.

    `writing` is held by each transaction that writes, `changing` by those that may change rows, and by a checkpoint
    that lets all others go on.
    """

    def __init__(self, url: str, memory_limit: str) -> None:
        self.url = url
        self._memory_limit = memory_limit
        self._settings: tuple[str, ...] = ()
        # Held while the file is opened: nothing that somebody must do to give a cursor back may need it.
        self._turn = threading.Lock()
        self._is_closed = False
        # None while it is opened again, and where that was not possible: whoever comes next tries.
        self._connection: duckdb.DuckDBPyConnection | None
        self._connection, self.prefix = opened(url, memory_limit)
        self._version = version_of(self._connection, url)
        self._file = _identity(url)
        self.writing = _writing(self._file)
        self.changing = threading.Lock()
        self._local = threading.local()
        with _REGISTER:
            _HOLDERS.add(self)

    def close(self) -> None:
        """Give the file back."""
        with self._turn:
            self._is_closed = True
            self._close()

    def holds(self, file: tuple[int, int] | None) -> bool:
        """Tell whether a file, by its device and its number there, is this one, and open."""
        return self._file == file and self._connection is not None

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

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor of its own that reads one snapshot and changes nothing."""
        with self.cursor() as cursor:
            _apply(self.url, cursor, [_READ_ONLY])
            # The transaction ends with the cursor.
            yield cursor

    @property
    def is_limited(self) -> bool:
        """Tell whether somebody said what the database may hold in memory."""
        return bool(self._memory_limit)

    def set(self, statements: Sequence[str]) -> None:
        """Run statements that hold for as long as the file is open, now and whenever it is opened again.

        Raises: StoreError: one failed.
        """
        with self._turn:
            _apply(self.url, self._connected(), statements)
            self._settings = tuple(statements)

    def is_alone(self) -> bool:
        """Tell whether nobody has a cursor at this moment; False where that cannot be asked."""
        try:
            with self._turn:
                return _is_alone(self._connected())
        except StoreError:
            return False
        except duckdb.Error as error:
            self.recover(error)
            return False

    def renew(self) -> bool:
        """Open the file again if nobody has a cursor at this moment, and tell whether: who comes meanwhile waits.

        DuckDB keeps for as long as a file is open where each column of each group of rows lies that was ever written
        or read, about a kilobyte for each.
        Raises: StoreError: the path names another file, or none, and the one of before stays open; or it could not be
        opened again, and whoever needs a cursor next tries.
        """
        try:
            with self._turn:
                return self._renew()
        except _FATAL as error:
            self.recover(error)
            return True
        except duckdb.Error as error:
            raise explained(self.url, error) from error

    def _renew(self) -> bool:
        if self._is_closed or self._file is None:
            return False
        if self._connection is not None:
            self._require_same()
            if not _is_alone(self._connection):
                return False
            self._close()
            self._require_given_back(_GIVEN_BACK_SECONDS)
        self._connected()
        return True

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def rows(self, query: str, params: Mapping[str, object], room: int = ROOM) -> pl.DataFrame:
        """Return a query's rows, of the snapshot that this thread holds or else of now.

        `room` is how many are fetched as one piece.
        Raises: StoreError: it failed.
        """
        held: duckdb.DuckDBPyConnection | None = getattr(self._local, "cursor", None)
        if held is not None:
            return self._fetch(held, query, params, room)
        with self.reading() as cursor:
            return self._fetch(cursor, query, params, room)

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all that this thread reads be of one instant, until the block ends."""
        if getattr(self._local, "cursor", None) is not None:
            yield
            return
        with self.reading() as cursor:
            # A snapshot begins with the first read, not with BEGIN.
            self._fetch(cursor, f"SELECT turn_count FROM {self.prefix}{FENCE}", {})
            self._local.cursor = cursor
            try:
                yield
            finally:
                self._local.cursor = None

    def recover(self, error: Exception) -> None:
        """Open the file again where a failed write has made the database refuse everything."""
        if self._file is None or not is_fatal(error):
            return
        with self._turn:
            broken, self._connection = self._connection, None
        if broken is not None:
            # This waits for what others read: who comes meanwhile is told so.
            broken.close()
        # What failed is told; where the file cannot be opened, the next one tells that.
        with self._turn, suppress(StoreError):
            self._connected()

    def _connected(self) -> duckdb.DuckDBPyConnection:
        if self._is_closed:
            raise StoreError(f"store {self.url}: is closed, expected to be open")
        if self._connection is None:
            self._connection = self._opened_again()
        return self._connection

    def _opened_again(self) -> duckdb.DuckDBPyConnection:
        self._require_same()
        self._require_given_back()
        connection = opened_again(self.url, self._memory_limit, self._version)
        try:
            self._require_same()
            _apply(self.url, connection, self._settings)
        except BaseException:
            connection.close()
            raise
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

    def _require_given_back(self, seconds: float = 0.0) -> None:
        """Raise if this process still has the file open: DuckDB would wait for that, for as long as it takes.

        What another store of this process has open is shared with it, also where it refuses everything.
        """
        with _REGISTER:
            if any(each is not self and each.holds(self._file) for each in _HOLDERS):
                return
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


def is_fatal(error: Exception) -> bool:
    """Tell whether the database refuses everything after an error, until it is opened again."""
    return isinstance(error, _FATAL)


def _identity(url: str) -> tuple[int, int] | None:
    """Return what file an address names, None for one in memory or where there is none."""
    path = path_of(url)
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_dev, found.st_ino)


def _writing(file: tuple[int, int] | None) -> threading.Lock:
    """Return what is held while a store writes: two that only insert would not see each other's rows."""
    if file is None:
        return threading.Lock()
    with _REGISTER:
        return _WRITING.setdefault(file, threading.Lock())


def _is_open_here(file: tuple[int, int] | None) -> bool:
    """Tell whether this process has a file open; where the system does not tell that, it is taken for given back."""
    with suppress(OSError):
        for each in _OPEN_FILES.iterdir():
            with suppress(OSError, ValueError):
                found = os.fstat(int(each.name))
                if (found.st_dev, found.st_ino) == file:
                    return True
    return False


def _is_alone(connection: duckdb.DuckDBPyConnection) -> bool:
    """Tell whether nobody else has a cursor."""
    with connection.cursor() as cursor:
        # In a transaction that may write this would wait for a checkpoint that waits for others.
        cursor.execute(_READ_ONLY)
        (found,) = fetch_row(cursor, "SELECT count FROM duckdb_connection_count()")
    return found == _ALONE


def _apply(url: str, connection: duckdb.DuckDBPyConnection, statements: Sequence[str]) -> None:
    try:
        for statement in statements:
            connection.execute(statement)
    except duckdb.Error as error:
        raise explained(url, error) from error


_ALONE: Final = 2
"""The connection that all cursors come from, and the one that asks."""

_HOLDERS: Final[WeakSet[Access]] = WeakSet()
"""All of this process."""

_REGISTER: Final = threading.Lock()

_WRITING: Final[WeakValueDictionary[tuple[int, int], threading.Lock]] = WeakValueDictionary()
"""By file: stores of this process on the same one write one after the other."""
