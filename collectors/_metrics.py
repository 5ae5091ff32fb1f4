"""What the agent says of itself: counts since its start, for Prometheus."""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from collectors._round import Run
from collectors._spool import Spool
from ledger.exposition import Family, process_families

_PREFIX: Final = "clusterledger_agent_"


@dataclass
class _Collector:
    """How the rounds of one collector went since the agent's start."""

    rounds: int = 0
    failures: int = 0
    rows: int = 0
    seconds: float = 0.0
    last_seconds: float = 0.0
    last_success: float | None = None


@dataclass
class Counts:
    """What the agent did since its start; its threads take turns."""

    lost_rows: int = 0
    """Rows that were lost and are not told to the hub yet."""
    damaged_rows: int = 0
    """Rows that the disk damaged and that are not told yet."""
    refused_rows: int = 0
    """Rows that the hub refused for good and that are not told yet."""
    replaced: str = ""
    """What became of a damaged spool, not told yet."""
    reloads: int = 0
    refused_reloads: int = 0
    _refused_telling: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _collectors: dict[str, _Collector] = field(default_factory=dict)
    _shipped: dict[str, float] = field(default_factory=dict)
    _last_shipped: float | None = None

    def ran(self, run: Run) -> None:
        """Count one round of a collector."""
        with self._lock:
            found = self._collectors.setdefault(run.collector, _Collector())
            found.rounds += 1
            found.failures += not run.ok
            found.rows += run.rows
            found.seconds += run.duration_seconds
            found.last_seconds = run.duration_seconds
            if run.ok:
                found.last_success = time.time()

    def rows_shipped(self) -> tuple[int, int]:
        """Return how many rows the hub has got since the agent's start, and how many of them it rejected."""
        with self._lock:
            return int(self._shipped.get("rows", 0)), int(self._shipped.get("rejected", 0))

    def shipped(self, rows: int, rejected: int) -> None:
        """Count a batch that the hub has."""
        self._add(batches=1, rows=rows, rejected=rejected)
        self._last_shipped = time.time()

    def tell_refused(self) -> int:
        """Return how many refused rows are to be told now; `told` takes them away."""
        with self._lock:
            self._refused_telling = self.refused_rows
            return self._refused_telling

    def put_aside(self, rows: int, *, is_told: bool) -> None:
        """Count a batch that the hub refused for good; `is_told` says whether the hub is to know."""
        self._add(refused_batches=1, refused_rows=rows)
        with self._lock:
            self.refused_rows += rows if is_told else 0

    def failed(self) -> None:
        """Count a try that the hub did not take, for now."""
        self._add(failures=1)

    def dropped(self, rows: int) -> None:
        """Count rows that the spool had no room for."""
        self._add(dropped=rows)
        self.lost_rows += rows

    def damaged(self, rows: int) -> None:
        """Count rows that the spool's disk did not keep as they were."""
        self._add(damaged=rows)
        self.damaged_rows += rows

    def told(self) -> None:
        """Note that losses so far are told to the hub, or wait for it beside the rows."""
        self.lost_rows = self.damaged_rows = 0
        with self._lock:
            # The shipper may have put more aside since.
            self.refused_rows -= self._refused_telling
            self._refused_telling = 0
        self.replaced = ""

    def _add(self, **more: float) -> None:
        with self._lock:
            for name, value in more.items():
                self._shipped[name] = self._shipped.get(name, 0) + value

    def families(self, spool: Spool, enabled: Iterable[str]) -> Iterator[Family]:
        """Yield every metric as it is now."""
        yield Family("clusterledger_build_info", "gauge", "The release that runs.").add(1, version=_release())
        with self._lock:
            collectors = [(name, self._collectors.get(name, _Collector())) for name in sorted(enabled)]
            shipped = dict(self._shipped)
        yield from _rounds(collectors)
        yield from self._shipping(shipped)
        yield from _kept(spool)
        yield from process_families()

    def _shipping(self, shipped: dict[str, float]) -> Iterator[Family]:
        for name, key, means in (
            ("shipped_batches_total", "batches", "Batches that the hub has."),
            ("shipped_rows_total", "rows", "Rows in batches that the hub has."),
            ("rejected_rows_total", "rejected", "Rows that the hub kept among the refused."),
            ("refused_batches_total", "refused_batches", "Batches that the hub never takes, put aside."),
            ("refused_rows_total", "refused_rows", "Rows in batches that the hub never takes."),
            ("ship_failures_total", "failures", "Tries that the hub did not take; the rows wait."),
            ("dropped_rows_total", "dropped", "Rows that the spool's bound pushed out."),
            ("damaged_rows_total", "damaged", "Rows in the spool that its disk damaged."),
        ):
            yield Family(f"{_PREFIX}{name}", "counter", means).add(shipped.get(key, 0))
        means = "When the hub took a batch last."
        yield Family(f"{_PREFIX}last_shipped_timestamp_seconds", "gauge", means).add(self._last_shipped)
        yield Family(f"{_PREFIX}lost_rows", "gauge", "Rows lost to a full disk, not told to the hub yet.").add(
            self.lost_rows
        )
        reloads = Family(f"{_PREFIX}reloads_total", "counter", "Times that the configuration was read again.")
        yield reloads.add(self.reloads, outcome="taken").add(self.refused_reloads, outcome="refused")


def _rounds(collectors: list[tuple[str, _Collector]]) -> Iterator[Family]:
    rounds = Family(f"{_PREFIX}collector_rounds_total", "counter", "Rounds of a collector.")
    failures = Family(f"{_PREFIX}collector_failures_total", "counter", "Rounds of a collector that failed.")
    rows = Family(f"{_PREFIX}collector_rows_total", "counter", "Rows that a collector brought.")
    seconds = Family(f"{_PREFIX}collector_round_seconds", "summary", "How long rounds of a collector took.")
    last = Family(f"{_PREFIX}collector_last_round_seconds", "gauge", "How long its last round took.")
    success = Family(f"{_PREFIX}collector_last_success_timestamp_seconds", "gauge", "When a round of it was last good.")
    for name, found in collectors:
        rounds.add(found.rounds, collector=name)
        failures.add(found.failures, collector=name)
        rows.add(found.rows, collector=name)
        seconds.add(found.seconds, "_sum", collector=name).add(found.rounds, "_count", collector=name)
        if found.rounds:
            last.add(found.last_seconds, collector=name)
        success.add(found.last_success, collector=name)
    yield from (rounds, failures, rows, seconds, last, success)


def _kept(spool: Spool) -> Iterator[Family]:
    size = spool.size()
    yield Family(f"{_PREFIX}spool_rows", "gauge", "Rows that wait for the hub.").add(size.rows)
    yield Family(f"{_PREFIX}spool_bytes", "gauge", "What they take, compressed.").add(size.bytes)
    yield Family(f"{_PREFIX}spool_max_bytes", "gauge", "What they may take.").add(spool.max_bytes)
    age = None if size.oldest is None else time.time() - size.oldest
    yield Family(f"{_PREFIX}spool_oldest_age_seconds", "gauge", "For how long the oldest of them waits.").add(
        0.0 if size.rows == 0 else age
    )


def _release() -> str:
    try:
        return version("clusterledger")
    except PackageNotFoundError:
        return ""
