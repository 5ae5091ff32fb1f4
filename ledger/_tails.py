"""What of each table lies in small groups of rows: how much has come since a while, and which stretch is written again.

A checkpoint ends a group in each table that rows came into. Of thirty-two such groups one is made; and where the one
before it is less than twice as large, one of both: a row is written again a few times at most until its group is whole.
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
"""What came has come by then: agents send within seconds what they have read."""

_OPEN: Final = timedelta(hours=2)
"""What is computed of an hour is computed again until then."""

_MOST_LATE: Final = 500_000
"""Keys of rows that came late are kept of so many; of more, the night joins their groups."""


@dataclass(frozen=True)
class Stretch:
    """Rows of a table to write again: those of a time, and some that came late, by their keys."""

    table: Table
    column: str
    start: datetime
    end: datetime
    late: pl.DataFrame | None
    groups: int
    rows: int
    late_count: int


@dataclass
class _Tail:
    """What of one table lies in small groups: `written` are the starts and rows of those that were made of others."""

    start: datetime
    has_new: bool = False
    groups: int = 0
    rows: int = 0
    late_rows: int = 0
    late: list[pl.DataFrame] = field(default_factory=list)
    written: list[tuple[datetime, int]] = field(default_factory=list)


class Tails:
    """The small groups of all tables; one thread writes rows and says so, another writes them again."""

    def __init__(self) -> None:
        self._tails: dict[str, tuple[Table, _Tail]] = {}
        self._lock = threading.Lock()

    def note(self, inserted: Sequence[tuple[Table, pl.DataFrame]]) -> None:
        """Take note of rows that were committed."""
        for table, frame in inserted:
            column = instant_of(table)
            # So many lie in whole groups already.
            if column is None or frame.is_empty() or frame.height >= ROW_GROUP:
                continue
            with self._lock:
                self._note(table, column, frame)

    def _note(self, table: Table, column: str, frame: pl.DataFrame) -> None:
        first = cast("datetime", frame[column].min())
        _, tail = self._tails.setdefault(table.name, (table, _Tail(first)))
        tail.has_new = True
        tail.rows += frame.height
        if first < tail.start and tail.late_rows < _MOST_LATE:
            keys = list(dict.fromkeys((*table.key, column)))
            late = frame.lazy().filter(pl.col(column) < tail.start).select(keys).collect()
            tail.late.append(late)
            tail.late_rows += late.height

    def note_checkpoint(self) -> None:
        """Take note that a checkpoint has ended the groups that rows came into."""
        with self._lock:
            for _, tail in self._tails.values():
                tail.groups += tail.has_new
                tail.has_new = False

    def due(self, now: datetime) -> Stretch | None:
        """Return what is to be written again next, None if nothing is."""
        with self._lock:
            ready = [each for each in self._tails.values() if each[1].groups >= _SMALL_GROUPS]
            for table, tail in sorted(ready, key=lambda each: -each[1].groups):
                end = _settled(table, now)
                if tail.start < end or tail.late:
                    return _stretch(table, tail, max(end, tail.start))
        return None

    def written(self, stretch: Stretch, rows: int) -> None:
        """Take note that a stretch lies in one group now, or in whole ones."""
        with self._lock:
            _, tail = self._tails[stretch.table.name]
            tail.written = [part for part in tail.written if part[0] < stretch.start]
            if rows < ROW_GROUP:
                tail.written.append((stretch.start, rows))
            del tail.late[: stretch.late_count]
            tail.late_rows = sum(frame.height for frame in tail.late)
            tail.start, tail.rows, tail.groups = stretch.end, tail.rows - stretch.rows, tail.groups - stretch.groups

    def put_off(self, stretch: Stretch) -> None:
        """Take note that a stretch could not be written: its turn comes with the next groups."""
        with self._lock:
            self._tails[stretch.table.name][1].groups = 0


def _stretch(table: Table, tail: _Tail, end: datetime) -> Stretch:
    start, rows = tail.start, tail.rows
    for began, before in reversed(tail.written):
        if before >= 2 * rows:
            break
        start, rows = began, rows + before
    late = pl.concat(tail.late).unique() if tail.late else None
    column = cast("str", instant_of(table))
    return Stretch(table, column, start, end, late, tail.groups, tail.rows, len(tail.late))


def _settled(table: Table, now: datetime) -> datetime:
    """Return the instant before which rows stay as they are."""
    return floor(now - _OPEN, "hour") if table.group == "rollup" else now - _SETTLED


def instant_of(table: Table) -> str | None:
    """Return the column by which rows come one after the other; None for tables of other kinds."""
    partition = table.partition
    if not isinstance(partition, Timed) or (table.group == "rollup" and partition.every != "hour"):
        return None
    return partition.column if columns_of(table.schema)[partition.column].dtype == pl.Datetime else None


__all__ = ["Stretch", "Tails", "instant_of"]
