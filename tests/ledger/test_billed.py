"""How far a bill has come: what is charged for a month stands on it from its first days on."""

from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from ledger.billed import complete_through, long_usage_end, usage_end

MONTH = datetime(2026, 10, 1, tzinfo=UTC)
DELIVERED = MONTH + timedelta(days=12)


def charge(start: float, hours: float, category: str = "Usage") -> dict[str, Any]:
    begin = MONTH + timedelta(days=start)
    return {
        "ChargePeriodStart": begin,
        "ChargePeriodEnd": begin + timedelta(hours=hours),
        "ChargeCategory": category,
    }


@pytest.mark.parametrize(
    ("charges", "days"),
    [
        ([charge(9, 1), charge(10, 1)], 10 + 1 / 24),
        ([charge(9, 24), charge(10, 25)], 11 + 1 / 24),
        ([charge(9, 24), charge(0, 31 * 24)], 10),
        ([charge(9, 24), charge(0, 31 * 24, "Purchase"), charge(11, 24, "Tax")], 10),
        ([charge(0, 31 * 24)], 12),
        ([charge(4, 24), charge(0, 7 * 24)], 7),
        ([charge(0, 7 * 24)], 7),
        ([charge(0, 31 * 24, "Purchase")], None),
        ([charge(0, 0)], 0),
    ],
)
def test_through_when_a_delivery_is_complete(charges: list[dict[str, Any]], days: float | None) -> None:
    """The 25th October has 25 hours where clocks are set back: it is a day all the same."""
    ends = pl.DataFrame(charges).select(end=usage_end(), long_end=long_usage_end())
    found = ends.select(complete_through("end", "long_end", pl.lit(DELIVERED))).item()
    assert found == (None if days is None else MONTH + timedelta(days=days))
