"""Raw SQL of people: one SELECT, read-only, for a limited time and a limited number of rows."""

import re
import threading
from contextlib import closing
from datetime import timedelta
from typing import Final

import duckdb
import polars as pl
import pyarrow as pa

from ledger._connection import frame_of
from ledger.errors import InputError

_BATCH_ROWS: Final = 2_048

# DuckDB turns these into a SELECT of its own; people are told to write one.
_IN_DISGUISE: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*pragma\b", re.IGNORECASE | re.DOTALL)

_TABLES: Final = '`clusterledger sql "SHOW TABLES"` lists the tables, "DESCRIBE gpu_hour" the columns of one'
_ONE_SELECT: Final = "nothing can be changed from here, and one question is asked at a time"


def one_select(sql: str) -> str:
    """Return the text if it is exactly one SELECT.

    Raises: InputError: it is anything else.
    """
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise InputError(f"sql: {_line(error)}", hint=_hint(error)) from error
    if len(statements) != 1:
        raise InputError(f"sql: found {len(statements)} statements, expected one SELECT", hint=_ONE_SELECT)
    if _IN_DISGUISE.match(sql):
        raise InputError("sql: found PRAGMA, expected one SELECT", hint=_ONE_SELECT)
    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        found = str(kind).rsplit(".", 1)[-1]
        raise InputError(f"sql: found {found}, expected one SELECT", hint=_ONE_SELECT)
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
        raise InputError(f"sql: {_line(error)}", hint=_hint(error)) from error
    finally:
        timer.cancel()


def _capped(cursor: duckdb.DuckDBPyConnection, text: str, limit: int) -> pa.Table:
    """Read batch by batch, so that an endless result is never held."""
    batches, rows = [], 0
    # An error keeps the reader, and an open reader the whole database.
    with closing(cursor.execute(text).to_arrow_reader(_BATCH_ROWS)) as reader:
        for batch in reader:
            rows += batch.num_rows
            if rows > limit:
                raise InputError(
                    f"sql: found more than {limit} rows, expected at most {limit}", hint="add LIMIT, or aggregate"
                )
            batches.append(batch)
        return _readable(pa.Table.from_batches(batches, reader.schema))


def _readable(table: pa.Table) -> pa.Table:
    """Return intervals, which Polars does not know, as text such as `2 days, 3:00:00`."""
    for index, field in enumerate(table.schema):
        if field.type == pa.month_day_nano_interval():
            texts = pa.array([_interval(each) for each in table.column(index).to_pylist()], pa.string())
            table = table.set_column(index, field.name, texts)
    return table


def _interval(value: pa.MonthDayNano | None) -> str | None:
    if value is None:
        return None
    rest = str(timedelta(days=value.days, microseconds=value.nanoseconds / 1_000))
    return f"{value.months} month{'' if value.months == 1 else 's'}, {rest}" if value.months else rest


def _line(error: Exception) -> str:
    """Return the first line of an error, which says what is wrong."""
    return str(error).strip().split("\n", 1)[0]


def _hint(error: Exception) -> str:
    """Return what to do about an error: what the database itself proposes, or where names are listed."""
    text = str(error)
    if close := re.search(r"Did you mean [^\n]+|Candidate bindings: [^\n]+", text):
        return close[0]
    if isinstance(error, duckdb.PermissionException):
        return "only what is in the ledger can be read; `clusterledger ingest` brings files into it"
    if isinstance(error, pl.exceptions.DuplicateError):
        return "give each column a name of its own with AS"
    return _TABLES
