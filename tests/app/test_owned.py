"""Owned hardware, from an inventory to hours that somebody used and hours that nobody did."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from app.context import Context
from app.services import _owned
from ledger import money
from ledger.config import load
from ledger.money_sections import MoneySettings
from ledger.tables import (
    AllocationHour,
    Asset,
    FocusCharge,
    GpuHour,
    JobGpuHour,
    NetworkHour,
    Node,
    NodeEnergyHour,
    StorageHour,
)
from queries.graph import Span
from queries.rollups.allocation_hour import allocation_hour
from tests.bills import HOUR, MONTH, NEXT, costs, device_hour, imports_of, job_hour, jobs, node, rows

NOW = MONTH + timedelta(days=2)
H100 = {
    "asset_id": "EL-1", "cluster": "c", "node": "a1", "owner": "Lab", "billing_currency": "EUR",
    "purchase_cost": Decimal(365_000), "residual_cost": Decimal(0), "life_start": date(2026, 3, 1),
    "life_end": date(2027, 3, 1), "gpu_count": 2, "power_watts": 2000.0, "pue_ratio": 1.5,
    "energy_price": Decimal("0.20"),
}  # fmt: skip
LINK = {
    "cluster": "c", "node": "a1", "provider": "Lab", "resource_id": "el-1", "valid_start": MONTH,
    "match_method": "configuration",
}  # fmt: skip


def hub(asset: dict[str, Any], hours: list[dict[str, Any]]) -> Context:
    found = Context(load(store={"url": "duckdb::memory:"}), now=lambda: NOW)
    found.store.append(Asset, rows(Asset, [asset]), source="test")
    found.store.append(Node, rows(Node, [node("a1", provider="Lab", gpu_count=2)]), source="test")
    keys = sorted({f"{each['hour_start']:%Y-%m-%dT%H}" for each in hours})
    found.store.replace(GpuHour, rows(GpuHour, hours), partitions=keys, state=None)
    return found


def measured(joules: float | None, coverage: float = 1.0) -> list[dict[str, Any]]:
    return [
        device_hour(MONTH + hour * HOUR, gpu, energy_joules=joules, coverage_ratio=coverage)
        for hour in range(24)
        for gpu in ("g1", "g2")
    ]


def energy_of_first_day(asset: dict[str, Any], hours: list[dict[str, Any]]) -> tuple[Decimal, str]:
    at = hub(asset, hours)
    _owned.charge(at)
    charges = at.store.read(FocusCharge).filter(
        pl.col("ServiceName").str.ends_with("energy"), pl.col("ChargePeriodStart") == MONTH
    )
    at.close()
    return charges["BilledCost"].item(), charges["ChargeDescription"].item()


@pytest.mark.parametrize(
    ("host", "joules", "coverage", "kilowatt_hours", "evidence"),
    [
        (400.0, 3_600_000.0, 1.0, "57.6", "measured"),
        (400.0, 1_800_000.0, 0.5, "57.6", "measured and rated"),
        (400.0, None, 1.0, "48", "rated power"),
        (None, 3_600_000.0, 1.0, "48", "rated power"),
    ],
)
def test_measured_energy_of_gpus_replaces_rated_power_where_the_rest_is_known(
    host: float | None, joules: float | None, coverage: float, kilowatt_hours: str, evidence: str
) -> None:
    """Two GPUs of a kilowatt each and 400 W beside them; unseen halves count at the rated 2 kW."""
    if coverage < 1:
        kilowatt_hours = str(Decimal("28.8") + Decimal(24))
    cost, words = energy_of_first_day(H100 | {"host_power_watts": host}, measured(joules, coverage))
    assert cost == Decimal(kilowatt_hours) * Decimal("1.5") * Decimal("0.20")
    assert words.endswith(f"({evidence})")


@pytest.mark.parametrize(
    ("seconds", "kilowatt_hours", "evidence"), [(3600, "72", "measured"), (1800, "57.6", "measured")]
)
def test_a_meter_of_the_whole_server_goes_before_what_is_stated_unless_it_saw_much_less(
    seconds: int, kilowatt_hours: str, evidence: str
) -> None:
    """Three kilowatts by the controller; by the GPUs' counters and the stated 400 W it is 2.4."""
    at = hub(H100 | {"host_power_watts": 400.0}, measured(3_600_000.0))
    meters = [
        {"hour_start": MONTH + hour * HOUR, "cluster": "c", "node": "a1", "power_source": "ipmi:dcmi",
         "energy_joules": 3000.0 * seconds, "measured_seconds": Decimal(seconds)}
        for hour in range(24)
    ]  # fmt: skip
    keys = [f"{each['hour_start']:%Y-%m-%dT%H}" for each in meters]
    at.store.replace(NodeEnergyHour, rows(NodeEnergyHour, meters), partitions=keys, state=None)
    _owned.charge(at)
    charges = at.store.read(FocusCharge).filter(
        pl.col("ServiceName").str.ends_with("energy"), pl.col("ChargePeriodStart") == MONTH
    )
    at.close()
    assert charges["BilledCost"].item() == Decimal(kilowatt_hours) * Decimal("1.5") * Decimal("0.20")
    assert charges["ChargeDescription"].item().endswith(f"({evidence})")


def test_unused_capacity_is_a_row_and_nothing_is_lost() -> None:
    at = hub(H100, [])
    _owned.charge(at)
    charges = at.store.read(FocusCharge)
    at.close()
    when = MONTH + 5 * HOUR
    hours = costs(
        charges.to_dicts(),
        nodes=[node("a1", provider="Lab", gpu_count=2)],
        links=[LINK],
        imports=imports_of(charges, format="on_premises"),
        now=NOW,
    ).filter(pl.col("hour_start") == when)
    allocated = AllocationHour.validate(
        allocation_hour.function(
            costs=hours.lazy(),
            gpu_hours=rows(GpuHour, [device_hour(when, "g1", productive_seconds=3600), device_hour(when, "g2")]).lazy(),
            job_hours=rows(JobGpuHour, [job_hour(when, "g1", "j", productive_seconds=3600)]).lazy(),
            jobs=jobs([]).lazy(),
            nodes=rows(Node, [node("a1", provider="Lab", gpu_count=2)]).lazy(),
            ports=rows(NetworkHour, []).lazy(),
            systems=rows(StorageHour, []).lazy(),
            span=Span(MONTH, NEXT, datetime(2026, 4, 2, tzinfo=UTC)),
            settings=MoneySettings(),
        ).collect()
    )
    parts = money.summed(allocated.sort("bucket"), by=["bucket", "state"], columns=["effective_cost"])
    whole = money.total(hours["effective_cost"])
    assert whole is not None
    assert parts.select("bucket", "state").rows() == [("allocated", "productive"), ("idle", "unallocated")]
    assert money.total(parts["effective_cost"]) == whole
    assert abs(parts["effective_cost"][1] - whole / 2) <= 3 * Decimal(1).scaleb(-18)
