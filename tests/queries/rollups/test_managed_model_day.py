"""Models of managed services: their charges by day and owner, summing to the bill, in tokens where it counts them."""

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import money
from ledger.money_sections import MoneySettings
from ledger.tables import FocusCharge, ManagedModelDay
from queries.graph import Span
from queries.rollups.managed_model_day import managed_model_day
from tests.bills import HOUR, MONTH, NEXT, at, charge, costs, imports_of, rows
from tests.frames import validated

UNIT = Decimal(1).scaleb(-18)
OWNED = MoneySettings.model_validate({"owners": [{"team": "red", "field": "tag", "value": "team=red"}]})


def tokens(index: int = 0, model: str = "claude-3", direction: str = "Input", **given_: Any) -> dict[str, Any]:
    details = {"ModelId": model, **({"TokenDirection": direction} if direction else {})}
    said = {"ConsumedQuantity": Decimal(1000), "ConsumedUnit": "1K", "SkuPriceDetails": json.dumps(details)}
    return charge(index, **{**said, "ServiceName": "Bedrock", **given_})


def made(charges: list[dict[str, Any]], settings: MoneySettings = OWNED, status: str = "current") -> pl.DataFrame:
    bills = rows(FocusCharge, charges)
    found = managed_model_day.function(
        bills.filter(pl.col("SkuPriceDetails").fill_null("").str.contains("ModelId")).lazy(),
        imports_of(bills, status=status).lazy(),
        Span(MONTH, NEXT, NEXT),
        settings,
    )
    return validated(ManagedModelDay, found.collect())


AMOUNT = st.integers(-(10**30), 10**30).map(lambda units: units * UNIT)
CHARGES = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(["a", "b"]),
            "direction": st.sampled_from(["Input", "Output", ""]),
            "BilledCost": AMOUNT,
            "EffectiveCost": st.none() | AMOUNT,
            "ConsumedQuantity": st.none() | st.integers(0, 10**24).map(lambda units: units * UNIT),
            "ConsumedUnit": st.sampled_from(["1K", "Tokens", "Hrs", None]),
            "ChargeCategory": st.sampled_from(["Usage", "Credit", "Purchase"]),
            "ChargePeriodStart": st.integers(-50, 700).map(lambda hours: MONTH + hours * HOUR),
            "Tags": st.sampled_from(['{"team": "red"}', None]),
        }
    ),
    max_size=8,
)


@given(CHARGES)
def test_days_sum_to_the_charges_exactly(drawn: list[dict[str, Any]]) -> None:
    charges = [
        tokens(index, **{**each, "ChargePeriodEnd": each["ChargePeriodStart"] + timedelta(hours=30)})
        for index, each in enumerate(drawn)
    ]
    found = made(charges)
    for name, column in (("BilledCost", "billed_cost"), ("EffectiveCost", "effective_cost"),
                         ("ConsumedQuantity", "consumed_unit_count")):  # fmt: skip
        known = [each[name] for each in charges if each[name] is not None]
        assert money.add(*found[column].drop_nulls()) == money.add(*known)
    assert made(charges[::-1]).equals(found)


def test_what_names_a_model_is_part_of_the_same_costs() -> None:
    """The costs of the ledger hold the charge once: a rollup of names adds nothing to them."""
    charges = [tokens(), charge(1)]
    found, whole = made(charges), costs(charges)
    assert found["billed_cost"].sum() == Decimal(24)
    assert whole["billed_cost"].sum() == Decimal(48)


@pytest.mark.parametrize(
    ("unit", "direction", "expected"),
    [
        ("1K", "Input", 1_000_000),
        ("1K tokens", "", 1_000_000),
        ("1M Tokens", "Output", 1_000_000_000),
        ("Tokens", "", 1000),
        ("1000 tokens", "", 1_000_000),
        ("count", "Input", 1000),
        ("Characters", "Input", None),
        ("Hrs", "", None),
        ("1K", "", None),
        ("", "Input", 1000),
    ],
)
def test_quantities_are_told_in_tokens_where_the_bill_counts_them(
    unit: str, direction: str, expected: int | None
) -> None:
    (row,) = made([tokens(direction=direction, ConsumedUnit=unit or None)]).to_dicts()
    assert row["token_count"] == (None if expected is None else Decimal(expected))
    assert row["consumed_unit_count"] == Decimal(1000)


def test_usage_is_spread_over_its_days_and_the_rest_booked_whole() -> None:
    usage = tokens(0, ChargePeriodStart=at(1, 12), ChargePeriodEnd=at(2, 12))
    tax = tokens(1, ChargeCategory="Tax", ChargePeriodStart=MONTH - 2 * HOUR, ChargePeriodEnd=at(3), ServiceName="Tax")
    found = made([usage, tax])
    assert found.select("day", "service_name", "billed_cost").rows() == [
        (date(2026, 3, 1), "Bedrock", Decimal(12)),
        (date(2026, 3, 1), "Tax", Decimal(24)),
        (date(2026, 3, 2), "Bedrock", Decimal(12)),
    ]


def test_the_owner_is_whom_its_tags_name_and_a_waiting_bill_counts_nothing() -> None:
    found = made([tokens(0, Tags='{"team": "red"}'), tokens(1, Tags='{"team": "blue"}')])
    assert sorted(found["team"]) == ["", "red"]
    assert made([tokens()], status="waiting").is_empty()
    assert made([charge()]).is_empty()
