"""Runs rollups: each partition whose inputs, code or settings changed is computed again, and no other.

A run reads the versions of the inputs before it reads their rows, and commits them with the result: rows that
arrive in between make the partition due again, and none is ever taken for computed that is not.
"""

import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl

from ledger import memory
from ledger.config import Settings
from ledger.errors import ConfigError, SealedError
from ledger.store import Pieces, RollupState, Store
from ledger.tables.partition import Between, declared
from queries._apart import computed
from queries._due import Versions
from queries._reading import Reading
from queries._work import Asked, Part, Work, apart, calls, due_of, every_of, reads_itself, together, work_of
from queries.aside import Aside
from queries.graph import Rollup, Span, load

_CALLS_AT_ONCE = 2
# DuckDB writes whole row groups of 122,880 rows at once and what is left twice: through its log, then into the table.
# More than one and a half at a commit would be faster by little, and each of them waits in memory.
_ROWS_AT_A_COMMIT = 150_000

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
class Round:
    """One run over all rollups: where, what is asked for, and who watches."""

    store: Store
    versions: Versions
    asked: Asked
    progress: Progress | None
    stop: Callable[[], bool] | None
    aside: Aside | None

    @property
    def is_stopped(self) -> bool:
        """Tell whether somebody wants it to end here."""
        return self.stop is not None and self.stop()


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
    aside: Aside | None = None,
) -> list[Ran]:
    """Compute what is due and return what each rollup did, in the order in which they ran.

    `since` and `until` limit it to partitions that overlap this time, `only` to some rollups, and `everything`
    computes them also if nothing changed. `stop` is asked between calls; what is committed by then stays.
    `now` is the store's clock, `rollups` are all of the project, unless said otherwise. Large calls go `aside`.
    A second run right after computes nothing.

    Raises: ConfigError: a setting does not fit, or `only` names no rollup. ContractError: a rollup's rows do not fit
    its table, or lie outside the partitions that it was called for.
    """
    chosen = _chosen(load() if rollups is None else rollups, only)
    this = Round(store, Versions(store, now or store.now()), Asked(since, until, everything), progress, stop, aside)
    done: list[Ran] = []
    for group in together(chosen):
        if this.is_stopped:
            break
        works = [work_of(each, settings, this.versions) for each in group]
        for work, ran in zip(works, _run(this, works), strict=True):
            if ran.partitions:
                this.versions.forget(declared(work.rollup.schema).name)
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


@dataclass
class _Tally:
    """What one rollup came to so far, with rows that wait for a commit.

    `pieces` are those of some nodes of a stretch, of which others are still to come.
    """

    work: Work
    due: list[Part]
    refused: list[str]
    done: int = 0
    partitions: int = 0
    rows: int = 0
    seconds: float = 0.0
    parts: list[Part] = field(default_factory=list)
    frames: list[pl.DataFrame] = field(default_factory=list)
    pieces: Pieces | None = None

    def add(self, this: Round, call: "_Call", rows: "_Rows") -> None:
        """Take the rows of a stretch, or of some of its nodes; commit what waits as soon as it is enough, or all."""
        self.seconds += rows.seconds
        if not call.is_last and self.pieces is None:
            self.commit(this.store)
            self.pieces = this.store.pieces(self.work.rollup.schema, [part.key for part in call.parts])
        self.frames.append(rows.frame)
        is_enough = sum(each.height for each in self.frames) >= _ROWS_AT_A_COMMIT
        if self.pieces is not None and (is_enough or call.is_last):
            began = time.perf_counter()
            self._put(self.pieces)
            self.seconds += time.perf_counter() - began
        if not call.is_last:
            return
        self.parts += call.parts
        self.done += len(call.parts)
        if this.progress is not None:
            this.progress(self.work.rollup.name, self.done, len(self.due))
        is_all = self.done == len(self.due) or self.pieces is not None or reads_itself(self.work.rollup)
        if is_all or is_enough:
            self.commit(this.store)

    def commit(self, store: Store) -> None:
        """Commit what waits, with what it was computed from."""
        if not self.parts:
            return
        began = time.perf_counter()
        parts, pieces = self.parts, self.pieces
        if pieces is None:
            pieces = store.pieces(self.work.rollup.schema, [part.key for part in parts])
            self._put(pieces)
        self.parts, self.pieces = [], None
        state = {part.key: RollupState(part.input_version, self.work.code, self.work.settings) for part in parts}
        with pieces:
            try:
                store.replace_by(pieces, state=state)
            except SealedError as error:
                self.refused.append(error.message)
            else:
                self.partitions += len(parts)
                self.rows += pieces.height
        self.seconds += time.perf_counter() - began

    def _put(self, pieces: Pieces) -> None:
        """Hand over the rows that wait, which are nowhere else then."""
        frame = pl.concat(self.frames)
        self.frames = []
        pieces.add(frame)

    def close(self) -> None:
        """Forget what waits."""
        if self.pieces is not None:
            self.pieces.close()


def _run(this: Round, works: Sequence[Work]) -> list[Ran]:
    """Compute the due partitions of rollups that do not read each other."""
    began = time.perf_counter()
    tallies: list[_Tally] = []
    for work in works:
        due, sealed = due_of(work, this.versions, this.asked)
        tallies.append(_Tally(work, due, [_refusal(work.rollup, sealed)] if sealed and this.asked.is_explicit else []))
    try:
        for call, rows in _computed(this, tallies):
            call.tally.add(this, call, rows)
        for tally in tallies:
            tally.commit(this.store)
    finally:
        for tally in tallies:
            tally.close()
    if any(tally.due for tally in tallies):
        memory.release()
    # Rollups that were computed side by side divide the time by what each of them took.
    share = (time.perf_counter() - began) / (sum(tally.seconds for tally in tallies) or 1)
    return [
        Ran(tally.work.rollup.name, tally.partitions, tally.rows, tally.seconds * share, tuple(tally.refused))
        for tally in tallies
    ]


@dataclass(frozen=True)
class _Rows:
    """The rows of a stretch, and how long they took."""

    frame: pl.DataFrame
    seconds: float


@dataclass(frozen=True)
class _Call:
    """One stretch of one rollup, of all nodes or of some; the last of a stretch completes it."""

    tally: _Tally
    parts: list[Part]
    nodes: Between | None = None
    is_last: bool = True

    @property
    def rollup(self) -> Rollup:
        """Return the rollup."""
        return self.tally.work.rollup

    def shares_reading(self, other: "_Call") -> bool:
        """Tell whether both read millions of rows that are the same."""
        if every_of(self.rollup) is None or [part.key for part in self.parts] != [part.key for part in other.parts]:
            return False
        return any(
            mine.read.coded and mine.reads_rows_of(theirs)
            for mine in self.rollup.sources
            for theirs in other.rollup.sources
        )


def _computed(this: Round, tallies: Sequence[_Tally]) -> Iterator[tuple[_Call, _Rows]]:
    """Compute what is due, two calls at a time, and yield each with its rows, in their order.

    Most of a call runs on one processor. What was computed is written while the next rows are read. In a hub, which
    computes large calls aside, one call at a time leaves the other processor to those who wait for an answer.
    """
    is_ordered = any(reads_itself(tally.work.rollup) for tally in tallies)
    at_once = 1 if is_ordered or this.aside is not None else _CALLS_AT_ONCE
    waiting: deque[tuple[_Call, Future[_Rows]]] = deque()
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="rollups") as pool:
        for group in _groups(this, tallies):
            if this.is_stopped:
                break
            done: list[tuple[_Call, _Rows]] = []
            while waiting and len(waiting) + len(group) > at_once:
                done.append(_settled(*waiting.popleft()))
            if is_ordered:
                # The next call reads what this one wrote.
                yield from done
                done = []
            first = group[0]
            reading = Reading(this.store, [call.rollup for call in group], _span(this, first.parts), first.nodes)
            waiting += [(call, pool.submit(_compute, this, call, reading)) for call in group]
            yield from done
        while waiting:
            yield _settled(*waiting.popleft())


def _groups(this: Round, tallies: Sequence[_Tally]) -> Iterator[list[_Call]]:
    """Yield all calls, those together that read the same rows.

    A single partition goes into as many calls as its rows need. Several come together since they are few enough for
    a command; a hub, which has others to serve, divides them too.
    """
    for group in _stretches(this, tallies):
        work, parts = group[0].tally.work, group[0].parts
        is_whole = len(parts) > 1 and this.aside is None
        each = [None] if is_whole else apart(work, this.versions, parts)
        for nodes in each:
            yield [replace(call, nodes=nodes, is_last=nodes is each[-1]) for call in group]


def _stretches(this: Round, tallies: Sequence[_Tally]) -> list[list[_Call]]:
    """Return a call for each stretch of each rollup, those together that read the same rows."""
    groups: list[list[_Call]] = []
    for tally in tallies:
        earlier = list(groups)
        for parts in calls(tally.work, this.versions, tally.due):
            call = _Call(tally, parts)
            shared = next((group for group in earlier if call.shares_reading(group[0])), None)
            if shared is None:
                groups.append([call])
            else:
                shared.append(call)
    return groups


def _settled(call: _Call, future: Future[_Rows]) -> tuple[_Call, _Rows]:
    return call, future.result()


def _span(this: Round, parts: list[Part]) -> Span:
    return Span(parts[0].start, parts[-1].end, this.versions.now)


def _compute(this: Round, call: _Call, reading: Reading) -> _Rows:
    """Return the rows of one stretch, computed here or aside."""
    began = time.perf_counter()
    work, inputs = call.tally.work, reading.of(call.rollup)
    arguments = dict(work.arguments)
    if work.rollup.takes_span:
        arguments[work.rollup.takes_span] = reading.span
    frame = None
    if this.aside is not None and this.aside.takes(inputs):
        frame = this.aside.compute(work.rollup.name, inputs, arguments)
        if frame is None:
            inputs = Reading(this.store, [work.rollup], reading.span, call.nodes).of(work.rollup)
    if frame is None:
        frame = computed(work.rollup, inputs, arguments)
    # Text is handed on by reference, and one word of it holds all that was read: rows that wait get words of their own.
    own = frame.with_columns(pl.col(pl.String).cast(pl.Categorical).cast(pl.String))
    return _Rows(own, time.perf_counter() - began)


def _refusal(rollup: Rollup, sealed: list[str]) -> str:
    """Return in words what is sealed."""
    return (
        f"{rollup.name}: {len(sealed)} partitions from {sealed[0]} to {sealed[-1]} are sealed: "
        "the rows behind them have expired, so they stay as they are"
    )
