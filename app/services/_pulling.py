"""Asking one source of a cluster and keeping what it tells, each piece once.

A piece is kept in one transaction with the instant up to which the source is known by it: whatever ends the
hub between two pieces, the next pull begins where the last kept one ended.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import dataframely as dy
import polars as pl

from app.context import Context
from app.services import _rejections
from app.services._faults import Faults
from app.services._gaps import Stretch, asked_again, has_samples, narrowed, touched
from collectors.cluster._beside import beside_api, has_api
from collectors.cluster._configured import Configured
from collectors.cluster._devices import named
from collectors.cluster._existing import Told, begun, devices
from collectors.cluster._source import Pulled
from collectors.cluster._standing import settled
from ledger.errors import ClusterLedgerError, SourceError
from ledger.frames import to_frame
from ledger.store import Written
from ledger.tables import Gpu, Job, JobGpu, Node, NodeState, RejectedRow, SourceGap, SourceState
from ledger.tables.partition import declared

_MOST_REMARKS = 5
"""Remarks that are kept of one pull: a source may say the same of each window."""

_MOST_TRIES: Final = 4
"""How often a stretch is asked for that is answered in part, before what there is of it is kept."""


@dataclass
class Outcome:
    """What one pull gave."""

    source: str
    kind: str
    reached_at: datetime | None = None
    rows: int = 0
    rejected: int = 0
    tables: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)
    error: ClusterLedgerError | None = None


def pull(context: Context, source: Configured, since: datetime | None = None, until: datetime | None = None) -> Outcome:
    """Ask a source for what happened since it was last asked, keep it, and return what became of it.

    `since` asks for a stretch again, or for one before the first pull; rows that are there are not kept twice. Where a
    part of it was missing and now comes, rows are made whole and the gap closes.
    An error of the source is in the outcome and in its row of `source`: what came before it stays.
    """
    with context.turn(f"source {source.name}"):
        return _Pull(context, source).run(since, until)


class _Pull:
    """One pull that goes on: how its source stands by what was kept so far."""

    def __init__(self, context: Context, source: Configured) -> None:
        self._context = context
        self._source = source
        self._outcome = Outcome(source.name, source.kind.name)
        stored = context.store.read(SourceState, where={"source_name": [source.name]})
        kept = {"reached_at": None, "answered_at": None, "failed_count": 0, "partial_count": 0}
        self._row: dict[str, Any] = stored.row(0, named=True) if stored.height else kept
        self._from: datetime | None = None
        self._joins_at: datetime | None = None

    def run(self, since: datetime | None, until: datetime | None) -> Outcome:
        """Ask, keep each piece, and say in the store how it went."""
        known: datetime | None = self._row["reached_at"]
        # A stretch that begins after what is known would leave a hole that nobody asks for again.
        is_onward = since is None or known is None or since <= known
        ended: dict[str, Any] = {"status": "failed", "message": "it ended with an error of this program; see the log"}
        try:
            self._keep({}, self._begun())
            self._from = self._joins_at = since or known
            pieces = self._source.open()(self._from, self._up_to(until))
            is_whole = all(self._is_taken(piece, is_onward=is_onward) for piece in pieces)
            ended = {"status": "done", "message": "; ".join(self._outcome.remarks[:_MOST_REMARKS])}
            if not is_whole:
                ended["answered_at"] = self._row["answered_at"]
        except ClusterLedgerError as error:
            self._outcome.error = error
            ended["message"] = str(error)
        finally:
            self._end(ended)
        return self._outcome

    def _up_to(self, until: datetime | None) -> datetime:
        """Return up to when a source is asked: one that stays behind the present has all of what is long past."""
        now = self._context.now()
        delay = timedelta(seconds=getattr(self._source.settings, "delay_seconds", 0))
        return now if until is None else until if until > now else min(until + delay, now)

    def _begun(self) -> dict[str, Any]:
        return {
            "source_name": self._source.name,
            "kind": self._source.kind.name,
            "cluster": self._source.settings.cluster,
            "started_at": self._context.now(),
            "ended_at": None,
            "row_count": 0,
            "rejected_count": 0,
            "status": "running",
            "message": "",
        }

    def _is_taken(self, piece: Pulled, *, is_onward: bool) -> bool:
        """Keep one piece, unless it is partial and to be asked for again; tell whether the next one may follow."""
        known, asked = self._row["reached_at"], (self._row["partial_count"] or 0) + 1
        is_new = is_onward and (known is None or piece.reached_at > known)
        if piece.is_partial and is_new and asked < _MOST_TRIES:
            again = f"up to {piece.reached_at:%F %T} UTC: to be asked again, {asked} of {_MOST_TRIES} times so far"
            self._outcome.remarks = [again, *piece.remarks, *self._outcome.remarks]
            self._keep({}, {"partial_count": asked})
            return False
        asked_for = Stretch(self._from or piece.since, piece.reached_at)
        gaps = self._context.store.read(SourceGap, where={"source_name": [self._source.name]})
        is_mending = not touched(gaps, asked_for).is_empty()
        if piece.is_partial:
            gap = asked_again(gaps, asked_for)
            gap = self._gap(asked_for, piece, asked if is_new else 1) if gap.is_empty() else gap
            self._take(_without_ends(piece), is_onward=is_onward, gaps=gap, is_mending=is_mending)
        elif is_mending and not has_samples(piece.frames):
            nothing = f"up to {piece.reached_at:%F %T} UTC: nothing was told where a part was missing, which stays so"
            self._outcome.remarks.append(nothing)
            self._take(piece, is_onward=is_onward, gaps=gaps.clear())
        else:
            self._take(piece, is_onward=is_onward, gaps=narrowed(gaps, asked_for), is_mending=is_mending)
        self._from = piece.reached_at
        return True

    def _gap(self, asked_for: Stretch, piece: Pulled, asked_count: int) -> pl.DataFrame:
        """Return what is said of a stretch of which only a part was answered."""
        gap = {
            "source_name": self._source.name,
            "gap_start": asked_for.since,
            "gap_end": piece.reached_at,
            "cluster": self._source.settings.cluster,
            "asked_count": asked_count,
            "message": "; ".join(piece.remarks[:_MOST_REMARKS]),
            "kept_at": self._context.now(),
        }
        return to_frame(SourceGap, [gap])

    def _take(self, piece: Pulled, *, is_onward: bool, gaps: pl.DataFrame, is_mending: bool = False) -> None:
        """Keep one piece with what it says of gaps, and count what became of its rows."""
        outcome, known = self._outcome, self._row["reached_at"]
        refused = [_rejections.of_dump(each) for each in piece.rejected]
        piece = named(piece, self._gpus)
        if has_api(self._source.kind.name, self._source.settings.cluster, self._context.settings.sources):
            held = self._open_rows(JobGpu, "scheduler")
            # Holdings still end with their jobs, of which the metrics tell; what else they tell the API knows better.
            ended = settled(dataclasses.replace(piece, standing={}), self._open_rows, known)
            piece = beside_api(dataclasses.replace(piece, frames=ended, held_by=""), held)
        if known is not None and piece.reached_at < known:
            told = _of_the_past(piece)
        else:
            told = settled(piece, self._open_rows, known) if piece.standing or piece.held_by else piece.frames
        frames = {schema: frame for schema, frame in told.items() if not frame.is_empty()}
        if Gpu in frames:
            there = self._gpus(frames[Gpu]["node"].unique().to_list())
            frames[Gpu] = devices(frames[Gpu], there, Told(piece.reached_at, known, self._joins_at))
            frames = {schema: frame for schema, frame in frames.items() if not frame.is_empty()}
        if Node in frames and Node not in piece.standing:
            before = self._open_rows(Node, frames[Node]["source"][0]).filter(pl.col("exists_end").is_null())
            frames[Node] = begun(frames[Node], before, ["cluster", "node"])
        if not gaps.is_empty():
            frames[SourceGap] = gaps
        new = _rejections.fresh(self._context, [each.row(_told(self._source.name)) for each in refused])
        if not new.is_empty():
            frames[RejectedRow] = new
        reached = max(piece.reached_at, known) if known is not None else piece.reached_at
        change = {"reached_at": reached, "partial_count": 0} if is_onward else {}
        self._joins_at = piece.reached_at
        counts = {"row_count": outcome.rows, "rejected_count": outcome.rejected}
        written = self._keep(frames, {**change, **counts}, is_mending=is_mending)
        for name in (declared(schema).name for schema in told):
            if name in written:
                outcome.tables[name] = outcome.tables.get(name, 0) + written[name].rows
                outcome.rejected += written[name].rejected
        outcome.rows = sum(outcome.tables.values())
        outcome.reached_at = self._row["reached_at"]
        outcome.rejected += len(refused)
        for each in refused:
            outcome.faults.add(each.table_name, each.fault, each.reason)
        outcome.remarks += [each for each in piece.remarks if each not in outcome.remarks]

    def _gpus(self, nodes: Sequence[str]) -> pl.DataFrame:
        """Return the devices that were ever known on nodes of this cluster."""
        where = {"cluster": [self._source.settings.cluster], "node": list(nodes)}
        return self._context.store.read(Gpu, where=where)

    def _open_rows(self, schema: type[dy.Schema], word: str) -> pl.DataFrame:
        """Return the rows of a table with this word as their source, '' for any, that may not have ended yet."""
        now = self._context.now()
        where = {"cluster": [self._source.settings.cluster], **({"source": [word]} if word else {})}
        # A clock that goes ahead of this one may have told of what begins a little later.
        return self._context.store.read(schema, (now, now + timedelta(days=1)), where=where)

    def _keep(
        self, frames: Mapping[type[dy.Schema], pl.DataFrame], change: Mapping[str, Any], *, is_mending: bool = False
    ) -> dict[str, Written]:
        """Let rows in together with how the source stands by them.

        Raises: SourceError: the hub stops, or a backup was restored under the pull.
        """
        name, context = self._source.name, self._context
        row = {**self._row, **change}
        with context.keeping:
            if context.stop.is_set():
                raise SourceError(f"sources.{name}: found that the hub stops; the rest comes with the next pull")
            stored = context.store.read(SourceState, columns=("reached_at",), where={"source_name": [name]})
            if (stored.item() if stored.height else None) != self._row["reached_at"]:
                raise SourceError(f"sources.{name}: found a restored store under the pull", hint="pull again")
            together: dict[type[dy.Schema], pl.DataFrame] = {**frames, SourceState: to_frame(SourceState, [row])}
            written = context.store.append_together(together, source=_told(name), is_mending=is_mending)
        self._row = row
        context.changed({declared(schema).name for schema in together})
        return written

    def _end(self, ended: Mapping[str, Any]) -> None:
        """Say in the store how the pull ended; where the store cannot take that, the next one says it."""
        now, outcome = self._context.now(), self._outcome
        if ended["status"] == "done":
            stands: dict[str, Any] = {"answered_at": now, "failed_count": 0}
        else:
            stands = {"failed_count": self._row["failed_count"] + 1}
        counts = {"ended_at": now, "row_count": outcome.rows, "rejected_count": outcome.rejected}
        try:
            self._keep({}, {**counts, **stands, **ended})
        except ClusterLedgerError as error:
            outcome.error = outcome.error or error


def _without_ends(piece: Pulled) -> Pulled:
    """Return a piece of which a part is missing: what could not be seen has not ended."""
    # A state that is told says nothing of when the one before it ended unless all of them are there.
    frames = {schema: frame for schema, frame in piece.frames.items() if schema is not NodeState}
    for schema in (Gpu, Node):
        if schema in frames:
            frames[schema] = frames[schema].filter(pl.col("exists_start").ne_missing(pl.col("exists_end")))
    remarks = (f"up to {piece.reached_at:%F %T} UTC: kept in part", *piece.remarks)
    return dataclasses.replace(piece, frames=frames, standing={}, remarks=remarks)


def _of_the_past(piece: Pulled) -> Mapping[type[dy.Schema], pl.DataFrame]:
    """Return what a piece adds that tells of a time before the known one: what was open then is known better."""
    frames = {schema: frame for schema, frame in piece.frames.items() if schema not in piece.standing}
    for schema, end in ((Job, "ended_at"), (JobGpu, "held_end")):
        if schema in frames:
            frames[schema] = frames[schema].filter(pl.col(end).is_not_null())
    if Node in frames:
        frames[Node] = frames[Node].filter(pl.col("exists_end").is_null())
    return frames


def _told(name: str) -> str:
    return f"source {name}"


def shown(outcome: Outcome, seconds: float) -> dict[str, object]:
    """Return an outcome as a service answers it."""
    found: dict[str, object] = {
        "source": outcome.source,
        "kind": outcome.kind,
        "ok": outcome.error is None,
        "rows": outcome.rows,
        "rejected": outcome.rejected,
        "reached_at": outcome.reached_at,
        "tables": outcome.tables,
        "seconds": round(seconds, 3),
        "remarks": outcome.remarks,
        "rejections": outcome.faults.lines(),
        "faults": outcome.faults.rows(),
    }
    if outcome.error is not None:
        found |= {"error": outcome.error.message, "hint": outcome.error.hint, "exit_code": outcome.error.exit_code}
    return found
