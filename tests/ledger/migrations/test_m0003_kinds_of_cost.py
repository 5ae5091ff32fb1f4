"""A store of version 2 with costs: opened, each says its kind, and nothing is lost."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ledger.store import Store
from ledger.tables import AllocationHour, CostHour
from tests.bills import NODE_COST, rows

AT = datetime(2026, 3, 1, tzinfo=UTC)
CATEGORIES = {"Usage": "usage", "Tax": "tax", "Credit": "credit", "Purchase": "purchase", "Adjustment": "adjustment"}


@pytest.fixture
def older(tmp_path: Path) -> str:
    """Return a store as version 2 wrote it, with a cost of each category and its allocation."""
    path = tmp_path / "older.duckdb"
    amounts = {"billed_cost": Decimal("1.5"), "effective_cost": None, "hour_start": AT, "spread_method": "even"}
    costs = [NODE_COST | amounts | {"charge_category": each} for each in CATEGORIES]
    holder = {"gpu_uuid": "", "bucket": "shared", "state": "", "team": "", "user": "", "job_id": "", "model": ""}
    about = {"restart_count": 0, "submitted_at": AT, "allocated_method_id": "not_split", "held_gpu_seconds": Decimal(0)}
    with Store.open(f"duckdb:{path}") as store:
        store.replace(CostHour, rows(CostHour, costs), partitions=["2026-03"], state=None)
        parts = rows(AllocationHour, [each | holder | about for each in costs])
        store.replace(AllocationHour, parts, partitions=["2026-03-01T00"], state=None)
    with duckdb.connect(str(path)) as connection:
        for table in ("cost_hour", "allocation_hour"):
            connection.execute(f"CREATE TABLE o AS SELECT * EXCLUDE (cost_kind, owner_team) FROM {table}")
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE o RENAME TO {table}")
        connection.execute("UPDATE meta SET schema_version = 2")
    return f"duckdb:{path}"


@pytest.mark.parametrize("schema", [CostHour, AllocationHour])
def test_a_cost_says_its_kind_as_far_as_its_category_tells(
    older: str, schema: type[CostHour] | type[AllocationHour]
) -> None:
    for _ in range(2):
        with Store.open(older) as store:
            found = store.read(schema)
            assert dict(found.select("charge_category", "cost_kind").iter_rows()) == CATEGORIES
            assert found["owner_team"].unique().to_list() == [""]
            assert found["billed_cost"].to_list() == [Decimal("1.5")] * 5
