"""Rows that the hub does not have yet, in a file: bounded, fsynced, the oldest go first."""

import re
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import zstandard

from collectors._memory import recalled, remember
from collectors._round import Tables
from collectors._salvage import is_damage
from collectors._spool_file import PUT_ASIDE, anew, opened
from collectors.wire import MALFORMED, Value, decompressed, plain
from ledger.errors import InputError, StoreError
from ledger.log import log

_BATCH_ID: Final = re.compile(r"[0-9a-f]{32}")
_TWO_OLDEST: Final = "SELECT id, CAST(row_count AS INTEGER), length(body) FROM entry ORDER BY id LIMIT 2"
_BATCH_ROWS: Final = 5_000
"""Minutes of a large node: some ten megabytes as they are unpacked and sent, which it pays when a hub was away."""

_DROPPED: Final = "rows_dropped"
_DAMAGED: Final = "rows_damaged"

_MOST_DECODED_BYTES: Final = 1 << 27
"""What one round may unfold to: more is what a damaged length says."""


@dataclass(frozen=True)
class Sealed:
    """Rows that were given one batch id, for good: a second try sends the same rows under the same id."""

    batch_id: str
    tables: Tables


@dataclass(frozen=True)
class Size:
    """What waits: rows, their bytes, and when the oldest were kept, in seconds since 1970; None if that is unknown."""

    rows: int
    bytes: int
    oldest: float | None


class Spool:
    """A SQLite file that keeps rows until they were acknowledged; also what the agent remembers over restarts.

    One process at a time; its threads take turns.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._lock = threading.Lock()
        self.max_bytes = max_bytes
        self._path = path
        self._connection = opened(path)
        self._is_open = True

    def append(self, tables: Tables) -> int:
        """Keep rows; they are on disk when this returns. Returns how many older rows had to go for them.

        Raises: StoreError: the disk is full, or the file cannot be written.
        """
        plain_tables = {name: [_plain(row) for row in rows] for name, rows in tables.items()}
        packer = zstandard.ZstdCompressor(level=3, write_checksum=True)
        body = packer.compress(msgspec.msgpack.encode(plain_tables))
        count = sum(len(rows) for rows in tables.values())
        with self._transaction() as connection:
            kept = (count, body, time.time())
            connection.execute("INSERT INTO entry (row_count, body, kept_at) VALUES (?, ?, ?)", kept)
            return self._make_room(connection)

    def seal(self, *, besides: Sequence[str] = ()) -> Sealed | None:
        """Return the oldest rows under the id that they keep, or None; `besides` leaves batches out."""
        others = f"WHERE batch_id IS NULL OR batch_id NOT IN ({', '.join('?' * len(besides))})"
        with self._transaction() as connection:
            found = f"SELECT id, batch_id FROM entry {others} ORDER BY id LIMIT 1"
            oldest = connection.execute(found, tuple(besides)).fetchone()
            if oldest is None:
                return None
            number, batch_id = oldest
            if batch_id is None or not _BATCH_ID.fullmatch(batch_id):
                connection.execute("UPDATE entry SET batch_id = NULL WHERE id = ?", (number,))
                batch_id = self._name(connection)
            # One bit of a disk makes a text of a body, or of a count.
            kinds = "CAST(row_count AS INTEGER), CAST(body AS BLOB)"
            found = f"SELECT id, {kinds} FROM entry WHERE batch_id = ? ORDER BY id"
            kept = connection.execute(found, (batch_id,)).fetchall()
        tables: Tables = {}
        damaged: list[tuple[int, int]] = []
        for number, count, body in kept:
            try:
                content = msgspec.msgpack.decode(
                    decompressed(body, _MOST_DECODED_BYTES), type=dict[str, list[dict[str, Value]]]
                )
            except (InputError, *MALFORMED) as error:
                # A disk that forgot: what it damaged is gone, and the rows beside it are not.
                said = f"{error}".partition("\n")[0]
                log.error("rows in the spool are damaged", batch_id=batch_id, row_count=count, error=said)
                damaged.append((number, count))
                continue
            for name, rows in content.items():
                tables.setdefault(name, []).extend(rows)
        self._give_up(damaged)
        return Sealed(batch_id, tables)

    def _give_up(self, damaged: Sequence[tuple[int, int]]) -> None:
        """Drop entries that cannot be read, and count their rows."""
        if not damaged:
            return
        with self._transaction() as connection:
            connection.executemany("DELETE FROM entry WHERE id = ?", [(number,) for number, _ in damaged])
            _count(connection, _DAMAGED, sum(count for _, count in damaged))

    def forget(self, batch_id: str) -> None:
        """Drop rows that the hub has, or refused for good."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM entry WHERE batch_id = ?", (batch_id,))

    def waiting(self) -> int:
        """Return how many rows are kept."""
        with self._transaction() as connection:
            return int(connection.execute("SELECT coalesce(sum(row_count), 0) FROM entry").fetchone()[0])

    def size(self) -> Size:
        """Return how much is kept, and since when."""
        with self._transaction() as connection:
            rows, size, oldest = connection.execute(
                "SELECT coalesce(sum(row_count), 0), coalesce(sum(length(body)), 0), min(CAST(kept_at AS REAL)) "
                "FROM entry"
            ).fetchone()
        return Size(rows, size, oldest)

    def dropped(self) -> int:
        """Return how many rows were dropped since this was asked last, and start again from none."""
        return int(self._told_once(_DROPPED) or 0)

    def damaged(self) -> int:
        """Return how many rows the disk has damaged since this was asked last, and start again from none."""
        return int(self._told_once(_DAMAGED) or 0)

    def replaced(self) -> str | None:
        """Return what became of a file that had to be put aside since this was asked last; None where none had."""
        return self._told_once(PUT_ASIDE)

    def _told_once(self, key: str) -> str | None:
        found = self.recall(key)
        if found is not None:
            self.remember(key, None)
        return found

    def recall(self, key: str) -> str | None:
        """Return a remembered text, or None."""
        with self._transaction() as connection:
            found = recalled(connection, key, is_whole=True)
        return found[0][1] if found else None

    def recollect(self, prefix: str) -> list[str]:
        """Return the remembered texts whose keys begin so."""
        with self._transaction() as connection:
            return [value for _, value in recalled(connection, prefix)]

    def remember(self, key: str, value: str | None) -> None:
        """Keep a text over restarts; None forgets it."""
        with self._transaction() as connection:
            if value is None:
                connection.execute("DELETE FROM memory WHERE key = ?", (key,))
            else:
                remember(connection, key, value)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if not self._is_open:
                self._connection = opened(self._path)
                self._is_open = True
            try:
                with self._connection:
                    yield self._connection
            except sqlite3.Error as error:
                if is_damage(error):
                    self._replace(error)
                raise StoreError(f"spool: {error}", hint="free space, or move agent.spool to another disk") from error

    def _replace(self, error: sqlite3.Error) -> None:
        """Go on with a new file in the place of a damaged one; where that fails, the next one who comes tries again."""
        self._is_open = False
        self._connection.close()
        with suppress(OSError, sqlite3.Error):
            self._connection = anew(self._path, error)
            self._is_open = True

    def _name(self, connection: sqlite3.Connection) -> str:
        """Give the oldest rows a batch id, up to the size of one batch."""
        batch_id, last, rows = uuid.uuid4().hex, 0, 0
        waiting = "SELECT id, CAST(row_count AS INTEGER) FROM entry WHERE batch_id IS NULL ORDER BY id"
        for number, count in connection.execute(waiting):
            if last and rows + count > _BATCH_ROWS:
                break
            last, rows = number, rows + count
        connection.execute("UPDATE entry SET batch_id = ? WHERE batch_id IS NULL AND id <= ?", (batch_id, last))
        return batch_id

    def _make_room(self, connection: sqlite3.Connection) -> int:
        """Drop the oldest rows while the file is over its bound; the newest stay. Count what went."""
        size = connection.execute("SELECT coalesce(sum(length(body)), 0) FROM entry").fetchone()[0]
        gone = 0
        while size > self.max_bytes:
            found = connection.execute(_TWO_OLDEST).fetchall()
            if len(found) == 1:
                break
            number, count, length = found[0]
            connection.execute("DELETE FROM entry WHERE id = ?", (number,))
            size, gone = size - length, gone + count
        if gone:
            _count(connection, _DROPPED, gone)
        return gone


def _count(connection: sqlite3.Connection, key: str, more: int) -> None:
    """Add to a number that is remembered until it was told."""
    before = recalled(connection, key, is_whole=True)
    total = more + int(before[0][1] if before else 0)
    remember(connection, key, str(total))


def _plain(row: Any) -> dict[str, Value]:
    return {name: plain(value) for name, value in row.items()}
