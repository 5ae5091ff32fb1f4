"""How far each node's rows reach in time: rows beyond that are new, and need not be looked for.

It holds as long as no other store of the process commits in between, which the fence's count shows.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Final

import polars as pl

from ledger.tables.partition import Table, Timed

Edges = dict[tuple[str, str], datetime]
"""By cluster and node, the last instant that is stored."""

_NODE: Final = ("cluster", "node")

# The first write of a short command is checked by its keys; only who writes again and again reads it all.
_WRITES_BEFORE_READING: Final = 2


class Latest:
    """What one store knows about the ends of its tables, as of one count of the fence."""

    def __init__(self) -> None:
        self._turn = -1
        self._edges: dict[str, Edges] = {}
        self._writes: dict[str, int] = {}

    def begin(self, turn: int) -> None:
        """Forget everything if somebody else has written since the last commit."""
        if turn != self._turn + 1:
            self._edges.clear()

    def is_beyond(self, table: Table, frame: pl.DataFrame, read: Callable[[], pl.DataFrame]) -> bool:
        """Tell whether every row is later than all stored rows of its node; `read` gives what is stored."""
        column = time_of(table)
        if column is None:
            return False
        if table.name not in self._edges:
            self._writes[table.name] = self._writes.get(table.name, 0) + 1
            if self._writes[table.name] <= _WRITES_BEFORE_READING:
                return False
            self._edges[table.name] = {(cluster, node): last for cluster, node, last in read().iter_rows()}
        known = self._edges[table.name]
        first = frame.group_by(_NODE).agg(pl.col(column).min())
        return all((last := known.get((cluster, node))) is None or at > last for cluster, node, at in first.iter_rows())

    def commit(self, turn: int, added: list[tuple[Table, pl.DataFrame]], rewritten: set[str]) -> None:
        """Take over what a transaction has stored, once it is committed."""
        self._turn = turn
        for table, frame in added:
            column = time_of(table)
            known = self._edges.get(table.name)
            if column is None or known is None:
                continue
            for cluster, node, at in frame.group_by(_NODE).agg(pl.col(column).max()).iter_rows():
                known[cluster, node] = max(at, known.get((cluster, node), at))
        for name in rewritten:
            self._edges.pop(name, None)


def time_of(table: Table) -> str | None:
    """Return the column by which rows of a node follow each other, if the table has one."""
    partition = table.partition
    if isinstance(partition, Timed) and {partition.column, *_NODE} <= set(table.key):
        return partition.column
    return None
