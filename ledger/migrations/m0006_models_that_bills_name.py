"""A cost says which model its bill names: managed services bill by it, and it tells costs apart."""

from typing import Final

import duckdb

_TABLES: Final = ("cost_hour", "allocation_hour")


def migrate(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
    """Say of what is there that its bill names no model.

    Periods whose bills are still there are computed again and know it better.
    """
    query = """SELECT table_name FROM duckdb_columns() WHERE concat('"', database_name, '".main.') = ?
        GROUP BY table_name HAVING count(*) FILTER (column_name = 'named_model') = 0"""
    without = {str(name) for (name,) in cursor.execute(query, [prefix]).fetchall()}
    for table in sorted(without.intersection(_TABLES)):
        # A table is copied, since one that was updated cannot get other columns in the same transaction.
        columns = cursor.execute(f"DESCRIBE {prefix}{table}").fetchall()
        kept = [f'"{name}" {kind}{" NOT NULL" if null == "NO" else ""}' for name, kind, null, *_ in columns]
        cursor.execute(f"CREATE TABLE {prefix}{table}_kept ({', '.join([*kept, 'named_model VARCHAR NOT NULL'])})")
        cursor.execute(f"INSERT INTO {prefix}{table}_kept SELECT *, '' FROM {prefix}{table}")
        cursor.execute(f"DROP TABLE {prefix}{table}")
        cursor.execute(f"ALTER TABLE {prefix}{table}_kept RENAME TO {table}")
