"""An allocation without a holder has a submit time of 1970, as every other key of the ledger has a value."""

import duckdb

_TABLE = "allocation_hour"


def migrate(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
    """Give the column a value in every row where a store lets it be null; else a restored copy would be refused."""
    columns = cursor.execute(f"DESCRIBE {prefix}{_TABLE}").fetchall()
    if all(null == "NO" for name, _, null, *_ in columns if name == "submitted_at"):
        return
    kept = [f'"{name}" {kind}{" NOT NULL" if null == "NO" else ""}' for name, kind, null, *_ in columns]
    needed = ["submitted_at TIMESTAMP WITH TIME ZONE NOT NULL" if "submitted_at" in each else each for each in kept]
    # A table is copied, since one that was updated cannot get other columns in the same transaction.
    cursor.execute(f"CREATE TABLE {prefix}{_TABLE}_kept ({', '.join(needed)})")
    cursor.execute(
        f"INSERT INTO {prefix}{_TABLE}_kept "
        f"SELECT * REPLACE (coalesce(submitted_at, TIMESTAMPTZ '1970-01-01 00:00:00+00') AS submitted_at) "
        f"FROM {prefix}{_TABLE}"
    )
    cursor.execute(f"DROP TABLE {prefix}{_TABLE}")
    cursor.execute(f"ALTER TABLE {prefix}{_TABLE}_kept RENAME TO {_TABLE}")
