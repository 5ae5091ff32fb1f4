"""What rollups read for a stretch of time, each row once."""

import threading
from collections.abc import Sequence

import polars as pl

from ledger.store import Store
from ledger.tables.partition import Between, Keyed, declared
from queries._apart import NODE
from queries._due import window
from queries._work import every_of
from queries.graph import Rollup, Source, Span


class Reading:
    """The inputs of rollups for one stretch, as they are at one instant; rows that several read are read once.

    Whoever comes first reads for all. Of inputs whose rows can be told apart by nodes, those of some nodes are read.
    """

    def __init__(self, store: Store, rollups: Sequence[Rollup], span: Span, nodes: Between | None = None) -> None:
        self.span = span
        self._nodes = nodes
        self._store = store
        self._rollups = rollups
        self._turn = threading.Lock()
        self._found: dict[str, dict[str, pl.DataFrame]] | None = None

    def of(self, rollup: Rollup) -> dict[str, pl.DataFrame]:
        """Return the inputs of a rollup, once: nobody else holds them then."""
        with self._turn:
            if self._found is None:
                self._found = self._read()
            return self._found.pop(rollup.name)

    def _read(self) -> dict[str, dict[str, pl.DataFrame]]:
        read: list[tuple[Source, pl.DataFrame]] = []
        found: dict[str, dict[str, pl.DataFrame]] = {}
        with self._store.transaction():
            for rollup in self._rollups:
                found[rollup.name] = {}
                for source in rollup.sources:
                    alike = [each for other in self._rollups for each in other.sources if each.reads_rows_of(source)]
                    frame = next((frame for first, frame in read if first is alike[0]), None)
                    if frame is None:
                        columns = tuple(dict.fromkeys(name for each in alike for name in each.read.columns))
                        frame = _read(self._store, rollup, source, self.span, columns, self._nodes)
                        read.append((alike[0], frame))
                    found[rollup.name][source.parameter] = (
                        frame.select(source.read.columns) if len(alike) > 1 else frame
                    )
        return found


def _read(
    store: Store, rollup: Rollup, source: Source, span: Span, columns: tuple[str, ...], nodes: Between | None
) -> pl.DataFrame:
    """Return the rows of one input that a stretch of the output needs."""
    read = source.read
    where: dict[str, tuple[object, ...]] = dict(read.where)
    if read.apart and nodes is not None:
        where[NODE] = nodes
    stretch = window(source, span.start, span.end)
    if every_of(rollup) is None and stretch is not None:
        stretch = None if read.recent is None else (span.end - read.recent, span.end)
    if source.schema is rollup.schema:
        if isinstance(declared(rollup.schema).partition, Keyed):
            where["rule"] = (rollup.name,)
        elif stretch is not None:
            # Its own earlier output, never what it is about to write.
            stretch = (stretch[0], span.start)
    # A rollup does not depend on the order of rows, and sorting them would take as long as reading them.
    return store.read(
        source.schema, stretch, by=read.by, columns=columns, where=where or None, ordered=False, coded=read.coded
    )
