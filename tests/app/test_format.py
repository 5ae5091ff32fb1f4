"""Numbers as people read them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from app import format as written


@pytest.mark.parametrize(
    ("amount", "currency", "compact", "expected"),
    [
        (Decimal("1234.565"), "USD", False, "$1,234.56"),
        (Decimal("-0.015"), "USD", False, "-$0.02"),
        (Decimal(1234), "JPY", False, "¥1,234"),
        (Decimal("1234.5"), "EUR", False, "€1,234.50"),
        (Decimal("1234.5"), "USD", True, "$1,234"),
        (Decimal(1_234_567), "USD", True, "$1.23M"),
        (Decimal(123_456), "USD", True, "$123k"),
        (Decimal("12.3"), "USD", True, "$12.30"),
        (None, "USD", False, written.UNKNOWN),
    ],
)
def test_money(amount: Decimal | None, currency: str, compact: bool, expected: str) -> None:
    assert written.money(amount, currency, compact=compact) == expected


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (Decimal("0.0213"), "$0.0213"),
        (Decimal("12.3"), "$12.30"),
        (Decimal("0.00000123"), "$0.00000123"),
        (None, written.UNKNOWN),
    ],
)
def test_a_small_unit_price_keeps_its_digits(amount: Decimal | None, expected: str) -> None:
    assert written.unit_price(amount, "USD") == expected


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.5, "50.0 %"),
        (0.0, "0.0 %"),
        (0.0001, "<0.1 %"),
        (0.99999, ">99.9 %"),
        (1.0, "100.0 %"),
        (None, written.UNKNOWN),
    ],
)
def test_a_share_that_is_not_zero_never_reads_zero(ratio: float | None, expected: str) -> None:
    assert written.percent(ratio) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (720, "12 min"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (273_600, "3 d 4 h"),
        (None, written.UNKNOWN),
    ],
)
def test_duration(seconds: float | None, expected: str) -> None:
    assert written.duration(seconds) == expected


def test_the_rest() -> None:
    assert written.gpu_hours(1000) == "1,000 GPU-h"
    assert written.gpu_hours(1.5) == "1.5 GPU-h"
    assert written.count(0.46) == "0.46"
    assert written.count(8.0) == "8"
    assert written.large(18_059_974) == "18.1 M"
    assert written.size(1.5 * 2**30, per_second=True) == "1.5 GiB/s"
    now = datetime(2026, 11, 20, 23, 4, tzinfo=UTC)
    assert written.instant(now) == "20 Nov 2026 23:04 UTC"
    assert written.ago(now - timedelta(minutes=4), now) == "4 min ago"
    assert written.ago(None, now) == "never"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (None, "–"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (5_820, "1.6 h"),
        (Decimal(345_600), "4 d"),
        (1e9, "11,574.1 d"),
    ],
)
def test_a_short_stretch_has_one_unit(seconds: float | Decimal | None, expected: str) -> None:
    assert written.brief(seconds) == expected


@pytest.mark.parametrize(
    ("unit", "value", "expected"),
    [
        ("joules", None, "–"),
        ("joules", 0.0, "0 J"),
        ("joules", 3.6e6, "1 kWh"),
        ("joules", 51_480e6, "14 MWh"),
        ("grams", 950.4, "950 g"),
        ("grams", 5.86e6, "5.9 t"),
        ("grams_per_kilowatt_hour", 347.4, "347 g/kWh"),
    ],
)
def test_energy_and_mass_are_written_in_a_unit_of_their_size(unit: str, value: float | None, expected: str) -> None:
    assert written.measured(unit, "any", value) == expected
