"""Runs rollups: each partition whose inputs, code or settings changed is computed again, and no other.

A run reads the versions of the inputs before it reads their rows, and commits them with the result: rows that
arrive in between make the partition due again, and none is ever taken for computed that is not.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import polars as pl

from ledger import memory
from ledger.config import Settings
from ledger.errors import ConfigError, SealedError
from ledger.store import RollupState, Store, Version
from ledger.tables.partition import WHOLE, Every, Keyed, Timed, after, declared, floor
from queries._due import EPOCH, Inputs, Versions, candidates, inputs, key_of, runs, window
from queries._settings import values
from queries.graph import Rollup, Source, Span, code_version, load, settings_fingerprint

_CALLS_AT_ONCE = 2
# DuckDB writes whole row groups of 122,880 rows at once and what is left twice: through its log, then into the table.
_ROWS_AT_A_COMMIT = 240_000
_PARTITIONS_AT_ONCE = 24 * 31

Progress = Callable[[str, int, int], None]
"""Called with the rollup's name, how many of its due partitions are computed, and how many there are."""


@dataclass(frozen=True)
class Ran:
    """What one rollup did in one run; `skipped_sealed` says in words what it was asked for and must not do."""

    rollup: str
    partitions: int
    rows: int
    seconds: float
    skipped_sealed: tuple[str, ...] = ()


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
class Round:
    """One run over all rollups: where, what is asked for, and who watches."""

    store: Store
    versions: Versions
    asked: Asked
    progress: Progress | None
    stop: Callable[[], bool] | None

    @property
    def is_stopped(self) -> bool:
        """Tell whether somebody wants it to end here."""
        return self.stop is not None and self.stop()


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


def run_due(
    store: Store,
    settings: Settings,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    everything: bool = False,
    only: Collection[str] | None = None,
    progress: Progress | None = None,
    stop: Callable[[], bool] | None = None,
    now: datetime | None = None,
    rollups: Sequence[Rollup] | None = None,
) -> list[Ran]:
    """Compute what is due and return what each rollup did, in the order in which they ran.

    `since` and `until` limit it to partitions that overlap this time, `only` to some rollups, and `everything`
    computes them also if nothing changed. `stop` is asked between calls; what is committed by then stays.
    `now` is the store's clock, `rollups` are all of the project, unless said otherwise.
    A second run right after computes nothing.

    Raises: ConfigError: a setting does not fit, or `only` names no rollup. ContractError: a rollup's rows do not fit
    its table, or lie outside the partitions that it was called for.
    """
    chosen = _chosen(load() if rollups is None else rollups, only)
    this = Round(store, Versions(store, now or store.now()), Asked(since, until, everything), progress, stop)
    done: list[Ran] = []
    for each in chosen:
        if this.is_stopped:
            break
        ran = _run(this, _work(each, settings, this.versions))
        if ran.partitions:
            this.versions.forget(declared(each.schema).name)
        done.append(ran)
    return done


def _chosen(every: Sequence[Rollup], only: Collection[str] | None) -> list[Rollup]:
    """Return the rollups to run, in order."""
    unknown = sorted(set(only or ()) - {each.name for each in every})
    if unknown:
        raise ConfigError(
            f"rollups: found {', '.join(unknown)}, expected some of {', '.join(sorted(each.name for each in every))}"
        )
    return [each for each in every if only is None or each.name in only]


def _work(each: Rollup, settings: Settings, versions: Versions) -> Work:
    """Return a rollup with its input versions, fingerprints and settings."""
    given = values(each, settings)
    return Work(each, inputs(each, versions), code_version(each), settings_fingerprint(given), dict(given))


def _run(this: Round, work: Work) -> Ran:
    """Compute one rollup's due partitions."""
    began = time.perf_counter()
    due, sealed = _due(work, this.versions, this.asked)
    refused = [_refusal(work.rollup, sealed)] if sealed and this.asked.is_explicit else []
    partitions = rows = 0
    for parts, frame in _gathered(_computed(this, work, due), 0 if _reads_itself(work.rollup) else _ROWS_AT_A_COMMIT):
        try:
            _commit(this.store, work, parts, frame)
        except SealedError as error:
            refused.append(error.message)
        else:
            partitions += len(parts)
            rows += frame.height
    if due:
        memory.release()
    return Ran(work.rollup.name, partitions, rows, time.perf_counter() - began, tuple(refused))


def _reads_itself(rollup: Rollup) -> bool:
    """Tell whether a rollup reads what it wrote before."""
    return any(source.schema is rollup.schema for source in rollup.sources)


def _computed(this: Round, work: Work, due: list[Part]) -> Iterator[tuple[list[Part], pl.DataFrame]]:
    """Compute due partitions, two stretches at a time, and yield each with its rows, in their order.

    Most of a call runs on one processor; while one reads, the other computes.
    """
    done = 0

    def settled(parts: list[Part], future: Future[pl.DataFrame]) -> tuple[list[Part], pl.DataFrame]:
        nonlocal done
        frame = future.result()
        done += len(parts)
        if this.progress is not None:
            this.progress(work.rollup.name, done, len(due))
        return parts, frame

    at_once = 1 if _reads_itself(work.rollup) else _CALLS_AT_ONCE
    waiting: deque[tuple[list[Part], Future[pl.DataFrame]]] = deque()
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix=work.rollup.name) as pool:
        for parts in _calls(work, this.versions, due):
            if this.is_stopped:
                break
            waiting.append((parts, pool.submit(_compute, this.store, work, parts, this.versions.now)))
            if len(waiting) >= at_once:
                yield settled(*waiting.popleft())
        while waiting:
            yield settled(*waiting.popleft())


def _gathered(
    computed: Iterator[tuple[list[Part], pl.DataFrame]], enough: int
) -> Iterator[tuple[list[Part], pl.DataFrame]]:
    """Yield stretches that follow each other as one, as soon as they have enough rows for a commit."""
    parts: list[Part] = []
    frames: list[pl.DataFrame] = []
    for some, frame in computed:
        parts += some
        frames.append(frame)
        if sum(each.height for each in frames) >= enough:
            yield parts, pl.concat(frames)
            parts, frames = [], []
    if frames:
        yield parts, pl.concat(frames)


def _due(work: Work, versions: Versions, asked: Asked) -> tuple[list[Part], list[str]]:
    """Return the partitions to compute, and the keys of those that are wanted but sealed."""
    states = versions.of(declared(work.rollup.schema).name)
    due: list[Part] = []
    sealed: list[str] = []
    for key, start, end in _stretches(work, versions, asked):
        state = states.get(key)
        if state is not None and state.is_sealed:
            sealed.append(key)
            continue
        version = work.known.recent_version(end) if _every(work.rollup) is None else work.known.version(start, end)
        if asked.everything or state is None or _changed(work, version, state):
            due.append(Part(key, start, end, version))
    return due, sealed


def _changed(work: Work, version: str, state: Version) -> bool:
    """Tell whether a partition was computed from other inputs, by other code or with other settings."""
    recorded = (state.input_version, state.code_version, state.settings_fingerprint)
    return recorded != (version, work.code, work.settings)


def _stretches(work: Work, versions: Versions, asked: Asked) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield the partitions of a rollup that could be computed at all: the key, the start, the end."""
    every = _every(work.rollup)
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


def _every(rollup: Rollup) -> Every | None:
    """Return the length of a rollup's partitions, None where they are no stretches of time."""
    partition = declared(rollup.schema).partition
    return partition.every if isinstance(partition, Timed) else None


def _calls(work: Work, versions: Versions, due: list[Part]) -> Iterator[list[Part]]:
    """Yield due partitions in groups that follow each other in time and are small enough for one call."""
    every = _every(work.rollup)
    if every is None:
        yield from ([part] for part in due)
        return
    by_start = {part.start: part for part in due}
    for run in runs(list(by_start), every):
        size = 0
        group: list[Part] = []
        for part in (by_start[start] for start in run):
            rows = work.known.row_count(versions, part.start, part.end)
            if group and (size + rows > work.rollup.rows_at_once or len(group) >= _PARTITIONS_AT_ONCE):
                yield group
                group, size = [], 0
            group.append(part)
            size += rows
        yield group


def _compute(store: Store, work: Work, parts: list[Part], now: datetime) -> pl.DataFrame:
    """Return the rows of one stretch of partitions."""
    span = Span(parts[0].start, parts[-1].end, now)
    arguments = dict(work.arguments)
    if work.rollup.takes_span:
        arguments[work.rollup.takes_span] = span
    with store.transaction():
        for source in work.rollup.sources:
            arguments[source.parameter] = _read(store, work.rollup, source, span).lazy()
    frame: pl.DataFrame = work.rollup.function(**arguments).collect()
    # Text is handed on by reference, and one word of it holds all that was read: rows that wait get words of their own.
    return frame.with_columns(pl.col(pl.String).cast(pl.Categorical).cast(pl.String))


def _commit(store: Store, work: Work, parts: list[Part], frame: pl.DataFrame) -> None:
    """Commit the rows of some partitions with what they were computed from."""
    store.replace(
        work.rollup.schema,
        frame,
        partitions=[part.key for part in parts],
        state={part.key: RollupState(part.input_version, work.code, work.settings) for part in parts},
    )


def _read(store: Store, rollup: Rollup, source: Source, span: Span) -> pl.DataFrame:
    """Return the rows of one input that a stretch of the output needs."""
    read = source.read
    where: dict[str, tuple[object, ...]] = dict(read.where)
    reach = window(source, span.start, span.end)
    if _every(rollup) is None and reach is not None:
        reach = None if read.recent is None else (span.end - read.recent, span.end)
    if source.schema is rollup.schema:
        if isinstance(declared(rollup.schema).partition, Keyed):
            where["rule"] = (rollup.name,)
        elif reach is not None:
            # Its own earlier output, never what it is about to write.
            reach = (reach[0], span.start)
    # A rollup does not depend on the order of rows, and sorting them would take as long as reading them.
    return store.read(
        source.schema, reach, by=read.by, columns=read.columns, where=where or None, ordered=False, coded=read.coded
    )


def _refusal(rollup: Rollup, sealed: list[str]) -> str:
    """Return in words what is sealed."""
    return (
        f"{rollup.name}: {len(sealed)} partitions from {sealed[0]} to {sealed[-1]} are sealed: "
        "the rows behind them have expired, so they stay as they are"
    )
