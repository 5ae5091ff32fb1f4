"""Each rule of when a charge counts, where, and as what, misread on purpose: each of them turns the comparison red."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from ledger.money_sections import CostOwner, MoneySettings, ScopeSettings
from tests.oracle import money_frames
from tests.oracle.bills import MARCH, OWNERS, bills, pool_beside_another_region
from tests.oracle.faults import Fault, Tables, as_read, not_read, read_as
from tests.oracle.money_frames import check_bills, moment
from tests.oracle.test_mutations import drawn


@pytest.fixture(scope="module")
def priced() -> list[tuple[Any, Tables]]:
    """Return bills with their tables, of which all is computed right."""
    found = []
    for each in [*drawn(bills(8)), pool_beside_another_region()]:
        given = money_frames.tables(each.bills)
        check_bills(each.bills, money_frames.computed(given))
        found.append((each, given))
    return found


def _slices_are_whole(made: Tables) -> Tables:
    return made | {name: as_read(made[name], gpu_fraction=Decimal(1)) for name in ("gpu_hour", "job_gpu_hour")}


_CATEGORY = pl.col("ChargeCategory")
_BOOKED = _CATEGORY.is_in(["Tax", "Credit", "Purchase", "Adjustment"])

RULES: Mapping[str, Fault] = {
    "who left is still there": read_as("node", exists_end=None),
    "who joined was always there": read_as("node", exists_start=moment(MARCH)),
    "nodes are not known": not_read("node"),
    "a link holds for ever": read_as("node_resource", valid_end=None),
    "a link has held always": read_as("node_resource", valid_start=moment(MARCH)),
    "resources have no nodes": not_read("node_resource"),
    "links are of other providers": read_as("node_resource", provider="other"),
    "a pool is of any region": read_as("node", region=None),
    "a pool has no type": read_as("node", instance_type=None),
    "charges name no type": read_as("focus_charge", SkuPriceDetails=None, SkuId=None),
    "what is booked whole is spread": read_as(
        "focus_charge", ChargeCategory=pl.when(_BOOKED).then(pl.lit("Usage")).otherwise(_CATEGORY)
    ),
    "usage is booked whole": read_as(
        "focus_charge", ChargeCategory=pl.when(_CATEGORY == "Usage").then(pl.lit("Adjustment")).otherwise(_CATEGORY)
    ),
    "taxes are credits": read_as(
        "focus_charge", ChargeCategory=pl.when(_CATEGORY == "Tax").then(pl.lit("Credit")).otherwise(_CATEGORY)
    ),
    "a commitment is used": read_as("focus_charge", CommitmentDiscountStatus="Used"),
    "commitments are not told": read_as("focus_charge", CommitmentDiscountStatus=None),
    "a correction is none": read_as("focus_charge", ChargeClass=None),
    "invoices are one": read_as("focus_charge", InvoiceId="inv-1"),
    "services are not told": read_as("focus_charge", ServiceCategory=None, ServiceSubcategory=None),
    "control planes are machines": read_as("focus_charge", ServiceSubcategory=None),
    "tags name nobody": read_as("focus_charge", Tags=None),
    "effective is what was billed": read_as("focus_charge", EffectiveCost=pl.col("BilledCost")),
    "unknown effective cost is none": read_as(
        "focus_charge", EffectiveCost=pl.col("EffectiveCost").fill_null(Decimal(0))
    ),
    "unknown list cost is none": read_as("focus_charge", ListCost=pl.col("ListCost").fill_null(Decimal(0))),
    "cents are enough": read_as("focus_charge", BilledCost=pl.col("BilledCost").round(2)),
    "days are enough": read_as(
        "focus_charge",
        ChargePeriodStart=pl.col("ChargePeriodStart").dt.truncate("1d"),
        ChargePeriodEnd=pl.col("ChargePeriodStart").dt.truncate("1d").dt.offset_by("1d"),
    ),
    "waiting imports count": read_as("bill_import", status="current"),
    "slices are whole devices": _slices_are_whole,
    "devices are not seen": lambda made: made | {name: made[name].clear() for name in ("gpu_hour", "job_gpu_hour")},
    "jobs are not seen": not_read("job_gpu_hour"),
    "teams are one": read_as("job_gpu_hour", team="team-0"),
    "invoices are not read": not_read("invoice"),
    "an invoice is as it is billed": read_as("invoice", invoiced=pl.col("invoiced") + Decimal(777)),
}
"""The oracle reads the tables, what it judges reads them so."""


def is_red(each: Any, made: Tables, settings: MoneySettings = money_frames.SETTINGS) -> bool:
    try:
        check_bills(each.bills, money_frames.computed(made, settings))
    except AssertionError:
        return True
    return False


@pytest.mark.parametrize("name", RULES)
def test_a_rule_that_misreads_turns_the_comparison_red(name: str, priced: list[Any]) -> None:
    assert any(is_red(each, RULES[name](made)) for each, made in priced)


OTHER_SETTINGS: Mapping[str, MoneySettings] = {
    "all belongs to the estate": MoneySettings(owners=money_frames.SETTINGS.owners),
    "another account is the estate": MoneySettings(
        scope=ScopeSettings(accounts=("web",)), owners=money_frames.SETTINGS.owners
    ),
    "nobody owns anything": MoneySettings(scope=money_frames.SETTINGS.scope),
    "owners by other tags": MoneySettings(
        scope=money_frames.SETTINGS.scope,
        owners=tuple(
            CostOwner(team=team, field="tag", value=f"team={other}")
            for team, other in zip(OWNERS, OWNERS[::-1], strict=True)
        ),
    ),
    "taxes are divided": MoneySettings(
        scope=money_frames.SETTINGS.scope,
        owners=money_frames.SETTINGS.owners,
        shared_cost="fixed",
        shared_cost_ratios={"vision": Decimal(1)},
    ),
}


@pytest.mark.parametrize("name", OTHER_SETTINGS)
def test_other_settings_turn_the_comparison_red(name: str, priced: list[Any]) -> None:
    assert any(is_red(each, made, OTHER_SETTINGS[name]) for each, made in priced)
