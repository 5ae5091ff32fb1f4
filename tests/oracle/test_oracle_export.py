"""FOCUS rows of drawn clusters, in every way of sharing: each charge is all of its parts, in four costs; and faults."""

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl
import pytest

from app.services._focus import COST_COLUMNS, MANDATORY, focus
from ledger import money
from tests.oracle.faults import LAST_UNIT
from tests.oracle.searching import CI
from tests.oracle.sharing import clusters, rules
from tests.oracle.sharing_frames import allocated, device_time, tables

TOGETHER = 130
CALLS = 10 if CI else 2

COSTS = {
    "BilledCost": "billed_cost",
    "EffectiveCost": "effective_cost",
    "ListCost": "list_cost",
    "ContractedCost": "contracted_cost",
}
CHARGE = {
    "ServiceProviderName": "provider",
    "BillingAccountId": "billing_account_id",
    "BillingCurrency": "billing_currency",
    "ChargePeriodStart": "hour_start",
    "ChargeCategory": "charge_category",
    "CommitmentDiscountStatus": "commitment_status",
    "ResourceId": "resource_id",
}
"""What of a charge its FOCUS rows say."""

Frames = tuple[pl.DataFrame, pl.DataFrame]


def words() -> Frames:
    """Return what accounts and services are called: nothing is known of them."""
    text = dict.fromkeys(("provider", "billing_account_id", "account_name", "host_provider"), pl.String)
    services = dict.fromkeys(("provider", "service_name", "service_category"), pl.String)
    return pl.DataFrame(schema=text), pl.DataFrame(schema=services)


@cache
def given(seed: int) -> Frames:
    """Return allocations and costs of drawn clusters; some costs have a list price, some a contracted one."""
    made = tables(clusters(seed, TOGETHER))
    number = pl.int_range(pl.len())
    prices = {"list_cost": 2, "contracted_cost": 3}
    costs = made["cost_hour"].with_columns(
        pl.when(number % each > 0)
        .then((number + 1).cast(pl.Decimal(38, 0)) * pl.lit(Decimal("1.000000000000000007"), dtype=money.MONEY))
        .cast(money.MONEY)
        .alias(name)
        for name, each in prices.items()
    )
    return allocated(made | device_time(made), rules(seed)), costs


def exported(allocations: pl.DataFrame, costs: pl.DataFrame) -> pl.DataFrame:
    return focus(allocations, costs.select(COST_COLUMNS), *words())


def check(costs: pl.DataFrame, found: pl.DataFrame) -> None:
    """Check that all parts of charges are there, in each cost, and that what is said of them is so."""
    assert set(MANDATORY) <= set(found.columns)
    key = list(CHARGE.values())
    told = found.select(
        *(pl.col(name).fill_null("") if found.schema[name] == pl.String else name for name in CHARGE), *COSTS
    )
    told = told.rename(CHARGE | COSTS)
    sums = [
        money.summed(each.sort(key), by=key, columns=list(COSTS.values())).sort(key)
        for each in (told, costs.select(*key, *COSTS.values()))
    ]
    # A cost that nobody says is no part of what is said.
    assert sums[0].equals(sums[1])
    ratios = [
        each["AllocatedRatio"]
        for details in found["AllocatedMethodDetails"].drop_nulls().unique().to_list()
        for each in json.loads(details, parse_float=Decimal)["Elements"]
    ]
    assert all(0 <= ratio <= 1 for ratio in ratios)
    assert found.filter(pl.col("AllocatedMethodId").is_null() != pl.col("AllocatedMethodDetails").is_null()).is_empty()
    tags = found.select(
        pl.col("AllocatedTags").str.json_path_match("$.team").alias("team"),
        pl.col("x_Team").fill_null("").alias("ours"),
    )
    assert tags.filter(pl.col("team") != pl.col("ours")).is_empty()


@pytest.mark.parametrize("seed", range(CALLS))
def test_each_charge_is_all_of_its_parts(seed: int) -> None:
    allocations, costs = given(seed)
    found = exported(allocations, costs)
    assert found.height == allocations.height
    check(costs, found)


@pytest.mark.parametrize("seed", range(0, CALLS, 8))
def test_the_ratios_of_each_charge_sum_to_one(seed: int) -> None:
    allocations, costs = given(seed)
    found = exported(allocations, costs)
    key = [
        name for name in costs.columns if name in COST_COLUMNS and name not in {"charge_description", *COSTS.values()}
    ]
    ratio = found["AllocatedMethodDetails"].str.extract(r'"AllocatedRatio":([0-9.]+)')
    sums = allocations.with_columns(ratio.cast(money.MONEY).alias("ratio")).filter(pl.col("ratio").is_not_null())
    whole = money.summed(sums.sort(key), by=key, columns=["ratio"])
    assert whole.height > TOGETHER
    assert whole["ratio"].unique().to_list() == [1]


FIRST = pl.int_range(pl.len()) == pl.col("EffectiveCost").abs().arg_max()

FAULTS: Mapping[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "a row dropped": lambda rows: rows.filter(~FIRST),
    "a row twice": lambda rows: pl.concat([rows, rows.filter(FIRST)]),
    **{
        f"a last unit too much of {name}": lambda rows, name=name: rows.with_columns(  # type: ignore[misc]  a closure
            pl.when(FIRST).then(pl.col(name).fill_null(Decimal(0)) + LAST_UNIT).otherwise(name).alias(name)
        )
        for name in COSTS
    },
    "a credit clamped": lambda rows: rows.with_columns(
        pl.max_horizontal("BilledCost", pl.lit(Decimal(0), dtype=money.MONEY))
    ),
    "an unknown cost is none": lambda rows: rows.with_columns(pl.col("EffectiveCost").fill_null(Decimal(0))),
    "another hour": lambda rows: rows.with_columns(pl.col("ChargePeriodStart").dt.offset_by("1h")),
    "another currency": lambda rows: rows.with_columns(BillingCurrency=pl.lit("CHF")),
    "another category": lambda rows: rows.with_columns(ChargeCategory=pl.lit("Usage")),
    "a commitment is not told": lambda rows: rows.with_columns(CommitmentDiscountStatus=pl.lit(None, pl.String)),
    "a rule without its ratio": lambda rows: rows.with_columns(AllocatedMethodDetails=pl.lit(None, pl.String)),
    "another team": lambda rows: rows.with_columns(x_Team=pl.lit("elsewhere")),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_export_turns_the_check_red(name: str) -> None:
    allocations, costs = given(0)
    found: Any = FAULTS[name](exported(allocations, costs))
    with pytest.raises(AssertionError):
        check(costs, found)
