"""What a store looks like inside: plain tables with NOT NULL, and a row that says which version it is.

No keys, indexes, sequences, enums: what DuckDB and DuckLake both can do.
"""

from typing import Final

import dataframely as dy

from ledger.errors import ContractError
from ledger.frames import columns_of
from ledger.tables import TABLES, Table

META: Final = "meta"
FENCE: Final = "fence"

_TYPES: Final[dict[type[dy.Column], str]] = {
    dy.String: "VARCHAR",
    dy.Datetime: "TIMESTAMP WITH TIME ZONE",
    dy.Date: "DATE",
    dy.Bool: "BOOLEAN",
    dy.Int64: "BIGINT",
    dy.Float64: "DOUBLE",
}


def quoted(name: str) -> str:
    """Return an identifier for SQL."""
    return '"' + name.replace('"', '""') + '"'


def sql_type(column: dy.Column) -> str:
    """Return the store's type of a column."""
    if isinstance(column, dy.Decimal):
        return f"DECIMAL({column.precision},{column.scale})"
    try:
        return _TYPES[type(column)]
    except KeyError as error:
        expected = ", ".join([*(kind.__name__ for kind in _TYPES), dy.Decimal.__name__])
        raise ContractError(f"found a column of kind {type(column).__name__}, expected one of {expected}") from error


def column_definition(name: str, column: dy.Column) -> str:
    """Return a column as it stands in CREATE TABLE."""
    return f"{quoted(name)} {sql_type(column)}{'' if column.nullable else ' NOT NULL'}"


def create_table(table: Table, prefix: str) -> str:
    """Return the statement that makes a table; `prefix` is the catalog and schema, with the last point."""
    columns = ", ".join(column_definition(name, column) for name, column in columns_of(table.schema).items())
    return f"CREATE TABLE {prefix}{quoted(table.name)} ({columns})"


def create_all(prefix: str, version: int) -> list[str]:
    """Return the statements that make an empty store."""
    return [
        *(create_table(table, prefix) for table in TABLES.values()),
        f"CREATE TABLE {prefix}{FENCE} (turn_count BIGINT NOT NULL)",
        f"INSERT INTO {prefix}{FENCE} VALUES (0)",
        f"CREATE TABLE {prefix}{META} (schema_version BIGINT NOT NULL, created_at TIMESTAMP WITH TIME ZONE NOT NULL)",
        f"INSERT INTO {prefix}{META} VALUES ({version}, now())",
    ]
