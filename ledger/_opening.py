"""Opening a store: make it, bring it up to this version, or say why not."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import duckdb

from ledger import _ddl, migrations
from ledger._connection import connect, explained, fetch_row, path_of
from ledger._ddl import quoted
from ledger.errors import StoreError


def opened(
    url: str, memory_limit: str = "", available: Mapping[int, migrations.Step] | None = None
) -> tuple[duckdb.DuckDBPyConnection, str]:
    """Return a connection to a store of this version, and the prefix of its tables' names.

    An older store is migrated; a copy of it stays beside it as PATH.v<version>.bak.
    Raises: StoreError: it is newer than this program, held, damaged, or no store.
    """
    available = migrations.steps() if available is None else available
    expected = migrations.version_of(available)
    connection = connect(url, memory_limit)
    try:
        catalog, prefix = _names(connection)
        found = migrations.stored_version(connection, catalog, url)
        if found is None:
            _create(connection, prefix, expected)
        elif found > expected:
            _refuse(url, found, expected)
        elif found < expected or migrations.missing(connection, catalog, url):
            connection = _keep_copy(connection, url, found, memory_limit)
            migrations.migrate(connection, catalog, url, found, available)
    except duckdb.Error as error:
        connection.close()
        raise explained(url, error) from error
    except BaseException:
        connection.close()
        raise
    return connection, prefix


def opened_again(url: str, memory_limit: str, version: int | None) -> duckdb.DuckDBPyConnection:
    """Return a connection to a store that this process had open; nothing is made or migrated.

    Raises: StoreError: it is of another version than before, held, damaged, or no store.
    """
    connection = connect(url, memory_limit)
    try:
        found = version_of(connection, url)
    except BaseException:
        connection.close()
        raise
    if found != version:
        connection.close()
        raise StoreError(
            f"store {url}: found schema version {found}, expected {version}, as before",
            hint="end this process and start it anew",
        )
    return connection


def version_of(connection: duckdb.DuckDBPyConnection, url: str) -> int | None:
    """Return the schema version of a store, or None for an empty database."""
    try:
        catalog, _ = _names(connection)
        return migrations.stored_version(connection, catalog, url)
    except duckdb.Error as error:
        raise explained(url, error) from error


@contextmanager
def reading(path: Path, scratch: Path) -> Iterator[tuple[duckdb.DuckDBPyConnection, str]]:
    """Open a store file without changing it; an older one is copied into a folder and migrated there."""
    url = f"duckdb:{path}"
    connection = connect(url, for_reading=True)
    try:
        catalog, prefix = _names(connection)
        found, expected = migrations.stored_version(connection, catalog, url), migrations.version_of(migrations.steps())
        if found is None:
            raise StoreError(
                f"store {url}: found an empty database, expected a clusterledger store",
                hint="name a file that `clusterledger backup` wrote",
            )
        if found > expected:
            _refuse(url, found, expected)
        if found == expected and not migrations.missing(connection, catalog, url):
            yield connection, prefix
            return
    finally:
        connection.close()
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        copy = Path(folder) / "older.duckdb"
        shutil.copy2(path, copy)
        connection, prefix = opened(f"duckdb:{copy}")
        try:
            yield connection, prefix
        finally:
            connection.close()


def _names(connection: duckdb.DuckDBPyConnection) -> tuple[str, str]:
    """Return the name of the catalog, and the prefix of its tables' names."""
    catalog = str(fetch_row(connection, "SELECT current_database()")[0])
    return catalog, f"{quoted(catalog)}.main."


def _refuse(url: str, found: int, expected: int) -> None:
    raise StoreError(
        f"store {url}: found schema version {found}, expected at most {expected}",
        hint="a newer clusterledger wrote it: install that version, or restore an older backup",
    )


def _create(connection: duckdb.DuckDBPyConnection, prefix: str, version: int) -> None:
    connection.execute("BEGIN TRANSACTION")
    for statement in _ddl.create_all(prefix, version):
        connection.execute(statement)
    connection.execute("COMMIT")


def _keep_copy(
    connection: duckdb.DuckDBPyConnection, url: str, version: int, memory_limit: str
) -> duckdb.DuckDBPyConnection:
    """Copy the file as it is before it is changed, and open it again.

    The file is closed meanwhile: closing any handle on a file gives up this process's lock on it.
    """
    path = path_of(url)
    if path is None:
        return connection
    connection.execute("CHECKPOINT")
    connection.close()
    try:
        shutil.copy2(path, path.with_name(f"{path.name}.v{version}.bak"))
    except OSError as error:
        raise StoreError(
            f"store {url}: found no way to keep a copy before migrating it: {error}", hint="free some space"
        ) from error
    return connect(url, memory_limit)
