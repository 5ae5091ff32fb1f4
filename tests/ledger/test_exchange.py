"""Exchange for the eye: by the rate of the day, never by a later one, and exact until it is rounded once."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from ledger.exchange import Exchange

FIRST = date(2026, 9, 1)

RATES = Exchange(
    [
        (FIRST, "EUR", "USD", Decimal("1.25")),
        (FIRST + timedelta(days=2), "EUR", "USD", Decimal("1.6")),
        (FIRST, "EUR", "JPY", Decimal(160)),
    ]
)


def test_a_rate_holds_until_the_next() -> None:
    for after, ratio in ((0, "1.25"), (1, "1.25"), (2, "1.6"), (40, "1.6")):
        quote = RATES.quote("EUR", "USD", FIRST + timedelta(days=after))
        assert quote is not None
        assert quote.of(Decimal(2)) == 2 * Decimal(ratio)
        assert quote.day == FIRST + timedelta(days=2 if after >= 2 else 0)


def test_a_later_rate_says_nothing_about_an_earlier_day() -> None:
    assert RATES.quote("EUR", "USD", FIRST - timedelta(days=1)) is None
    assert RATES.quote("EUR", "GBP", FIRST) is None


def test_a_rate_is_turned_around_and_crossed() -> None:
    back = RATES.quote("USD", "EUR", FIRST)
    assert back is not None
    assert back.of(Decimal(10)) == 8
    crossed = RATES.quote("USD", "JPY", FIRST + timedelta(days=2))
    assert crossed is not None
    assert crossed.of(Decimal(16)) == 1600
    assert crossed.day == FIRST
    same = RATES.quote("CHF", "CHF", FIRST)
    assert same is not None
    assert (same.of(Decimal("0.1")), same.day) == (Decimal("0.1"), None)


def test_of_one_day_a_stated_rate_comes_before_one_turned_around_and_the_last_before_the_first() -> None:
    exchange = Exchange(
        [
            (FIRST, "EUR", "USD", Decimal("1.25")),
            (FIRST, "USD", "EUR", Decimal("0.79")),
            (FIRST, "EUR", "USD", Decimal("1.2")),
        ]
    )
    for source, target, ratio in (("EUR", "USD", "1.2"), ("USD", "EUR", "0.79")):
        quote = exchange.quote(source, target, FIRST)
        assert quote is not None
        assert quote.of(Decimal(1)) == Decimal(ratio)


@given(
    st.decimals("0.000001", 10_000, places=6),
    st.lists(st.decimals(-(10**9), 10**9, places=9), max_size=8),
)
def test_there_and_back_is_the_same(price: Decimal, amounts: list[Decimal]) -> None:
    exchange = Exchange([(FIRST, "EUR", "USD", price)])
    there, back = exchange.quote("EUR", "USD", FIRST), exchange.quote("USD", "EUR", FIRST)
    assert there is not None
    assert back is not None
    assert there.ratio * back.ratio == Fraction(1)
    for amount in amounts:
        assert abs(Fraction(there.of(amount)) - Fraction(amount) * Fraction(price)) <= Fraction(1, 10**18)
