"""The marks on every page say what is known, and never more."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from app import trust

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)

NOTHING: dict[str, Any] = {
    "complete_through": None,
    "last_sampled_at": None,
    "gpu_observed_seconds": None,
    "gpu_existed_seconds": None,
    "differing_count": 0,
    "matching_count": 0,
    "reconciliation_count": 0,
}


def marks(row: dict[str, Any]) -> tuple[trust.Mark, ...]:
    return trust.marks(pl.DataFrame([row]), NOW)


def test_an_empty_ledger_claims_nothing() -> None:
    found = marks(NOTHING)
    assert [mark.label for mark in found] == ["no bills", "bills: none", "no samples", "coverage unknown"]
    assert {mark.tone for mark in found} == {"gray"}


@pytest.mark.parametrize(
    ("differing", "matching", "label", "tone"),
    [
        (1, 3, "1 of 4 invoices differ", "red"),
        (0, 4, "matches all invoices", "green"),
        (0, 3, "3 of 4 invoices match", "orange"),
        (0, 0, "0 of 4 invoices match", "gray"),
    ],
)
def test_reconciliation(differing: int, matching: int, label: str, tone: str) -> None:
    row = {**NOTHING, "differing_count": differing, "matching_count": matching, "reconciliation_count": 4}
    mark = marks(row)[0]
    assert (mark.label, mark.tone) == (label, tone)


def test_old_samples_and_thin_coverage_are_marked() -> None:
    row = {
        **NOTHING,
        "complete_through": NOW - timedelta(days=4),
        "last_sampled_at": NOW - timedelta(hours=2),
        "gpu_observed_seconds": Decimal(450),
        "gpu_existed_seconds": Decimal(900),
    }
    _, bills, fresh, covered = marks(row)
    assert (bills.label, bills.tone) == ("bills to 16 Nov 12:00", "orange")
    assert (fresh.label, fresh.tone) == ("samples 2 h ago", "orange")
    assert (covered.label, covered.tone) == ("coverage 50.0 %", "orange")
