"""Many small batches as one write: each counts once, and none that is odd slows or harms the others.

A commit costs the same for one row and for ten thousand, so a hub takes what waits with one. The rows of all batches
lie in one frame per table; those of a batch that needs a word of its own (refused rows, rows that are stored already)
are taken out and stored by themselves, within the same transaction.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import dataframely as dy
import polars as pl

from ledger._commit import Commit, Sender
from ledger._door import APPEND_ONLY, Judged, Written, judged
from ledger._order import arranged
from ledger._reach import Reach, reach
from ledger._seen import BatchKey
from ledger.tables import declared
from ledger.tables.partition import Table


@dataclass(frozen=True)
class Joint:
    """Rows of one table from several batches, one batch's after the other's.

    `parts` are the batch's place among all and its number of rows, in the frame's order.
    """

    schema: type[dy.Schema]
    frame: pl.DataFrame
    parts: Sequence[tuple[int, int]]

    @property
    def table(self) -> Table:
        """Return the table of the rows."""
        return declared(self.schema)

    @cached_property
    def _ends(self) -> list[int]:
        return list(accumulate(height for _, height in self.parts))

    def owner(self, row: int) -> int:
        """Return the batch that a row belongs to."""
        return self.parts[bisect_right(self._ends, row)][0]

    def owners(self, rows: Iterable[int]) -> set[int]:
        """Return the batches that some rows belong to."""
        return {self.owner(row) for row in rows}

    def only(self, places: Collection[int]) -> pl.Series:
        """Return which rows belong to some batches."""
        kept = [place in places for place, height in self.parts for _ in range(height)]
        return pl.Series("kept", kept, dtype=pl.Boolean)

    def of(self, places: Collection[int]) -> "Joint":
        """Return the rows of some batches."""
        parts = [(place, height) for place, height in self.parts if place in places]
        return Joint(self.schema, self.frame.filter(self.only(places)), parts)

    def where(self, mask: pl.Series) -> "Joint":
        """Return the rows for which a mask holds."""
        starts = [0, *self._ends]
        parts = [
            (place, int(mask.slice(start, height).sum()))
            for (place, height), start in zip(self.parts, starts, strict=False)
        ]
        return Joint(self.schema, self.frame.filter(mask), parts)


@dataclass(frozen=True)
class Ready:
    """The rows of one table, what the door says of them, and how far they reach."""

    joint: Joint
    verdict: Judged
    reached: Reach

    @classmethod
    def of_fitted(cls, table: Table, fitted: pl.DataFrame, parts: Sequence[tuple[int, int]], reached: Reach) -> "Ready":
        """Return rows of which every one went through the door as it is, somewhere else."""
        nothing = pl.Series("reason", [None], dtype=pl.String).new_from_index(0, fitted.height)
        is_repeated = pl.Series("repeated", [False]).new_from_index(0, fitted.height)
        verdict = Judged(table, fitted, fitted, nothing, is_repeated, ())
        return cls(Joint(table.schema, fitted, parts), verdict, reached)


def ready(joints: Iterable[Joint]) -> list[Ready]:
    """Take rows through the door, once per table; this needs no store."""
    verdicts = ((joint, judged(joint.table, joint.frame)) for joint in joints)
    return [Ready(joint, verdict, reach(joint.table, verdict.fitted)) for joint, verdict in verdicts]


def joints_of(frames: Mapping[type[dy.Schema], pl.DataFrame]) -> list[Joint]:
    """Return the rows of a batch that is alone."""
    return [Joint(schema, frame, [(0, frame.height)]) for schema, frame in frames.items()]


def append_group(commit: Commit, senders: Sequence[Sender], parts: Sequence[Ready]) -> list[dict[str, Written] | None]:
    """Store the rows of those batches that were not seen before; the others are None."""
    seen = commit.seen_batches(senders)
    first: dict[BatchKey, int] = {}
    for place, sender in enumerate(senders):
        if sender.key not in seen:
            first.setdefault(sender.key, place)
    fresh = set(first.values())
    if len(fresh) < len(senders):
        parts = ready(part.joint.of(fresh) for part in parts)
    written: dict[int, dict[str, Written]] = {place: {} for place in sorted(fresh)}
    # What may change rows comes first: a transaction that only inserts ends with the first that does.
    for part in sorted(parts, key=lambda part: part.joint.table.group in APPEND_ONLY):
        for place, outcome in _appended(commit, part, senders).items():
            written[place][part.joint.table.name] = outcome
    commit.record_batches([(senders[place], each) for place, each in written.items()])
    return [written.get(place) for place in range(len(senders))]


def _appended(commit: Commit, part: Ready, senders: Sequence[Sender]) -> dict[int, Written]:
    """Store the rows of one table, and return what became of each batch's."""
    joint, verdict = part.joint, part.verdict
    table = joint.table
    if len(joint.parts) <= 1:
        return {place: commit.append(table, verdict.admitted(), senders[place].source) for place, _ in joint.parts}
    apart = joint.owners(verdict.odd_rows())
    if table.group in APPEND_ONLY:
        apart |= joint.owners(commit.known_rows(table, verdict.fitted, part.reached))
    written = _whole(commit, part, apart)
    for place in sorted(apart):
        own = joint.of({place})
        # What this transaction has stored so far is not known by its end in time yet.
        written[place] = commit.append(
            table, judged(table, own.frame).admitted(), senders[place].source, is_looked_up=True
        )
    return written


def _whole(commit: Commit, part: Ready, apart: Collection[int]) -> dict[int, Written]:
    """Store the rows of the batches of which nothing needs to be said."""
    joint, verdict = part.joint, part.verdict
    table, fitted = joint.table, verdict.fitted
    parts = [each for each in joint.parts if each[0] not in apart]
    if apart:
        fitted = fitted.filter(~joint.only(apart))
    if table.group in APPEND_ONLY:
        # As they came: sorting a second of a hundred nodes orders nothing that is read.
        commit.add(table, fitted.rechunk(), None if apart else part.reached)
        of_height = {height: Written(height, 0, 0, verdict.unknown_columns) for _, height in parts}
        return {place: of_height[height] for place, height in parts}
    key = list(table.key)
    owners = pl.Series("_place", [place for place, height in parts for _ in range(height)], dtype=pl.Int64)
    changed = commit.upsert(table, arranged(fitted, table.order))
    of_changed = fitted.select(key).with_columns(owners).join(changed.select(key), on=key, how="semi")
    counts = dict(of_changed.group_by("_place").len().iter_rows())
    return {
        place: Written(counts.get(place, 0), height - counts.get(place, 0), 0, verdict.unknown_columns)
        for place, height in parts
    }
