"""Models that bills name: their charges are the model's once, beside what its jobs held, and no total changes."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import money
from ledger.money_sections import MoneySettings
from ledger.store import Store
from ledger.tables import AllocationHour, SpendDay
from queries import sql
from queries.graph import Span
from queries.rollups.spend_day import spend_day
from tests.bills import HOUR, MONTH, NEXT, at, charge, costs, device_hour, job_hour, link, node
from tests.frames import validated
from tests.queries.rollups.test_allocation_hour import allocated_of, inputs_of
from tests.queries.rollups.test_managed_model_day import made, tokens

OURS = "model-of-j1"
"""The model that a job serves on its own devices, and that a managed service bills too."""

OWNERS = {"owners": [{"team": "red", "field": "tag", "value": "team=red"}]}
END = NEXT + timedelta(days=10)
UNIT = Decimal(1).scaleb(-18)
AMOUNT = st.integers(-(10**30), 10**30).map(lambda units: units * UNIT)
BILLED = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from([OURS, "b"]),
            "BilledCost": AMOUNT,
            "EffectiveCost": st.none() | AMOUNT,
            "BillingCurrency": st.sampled_from(["USD", "EUR"]),
            "ChargeCategory": st.sampled_from(["Usage", "Credit", "Tax"]),
            "ServiceCategory": st.sampled_from(["AI and Machine Learning", "Storage", None]),
            "ChargePeriodStart": st.integers(0, 700).map(lambda hours: MONTH + hours * HOUR),
            "Tags": st.sampled_from(['{"team": "red"}', None]),
            "ResourceId": st.sampled_from(["endpoint", None]),
        }
    ),
    max_size=6,
)


def allocated(charges: list[dict[str, Any]], rule: str) -> pl.DataFrame:
    """Return the allocations of charges, beside those of a node on which a job serves a model of its own."""
    money_ = {**OWNERS, "shared_cost": rule}
    every = [charge(100), *charges]
    booked = costs(every, nodes=[node()], links=[link()], settings=MoneySettings.model_validate(money_))
    hours = [at(1, hour) for hour in range(24)]
    empty = inputs_of([], [device_hour(each, "g0", productive_seconds=1800) for each in hours],
                      [job_hour(each, "g0", "j1", productive_seconds=1800) for each in hours])  # fmt: skip
    return allocated_of(empty | {"costs": booked}, MONTH, END, **money_)


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """Return a store whose days of spending each case puts in the place of the last ones."""
    with Store.open("duckdb::memory:", now=lambda: END) as opened:
        yield opened


def scopes(allocations: pl.DataFrame, store: Store) -> tuple[dict[tuple[str, str], Decimal], pl.DataFrame]:
    """Return what each scope and currency spent, as budgets count it, and the days behind it."""
    days = validated(SpendDay, spend_day.function(allocations.lazy(), Span(MONTH, END, END)).collect())
    found: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    last = (day for day, known in store.versions("spend_day").items() if known.row_count)
    store.replace(SpendDay, days, partitions=sorted({*last, *days["day"].dt.to_string()}))
    rows = store.select(sql.load("spend_scopes").text, start=MONTH, end=END, team="")
    for scope, currency, cost in rows.select("scope", "billing_currency", "cost").iter_rows():
        if cost is not None:
            found[scope, currency] = money.add(found[scope, currency], cost)
    return found, days


@given(billed=BILLED, rule=st.sampled_from(["apart", "proportional", "even"]))
def test_models_and_the_rest_sum_to_the_total_and_nothing_counts_twice(
    store: Store, billed: list[dict[str, Any]], rule: str
) -> None:
    charges = [
        tokens(index, **{**each, "ChargePeriodEnd": each["ChargePeriodStart"] + timedelta(hours=30)})
        for index, each in enumerate(billed)
    ]
    allocations = allocated(charges, rule)
    found, days = scopes(allocations, store)
    managed, on_devices = made(charges), allocations.filter(pl.col("gpu_uuid") != "")
    for currency in ("USD", "EUR"):
        named = [cost for (scope, code), cost in found.items() if scope.startswith("model:") and code == currency]
        rest = days.filter(model="", billing_currency=currency, in_scope=True)["effective_cost"].drop_nulls()
        assert money.add(*named, *rest) == found.get(("total", currency), 0)
        for model in (OURS, "b"):
            own = on_devices.filter(model=model, billing_currency=currency)["effective_cost"].drop_nulls()
            others = managed.filter(model=model, billing_currency=currency, in_scope=True)["effective_cost"]
            assert found.get((f"model:{model}", currency), 0) == money.add(*own, *others.drop_nulls())
    known = [each["EffectiveCost"] for each in charges if each["EffectiveCost"] is not None]
    assert money.add(*allocations["effective_cost"].drop_nulls()) == money.add(Decimal(24), *known)


def test_a_charge_of_a_model_is_the_models_beside_what_its_job_held(store: Store) -> None:
    charges = [tokens(model=OURS, ResourceId=None), tokens(1, model="b", ResourceId=None)]
    found, _ = scopes(allocated(charges, "apart"), store)
    assert {scope: cost for (scope, _), cost in found.items() if scope.startswith("model:")} == {
        f"model:{OURS}": Decimal(36),
        "model:b": Decimal(24),
    }
    assert found["total", "USD"] == Decimal(72)


def test_charges_of_one_service_are_told_apart_by_model() -> None:
    """Two models of one service, without a resource, in one hour: each keeps its own cost."""
    charges = [tokens(index, model=model, ResourceId=None) for index, model in enumerate(("a", "b", "a"))]
    found = costs(charges)
    assert found.filter(hour_start=MONTH).select("named_model", "billed_cost").sort("named_model").rows() == [
        ("a", Decimal(2)),
        ("b", Decimal(1)),
    ]


@pytest.mark.parametrize("details", [None, "", "{}", '{"ModelId": null}', '{"ModelId"', '{"InstanceType": "p5"}'])
def test_what_names_no_model_has_none(details: str | None) -> None:
    assert costs([charge(SkuPriceDetails=details)])["named_model"].unique().to_list() == [""]


def test_a_commitment_that_nobody_used_is_no_models() -> None:
    unused = tokens(CommitmentDiscountStatus="Unused", CommitmentDiscountId="c", ResourceId="c")
    rows = allocated([unused], "apart").filter(bucket="idle", gpu_uuid="")
    assert rows["model"].unique().to_list() == [""]
    assert rows["named_model"].unique().to_list() == ["claude-3"]
    assert isinstance(validated(AllocationHour, rows), pl.DataFrame)
