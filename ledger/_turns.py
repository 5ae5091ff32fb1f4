"""Whose turn it is to write: each commit has a number, and there are two kinds.

One that only inserts goes on while the log is written into the file (`ledger._checkpoints`): agents wait for no
checkpoint. What it changed stands in `partition_change`, with its number. One that updates or deletes rows begins with
the fence, beside no checkpoint; it counts into `partition_state` what stands there.
"""

from typing import Final, cast

import duckdb

from ledger._connection import fetch_row
from ledger._ddl import FENCE
from ledger._versions import count_changes

CHANGES: Final = "partition_change"
STATES: Final = "partition_state"

_MOST_PENDING: Final = 10_000
"""Where more changes wait they are counted next: whoever asks for versions adds them up."""


class NeedsTurnError(Exception):
    """A transaction that only inserts came to what it may not do: it is run again as one of the other kind."""


def following(cursor: duckdb.DuckDBPyConnection, prefix: str) -> int:
    """Return the number of a commit that only inserts.

    Raises: NeedsTurnError: it is time that changes are counted.
    """
    fence = f"(SELECT turn_count FROM {prefix}{FENCE})"
    query = f"SELECT greatest({fence}, max(turn_count)), count(*) FROM {prefix}{CHANGES}"
    last, pending = cast("tuple[int, int]", fetch_row(cursor, query))
    if pending > _MOST_PENDING:
        raise NeedsTurnError
    return last + 1


def hold(cursor: duckdb.DuckDBPyConnection, prefix: str) -> None:
    """Begin a transaction beside which a checkpoint lets others insert; it is to be rolled back after it.

    A checkpoint that finds no other transaction with rows of its own also locks out all who insert, to rearrange rows.
    """
    cursor.execute("BEGIN TRANSACTION")
    columns = "turn_count, table_name, partition_key, row_count, changed_at"
    cursor.execute(f"INSERT INTO {prefix}{CHANGES} ({columns}) VALUES (0, '', '', 0, 'epoch')")


def take(cursor: duckdb.DuckDBPyConnection, prefix: str) -> int:
    """Return the number of a commit that may change any row, with all changes counted that wait.

    Without the row that it updates two writers of one empty partition would both commit.
    """
    fence, changes = f"{prefix}{FENCE}", f"{prefix}{CHANGES}"
    # The first statement of all: it waits for a checkpoint, beside which nothing may be deleted.
    cursor.execute(f"UPDATE {fence} SET turn_count = 1 + greatest(turn_count, (SELECT max(turn_count) FROM {changes}))")
    query = f"SELECT turn_count, (SELECT count(*) FROM {changes}) FROM {fence}"
    number, pending = cast("tuple[int, int]", fetch_row(cursor, query))
    if pending:
        count_changes(cursor, f"{prefix}{STATES}", changes)
    return number
