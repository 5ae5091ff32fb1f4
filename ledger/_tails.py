"""What of each table lies in small groups of rows: how much has come since a while, and which stretch is written again.

A checkpoint ends a group in each table that rows came into. Once the rows of some would fill a whole group they make
one. Where fewer come, thirty-two such groups make one, together with the one before it if that is less than twice as
large: a row is written again a few times at most until its group is whole.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, cast

import polars as pl

from ledger._connection import ROW_GROUP
from ledger.frames import columns_of
from ledger.tables.partition import Table, Timed, floor

_SMALL_GROUPS: Final = 32

_SETTLED: Final = timedelta(seconds=60)
"""What was read until an instant has come by then: agents send within seconds."""

_OPEN: Final = timedelta(hours=2)
"""What is computed of an hour is computed again until then."""

_PATIENCE: Final = timedelta(seconds=60)
"""How long a stretch waits that could not be written."""

_MOST_LATE: Final = 500_000
"""Keys of rows that came late are kept of so many; of more, the night joins their groups."""


@dataclass(frozen=True)
class Stretch:
    """Rows of a table to write again: those of a time, and some that came late, by their keys.

    `rows` is how many have come since the last stretch, and `late_count` in how many commits the late ones came.
    """

    table: Table
    column: str
    start: datetime
    end: datetime
    late: pl.DataFrame | None = None
    rows: int = 0
    late_count: int = 0


@dataclass
class _Tail:
    """What of one table lies in small groups.

    `marks` are the checkpoints that ended one, with how many rows had come by then since `start`; `written` are the
    starts and rows of those that were made of others.
    """

    start: datetime
    rows: int = 0
    has_new: bool = False
    marks: list[tuple[datetime, int]] = field(default_factory=list)
    late: list[pl.DataFrame] = field(default_factory=list)
    written: list[tuple[datetime, int]] = field(default_factory=list)
    not_before: datetime | None = None


class Tails:
    """The small groups of all tables; one thread writes rows and says so, another writes them again."""

    def __init__(self) -> None:
        self._tails: dict[str, tuple[Table, _Tail]] = {}
        self._lock = threading.Lock()

    def note(self, inserted: Sequence[tuple[Table, pl.DataFrame]]) -> None:
        """Take note of rows that were committed."""
        for table, frame in inserted:
            column = instant_of(table)
            if column is None or frame.is_empty():
                continue
            with self._lock:
                self._note(table, column, frame)

    def _note(self, table: Table, column: str, frame: pl.DataFrame) -> None:
        first = cast("datetime", frame[column].min())
        _, tail = self._tails.setdefault(table.name, (table, _Tail(first)))
        tail.has_new = True
        tail.rows += frame.height
        if first < tail.start and sum(late.height for late in tail.late) < _MOST_LATE:
            keys = list(dict.fromkeys((*table.key, column)))
            tail.late.append(frame.lazy().filter(pl.col(column) < tail.start).select(keys).collect())

    def note_checkpoint(self, now: datetime) -> None:
        """Take note that a checkpoint has ended the groups that rows came into."""
        with self._lock:
            for _, tail in self._tails.values():
                if tail.has_new:
                    tail.marks.append((now, tail.rows))
                    tail.has_new = False

    def due(self, now: datetime) -> Stretch | None:
        """Return what is to be written again next, None if nothing is."""
        with self._lock:
            found = [each for each in (_due(table, tail, now) for table, tail in self._tails.values()) if each]
        return max(found, key=lambda each: each.rows, default=None)

    def written(self, stretch: Stretch, rows: int) -> None:
        """Take note that a stretch lies in one group now, or in whole ones."""
        with self._lock:
            _, tail = self._tails[stretch.table.name]
            tail.written = [part for part in tail.written if part[0] < stretch.start]
            if rows < ROW_GROUP:
                tail.written.append((stretch.start, rows))
            del tail.late[: stretch.late_count]
            tail.start, tail.rows = stretch.end, tail.rows - stretch.rows
            tail.marks = [(at, count - stretch.rows) for at, count in tail.marks if at > stretch.end]

    def put_off(self, stretch: Stretch, now: datetime) -> None:
        """Take note that a stretch could not be written: its turn comes again."""
        with self._lock:
            self._tails[stretch.table.name][1].not_before = now + _PATIENCE


def _due(table: Table, tail: _Tail, now: datetime) -> Stretch | None:
    settled = floor(now - _OPEN, "hour") if table.group == "rollup" else now - _SETTLED
    marks = [mark for mark in tail.marks if mark[0] <= settled]
    whole = next((mark for mark in marks if mark[1] >= ROW_GROUP), None)
    if (whole is None and len(marks) < _SMALL_GROUPS) or (tail.not_before is not None and now < tail.not_before):
        return None
    end, rows = whole or marks[-1]
    start, reached = tail.start, rows
    for began, before in reversed(tail.written):
        if before >= 2 * reached:
            break
        start, reached = began, reached + before
    late = pl.concat(tail.late).unique() if tail.late else None
    column = cast("str", instant_of(table))
    return Stretch(table, column, start, max(start, end), late, rows, len(tail.late))


def instant_of(table: Table) -> str | None:
    """Return the column by which rows come one after the other; None for tables of other kinds."""
    partition = table.partition
    if not isinstance(partition, Timed) or (table.group == "rollup" and partition.every != "hour"):
        return None
    return partition.column if columns_of(table.schema)[partition.column].dtype == pl.Datetime else None


__all__ = ["Stretch", "Tails", "instant_of"]
