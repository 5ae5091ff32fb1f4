"""Old rows go a part at a time, oldest first, and nobody waits for all of them."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger._expiry import stretches
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import Batch, CoverageDay, GpuSample

AT = datetime(2026, 11, 20, 5, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:", now=lambda: AT) as store:
        yield store


def put(store: Store, *instants: datetime) -> None:
    rows = [{"cluster": "c", "node": "n", "gpu_uuid": "g", "status": "ok", "sampled_at": at} for at in instants]
    store.append(GpuSample, to_frame(GpuSample, rows), source="t")


def left(store: Store) -> list[datetime]:
    return store.read(GpuSample)["sampled_at"].to_list()


def commits(store: Store) -> int:
    return int(store.select("SELECT turn_count FROM fence").item())


def test_others_have_their_turn_between_two_parts(store: Store) -> None:
    old = [AT - 3 * HOUR + place * MINUTE for place in range(5)]
    put(store, *old, AT)
    seen: list[list[datetime]] = []

    def meanwhile() -> bool:
        seen.append(left(store))
        put(store, AT + len(seen) * MINUTE)
        return False

    assert store.expire(GpuSample, AT, at_once=2, stop=meanwhile) == 5
    assert seen == [[*old, AT], [*old[2:], AT, AT + MINUTE], [*old[4:], AT, AT + MINUTE, AT + 2 * MINUTE]]
    assert left(store) == [AT, AT + MINUTE, AT + 2 * MINUTE, AT + 3 * MINUTE]


def test_what_a_stop_leaves_goes_the_next_time(store: Store) -> None:
    put(store, *(AT - 3 * HOUR + place * MINUTE for place in range(5)), AT)
    asked = iter([False, True])
    assert store.expire(GpuSample, AT, at_once=2, stop=lambda: next(asked)) == 2
    assert len(left(store)) == 4
    assert store.expire(GpuSample, AT, at_once=2) == 3
    assert left(store) == [AT]


KILLED = """
import os, sys
from datetime import datetime
from ledger.store import Store
from ledger.tables import GpuSample
asked = iter([False, False, True])
at = datetime.fromisoformat(sys.argv[2])
with Store.open(sys.argv[1], now=lambda: at) as store:
    store.expire(GpuSample, at, at_once=2, stop=lambda: next(asked) and os._exit(9))
"""


def test_the_next_run_finishes_what_a_kill_between_two_parts_left(tmp_path: Path) -> None:
    url = f"duckdb:{tmp_path / 'store.duckdb'}"
    with Store.open(url, now=lambda: AT) as store:
        put(store, *(AT - 3 * HOUR + place * MINUTE for place in range(7)), AT)
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, url, AT.isoformat()],
        cwd=Path(__file__).parents[2],
        check=False,
        timeout=120,
    )
    assert ended.returncode == 9
    with Store.open(url, now=lambda: AT) as store:
        assert len(left(store)) == 4
        assert store.expire(GpuSample, AT, at_once=2) == 3
        assert left(store) == [AT]


def test_rows_of_long_ago_take_no_more_commits_than_rows_of_last_week(store: Store) -> None:
    long_ago = [EPOCH - timedelta(days=900, seconds=1), EPOCH - timedelta(seconds=1), EPOCH]
    put(store, *long_ago, AT - 2 * HOUR, AT - HOUR, AT)
    before = commits(store)
    assert store.expire(GpuSample, AT, at_once=1) == 5
    assert commits(store) - before <= 5
    assert left(store) == [AT]


def test_where_nothing_is_old_nothing_is_written(store: Store) -> None:
    put(store, AT, AT + HOUR)
    before = commits(store)
    assert store.expire(GpuSample, AT + HOUR - MINUTE) == 0
    assert commits(store) == before


def test_days_go_as_a_whole_whether_they_are_dates_or_instants(store: Store) -> None:
    ratios: dict[str, Any] = {"gpu_existed_seconds": 0, "gpu_observed_seconds": 0, "gpu_held_known_seconds": 0}
    ratios |= {"coverage_ratio": 0.0, "allocation_coverage_ratio": 0.0}
    days = [{"day": date(2026, 11, day), "cluster": "c", "node": "n", **ratios} for day in (17, 18, 19, 20)]
    partitions = [f"{row['day']}" for row in days]
    store.replace(CoverageDay, to_frame(CoverageDay, days), partitions=partitions)
    assert store.expire(CoverageDay, AT, at_once=2) == 3
    assert store.read(CoverageDay)["day"].to_list() == [date(2026, 11, 20)]
    batch = {"node": "n", "cluster": "c", "row_count": 0, "rejected_count": 0}
    instants = [AT.replace(hour=0) - MINUTE, AT.replace(hour=0)]
    rows = [batch | {"batch_id": str(at), "received_at": at} for at in instants]
    store.append(Batch, to_frame(Batch, rows), source="t")
    assert store.expire(Batch, AT) == 1
    assert store.read(Batch)["received_at"].to_list() == instants[1:]


@given(
    st.dictionaries(st.integers(-1_000_000, 10_000), st.integers(1, 20)),
    st.integers(1, 30),
)
def test_each_minute_is_in_one_stretch_of_few_rows(counts: dict[int, int], at_once: int) -> None:
    before = EPOCH + timedelta(minutes=20_000)
    minutes = sorted(counts.items())
    found = list(stretches(minutes, before, at_once))
    assert all(end == start for (_, end), (start, _) in itertools.pairwise(found))
    places = pl.Series([EPOCH + minute * MINUTE for minute, _ in minutes], dtype=pl.Datetime("us", "UTC"))
    held = [[counts[minutes[row][0]] for row in places.is_between(*each, closed="left").arg_true()] for each in found]
    assert sum(map(sum, held)) == sum(counts.values())
    assert all(len(each) == 1 or 0 < sum(each) <= at_once for each in held)
    assert not found or found[-1][1] == before
