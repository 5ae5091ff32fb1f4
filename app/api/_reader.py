"""Batches of many callers, read in a process of their own: unpacked, joined, and taken through the door.

All of that holds the interpreter, which the pages of a hub need too. What is in order comes back as Arrow; whatever is
not, the hub reads itself, and says what is wrong with it.
"""

import contextlib
import gc
import io
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, NamedTuple

import polars as pl

from app.api._batch import NO_ROW_LIMIT, refused
from app.api._clock import timely
from app.api._joints import joints_of
from app.api._tokens import Caller
from collectors.wire import Batch, Limits, decode
from ledger.beside import ENDED, Beside
from ledger.errors import ClusterLedgerError
from ledger.log import log
from ledger.store import Joint, Reach, Ready, Sender, ready
from ledger.tables import TABLES

LEAST: Final = 30
"""Batches that are read beside: handing fewer over takes as long as reading them."""


_MANY_NODES: Final = 10 * LEAST
"""Of so many nodes enough batches for a group come within a second."""


class Taken(NamedTuple):
    """What a hub takes: bytes and rows of one batch, and rows of all that are read together."""

    body_bytes: int
    rows: int
    all_rows: int


class _Asked(NamedTuple):
    """Bodies with whose they are, and what a hub takes."""

    bodies: Sequence[bytes]
    callers: Sequence[Caller]
    taken: Taken
    now: datetime


class Told(NamedTuple):
    """What a batch says of itself, and how many rows it has by table."""

    batch_id: str
    node: str
    cluster: str
    heights: Mapping[str, int]


class _Table(NamedTuple):
    """The rows of one table as a stream of Arrow, with how many are whose, and how far they reach."""

    name: str
    rows: bytes
    parts: Sequence[tuple[int, int]]
    reached: Reach


@dataclass(frozen=True)
class Read:
    """Batches that are in order, by their place among those that were asked for, with their rows.

    The parts of `tables` count the batches in the order of `told`.
    """

    told: Mapping[int, Told] = field(default_factory=dict)
    tables: Sequence[_Table] = ()

    def ready(self, left_out: Collection[int] = ()) -> tuple[dict[int, Told], list[Ready]]:
        """Return batches with their rows as the store takes them, without those at some places."""
        parts = [
            Ready.of_fitted(TABLES[each.name], pl.read_ipc_stream(each.rows), each.parts, each.reached)
            for each in self.tables
        ]
        if not left_out:
            return dict(self.told), parts
        kept = {at: place for at, place in enumerate(self.told) if place not in left_out}
        order = {at: new for new, at in enumerate(kept)}
        joints = [part.joint.of(kept) for part in parts]
        told = {place: self.told[place] for place in kept.values()}
        return told, ready(
            Joint(each.schema, each.frame, [(order[at], height) for at, height in each.parts]) for each in joints
        )


class Reader:
    """Reads groups of batches beside, while that works; it costs nothing before the first.

    Its process takes a second or two to begin: until then the hub reads what comes, and nobody waits for it. Where
    many nodes are known it begins with the hub: all of them come at once then.
    """

    def __init__(self) -> None:
        self._process = Beside(read)
        self._is_ready = threading.Event()
        self._beginning: threading.Thread | None = None

    def read(self, bodies: Sequence[bytes], callers: Sequence[Caller], taken: Taken, now: datetime) -> Read:
        """Return what could be read of some bodies."""
        if self._process.is_closed:
            return Read()
        if not self._is_ready.is_set():
            self.begin()
            return Read()
        try:
            found: Read = self._process.call(_Asked(bodies, callers, taken, now))
        except ENDED as error:
            self._is_ready.clear()
            log.warning("batches are not read beside", message=str(error) or "its process ended")
            return Read()
        return found

    @property
    def is_ready(self) -> bool:
        """Tell whether the process reads."""
        return self._is_ready.is_set() and not self._process.is_closed

    def expect(self, node_count: int) -> None:
        """Let the process begin if so many nodes will keep it busy."""
        if node_count >= _MANY_NODES:
            self.begin()

    def begin(self) -> threading.Thread:
        """Let the process begin, if none does yet; the thread ends when it reads."""
        if self._beginning is None or not self._beginning.is_alive():
            self._beginning = threading.Thread(target=self._begin, name="reader-begins", daemon=True)
            self._beginning.start()
        return self._beginning

    def _begin(self) -> None:
        # It fails again with the next group, if it fails.
        with contextlib.suppress(*ENDED):
            self._process.call(_Asked((), (), Taken(0, 0, 0), datetime.min.replace(tzinfo=UTC)))
            self._is_ready.set()

    def close(self) -> None:
        """End the process."""
        self._process.close()


def read(asked: _Asked) -> Read:
    """Read what is in order."""
    # Hundred thousands of lists are made, and not one is in a cycle: looking through them takes as long as making them.
    with _no_garbage():
        return _in_order(asked)


@contextlib.contextmanager
def _no_garbage() -> Iterator[None]:
    is_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if is_on:
            gc.enable()


def _in_order(asked: _Asked) -> Read:
    batches = {
        place: batch
        for place, (body, caller) in enumerate(zip(asked.bodies, asked.callers, strict=True))
        if (batch := _sound(body, caller, asked.taken)) is not None
    }
    if sum(batch.row_count for batch in batches.values()) > asked.taken.all_rows:
        return Read()
    return _through_the_door(batches, asked.now)


def _sound(body: bytes, caller: Caller, taken: Taken) -> Batch | None:
    """Return a batch of its caller's, None for anything else."""
    try:
        batch = decode(body, Limits(body_bytes=taken.body_bytes, rows=NO_ROW_LIMIT))
    except ClusterLedgerError:
        return None
    return None if refused(batch, caller, taken.rows) else batch


def _through_the_door(batches: Mapping[int, Batch], now: datetime) -> Read:
    """Return the batches of which every row may be stored."""
    joints, odd = joints_of(list(batches.values()))
    places = list(batches)
    if odd:
        return _through_the_door({place: batches[place] for at, place in enumerate(places) if at not in odd}, now)
    senders = [Sender(batch.batch_id, batch.node, "") for batch in batches.values()]
    in_time, untimely = timely(joints, senders, now)
    parts = ready(in_time) if not untimely else []
    strange = {at for at, _ in untimely} | {at for part in parts for at in part.joint.owners(part.verdict.odd_rows())}
    if strange:
        return _through_the_door({place: batches[place] for at, place in enumerate(places) if at not in strange}, now)
    told = {place: Told(batch.batch_id, batch.node, batch.cluster, _heights(batch)) for place, batch in batches.items()}
    return Read(told, [_table(part) for part in parts])


def _heights(batch: Batch) -> dict[str, int]:
    return {name: len(next(iter(columns.values()), ())) for name, columns in batch.tables.items()}


def _table(part: Ready) -> _Table:
    stream = io.BytesIO()
    part.verdict.fitted.write_ipc_stream(stream, compat_level=pl.CompatLevel.newest())
    joint: Joint = part.joint
    return _Table(joint.table.name, stream.getvalue(), joint.parts, part.reached)
