"""The batches that each node had committed last: what it sends again is among them.

A node sends one batch after the other and repeats only what was not acknowledged. What it repeats later than that is
known by its rows: their keys are stored already.
"""

from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import Final

KEPT: Final = 256
"""Batches of a node that are remembered; the parts of one that was refused are a hundred at most."""

# A short command looks its one batch up; only who writes again and again reads what all nodes sent.
_WRITES_BEFORE_READING: Final = 2


class Seen:
    """The last batches of each node, as of one count of the fence; an id counts by 64 bits of its hash."""

    def __init__(self) -> None:
        self._of: dict[str, array[int]] | None = None
        self._writes = 0

    def forget(self) -> None:
        """Know nothing, because somebody else has written."""
        self._of = None

    def known(
        self, ids: Sequence[tuple[str, str]], read: Callable[[], Iterable[tuple[str, Sequence[str]]]]
    ) -> set[str] | None:
        """Return which ids of nodes' batches were committed; None where they are to be looked up.

        `read` gives each node's last batches.
        """
        if self._of is None:
            self._writes += 1
            if self._writes <= _WRITES_BEFORE_READING:
                return None
            self._of = {node: array("q", map(hash, reversed(last))) for node, last in read()}
        last_of = self._of
        return {batch_id for node, batch_id in ids if node in last_of and hash(batch_id) in last_of[node]}

    def commit(self, ids: Iterable[tuple[str, str]]) -> None:
        """Take over what a transaction has recorded, once it is committed."""
        if self._of is None:
            return
        for node, batch_id in ids:
            last = self._of.setdefault(node, array("q"))
            last.append(hash(batch_id))
            if len(last) > 2 * KEPT:
                del last[:KEPT]
