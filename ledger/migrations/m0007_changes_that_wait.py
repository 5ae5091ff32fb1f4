"""What a commit that only inserts has changed waits in `partition_change` to be counted."""

import duckdb


def migrate(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
    """Do nothing but raise the version: the table is added as any other, and an older program would not read it."""
    del cursor, prefix
