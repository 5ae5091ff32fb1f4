"""How far each node's rows reach in time: rows beyond that are new, and need not be looked for.

It holds as long as no other store of the process commits in between, which the fence's count shows.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ledger._order import whole
from ledger._seen import BatchKey, Seen
from ledger._slices import Slices
from ledger.tables.partition import Table, Timed

Edges = dict[tuple[str, str], int]
"""By cluster and node, the last instant that is stored, in microseconds."""

_NODE: Final = ("cluster", "node")

# The first write of a short command is checked by its keys; only who writes again and again reads it all.
_WRITES_BEFORE_READING: Final = 2

_MANY_RUNS: Final = 5_000


class Latest:
    """What one store knows about the ends of its tables, as of one count of the fence."""

    def __init__(self) -> None:
        self._turn = -1
        self._edges: dict[str, Edges] = {}
        self._since: dict[str, int] = {}
        self._writes: dict[str, int] = {}
        self.batches = Seen()
        self.slices = Slices()

    def begin(self, turn: int) -> None:
        """Forget everything if somebody else has written since the last commit."""
        if turn != self._turn + 1:
            self._edges.clear()
            self.batches.forget()

    def behind(
        self, table: Table, frame: pl.DataFrame, read: Callable[[], tuple[pl.DataFrame, datetime]]
    ) -> set[tuple[str, str]] | None:
        """Return the nodes with a row that is not later than all their stored rows; None where that is not known.

        `read` gives how far the stored rows of nodes reach, and the instant before which it did not look.
        """
        column = time_of(table)
        if column is None:
            return None
        if table.name not in self._edges:
            self._writes[table.name] = self._writes.get(table.name, 0) + 1
            if self._writes[table.name] <= _WRITES_BEFORE_READING:
                return None
            found, since = read()
            places = found.select(_NODE).iter_rows()
            self._edges[table.name] = dict(zip(places, whole(found.to_series(2)), strict=True))
            (self._since[table.name],) = whole(pl.Series([since], dtype=pl.Datetime("us", "UTC")))
        known, before = self._edges[table.name], self._since[table.name]
        first = _ends(frame, column, last=False)
        return {node for node, at in first.items() if at <= known.get(node, before)}

    def commit(
        self,
        turn: int,
        added: list[tuple[Table, pl.DataFrame]],
        rewritten: set[str],
        recorded: Iterable[BatchKey],
    ) -> None:
        """Take over what a transaction has stored, once it is committed; `recorded` are its batches."""
        self._turn = turn
        self.batches.commit(recorded)
        for table, frame in added:
            column = time_of(table)
            known = self._edges.get(table.name)
            if column is None or known is None:
                continue
            for node, at in _ends(frame, column, last=True).items():
                known[node] = max(at, known.get(node, at))
        for name in rewritten:
            self._edges.pop(name, None)
            if name == "batch":
                self.batches.forget()


def _ends(frame: pl.DataFrame, column: str, *, last: bool) -> Edges:
    """Return the first or the last instant of each node."""
    starts = _starts(frame)
    if len(starts) > _MANY_RUNS:
        at = pl.col(column).to_physical()
        grouped = frame.group_by(_NODE).agg(at.max() if last else at.min())
        return {(cluster, node): each for cluster, node, each in grouped.iter_rows()}
    # In this thread: what waits for the threads of Polars waits for all that is computed meanwhile.
    further, among = (max, np.maximum) if last else (min, np.minimum)
    instants = frame[column].to_physical().to_numpy()
    clusters, nodes = (frame[name][starts].to_list() for name in _NODE)
    ends = among.reduceat(instants, starts).tolist() if len(starts) else []
    found: Edges = {}
    for cluster, node, each in zip(clusters, nodes, ends, strict=True):
        place = cluster, node
        found[place] = further(each, found.get(place, each))
    return found


def _starts(frame: pl.DataFrame) -> npt.NDArray[np.intp]:
    """Return where rows of one node begin that follow each other: whoever sends brings those of one or of few."""
    if frame.is_empty():
        return np.empty(0, dtype=np.intp)
    others = [(frame[name].slice(1) != frame[name].head(-1)).to_numpy() for name in _NODE]
    return np.concatenate(([0], 1 + np.flatnonzero(np.logical_or(*others))))


def time_of(table: Table) -> str | None:
    """Return the column by which rows of a node follow each other, if the table has one."""
    partition = table.partition
    if isinstance(partition, Timed) and {partition.column, *_NODE} <= set(table.key):
        return partition.column
    return None
