"""The FOCUS export: its mandatory columns, what is known in them, and sums that are those of the charges."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.context import Context
from app.services import named
from app.services._focus import MANDATORY, focus
from ledger import money
from ledger.errors import InputError
from ledger.names import NOBODY_AT
from ledger.tables import AllocationHour, CostHour
from tests.bills import MONTH, NODE_COST, rows

COSTS = {
    "BilledCost": "billed_cost",
    "EffectiveCost": "effective_cost",
    "ListCost": "list_cost",
    "ContractedCost": "contracted_cost",
}
KEY = NODE_COST | {"hour_start": MONTH}
LEAF = {
    **dict.fromkeys(("bucket", "state", "team", "user", "job_id", "model"), ""),
    "restart_count": 0,
    "submitted_at": NOBODY_AT,
    "allocated_method_id": "whole_node_to_gpu",
    "held_gpu_seconds": Decimal(0),
    "service_name": "EC2",
}
NO_ACCOUNTS = pl.DataFrame(
    schema=dict.fromkeys(("provider", "billing_account_id", "account_name", "host_provider"), pl.String)
)
NO_SERVICES = pl.DataFrame(schema=dict.fromkeys(("provider", "service_name", "service_category"), pl.String))


def exported(parts: list[tuple[Decimal, Decimal | None]], seconds: tuple[int, ...] = (), **cost: Any) -> pl.DataFrame:
    """Return the export of one charge's parts, of which each has some device time or none."""
    billed = money.add(*(part for part, _ in parts))
    given: dict[str, Any] = {"billed_cost": billed, "spread_method": "even"}
    given |= {"list_cost": None, "contracted_cost": None, "charge_description": "a node"}
    allocations = [
        KEY | LEAF | {"gpu_uuid": f"G{index}", "billed_cost": part, "effective_cost": effective}
        for index, (part, effective) in enumerate(parts)
    ]
    for each, held in zip(allocations, seconds, strict=False):
        each["held_gpu_seconds"] = Decimal(held)
    costs = rows(CostHour, [KEY | given | cost])
    return focus(rows(AllocationHour, allocations), costs, NO_ACCOUNTS, NO_SERVICES)


def test_an_export_has_all_mandatory_columns_and_its_sums_are_those_of_the_charges(
    demo_context: Context, tmp_path: Path
) -> None:
    out = tmp_path / "focus.parquet"
    service = named("export")
    service.run(demo_context, service.asked({"out": out}))
    found = pl.read_parquet(out)
    assert set(MANDATORY) <= set(found.columns)
    key = {"ServiceProviderName": "provider", "BillingCurrency": "billing_currency", "x_IsEstimated": "is_estimated"}
    sums = money.summed(found, by=[*key], columns=[*COSTS]).sort([*key])
    costs = money.summed(demo_context.store.read(CostHour), by=[*key.values()], columns=[*COSTS.values()])
    assert sums.rows() == costs.sort([*key.values()]).rows()
    assert found["ListCost"].null_count() < found.height
    for name in ("BillingAccountName", "ChargeDescription", "ServiceCategory", "HostProviderName"):
        assert found[name].drop_nulls().len() > 0, name
        assert "" not in set(found[name])
    said = demo_context.store.select("SELECT DISTINCT ServiceName, ServiceCategory FROM focus_charge")
    told = found.filter(~pl.col("x_IsEstimated")).select("ServiceName", "ServiceCategory").unique()
    assert not told.is_empty()
    assert set(told.rows()) <= set(said.rows())


@given(
    st.lists(st.integers(0, 10**24), min_size=1, max_size=6),
    st.integers(-(10**28), 10**28),
    st.sampled_from([None, 1, 3]),
)
def test_parts_of_list_and_contracted_cost_sum_to_the_charge(sizes: list[int], listed: int, share: int | None) -> None:
    unit = Decimal(1).scaleb(-18)
    parts = [(size * unit, None if share is None else size * share * unit) for size in sizes]
    found = exported(parts, list_cost=listed * unit, contracted_cost=-listed * unit)
    assert money.add(*found["ListCost"]) == listed * unit
    assert money.add(*found["ContractedCost"]) == -listed * unit
    whole = sum(sizes)
    for size, part in zip(sizes, found["ListCost"], strict=True):
        expected = Decimal(listed) * size / whole if whole else Decimal(listed) / len(sizes)
        assert abs(part - expected * unit) <= abs(listed * unit) * len(sizes) * Decimal("1e-8") + unit * len(sizes)


def test_another_rule_gives_the_same_sums_and_says_what_it_weighs(demo_context: Context, tmp_path: Path) -> None:
    service = named("export")
    files = [tmp_path / "stored.parquet", tmp_path / "tried.parquet"]
    service.run(demo_context, service.asked({"out": files[0]}))
    service.run(demo_context, service.asked({"out": files[1], "split_rule": "70_30", "shared_cost": "even"}))
    stored, tried = (pl.read_parquet(each) for each in files)
    key = ["ServiceProviderName", "BillingCurrency", "x_IsEstimated"]
    sums = [money.summed(each, by=key, columns=[*COSTS]).sort(key).rows() for each in (stored, tried)]
    assert sums[0] == sums[1]
    assert "70_30" in set(tried["AllocatedMethodId"]) - set(stored["AllocatedMethodId"])
    details = {json.dumps(json.loads(each).get("x_Weights")) for each in tried["AllocatedMethodDetails"].drop_nulls()}
    assert '{"gpu": 70, "cpu": 18, "memory": 12}' in details
    with pytest.raises(InputError, match="no shares"):
        service.run(demo_context, service.asked({"out": files[1], "split_rule": "custom"}))


@given(st.lists(st.integers(0, 10**24), min_size=1, max_size=6))
def test_the_ratios_of_a_charge_sum_to_one(sizes: list[int]) -> None:
    unit = Decimal(1).scaleb(-18)
    found = exported([(size * unit, None) for size in sizes])
    if len(sizes) == 1:
        assert found["AllocatedMethodDetails"].to_list() == [None]
        return
    ratios = [
        json.loads(each, parse_float=Decimal)["Elements"][0]["AllocatedRatio"]
        for each in found["AllocatedMethodDetails"]
    ]
    assert sum(ratios) == 1


def test_what_the_provider_does_not_say_stays_unknown() -> None:
    found = exported([(Decimal(3), Decimal(3))])
    for name in ("ListCost", "ContractedCost", "BillingAccountName", "ServiceCategory", "PricingQuantity"):
        assert found[name].to_list() == [None], name
    assert found["ChargeDescription"].to_list() == ["a node"]


def test_a_credit_that_bills_nothing_but_is_worth_something_is_divided_by_its_worth() -> None:
    found = exported([(Decimal(0), Decimal(-1)), (Decimal(0), Decimal(-3))], list_cost=Decimal(8))
    assert found["ListCost"].to_list() == [Decimal(2), Decimal(6)]


def test_a_charge_of_nothing_is_divided_by_device_time() -> None:
    """What a credit has made free is still whose it is: a quarter of an hour has no half of its list price."""
    nothing = (Decimal(0), Decimal(0))
    found = exported([nothing, nothing, nothing], (900, 2700, 0), list_cost=Decimal(36), contracted_cost=Decimal(-36))
    assert found["ListCost"].to_list() == [9, 27, 0]
    assert found["ContractedCost"].to_list() == [-9, -27, 0]
    ratios = [json.loads(each)["Elements"][0]["AllocatedRatio"] for each in found["AllocatedMethodDetails"]]
    assert sum(ratios) == 1
    assert exported([nothing, nothing], list_cost=Decimal(8))["ListCost"].to_list() == [4, 4]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_empty_ledger_exports_the_names_of_the_columns(suffix: str, empty_context: Context, tmp_path: Path) -> None:
    out = tmp_path / f"focus{suffix}"
    service = named("export")
    assert service.run(empty_context, service.asked({"out": out})) == {"path": str(out), "rows": 0}
    found = pl.read_csv(out) if suffix == ".csv" else pl.read_parquet(out)
    assert set(MANDATORY) <= set(found.columns)
