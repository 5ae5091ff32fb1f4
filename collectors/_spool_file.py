"""The file of a spool: made, opened, and replaced where a disk has damaged it."""

import os
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Final

from collectors._memory import SCHEMA, remember
from collectors._salvage import as_text, found_wrong, is_damage, put_aside, salvaged
from ledger.errors import StoreError
from ledger.log import log

PUT_ASIDE: Final = "spool_damaged"
"""Under this what became of a damaged file is remembered, until it is told."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT, batch_id TEXT, row_count INTEGER NOT NULL, body BLOB NOT NULL, kept_at REAL
);
"""


def opened(path: Path) -> sqlite3.Connection:
    """Return the file's connection; a damaged file is put aside, and what of it can be read is kept.

    Raises: StoreError: it cannot be made, or another agent has it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            connection = _connected(path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return anew(path, error)
        wrong = found_wrong(connection)
        if wrong is None:
            return connection
        connection.close()
        return anew(path, wrong)
    except (OSError, sqlite3.Error) as error:
        hint = "set agent.spool to a file that this user may write, and run one agent per spool"
        raise StoreError(f"spool {path}: {error}", hint=hint) from error


def anew(path: Path, error: sqlite3.Error) -> sqlite3.Connection:
    """Return the connection of a new file in the place of a damaged one, with what could be read of that.

    Raises: OSError, sqlite3.Error: there is no new file.
    """
    aside = put_aside(path)
    found = salvaged(aside)
    connection = _connected(path)
    log.error("spool was damaged", spool=str(path), kept_as=str(aside), error=str(error), lost=found.gone)
    with connection:
        columns = "id, batch_id, row_count, body, kept_at"
        connection.executemany(f"INSERT INTO entry ({columns}) VALUES (?, ?, ?, ?, ?)", found.entries)
        connection.executemany("INSERT OR REPLACE INTO memory VALUES (?, ?, ?)", found.memory)
        remember(connection, PUT_ASIDE, f"{error}; {found.gone}")
    return connection


def _connected(path: Path) -> sqlite3.Connection:
    # What people run is nobody else's: SQLite gives what it writes beside a file the mode of that.
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, check_same_thread=False, timeout=1)
    connection.text_factory = as_text
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        # A second agent on the same file would send rows twice under two ids.
        connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        connection.executescript(f"{_SCHEMA}{SCHEMA}")
        for table, column in (("entry", "kept_at REAL"), ("memory", "checksum INTEGER")):
            known = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            if column.partition(" ")[0] not in known:
                # A spool of an earlier release.
                connection.execute(f"ALTER TABLE {table} ADD COLUMN {column}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
