"""Savings that overlap are counted once."""

from collections.abc import Sequence
from decimal import Decimal

import polars as pl
import pytest

from app.claims import counted_once


def findings(*rows: tuple[str, str | None, float | None, str]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            {
                "finding_id": name,
                "saving_effective_month": None if saving is None else Decimal(saving),
                "freed_gpu_hours_month": hours,
                "excludes": excludes,
            }
            for name, saving, hours, excludes in rows
        ],
        schema={
            "finding_id": pl.String,
            "saving_effective_month": pl.Decimal(38, 18),
            "freed_gpu_hours_month": pl.Float64,
            "excludes": pl.String,
        },
    )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("a", "10", 1.0, "b"), ("b", "20", 1.0, "a"), ("c", "5", 1.0, "")], ["b", "c"]),
        ([("a", "10", 1.0, "b,c"), ("b", "9", 1.0, "a"), ("c", "8", 1.0, "a")], ["a"]),
        # What is left out excludes nothing.
        ([("a", "10", 1.0, "b"), ("b", "9", 1.0, "a,c"), ("c", "8", 1.0, "b")], ["a", "c"]),
        # Without a price, GPU-hours decide; then the name.
        (
            [("a", None, 1.0, ""), ("b", None, 2.0, ""), ("d", "0", None, ""), ("c", None, 1.0, "")],
            ["d", "b", "a", "c"],
        ),
        ([], []),
    ],
)
def test_the_larger_of_two_claims_counts(
    rows: Sequence[tuple[str, str | None, float | None, str]], expected: list[str]
) -> None:
    found = counted_once(findings(*rows))
    assert found["finding_id"].to_list() == expected
    assert counted_once(findings(*rows[::-1]))["finding_id"].to_list() == expected
