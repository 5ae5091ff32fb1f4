"""What of a partition is written anew: stretches of it whose rows are as they were stay where they are.

An open hour of a large cluster is computed again and again, and all but its last minutes come out as before: whoever
waits for the next commit should wait for those alone.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar

import polars as pl

from ledger import _versions
from ledger.tables.partition import Every, Spanning, Table, Timed, after, start_of

K = TypeVar("K")

Stretch = tuple[datetime, datetime]

_LENGTHS: Final[dict[Every, timedelta]] = {
    "hour": timedelta(minutes=1),
    "day": timedelta(hours=1),
    "month": timedelta(days=1),
}

_LEAST_ROWS: Final = 50_000
"""A partition of fewer is written as a whole, in its order."""

_MOST_STRETCHES: Final = 20
"""Of more, that lie apart, writing all is no more work."""

_MOST_KNOWN: Final = 64
_BITS: Final = (1 << 64) - 1


@dataclass(frozen=True)
class Sums:
    """Rows as a set: how many there are, and two sums of their hashes."""

    count: int = 0
    first: int = 0
    second: int = 0

    def __add__(self, other: "Sums") -> "Sums":
        """Return both sets as one."""
        first, second = (self.first + other.first) & _BITS, (self.second + other.second) & _BITS
        return Sums(self.count + other.count, first, second)

    def __str__(self) -> str:
        """Return the fingerprint; of no rows, nothing."""
        return f"{self.count}-{self.first:016x}{self.second:016x}" if self.count else ""


@dataclass(frozen=True)
class Content:
    """What a frame has of each partition, and of each stretch of one that lies in time."""

    whole: Mapping[str, Sums] = field(default_factory=dict)
    slices: Mapping[str, Mapping[datetime, Sums]] = field(default_factory=dict)

    def __add__(self, other: "Content") -> "Content":
        """Return what two frames have together."""
        slices = {
            key: _summed(self.slices.get(key, {}), other.slices.get(key, {})) for key in {**self.slices, **other.slices}
        }
        return Content(_summed(self.whole, other.whole), slices)

    def of(self, key: str) -> Sums:
        """Return what it has of a partition."""
        return self.whole.get(key, Sums())


def _summed(some: Mapping[K, Sums], more: Mapping[K, Sums]) -> dict[K, Sums]:
    return {key: some.get(key, Sums()) + more.get(key, Sums()) for key in {**some, **more}}


def content(table: Table, frame: pl.DataFrame) -> Content:
    """Return what a frame has; of intervals, which lie in no partition, nothing."""
    partition = table.partition
    if isinstance(partition, Spanning) or frame.is_empty():
        return Content()
    if not isinstance(partition, Timed):
        found = _versions.sums(frame, _versions.partition_column(table))
        return Content({_versions.key_text(table, value): Sums(*more) for value, *more in found})
    whole: dict[str, Sums] = {}
    slices: dict[str, dict[datetime, Sums]] = {}
    at = pl.col(partition.column).cast(pl.Datetime("us", "UTC")).dt.truncate(_LENGTHS[partition.every])
    for start, *more in _versions.sums(frame, at):
        key, rows = _versions.key_text(table, start), Sums(*more)
        whole[key] = whole.get(key, Sums()) + rows
        slices.setdefault(key, {})[start] = rows
    return Content(whole, slices)


class Slices:
    """What one store wrote last into its large partitions; it holds for rows of the same fingerprint."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[str, Mapping[datetime, Sums]]] = OrderedDict()

    def keep(self, table: Table, keys: Sequence[str], new: Content) -> None:
        """Remember what was written, the newest."""
        for key in keys:
            self._known.pop((table.name, key), None)
            if new.of(key).count >= _LEAST_ROWS:
                self._known[table.name, key] = (str(new.of(key)), new.slices.get(key, {}))
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)

    def stale(self, table: Table, before: Mapping[str, str | None], new: Content) -> list[Stretch]:
        """Return the stretches of time to write, of partitions that have changed; `before` are their fingerprints."""
        if not isinstance(table.partition, Timed):
            return []
        found: list[Stretch] = []
        for key, fingerprint in before.items():
            start = start_of(key)
            parts = self._parts(table, key, fingerprint, new)
            found += [(start, after(start, table.partition.every))] if parts is None else parts
        return list(_joined(found))

    def _parts(self, table: Table, key: str, fingerprint: str | None, new: Content) -> list[Stretch] | None:
        """Return what of a partition has changed; None where that is not known, or as much as all of it."""
        known = self._known.get((table.name, key))
        if known is None or known[0] != fingerprint or not isinstance(table.partition, Timed):
            return None
        old, length = known[1], _LENGTHS[table.partition.every]
        rows = new.slices.get(key, {})
        changed = sorted(at for at in old.keys() | rows.keys() if old.get(at) != rows.get(at))
        parts = list(_joined((at, at + length) for at in changed))
        return parts if len(parts) <= _MOST_STRETCHES else None


def _joined(stretches: Sequence[Stretch] | Iterator[Stretch]) -> Iterator[Stretch]:
    """Yield stretches in order, neighbours as one."""
    last: Stretch | None = None
    for start, end in sorted(stretches):
        if last is not None and last[1] == start:
            last = (last[0], end)
            continue
        if last is not None:
            yield last
        last = (start, end)
    if last is not None:
        yield last
