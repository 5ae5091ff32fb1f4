"""Checkpoints beside commits: nothing waits for one, small groups of rows are joined, and the file is opened again.

That nothing is lost by one, whenever the process is killed, `test_compaction` shows.
"""

import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import duckdb
import pytest

from ledger import _access, _checkpoints, migrations
from ledger._backup import copy_rows
from ledger._ddl import META
from ledger.errors import InputError, StoreError
from ledger.store import Store
from ledger.tables import TABLES, GpuSample
from tests.ledger.test_store_file import OPEN, run_python, samples, url_of

PATIENCE_SECONDS = 30.0

COMPRESSIONS = (
    "SELECT DISTINCT compression FROM pragma_storage_info('gpu_sample') "
    "WHERE column_name = 'sampled_at' AND segment_type <> 'VALIDITY'"
)
GROUPS = "SELECT count(DISTINCT row_group_id) AS n FROM pragma_storage_info('gpu_sample')"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.duckdb"


@pytest.fixture
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_checkpoints, "_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(_checkpoints, "_LOG_BYTES", 20_000)


def log_bytes(path: Path) -> int:
    try:
        return path.with_name(f"{path.name}.wal").stat().st_size
    except FileNotFoundError:
        return 0


@pytest.mark.usefixtures("_soon")
def test_the_log_is_written_into_the_file_while_rows_come_and_groups_are_joined(path: Path) -> None:
    with Store.open(url_of(path)) as store:
        store.checkpoint_beside()
        before = path.stat().st_size
        for index in range(12):
            store.append(GpuSample, samples(300, f"n{index}"), source="t")
            end = time.monotonic() + PATIENCE_SECONDS
            while log_bytes(path) >= 20_000 and time.monotonic() < end:
                time.sleep(0.01)
        assert log_bytes(path) < 20_000
        assert path.stat().st_size > before
        small = store.select(GROUPS).item()
        assert small > 1
        assert "Uncompressed" in set(store.select(COMPRESSIONS)["compression"])
        assert store.select("SELECT current_setting('force_compression') AS n").item().lower() == "auto"
        store.append(GpuSample, samples(1, "last"), source="t")
        store.join_groups()
        assert store.select(GROUPS).item() < small
        assert set(store.select(COMPRESSIONS)["compression"]) - {"Uncompressed", "Constant"}
        assert store.read(GpuSample).height == 12 * 300 + 1
    with Store.open(url_of(path)) as store:
        assert store.read(GpuSample).height == 12 * 300 + 1


def test_a_store_that_nobody_serves_makes_its_checkpoints_as_ever(path: Path) -> None:
    asked = "SELECT current_setting('max_vacuum_tasks') AS n"
    with Store.open(url_of(path)) as store:
        store.join_groups()
        assert int(store.select(asked).item()) == 100
        store.checkpoint_beside()
        assert int(store.select(asked).item()) == 0
    with Store.open("duckdb::memory:") as store:
        store.checkpoint_beside()
        store.join_groups()
        assert int(store.select(asked).item()) == 100


def test_queries_leave_one_processor_to_commits_once_the_store_is_served(path: Path) -> None:
    asked = "SELECT current_setting('threads') AS n"
    with Store.open(url_of(path)) as store:
        every = int(store.select(asked).item())
        store.checkpoint_beside()
        assert int(store.select(asked).item()) == max(1, every - 1)
        store.join_groups()
        assert int(store.select(asked).item()) == max(1, every - 1)


def test_a_store_is_opened_again_when_nobody_reads_and_knows_nothing_of_before(path: Path) -> None:
    asked = "SELECT current_setting('max_vacuum_tasks') AS n"
    with Store.open(url_of(path)) as store, ThreadPoolExecutor(1) as pool:
        store.append(GpuSample, samples(5_000), source="t")
        with store._access.cursor() as cursor:
            cursor.execute("SET GLOBAL max_vacuum_tasks = 7")
        assert int(store.select(asked).item()) == 7
        with store.transaction():
            assert store.select("SELECT count(*) AS n FROM gpu_sample").item() == 5_000
            pool.submit(store.append, GpuSample, samples(10, "other"), source="t").result()
            assert not pool.submit(store._access.renew).result(), "somebody reads"
            assert store.select("SELECT count(*) AS n FROM gpu_sample").item() == 5_000
        assert store._access.renew()
        assert int(store.select(asked).item()) == 100
        assert "held by process" in run_python(OPEN, url_of(path)).stdout
        store.append(GpuSample, samples(10, "third"), source="t")
        assert store.read(GpuSample).height == 5_020
    with Store.open("duckdb::memory:") as store:
        store.append(GpuSample, samples(10), source="t")
        assert not store._access.renew()
        assert store.read(GpuSample).height == 10


def test_a_served_store_is_opened_again_and_again_while_rows_come_and_people_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []
    opened = _access.opened_again

    def counted(*given: Any) -> Any:
        times.append(time.monotonic())
        return opened(*given)

    monkeypatch.setattr(_checkpoints, "_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(_checkpoints, "_RENEWED_SECONDS", 0.05)
    done, odd = threading.Event(), list[int]()
    with Store.open(url_of(path)) as store:
        threads = int(store.select("SELECT current_setting('threads') AS n").item())
        store.checkpoint_beside()

        def read() -> None:
            while not done.wait(0.005):
                with store.transaction():
                    counts = [store.select("SELECT count(*) AS n FROM gpu_sample").item() for _ in range(2)]
                odd.extend(each for each in counts if each % 300 or each != counts[0])

        monkeypatch.setattr(_access, "opened_again", counted)
        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            end = time.monotonic() + PATIENCE_SECONDS
            sent = 0
            while (sent < 20 or len(times) < 5) and time.monotonic() < end:
                store.append(GpuSample, samples(300, f"n{sent}"), source="t")
                sent += 1
            done.set()
            for each in readers:
                each.result()
        assert len(times) >= 5
        assert not odd
        assert store.read(GpuSample).height == 300 * sent
        assert int(store.select("SELECT current_setting('threads') AS n").item()) == max(1, threads - 1)


def held(store: Store) -> float:
    """Return what the database may hold, in MiB."""
    number, unit = str(store.select("SELECT current_setting('memory_limit') AS n").item()).split()
    return float(number) * {"MiB": 1, "GiB": 1024}[unit]


@pytest.mark.parametrize("limit", ["100MiB", "500MiB"])
def test_a_served_store_may_hold_the_newest_rows_of_all_tables_beside_its_limit(path: Path, limit: str) -> None:
    blocks = sum(len(table.schema.columns()) for table in TABLES.values()) / 4
    with Store.open(url_of(path), memory_limit=limit) as store:
        alone = held(store)
        store.checkpoint_beside()
        assert held(store) == pytest.approx(alone + blocks, rel=0.02)
        assert store._access.renew()
        assert held(store) == pytest.approx(alone + blocks, rel=0.02), "also when it was opened again"


@pytest.mark.parametrize("limit", ["", "2000GB"])
def test_what_is_not_limited_or_hardly_stays_so(path: Path, limit: str) -> None:
    asked = "SELECT current_setting('memory_limit') AS n"
    with Store.open(url_of(path), memory_limit=limit) as store:
        before = store.select(asked).item()
        store.checkpoint_beside()
        assert store.select(asked).item() == before


def test_a_store_that_somebody_takes_meanwhile_comes_back_when_it_is_free(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_checkpoints, "_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(_checkpoints, "_RENEWED_SECONDS", 0.02)
    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(10), source="t")
        tried = list[str]()

        def taken(url: str, *_: object) -> Any:
            tried.append(threading.current_thread().name)
            raise StoreError(f"store {url}: held by process 1, expected to be free")

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(_access, "opened_again", taken)
            store.checkpoint_beside()
            assert soon(lambda: tried.count("ledger-checkpoints") >= 3)
            with pytest.raises(StoreError, match="held by process 1"):
                store.read(GpuSample)
            with pytest.raises(StoreError, match="held by process 1"):
                store.append(GpuSample, samples(10, "other"), source="t")
        store.append(GpuSample, samples(10, "third"), source="t")
        assert store.read(GpuSample).height == 20
        assert int(store.select("SELECT current_setting('max_vacuum_tasks') AS n").item()) == 0


def test_an_answer_that_was_refused_does_not_keep_the_file_open(path: Path) -> None:
    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(10), source="t")
        with pytest.raises(InputError, match="more than 10 rows") as held:
            store.people_sql("SELECT * FROM range(1_000_000)", limit=10)
        assert store._access.renew()
        assert store.read(GpuSample).height == 10
        assert held.value.__traceback__ is not None, "its frames are held until here"


def test_a_copy_that_fails_half_way_does_not_keep_the_file_open(path: Path) -> None:
    with Store.open(url_of(path)) as store, duckdb.connect() as target:
        store.append(GpuSample, samples(10), source="t")
        for name in TABLES:
            target.execute(f'CREATE TABLE "{name}" (nothing INTEGER)')
        with store._access.reading() as cursor, pytest.raises(duckdb.BinderException) as held:
            copy_rows(cursor, store._access.prefix, target, "")
        assert store._access.renew()
        assert held.value.__traceback__ is not None, "its frames are held until here"


def test_an_answer_that_is_held_delays_the_opening_and_not_the_process(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_access, "_GIVEN_BACK_SECONDS", 0.05)
    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(10), source="t")
        with store._access.cursor() as cursor:
            held = cursor.execute("SELECT * FROM range(1_000_000)").to_arrow_reader(10)
            held.read_next_batch()
        for ask in (store._access.renew, lambda: store.read(GpuSample)):
            with pytest.raises(StoreError, match="an answer of it that is still held"):
                ask()
        held.close()
        assert store.read(GpuSample).height == 10
        assert store._access.renew()


@pytest.mark.parametrize("other", [None, "a copy"])
def test_a_file_that_was_moved_is_not_made_anew(path: Path, other: str | None) -> None:
    aside = path.with_name("aside.duckdb")
    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(10), source="t")
        path.rename(aside)
        if other:
            shutil.copy2(aside, path)
        with pytest.raises(StoreError, match="found another file there" if other else "found no file there"):
            store._access.renew()
        store.append(GpuSample, samples(10, "more"), source="t")
        assert store.read(GpuSample).height == 20
        assert path.exists() == bool(other)
        aside.replace(path)
        assert store._access.renew()
        assert store.read(GpuSample).height == 20


def test_a_store_that_was_closed_is_not_opened_by_who_comes_late(path: Path) -> None:
    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(10), source="t")
    with pytest.raises(StoreError, match="is closed, expected to be open"):
        store.read(GpuSample)
    assert not store._access.renew()
    answer = run_python(OPEN, url_of(path))
    assert (answer.returncode, answer.stdout) == (0, "")


def test_a_store_is_opened_again_by_the_program_that_runs_whatever_lies_on_the_disk_by_then(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_installed() -> Any:
        raise ImportError

    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(10), source="t")
        monkeypatch.setattr(migrations, "steps", half_installed)
        assert store._access.renew()
        assert store.read(GpuSample).height == 10
        with store._access.cursor() as cursor:
            cursor.execute(f"UPDATE {store._access.prefix}{META} SET schema_version = schema_version + 1")
        with pytest.raises(StoreError, match=r"found schema version \d+, expected \d+, as before"):
            store._access.renew()
        with pytest.raises(StoreError, match=r"found schema version \d+, expected \d+, as before"):
            store.read(GpuSample)
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_a_join_that_waits_for_a_reader_makes_nobody_else_wait_by_way_of_the_opening(path: Path) -> None:
    query = "SELECT count(*) AS n FROM gpu_sample"
    with Store.open(url_of(path)) as store, ThreadPoolExecutor(3) as pool:
        store.append(GpuSample, samples(10), source="t")
        store.checkpoint_beside()
        with store.transaction():
            assert store.select(query).item() == 10
            pool.submit(store.append, GpuSample, samples(10, "other"), source="t").result(PATIENCE_SECONDS)
            joined = pool.submit(store.join_groups)
            time.sleep(0.2)
            assert not joined.done()
            assert not pool.submit(store._access.renew).result(PATIENCE_SECONDS)
            assert pool.submit(store.select, query).result(PATIENCE_SECONDS).item() == 20
            assert not joined.done()
        joined.result(PATIENCE_SECONDS)
        assert store._access.renew()
        assert store.select(query).item() == 20


def test_whatever_goes_wrong_the_thread_goes_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_checkpoints, "_EVERY_SECONDS", 0.01)
    monkeypatch.setattr(_checkpoints, "_RENEWED_SECONDS", 0.0)
    count = [0]

    def failing(_: object) -> bool:
        count[0] += 1
        raise MemoryError

    with Store.open(url_of(path)) as store:
        monkeypatch.setattr(_access.Access, "renew", failing)
        store.checkpoint_beside()
        assert soon(lambda: count[0] >= 3)
        assert store.read(GpuSample).is_empty()


def test_a_database_that_refuses_everything_is_opened_again_also_where_nobody_writes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> Any:
        raise duckdb.FatalException("the database has been invalidated")

    with Store.open(url_of(path)) as store:
        store.append(GpuSample, samples(10), source="t")
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(_access, "fetch_row", refused)
            assert store._access.renew()
        assert store.read(GpuSample).height == 10


REFUSING = """
import resource, signal, sys, threading, time
from pathlib import Path
from ledger import _checkpoints, log
from ledger._access import Access
from ledger.errors import StoreError
from ledger.store import Store
from ledger.tables import GpuSample
from tests.ledger.test_store_file import samples
from tests.ledger.test_checkpoints import log_bytes, soon

_checkpoints._EVERY_SECONDS, _checkpoints._LOG_BYTES, _checkpoints._REST_SECONDS = 0.02, 20_000, 1.0
path, mended, recover = Path(sys.argv[1]), [], Access.recover

def noted(access, error):
    recover(access, error)
    mended.append(threading.current_thread().name)

def is_read():
    try:
        return store.read(GpuSample).height == 5_000
    except StoreError:
        return False

Access.recover = noted
log.configure()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(f"duckdb:{path}")
store.append(GpuSample, samples(5_000), source="t")
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
store.checkpoint_beside()
print(soon(lambda: len(mended) >= 2), set(mended), soon(is_read), log_bytes(path) >= 20_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print(soon(lambda: log_bytes(path) < 20_000), soon(is_read))
store.close()
"""


def test_a_checkpoint_after_which_the_database_refuses_everything_is_mended_where_nobody_writes(path: Path) -> None:
    answer = run_python(REFUSING, str(path))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == ["True {'ledger-checkpoints'} True True", "True True"], answer.stderr


def test_two_stores_of_a_process_on_one_file_open_it_again_after_a_failure_and_wait_for_no_one(path: Path) -> None:
    failure = duckdb.FatalException("the database has been invalidated")
    with Store.open(url_of(path)) as store, Store.open(url_of(path)) as other:
        store.append(GpuSample, samples(10), source="t")
        assert not store._access.renew()
        for each in (store, other):
            each._access.recover(failure)
        assert store.read(GpuSample).height == 10
        assert other.read(GpuSample).height == 10


def test_who_reads_while_a_failure_is_mended_is_told_so_by_the_store(path: Path) -> None:
    with Store.open(url_of(path)) as store, ThreadPoolExecutor(1) as pool:
        store.append(GpuSample, samples(10), source="t")
        with store.transaction():
            pool.submit(store._access.recover, duckdb.FatalException("invalidated")).result(PATIENCE_SECONDS)
            assert pool.submit(store.read, GpuSample).result(PATIENCE_SECONDS).height == 10
            with pytest.raises(StoreError, match="already closed"):
                store.read(GpuSample)
        assert store.read(GpuSample).height == 10


def soon(is_so: Callable[[], bool]) -> bool:
    """Tell whether something becomes true in a while."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not is_so() and time.monotonic() < end:
        time.sleep(0.005)
    return is_so()
