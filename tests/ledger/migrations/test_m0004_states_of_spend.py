"""A store of version 3 with days of spend: opened, they are due, and every hour behind them is still there."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ledger.store import Store
from ledger.tables import AllocationHour, SpendDay
from tests.bills import NODE_COST, rows

AT = datetime(2026, 3, 1, tzinfo=UTC)
ADDED = ("state", "commitment_status", "resource_id")


@pytest.fixture
def older(tmp_path: Path) -> str:
    """Return a store as version 3 wrote it, with one hour of a cost and its day."""
    path = tmp_path / "older.duckdb"
    holder = {"gpu_uuid": "g0", "bucket": "allocated", "state": "productive", "team": "red", "user": "", "job_id": "j"}
    about = {"restart_count": 0, "submitted_at": AT, "allocated_method_id": "whole", "held_gpu_seconds": Decimal(9)}
    hour = {"hour_start": AT, "billed_cost": Decimal("1.5"), "effective_cost": Decimal(1), "model": "m"}
    day = {"day": AT.date(), "service_name": "", "first_hour_start": AT, "last_hour_end": AT}
    day |= dict.fromkeys(("productive_gpu_seconds", "idle_gpu_seconds"), Decimal(9))
    with Store.open(f"duckdb:{path}") as store:
        given = NODE_COST | holder | about | hour | day
        store.replace(AllocationHour, rows(AllocationHour, [given]), partitions=["2026-03-01T00"], state=None)
        store.replace(SpendDay, rows(SpendDay, [given]), partitions=["2026-03-01"], state=None)
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"CREATE TABLE o AS SELECT * EXCLUDE ({', '.join(ADDED)}) FROM spend_day")
        connection.execute("DROP TABLE spend_day")
        connection.execute("ALTER TABLE o RENAME TO spend_day")
        connection.execute("UPDATE meta SET schema_version = 3")
    return f"duckdb:{path}"


def test_days_are_due_again_and_hours_are_kept(older: str) -> None:
    for _ in range(2):
        with Store.open(older) as store:
            assert store.read(SpendDay).is_empty()
            assert store.versions("spend_day") == {}
            assert store.read(AllocationHour)["billed_cost"].to_list() == [Decimal("1.5")]


def test_days_of_this_version_stay(tmp_path: Path) -> None:
    path = tmp_path / "newer.duckdb"
    with Store.open(f"duckdb:{path}") as store:
        store.replace(SpendDay, SpendDay.create_empty(), partitions=["2026-03-01"], state=None)
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta SET schema_version = 3")
    with Store.open(f"duckdb:{path}") as store:
        assert list(store.versions("spend_day")) == ["2026-03-01"]
