"""What can still be read of a spool whose file a disk has damaged."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from collectors._memory import whole

_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_MOST_ENTRIES: Final = 1_000_000
"""How many are looked for where not even the first can be found: more than a bounded spool holds."""

_ENTRY: Final = """
SELECT id, CAST(batch_id AS TEXT), CAST(row_count AS INTEGER), CAST(body AS BLOB), CAST(kept_at AS REAL)
FROM entry WHERE id = ?
"""

Entry = tuple[int, str | None, int, bytes, float | None]


@dataclass
class Salvaged:
    """What was kept in a damaged file and can be read: entries as they were, what was remembered, and what is gone."""

    entries: list[Entry] = field(default_factory=list)
    memory: list[tuple[str, str, object]] = field(default_factory=list)
    lost: int = 0
    is_readable: bool = True

    @property
    def gone(self) -> str:
        """Say how much could not be read."""
        if not self.is_readable:
            return "nothing in it can be read"
        return f"{self.lost} of {self.lost + len(self.entries)} rounds in it cannot be read"


def as_text(content: bytes) -> str:
    """Return a text of the file, also one that a disk has damaged."""
    return content.decode("utf-8", errors="replace")


def is_damage(error: sqlite3.Error) -> bool:
    """Tell whether an error says that a file is not what was written to it."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE


def found_wrong(connection: sqlite3.Connection) -> sqlite3.Error | None:
    """Look through a whole file, and return what is wrong with it; None where nothing is.

    Raises: sqlite3.Error: it cannot be looked at, for another reason.
    """
    try:
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return error
        connection.close()
        raise
    return None if said == "ok" else sqlite3.DatabaseError(said)


def put_aside(path: Path) -> Path:
    """Rename a damaged file, and what belongs to it; return its new name.

    Raises: OSError: it cannot be renamed.
    """
    aside = path.with_suffix(f"{path.suffix}.damaged")
    for suffix in ("-wal", "-shm"):
        beside = path.with_name(f"{path.name}{suffix}")
        if beside.exists():
            beside.replace(aside.with_name(f"{aside.name}{suffix}"))
    path.replace(aside)
    return aside


def salvaged(path: Path) -> Salvaged:
    """Return what can be read of a damaged file, each entry asked for by its number: one page takes few with it."""
    found = Salvaged()
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.text_factory = as_text
            for number in _numbers(connection):
                _take(connection, number, found)
            found.memory = _remembered(connection)
    except sqlite3.Error:
        # Not even its plan, or how many there were.
        found.is_readable = False
    return found


def _take(connection: sqlite3.Connection, number: int, found: Salvaged) -> None:
    try:
        entry = connection.execute(_ENTRY, (number,)).fetchone()
    except sqlite3.DatabaseError:
        found.lost += 1
        return
    if entry is None:
        return
    if isinstance(entry[2], int) and isinstance(entry[3], bytes):
        found.entries.append(entry)
    else:
        found.lost += 1


def _numbers(connection: sqlite3.Connection) -> range:
    """Return the numbers of entries that may be there: what was sent and forgotten has lower ones."""
    last = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entry'").fetchone()
    if last is None:
        return range(0)
    try:
        first = connection.execute("SELECT min(id) FROM entry").fetchone()[0]
    except sqlite3.DatabaseError:
        first = max(1, last[0] - _MOST_ENTRIES)
    return range(0) if first is None else range(first, last[0] + 1)


def _remembered(connection: sqlite3.Connection) -> list[tuple[str, str, object]]:
    def until_it_breaks() -> Iterator[tuple[object, object, object]]:
        try:
            yield from connection.execute("SELECT key, value, checksum FROM memory")
        except sqlite3.DatabaseError:
            return

    return whole(until_it_breaks())
