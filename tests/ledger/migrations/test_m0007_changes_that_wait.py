"""A store without a table of changes gets one, and older programs do not open it any more."""

from pathlib import Path

import duckdb

from ledger.store import Store
from ledger.tables import GpuSample, PartitionChange
from tests.ledger.test_store import AT, frame_of, sample


def test_an_older_store_keeps_its_versions_and_has_changes_wait(tmp_path: Path) -> None:
    path = tmp_path / "older.duckdb"
    rows = [frame_of(GpuSample, sample(node)) for node in "ab"]
    with Store.open(f"duckdb:{path}", now=lambda: AT) as store:
        store.append(GpuSample, rows[0], source="t")
        before = store.current()
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP TABLE partition_change")
        connection.execute("UPDATE meta SET schema_version = 6")
    with Store.open(f"duckdb:{tmp_path / 'new.duckdb'}", now=lambda: AT) as store:
        store.load(path)
        assert store.current() == before
    for _ in range(2):
        with Store.open(f"duckdb:{path}", now=lambda: AT) as store:
            assert store.select("SELECT schema_version FROM meta").item() == 7
            assert store.read(PartitionChange).is_empty()
            assert store.current() == before
    with Store.open(f"duckdb:{path}", now=lambda: AT) as store:
        store.append_batch({GpuSample: rows[1]}, source="t", batch_id="1", node="b")
        assert store.read(PartitionChange).height
        assert store.versions("gpu_sample")["2026-11-20T05"].version_count == 2
