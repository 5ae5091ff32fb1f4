"""The store: all tables in one DuckDB file, written by one thread, read by many.

Only this module and its private parts talk to DuckDB. Writes go through the door (`ledger._door`), each
in one transaction; reads give frames in exactly the types of their table.
"""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

import dataframely as dy
import duckdb
import polars as pl

from ledger import _people_sql
from ledger._access import Access
from ledger._backup import load, write_copy
from ledger._checkpoints import Checkpoints
from ledger._coded import read_coded
from ledger._commit import Commit, Sender
from ledger._connection import explained, path_of
from ledger._ddl import quoted
from ledger._door import Written, admit
from ledger._erasure import erase_user
from ledger._expiry import AT_ONCE, expiring
from ledger._group import Joint, Ready, append_group, joints_of, ready
from ledger._opening import reading
from ledger._order import arranged
from ledger._pieces import Pieces, checked
from ledger._reach import Reach
from ledger._reading import PartitionStateRow, Version, Window, by_table, current_query, rows_of, versions_query
from ledger._replaced import RollupState, extend, replace
from ledger._tails import Tails
from ledger._transactions import Transactions
from ledger.errors import StoreError
from ledger.frames import columns_of
from ledger.tables import TABLES, declared

T = TypeVar("T")

Schema = type[dy.Schema]


def utcnow() -> datetime:
    """Return what time it is."""
    return datetime.now(UTC)


class Store:
    """All tables of the ledger behind one address.

    Threads may share it. A process may hold a file only once; another process is refused with a clear line.
    """

    def __init__(self, url: str, now: Callable[[], datetime], memory_limit: str) -> None:
        self.url = url
        self._now = now
        self._access = Access(url, memory_limit)
        self._transactions = Transactions(self._access, now)
        self._checkpoints: Checkpoints | None = None

    @classmethod
    def open(cls, url: str, *, now: Callable[[], datetime] = utcnow, memory_limit: str = "") -> Self:
        """Open a store, `duckdb:PATH` or `duckdb::memory:`; make it if there is none, migrate it if it is older."""
        return cls(url, now, memory_limit)

    def close(self) -> None:
        """Finish the writes that have begun, and give the file back."""
        self._transactions.close()
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._access.close()

    def checkpoint_beside(self, is_busy: Callable[[], bool] = lambda: False) -> None:
        """Let checkpoints run beside commits from now on, and leave these a processor: a hub takes rows always.

        Where `is_busy` tells that others need the processors, rows that came in small groups are joined later.
        """
        path = path_of(self.url)
        if path is not None and self._checkpoints is None:
            tails = Tails()
            self._transactions.note_in(tails)
            self._checkpoints = Checkpoints(self._access, path, tails, self._now, is_busy)

    def join_groups(self) -> None:
        """Join the small groups of rows that checkpoints beside commits have left; commits may wait for a moment."""
        if self._checkpoints is not None:
            self._checkpoints.join()

    def now(self) -> datetime:
        """Return what time it is, by the clock that the store was opened with."""
        return self._now()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def append(self, schema: Schema, frame: pl.DataFrame, *, source: str) -> Written:
        """Let rows in through the door.

        Of samples and events the first row of a key stays; elsewhere the newest row of a key replaces the older.
        """
        table = declared(schema)
        admitted = admit(table, frame)
        return self._commit(lambda commit: commit.append(table, admitted, source))

    def append_together(
        self, frames: Mapping[Schema, pl.DataFrame], *, source: str, is_mending: bool = False
    ) -> dict[str, Written]:
        """Let the rows of several tables in with one commit: all or nothing.

        With `is_mending` the newest row of a key replaces the older in samples and events too, and what only the
        older one says stays.
        """
        admitted = [(declared(schema), admit(declared(schema), frame)) for schema, frame in frames.items()]
        return self._commit(
            lambda commit: {
                table.name: commit.append(table, ready, source, is_mending=is_mending) for table, ready in admitted
            }
        )

    def append_batch(
        self, frames: Mapping[Schema, pl.DataFrame], *, source: str, batch_id: str, node: str
    ) -> dict[str, Written] | None:
        """Let the rows of several tables in as one: all or nothing, and once. None if the batch was seen before."""
        return self.append_group([Sender(batch_id, node, source)], joints_of(frames))[0]

    def append_group(self, senders: Sequence[Sender], joints: Sequence[Joint]) -> list[dict[str, Written] | None]:
        """Let several batches in with one commit, which costs little more than one of them.

        Each counts once; one that was seen before is None in the answer. All are stored or, with an error, none.
        """
        return self.append_ready(senders, ready(joints))

    def append_ready(self, senders: Sequence[Sender], parts: Sequence[Ready]) -> list[dict[str, Written] | None]:
        """Let in what went through the door already, as `append_group` does."""
        return self._transactions.run(lambda commit: append_group(commit, senders, parts), only_inserts=True)

    def replace(
        self,
        schema: Schema,
        frame: pl.DataFrame,
        *,
        partitions: Sequence[str],
        state: Mapping[str, RollupState] | None = None,
    ) -> list[str]:
        """Put rows in the place of whole partitions; return the keys of those whose rows changed.

        Rows that are equal as a set give no new version. The frame is cast, not filtered: a row that does
        not fit its table, or lies outside the partitions, is an error of who computed it.
        Raises: SealedError: one of the partitions is sealed. ContractError: a row does not fit.
        """
        with self.pieces(schema, partitions) as pieces:
            # Before its turn: what waits for the threads of Polars keeps no other write waiting.
            pieces.add(frame)
            return self.replace_by(pieces, state=state)

    def pieces(self, schema: Schema, partitions: Sequence[str]) -> Pieces:
        """Return an empty collection of rows for `replace_by`; close it when they are stored."""
        return Pieces(declared(schema), partitions)

    def replace_by(self, pieces: Pieces, *, state: Mapping[str, RollupState] | None = None) -> list[str]:
        """Put rows that came in pieces in the place of whole partitions, as `replace` does, with one commit."""
        return self._commit(lambda commit: replace(commit, pieces, state or {}))

    def extend(self, schema: Schema, frame: pl.DataFrame, *, partitions: Sequence[str]) -> None:
        """Put more rows into partitions that `replace` began: of what is never in memory as a whole.

        Nobody looks whether a key is there already: whoever calls has just begun the partitions.
        Raises: ContractError: a row does not fit, or lies outside the partitions.
        """
        table = declared(schema)
        ready = arranged(checked(table, frame, partitions), table.order)
        self._commit(lambda commit: extend(commit, table, ready))

    def seal(self, table_name: str, keys: Sequence[str]) -> None:
        """Close partitions for good: replacing them is refused from now on."""
        self._commit(lambda commit: commit.seal(TABLES[table_name], keys))

    def expire(
        self, schema: Schema, before: datetime, *, at_once: int = AT_ONCE, stop: Callable[[], bool] = lambda: False
    ) -> int:
        """Delete the rows of partitions that end at or before an instant; return how many rows went.

        Whoever calls has sealed what was computed from them. Versions stay: nothing becomes due by it. The oldest go
        first, `at_once` with one commit; what is left by `stop`, or by an end half way, goes the next time.
        """
        table = declared(schema)
        gone = 0
        for stretch in expiring(self._access.rows, self._access.prefix, table, before, at_once):
            if stop():
                break
            gone += self._commit(partial(Commit.expire, table=table, stretch=stretch))
        return gone

    def erase_user(self, user: str, *, replacement: str = "erased") -> dict[str, int]:
        """Write another name in the place of a person's, everywhere; return how many rows changed, by table."""
        return self._commit(lambda commit: erase_user(commit, user, replacement))

    def read(
        self,
        schema: Schema,
        window: Window | None = None,
        *,
        by: str = "",
        columns: Sequence[str] = (),
        where: Mapping[str, Sequence[object]] | None = None,
        ordered: bool = True,
        coded: Sequence[str] = (),
    ) -> pl.DataFrame:
        """Return stored rows in exactly the types of their table, in its order.

        A window is half-open; it cuts by the partition's column, or by the column that `by` names. Of
        intervals it keeps those that overlap it. A table without a time is read whole.
        `ordered=False` saves the sort where the order does not matter; text columns in `coded` come as `pl.Enum`,
        which is faster where few values repeat in millions of rows.
        """
        table = declared(schema)
        names = list(columns) or list(columns_of(schema))
        stored = f"{self._access.prefix}{quoted(table.name)}"
        rows, params = rows_of(table, stored, names, window, by=by, where=where or {})
        order = f" ORDER BY {', '.join(quoted(name) for name in table.order or table.key)}" if ordered else ""
        if coded:
            with self._access.snapshot():
                frame = read_coded(
                    lambda query, room: self._access.rows(query, params, room), rows, order, names, coded
                )
        else:
            frame = self._access.rows(f"SELECT {', '.join(map(quoted, names))}{rows}{order}", params)
        return frame.select(
            pl.col(name) if name in coded else pl.col(name).cast(columns_of(schema)[name].dtype) for name in names
        )

    def counts(self, schema: Schema, window: Window, column: str) -> pl.DataFrame:
        """Return how many rows of a window each value of a column has, in the order of the values: `row_count`."""
        table = declared(schema)
        rows, params = rows_of(table, f"{self._access.prefix}{quoted(table.name)}", (column,), window, by="", where={})
        return self._access.rows(
            f"SELECT {quoted(column)}, count(*) AS row_count{rows} GROUP BY ALL ORDER BY 1", params
        )

    def select(self, sql: str, **params: object) -> pl.DataFrame:
        """Return the rows of our own SQL text, which names its parameters as $name."""
        return self._access.rows(sql, params)

    def people_sql(self, sql: str, *, limit: int = 10_000, timeout_seconds: float = 30) -> pl.DataFrame:
        """Return the rows of one SELECT that a person wrote.

        Raises: InputError: it is anything else, it fails, takes longer, or has more rows.
        """
        with self._access.reading() as cursor:
            return _people_sql.run(cursor, sql, limit=limit, timeout_seconds=timeout_seconds)

    def transaction(self) -> AbstractContextManager[None]:
        """Let all reads of this thread see one snapshot, until the block ends."""
        return self._access.snapshot()

    def versions(self, table_name: str, since_key: str | None = None) -> dict[str, PartitionStateRow]:
        """Return what is known of a table's partitions, their edges and its other groupings, from one key on."""
        query, params = versions_query(self._access.prefix, table_name, since_key)
        rows = self._access.rows(query, params)
        return {row[0]: PartitionStateRow(*row) for row in rows.rows()}

    def current(self, table_name: str | None = None) -> dict[str, dict[str, Version]]:
        """Return the version of each partition, by table and key, of one table or of all with one read."""
        return by_table(self._access.rows(*current_query(self._access.prefix, table_name)).rows())

    def backup(self, path: Path) -> None:
        """Write a copy of the whole store, as it is at one instant, into a new file that opens as a store."""
        with self._access.reading() as cursor:
            try:
                write_copy(cursor, self._access.prefix, Path(path))
            except duckdb.Error as error:
                raise explained(f"backup {path}", error) from error

    def load(self, path: Path) -> None:
        """Put the rows of a backup in the place of all rows, all or nothing; the store stays open.

        Raises: StoreError: the file is missing, no store, or newer than this program.
        """
        path = Path(path)
        if not path.is_file():
            raise StoreError(f"restore {path}: found no file, expected a backup", hint="check the path")
        scratch = path_of(self.url) or Path(tempfile.gettempdir()) / "store"
        with reading(path, scratch.parent) as (source, prefix), source.cursor() as cursor:
            self._commit(lambda commit: load(commit, cursor, prefix))

    @classmethod
    def restore(cls, url: str, path: Path) -> None:
        """Put a backup in the place of a store that nobody holds; a running hub uses `load`."""
        with cls.open(url) as store:
            store.load(path)

    def _commit(self, work: Callable[[Commit], T]) -> T:
        """Run a closure as one transaction."""
        return self._transactions.run(work)


__all__ = [
    "Joint",
    "PartitionStateRow",
    "Pieces",
    "Reach",
    "Ready",
    "RollupState",
    "Sender",
    "Store",
    "Version",
    "Written",
    "ready",
    "utcnow",
]
