"""The way to DuckDB: how a store's file is opened, and what its errors mean to a person."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa

from ledger.errors import ConfigError, StoreError

_BESIDE: Final = ("force_compression", "max_vacuum_tasks", "threads", "wal_autocheckpoint", "memory_limit")
"""Settings that change while a store is open, where checkpoints run beside commits."""

_SCHEME: Final = "duckdb:"
_MEMORY: Final = ":memory:"

# Nothing that a query says may reach files, other sites, or a variable of this process.
_CLOSED: Final = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "allow_community_extensions": "false",
    "python_enable_replacements": "false",
}

ROW_GROUP: Final = 122_880
"""Rows of a whole group, as DuckDB stores them."""

_SMALL: Final = 20_000
"""Rows that DuckDB takes as a stream: the two milliseconds that a table costs otherwise, however small, are theirs."""

ROOM: Final = 1_000_000
"""Rows of one piece of an answer, as DuckDB has it."""

_FEW: Final = 131_072
"""Rows that are copied out of the room that DuckDB makes for a million of them, in each column of each answer: a few
hundred answers that somebody keeps would take up more address space than there is memory, and no process so large can
start another. One column, or one text of it, holds the room of all.
"""

_FULL: Final = re.compile(r"no space left|file too large|disk quota|could not write all|disk is full", re.IGNORECASE)
_DAMAGED: Final = re.compile(
    # The last is what DuckDB says of a CSV file that it shall open as a database.
    "not a valid DuckDB database|could not read enough bytes|corrupt|checksum|cannot launch in-memory database",
    re.IGNORECASE,
)
_HOLDER: Final = re.compile(r"\(PID (\d+)\)")


def path_of(url: str) -> Path | None:
    """Return the file that a store's address names, or None for one in memory."""
    if not url.startswith(_SCHEME) or url == _SCHEME:
        raise ConfigError(
            f"store {url!r}: found no known kind, expected duckdb:PATH",
            hint='set store.url = "duckdb:clusterledger.duckdb"',
        )
    rest = url.removeprefix(_SCHEME)
    return None if rest == _MEMORY else Path(rest)


def connect(url: str, memory_limit: str = "", *, for_reading: bool = False) -> duckdb.DuckDBPyConnection:
    """Open a store's database, closed to everything outside it, with UTC as its time zone.

    Raises: StoreError: the file is held by another process, is no store, or cannot be read.
    """
    path = path_of(url)
    config: dict[str, str | bool | int | float | list[str]] = {**_CLOSED}
    if memory_limit:
        config["memory_limit"] = memory_limit
    try:
        connection = duckdb.connect(_MEMORY if path is None else str(path), config=config, read_only=for_reading)
    except duckdb.Error as error:
        raise explained(url, error) from error
    try:
        query = "SELECT current_setting('lock_configuration'), current_setting('TimeZone')"
        locked, zone = fetch_row(connection, query)
        # A second store of this process on the same file shares the instance, which is locked by then.
        if not locked or zone != "UTC":
            connection.execute("SET GLOBAL TimeZone = 'UTC'")
            # Text as views: nothing is copied on the way to Polars, which would copy it once more.
            connection.execute("SET GLOBAL produce_arrow_string_view = true")
            connection.execute("SET GLOBAL arrow_output_version = '1.4'")
            # A checkpoint writes changed row groups again: at the default of 16 MB a bulk load writes each one often.
            connection.execute("SET GLOBAL wal_autocheckpoint = '128MB'")
            connection.execute(f"SET GLOBAL allowed_configs = {list(_BESIDE)}")
            connection.execute("SET lock_configuration = true")
    except duckdb.Error as error:
        connection.close()
        raise explained(url, error) from error
    return connection


def fetch_row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[object, ...]:
    """Return the one row of a query, whose snapshot ends with it: it would last where the answer is not read whole."""
    (row,) = connection.execute(query).fetchall() or ((),)
    return tuple(row)


def explained(url: str, error: duckdb.Error) -> StoreError:
    """Return what an error of the database means, in one line."""
    text = " ".join(str(error).split())
    if "Could not set lock" in text:
        found = _HOLDER.search(text)
        holder = f"held by process {found[1]}" if found else "held by another process"
        return StoreError(
            f"store {url}: {holder}, expected to be free",
            hint="wait until it ends, or end it; a hub that serves this store takes commands itself",
        )
    if _DAMAGED.search(text) or isinstance(error, duckdb.SerializationException):
        return StoreError(
            f"store {url}: found another kind of file or a damaged one, expected a clusterledger store",
            hint="name another path, or bring back a backup with `clusterledger restore PATH`",
        )
    if _FULL.search(text):
        return StoreError(
            f"store {url}: found no space to write to ({text[:200]}), expected a disk with room; nothing was kept",
            hint="free space on the disk, then repeat; what was stored before is intact",
        )
    return _of_place(url, text) or StoreError(
        f"store {url}: {text[:500]}", hint="`clusterledger check` says what works"
    )


def _of_place(url: str, text: str) -> StoreError | None:
    """Return what is wrong with where the file is to be, None where that is all right."""
    if "Is a directory" in text:
        return StoreError(
            f"store {url}: found a folder, expected a file", hint=f"name a file in it, such as {url}/ledger.duckdb"
        )
    if "Permission denied" in text or "Read-only file system" in text:
        return StoreError(
            f"store {url}: found no permission ({text[:200]}), expected a file and a folder to read and write",
            hint="run this as the user whose store it is, or let that user own both",
        )
    if "No such file or directory" in text:
        return StoreError(
            f"store {url}: found no folder for it, expected an existing one", hint="create the folder first"
        )
    return None


def fetch(
    cursor: duckdb.DuckDBPyConnection,
    query: str,
    params: Mapping[str, object] | Sequence[object] = (),
    room: int = ROOM,
) -> pl.DataFrame:
    """Return a query's rows as a frame in one chunk; `room` is how many DuckDB hands over as one piece."""
    result = cursor.execute(query, dict(params) if isinstance(params, Mapping) else list(params))
    return frame_of(result.to_arrow_table(room))


def frame_of(table: object) -> pl.DataFrame:
    """Return an Arrow table as a frame; whole numbers wider than 64 bits, such as sums, become Int64 where they fit.

    DuckDB hands over the sum of a BIGINT column as DECIMAL(38, 0). The sum of a DECIMAL(38, 18) stays one, and
    raises beyond 10^20 rather than losing digits.
    """
    frame = pl.from_arrow(table)
    if isinstance(frame, pl.Series):
        frame = frame.to_frame()
    wide = [name for name, dtype in frame.schema.items() if dtype == pl.Decimal(38, 0)]
    frame = frame.with_columns(_whole(frame[name]) for name in wide).rechunk()
    return _own(frame) if frame.height < _FEW else frame


def _own(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a copy; text is copied by an operation, since it is only referred to where rows are picked."""
    picked = frame[pl.int_range(frame.height, dtype=pl.UInt32, eager=True)]
    return pl.DataFrame([each + "" if each.dtype == pl.String else each for each in picked.get_columns()])


def _whole(series: pl.Series) -> pl.Series:
    narrow = series.cast(pl.Int64, strict=False)
    return narrow if narrow.null_count() == series.null_count() else series.cast(pl.Int128)


def insert(cursor: duckdb.DuckDBPyConnection, target: str, frame: pl.DataFrame) -> None:
    """Insert a frame, whose columns are named as the target's."""
    # A statement is bound twice, which for a hundred rows is most of their time. A file's name with a quote in it is
    # read wrong here.
    is_relation = '""' not in target and cursor.table(target).columns == frame.columns
    if is_relation and frame.height <= _SMALL:
        cursor.from_arrow(frame.rechunk().__arrow_c_stream__()).insert_into(target)
        return
    columns = ", ".join(f'"{name}"' for name in frame.columns)
    # Views of text are not copied; a filter on them, as a join pushes down, would fail in Arrow.
    table = frame.to_arrow(compat_level=pl.CompatLevel.newest())
    # DuckDB's threads share a table by its batches: one batch is one thread's work, of any other size twice the work.
    batches = table.to_batches(max_chunksize=ROW_GROUP)
    incoming = pa.Table.from_batches(batches, schema=table.schema)
    if is_relation:
        cursor.from_arrow(incoming).insert_into(target)
        return
    cursor.register("incoming", incoming)
    try:
        cursor.execute(f"INSERT INTO {target} ({columns}) SELECT {columns} FROM incoming")
    finally:
        cursor.unregister("incoming")


def with_rows(
    cursor: duckdb.DuckDBPyConnection, frame: pl.DataFrame, query: str, params: Sequence[object] = ()
) -> None:
    """Run a statement that reads a frame under the name `incoming`."""
    cursor.register("incoming", frame.to_arrow())
    try:
        cursor.execute(query, list(params))
    finally:
        cursor.unregister("incoming")


def fetch_with_rows(
    cursor: duckdb.DuckDBPyConnection, frame: pl.DataFrame, query: str, params: Sequence[object] = ()
) -> pl.DataFrame:
    """Return the rows of a query that reads a frame under the name `incoming`."""
    cursor.register("incoming", frame.to_arrow())
    try:
        return fetch(cursor, query, params)
    finally:
        cursor.unregister("incoming")
