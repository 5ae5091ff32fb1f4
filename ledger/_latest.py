"""How far each node's rows reach in time: rows beyond that are new, and need not be looked for.

It holds as long as no other store of the process commits in between, which the turns show.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import polars as pl

from ledger._order import whole
from ledger._reach import NODE, Reach, time_of
from ledger._seen import BatchKey, Seen
from ledger._slices import Slices
from ledger.tables.partition import Table

Edges = dict[tuple[str, str], int]
"""By cluster and node, the last instant that is stored, in microseconds."""

# The first write of a short command is checked by its keys; only who writes again and again reads it all.
_WRITES_BEFORE_READING: Final = 2


class Latest:
    """What one store knows about the ends of its tables, as of one turn."""

    def __init__(self) -> None:
        self._turn = -1
        self._edges: dict[str, Edges] = {}
        self._since: dict[str, int] = {}
        self._writes: dict[str, int] = {}
        self.batches = Seen()
        self.slices = Slices()

    def begin(self, turn: int) -> None:
        """Forget everything if somebody else has written since the last commit; `turn` is the one that begins."""
        if turn != self._turn + 1:
            self._edges.clear()
            self.batches.forget()

    def behind(
        self, table: Table, reached: Callable[[], Reach], read: Callable[[], tuple[pl.DataFrame, datetime]]
    ) -> set[tuple[str, str]] | None:
        """Return the nodes with a row that is not later than all their stored rows; None where that is not known.

        `read` gives how far the stored rows of nodes reach, and the instant before which it did not look.
        """
        if time_of(table) is None:
            return None
        if table.name not in self._edges:
            self._writes[table.name] = self._writes.get(table.name, 0) + 1
            if self._writes[table.name] <= _WRITES_BEFORE_READING:
                return None
            found, since = read()
            places = found.select(NODE).iter_rows()
            self._edges[table.name] = dict(zip(places, whole(found.to_series(2)), strict=True))
            (self._since[table.name],) = whole(pl.Series([since], dtype=pl.Datetime("us", "UTC")))
        known, before = self._edges[table.name], self._since[table.name]
        return {(cluster, node) for cluster, node, at, _ in reached() if at <= known.get((cluster, node), before)}

    def is_known(self, table: Table) -> bool:
        """Tell whether it is known how far the table's rows reach."""
        return table.name in self._edges

    def commit(
        self,
        turn: int,
        added: list[tuple[Table, Reach]],
        rewritten: set[str],
        recorded: Iterable[BatchKey],
    ) -> None:
        """Take over what a transaction has stored, once it is committed; `recorded` are its batches."""
        self._turn = turn
        self.batches.commit(recorded)
        for table, reached in added:
            known = self._edges.get(table.name)
            if known is None:
                continue
            for cluster, node, _, at in reached:
                place = cluster, node
                known[place] = max(at, known.get(place, at))
        for name in rewritten:
            self._edges.pop(name, None)
            if name == "batch":
                self.batches.forget()
