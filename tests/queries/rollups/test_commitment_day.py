"""What was bought in advance is used or wasted, to the last digit, and the rest could have been covered."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.billing._read import read_bill
from collectors.simulate import bills, plan
from collectors.simulate.charges import COMMITTED_RATE
from ledger import money
from ledger.money_sections import MoneySettings, ScopeSettings
from ledger.tables import BillImport, CommitmentDay, FocusCharge, NodeResource
from queries.graph import Span
from queries.rollups.commitment_day import commitment_day
from tests.bills import HOUR, MONTH, NEXT, at, charge, imports_of, link, rows
from tests.frames import validated

PLAN = "arn:Plan-1"
YEAR_LATER = datetime(2027, 3, 1, tzinfo=UTC)
SERVER = {"ServiceCategory": "Compute", "SkuPriceDetails": '{"InstanceType": "p5.48xlarge"}', "RegionId": "us-east-1"}


def days(
    charges: pl.DataFrame,
    *,
    imports: pl.DataFrame | None = None,
    links: tuple[dict[str, Any], ...] = (),
    settings: MoneySettings | None = None,
    start: datetime = MONTH,
    end: datetime = NEXT,
) -> pl.DataFrame:
    made = commitment_day.function(
        charges=charges.lazy(),
        imports=(imports_of(charges) if imports is None else imports).lazy(),
        resources=rows(NodeResource, links).lazy(),
        span=Span(start, end, end),
        settings=settings or MoneySettings(),
    )
    return validated(CommitmentDay, made.collect())


def committed(index: int, status: str | None, effective: str, when: datetime, **given: Any) -> dict[str, Any]:
    return charge(
        index,
        BilledCost=Decimal(0),
        EffectiveCost=Decimal(effective),
        ChargePeriodStart=when,
        ChargePeriodEnd=when + HOUR,
        CommitmentDiscountId=PLAN,
        CommitmentDiscountStatus=status,
        PricingCategory="Committed",
        **(SERVER | given),
    )


def purchase(index: int, billed: str, **given: Any) -> dict[str, Any]:
    row = charge(
        index,
        ChargeCategory="Purchase",
        BilledCost=Decimal(billed),
        EffectiveCost=Decimal(0),
        ChargePeriodEnd=YEAR_LATER,
        CommitmentDiscountId=PLAN.upper(),
        CommitmentDiscountName="a year of p5",
        CommitmentDiscountType="Compute Savings Plans",
        ResourceId=PLAN,
    )
    return row | given


def on_demand(index: int, cost: str, when: datetime, length: timedelta = HOUR, **given: Any) -> dict[str, Any]:
    return charge(
        index,
        BilledCost=Decimal(cost),
        ListCost=Decimal(cost) * 2,
        ChargePeriodStart=when,
        ChargePeriodEnd=when + length,
        **({"PricingCategory": "Standard"} | SERVER | given),
    )


def one(made: pl.DataFrame, **wanted: object) -> dict[str, Any]:
    return made.filter(pl.col(name) == value for name, value in wanted.items()).row(0, named=True)


def test_a_day_of_a_plan_that_is_used_for_three_quarters() -> None:
    """The vector of the FOCUS specification: 52.40 an hour, paid for a year of 8,760 hours at once."""
    hours = [committed(hour, "Used" if hour < 18 else "Unused", "52.40", at(1, hour)) for hour in range(24)]
    made = days(rows(FocusCharge, [*hours, purchase(24, "459024")]))
    used = one(made, instance_type="p5.48xlarge")
    assert (used["used_cost"], used["unused_cost"]) == (Decimal("943.20"), Decimal("314.40"))
    assert used["commitment_name"] == "a year of p5"
    bought = one(made, instance_type="")
    assert bought["purchased_cost"] == Decimal(459_024) == Decimal("52.40") * 8760
    assert (bought["term_start"], bought["term_end"]) == (at(1), YEAR_LATER)
    assert made["commitment_id"].unique().to_list() == [PLAN.lower()]


@given(
    st.lists(st.sampled_from(("Used", "Unused", "both")), min_size=8, max_size=8),
    st.decimals("0.0000000001", "10000", places=10),
)
def test_over_its_term_used_and_unused_sum_to_what_was_bought(hours: list[str], price: Decimal) -> None:
    """FOCUS's identity, on a commitment of eight hours: nothing of its price is lost, none is counted twice."""
    charges = []
    for index, status in enumerate(hours):
        amount = money.spread(price, index, index + 1, len(hours))
        parts = {"both": (("Used", amount - amount / 4), ("Unused", amount / 4))}.get(status, ((status, amount),))
        for name, part in parts:
            charges.append(committed(len(charges), name, str(part), at(1, 20) + index * HOUR))
    charges.append(purchase(len(charges), str(price), ChargePeriodStart=at(1, 20), ChargePeriodEnd=at(2, 4)))
    made = days(rows(FocusCharge, charges))
    total = money.add(*made["used_cost"].drop_nulls(), *made["unused_cost"].drop_nulls())
    assert total == money.add(*(row["EffectiveCost"] for row in charges))
    assert abs(total - price) <= len(charges) * Decimal(1).scaleb(-18)
    assert money.add(*made["purchased_cost"].drop_nulls()) == price


def test_what_on_demand_could_be_covered_is_the_cheapest_hour() -> None:
    hourly = [on_demand(hour, "10" if hour % 2 else "4", at(5, hour)) for hour in range(24)]
    whole_day = on_demand(24, "48", at(5), timedelta(days=1), ResourceId="i-b2")
    partial = [on_demand(25 + hour, "7", at(6, hour)) for hour in range(23)]
    made = days(rows(FocusCharge, [*hourly, whole_day, *partial]))
    full, short = one(made, day=date(2026, 3, 5)), one(made, day=date(2026, 3, 6))
    assert full["on_demand_cost"] == Decimal(12 * 14 + 48)
    assert full["on_demand_list_cost"] == full["on_demand_cost"] * 2
    assert full["lowest_hour_cost"] == Decimal(4 + 2)
    assert (short["on_demand_cost"], short["lowest_hour_cost"]) == (Decimal(161), Decimal(0))


def test_spot_owned_foreign_and_other_services_could_not_be_covered() -> None:
    charges = rows(
        FocusCharge,
        [
            on_demand(0, "1", at(5), PricingCategory="Dynamic"),
            on_demand(1, "2", at(5), ServiceCategory="Storage"),
            on_demand(2, "4", at(5), BillingAccountId="other", ResourceId="vm-9"),
            on_demand(3, "8", at(5), ChargeClass="Correction"),
            on_demand(4, "16", at(5), BillingAccountId="other"),
            on_demand(5, "32", at(5), import_id="owned"),
        ],
    )
    imports = imports_of(charges).with_columns(
        pl.when(pl.col("import_id") == "owned").then(pl.lit("on_premises")).otherwise("format").alias("format")
    )
    settings = MoneySettings(scope=ScopeSettings(accounts=("acct",)))
    made = days(charges, imports=imports, links=(link("a1"),), settings=settings)
    assert made["on_demand_cost"].to_list() == [Decimal(16)], "a node of ours is, in whatever account"


def test_an_unknown_cost_is_null_and_no_row_is_made_of_nothing() -> None:
    made = days(rows(FocusCharge, [committed(0, "Used", "1", at(1)) | {"EffectiveCost": None}]))
    assert made["used_cost"].to_list() == [None]
    assert made["covered_list_cost"].to_list() == [None]
    assert days(rows(FocusCharge, [])).is_empty()


def test_a_cost_that_the_bill_does_not_state_is_counted_beside_those_that_it_does() -> None:
    """Of three unused hours one has no cost; so has a used day that begins at noon, which touches two days."""
    unknown = {"EffectiveCost": None}
    charges = [
        committed(0, "Unused", "4", at(1)),
        committed(1, "Unused", "4", at(1, 1)) | unknown,
        committed(2, "Unused", "4", at(1, 2)),
        committed(3, "Used", "8", at(1, 12), ListCost=Decimal(9)) | unknown | {"ChargePeriodEnd": at(2, 12)},
        committed(4, "Used", "8", at(2), ListCost=Decimal(9)),
        committed(5, "Used", "8", at(2, 1)) | {"ListCost": None},
    ]
    made = days(rows(FocusCharge, charges))
    first, second = one(made, day=date(2026, 3, 1)), one(made, day=date(2026, 3, 2))
    counts = [name for name in CommitmentDay.column_names() if name.endswith("_count")]
    assert [first[name] for name in counts] == [1, 1, 1, 1, 0]
    assert [second[name] for name in counts] == [1, 0, 0, 0, 1]
    assert (first["unused_cost"], first["used_cost"]) == (8, None)
    assert (second["unused_cost"], second["used_cost"], second["covered_list_cost"]) == (None, 16, 13.5)
    assert days(rows(FocusCharge, charges[2:3]))[counts].row(0) == (0, 0, 0, 0, 0), "known: none is without"


def test_a_reservation_of_capacity_is_a_commitment() -> None:
    block = {"CommitmentDiscountId": None, "CommitmentDiscountStatus": None, "CapacityReservationId": "CR-1"}
    made = days(
        rows(
            FocusCharge,
            [
                committed(0, None, "3", at(1)) | block | {"CapacityReservationStatus": "Used"},
                committed(1, None, "5", at(1, 1)) | block | {"CapacityReservationStatus": "Unused"},
            ],
        )
    )
    row = one(made, commitment_id="cr-1")
    assert (row["used_cost"], row["unused_cost"]) == (Decimal(3), Decimal(5))


def test_months_apart_and_any_order_give_the_same() -> None:
    after_next = datetime(2026, 5, 1, tzinfo=UTC)
    april = {"BillingPeriodStart": NEXT, "BillingPeriodEnd": after_next}
    charges = rows(
        FocusCharge,
        [
            *(committed(hour, "Used", "1.000000000000000001", at(31, hour)) for hour in range(5)),
            on_demand(5, "10", at(31), timedelta(hours=7)),
            on_demand(6, "10", NEXT, timedelta(hours=7), **april),
        ],
    )
    both = days(charges, end=after_next)
    apart = [days(charges), days(charges, start=NEXT, end=after_next)]
    assert both.equals(pl.concat(apart))
    assert both.equals(days(charges.reverse(), end=after_next))


GOLDENS = {
    "commitment_discount_usage_scenario_1": ("1", None, None),
    "commitment_discount_usage_scenario_2": (None, "1", None),
    "commitment_discount_usage_scenario_3": ("0.75", "0.25", None),
    "commitment_discount_usage_scenario_4": ("1", None, "0.5"),
    "one_hundred_percent_utilization_with_commitment_discount_flexibility_with_1_resource": ("0.5", None, "2.25"),
    "one_hundred_percent_utilization_with_commitment_discount_flexibility_with_2_resources": ("2", None, None),
    "one_hundred_percent_utilization_without_commitment_discount_flexibility": ("1.5", None, None),
    "zero_percent_utilization_without_commitment_discount_flexibility": (None, "1.5", "2"),
}
"""The worked examples of FOCUS: EffectiveCost that was used, that was not, and of what no commitment covered."""


@pytest.mark.real_data
@pytest.mark.parametrize("name", GOLDENS)
def test_the_examples_of_the_specification(name: str, shared_data: Path) -> None:
    path = shared_data / "billing/focus/spec_examples" / f"{name}.csv"
    stated = {
        "BillingAccountId": "a",
        "BillingCurrency": "USD",
        "ServiceProviderName": "P",
        "ServiceCategory": "Compute",
        "ServiceName": "VM",
    }
    read = read_bill(path, defaults=stated)
    assert not read.rejected
    charges = FocusCharge.cast(read.tables[FocusCharge])
    january = datetime(2023, 1, 1, tzinfo=UTC)
    made = days(charges, imports=BillImport.cast(read.imports), start=january, end=january + timedelta(days=31))
    found = tuple(money.total(made[each]) for each in ("used_cost", "unused_cost", "on_demand_cost"))
    assert found == tuple(None if each is None else Decimal(each) for each in GOLDENS[name])
    bought = money.total(made["purchased_cost"])
    if bought is not None:
        assert bought == money.add(*(each for each in found[:2] if each is not None)), "the term is this one hour"


def test_each_whole_day_of_the_demos_commitment_costs_what_was_bought_for_it(tmp_path: Path) -> None:
    """A year for two servers, of which one leaves: what it leaves unused is waste, and no hour of it is lost."""
    cluster = plan(48, 6, 7, datetime(2026, 11, 20, 6, 0, tzinfo=UTC))
    paths = [path for path in bills(cluster, tmp_path) if path.name.startswith("aws") and "demand" not in path.name]
    read = [read_bill(path) for path in paths]
    charges = pl.concat([FocusCharge.cast(each.tables[FocusCharge]) for each in read])
    imports = pl.concat([BillImport.cast(each.imports) for each in read])
    november = datetime(2026, 11, 1, tzinfo=UTC)
    made = days(charges, imports=imports, start=november, end=datetime(2026, 12, 1, tzinfo=UTC))
    plans = made.filter(pl.col("commitment_id") != "")
    sums = money.summed(plans.sort("day"), by=["day"], columns=["used_cost", "unused_cost", "purchased_cost"])
    daily = [money.add(row["used_cost"], row["unused_cost"] or Decimal(0)) for row in sums.iter_rows(named=True)]
    assert daily[1:-1] == [2 * 24 * COMMITTED_RATE] * (len(daily) - 2)
    assert len(daily) > 3
    assert money.total(sums["unused_cost"]) not in {None, Decimal(0)}
    bought = plans.filter(pl.col("purchased_cost").is_not_null()).row(0, named=True)
    assert bought["purchased_cost"] == 2 * 8760 * COMMITTED_RATE
    assert bought["term_end"] - bought["term_start"] == timedelta(hours=8760)
