import csv
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import money
from ledger.money_sections import MoneySettings, ScopeSettings
from ledger.tables import FocusCharge
from tests.bills import (
    HOUR,
    MONTH,
    NEXT,
    at,
    charge,
    cost_inputs,
    costs,
    costs_of,
    imports_of,
    link,
    mixed,
    node,
    rows,
)

UNIT = Decimal(1).scaleb(-18)


def total(frame: pl.DataFrame, column: str = "billed_cost") -> Decimal:
    return money.add(*frame[column].drop_nulls())


def test_usage_of_a_known_node_is_spread_over_its_existence() -> None:
    made = costs([charge()], nodes=[node(start=at(1, 20), end=at(1, 22, 30))], links=[link()])
    assert made["hour_start"].to_list() == [at(1, 20), at(1, 21), at(1, 22)]
    assert made["billed_cost"].to_list() == [Decimal("9.6"), Decimal("9.6"), Decimal("4.8")]
    assert made["spread_method"].unique().to_list() == ["existence"]
    assert made["node"].unique().to_list() == ["a1"]


def test_usage_of_an_unknown_resource_is_spread_evenly() -> None:
    made = costs([charge(ResourceId="vol-1")])
    assert made.height == 24
    assert made["billed_cost"].unique().to_list() == [Decimal(1)]
    assert made["spread_method"].unique().to_list() == ["even"]
    assert made["node"].unique().to_list() == [""]


def test_a_link_without_inventory_is_spread_evenly_over_its_validity() -> None:
    made = costs([charge()], links=[link(end=at(1, 12))])
    assert made.height == 12
    assert made["spread_method"].unique().to_list() == ["even"]


def test_a_charge_of_one_hour_stays_in_it() -> None:
    made = costs(
        [charge(ChargePeriodStart=at(1, 5), ChargePeriodEnd=at(1, 6))], nodes=[node(start=at(1, 5, 30))], links=[link()]
    )
    assert made["spread_method"].to_list() == ["exact_hour"]
    assert made["billed_cost"].to_list() == [Decimal(24)]


@pytest.mark.parametrize("category", ["Purchase", "Tax", "Credit", "Adjustment"])
def test_what_is_no_usage_is_booked_whole_at_its_start(category: str) -> None:
    year = {"ChargePeriodStart": at(3, 4), "ChargePeriodEnd": datetime(2027, 3, 3, tzinfo=UTC)}
    made = costs([charge(ChargeCategory=category, BilledCost=Decimal(8760), EffectiveCost=Decimal(0), **year)])
    assert made["hour_start"].to_list() == [at(3, 4)]
    assert made["billed_cost"].to_list() == [Decimal(8760)]
    assert made["effective_cost"].to_list() == [Decimal(0)]
    assert made["spread_method"].to_list() == ["whole"]


def test_a_credit_for_another_period_is_booked_at_the_start_of_its_billing_period() -> None:
    earlier = {
        "ChargePeriodStart": datetime(2026, 1, 5, tzinfo=UTC),
        "ChargePeriodEnd": datetime(2026, 1, 6, tzinfo=UTC),
    }
    made = costs([charge(ChargeCategory="Credit", BilledCost=Decimal(-3), **earlier)])
    assert made["hour_start"].to_list() == [MONTH]


def test_a_correction_keeps_its_charge_hours_and_its_own_billing_period() -> None:
    earlier = {
        "ChargePeriodStart": datetime(2026, 2, 5, tzinfo=UTC),
        "ChargePeriodEnd": datetime(2026, 2, 6, tzinfo=UTC),
    }
    made = costs([charge(ChargeClass="Correction", BilledCost=Decimal(-24), **earlier)])
    assert made["hour_start"].min() == datetime(2026, 2, 5, tzinfo=UTC)
    assert made["billing_period_start"].unique().to_list() == [MONTH]
    assert made["charge_class"].unique().to_list() == ["Correction"]
    assert total(made) == -24


def test_only_current_snapshots_count() -> None:
    bill = rows(FocusCharge, [charge(), charge(1, import_id="i2", BilledCost=Decimal(5))])
    imports = pl.concat(
        [
            imports_of(bill.filter(pl.col("import_id") == "i1"), status="superseded"),
            imports_of(bill.filter(pl.col("import_id") == "i2")),
        ]
    )
    made = costs([charge(), charge(1, import_id="i2", BilledCost=Decimal(5))], imports=imports)
    assert total(made) == 5


def test_unknown_effective_cost_stays_unknown() -> None:
    made = costs([charge(EffectiveCost=None)])
    assert made["effective_cost"].null_count() == 24
    assert total(made) == 24


def test_resource_ids_match_in_any_case() -> None:
    made = costs([charge(ResourceId="I-A1")], nodes=[node()], links=[link()])
    assert made["resource_id"].unique().to_list() == ["i-a1"]
    assert made["node"].unique().to_list() == ["a1"]


def test_a_reused_resource_belongs_to_each_node_for_its_time() -> None:
    made = costs(
        [charge()],
        nodes=[node(), node("b2")],
        links=[link(end=at(1, 6)), link("b2", "i-a1", start=at(1, 6))],
    )
    assert dict(made.group_by("node").len().iter_rows()) == {"a1": 6, "b2": 18}
    assert total(made) == 24


def test_a_bill_without_resource_ids_matches_as_a_pool() -> None:
    pool = {"ResourceId": None, "RegionId": "us-east-1", "SkuPriceDetails": json.dumps({"InstanceType": "p5.48xlarge"})}
    made = costs(
        [charge(**pool), charge(1, ResourceId="i-c3")],
        nodes=[node("a1"), node("b2", end=at(1, 12)), node("c3"), node("d4", region="eu")],
        links=[link("c3")],
        now=at(2),
    )
    pooled = made.filter(pl.col("resource_id") == "")
    assert sorted(pooled["node"].unique()) == ["a1", "b2"]
    assert total(pooled) == 24
    assert abs(total(pooled.filter(pl.col("node") == "a1")) - 16) < 24 * UNIT
    estimated = made.filter("is_estimated")
    assert estimated.is_empty()


def test_kinds_of_cost_are_told_apart() -> None:
    made = costs(
        [
            charge(ResourceId=None, ServiceCategory="Networking", BilledCost=Decimal(2)),
            charge(1, ResourceId=None, ServiceCategory="Compute", BilledCost=Decimal(22)),
        ]
    )
    assert made.height == 48
    kinds = money.summed(made, by=["cost_kind"], columns=["billed_cost", "shared_billed_cost"])
    assert sorted(kinds.rows()) == [("network", 2, 2), ("usage", 22, None)]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"ChargeCategory": "Tax", "ServiceName": "Support tax"}, "tax"),
        ({"ChargeCategory": "Credit"}, "credit"),
        ({"ChargeCategory": "Adjustment"}, "adjustment"),
        ({"ChargeCategory": "Purchase", "ServiceName": "AWS Support (Business)"}, "support"),
        ({"ChargeCategory": "Purchase", "ServiceName": "AWS Savings Plans"}, "purchase"),
        ({"ServiceName": "Premium support"}, "support"),
        ({"ServiceCategory": "Storage"}, "storage"),
        ({"ServiceCategory": "Networking"}, "network"),
        ({"ServiceCategory": "Compute", "ServiceSubcategory": "Containers"}, "control_plane"),
        ({"ServiceCategory": "Compute", "ServiceSubcategory": "Virtual Machines"}, "usage"),
        ({"ServiceCategory": "Security"}, "management"),
        ({}, "usage"),
    ],
)
def test_a_charge_is_of_one_kind(given: dict[str, str], kind: str) -> None:
    made = costs([charge(**given)])
    assert made["cost_kind"].unique().to_list() == [kind]


def test_the_first_rule_that_matches_names_the_owner_unless_there_is_a_node() -> None:
    owners = [
        {"team": "vision", "field": "resource", "value": "VOL-*"},
        {"team": "speech", "field": "tag", "value": "team=speech"},
        {"team": "tagged", "field": "tag", "value": "team"},
        {"team": "platform", "field": "service", "value": "Registry"},
        {"team": "rest", "field": "account", "value": "sub-7"},
    ]
    bill = [
        charge(0, ResourceId="vol-1", Tags='{"team": "speech"}'),
        charge(1, ResourceId="b-1", Tags='{"team": "speech"}'),
        charge(2, ResourceId="b-2", Tags='{"team": "x"}'),
        charge(3, ResourceId="b-3", ServiceName="Registry", SubAccountId="sub-7"),
        charge(4, ResourceId="b-4", SubAccountId="sub-7"),
        charge(5, ResourceId="b-5", Tags="no JSON"),
        charge(6, ResourceId="i-a1", Tags='{"team": "speech"}'),
    ]
    made = costs(bill, nodes=[node()], links=[link()], settings=MoneySettings.model_validate({"owners": owners}))
    owned = dict(made.select("resource_id", "owner_team").unique().iter_rows())
    assert owned == {
        "vol-1": "vision",
        "b-1": "speech",
        "b-2": "tagged",
        "b-3": "platform",
        "b-4": "rest",
        "b-5": "",
        "i-a1": "",
    }


def test_scope_is_what_the_configuration_names_and_what_a_node_costs() -> None:
    scope = ScopeSettings(accounts=("other",), tags=("team=ml",), services=("Sage*",), resources=("VOL-*",))
    bill = [
        charge(0, ResourceId="i-a1"),
        charge(1, ResourceId="x1", Tags='{"team": "ml"}'),
        charge(2, ResourceId="x2", Tags='{"team": "web"}'),
        charge(3, ResourceId="x3", ServiceName="SageMaker"),
        charge(4, ResourceId="vol-7"),
        charge(5, ResourceId="x5", SubAccountId="other"),
    ]
    made = costs(bill, nodes=[node()], links=[link()], settings=MoneySettings(scope=scope))
    inside = made.filter("in_scope")["resource_id"].unique().sort().to_list()
    assert inside == ["i-a1", "vol-7", "x1", "x3", "x5"]
    assert costs(bill)["in_scope"].all()


def test_hours_after_the_bill_are_estimated_at_the_last_billed_rate() -> None:
    made = costs([charge()], nodes=[node(end=at(2, 1, 30))], links=[link()], now=at(3))
    estimated = made.filter("is_estimated").sort("hour_start")
    assert estimated["hour_start"].to_list() == [at(2, 0), at(2, 1)]
    assert estimated["effective_cost"].to_list() == [Decimal(1), Decimal("0.5")]
    assert estimated["invoice_id"].unique().to_list() == [""]
    assert estimated["billing_account_id"].unique().to_list() == ["acct"]


def test_an_hour_that_is_not_over_is_not_estimated() -> None:
    made = costs([charge()], nodes=[node()], links=[link()], now=at(2, 3, 59))
    assert made.filter("is_estimated")["hour_start"].max() == at(2, 2)


def test_a_node_that_was_never_billed_takes_the_rate_of_its_type() -> None:
    made = costs([charge()], nodes=[node(end=at(2)), node("b2", start=at(2))], links=[link()], now=at(2, 2))
    estimated = made.filter("is_estimated")
    assert estimated["node"].unique().to_list() == ["b2"]
    assert estimated["billed_cost"].to_list() == [Decimal(1), Decimal(1)]


def price(value: str, listed: datetime, **given: Any) -> dict[str, Any]:
    row = {
        "provider": "aws",
        "region": "us-east-1",
        "instance_type": "p5.48xlarge",
        "price_category": "on_demand",
        "billing_currency": "USD",
        "valid_start": listed,
        "unit_price": Decimal(value),
        "pricing_unit": "Hours",
    }
    return row | given


def test_without_a_bill_the_list_price_of_the_hour_counts() -> None:
    february = datetime(2026, 2, 1, tzinfo=UTC)
    prices = [
        price("98.32", february),
        price("55.04", at(1, 1)),
        price("1", february, region=""),
        price("2", february, price_category="spot"),
    ]
    made = costs([], nodes=[node()], prices=prices, now=at(1, 2))
    assert made["is_estimated"].all()
    assert made.sort("hour_start")["billed_cost"].to_list() == [Decimal("98.32"), Decimal("55.04")]


def test_a_list_price_in_the_currency_of_the_node_goes_before_another_and_the_row_says_which() -> None:
    """A node of an account in dollars, of a type that was never billed: the list's own currency is told."""
    february = datetime(2026, 2, 1, tzinfo=UTC)
    billed = {"charges": [charge()], "links": [link()], "now": at(3, 1)}
    moved = [node(end=at(2)), node("a1", at(2), instance_type="p6", provider_instance_id="i-other")]
    euros = price("90", february, instance_type="p6", billing_currency="EUR")
    dollars = price("98", february, instance_type="p6", region="")
    for prices, currency, words in (
        ([euros, dollars], "USD", "Estimated at the list price in USD: no bill covers this hour yet"),
        ([euros], "EUR", "Estimated at the list price in EUR, as none in USD is known: no bill covers this hour yet"),
    ):
        made = costs(nodes=moved, prices=prices, **billed).filter("is_estimated")
        assert made["billing_currency"].unique().to_list() == [currency]
        assert made["charge_description"].unique().to_list() == [words]


def test_what_a_finished_bill_left_out_is_not_estimated() -> None:
    made = costs([charge(ChargePeriodEnd=NEXT)], nodes=[node(), node("b2")], links=[link()], now=NEXT + 5 * HOUR)
    assert made.filter("is_estimated").is_empty()


def test_the_last_rate_may_come_from_the_month_before() -> None:
    made = costs(
        [charge()], nodes=[node()], links=[link()], start=NEXT, end=datetime(2026, 5, 1, tzinfo=UTC), now=NEXT + HOUR
    )
    assert made["is_estimated"].all()
    assert made["billed_cost"].to_list() == [Decimal(1)]
    assert made["billing_period_start"].to_list() == [NEXT]


def test_usage_of_the_whole_month_does_not_end_estimates() -> None:
    """A bill of the 2nd of March has transfer until the 31st: its servers are still only billed to the 2nd."""
    transfer = charge(1, ResourceId="transfer", BilledCost=Decimal(310), ChargePeriodEnd=NEXT)
    delivered = imports_of(rows(FocusCharge, [charge(), transfer]), imported_at=at(2, 1))
    made = costs([charge(), transfer], nodes=[node()], links=[link()], imports=delivered, now=at(2, 3))
    estimated = made.filter("is_estimated")
    assert estimated["hour_start"].to_list() == [at(2, 0), at(2, 1), at(2, 2)]
    assert estimated["billed_cost"].to_list() == [Decimal(1)] * 3
    # Nor is what such usage of one server costs in an hour the rate of its type.
    other = charge(1, ResourceId="i-b2", BilledCost=Decimal(310), ChargePeriodEnd=NEXT)
    made = costs(
        [charge(), other], nodes=[node(), node("b2")], links=[link(), link("b2")], imports=delivered, now=at(2, 3)
    )
    estimated = made.filter("is_estimated")
    assert estimated.select("node", "billed_cost").unique().rows() == [("a1", Decimal(1))]


def test_a_server_that_is_billed_by_the_month_alone_has_its_own_rate() -> None:
    """Beside servers by the hour, of another type: what its month cost is what its next hours cost until billed."""
    monthly = charge(1, ResourceId="i-b2", BilledCost=Decimal(744), ChargePeriodEnd=NEXT)
    metal = node("b2", instance_type="metal")
    after_next = datetime(2026, 5, 1, tzinfo=UTC)
    made = costs(
        [charge(), monthly],
        nodes=[node(), metal],
        links=[link(), link("b2")],
        start=NEXT,
        end=after_next,
        now=NEXT + HOUR,
    )
    rates = dict(made.filter("is_estimated").select("node", "billed_cost").iter_rows())
    assert rates == {"a1": Decimal(1), "b2": Decimal(1)}
    dearer = monthly | {"BilledCost": Decimal(1488), "EffectiveCost": Decimal(1488)}
    made = costs(
        [charge(), dearer], nodes=[node(), metal], links=[link(), link("b2")], start=NEXT, end=after_next,
        now=NEXT + HOUR,
    )  # fmt: skip
    assert dict(made.select("node", "billed_cost").iter_rows()) == {"a1": Decimal(1), "b2": Decimal(2)}


def test_usage_of_a_month_that_was_over_when_it_was_billed_ends_estimates() -> None:
    """Nobody waits for an hour of March that a bill of April, with all of March, does not have."""
    transfer = charge(1, ResourceId="transfer", BilledCost=Decimal(310), ChargePeriodEnd=NEXT)
    made = costs([charge(), transfer], nodes=[node()], links=[link()], now=NEXT + HOUR)
    assert made.filter("is_estimated").is_empty()


def test_a_bill_of_whole_months_alone_is_complete_until_it_was_delivered() -> None:
    monthly = charge(ResourceId="x", BilledCost=Decimal(310), ChargePeriodEnd=NEXT)
    delivered = imports_of(rows(FocusCharge, [monthly]), imported_at=at(5))
    february = datetime(2026, 2, 1, tzinfo=UTC)
    made = costs([monthly], nodes=[node()], prices=[price("98.32", february)], imports=delivered, now=at(5, 2))
    assert made.filter("is_estimated")["hour_start"].to_list() == [at(5, 0), at(5, 1)]


def test_a_node_of_half_an_hour_carries_its_charges_and_is_estimated_for_what_it_was() -> None:
    half = node("b2", start=at(1, 10, 10), end=at(1, 10, 40))
    hourly = charge(ResourceId="i-b2", ChargePeriodStart=at(1, 10), ChargePeriodEnd=at(1, 11), BilledCost=Decimal(8))
    made = costs([hourly], nodes=[half], links=[link("b2")])
    assert made.select("node", "hour_start", "billed_cost").rows() == [("b2", at(1, 10), Decimal(8))]
    daily = costs([charge(ResourceId="i-b2", BilledCost=Decimal(8))], nodes=[half], links=[link("b2")])
    assert daily.select("node", "hour_start", "billed_cost").rows() == [("b2", at(1, 10), Decimal(8))]
    late = node("b2", start=at(2, 0, 10), end=at(2, 0, 40))
    made = costs([charge()], nodes=[node(end=at(2)), late], links=[link()], now=at(2, 2)).filter("is_estimated")
    assert made.select("node", "hour_start", "billed_cost").rows() == [("b2", at(2), Decimal("0.5"))]


def test_a_charge_of_nothing_has_its_hours() -> None:
    free = charge(BilledCost=Decimal(0), ListCost=Decimal(48))
    made = costs([free], nodes=[node(end=at(1, 2))], links=[link()])
    assert made.select("billed_cost", "effective_cost", "list_cost").rows() == [(0, 0, 24), (0, 0, 24)]


def test_months_of_bills_need_not_be_those_of_the_calendar_nor_of_utc() -> None:
    """A billing period that begins at midnight in California, and one from the 15th on: each is booked in itself."""
    california = {
        "BillingPeriodStart": datetime(2026, 3, 1, 8, tzinfo=UTC),
        "BillingPeriodEnd": datetime(2026, 4, 1, 7, tzinfo=UTC),
        "ChargeCategory": "Tax",
    }
    early = charge(ChargePeriodStart=at(1), ChargePeriodEnd=at(2), **california)
    assert costs([early])["hour_start"].to_list() == [at(1, 8)], "before its period: at the period's start"
    last = charge(ChargePeriodStart=NEXT + 6 * HOUR, ChargePeriodEnd=NEXT + 7 * HOUR, **california)
    assert costs([last])["hour_start"].to_list() == [NEXT + 6 * HOUR]
    fifteenth = {"BillingPeriodStart": at(15), "BillingPeriodEnd": datetime(2026, 4, 15, tzinfo=UTC)}
    april = datetime(2026, 4, 10, tzinfo=UTC)
    made = costs([charge(ChargePeriodStart=april, ChargePeriodEnd=april + 24 * HOUR, **fifteenth)])
    assert made["hour_start"].min() == april
    assert made["billing_period_start"].unique().to_list() == [at(15)]
    assert total(made) == 24


AMOUNTS = st.integers(min_value=-(10**28), max_value=10**28).map(lambda units: Decimal(units).scaleb(-18))
SMALL = st.one_of(
    AMOUNTS, st.integers(-(10**6), 10**6).map(lambda units: Decimal(units).scaleb(-18)), st.just(Decimal(0))
)


@st.composite
def charges(draw: st.DrawFn, index: int) -> dict[str, Any]:
    start = at(1) + timedelta(minutes=draw(st.integers(-3 * 1440, 20 * 1440)))
    billed = draw(SMALL)
    month = draw(st.sampled_from([MONTH, NEXT]))
    return charge(
        index,
        BilledCost=billed,
        EffectiveCost=draw(st.one_of(st.none(), st.just(billed), SMALL)),
        ListCost=draw(st.one_of(st.none(), SMALL)),
        ChargePeriodStart=start,
        ChargePeriodEnd=start + timedelta(minutes=draw(st.sampled_from([0, 7, 60, 61, 1440, 5000, 44640]))),
        ChargeCategory=draw(st.sampled_from(["Usage", "Usage", "Usage", "Purchase", "Tax", "Credit", "Adjustment"])),
        ChargeClass=draw(st.sampled_from([None, None, "Correction"])),
        CommitmentDiscountStatus=draw(st.sampled_from([None, "Used", "Unused"])),
        ResourceId=draw(st.sampled_from([None, "i-a1", "I-A1", "i-b2", "vol-1"])),
        BillingPeriodStart=month,
        BillingPeriodEnd=NEXT if month == MONTH else datetime(2026, 5, 1, tzinfo=UTC),
        BillingCurrency=draw(st.sampled_from(["USD", "JPY"])),
        ServiceCategory=draw(st.sampled_from([None, "Compute", "Storage"])),
        SkuId=draw(st.sampled_from([None, "p5.48xlarge"])),
    )


@st.composite
def bills(draw: st.DrawFn) -> list[dict[str, Any]]:
    return [draw(charges(index)) for index in range(draw(st.integers(0, 8)))]


def inventory(minutes: tuple[int, int, int]) -> dict[str, Any]:
    first, second, third = (at(1) + timedelta(minutes=each) for each in minutes)
    return {
        "nodes": [node(end=first), node(start=first + HOUR), node("b2", end=second), node("e5")],
        "links": [link(), link("b2", end=third), link("b2", "i-a1", start=third)],
    }


def of_account(number: int, row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a bill, or of its cluster, as one of another account with resources of its own."""
    for name in ("ResourceId", "resource_id", "provider_instance_id"):
        if row.get(name):
            row[name] = f"{row[name]}-{number}"
    own = {"BillingAccountId": f"acct-{number}", "row_index": 100 * number + row.get("row_index", 0)}
    return row | (own if "BilledCost" in row else {"cluster": f"c{number}"})


ACCOUNTS = 4
"""So many bills are computed in one call, since most of a call's time does not depend on its rows."""

ESTATE = st.tuples(*[st.tuples(bills(), st.tuples(*[st.integers(1, 20 * 1440)] * 3))] * ACCOUNTS)


@settings(max_examples=-(-settings().max_examples // ACCOUNTS))
@given(ESTATE, st.integers(0, 2**32))
def test_sums_are_those_of_the_bill_in_any_order_and_month_by_month(
    estate: tuple[tuple[list[dict[str, Any]], tuple[int, int, int]], ...], seed: int
) -> None:
    span = {"end": datetime(2026, 5, 1, tzinfo=UTC), "now": at(25)}
    bill = [of_account(number, each) for number, (charges, _) in enumerate(estate) for each in charges]
    there = [inventory(minutes) for _, minutes in estate]
    around = {
        name: [of_account(number, row) for number, each in enumerate(there) for row in each[name]]
        for name in ("nodes", "links")
    }
    inputs = cost_inputs(bill, **around)
    made = costs_of(inputs, **span)
    for column, name in (("billed_cost", "BilledCost"), ("effective_cost", "EffectiveCost"), ("list_cost", "ListCost")):
        expected: dict[tuple[object, ...], list[Decimal]] = {}
        for each in bill:
            if each.get(name) is not None:
                key = (each["BillingAccountId"], each["BillingPeriodStart"], each["BillingCurrency"])
                expected.setdefault(key, []).append(each[name])
        parts = made.filter(~pl.col("is_estimated")).partition_by(
            "billing_account_id", "billing_period_start", "billing_currency", as_dict=True
        )
        ours = {key: total(part, column) for key, part in parts.items() if part[column].count()}
        assert ours == {key: money.add(*amounts) for key, amounts in expected.items()}
    assert costs_of(mixed(inputs, seed), **span).equals(made)
    apart = [costs_of(inputs, **{**span, "end": NEXT}), costs_of(inputs, **{**span, "start": NEXT})]
    assert pl.concat(apart).sort(made.columns[:15]).equals(made.sort(made.columns[:15]))


def _spec_rows(path: Path) -> list[dict[str, Any]]:
    with path.open() as lines:
        return [
            charge(
                index,
                BilledCost=Decimal(row["BilledCost"]),
                EffectiveCost=Decimal(row["EffectiveCost"]),
                BillingPeriodStart=datetime.fromisoformat(row["BillingPeriodStart"]),
                BillingPeriodEnd=datetime.fromisoformat(row["BillingPeriodEnd"]),
                ChargePeriodStart=datetime.fromisoformat(row["ChargePeriodStart"]),
                ChargePeriodEnd=datetime.fromisoformat(row["ChargePeriodEnd"]),
                ChargeCategory=row["ChargeCategory"],
                ResourceId=row["ResourceId"],
                CommitmentDiscountId=row["CommitmentDiscountId"],
                CommitmentDiscountStatus=None
                if row["CommitmentDiscountStatus"] == "null"
                else row["CommitmentDiscountStatus"],
            )
            for index, row in enumerate(csv.DictReader(lines))
        ]


@pytest.mark.real_data
def test_commitments_amortise_to_what_was_bought_in_the_examples_of_focus(shared_data: Path) -> None:
    january = {"start": datetime(2023, 1, 1, tzinfo=UTC), "end": datetime(2023, 2, 1, tzinfo=UTC)}
    paths = sorted((shared_data / "billing/focus/spec_examples").glob("*.csv"))
    assert len(paths) == 8
    bought = 0
    for path in paths:
        bill = _spec_rows(path)
        made = costs(bill, **january)
        assert total(made) == sum((each["BilledCost"] for each in bill), Decimal(0)), path.name
        covered = made.filter(pl.col("commitment_status").is_in(["Used", "Unused"]))
        purchases = made.filter(pl.col("charge_category") == "Purchase")
        assert total(purchases, "effective_cost") == 0
        if purchases.height:
            bought += 1
            assert total(covered, "effective_cost") == total(purchases), path.name
    assert bought == 4
