"""The same work in all ways: each cost by hand, nothing unpriced counted as 0, and assumptions that change it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import polars as pl
import pytest

from ledger.money import MONEY
from queries.scenarios import frames
from queries.scenarios.demand import HOUR_MS, Demand
from queries.scenarios.offers import Offer
from queries.scenarios.options import Assumptions, Option
from queries.scenarios.owned import Server
from queries.scenarios.scenario import Scenario, scenario
from queries.scenarios.work import Cost, Work, works

DAY = date(2026, 11, 20)
HOURS = 10
# Ten hours: sixteen GPUs in four of them and eight in six, as in the tests of the base.
HELD = Demand(tuple(each * HOUR_MS for each in [16] * 4 + [8] * 6))
START = datetime(2026, 11, 1, tzinfo=UTC)


def cost(amount: str | None = "146", **given: Any) -> Cost:
    known = {"committed_cost": None, "owned_cost": None, "estimated_cost": None, "unknown_count": 0}
    costed = 16 * HOURS * HOUR_MS
    return Cost(
        given.pop("billing_currency", "USD"),
        None if amount is None else Decimal(amount),
        **(known | given),
        costed_ms=costed,
    )


def work(**given: Any) -> Work:
    costs = given.get("costs", (cost(),))
    row: dict[str, Any] = {
        "provider": "AWS", "region": "us-east-1", "instance_type": "p5", "gpu_model": "NVIDIA H100 80GB HBM3",
        "gpu_count": 8, "memory_bytes": 80e9, "existing": Demand((16 * HOUR_MS,) * HOURS), "held": HELD,
        "productive": Demand((4 * HOUR_MS,) * HOURS), "starts": (), "peak_memory_bytes": 60e9, "gpu_watts": 500.0,
        "costs": costs, "currency": costs[0].billing_currency if costs else "",
    }  # fmt: skip
    return Work(**(row | given))


def offer(price: str = "10", **given: Any) -> Offer:
    amount = Decimal(price)
    row: dict[str, Any] = {
        "provider": "AWS", "region": "us-east-1", "instance_type": "p5", "category": "on_demand",
        "billing_currency": "USD", "unit_price": amount, "price": Fraction(amount), "gpu_count": 8,
        "accelerator": "H100", "memory_bytes": 80e9, "priced_on": DAY, "source": "list aws.csv",
    }  # fmt: skip
    return Offer(**(row | given))


SERVER = Server(
    name="EL-1", billing_currency="USD", gpu_count=8, purchase_cost=Decimal(52_560), residual_cost=None,
    financing_cost=None, life_months=Fraction(12), watts=None, pue_ratio=None, energy_price=None,
    space_month_cost=None, staff_month_cost=None, support_month_cost=None, source="inventory, EL-1",
)  # fmt: skip
"""4,380 a month: six an hour."""


def same(currency: str, on: date) -> Fraction | None:
    del on
    return Fraction(1) if currency == "USD" else None


def made(
    *offered: Offer,
    of: Work | None = None,
    interrupted: str | None = None,
    worth: Callable[[str, date], Fraction | None] = same,
    **assumed: Any,
) -> Scenario:
    lost = None if interrupted is None else Decimal(interrupted)
    return scenario(of or work(), offered, Assumptions(**assumed), lost, worth, DAY)


def of_kind(found: Scenario, kind: str) -> list[Option]:
    return [each for each in found.options if each.kind == kind and not each.is_price_assumed]


def test_what_there_is_now_in_an_average_month() -> None:
    found = made(offer())
    # 146 in ten hours; renting all 160 GPU-hours would cost 20 server-hours at 10.
    assert found.now.month_cost == Decimal(146 * 73)
    assert found.now.break_even == Fraction(146, 200)
    assert found.work.held_ratio == Fraction(112, 160)


def test_renting_pays_whole_servers_in_each_hour() -> None:
    (rent,) = of_kind(made(offer()), "rent")
    assert rent.month_cost == Decimal(140 * 73), "14 server-hours at 10"
    assert made(offer()).saving(rent) == Decimal(6 * 73)


@pytest.mark.parametrize(("basis", "server_hours"), [("held", 14), ("existing", 20), ("productive", 10)])
def test_what_counts_as_work_is_chosen(basis: str, server_hours: int) -> None:
    (rent,) = of_kind(made(offer(), basis=basis), "rent")
    assert rent.month_cost == Decimal(server_hours * 10 * 73)


def test_a_commitment_takes_the_base_that_costs_the_least() -> None:
    found = made(offer(), offer("6", category="committed", source="bill, committed"))
    (bound,) = of_kind(found, "commit")
    # One server at 6 in ten hours, and one at 10 in four.
    assert (bound.base_count, bound.base_gpu_count, bound.month_cost) == (1, 8, Decimal(100 * 73))
    assert (bound.all_rented_cost, bound.all_base_cost) == (Decimal(140 * 73), Decimal(120 * 73))
    assert bound.break_even == Fraction(6, 10)
    assert found.best == bound


def test_a_discount_that_is_stated_counts_and_one_that_is_assumed_is_told() -> None:
    year, three = of_kind(made(offer(), one_year_discount=Decimal("0.4"), three_year_discount=Decimal("0.6")), "commit")
    assert year.month_cost == Decimal(100 * 73)
    assert "1 year cost 40% less than on demand (stated)" in year.assumptions
    assert three.month_cost == Decimal(80 * 73), "two servers at 4 cost what one at 4 and the rest at 10 does"
    assert three.base_count == 1
    nobody = made(offer())
    assumed = [each for each in nobody.options if each.is_price_assumed]
    assert [each.assumptions[-2] for each in assumed] == [
        "1 year cost 25% less than on demand (assumed)", "3 years cost 45% less than on demand (assumed)",
    ]  # fmt: skip
    assert min(each.month_cost or 0 for each in assumed) < Decimal(140 * 73)
    assert nobody.best is not None
    assert nobody.best.kind == "rent", "what nobody names a price for is never called the cheapest"


def test_owning_everything_and_owning_a_base() -> None:
    found = made(offer(), server=SERVER)
    whole, base = of_kind(found, "own")
    assert whole.name == "Buy 2 servers for everything"
    assert whole.month_cost == Decimal(8_760)
    assert base.name == "Buy 1 server, rent the rest"
    assert base.month_cost == Decimal(100 * 73)
    assert whole.break_even == base.break_even == Fraction(4_380, 10 * 730)
    assert "not stated and not in it: energy, financing, space, staff, support" in whole.assumptions


def test_owning_what_is_always_needed_leaves_nothing_to_rent() -> None:
    found = made(offer("100"), server=SERVER)
    (whole,) = of_kind(found, "own")
    assert whole.month_cost == Decimal(8_760)


def test_spot_does_again_what_was_interrupted() -> None:
    spot = offer("5", category="spot", source="list clouds.csv")
    measured = made(offer(), spot, interrupted="0.25", basis="existing")
    assert (measured.rerun_ratio, measured.is_rerun_measured) == (Decimal("0.25"), True)
    (option,) = of_kind(measured, "spot")
    assert option.month_cost == Decimal(3 * 10 * 5 * 73), "20 GPUs in each hour are three servers"
    assert not option.is_safe
    assert measured.best != option
    assert measured.best_risky == option
    assumed = made(offer(), spot)
    assert (assumed.rerun_ratio, assumed.is_rerun_measured) == (Decimal("0.10"), False)
    assert "10.0% of the work is done twice (assumed)" in of_kind(assumed, "spot")[0].assumptions
    stated = made(offer(), spot, interrupted="0.25", rerun_ratio=Decimal(0))
    assert of_kind(stated, "spot")[0].month_cost == Decimal(70 * 73)


def test_without_a_spot_price_there_is_none_but_one_that_is_stated() -> None:
    found = made(offer())
    assert not of_kind(found, "spot")
    assert "Spot" in {each.name for each in found.unpriced}
    (stated,) = of_kind(made(offer(), spot_discount=Decimal("0.5"), rerun_ratio=Decimal(0)), "spot")
    assert stated.month_cost == Decimal(70 * 73)
    assert "spot is 50% below on demand (assumed)" in stated.assumptions


def test_no_price_is_null_and_said_and_never_zero() -> None:
    found = made(of=work(costs=()))
    assert found.now.month_cost is None
    assert found.best is None
    assert {each.name for each in found.unpriced} == {"Spot", "Owned servers", "H100 on demand"}
    frame = frames.options(found)
    assert frame["month_cost"].to_list() == [None]
    assert frame["reason"].to_list() == ["no bill or estimate says what it costs"]
    assert frames.gpu_months(found).is_empty()


def test_amounts_of_two_currencies_are_not_added() -> None:
    found = made(offer(), of=work(costs=(cost(), cost(billing_currency="EUR"))))
    assert found.now.month_cost is None
    assert found.now.reason == "it is billed in several currencies"
    assert found.saving(of_kind(found, "rent")[0]) is None


def test_an_offer_without_an_exchange_rate_is_left_out() -> None:
    found = made(offer(), replace(offer("1"), price=None, billing_currency="JPY"))
    assert len(of_kind(found, "rent")) == 1
    owned = made(offer(), server=replace(SERVER, billing_currency="JPY"))
    assert not of_kind(owned, "own")
    assert ("Owned servers", "no exchange rate is known for JPY") in {
        (each.name, each.reason) for each in owned.unpriced
    }


def test_what_does_not_fit_the_measured_memory_is_not_priced() -> None:
    small = offer("1", memory_bytes=40e9, instance_type="small")
    found = made(offer(), small)
    reasons = {each.offer.instance_type: each.reason for each in of_kind(found, "rent") if each.offer}
    assert reasons == {"p5": "", "small": "does not fit: 56 GiB of memory were in use, it has 37"}
    assert found.rent == offer()
    assert {each.month_cost for each in of_kind(found, "rent")} == {None, Decimal(140 * 73)}


def test_another_gpu_takes_as_long_as_is_stated() -> None:
    a100 = offer("4", accelerator="A100", instance_type="p4d")
    assert of_kind(made(offer(), a100), "rent")[0].offer == offer(), "another GPU is no candidate unless asked for"
    (alike,) = of_kind(made(offer(), a100, accelerator="A100"), "rent")
    assert alike.month_cost == Decimal(14 * 4 * 73)
    (slower,) = of_kind(made(offer(), a100, accelerator="A100", speed=Decimal("0.5")), "rent")
    assert slower.month_cost == Decimal(28 * 4 * 73)
    assert "an hour of A100 does 0.5 of an hour of H100 (assumed)" in slower.assumptions[0]


def test_the_present_gpus_are_held_against_as_much_work() -> None:
    a100 = offer("4", accelerator="A100", instance_type="p4d")
    found = made(offer(), a100, accelerator="A100", speed=Decimal("0.5"))
    # An hour of ours is two of theirs: 146 against 160 GPU-hours x 2 x 0.50.
    assert found.now.break_even == Fraction(146, 160)
    assert "as it is now" not in frames.gpu_months(found)["line"].to_list()
    assert "as it is now" in frames.gpu_months(made(offer()))["line"].to_list()


def test_the_rest_is_rented_where_the_work_is_unless_told() -> None:
    far = offer("5", region="us-west-2")
    assert made(offer(), far).rent == offer()
    assert made(offer(), far, rent=far.name).rent == far
    assert made(far).rent == far, "with no price at home the cheapest of all"


def test_options_are_in_order_with_every_digit() -> None:
    frame = frames.options(made(offer(), offer("11", region="eu"), server=SERVER))
    assert frame["month_cost"].dtype == MONEY
    assert frame["month_cost"].to_list() == sorted(frame["month_cost"].to_list())
    now = frame.row(by_predicate=pl.col("kind") == "now", named=True)
    assert now["saving_month_cost"] is None
    # 140 in ten hours for 112 GPU-hours of work.
    cheap = frame.filter(pl.col("region") == "us-east-1", pl.col("kind") == "on demand").row(0, named=True)
    assert cheap["gpu_hour_cost"] == Decimal("1.25")


def test_work_is_taken_from_the_hours_in_which_anything_was_seen() -> None:
    def hour(index: int, provider: str, held: int) -> dict[str, Any]:
        return {
            "hour_start": START + timedelta(hours=index), "provider": provider, "region": "", "instance_type": "x",
            "gpu_model": "NVIDIA H100", "gpu_count": 8, "memory_total_bytes": 80e9, "existed_ms": 8 * HOUR_MS,
            "held_ms": held * HOUR_MS, "productive_ms": 0, "memory_used_bytes": 1e9 * held, "energy_joules": 7.2e6,
            "metered_ms": 8 * HOUR_MS,
        }  # fmt: skip

    hours = pl.DataFrame([hour(0, "a", 8), hour(2, "a", 4), hour(1, "b", 2)])
    costs = pl.DataFrame(
        {
            "provider": ["b"], "region": [""], "instance_type": ["x"], "gpu_model": ["NVIDIA H100"],
            "billing_currency": ["EUR"], "effective_cost": [Decimal(5)], "committed_cost": [None],
            "owned_cost": [Decimal(5)], "estimated_cost": [None], "unknown_count": [0], "costed_ms": [8 * HOUR_MS],
        },
        schema_overrides={"effective_cost": MONEY, "owned_cost": MONEY},
    )  # fmt: skip
    second, first = works(hours, costs)
    assert (first.provider, first.held.hours) == ("a", (8 * HOUR_MS, 0, 4 * HOUR_MS))
    assert (second.held.hours, second.sunk_cost, second.currency) == ((0, 2 * HOUR_MS, 0), 5, "EUR")
    assert first.peak_memory_bytes == 8e9
    # 7.2 MJ in an hour of eight GPUs.
    assert first.gpu_watts == pytest.approx(250)
