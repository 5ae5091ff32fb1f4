"""How many batches agents have sent since the hub's start, by what they were answered, and what their rows became."""

import threading
from collections import Counter
from collections.abc import Iterator
from typing import Final

import msgspec
from starlette.responses import Response

from ledger.exposition import Family

_PREFIX: Final = "clusterledger_ingest_"
UNANSWERED: Final = "unanswered"
"""A batch whose sender went away, or at which the hub broke."""


class Acknowledged(Response):
    """The answer to a batch that the hub has: `status` is kept, or known where it was kept before."""

    def __init__(self, status: str, batch_id: str, tables: dict[str, dict[str, int]]) -> None:
        said = msgspec.json.encode({"status": status, "batch_id": batch_id, "tables": tables})
        super().__init__(said, media_type="application/json")
        self.status = status
        self.tables = tables


class Tally:
    """Counts of batches and rows; whoever counts and whoever asks take turns."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # What never happened is 0, not absent: a rate needs a beginning.
        self._batches = Counter({"kept": 0, "known": 0})
        self._rows = Counter({"rows": 0, "duplicates": 0, "rejected": 0})

    def count(self, answer: Response | None) -> None:
        """Count one batch by its answer; None for none."""
        with self._lock:
            if isinstance(answer, Acknowledged):
                self._batches[answer.status] += 1
                for told in answer.tables.values():
                    for name, number in told.items():
                        self._rows[name] += number
            else:
                self._batches[UNANSWERED if answer is None else str(answer.status_code)] += 1

    def families(self) -> Iterator[Family]:
        """Yield the counts as they are now."""
        with self._lock:
            batches, rows = dict(self._batches), dict(self._rows)
        means = "Batches of agents: kept, known from an earlier try, or by the HTTP status of the refusal."
        family = Family(f"{_PREFIX}batches_total", "counter", means)
        for status, number in sorted(batches.items()):
            family.add(number, status=status)
        yield family
        means = "Rows in batches that were kept: kept, duplicates of rows that are there, or rejected."
        family = Family(f"{_PREFIX}rows_total", "counter", means)
        for key, status in (("rows", "kept"), ("duplicates", "duplicate"), ("rejected", "rejected")):
            family.add(rows[key], status=status)
        yield family
