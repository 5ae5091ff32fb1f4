"""A day of spend tells states, commitments and resources apart: its days are computed again."""

import duckdb

_TABLE = "spend_day"


def migrate(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
    """Give up the days of spend: the hours that they are made of are kept as long as the ledger is."""
    query = """SELECT count(*) FROM duckdb_columns()
        WHERE concat('"', database_name, '".main.') = ? AND table_name = ? AND column_name = 'state'"""
    known = cursor.execute(query, [prefix, _TABLE]).fetchone()
    if known is None or known[0]:
        return
    cursor.execute(f"DROP TABLE IF EXISTS {prefix}{_TABLE}")
    cursor.execute(f"DELETE FROM {prefix}partition_state WHERE table_name = ?", [_TABLE])
