"""What rollups read: those that read the same millions of rows read each stretch of them once, together."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import dataframely as dy
import polars as pl

from ledger.store import Store
from ledger.tables.partition import Keyed, Timed, declared
from queries._due import window
from queries._work import Part, Work, every_of
from queries.graph import Rollup, Source, Span

Stretch = tuple[datetime, datetime]
Key = tuple[type[dy.Schema], datetime, datetime]
Call = tuple[Work, list[Part]]


def read(store: Store, rollup: Rollup, source: Source, span: Span) -> pl.DataFrame:
    """Return the rows of one input that a stretch of the output needs."""
    asked = source.read
    where: dict[str, tuple[object, ...]] = dict(asked.where)
    stretch = window(source, span.start, span.end)
    if every_of(rollup) is None and stretch is not None:
        stretch = None if asked.recent is None else (span.end - asked.recent, span.end)
    if source.schema is rollup.schema:
        if isinstance(declared(rollup.schema).partition, Keyed):
            where["rule"] = (rollup.name,)
        elif stretch is not None:
            # Its own earlier output, never what it is about to write.
            stretch = (stretch[0], span.start)
    # A rollup does not depend on the order of rows, and sorting them would take as long as reading them.
    return store.read(
        source.schema,
        stretch,
        by=asked.by,
        columns=asked.columns,
        where=where or None,
        ordered=False,
        coded=asked.coded,
    )


@dataclass
class _Held:
    """The rows of a stretch, read by the first who asks, kept until the last one has."""

    left: int
    lock: threading.Lock = field(default_factory=threading.Lock)
    frame: pl.DataFrame | None = None


class Together:
    """The inputs of calls of which several read the same rows of one table."""

    def __init__(self, store: Store, made: Sequence[Call]) -> None:
        self._store = store
        self._sources = _common({work.rollup.name: work for work, _ in made}.values())
        readers: dict[Key, list[int]] = {}
        for place, (work, parts) in enumerate(made):
            for source in work.rollup.sources:
                if source in self._sources.get(source.schema, ()):
                    readers.setdefault((source.schema, parts[0].start, parts[-1].end), []).append(place)
        self._held = {key: _Held(len(places)) for key, places in readers.items() if len(places) > 1}
        first = {place: places[0] for key, places in readers.items() if key in self._held for place in places}
        self.order = sorted(range(len(made)), key=lambda place: (first.get(place, place), place))
        """The calls in their order, those that read the same rows beside each other."""

    def read(self, rollup: Rollup, source: Source, span: Span) -> pl.DataFrame:
        """Return the rows of one input that a stretch of the output needs."""
        held = self._held.get((source.schema, span.start, span.end))
        if held is None or source not in self._sources[source.schema]:
            return read(self._store, rollup, source, span)
        windows = [found for each in self._sources[source.schema] if (found := window(each, span.start, span.end))]
        whole = min(start for start, _ in windows), max(end for _, end in windows)
        with held.lock:
            if held.frame is None:
                held.frame = self._whole(source, whole)
            frame = held.frame
            held.left -= 1
            if not held.left:
                held.frame = None
        wanted = window(source, span.start, span.end) or whole
        rows = frame.select(source.read.columns)
        time = pl.col(_time(source.schema))
        return rows if wanted == whole else rows.filter(time.is_between(*wanted, closed="left"))

    def _whole(self, source: Source, stretch: Stretch) -> pl.DataFrame:
        columns = dict.fromkeys(name for each in self._sources[source.schema] for name in each.read.columns)
        return self._store.read(source.schema, stretch, columns=tuple(columns), ordered=False, coded=source.read.coded)


def _common(works: Iterable[Work]) -> dict[type[dy.Schema], list[Source]]:
    """Return inputs of many rows that differ in nothing but their columns and how far they reach."""
    found: dict[type[dy.Schema], list[Source]] = {}
    for work in works:
        for source in work.rollup.sources:
            asked = source.read
            is_plain = asked.coded and not (asked.by or asked.where or asked.recent)
            if is_plain and _time(source.schema) in asked.columns:
                found.setdefault(source.schema, []).append(source)
    return {
        schema: sources
        for schema, sources in found.items()
        if len(sources) > 1 and len({each.read.coded for each in sources}) == 1
    }


def _time(schema: type[dy.Schema]) -> str:
    """Return the column by which a table is cut into partitions, '' where it is not cut by an instant."""
    partition = declared(schema).partition
    return partition.column if isinstance(partition, Timed) else ""
