"""What is to be computed: due partitions, in calls of stretches that follow each other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from ledger.config import Settings
from ledger.store import Version
from ledger.tables.partition import WHOLE, Between, Every, Keyed, Timed, after, declared, floor
from queries._apart import NODE, evenly
from queries._due import EPOCH, Inputs, Versions, candidates, inputs, key_of, most_rows, runs, window
from queries._settings import values
from queries.graph import Rollup, code_version, settings_fingerprint

_PARTITIONS_AT_ONCE = 24 * 31

_ROWS_APART = 500_000
"""As many rows of one stretch are read for a call, where they can be told apart by nodes: what it takes of memory does
not grow with the cluster. Of fewer there would be more calls, and each looks at all rows of the stretch."""


@dataclass(frozen=True)
class Asked:
    """Which partitions are wanted: those that are due, or all, in a stretch of time or at any."""

    since: datetime | None
    until: datetime | None
    everything: bool

    @property
    def is_explicit(self) -> bool:
        """Tell whether somebody named what to compute, and so deserves to hear what is not."""
        return self.everything or self.since is not None or self.until is not None

    def covers(self, start: datetime, end: datetime) -> bool:
        """Tell whether a partition lies in the stretch."""
        return (self.since is None or end > self.since) and (self.until is None or start < self.until)


@dataclass(frozen=True)
class Work:
    """One rollup with all that its calls need."""

    rollup: Rollup
    known: Inputs
    code: str
    settings: str
    arguments: dict[str, object]


@dataclass(frozen=True)
class Part:
    """One due partition: its key, its stretch of time, and the version of what it is computed from."""

    key: str
    start: datetime
    end: datetime
    input_version: str


def together(rollups: Sequence[Rollup]) -> Iterator[list[Rollup]]:
    """Yield rollups in order, as many at once as read nothing that one of them writes."""
    group: list[Rollup] = []
    for each in rollups:
        reads, writes = {source.schema for source in each.sources}, {other.schema for other in group}
        if group and (reads & writes or reads_itself(each) or reads_itself(group[0])):
            yield group
            group = []
        group.append(each)
    if group:
        yield group


def reads_itself(rollup: Rollup) -> bool:
    """Tell whether a rollup reads what it wrote before."""
    return any(source.schema is rollup.schema for source in rollup.sources)


def work_of(each: Rollup, settings: Settings, versions: Versions) -> Work:
    """Return a rollup with its input versions, fingerprints and settings."""
    given = values(each, settings)
    return Work(each, inputs(each, versions), code_version(each), settings_fingerprint(given), dict(given))


def due_of(work: Work, versions: Versions, asked: Asked) -> tuple[list[Part], list[str]]:
    """Return the partitions to compute, and the keys of those that are wanted but sealed."""
    states = versions.of(declared(work.rollup.schema).name)
    due: list[Part] = []
    sealed: list[str] = []
    for key, start, end in _stretches(work, versions, asked):
        state = states.get(key)
        if state is not None and state.is_sealed:
            sealed.append(key)
            continue
        version = work.known.recent_version(end) if every_of(work.rollup) is None else work.known.version(start, end)
        if asked.everything or state is None or _changed(work, version, state):
            due.append(Part(key, start, end, version))
    return due, sealed


def _changed(work: Work, version: str, state: Version) -> bool:
    """Tell whether a partition was computed from other inputs, by other code or with other settings."""
    recorded = (state.input_version, state.code_version, state.settings_fingerprint)
    return recorded != (version, work.code, work.settings)


def _stretches(work: Work, versions: Versions, asked: Asked) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield the partitions of a rollup that could be computed at all: the key, the start, the end."""
    every = every_of(work.rollup)
    if every is None:
        key = work.rollup.name if isinstance(declared(work.rollup.schema).partition, Keyed) else WHOLE
        yield key, EPOCH, _whole_end(work.rollup, versions.now)
        return
    for start in candidates(work.known, versions, every):
        end = after(start, every)
        if asked.covers(start, end):
            yield key_of(start, every), start, end


def _whole_end(rollup: Rollup, now: datetime) -> datetime:
    """Return up to when a table without partitions in time looks: advice waits for the hour to be over."""
    return floor(now, "hour") if isinstance(declared(rollup.schema).partition, Keyed) else now


def apart(work: Work, versions: Versions, parts: Sequence[Part]) -> list[Between | None]:
    """Return the nodes that each call gets of one stretch, in their order; None for all of them in one call."""
    start, end = parts[0].start, parts[-1].end
    source, rows = work.known.largest(versions, start, end)
    stretch = None if source is None else window(source, start, end)
    if source is None or stretch is None or rows <= _ROWS_APART:
        return [None]
    counts = versions.store.counts(source.schema, stretch, NODE)
    return list(evenly(counts, max(1, -(-int(counts["row_count"].sum()) // _ROWS_APART))))


def every_of(rollup: Rollup) -> Every | None:
    """Return the length of a rollup's partitions, None where they are no stretches of time."""
    partition = declared(rollup.schema).partition
    return partition.every if isinstance(partition, Timed) else None


def calls(work: Work, versions: Versions, due: Sequence[Part]) -> Iterator[list[Part]]:
    """Yield due partitions in groups that follow each other in time and are small enough for one call."""
    every = every_of(work.rollup)
    if every is None:
        yield from ([part] for part in due)
        return
    by_start = {part.start: part for part in due}
    counts = work.known.row_counts(versions, due[0].start, due[-1].end) if due else []
    for run in runs(list(by_start), every):
        size = 0
        group: list[Part] = []
        for part in (by_start[start] for start in run):
            rows = most_rows(counts, part.start, part.end)
            if group and (size + rows > work.rollup.rows_at_once or len(group) >= _PARTITIONS_AT_ONCE):
                yield group
                group, size = [], 0
            group.append(part)
            size += rows
        yield group
