"""A store whose allocations had no submit time where nobody held: opened and restored, each has one."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ledger.store import Store
from ledger.tables import AllocationHour
from tests.bills import NODE_COST, rows

AT = datetime(2026, 3, 1, tzinfo=UTC)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """Return a store as version 1 wrote it: with one allocation to a job, and one to nobody."""
    path = tmp_path / "older.duckdb"
    cost = NODE_COST | {"billed_cost": Decimal("1.5"), "effective_cost": None, "hour_start": AT, "gpu_uuid": ""}
    about = {"restart_count": 0, "allocated_method_id": "not_split", "held_gpu_seconds": Decimal(0), "user": ""}
    parts = [
        cost | about | {"bucket": bucket, "state": "", "team": "", "job_id": job, "model": "", "submitted_at": AT}
        for bucket, job in (("allocated", "7"), ("shared", ""))
    ]
    with Store.open(f"duckdb:{path}") as store:
        store.replace(AllocationHour, rows(AllocationHour, parts), partitions=["2026-03-01T00"], state=None)
    with duckdb.connect(str(path)) as connection:
        connection.execute("ALTER TABLE allocation_hour ALTER COLUMN submitted_at DROP NOT NULL")
        connection.execute("UPDATE allocation_hour SET submitted_at = NULL WHERE job_id = ''")
        connection.execute("UPDATE meta SET schema_version = 4")
    return path


def submitted(store: Store) -> dict[str, datetime]:
    return dict(store.read(AllocationHour).select("job_id", "submitted_at").iter_rows())


def test_what_nobody_held_has_a_submit_time_of_1970(older: Path) -> None:
    for _ in range(2):
        with Store.open(f"duckdb:{older}") as store:
            assert submitted(store) == {"7": AT, "": NEVER}
            assert store.read(AllocationHour)["billed_cost"].to_list() == [Decimal("1.5")] * 2


def test_a_backup_of_that_version_is_restored(older: Path, tmp_path: Path) -> None:
    url = f"duckdb:{tmp_path / 'new.duckdb'}"
    Store.restore(url, older)
    with Store.open(url) as store:
        assert submitted(store) == {"7": AT, "": NEVER}
