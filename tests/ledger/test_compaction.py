"""Rows written again in order and in large groups: the same rows, whoever reads or writes meanwhile, or is killed."""

import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import _checkpoints, _compaction, _tails
from ledger._compaction import compact
from ledger._connection import ROW_GROUP, fetch, insert
from ledger._opening import opened
from ledger._tails import Stretch, Tails
from ledger.frames import to_frame
from ledger.store import Store
from ledger.tables import Batch, GpuHour, GpuMinute, GpuSample, SpendDay, declared
from tests.ledger.test_checkpoints import log_bytes
from tests.ledger.test_store_file import url_of

AT = datetime(2026, 11, 20, 5, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TABLE = declared(GpuSample)
PATIENCE_SECONDS = 60.0
BEGAN = time.monotonic()

Connection = tuple[duckdb.DuckDBPyConnection, str]


def samples(given: Iterable[tuple[int, str, float | None]]) -> pl.DataFrame:
    """Return a sample of each second, node and power."""
    return to_frame(
        GpuSample,
        [
            {
                "sampled_at": AT + second * SECOND,
                "cluster": "c",
                "node": node,
                "gpu_uuid": "g",
                "status": "ok",
                "power_watts": power_watts,
            }
            for second, node, power_watts in given
        ],
    )


def rows(seconds: range, node: str = "n", power_watts: float | None = None) -> pl.DataFrame:
    """Return a sample of each second."""
    return samples((second, node, power_watts) for second in seconds)


def stretch(start: int, end: int, late: pl.DataFrame | None = None) -> Stretch:
    return Stretch(TABLE, "sampled_at", AT + start * SECOND, AT + end * SECOND, late)


@pytest.fixture(scope="module")
def memory() -> Iterator[Connection]:
    connection, prefix = opened("duckdb::memory:")
    with connection:
        yield connection, prefix


def stored(memory: Connection, order: str = "ALL") -> pl.DataFrame:
    connection, prefix = memory
    return fetch(connection, f"SELECT * FROM {prefix}gpu_sample ORDER BY {order}")


def fill(memory: Connection, frame: pl.DataFrame) -> None:
    connection, prefix = memory
    connection.execute(f"DELETE FROM {prefix}gpu_sample")
    insert(connection, f"{prefix}gpu_sample", frame)


keyed = st.tuples(st.integers(0, 40), st.sampled_from(["n1", "n2", "n3"]))


@given(
    given=st.dictionaries(keyed, st.none() | st.floats(0, 1_000), max_size=60),
    edges=st.tuples(st.integers(0, 40), st.integers(0, 40)),
    late=st.sets(keyed, max_size=10),
)
def test_the_rows_are_the_same_and_those_of_the_stretch_and_the_late_ones_lie_in_order(
    memory: Connection,
    given: dict[tuple[int, str], float | None],
    edges: tuple[int, int],
    late: set[tuple[int, str]],
) -> None:
    fill(memory, samples((second, node, power) for (second, node), power in given.items()))
    before = stored(memory)
    start, end = sorted(edges)
    keys = samples((second, node, None) for second, node in sorted(late) if second < start).select(TABLE.key)
    moved = {key for key in given if start <= key[0] < end or (key in late and key[0] < start)}
    connection, prefix = memory

    count = compact(connection.cursor(), prefix, stretch(start, end, keys if keys.height else None))

    assert count == len(moved)
    assert stored(memory).equals(before)
    last = stored(memory, "rowid").tail(count)
    assert last.equals(last.sort(TABLE.order))
    instants = [round((at - AT) / SECOND) for at in last["sampled_at"]]
    assert set(zip(instants, last["node"], strict=True)) == moved


def test_what_somebody_else_has_changed_meanwhile_is_left_as_it_is(memory: Connection) -> None:
    connection, prefix = memory
    fill(memory, pl.concat([rows(range(10), "n1"), rows(range(10), "n2")]))
    other = connection.cursor()
    other.execute(f"BEGIN; DELETE FROM {prefix}gpu_sample WHERE node = 'n2' AND sampled_at = '{AT + 3 * SECOND}'")
    with pytest.raises(duckdb.TransactionException, match="onflict"):
        compact(connection.cursor(), prefix, stretch(0, 10))
    other.execute("COMMIT")
    assert stored(memory).height == 19
    assert compact(connection.cursor(), prefix, stretch(0, 10)) == 19


def test_what_is_more_than_came_in_handfuls_stays_where_it_is(
    memory: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection, prefix = memory
    monkeypatch.setattr(_compaction, "_MOST_ROWS", 19)
    fill(memory, rows(range(20)))
    before = fetch(connection, f"SELECT rowid FROM {prefix}gpu_sample")
    assert compact(connection.cursor(), prefix, stretch(0, 20)) == 20
    assert fetch(connection, f"SELECT rowid FROM {prefix}gpu_sample").equals(before)


def come(tails: Tails, frame: pl.DataFrame, at: int) -> None:
    """Let rows be committed, and a checkpoint end their group at a second."""
    tails.note([(TABLE, frame)])
    tails.note_checkpoint(AT + at * SECOND)


def seconds_of(due: Stretch | None) -> tuple[int, int]:
    assert due is not None
    return (due.start - AT) // SECOND, (due.end - AT) // SECOND


def test_groups_are_written_again_once_there_are_many_and_a_stretch_reaches_back_over_smaller_ones() -> None:
    tails, found = Tails(), []
    for minute in range(4 * 32):
        end = minute * 60 + 60
        come(tails, rows(range(end - 60, end)), end)
        if (due := tails.due(AT + timedelta(seconds=end + 60))) is not None:
            found.append(seconds_of(due))
            tails.written(due, (due.end - due.start) // SECOND)
    hours = [(start // 60, end // 60) for start, end in found]
    assert hours == [(0, 32), (0, 64), (64, 96), (0, 128)]


def test_rows_that_fill_a_whole_group_are_written_again_and_never_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tails, "ROW_GROUP", 250)
    tails, found = Tails(), []
    for minute in range(10):
        end = minute * 60 + 60
        come(tails, rows(range(end - 60, end)), end)
        if (due := tails.due(AT + timedelta(seconds=end + 60))) is not None:
            found.append(seconds_of(due))
            tails.written(due, (due.end - due.start) // SECOND)
    assert found == [(0, 300), (300, 600)]


def test_nothing_is_written_again_that_may_still_come() -> None:
    tails = Tails()
    for second in range(1, 41):
        come(tails, rows(range(second - 1, second)), second)
    assert tails.due(AT + timedelta(seconds=60)) is None
    assert tails.due(AT + timedelta(seconds=91)) is None
    assert seconds_of(tails.due(AT + timedelta(seconds=92))) == (0, 32)
    due = tails.due(AT + timedelta(seconds=98))
    assert due is not None
    assert seconds_of(due) == (0, 38)
    tails.written(due, ROW_GROUP)
    for second in range(41, 71):
        come(tails, rows(range(second - 1, second)), second)
    assert seconds_of(tails.due(AT + timedelta(seconds=130))) == (38, 70)


def test_rows_that_come_late_are_written_again_with_the_others_and_forgotten_after() -> None:
    def come_from(first: int) -> Stretch | None:
        for second in range(first, first + 32):
            come(tails, rows(range(second, second + 1)), second + 1)
        return tails.due(AT + timedelta(seconds=first + 100))

    tails = Tails()
    due = come_from(1_000)
    assert due is not None
    # One comes while others are written that it is later than, and one after.
    come(tails, rows(range(7, 8), "late"), 1_100)
    tails.written(due, ROW_GROUP)
    come(tails, rows(range(1_020, 1_021), "late"), 1_101)
    due = come_from(2_000)
    assert due is not None
    assert due.late is not None
    instants = due.late.filter(node="late").sort("sampled_at")["sampled_at"].to_list()
    assert instants == [AT + 7 * SECOND, AT + 1_020 * SECOND]
    tails.written(due, ROW_GROUP)
    due = come_from(3_000)
    assert due is not None
    assert due.late is None


def test_a_stretch_that_could_not_be_written_has_its_turn_again_a_minute_later() -> None:
    tails = Tails()
    for second in range(1, 33):
        come(tails, rows(range(second - 1, second)), second)
    now = AT + timedelta(hours=1)
    due = tails.due(now)
    assert due is not None
    tails.put_off(due, now)
    assert tails.due(now + timedelta(seconds=59)) is None
    assert tails.due(now + timedelta(seconds=60)) == due


def test_what_is_computed_of_an_hour_is_written_again_once_the_hour_is_closed() -> None:
    tails, table = Tails(), declared(GpuMinute)
    minutes = pl.DataFrame({"minute_start": [AT]}, schema_overrides={"minute_start": pl.Datetime("us", "UTC")})
    for second in range(32):
        tails.note([(table, minutes)])
        tails.note_checkpoint(AT + timedelta(minutes=59, seconds=second))
    assert tails.due(AT + timedelta(hours=2, minutes=59)) is None
    assert tails.due(AT + timedelta(hours=3)) is not None


def test_tables_without_an_instant_and_what_is_computed_of_days_stay_as_they_are() -> None:
    assert _tails.instant_of(TABLE) == "sampled_at"
    assert _tails.instant_of(declared(Batch)) == "received_at"
    assert _tails.instant_of(declared(GpuHour)) == "hour_start"
    assert _tails.instant_of(declared(SpendDay)) is None


GROUPS = "SELECT count(DISTINCT row_group_id) AS n FROM pragma_storage_info('gpu_sample')"


def later() -> datetime:
    """Return the time by a clock that is a minute on every few milliseconds."""
    return AT + timedelta(days=1, seconds=(time.monotonic() - BEGAN) * 20_000)


def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_checkpoints, "_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(_checkpoints, "_LOG_BYTES", 20_000)
    monkeypatch.setattr(_tails, "_SMALL_GROUPS", 4)


def wait_until_written(path: Path) -> None:
    """Wait until a checkpoint has written what has come."""
    end = time.monotonic() + PATIENCE_SECONDS
    while log_bytes(path) >= 20_000 and time.monotonic() < end:
        time.sleep(0.01)


def test_a_store_that_is_served_has_few_groups_while_people_read_and_rows_are_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon(monkeypatch)
    path, done = tmp_path / "ledger.duckdb", threading.Event()
    odd: list[int] = []
    with Store.open(url_of(path), now=later) as store:
        store.checkpoint_beside()

        def read() -> None:
            while not done.is_set():
                count = store.select("SELECT count(*) % 300 AS n FROM gpu_sample").item()
                if count:
                    odd.append(count)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for index in range(40):
                # Every fifth comes an hour late.
                second, node = (300 * index - 3_600, "late") if index % 5 == 4 else (300 * index, f"n{index % 3}")
                store.append(GpuSample, rows(range(second, second + 300), node), source="t")
                wait_until_written(path)
                if index % 4 == 3:
                    mended = rows(range(second, second + 300), node, float(index))
                    store.append_together({GpuSample: mended}, source="t", is_mending=True)
        finally:
            done.set()
            reader.join()
        assert not odd
        assert store.select(GROUPS).item() < 40 / 2
        version = store.versions("gpu_sample")
    with Store.open(url_of(path)) as store:
        found = store.read(GpuSample)
        assert found.height == found.select(TABLE.key).n_unique() == 40 * 300
        assert found["power_watts"].count() == 10 * 300
        assert store.versions("gpu_sample") == version
        assert sum(each.row_count or 0 for each in version.values()) == 40 * 300


@pytest.mark.parametrize("ends", ["others are done", "ten minutes are over"])
def test_rows_wait_to_be_written_again_while_others_are_busy(
    ends: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon(monkeypatch)
    asked, done, busy, clock = [], [], [True], [AT + timedelta(days=1)]
    path = tmp_path / "ledger.duckdb"

    def is_busy() -> bool:
        asked.append(clock[0])
        return busy[0]

    def compacted(cursor: duckdb.DuckDBPyConnection, prefix: str, stretch: Stretch) -> int:
        done.append(stretch.table.name)
        return compact(cursor, prefix, stretch)

    def wait_until_longer(told: list[object], count: int) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while len(told) <= count and time.monotonic() < end:
            time.sleep(0.01)
        assert len(told) > count

    monkeypatch.setattr(_checkpoints, "compact", compacted)
    with Store.open(url_of(path), now=lambda: clock[0]) as store:
        store.checkpoint_beside(is_busy)
        for index in range(6):
            store.append(GpuSample, rows(range(300 * index, 300 * index + 300)), source="t")
            wait_until_written(path)
        clock[0] += timedelta(seconds=70)
        wait_until_longer(asked, len(asked) + 10)
        assert not done
        if ends == "others are done":
            busy[0] = False
        else:
            clock[0] += timedelta(minutes=11)
        wait_until_longer(done, 0)
        assert store.read(GpuSample).height == 6 * 300


KILLED = """
    import itertools, sys, time
    from ledger import _checkpoints, _tails, log
    from ledger._access import Access
    from ledger.store import Store
    from ledger.tables import GpuSample
    from tests.ledger.test_compaction import later, rows

    _checkpoints._EVERY_SECONDS, _checkpoints._LOG_BYTES, _tails._SMALL_GROUPS = 0.01, 20_000, 2
    _checkpoints._RENEWED_SECONDS = 0.02
    compact, renew = _checkpoints.compact, Access.renew

    def noted(what, done):
        if done:
            with open(sys.argv[3], "a") as notes:
                print(what, file=notes)
        return done

    _checkpoints.compact = lambda *given: noted("again", compact(*given))
    Access.renew = lambda access: noted("opened", renew(access))
    log.configure()
    store = Store.open(sys.argv[1], now=later)
    busy = itertools.cycle([True, False])
    store.checkpoint_beside(lambda: next(busy))
    for index in range(100_000):
        new = rows(range(index * 200, index * 200 + 200), sys.argv[2])
        if index % 4:
            store.append_batch({GpuSample: new}, source="t", batch_id=str(index), node=sys.argv[2])
        else:
            store.append(GpuSample, new, source="t")
        print(index + 1, flush=True)
        # No checkpoint gets a turn between commits that follow each other at once.
        time.sleep(0.02)
"""


def least(notes: Path) -> int:
    """Return how often the rarer of both was done."""
    done = notes.read_text().split()
    return min(done.count("again"), done.count("opened"))


def test_a_process_that_is_killed_while_it_writes_and_opens_again_loses_no_row_and_doubles_none(tmp_path: Path) -> None:
    path, notes, told = tmp_path / "ledger.duckdb", tmp_path / "notes", 0
    for life in range(3):
        command = [sys.executable, "-c", textwrap.dedent(KILLED), url_of(path), f"life{life}", str(notes)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            lines = [process.stdout.readline() for _ in range(15 + 9 * life)]
            # How many commits come before the file is opened again is a matter of the machine.
            while len(lines) < 2_000 and not (notes.exists() and least(notes) > life):
                lines.append(process.stdout.readline())
            process.send_signal(signal.SIGKILL)
            lines += process.stdout.readlines()
        told += int(lines[-1])
        with Store.open(url_of(path)) as store:
            kept = store.read(GpuSample)
            groups = store.select(GROUPS).item()
            versions = store.versions("gpu_sample").values()
            commits = kept.select("node", (pl.col("sampled_at") - AT).dt.total_seconds() // 200, hour="sampled_at")
            commits = commits.with_columns(pl.col("hour").dt.truncate("1h")).n_unique()
            assert sum(each.row_count or 0 for each in versions) == kept.height
            assert sum(each.version_count for each in versions if not each.partition_key.startswith("edge:")) == commits
        # The last commit may have been kept and not told.
        assert told * 200 <= kept.height <= (told + life + 1) * 200
        assert kept.select(TABLE.key).n_unique() == kept.height
        assert kept.height % 200 == 0
    # Each commit was a group of its own before it was written again.
    assert groups < told / 2
    assert least(notes) >= 3
