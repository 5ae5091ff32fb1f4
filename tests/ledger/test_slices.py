"""What of a large partition is written anew: its rows are those of who replaced it, whatever stays where it is."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from ledger import _slices
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import GpuMinute

HOUR = datetime(2026, 11, 2, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KEY = "2026-11-02T05"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(_slices, "_LEAST_ROWS", 1)
    with Store.open("duckdb::memory:") as opened:
        yield opened


def row(minute: int, watts: float = 300.0, gpu: int = 0) -> dict[str, Any]:
    return {
        "minute_start": HOUR + minute * MINUTE,
        "cluster": "alpha",
        "node": "gpu-01",
        "gpu_uuid": f"GPU-{gpu}",
        "observed_seconds": "60.000",
        "power_watts": watts,
    }


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return to_frame(GpuMinute, rows)


def replace(store: Store, *rows: dict[str, Any]) -> list[str]:
    return store.replace(GpuMinute, frame(*rows), partitions=[KEY])


def places(store: Store) -> dict[int, int]:
    """Return by minute where its row lies in the file; a row that is written again lies elsewhere."""
    found = store.select("SELECT minute(minute_start) AS at, rowid AS place FROM gpu_minute WHERE gpu_uuid = 'GPU-0'")
    return dict(found.iter_rows())


def test_minutes_that_are_as_they_were_stay_where_they_are(store: Store) -> None:
    replace(store, row(0), row(1), row(2))
    before = places(store)
    assert replace(store, row(0), row(1), row(2, 310.0), row(3)) == [KEY]
    after = places(store)
    assert (after[0], after[1]) == (before[0], before[1])
    assert after[2] != before[2]
    assert store.read(GpuMinute)["power_watts"].to_list() == [300.0, 300.0, 310.0, 300.0]
    (state,) = store.versions("gpu_minute").values()
    assert (state.version_count, state.row_count) == (2, 4)


def test_what_somebody_appended_goes(store: Store) -> None:
    """Its partition has no fingerprint then: all of it is written."""
    replace(store, row(0), row(1))
    store.append(GpuMinute, frame(row(7)), source="test")
    replace(store, row(0), row(1, 5.0))
    assert store.read(GpuMinute)["power_watts"].to_list() == [300.0, 5.0]


def test_a_store_that_knows_nothing_writes_all(store: Store) -> None:
    replace(store, row(0), row(1))
    with store.transaction():
        before = places(store)
    # As after a start.
    store._transactions._latest.slices = _slices.Slices()
    replace(store, row(0), row(1), row(2))
    assert set(places(store).values()).isdisjoint(before.values())
    assert store.read(GpuMinute).height == 3


def test_minutes_that_lie_apart_are_written_as_a_whole_where_they_are_many(store: Store) -> None:
    replace(store, *(row(minute) for minute in range(60)))
    before = places(store)
    replace(store, *(row(minute, 300.0 if minute % 2 else 1.0) for minute in range(60)))
    assert set(places(store).values()).isdisjoint(before.values())
    assert store.read(GpuMinute)["power_watts"].sum() == 30 * 301.0


@pytest.mark.parametrize("seed", range(12))
def test_any_order_of_replacements_leaves_the_last_rows(store: Store, seed: int) -> None:
    """Rows come, go and change in any minute of two hours, of which one or both are replaced."""
    draw = random.Random(seed)  # noqa: S311  cases, no secrets
    keys = [KEY, "2026-11-02T06"]
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for _ in range(25):
        for _ in range(draw.randint(0, 12)):
            at = (draw.randrange(120), draw.randrange(3))
            if draw.random() < 0.3:
                rows.pop(at, None)
            else:
                rows[at] = row(at[0], float(draw.randint(1, 3)), at[1])
        wanted = draw.choice([keys[:1], keys[1:], keys])
        inside = [each for (minute, _), each in rows.items() if keys[minute // 60] in wanted]
        store.replace(GpuMinute, frame(*inside), partitions=wanted)
        if len(wanted) == 2:
            expected = frame(*rows.values()).sort("gpu_uuid", "minute_start")
            assert store.read(GpuMinute).sort("gpu_uuid", "minute_start").equals(expected)
    store.replace(GpuMinute, frame(*rows.values()), partitions=keys)
    assert store.read(GpuMinute).height == len(rows)
