"""A base of servers with the rest rented: hand arithmetic, brute force, and what always holds."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries.scenarios.demand import HOUR_MS, Demand, cheapest, mixes, month

HOURS = st.lists(st.integers(0, 40 * HOUR_MS), min_size=1, max_size=24)
PRICES = st.decimals("0.01", "100", places=6)
SIZES = st.sampled_from([1, 2, 4, 8, 3])


def of(*gpus: float) -> Demand:
    return Demand(tuple(round(each * HOUR_MS) for each in gpus))


def brute(demand: Demand, base: tuple[int, Decimal], rent: tuple[int, Decimal]) -> list[Fraction]:
    """Return the cost of each base, hour by hour."""
    (base_size, base_price), (size, price) = base, rent
    found = []
    count = 0
    while True:
        cost, is_covered = Fraction(0), True
        for hour in demand.hours:
            left = Fraction(hour, HOUR_MS) - count * base_size
            servers = 0
            while servers * size < left:
                servers += 1
            is_covered = is_covered and not servers
            cost += Fraction(base_price) * count + Fraction(price) * servers
        found.append(cost)
        if is_covered:
            return found
        count += 1


def test_servers_are_whole_in_each_hour() -> None:
    demand = of(0, 1, 8, 8.5, 17)
    assert demand.servers(8) == 3
    assert demand.server_hours(8) == 0 + 1 + 1 + 2 + 3
    assert demand.beyond(8, 8) == 0 + 0 + 0 + 1 + 2


def test_the_base_that_costs_the_least_by_hand() -> None:
    """Ten hours: eight GPUs in all of them, sixteen in four: the second server is needed 40 % of the time."""
    demand = of(16, 16, 16, 16, 8, 8, 8, 8, 8, 8)
    rent = (8, Decimal(10))
    found = mixes(demand, (8, Decimal(6)), rent)
    # None: 14 server-hours at 10. One: 10 hours at 6 and 4 at 10. Two: 20 hours at 6.
    assert [each.cost for each in found] == [140, 100, 120]
    assert cheapest(found).base_count == 1
    # At 40 % of the price of an hour both are equal from the same share of hours on: the smaller base binds less.
    assert [each.cost for each in mixes(demand, (8, Decimal(4)), rent)] == [140, 80, 80]
    assert cheapest(mixes(demand, (8, Decimal(4)), rent)).base_count == 1
    assert cheapest(mixes(demand, (8, Decimal("3.99")), rent)).base_count == 2


def test_the_average_would_have_chosen_another_base() -> None:
    """Half of the hours need 32 GPUs and half none: an average of 16 would commit two servers and lose by it."""
    demand = of(*[32.0] * 5, *[0.0] * 5)
    found = mixes(demand, (8, Decimal(6)), (8, Decimal(10)))
    assert cheapest(found).base_count == 0
    assert found[2].cost > found[0].cost


@given(HOURS, SIZES, SIZES, PRICES, PRICES)
def test_the_chosen_base_is_that_of_brute_force(
    hours: list[int], base_size: int, size: int, base_price: Decimal, price: Decimal
) -> None:
    demand = Demand(tuple(hours))
    base, rent = (base_size, base_price), (size, price)
    found, expected = mixes(demand, base, rent), brute(demand, base, rent)
    assert [each.cost for each in found] == expected
    assert cheapest(found).cost == min(expected)
    assert cheapest(found).base_count == expected.index(min(expected))


@given(HOURS, SIZES, PRICES, PRICES)
def test_a_mix_is_never_worse_than_all_rented_or_all_bound(
    hours: list[int], size: int, base_price: Decimal, price: Decimal
) -> None:
    demand = Demand(tuple(hours))
    found = mixes(demand, (size, base_price), (size, price))
    best = cheapest(found).cost
    assert best <= found[0].cost == Fraction(price) * demand.server_hours(size)
    assert best <= found[-1].cost == Fraction(base_price) * demand.servers(size) * demand.count


@given(HOURS, SIZES, PRICES, PRICES)
def test_the_order_of_hours_does_not_matter(hours: list[int], size: int, base_price: Decimal, price: Decimal) -> None:
    given_prices = ((size, base_price), (size, price))
    assert mixes(Demand(tuple(hours)), *given_prices) == mixes(Demand(tuple(sorted(hours))), *given_prices)


def test_work_that_takes_longer_is_rounded_up_to_a_millisecond() -> None:
    assert Demand((10, 0, 3)).times(Fraction(1, 2)).hours == (5, 0, 2)
    assert Demand((10,)).times(1 + Fraction("0.1")).hours == (11,)
    assert Demand((7,)).times(Fraction(1)).hours == (7,)


@pytest.mark.parametrize(
    ("cost", "hours", "expected"), [(Fraction(730), 730, "730"), (Fraction(1), 3, "243.333333333333333333")]
)
def test_a_month_keeps_every_digit(cost: Fraction, hours: int, expected: str) -> None:
    assert month(cost, hours) == Decimal(expected)
