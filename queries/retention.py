"""How long rows are kept: what was computed from them is sealed before they go."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from ledger.config import Settings
from ledger.store import Store
from ledger.tables.partition import TABLES, Timed, declared, floor
from queries._due import Versions, candidates, inputs, key_of
from queries.graph import Rollup, load

MINUTE_TABLES = ("gpu_minute", "node_minute", "bottleneck_minute", "storage_device_hour")
"""Rollups that are kept for a set time; the others stay for good. Of a storage device that is its days."""


def kept_days(settings: Settings) -> dict[str, int]:
    """Return for how many days the rows of each table are kept; tables that are kept for good are left out."""
    raw = [table.name for table in TABLES.values() if table.group in {"sample", "slow_sample"}]
    return {
        **dict.fromkeys((*raw, "batch"), settings.store.keep_raw_days),
        **dict.fromkeys(MINUTE_TABLES, settings.store.keep_minute_days),
    }


def cutoff(now: datetime, days: int) -> datetime:
    """Return the instant before which rows go: whole UTC days, so that no partition loses a part of its rows."""
    return floor(now - timedelta(days=days), "day")


def expire(
    store: Store,
    settings: Settings,
    *,
    now: datetime | None = None,
    rollups: Sequence[Rollup] | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[str, int]:
    """Seal what was computed from rows that have been kept long enough, delete them, and return how many by table.

    Run what is due first: a sealed partition stays as it is. What is left by `stop` goes the next time.
    """
    at = now or store.now()
    seal_expiring(store, settings, at, load() if rollups is None else rollups)
    return {
        name: store.expire(TABLES[name].schema, cutoff(at, days), stop=stop)
        for name, days in kept_days(settings).items()
    }


def seal_expiring(store: Store, settings: Settings, now: datetime, rollups: Sequence[Rollup]) -> int:
    """Seal the partitions that read rows which are about to go, and return how many were not sealed before."""
    kept = kept_days(settings)
    versions = Versions(store, now)
    count = 0
    for rollup in rollups:
        partition = declared(rollup.schema).partition
        reads = [source for source in rollup.sources if declared(source.schema).name in kept]
        if not isinstance(partition, Timed) or not reads:
            continue
        ends = {source.parameter: cutoff(now, kept[declared(source.schema).name]) for source in reads}
        states = versions.of(declared(rollup.schema).name)
        keys = [
            key
            for start in candidates(inputs(rollup, versions), versions, partition.every, unfilled=True)
            if any(start - source.read.before < ends[source.parameter] for source in reads)
            and not ((key := key_of(start, partition.every)) in states and states[key].is_sealed)
        ]
        if keys:
            store.seal(declared(rollup.schema).name, keys)
            count += len(keys)
    return count
