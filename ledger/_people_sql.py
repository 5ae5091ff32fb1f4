"""Raw SQL of people: one SELECT, read-only, for a limited time and a limited number of rows."""

import threading
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa

from ledger._connection import frame_of
from ledger.errors import InputError

_BATCH_ROWS: Final = 2_048


def one_select(sql: str) -> str:
    """Return the text if it is exactly one SELECT.

    Raises: InputError: it is anything else.
    """
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise InputError(f"sql: {_line(error)}") from error
    if len(statements) != 1:
        raise InputError(f"sql: found {len(statements)} statements, expected one SELECT")
    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        found = str(kind).rsplit(".", 1)[-1]
        raise InputError(f"sql: found {found}, expected one SELECT", hint="nothing can be changed from here")
    return statements[0].query


def run(cursor: duckdb.DuckDBPyConnection, sql: str, *, limit: int, timeout_seconds: float) -> pl.DataFrame:
    """Return the rows of one SELECT; `cursor` is inside a read-only transaction.

    Raises: InputError: it is no SELECT, it fails, it takes longer, or it has more rows.
    """
    text = one_select(sql)
    timer = threading.Timer(timeout_seconds, cursor.interrupt)
    timer.start()
    try:
        return frame_of(_capped(cursor, text, limit))
    except duckdb.InterruptException as error:
        raise InputError(
            f"sql: found no answer in {timeout_seconds:g} seconds, expected one",
            hint="read a shorter window, or a rollup instead of samples",
        ) from error
    except (duckdb.Error, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise InputError(f"sql: {_line(error)}") from error
    finally:
        timer.cancel()


def _capped(cursor: duckdb.DuckDBPyConnection, text: str, limit: int) -> pa.Table:
    """Read batch by batch, so that an endless result is never held."""
    reader = cursor.execute(text).to_arrow_reader(_BATCH_ROWS)
    batches, rows = [], 0
    for batch in reader:
        rows += batch.num_rows
        if rows > limit:
            raise InputError(
                f"sql: found more than {limit} rows, expected at most {limit}", hint="add LIMIT, or aggregate"
            )
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _line(error: Exception) -> str:
    """Return the first line of an error, which says what is wrong."""
    return str(error).strip().split("\n", 1)[0]
