"""Over which instants the rows of each node reach."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from ledger.tables.partition import Table, Timed

Reach = Sequence[tuple[str, str, int, int]]
"""Cluster and node with the first and the last instant of some of its rows, in microseconds; a node may come again."""

NODE: Final = ("cluster", "node")

_MANY_RUNS: Final = 5_000


def time_of(table: Table) -> str | None:
    """Return the column by which rows of a node follow each other, if the table has one."""
    partition = table.partition
    if isinstance(partition, Timed) and {partition.column, *NODE} <= set(table.key):
        return partition.column
    return None


def reach(table: Table, frame: pl.DataFrame) -> Reach:
    """Return how far rows reach; nothing for a table whose rows follow no time. Rows without a key are left out."""
    column = time_of(table)
    if column is None or frame.is_empty():
        return ()
    needed = [*NODE, column]
    if any(frame[name].null_count() for name in needed):
        return reach(table, frame.select(needed).drop_nulls())
    starts = _starts(frame)
    if len(starts) > _MANY_RUNS:
        at = pl.col(column).to_physical()
        return frame.group_by(NODE).agg(at.min().alias("first"), at.max().alias("last")).rows()
    # In this thread: what waits for the threads of Polars waits for all that is computed meanwhile.
    instants = frame[column].to_physical().to_numpy()
    clusters, nodes = (frame[name][starts].to_list() for name in NODE)
    first, last = (further.reduceat(instants, starts).tolist() for further in (np.minimum, np.maximum))
    return list(zip(clusters, nodes, first, last, strict=True))


def _starts(frame: pl.DataFrame) -> npt.NDArray[np.intp]:
    """Return where rows of one node begin that follow each other: whoever sends brings those of one or of few."""
    others = [(frame[name].slice(1) != frame[name].head(-1)).to_numpy() for name in NODE]
    return np.concatenate(([0], 1 + np.flatnonzero(np.logical_or(*others))))
