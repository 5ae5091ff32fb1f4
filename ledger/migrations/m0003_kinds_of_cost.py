"""A cost says which kind it is, and who owns it: both tell costs apart."""

from typing import Final

import duckdb

_TABLES: Final = ("cost_hour", "allocation_hour")

_KIND: Final = """CASE charge_category WHEN 'Tax' THEN 'tax' WHEN 'Credit' THEN 'credit' WHEN 'Purchase' THEN 'purchase'
WHEN 'Adjustment' THEN 'adjustment' ELSE 'usage' END"""


def migrate(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
    """Say of what is there which kind of cost it is, as far as its category tells; nobody owned any of it.

    Periods whose bills are still there are computed again and know it better.
    """
    query = """SELECT table_name FROM duckdb_columns() WHERE concat('"', database_name, '".main.') = ?
        GROUP BY table_name HAVING count(*) FILTER (column_name = 'cost_kind') = 0"""
    without = {str(name) for (name,) in cursor.execute(query, [prefix]).fetchall()}
    for table in sorted(without.intersection(_TABLES)):
        # A table is copied, since one that was updated cannot get other columns in the same transaction.
        columns = cursor.execute(f"DESCRIBE {prefix}{table}").fetchall()
        kept = [f'"{name}" {kind}{" NOT NULL" if null == "NO" else ""}' for name, kind, null, *_ in columns]
        new = ["cost_kind VARCHAR NOT NULL", "owner_team VARCHAR NOT NULL"]
        cursor.execute(f"CREATE TABLE {prefix}{table}_kept ({', '.join([*kept, *new])})")
        cursor.execute(f"INSERT INTO {prefix}{table}_kept SELECT *, {_KIND}, '' FROM {prefix}{table}")
        cursor.execute(f"DROP TABLE {prefix}{table}")
        cursor.execute(f"ALTER TABLE {prefix}{table}_kept RENAME TO {table}")
