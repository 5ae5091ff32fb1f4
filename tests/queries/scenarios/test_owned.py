"""What a server costs to have, and from which use on it pays: by hand."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any

from queries.scenarios.owned import Server, break_even, exchanged, from_asset

SERVER = Server(
    name="EL-1", billing_currency="EUR", gpu_count=8, purchase_cost=Decimal(300_000), residual_cost=Decimal(12_000),
    financing_cost=Decimal(24_000), life_months=Fraction(48), watts=Decimal(10_000), pue_ratio=Decimal("1.25"),
    energy_price=Decimal("0.20"), space_month_cost=Decimal(400), staff_month_cost=Decimal(600),
    support_month_cost=Decimal(1_000), source="inventory, EL-1",
)  # fmt: skip


def test_a_month_is_the_sum_of_its_parts() -> None:
    assert SERVER.parts() == {
        "depreciation": 6_000,  # (300,000 - 12,000) / 48
        "financing": 500,  # 24,000 / 48
        "energy": 1_825,  # 10 kW x 730 h x 1.25 x 0.20
        "space": 400,
        "staff": 600,
        "support": 1_000,
    }
    assert SERVER.month_cost == Decimal(10_325)
    assert SERVER.missing == []


def test_what_nobody_states_is_told_and_not_zero() -> None:
    bare = replace(SERVER, energy_price=None, financing_cost=None, support_month_cost=None)
    assert bare.missing == ["energy", "financing", "support"]
    assert bare.month_cost == Decimal(7_000)


def test_break_even_is_owned_a_month_against_the_cloud_for_all_its_hours() -> None:
    # 10,325 / (2.50 x 8 x 730) = 10,325 / 14,600
    assert break_even(SERVER.month, 8, Fraction("2.50")) == Fraction(10_325, 14_600)
    assert break_even(Fraction(14_600), 8, Fraction("2.50")) == 1
    assert break_even(Fraction(29_200), 8, Fraction("2.50")) == 2, "above 1 renting is cheaper around the clock"


def test_at_break_even_owning_costs_what_renting_does() -> None:
    ratio = break_even(SERVER.month, 8, Fraction("2.50"))
    assert ratio * 730 * 8 * Fraction("2.50") == SERVER.month


def test_a_server_in_another_currency_costs_as_much() -> None:
    dollars = exchanged(SERVER, "USD", Fraction("1.1"))
    assert dollars.billing_currency == "USD"
    assert dollars.purchase_cost == Decimal(330_000)
    assert dollars.month == SERVER.month * Fraction("1.1")


def asset(**given: Any) -> dict[str, Any]:
    row = {
        "asset_id": "EL-1", "billing_currency": "EUR", "purchase_cost": Decimal(300_000), "residual_cost": None,
        "financing_cost": None, "life_start": date(2026, 1, 1), "life_end": date(2030, 1, 1), "gpu_count": 8,
        "power_watts": 10_200.0, "host_power_watts": None, "pue_ratio": 1.25, "energy_price": Decimal("0.2"),
        "space_month_cost": None, "staff_month_cost": None, "support_month_cost": None,
    }  # fmt: skip
    return row | given


def test_measured_power_goes_before_rated() -> None:
    rated = from_asset(asset(), 400.0)
    assert (rated.watts, rated.power_evidence) == (Decimal("10200.0"), "rated")
    measured = from_asset(asset(host_power_watts=1_500.0), 400.0)
    assert (measured.watts, measured.power_evidence) == (Decimal("4700.0"), "measured")
    assert from_asset(asset(host_power_watts=1_500.0), None).power_evidence == "rated"


def test_four_years_are_48_months_of_the_calendar() -> None:
    life = from_asset(asset(), None).life_months
    # 1,461 days of 365.2425 a year.
    assert life == Fraction(1461 * 12 * 10_000, 3_652_425)
    assert abs(life - 48) < Fraction(1, 500)
