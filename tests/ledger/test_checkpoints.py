"""Checkpoints beside commits: nothing waits for one, and small groups of rows are joined.

That nothing is lost by one, whenever the process is killed, `test_compaction` shows.
"""

import time
from pathlib import Path

import pytest

from ledger import _checkpoints
from ledger.store import Store
from ledger.tables import GpuSample
from tests.ledger.test_store_file import samples, url_of

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
