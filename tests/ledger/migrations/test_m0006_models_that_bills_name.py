"""A store of version 5 with costs: opened, none names a model, and nothing is lost."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from ledger.store import Store
from ledger.tables import AllocationHour, CostHour
from tests.bills import NODE_COST, rows

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def older(tmp_path: Path) -> str:
    """Return a store as version 5 wrote it, with a cost and its allocation."""
    path = tmp_path / "older.duckdb"
    cost = NODE_COST | {
        "billed_cost": Decimal("1.5"),
        "effective_cost": None,
        "hour_start": AT,
        "spread_method": "even",
    }
    holder = {"gpu_uuid": "", "bucket": "shared", "state": "", "team": "", "user": "", "job_id": "", "model": ""}
    about = {"restart_count": 0, "submitted_at": AT, "allocated_method_id": "not_split", "held_gpu_seconds": Decimal(0)}
    with Store.open(f"duckdb:{path}") as store:
        store.replace(CostHour, rows(CostHour, [cost]), partitions=["2026-03"], state=None)
        part = rows(AllocationHour, [cost | holder | about])
        store.replace(AllocationHour, part, partitions=["2026-03-01T00"], state=None)
    with duckdb.connect(str(path)) as connection:
        for table in ("cost_hour", "allocation_hour"):
            connection.execute(f"CREATE TABLE o AS SELECT * EXCLUDE (named_model) FROM {table}")
            connection.execute(f"DROP TABLE {table}")
            connection.execute(f"ALTER TABLE o RENAME TO {table}")
        connection.execute("UPDATE meta SET schema_version = 5")
    return f"duckdb:{path}"


@pytest.mark.parametrize("schema", [CostHour, AllocationHour])
def test_a_cost_of_an_older_store_names_no_model(older: str, schema: type[CostHour] | type[AllocationHour]) -> None:
    for _ in range(2):
        with Store.open(older) as store:
            found = store.read(schema)
            assert found.select("named_model", "billed_cost").rows() == [("", Decimal("1.5"))]
