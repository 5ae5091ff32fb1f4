"""The way into an open store: cursors for whoever asks, and the snapshot that a thread may read from."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb
import polars as pl

from ledger._connection import ROOM, connect, explained, fetch, path_of, read_only
from ledger._ddl import FENCE
from ledger._opening import opened


class Access:
    """One connection to a store's database, shared by threads: each call has a cursor of its own."""

    def __init__(self, url: str, memory_limit: str) -> None:
        self.url = url
        self._memory_limit = memory_limit
        self._connection, self.prefix = opened(url, memory_limit)
        self._local = threading.local()

    def close(self) -> None:
        """Give the file back."""
        self._connection.close()

    @contextmanager
    def cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Give a cursor of its own, closed at the end."""
        try:
            cursor = self._connection.cursor()
        except duckdb.Error as error:
            raise explained(self.url, error) from error
        try:
            yield cursor
        finally:
            cursor.close()

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
        if path_of(self.url) is None or not isinstance(error, (duckdb.FatalException, duckdb.InternalException)):
            return
        self._connection.close()
        self._connection = connect(self.url, self._memory_limit)

    def _fetch(
        self, cursor: duckdb.DuckDBPyConnection, query: str, params: Mapping[str, object], room: int = ROOM
    ) -> pl.DataFrame:
        try:
            return fetch(cursor, query, params, room)
        except duckdb.Error as error:
            raise explained(self.url, error) from error
