"""Rows of partitions that come in pieces: stored as what they are together, and in files until then."""

import random
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import _replaced, _slices
from ledger._commit import Commit
from ledger.errors import ContractError, StoreError
from ledger.frames import shaped, to_frame
from ledger.store import Pieces, Store
from ledger.tables import GpuMinute, JobHour, declared

HOUR = datetime(2026, 11, 2, 5, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KEYS = ["2026-11-02T05", "2026-11-02T06"]


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:") as store:
        yield store


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Store, Store]]:
    with Store.open("duckdb::memory:") as some, Store.open("duckdb::memory:") as one:
        yield some, one


def rows(*nodes: str, minutes: int = 3, watts: float = 300.0) -> pl.DataFrame:
    told = [
        {"cluster": "alpha", "node": node, "gpu_uuid": f"GPU-{node}", "observed_seconds": "60.000"}
        | {"minute_start": HOUR + minute * MINUTE, "power_watts": watts + minute}
        for node in nodes
        for minute in range(minutes)
    ]
    return shaped(to_frame(GpuMinute, told), GpuMinute)


def put(store: Store, *frames: pl.DataFrame) -> list[str]:
    with store.pieces(GpuMinute, KEYS) as pieces:
        for frame in frames:
            pieces.add(frame)
        return store.replace_by(pieces)


def states(store: Store) -> list[tuple[Any, ...]]:
    found = store.versions("gpu_minute").values()
    return [(each.partition_key, each.version_count, each.content_fingerprint, each.row_count) for each in found]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 15)), min_size=1, max_size=5),
    st.integers(1, 90),
    st.integers(1, 30),
    st.randoms(use_true_random=False),
)
def test_pieces_are_stored_as_what_they_are_together(
    two: tuple[Store, Store], drawn: list[tuple[int, int]], group: int, least: int, order: random.Random
) -> None:
    some, one = two
    # Some reach into the next hour.
    frames = [
        rows(*(f"{place}-{node}" for node in range(nodes)), minutes=minutes).with_columns(
            pl.col("minute_start") + 50 * MINUTE
        )
        for place, (nodes, minutes) in enumerate(drawn)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_replaced, "ROW_GROUP", group)
        patch.setattr(_slices, "_LEAST_ROWS", least)
        for _ in range(2):
            assert put(some, *frames) == one.replace(GpuMinute, pl.concat(frames), partitions=KEYS)
            assert some.read(GpuMinute).equals(one.read(GpuMinute))
            assert states(some) == states(one)
            order.shuffle(frames)
            frames[0] = frames[0].with_columns(pl.col("power_watts") + order.choice([0.0, 1.0]))


def open_files(folder: Path) -> int:
    """Return how many files of a folder are open here, those without a name among them."""
    links = (link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return sum(str(each).startswith(str(folder)) for each in links)


@pytest.mark.skipif(sys.platform != "linux", reason="which files are open is told by Linux alone")
def test_of_several_pieces_all_but_the_last_lie_in_files_that_nobody_finds(store: Store, scratch: Path) -> None:
    with store.pieces(GpuMinute, KEYS) as pieces:
        pieces.add(rows("a"))
        assert open_files(scratch) == 0, "one piece needs none"
        for node in "bc":
            pieces.add(rows(node))
        assert open_files(scratch) == 2
        assert list(scratch.iterdir()) == [], "a process that is killed leaves none"
        assert pieces.height == 9
        assert pieces.content.of(KEYS[0]).count == 9
        assert [frame["node"].unique().to_list() for frame in pieces.frames()] == [["a"], ["b"], ["c"]]
        # A commit that has to be repeated reads them again.
        assert sum(frame.height for frame in pieces.frames()) == 9
        store.replace_by(pieces)
    assert open_files(scratch) == 0
    assert store.read(GpuMinute).height == 9


def test_no_piece_is_no_row(store: Store) -> None:
    put(store, rows("a"), rows("b"))
    assert put(store) == [KEYS[0]]
    assert store.read(GpuMinute).is_empty()


def test_a_large_hour_leaves_no_small_group_behind(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_replaced, "ROW_GROUP", 7)
    inserted: list[int] = []
    insert = Commit.insert

    def noted(commit: Commit, table: Any, frame: pl.DataFrame) -> None:
        inserted.append(frame.height)
        insert(commit, table, frame)

    monkeypatch.setattr(Commit, "insert", noted)
    put(store, *(rows(node) for node in "abcdefgh"))
    assert inserted == [9, 15], "what is left goes with the last"
    put(store, rows("a"), rows("b"))
    assert inserted[2:] == [6]


def test_only_what_has_changed_of_pieces_is_written_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_slices, "_LEAST_ROWS", 1)
    places = "SELECT node, minute(minute_start) AS at, rowid AS place FROM gpu_minute ORDER BY ALL"
    put(store, rows("a"), rows("b"))
    before = store.select(places)
    changed = rows("b").with_columns(
        power_watts=pl.when(pl.col("minute_start") == HOUR + 2 * MINUTE).then(1.0).otherwise("power_watts")
    )
    assert put(store, rows("a"), changed) == [KEYS[0]]
    after = store.select(places)
    stays = pl.col("at") < 2
    assert after.filter(stays).equals(before.filter(stays))
    assert store.read(GpuMinute)["power_watts"].to_list() == [300.0, 301.0, 302.0, 300.0, 301.0, 1.0]
    assert put(store, changed, rows("a")) == []


def test_a_node_in_two_pieces_is_refused(store: Store) -> None:
    with pytest.raises(ContractError, match="gpu_minute: found rows of node a in two pieces, expected them in one"):
        put(store, rows("a", "b"), rows("c"), rows("a").with_columns(cluster=pl.lit("beta")))
    with pytest.raises(ContractError, match="found two rows with one key"):
        put(store, rows("a"), pl.concat([rows("b"), rows("b")]))
    with pytest.raises(ContractError, match="found rows of partition 2026-11-02T07"):
        put(store, rows("a"), rows("b", minutes=121))
    assert store.read(GpuMinute).is_empty()


def test_a_table_without_nodes_has_one_piece() -> None:
    with Pieces(declared(JobHour), []) as pieces:
        pieces.add(JobHour.create_empty())
        with pytest.raises(ContractError, match="job_hour: found several pieces of a table without nodes"):
            pieces.add(JobHour.create_empty())


def test_where_nothing_can_be_written_pieces_wait_in_memory(
    store: Store, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(scratch / "gone"))
    assert put(store, rows("a"), rows("b"), rows("c")) == [KEYS[0]]
    assert store.read(GpuMinute).height == 9


def test_a_piece_that_cannot_be_read_again_is_said_so_and_nothing_is_stored(store: Store) -> None:
    put(store, rows("a"))
    with store.pieces(GpuMinute, KEYS) as pieces:
        for node in "abc":
            pieces.add(rows(node, watts=1.0))
        file = pieces._kept[1]
        assert not isinstance(file, pl.DataFrame)
        file.truncate(9)
        with pytest.raises(
            StoreError, match="gpu_minute: what was computed and waited in a file cannot be read"
        ) as error:
            store.replace_by(pieces)
    assert "computes them again" in str(error.value.hint)
    assert store.read(GpuMinute).equals(rows("a").select(GpuMinute.column_names()))
