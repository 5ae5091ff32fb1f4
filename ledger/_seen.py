"""The batches that each node had committed last: what it sends again is among them.

A node sends one batch after the other and repeats only what was not acknowledged. What it repeats later than that is
known by its rows: their keys are stored already.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Final

KEPT: Final = 256
"""Batches of a node that are remembered; the parts of one that was refused are a hundred at most."""

BatchKey = tuple[str, str, str]
"""Cluster, node and id: an id is its node's own, for machines that were copied with all that they remember may draw the
same ones."""

# A short command looks its one batch up; only who writes again and again reads what all nodes sent.
_WRITES_BEFORE_READING: Final = 2


class Seen:
    """The last batches of each node, as of one turn; an id counts by 64 bits of its hash."""

    def __init__(self) -> None:
        self._of: dict[tuple[str, str], array[int]] | None = None
        self._writes = 0

    def forget(self) -> None:
        """Know nothing, because somebody else has written."""
        self._of = None

    def known(
        self, keys: Sequence[BatchKey], read: Callable[[], Iterable[tuple[str, str, Sequence[str]]]]
    ) -> set[BatchKey] | None:
        """Return which batches were committed; None where they are to be looked up.

        `read` gives each node's last batches, by cluster and node.
        """
        if self._of is None:
            self._writes += 1
            if self._writes <= _WRITES_BEFORE_READING:
                return None
            self._of = {(cluster, node): array("q", map(hash, reversed(last))) for cluster, node, last in read()}
        last_of, none = self._of, array("q")
        return {key for key in keys if hash(key[2]) in last_of.get(key[:2], none)}

    def commit(self, keys: Iterable[BatchKey]) -> None:
        """Take over what a transaction has recorded, once it is committed."""
        if self._of is None:
            return
        for cluster, node, batch_id in keys:
            last = self._of.setdefault((cluster, node), array("q"))
            last.append(hash(batch_id))
            if len(last) > 2 * KEPT:
                del last[:KEPT]
