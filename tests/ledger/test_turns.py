"""Commits that only insert: they wait for no checkpoint, and leave the same versions as those that count at once."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import _checkpoints, _turns
from ledger._group import append_group, joints_of, ready
from ledger.store import RollupState, Sender, Store, Version
from ledger.tables import Gpu, GpuMinute, GpuSample, HostSample, PartitionChange, PartitionState
from tests.ledger.test_store import frame_of

AT = datetime(2026, 11, 20, 5, 30, tzinfo=UTC)
NOW = AT + timedelta(hours=2)
PATIENCE_SECONDS = 30.0


def rows(minute: int, node: str = "n", count: int = 1) -> pl.DataFrame:
    """Return samples of one minute of a node."""
    one = frame_of(GpuSample, {"node": node, "sampled_at": AT + timedelta(minutes=minute)})
    later = pl.col("sampled_at") + pl.duration(microseconds=pl.int_range(count))
    return one[[0] * count].with_columns(later)


def host(second: int) -> pl.DataFrame:
    return frame_of(HostSample, {"node": "n", "sampled_at": AT + timedelta(seconds=second)})


def device(**given_values: Any) -> pl.DataFrame:
    return frame_of(Gpu, {"node": "n", "gpu_uuid": "g", **given_values})


def send(store: Store, batch: str, *frames: tuple[Any, pl.DataFrame], node: str = "n") -> Any:
    return store.append_batch(dict(frames), source="t", batch_id=batch, node=node)


def turn(store: Store) -> int:
    return int(store.select("SELECT turn_count FROM fence").item())


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:", now=lambda: NOW) as opened:
        yield opened


def test_a_batch_of_new_rows_updates_nothing_and_its_versions_are_known(store: Store) -> None:
    before = turn(store)
    send(store, "1", (GpuSample, rows(0)))
    send(store, "2", (GpuSample, rows(1, count=3)))
    assert turn(store) == before
    assert store.read(PartitionState).is_empty()
    changes = store.read(PartitionChange)
    assert changes["turn_count"].unique(maintain_order=True).to_list() == [before + 1, before + 2]
    (state,) = store.versions("gpu_sample").values()
    assert (state.partition_key, state.version_count, state.row_count, state.changed_at) == ("2026-11-20T05", 2, 4, NOW)
    assert not state.is_sealed
    current = Version("2", None, None, None, is_sealed=False, row_count=4)
    assert store.current("gpu_sample") == {"gpu_sample": {"2026-11-20T05": current}}
    assert store.versions("gpu_sample", "2026-11-20T06") == {}


def test_who_changes_rows_counts_what_waits_and_all_stay_the_same(store: Store) -> None:
    for batch in range(3):
        send(store, str(batch), (GpuSample, rows(batch)))
    told, whole = store.current(), store.versions("gpu_sample")
    store.seal("gpu_hour", ["2026-11-20T01"])
    assert store.read(PartitionChange).is_empty()
    assert store.read(PartitionState).filter(table_name="gpu_sample")["version_count"].to_list() == [3]
    assert store.versions("gpu_sample") == whole
    assert {**store.current(), "gpu_hour": {}} == {**told, "gpu_hour": {}}
    assert turn(store) == 4


def test_a_batch_that_changes_a_row_is_stored_as_one_that_may(store: Store) -> None:
    send(store, "1", (Gpu, device(gpu_model="A")), (GpuSample, rows(0)))
    before = turn(store)
    told = send(store, "2", (GpuSample, rows(1)), (Gpu, device(gpu_model="B")))
    assert {name: each.rows for name, each in told.items()} == {"gpu_sample": 1, "gpu": 1}
    assert turn(store) > before
    assert store.read(PartitionChange).is_empty()
    assert store.read(Gpu)["gpu_model"].to_list() == ["B"]
    assert store.read(GpuSample).height == 2
    assert store.versions("gpu_sample")["2026-11-20T05"].version_count == 2


def test_what_waits_is_counted_before_it_is_much(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_turns, "_MOST_PENDING", 10)
    for batch in range(30):
        send(store, str(batch), (GpuSample, rows(batch % 20)))
        assert store.read(PartitionChange).height <= 10 + 2
    assert store.versions("gpu_sample")["2026-11-20T05"].version_count == 20
    assert store.versions("batch")["2026-11-20"].row_count == 30


def test_a_rollup_that_is_appended_to_is_no_longer_what_was_computed(store: Store) -> None:
    minute = frame_of(GpuMinute, {"minute_start": AT})
    state = {"2026-11-20T05": RollupState("i", "c", "s")}
    store.replace(GpuMinute, minute, partitions=["2026-11-20T05"], state=state)
    computed = store.current("gpu_minute")["gpu_minute"]["2026-11-20T05"]
    send(store, "1", (GpuMinute, frame_of(GpuMinute, {"minute_start": AT + timedelta(minutes=1)})))
    found = store.versions("gpu_minute")["2026-11-20T05"]
    assert (found.content_fingerprint, found.version_count, found.row_count) == (None, 2, 2)
    assert (found.input_version, found.code_version, found.settings_fingerprint) == ("i", "c", "s")
    assert store.current("gpu_minute")["gpu_minute"]["2026-11-20T05"].token != computed.token
    assert store.replace(GpuMinute, minute, partitions=["2026-11-20T05"], state=state) == ["2026-11-20T05"]
    assert store.current("gpu_minute")["gpu_minute"]["2026-11-20T05"] == computed


def test_a_copy_and_what_is_brought_back_have_what_waits(tmp_path: Path, store: Store) -> None:
    send(store, "1", (GpuSample, rows(0)))
    told = store.current()
    store.backup(tmp_path / "copy.duckdb")
    with Store.open(f"duckdb:{tmp_path / 'copy.duckdb'}", now=lambda: NOW) as copy:
        assert copy.current() == told
        assert send(copy, "1", (GpuSample, rows(0))) is None
    with Store.open("duckdb::memory:", now=lambda: NOW) as other:
        for batch in range(5):
            send(other, f"o{batch}", (GpuSample, rows(batch, "other")))
        other.load(tmp_path / "copy.duckdb")
        assert other.current() == told
        for batch in range(3):
            assert send(other, "1", (GpuSample, rows(0))) is None
            assert send(other, f"n{batch}", (GpuSample, rows(0)))["gpu_sample"].duplicates == 1


def counted_at_once(store: Store, sender: Sender, frames: dict[Any, pl.DataFrame]) -> None:
    """Store a batch as one that may change rows."""
    store._transactions.run(lambda commit: append_group(commit, [sender], ready(joints_of(frames))))


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["batch", "append", "device", "seal", "minute"]), st.integers(0, 90), st.sampled_from("ab")
        ),
        max_size=12,
    )
)
def test_versions_do_not_tell_how_rows_came(acts: list[tuple[str, int, str]]) -> None:
    """Each act leaves the versions that it leaves where every commit counts at once."""
    with Store.open("duckdb::memory:", now=lambda: NOW) as one, Store.open("duckdb::memory:", now=lambda: NOW) as other:
        for place, (act, minute, node) in enumerate(acts):
            for each in (one, other):
                if act == "append":
                    each.append(GpuSample, rows(minute, node), source="t")
                elif act == "seal":
                    each.seal("gpu_hour", [f"2026-11-20T{minute % 10:02}"])
                elif act == "minute":
                    frame = frame_of(GpuMinute, {"minute_start": AT, "node": f"{node}{minute}"})
                    each.replace(GpuMinute, frame, partitions=["2026-11-20T05"])
                else:
                    frames: dict[Any, pl.DataFrame] = {Gpu: device(gpu_model=f"m{minute % 3}")}
                    if act == "batch":
                        frames = {GpuSample: rows(minute, node)}
                    if each is one:
                        send(one, str(place), *frames.items(), node=node)
                    else:
                        counted_at_once(other, Sender(str(place), node, "t"), frames)
            assert one.current() == other.current()
            for table in ("gpu_sample", "gpu", "batch", "gpu_hour", "gpu_minute"):
                assert one.versions(table) == other.versions(table)
        assert other.read(PartitionChange).is_empty()


@pytest.mark.parametrize("who", ["batches", "changes", "batches beside a change"])
def test_a_batch_of_new_rows_waits_for_no_checkpoint_and_a_change_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, who: str
) -> None:
    monkeypatch.setattr(_checkpoints, "_EVERY_SECONDS", 3_600.0)
    path = tmp_path / "ledger.duckdb"
    with Store.open(f"duckdb:{path}", now=lambda: NOW) as store:
        store.checkpoint_beside(lambda: True)
        for second in range(-5, 0):
            send(store, str(second), (HostSample, host(second)))
        for node in range(8):
            store.append(GpuSample, rows(0, f"x{node}", 60_000), source="t")
        size, done = path.stat().st_size, threading.Event()
        checkpoints = store._checkpoints
        assert checkpoints is not None
        beside = checkpoints._beside

        def told() -> None:
            try:
                beside()
            finally:
                done.set()

        monkeypatch.setattr(checkpoints, "_beside", told)
        with ThreadPoolExecutor(2) as pool:
            writing = pool.submit(checkpoints._write_log)
            while path.stat().st_size == size and not writing.done():
                time.sleep(0.001)
            changing = pool.submit(store.seal, "gpu_hour", ["late"]) if "beside" in who else None
            meanwhile = 0
            while not done.is_set() and not writing.done():
                if who == "changes":
                    store.seal("gpu_hour", [f"{meanwhile}"])
                else:
                    send(store, str(meanwhile), (HostSample, host(meanwhile)))
                meanwhile += not done.is_set()
                assert changing is None or not changing.done() or done.is_set()
            assert writing.result()
        assert (meanwhile > 1) == (who != "changes")
        current = store.current()
        assert ("late" in current.get("gpu_hour", {})) == ("beside" in who)
    with Store.open(f"duckdb:{path}", now=lambda: NOW) as store:
        assert store.read(GpuSample, columns=("node",), ordered=False).height == 8 * 60_000
        assert store.read(HostSample).height >= 5 + meanwhile * (who != "changes")
        assert store.current() == current


def test_a_batch_that_changes_a_row_waits_for_a_checkpoint_and_keeps_no_other_waiting(store: Store) -> None:
    send(store, "1", (Gpu, device(gpu_model="A")))
    with ThreadPoolExecutor(1) as pool:
        with store._access.changing:
            changing = pool.submit(send, store, "2", (Gpu, device(gpu_model="B")))
            for batch in range(20):
                assert send(store, f"other {batch}", (GpuSample, rows(batch)))
            assert not changing.done()
        assert changing.result()["gpu"].rows == 1
    assert store.read(Gpu)["gpu_model"].to_list() == ["B"]


def test_a_checkpoint_waits_for_those_who_change_rows_and_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_checkpoints, "_EVERY_SECONDS", 3_600.0)
    monkeypatch.setattr(_checkpoints, "_TURN_SECONDS", 0.01)
    with Store.open(f"duckdb:{tmp_path / 'ledger.duckdb'}", now=lambda: NOW) as store:
        store.checkpoint_beside(lambda: True)
        assert store._checkpoints is not None
        send(store, "1", (GpuSample, rows(0)))
        log = tmp_path / "ledger.duckdb.wal"
        with store._access.changing:
            assert not store._checkpoints._write_log()
        assert log.stat().st_size
        assert store._checkpoints._write_log()
        assert not log.exists()


def groups(store: Store, table: str) -> int:
    query = f"SELECT count(DISTINCT row_group_id) AS n FROM pragma_storage_info('{table}')"
    return int(store.select(query).item())


def test_groups_without_a_row_are_dropped_where_others_are_always_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_checkpoints, "_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(_checkpoints, "_LOG_BYTES", 200_000)
    monkeypatch.setattr(_checkpoints, "_COUNTED_AFTER", 5)
    with Store.open(f"duckdb:{tmp_path / 'ledger.duckdb'}", now=lambda: NOW) as store:
        store.checkpoint_beside(lambda: True)
        before, count, until = 0, 0, time.monotonic() + PATIENCE_SECONDS
        while not 0 < groups(store, "partition_change") < before and time.monotonic() < until:
            before = groups(store, "partition_change")
            send(store, str(count), (GpuSample, rows(count % 90, count=300)))
            if count % 4 == 3:
                store.seal("gpu_hour", [f"{count}"])
            count += 1
        assert 0 < groups(store, "partition_change") < before
        assert sum(each.row_count or 0 for each in store.versions("batch").values()) == count
