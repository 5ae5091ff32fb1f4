"""Rows that came in handfuls, written again in order and in large groups: no commit waits for it.

A group of a few thousand rows is compressed badly, read by itself, and takes a fifth of a megabyte of memory for as
long as the store is open. What was written again goes out and in within one transaction of its own, beside commits: a
reader sees the rows once, as they were, before and after. A checkpoint drops the groups that are empty then.
"""

from typing import Final

import duckdb

from ledger._commit import same_key
from ledger._connection import ROW_GROUP
from ledger._ddl import quoted
from ledger._tails import Stretch
from ledger.errors import StoreError

_MOST_ROWS: Final = 8 * ROW_GROUP
"""A stretch of more is not one that came in handfuls: something brought the rows of days at once."""


def compact(cursor: duckdb.DuckDBPyConnection, prefix: str, stretch: Stretch) -> int:
    """Write the rows of a stretch again, in their table's order; return how many.

    Raises: duckdb.TransactionException: somebody else has changed one of them meanwhile; nothing was done.
    """
    rows = _Rows(cursor, prefix, stretch)
    cursor.execute("BEGIN TRANSACTION")
    try:
        count = rows.count()
        if 0 < count <= _MOST_ROWS:
            rows.write_again(count)
        cursor.execute("COMMIT")
    except BaseException:
        # A commit that failed has ended the transaction itself.
        _end(cursor)
        raise
    return count


def _end(cursor: duckdb.DuckDBPyConnection) -> None:
    try:
        cursor.execute("ROLLBACK")
    except duckdb.Error:
        return


_FIRST_OWN_ROW: Final = 36_028_797_018_960_000
"""Where DuckDB begins to number the rows that a transaction has put in, until it commits."""


class _Rows:
    """The rows of a stretch, by two conditions: of its time, and of the keys that came late."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, prefix: str, stretch: Stretch) -> None:
        self._cursor = cursor
        self._table = stretch.table
        self._target = f"{prefix}{quoted(stretch.table.name)}"
        self._instant = f"s.{quoted(stretch.column)}"
        self._start, self._end = stretch.start, stretch.end
        self._late = stretch.late
        if self._late is not None:
            self._first = self._late[stretch.column].min()
            cursor.register("late", self._late.to_arrow())

    def _sources(self) -> list[tuple[str, list[object]]]:
        """Return what follows FROM for each condition, with its parameters."""
        found: list[tuple[str, list[object]]] = [
            (f"{self._target} s WHERE {self._instant} >= ? AND {self._instant} < ?", [self._start, self._end])
        ]
        if self._late is not None:
            where = f"WHERE {self._instant} >= ? AND {self._instant} < ?"
            joined = f"{self._target} s SEMI JOIN late i ON {same_key(self._table)} {where}"
            found.append((joined, [self._first, self._start]))
        return found

    def count(self) -> int:
        """Return how many rows there are."""
        query = " UNION ALL ".join(f"SELECT count(*) AS n FROM {source}" for source, _ in self._sources())
        params = [each for _, params in self._sources() for each in params]
        (count,) = self._cursor.execute(f"SELECT sum(n)::BIGINT FROM ({query})", params).fetchone() or (0,)
        return int(count)

    def write_again(self, count: int) -> None:
        """Put the rows in once more, and take out what was there."""
        sources = self._sources()
        query = " UNION ALL ".join(f"SELECT s.* FROM {source}" for source, _ in sources)
        order = ", ".join(quoted(name) for name in self._table.order or self._table.key)
        params = [each for _, params in sources for each in params]
        # Not by way of Arrow: what many large columns leave between small ones in memory is not given back.
        inserted = _changed(
            self._cursor, f"INSERT INTO {self._target} SELECT * FROM ({query}) ORDER BY {order}", params
        )
        deleted = self._delete_stored()
        if not count == inserted == deleted:
            raise StoreError(
                f"{self._table.name}: found {count} rows to write again, put in {inserted} and took out {deleted}, "
                "expected the same ones; nothing was changed",
                hint="the rows are as they were; please report this with the version of DuckDB",
            )

    def _delete_stored(self) -> int:
        """Delete the rows, but for those that this transaction has put in."""
        (source, params), *late = self._sources()
        stored = f"s.rowid < {_FIRST_OWN_ROW}"
        deleted = _changed(self._cursor, f"DELETE FROM {source} AND {stored}", params)
        if late:
            edges = f"{self._instant} >= ? AND {self._instant} < ?"
            query = f"DELETE FROM {self._target} s USING late i WHERE {edges} AND {stored} AND {same_key(self._table)}"
            deleted += _changed(self._cursor, query, late[0][1])
        return deleted


def _changed(cursor: duckdb.DuckDBPyConnection, query: str, params: list[object]) -> int:
    row = cursor.execute(query, params).fetchone()
    return int(row[0]) if row else 0


__all__ = ["compact"]
