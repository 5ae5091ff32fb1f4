"""Tariffs go by the clock on the wall: on the two days a year on which it is set too."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest

from collectors.billing._tariff import hour_price, tariff

BERLIN = "Europe/Berlin"


def day(start: datetime, hours: int, text: str, zone: str = BERLIN) -> list[Fraction]:
    """Return the price of each hour from an instant on."""
    parts = tariff(text, Decimal(0))
    return [hour_price(parts, zone, start + timedelta(hours=index)) for index in range(hours)]


@pytest.mark.parametrize(
    ("midnight", "length", "twos"),
    [
        (datetime(2026, 3, 28, 23, tzinfo=UTC), 23, 0),
        (datetime(2026, 10, 24, 22, tzinfo=UTC), 25, 2),
        (datetime(2026, 6, 13, 22, tzinfo=UTC), 24, 1),
    ],
    ids=["forward", "back", "neither"],
)
def test_an_hour_that_the_clock_leaves_out_or_shows_twice(midnight: datetime, length: int, twos: int) -> None:
    """In Berlin the hour from two to three is missing on 29 March 2026, and comes twice on 25 October."""
    prices = day(midnight, length, "02:00-03:00 1")
    assert sum(prices) == twos
    evening = day(midnight, length, "21:00-24:00 1")
    assert evening == [0] * (length - 3) + [1] * 3


def test_a_night_is_as_long_as_it_is() -> None:
    """From ten in the evening to six in the morning: seven hours, nine hours, and eight on other days."""
    for evening, hours in (
        (datetime(2026, 3, 28, 21, tzinfo=UTC), 7),
        (datetime(2026, 10, 24, 20, tzinfo=UTC), 9),
        (datetime(2026, 6, 13, 20, tzinfo=UTC), 8),
    ):
        assert sum(day(evening, 20, "22:00-06:00 1")[:16]) == hours


def test_weekends_begin_where_the_clock_stands() -> None:
    """Saturday begins at 11:00 UTC of Friday in Auckland in summer, and at 08:00 UTC of Saturday in Los Angeles."""
    friday = datetime(2026, 1, 9, 11, tzinfo=UTC)
    auckland = day(friday, 2, "sat-sun 00:00-24:00 1", "Pacific/Auckland")
    assert auckland == [1, 1], "11:00 UTC is midnight there: daylight saving time is 13 hours ahead"
    assert day(friday - timedelta(hours=1), 1, "sat-sun 00:00-24:00 1", "Pacific/Auckland") == [0]
    saturday = datetime(2026, 1, 10, 8, tzinfo=UTC)
    assert day(saturday - timedelta(hours=1), 2, "sat 1", "America/Los_Angeles") == [0, 1]
