"""Taking one person's name out of every table."""

import polars as pl

from ledger._commit import Commit
from ledger._connection import fetch
from ledger.frames import columns_of, shaped
from ledger.tables import TABLES, RejectedRow, Table, declared

_PEOPLE = frozenset({"user", "actor", "decided_by"})


def erase_user(commit: Commit, user: str, replacement: str) -> dict[str, int]:
    """Write another name in the place of a user's; return how many rows were changed, by table.

    Refused rows that mention the name are deleted: nobody can say where in them it stands. A change in a
    table gives new versions, as any other change does.
    """
    changed = {table.name: _rename(commit, table, user, replacement) for table in TABLES.values()}
    refused = declared(RejectedRow)
    row = commit.cursor.execute(
        f"DELETE FROM {commit.of(refused)} WHERE contains(row_json, ?) OR contains(reason, ?)", [user, user]
    ).fetchone()
    changed[refused.name] = int(row[0]) if row else 0
    return {name: count for name, count in changed.items() if count}


def _rename(commit: Commit, table: Table, user: str, replacement: str) -> int:
    count = 0
    for name in sorted(_PEOPLE & set(columns_of(table.schema))):
        found = fetch(commit.cursor, f'SELECT * FROM {commit.of(table)} WHERE "{name}" = ?', [user])
        if found.is_empty():
            continue
        old = shaped(found, table.schema)
        new = old.with_columns(pl.lit(replacement).alias(name))
        commit.delete_keys(table, old)
        commit.insert(table, new)
        commit.note_changed(table, old, new)
        count += new.height
    return count
