"""What was paid in advance counts once, over its term, where the provider says 0 for the usage."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.context import Context
from app.services import _prepaid
from collectors.billing._amortisation import SOURCE, amortised
from collectors.billing._format import Imported
from ledger import money
from ledger.config import load
from ledger.money_sections import MoneySettings
from ledger.tables import BillImport, CommitmentDay, FocusCharge, NodeResource
from queries.graph import Span
from queries.rollups.commitment_day import commitment_day
from tests.bills import HOUR, MONTH, NEXT, at, charge, costs, imports_of, link, node, rows

BLOCK = "cr-0Block"
PRICE = Decimal("2831.04")
START, END = at(30, 11, 30), datetime(2026, 4, 1, 11, 30, tzinfo=UTC)
"""A capacity block of two days: AWS starts and ends them at half past eleven, and bills usage by clock hours."""

NOON = at(30, 12)

NOW = datetime(2026, 4, 3, tzinfo=UTC)


def purchase(index: int = 0, effective: Decimal = PRICE, **given: Any) -> dict[str, Any]:
    return charge(
        index,
        **{
            "ChargeCategory": "Purchase",
            "ChargeFrequency": "One-Time",
            "ChargeDescription": "Capacity Block of p5.48xlarge",
            "BilledCost": PRICE,
            "EffectiveCost": effective,
            "ChargePeriodStart": START,
            "ChargePeriodEnd": END,
            "CapacityReservationId": BLOCK,
            "ResourceId": None,
        }
        | given,
    )


def covered(index: int, when: datetime, resource: str = "i-a1", hours: int = 1, **given: Any) -> dict[str, Any]:
    row = charge(
        index,
        BilledCost=Decimal(0),
        EffectiveCost=Decimal(0),
        ChargePeriodStart=when,
        ChargePeriodEnd=when + hours * HOUR,
        CapacityReservationId=BLOCK,
        CapacityReservationStatus="Used",
        ConsumedQuantity=Decimal(hours),
        ResourceId=resource,
        ServiceCategory="Compute",
    )
    april = {"BillingPeriodStart": NEXT, "BillingPeriodEnd": datetime(2026, 5, 1, tzinfo=UTC)}
    return row | (april if when >= NEXT else {}) | given


def bill(*charges: dict[str, Any]) -> pl.DataFrame:
    last = covered(99, END + 30 * HOUR, "i-other", CapacityReservationId=None, CapacityReservationStatus=None)
    return rows(FocusCharge, [*charges, last | {"BilledCost": Decimal(1), "EffectiveCost": Decimal(1)}])


@pytest.fixture
def hub() -> Iterator[Context]:
    found = Context(load(store={"url": "duckdb::memory:"}), now=lambda: NOW)
    yield found
    found.close()


def kept(hub: Context, charges: pl.DataFrame) -> pl.DataFrame:
    """Import a bill, derive, and return the derived charges that count."""
    hub.store.replace(FocusCharge, charges, partitions=["i1"])
    hub.store.append(BillImport, imports_of(charges), source="test")
    _prepaid.amortise(hub)
    counting = hub.store.read(BillImport).filter(status="current", source_name=SOURCE)["import_id"].to_list()
    return hub.store.read(FocusCharge).filter(pl.col("import_id").is_in(counting))


def test_a_block_that_two_servers_used_and_then_nobody(hub: Context) -> None:
    used = [covered(index, NOON + index * HOUR) for index in range(1, 4)]
    also = covered(9, NOON + 2 * HOUR, "i-b2", ConsumedQuantity=Decimal("0.5"))
    derived = kept(hub, bill(purchase(), *used, also))
    assert derived["is_derived"].all()
    assert derived["BilledCost"].unique().to_list() == [Decimal(0)]
    offset = derived.filter(pl.col("ChargeCategory") == "Purchase")
    assert offset.select("EffectiveCost", "ChargePeriodStart", "BillingPeriodStart").rows() == [(-PRICE, START, MONTH)]
    usage = derived.filter(pl.col("ChargeCategory") == "Usage")
    assert money.add(*usage["EffectiveCost"]) == PRICE
    by_month = money.summed(usage, by=["BillingPeriodStart"], columns=["EffectiveCost"]).sort("BillingPeriodStart")
    hour = PRICE / 48
    assert by_month.rows() == [(MONTH, hour * Decimal("36.5")), (NEXT, hour * Decimal("11.5"))]
    third = usage.filter(pl.col("ChargePeriodStart") == at(30, 14)).sort("ResourceId")
    assert third.select("ResourceId", "EffectiveCost", "CapacityReservationStatus").rows() == [
        ("i-a1", hour * 2 / 3, "Used"),
        ("i-b2", hour / 3, "Used"),
    ]
    wasted = usage.filter(pl.col("CapacityReservationStatus") == "Unused")
    assert wasted["ResourceId"].null_count() == wasted.height > 40


def test_usage_that_is_taken_back_lowers_what_its_resource_used(hub: Context) -> None:
    """A negative quantity that no ChargeClass explains: it takes no share itself, and stops no import."""
    used = [covered(1, NOON, ConsumedQuantity=Decimal(3)), covered(2, NOON, ConsumedQuantity=Decimal(-2))]
    also = covered(3, NOON, "i-b2", ConsumedQuantity=Decimal(1))
    back = covered(4, NOON + HOUR, ConsumedQuantity=Decimal(-1))
    usage = kept(hub, bill(purchase(), *used, also, back)).filter(pl.col("ChargeCategory") == "Usage")
    hour = PRICE / 48
    told = usage.filter(pl.col("ChargePeriodStart").is_between(NOON, NOON + HOUR))
    told = told.sort("ChargePeriodStart", "ResourceId")
    assert told.select("ResourceId", "EffectiveCost", "CapacityReservationStatus").rows() == [
        ("i-a1", hour / 2, "Used"),
        ("i-b2", hour / 2, "Used"),
        (None, hour, "Unused"),
    ]
    assert money.add(*usage["EffectiveCost"]) == PRICE


def test_what_a_provider_amortises_itself_is_left_alone(hub: Context) -> None:
    own = covered(1, NOON, EffectiveCost=Decimal("1.5"))
    assert kept(hub, bill(purchase(), own)).is_empty()


def test_a_purchase_that_carries_nothing_needs_no_offset(hub: Context) -> None:
    derived = kept(hub, bill(purchase(effective=Decimal(0)), covered(1, NOON)))
    assert derived["ChargeCategory"].unique().to_list() == ["Usage"]
    assert money.add(*derived["EffectiveCost"]) == PRICE


def test_nothing_is_derived_past_what_the_bill_covers(hub: Context) -> None:
    charges = bill(purchase(), covered(1, NOON, hours=2)).filter(pl.col("ResourceId").ne_missing("i-other"))
    usage = kept(hub, charges).filter(pl.col("ChargeCategory") == "Usage")
    assert usage["ChargePeriodEnd"].max() == NOON + 2 * HOUR
    assert money.add(*usage["EffectiveCost"]) == PRICE / 48 * Decimal("2.5")


def test_the_same_bill_changes_nothing_and_a_corrected_one_takes_it_back(hub: Context) -> None:
    charges = bill(purchase(), covered(1, NOON))
    first = kept(hub, charges)
    assert kept(hub, charges).equals(first)
    assert hub.store.read(BillImport).filter(source_name=SOURCE)["status"].unique().to_list() == ["current"]
    amended = bill(purchase(effective=Decimal(0)), covered(1, NOON, EffectiveCost=PRICE))
    assert kept(hub, amended).is_empty()


def test_commitments_show_the_block_as_used_and_wasted(hub: Context) -> None:
    charges = bill(purchase(), *(covered(index + 1, NOON + index * HOUR) for index in range(24)))
    derived = kept(hub, charges)
    both = pl.concat([charges, derived])
    made = CommitmentDay.validate(
        commitment_day.function(
            charges=both.lazy(),
            imports=hub.store.read(BillImport).lazy(),
            resources=rows(NodeResource, []).lazy(),
            span=Span(MONTH, datetime(2026, 5, 1, tzinfo=UTC), NOW),
            settings=MoneySettings(),
        ).collect()
    )
    used, unused = (money.total(made[each]) for each in ("used_cost", "unused_cost"))
    assert (used, unused) == (PRICE / 2, PRICE / 2)
    assert money.total(made["purchased_cost"]) == PRICE


def test_hours_carry_the_block_once_and_its_purchase_nothing(hub: Context) -> None:
    charges = bill(purchase(), *(covered(index + 1, NOON + index * HOUR) for index in range(24)))
    both = pl.concat([charges, kept(hub, charges)])
    hours = costs(both.to_dicts(), end=datetime(2026, 5, 1, tzinfo=UTC), nodes=[node("a1")], links=[link("a1")])
    effective = money.summed(hours, by=["charge_category", "commitment_status"], columns=["effective_cost"])
    assert {(category, status): cost for category, status, cost in effective.rows()} == {
        ("Purchase", ""): Decimal(0),
        ("Usage", ""): Decimal(1),
        ("Usage", "Unused"): PRICE / 2,
        ("Usage", "Used"): PRICE / 2,
    }
    on_node = hours.filter(pl.col("node") == "a1")
    assert money.total(on_node["effective_cost"]) == PRICE / 2
    assert money.total(hours["billed_cost"]) == PRICE + 1


@given(
    price=st.decimals("0.01", "100000", places=6),
    term=st.integers(24, 24 * 9),
    offset=st.integers(0, 59),
    used=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 30), st.sampled_from("abc")), max_size=6),
)
def test_effective_cost_sums_to_what_was_paid(
    price: Decimal, term: int, offset: int, used: list[tuple[int, int, str]]
) -> None:
    """Over the whole term, whatever used it: derived usage and offset sum to what the purchase carried apart."""
    start = MONTH + timedelta(minutes=offset)
    bought = purchase(
        BilledCost=price, EffectiveCost=price, ChargePeriodStart=start, ChargePeriodEnd=start + term * HOUR
    )
    purchases = rows(FocusCharge, [bought]).with_columns(
        pl.lit(BLOCK).alias("commitment_id"), pl.lit(start + 1000 * HOUR).alias("complete_through")
    )
    usage = rows(
        FocusCharge, [covered(i, start + hour * HOUR, name, length) for i, (hour, length, name) in enumerate(used)]
    )
    months: list[Imported] = amortised(
        purchases, usage.with_columns(pl.lit(BLOCK).alias("commitment_id")), imported_at=NOW
    )
    made = pl.concat([FocusCharge.validate(each.tables[FocusCharge]) for each in months])
    assert money.add(*made["EffectiveCost"]) == Decimal(0), "the purchase carries the price, and keeps none of it"
    assert money.add(*made.filter(pl.col("ChargeCategory") == "Usage")["EffectiveCost"]) == price
