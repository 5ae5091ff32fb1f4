"""Copies of a store: table by table through Arrow under one snapshot, so that it also works while rows come in."""

from contextlib import closing
from pathlib import Path

import duckdb

from ledger import _ddl
from ledger._commit import Commit
from ledger._ddl import quoted
from ledger._opening import opened
from ledger.errors import StoreError
from ledger.frames import columns_of
from ledger.tables import TABLES

_BATCH_ROWS = 122_880  # one row group of DuckDB


def write_copy(cursor: duckdb.DuckDBPyConnection, prefix: str, path: Path) -> None:
    """Write all that `cursor` sees into a new store file; the file appears under its name when it is whole.

    Raises: StoreError: there is a file already.
    """
    if path.exists():
        raise StoreError(f"backup {path}: found a file there, expected a new path")
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    try:
        target, target_prefix = opened(f"duckdb:{partial}")
        try:
            with target.cursor() as writing:
                writing.execute("BEGIN TRANSACTION")
                copy_rows(cursor, prefix, writing, target_prefix)
                writing.execute("COMMIT")
                writing.execute("CHECKPOINT")
        finally:
            target.close()
        partial.rename(path)
    finally:
        partial.unlink(missing_ok=True)


def copy_rows(
    source: duckdb.DuckDBPyConnection, prefix: str, target: duckdb.DuckDBPyConnection, target_prefix: str
) -> None:
    """Put all rows of one store in the place of all rows of another."""
    for table in TABLES.values():
        columns = ", ".join(quoted(name) for name in columns_of(table.schema))
        name = f"{target_prefix}{quoted(table.name)}"
        target.execute(f"DELETE FROM {name}")
        rows = source.execute(f"SELECT {columns} FROM {prefix}{quoted(table.name)}")
        # An error keeps the reader, and an open reader the whole database.
        with closing(rows.to_arrow_reader(_BATCH_ROWS)) as reader:
            target.register("incoming", reader)
            target.execute(f"INSERT INTO {name} ({columns}) SELECT {columns} FROM incoming")
            target.unregister("incoming")
    created = source.execute(f"SELECT created_at FROM {prefix}{_ddl.META}").fetchone()
    if created is not None:
        target.execute(f"UPDATE {target_prefix}{_ddl.META} SET created_at = ?", [created[0]])


def load(commit: Commit, source: duckdb.DuckDBPyConnection, prefix: str) -> None:
    """Put all rows of another store in the place of all rows, in a transaction."""
    commit.rewritten |= set(TABLES)
    copy_rows(source, prefix, commit.cursor, commit.prefix)
