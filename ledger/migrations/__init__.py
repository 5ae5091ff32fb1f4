"""From an older store to this one: numbered steps, and columns that were added since.

A step is a module `m0002_what_it_does` with a function `migrate(cursor, prefix)`; its number is the
version that it leads to. A new table, or a new column that may be null, needs no step: it is added when
a store is opened that lacks it. Everything runs in one transaction, after a copy of the file was kept.
A step that touches `partition_state` counts first what waits in `partition_change` (`ledger._versions`).
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Final

import duckdb

from ledger import _ddl
from ledger._connection import fetch_row
from ledger._ddl import quoted
from ledger.errors import StoreError
from ledger.frames import columns_of
from ledger.tables import TABLES

Step = Callable[[duckdb.DuckDBPyConnection, str], None]
"""Changes tables through a cursor; the text is the qualified prefix of a table's name."""

_NAME: Final = re.compile(r"m(\d{4})_\w+")
FIRST_VERSION: Final = 1
# No parameter: at the first one DuckDB imports pandas, which takes as long as the rest of a short command.
_HERE: Final = "database_name = current_database() AND NOT internal"
_BETWEEN: Final = "a version between two releases wrote it: start a new store, or restore a backup"


def steps() -> dict[int, Step]:
    """Return the steps by the version that they lead to, in order."""
    found: dict[int, Step] = {}
    for info in sorted(pkgutil.iter_modules(__path__), key=lambda info: info.name):
        if match := _NAME.fullmatch(info.name):
            module: ModuleType = importlib.import_module(f"{__name__}.{info.name}")
            found[int(match[1])] = module.migrate
    return found


def version_of(available: Mapping[int, Step]) -> int:
    """Return the schema version that these steps lead to."""
    return max(available, default=FIRST_VERSION)


def stored_version(cursor: duckdb.DuckDBPyConnection, catalog: str, url: str) -> int | None:
    """Return the schema version of a store, or None for an empty database.

    Raises: StoreError: there are tables, and none says that it is a store.
    """
    query = f"SELECT table_name FROM duckdb_tables() WHERE {_HERE} AND NOT temporary"
    names = {str(row[0]) for row in cursor.execute(query).fetchall()}
    if not names:
        return None
    if _ddl.META not in names:
        raise StoreError(
            f"store {url}: found a database with other tables, expected a clusterledger store",
            hint="name another path",
        )
    (found,) = fetch_row(cursor, f"SELECT max(schema_version) FROM {quoted(catalog)}.main.{_ddl.META}")
    return int(str(found)) if found is not None else 0


def missing(cursor: duckdb.DuckDBPyConnection, catalog: str, url: str) -> list[str]:
    """Return the statements that add the tables and columns that a store lacks.

    Raises: StoreError: a column has another type, or one that must have a value cannot be added.
    """
    stored: dict[str, dict[str, str]] = {}
    query = f"SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE {_HERE}"
    for table_name, column, kind in cursor.execute(query).fetchall():
        stored.setdefault(str(table_name), {})[str(column)] = str(kind)
    prefix = f"{quoted(catalog)}.main."
    statements = []
    for table in TABLES.values():
        there = stored.get(table.name)
        if there is None:
            statements.append(_ddl.create_table(table, prefix))
            continue
        for name, column in columns_of(table.schema).items():
            wanted = _ddl.sql_type(column)
            if name in there and there[name] != wanted:
                raise StoreError(
                    f"store {url}: {table.name}.{name}: found {there[name]}, expected {wanted}",
                    hint=_BETWEEN,
                )
            if name not in there and not column.nullable:
                raise StoreError(
                    f"store {url}: {table.name}: found no column {name}, expected one with a value in every row",
                    hint=_BETWEEN,
                )
            if name not in there:
                statements.append(f"ALTER TABLE {prefix}{quoted(table.name)} ADD COLUMN {quoted(name)} {wanted}")
    return statements


def migrate(
    cursor: duckdb.DuckDBPyConnection, catalog: str, url: str, found: int, available: Mapping[int, Step]
) -> None:
    """Bring a store to this version, all or nothing."""
    prefix = f"{quoted(catalog)}.main."
    cursor.execute("BEGIN TRANSACTION")
    try:
        for version in sorted(version for version in available if version > found):
            available[version](cursor, prefix)
        for statement in missing(cursor, catalog, url):
            cursor.execute(statement)
        cursor.execute(f"UPDATE {prefix}{_ddl.META} SET schema_version = ?", [version_of(available)])
    except BaseException:
        cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")
