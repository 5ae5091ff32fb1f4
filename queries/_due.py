"""Which partitions of a rollup are due: those whose inputs, code or settings are not what they were computed from."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import polars as pl

from ledger.errors import ConfigError
from ledger.store import Store, Version
from ledger.tables.partition import (
    EDGE_PREFIX,
    Every,
    Spanning,
    Table,
    Timed,
    after,
    declared,
    floor,
    partition_key,
    start_of,
)
from queries.graph import Rollup, Source, fingerprint

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DAY = timedelta(days=1)

_LENGTHS: dict[Every, str] = {"hour": "1h", "day": "1d", "month": "1mo"}

States = Mapping[str, Version]
"""What `partition_state` says about one table, by partition key."""


@dataclass(frozen=True)
class Grouping:
    """How an input's rows are grouped in `partition_state`: a prefix of the keys, and their length in time.

    `every` is None where the groups are no stretches of time: then any change concerns every output.
    """

    prefix: str
    every: Every | None
    starts_periods: bool
    spans: bool


def grouping(source: Source) -> Grouping:
    """Return how a rollup sees an input's partitions.

    Raises: ConfigError: the input asks for a grouping that the table does not declare.
    """
    table = declared(source.schema)
    by = source.read.by
    if by:
        timed = next((each for each in table.also if each.column == by), None)
        if timed is None:
            raise ConfigError(f"{source.parameter}: {table.name} has no grouping by {by}")
        return Grouping(f"{by}:", timed.every, _starts(timed), spans=False)
    if isinstance(table.partition, Timed):
        return Grouping("", table.partition.every, _starts(table.partition), spans=False)
    if isinstance(table.partition, Spanning):
        return Grouping("", "hour", starts_periods=False, spans=True)
    return Grouping("", None, starts_periods=False, spans=False)


def _starts(timed: Timed) -> bool:
    """Tell whether the column is the start of the period itself, so that a row stands for all of it."""
    return timed.every != "hour" or timed.column == "hour_start"


@lru_cache(maxsize=200_000)
def key_of(start: datetime, every: Every) -> str:
    """Return `partition_key`, remembered: the same hours are asked for by each rollup."""
    return partition_key(start, every)


@lru_cache(maxsize=200_000)
def started(key: str) -> datetime:
    """Return `start_of`, remembered."""
    return start_of(key)


def periods(start: datetime, end: datetime, every: Every) -> Iterator[datetime]:
    """Yield the starts of the partitions that overlap a stretch of time."""
    at = floor(start, every)
    while at < end:
        yield at
        at = after(at, every)


@lru_cache(maxsize=200_000)
def covered(start: datetime, long: Every, short: Every) -> tuple[datetime, ...]:
    """Return the partitions of one length that overlap one of another, remembered."""
    return tuple(periods(start, after(start, long), short))


class Tokens:
    """The versions of one input's partitions in the order of time, which is the order of their keys."""

    def __init__(self, versions: Mapping[str, str]) -> None:
        self._keys = sorted(versions)
        self._pairs = [f"{key}={versions[key]}" for key in self._keys]
        self._by_key = dict(zip(self._keys, self._pairs, strict=True))
        self.whole = ",".join(self._pairs)

    def of(self, key: str) -> str:
        """Return the version of one partition; nothing where there is none."""
        return self._by_key.get(key, "")

    def between(self, first: str, last: str) -> str:
        """Return the versions of the partitions from one key to another, both included."""
        if first == last:
            return self.of(first)
        return ",".join(self._pairs[bisect_left(self._keys, first) : bisect_right(self._keys, last)])


@dataclass
class Versions:
    """The versions of all inputs of one run, read once for all tables and again for one that a rollup wrote."""

    store: Store
    now: datetime
    _states: dict[str, dict[str, Version]] | None = None
    _grouped: dict[tuple[str, str], States] = field(default_factory=dict)
    _tokens: dict[tuple[str, str], Tokens] = field(default_factory=dict)
    _open: dict[str, bool] = field(default_factory=dict)

    def of(self, table: str) -> States:
        """Return what is recorded about a table's partitions."""
        if self._states is None:
            self._states = self.store.current()
        return self._states.get(table, {})

    def forget(self, table: str) -> None:
        """Read a table's versions anew: it was written."""
        if self._states is not None:
            self._states |= self.store.current(table)
        for known in (self._grouped, self._tokens):
            for key in [key for key in known if key[0] == table]:
                del known[key]

    def grouped(self, table: Table, prefix: str) -> States:
        """Return the states of a table's partitions in one grouping, by partition key without its prefix."""
        if (table.name, prefix) not in self._grouped:
            self._grouped[table.name, prefix] = _grouped(table, prefix, self.of(table.name))
        return self._grouped[table.name, prefix]

    def tokens(self, table: Table, prefix: str) -> Tokens:
        """Return the versions of a table's partitions in one grouping."""
        if (table.name, prefix) not in self._tokens:
            states = self.grouped(table, prefix)
            self._tokens[table.name, prefix] = Tokens({key: each.token for key, each in states.items()})
        return self._tokens[table.name, prefix]

    def is_open(self, source: Source) -> bool:
        """Tell whether an interval of a table lasts to this moment, so that it reaches into new hours by itself."""
        table = declared(source.schema)
        if table.name not in self._open:
            window = (self.now, self.now + timedelta(microseconds=1))
            self._open[table.name] = not self.store.read(source.schema, window, columns=table.key).is_empty()
        return self._open[table.name]


def _grouped(table: Table, prefix: str, states: States) -> States:
    if prefix:
        return {key.removeprefix(prefix): each for key, each in states.items() if key.startswith(prefix)}
    others = tuple(f"{each.column}:" for each in table.also)
    if _edge(table):
        others += (EDGE_PREFIX,)
    return {key: each for key, each in states.items() if not key.startswith(others)} if others else states


def _edge(table: Table) -> timedelta:
    """Return how much of the beginning of a table's partitions has a version of its own."""
    return table.partition.edge if isinstance(table.partition, Timed) else timedelta(0)


@lru_cache(maxsize=200_000)
def _outer(begin: datetime, finish: datetime, every: Every) -> tuple[str, str]:
    """Return the keys of the first and the last partition that a stretch of time overlaps."""
    last = finish - timedelta(microseconds=1)
    return key_of(floor(begin, every), every), key_of(floor(last, every), every)


@dataclass(frozen=True)
class Versioned:
    """An input with the versions of its partitions; `edges` are those of their edges, if it reads no further."""

    source: Source
    group: Grouping
    every: Every
    tokens: Tokens
    edges: Tokens | None = None

    def between(self, start: datetime, end: datetime) -> str:
        """Return the versions of what a stretch of the output reads.

        Of a partition that was written before edges had versions, and of one without rows there, the whole counts.
        """
        begin, finish = start - self.source.read.before, end + self.source.read.after
        edge = "" if self.edges is None else self.edges.of(key_of(end, self.every))
        if not edge:
            return self.tokens.between(*_outer(begin, finish, self.every))
        return f"{self.tokens.between(*_outer(begin, end, self.every))},{EDGE_PREFIX}{edge}"


@dataclass(frozen=True)
class Inputs:
    """The versions of a rollup's inputs, ready to be asked for each of its partitions."""

    rollup: Rollup
    now: datetime
    timed: tuple[Versioned, ...]
    whole: str

    def version(self, start: datetime, end: datetime) -> str:
        """Return a fingerprint of all input versions that one partition of the output depends on.

        A partition that is not over yet depends on the clock too, if the rollup knows the time.
        """
        parts = [self.whole, *(each.between(start, end) for each in self.timed)]
        if self.rollup.takes_span and end > self.now:
            pace = "%Y-%m-%dT%H:%M" if end - start < _DAY else "%Y-%m-%dT%H"
            parts.append("ahead" if start > self.now else self.now.strftime(pace))
        return fingerprint(";".join(parts))

    def recent_version(self, end: datetime) -> str:
        """Return a fingerprint of all input versions, as far back as each input says; the clock's hour is one."""
        parts = [self.whole]
        for each in self.timed:
            recent = each.source.read.recent
            oldest, newest = _outer(EPOCH if recent is None else end - recent, end, each.every)
            parts.append(each.tokens.between("" if recent is None else oldest, newest))
        if self.rollup.takes_span:
            parts.append(end.strftime("%Y-%m-%dT%H"))
        return fingerprint(";".join(parts))

    def row_counts(self, versions: Versions, start: datetime, end: datetime) -> list[tuple[Every, Mapping[str, int]]]:
        """Return how many rows of each input lie in each of its partitions, for a stretch of the output."""
        return [(each.every, _counts(each.source, each.group, versions, (start, end))) for each in self.timed]

    def largest(self, versions: Versions, start: datetime, end: datetime) -> tuple[Source | None, int]:
        """Return the input whose rows can be told apart by nodes that has most of them to read, and about how many."""
        counts: list[tuple[int, Source]] = []
        for each in self.timed:
            stretch = window(each.source, start, end)
            if each.source.read.apart and stretch is not None:
                states = versions.of(declared(each.source.schema).name)
                counts.append((_rows_between(states, stretch, each.every, self.now), each.source))
        count, largest = max(counts, key=lambda each: each[0], default=(0, None))
        return largest, count


def _rows_between(states: States, stretch: tuple[datetime, datetime], every: Every, now: datetime) -> int:
    """Return about how many rows of a table lie in a stretch of time: those of a partition come evenly, up to now."""
    begin, finish = stretch
    count = 0.0
    for at in periods(begin, finish, every):
        state, end = states.get(key_of(at, every)), after(at, every)
        if state is not None and state.row_count:
            until = min(end, now) if at < now else end
            inside = max(timedelta(0), min(finish, until) - max(begin, at))
            count += state.row_count * (inside / (until - at))
    return round(count)


def most_rows(counts: Sequence[tuple[Every, Mapping[str, int]]], start: datetime, end: datetime) -> int:
    """Return how many rows of the largest input stand behind a stretch of the output."""
    return max(
        (sum(rows.get(key_of(at, every), 0) for at in periods(start, end, every)) for every, rows in counts), default=0
    )


def _counts(
    source: Source, group: Grouping, versions: Versions, stretch: tuple[datetime, datetime]
) -> Mapping[str, int]:
    if group.every is None or not group.prefix:
        return {key: state.row_count or 0 for key, state in versions.of(declared(source.schema).name).items()}
    # The versions of a further grouping do not say how many rows it has: months of bills would all be read at once.
    by, every = source.read.by, group.every
    times = versions.store.read(source.schema, stretch, by=by, columns=(by,), ordered=False)
    found = times.group_by(pl.col(by).dt.truncate(_LENGTHS[every])).len()
    return {key_of(at, every): count for at, count in found.iter_rows() if at is not None}


def inputs(rollup: Rollup, versions: Versions) -> Inputs:
    """Return the versions of a rollup's inputs, its own table left out: what it wrote does not make it due."""
    timed: list[Versioned] = []
    whole = []
    for source in rollup.sources:
        if source.schema is rollup.schema:
            continue
        group, table = grouping(source), declared(source.schema)
        tokens = versions.tokens(table, group.prefix)
        if group.every is None:
            whole.append(tokens.whole)
        else:
            is_in_edge = not group.prefix and timedelta(0) < source.read.after <= _edge(table)
            edges = versions.tokens(table, EDGE_PREFIX) if is_in_edge else None
            timed.append(Versioned(source, group, group.every, tokens, edges))
    return Inputs(rollup, versions.now, tuple(timed), fingerprint(";".join(whole)))


def candidates(known: Inputs, versions: Versions, every: Every, *, unfilled: bool = False) -> list[datetime]:
    """Return the starts of the output partitions that some input, or an earlier run, has rows for.

    With `unfilled` also those for which there are only rows that fill none by themselves.
    """
    own = versions.grouped(declared(known.rollup.schema), "")
    starts = {started(key) for key in own}
    last = floor(versions.now, every)
    for each in known.timed:
        source, group = each.source, each.group
        if not (source.read.fills or unfilled):
            continue
        states = versions.grouped(declared(source.schema), group.prefix)
        # Rows are counted by the table's own partitions in time only.
        is_counted = not group.spans and not group.prefix
        filled = {started(key) for key, state in states.items() if not (is_counted and state.row_count == 0)}
        if group.spans and filled and versions.is_open(source):
            filled.update(periods(max(filled), versions.now, each.every))
        if each.every != every:
            filled = {part for start in filled for part in covered(start, each.every, every)}
        # An interval may say when it will end: that time is computed when it has come. A charge has been made.
        starts |= {start for start in filled if start <= last} if group.spans else filled
    return sorted(starts)


def window(source: Source, start: datetime, end: datetime) -> tuple[datetime, datetime] | None:
    """Return the stretch of an input's time that a stretch of the output reads; None for all of it."""
    group = grouping(source)
    if group.every is None:
        return None
    begin, finish = start - source.read.before, end + source.read.after
    if group.starts_periods:
        begin = floor(begin, group.every)
    return begin, finish


def runs(due: Sequence[datetime], every: Every) -> Iterator[list[datetime]]:
    """Yield the stretches of partitions that follow each other without a gap."""
    run: list[datetime] = []
    for start in due:
        if run and after(run[-1], every) != start:
            yield run
            run = []
        run.append(start)
    if run:
        yield run
