"""The store: all tables in one DuckDB file, written by one thread, read by many.

Only this module and its private parts talk to DuckDB. Writes go through the door (`ledger._door`), each
in one transaction; reads give frames in exactly the types of their table.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self, TypeVar

import dataframely as dy
import duckdb
import polars as pl

from ledger import _people_sql
from ledger._backup import load, write_copy
from ledger._checkpoints import Checkpoints
from ledger._coded import read_coded
from ledger._commit import Commit, Sender
from ledger._connection import connect, explained, fetch, fetch_row, path_of, read_only
from ledger._ddl import FENCE, quoted
from ledger._door import Written, admit
from ledger._erasure import erase_user
from ledger._group import Joint, append_group, joints_of, ready
from ledger._latest import Latest
from ledger._opening import opened, reading
from ledger._order import arranged
from ledger._reading import PartitionStateRow, Version, Window, by_table, current_query, rows_of, versions_query
from ledger._replaced import RollupState, checked, extend, replace
from ledger._writer import Writer
from ledger.errors import StoreError
from ledger.frames import columns_of
from ledger.tables import TABLES, declared
from ledger.tables.partition import Timed, floor

T = TypeVar("T")

Schema = type[dy.Schema]

# A conflict means that somebody else committed meanwhile: soon again, then with patience.
_PAUSES_SECONDS: Final = (0.001, 0.002, 0.01, 0.05, 0.1, 0.2, 0.5, 1.0)


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
        self._memory_limit = memory_limit
        self._connection, self._prefix = opened(url, memory_limit)
        self._local = threading.local()
        self._latest = Latest()
        self._writer = Writer(url)
        self._checkpoints: Checkpoints | None = None

    @classmethod
    def open(cls, url: str, *, now: Callable[[], datetime] = utcnow, memory_limit: str = "") -> Self:
        """Open a store, `duckdb:PATH` or `duckdb::memory:`; make it if there is none, migrate it if it is older."""
        return cls(url, now, memory_limit)

    def close(self) -> None:
        """Finish the writes that were submitted, and give the file back."""
        self._writer.close()
        if self._checkpoints is not None:
            self._checkpoints.close()
        self._connection.close()

    def checkpoint_beside(self) -> None:
        """Let checkpoints run beside commits from now on, as a store needs that takes rows all the time."""
        path = path_of(self.url)
        if path is not None and self._checkpoints is None:
            self._checkpoints = Checkpoints(self._cursor, path)

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

    def append_together(self, frames: Mapping[Schema, pl.DataFrame], *, source: str) -> dict[str, Written]:
        """Let the rows of several tables in with one commit: all or nothing."""
        admitted = [(declared(schema), admit(declared(schema), frame)) for schema, frame in frames.items()]
        return self._commit(
            lambda commit: {table.name: commit.append(table, ready, source) for table, ready in admitted}
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
        parts = ready(joints)
        return self._commit(lambda commit: append_group(commit, senders, parts))

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
        table = declared(schema)
        ready = arranged(checked(table, frame, partitions), table.order)
        return self._commit(lambda commit: replace(commit, table, ready, partitions, state or {}))

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

    def expire(self, schema: Schema, before: datetime) -> int:
        """Delete the rows of partitions that end at or before an instant; return how many rows went.

        Whoever calls has sealed what was computed from them. Versions stay: nothing becomes due by it.
        """
        table = declared(schema)
        if isinstance(table.partition, Timed):
            before = floor(before, table.partition.every)
        return self._commit(lambda commit: commit.expire(table, before))

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
        rows, params = rows_of(table, f"{self._prefix}{quoted(table.name)}", names, window, by=by, where=where or {})
        order = f" ORDER BY {', '.join(quoted(name) for name in table.order or table.key)}" if ordered else ""
        with self._reading() as cursor:
            if coded:
                frame = read_coded(lambda query: self._fetch(cursor, query, params), rows, order, names, coded)
            else:
                frame = self._fetch(cursor, f"SELECT {', '.join(map(quoted, names))}{rows}{order}", params)
        return frame.select(
            pl.col(name) if name in coded else pl.col(name).cast(columns_of(schema)[name].dtype) for name in names
        )

    def select(self, sql: str, **params: object) -> pl.DataFrame:
        """Return the rows of our own SQL text, which names its parameters as $name."""
        with self._reading() as cursor:
            return self._fetch(cursor, sql, params)

    def people_sql(self, sql: str, *, limit: int = 10_000, timeout_seconds: float = 30) -> pl.DataFrame:
        """Return the rows of one SELECT that a person wrote.

        Raises: InputError: it is anything else, it fails, takes longer, or has more rows.
        """
        with self._cursor() as cursor, read_only(cursor):
            return _people_sql.run(cursor, sql, limit=limit, timeout_seconds=timeout_seconds)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Let all reads of this thread see one snapshot, until the block ends."""
        if getattr(self._local, "cursor", None) is not None:
            yield
            return
        with self._cursor() as cursor, read_only(cursor):
            # A snapshot begins with the first read, not with BEGIN.
            self._fetch(cursor, f"SELECT turn_count FROM {self._prefix}{FENCE}", {})
            self._local.cursor = cursor
            try:
                yield
            finally:
                self._local.cursor = None

    def versions(self, table_name: str, since_key: str | None = None) -> dict[str, PartitionStateRow]:
        """Return what is known of a table's partitions, and of its other groupings, from one key on."""
        query, params = versions_query(f"{self._prefix}partition_state", table_name, since_key)
        with self._reading() as cursor:
            rows = self._fetch(cursor, query, params)
        return {row[0]: PartitionStateRow(*row) for row in rows.rows()}

    def current(self, table_name: str | None = None) -> dict[str, dict[str, Version]]:
        """Return the version of each partition, by table and key, of one table or of all with one read."""
        with self._reading() as cursor:
            return by_table(self._fetch(cursor, *current_query(f"{self._prefix}partition_state", table_name)).rows())

    def backup(self, path: Path) -> None:
        """Write a copy of the whole store, as it is at one instant, into a new file that opens as a store."""
        with self._cursor() as cursor, read_only(cursor):
            try:
                write_copy(cursor, self._prefix, Path(path))
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

    def _fetch(self, cursor: duckdb.DuckDBPyConnection, query: str, params: Mapping[str, object]) -> pl.DataFrame:
        try:
            return fetch(cursor, query, params)
        except duckdb.Error as error:
            raise explained(self.url, error) from error

    @contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        try:
            cursor = self._connection.cursor()
        except duckdb.Error as error:
            raise explained(self.url, error) from error
        try:
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        held: duckdb.DuckDBPyConnection | None = getattr(self._local, "cursor", None)
        if held is not None:
            yield held
            return
        with self._cursor() as cursor, read_only(cursor):
            yield cursor

    def _commit(self, work: Callable[[Commit], T]) -> T:
        """Run a closure in the writer thread as one transaction; it is repeated whole on a conflict."""
        return self._writer.run(lambda: self._attempts(work))

    def _attempts(self, work: Callable[[Commit], T]) -> T:
        for pause in (*_PAUSES_SECONDS, None):
            try:
                return self._attempt(work)
            except duckdb.Error as error:
                is_conflict = isinstance(error, duckdb.TransactionException) and "onflict" in str(error)
                if not is_conflict or pause is None:
                    self._recover(error)
                    raise explained(self.url, error) from error
                time.sleep(pause)
        raise AssertionError  # the last attempt returned or raised

    def _attempt(self, work: Callable[[Commit], T]) -> T:
        with self._cursor() as cursor:
            cursor.execute("BEGIN TRANSACTION")
            # Without this row two writers of one empty partition would both commit.
            cursor.execute(f"UPDATE {self._prefix}{FENCE} SET turn_count = turn_count + 1")
            (turn,) = fetch_row(cursor, f"SELECT turn_count FROM {self._prefix}{FENCE}")
            self._latest.begin(int(str(turn)))
            commit = Commit(cursor, self._prefix, self._now(), self._latest)
            result = work(commit)
            commit.finish()
            cursor.execute("COMMIT")
            self._latest.commit(int(str(turn)), commit.added, commit.rewritten, commit.recorded)
            return result

    def _recover(self, error: duckdb.Error) -> None:
        """Open the file again where a failed write has made the database refuse everything."""
        if path_of(self.url) is None or not isinstance(error, (duckdb.FatalException, duckdb.InternalException)):
            return
        self._connection.close()
        self._connection = connect(self.url, self._memory_limit)


__all__ = ["Joint", "PartitionStateRow", "RollupState", "Sender", "Store", "Version", "Written", "utcnow"]
