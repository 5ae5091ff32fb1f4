"""Idle time is moved between names, stays visible, and changes no total."""

from datetime import date
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import money
from queries.idle_borne import RULES, borne

DAY = date(2026, 3, 5)
SCHEMA = {
    "day": pl.Date,
    "billing_currency": pl.String,
    "cluster": pl.String,
    "name": pl.String,
    "part": pl.String,
    "cost": money.MONEY,
    "has_estimate": pl.Boolean,
}


def parts(*rows: tuple[str, str, str, str | None]) -> pl.DataFrame:
    """Return parts of one day: cluster, name, part and cost."""
    return pl.DataFrame(
        [
            (DAY, "USD", cluster, name, part, None if cost is None else Decimal(cost), False)
            for cluster, name, part, cost in rows
        ],
        schema=SCHEMA,
        orient="row",
    )


FLEET = parts(
    ("a", "vision", "used", "60"),
    ("a", "vision", "held_idle", "15"),
    ("a", "speech", "used", "20"),
    ("a", "speech", "allocated_idle", "5"),
    ("b", "speech", "used", "10"),
    ("a", "idle", "unallocated", "40"),
    ("b", "idle", "unallocated", "7"),
    ("", "idle", "unused_commitment", "11"),
    ("", "shared", "apart", "-3"),
)


def by_name(found: pl.DataFrame, column: str = "cost") -> dict[str, Decimal]:
    return dict(found.select("name", column).iter_rows())


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("holder", {"vision": 75, "speech": 35, "idle": 58, "shared": -3}),
        ("cluster", {"vision": 60, "speech": 30, "idle": 78, "shared": -3}),
        ("proportional", {"vision": 75 + 30 + Decimal("7.5"), "speech": 35 + 10 + 7 + Decimal("3.5"), "idle": 0}),
        ("even", {"vision": 75 + 20 + Decimal("5.5"), "speech": 35 + 20 + 7 + Decimal("5.5"), "idle": 0}),
    ],
)
def test_idle_time_is_borne_by_the_rule(rule: str, expected: dict[str, Decimal]) -> None:
    found = {name: round(cost, 12) for name, cost in by_name(borne(FLEET, rule)).items()}
    assert found == {"shared": Decimal(-3)} | expected


def test_what_others_bear_stays_visible_as_the_idle_row_and_what_is_taken_off_it() -> None:
    found = borne(FLEET, "proportional")
    idle = found.filter(pl.col("name") == "idle").row(0, named=True)
    assert (idle["own"], idle["borne"], idle["cost"]) == (58, -58, 0)
    assert by_name(found, "own")["vision"] == 75


def test_idle_time_of_a_cluster_that_nobody_held_bears_itself() -> None:
    found = borne(parts(("a", "vision", "used", "1"), ("b", "idle", "unallocated", "4")), "even")
    assert by_name(found) == {"idle": 4, "vision": 1}


def test_unknown_cost_stays_unknown_and_weighs_nothing() -> None:
    found = borne(
        parts(
            ("a", "vision", "used", None),
            ("a", "speech", "used", "2"),
            ("a", "idle", "unallocated", "4"),
            ("a", "lost", "apart", None),
        ),
        "proportional",
    )
    assert by_name(found) == {"speech": 6, "vision": 0, "idle": 0, "lost": None}
    assert by_name(found, "own")["vision"] is None


ROW = st.tuples(
    st.sampled_from(["a", "b", ""]),
    st.sampled_from(["vision", "speech", "unassigned"]),
    st.sampled_from(["used", "held_idle", "allocated_idle", "unallocated", "unused_commitment", "apart"]),
    st.one_of(st.none(), st.integers(-(10**22), 10**22), st.integers(-5, 5)),
    st.sampled_from(["USD", "EUR"]),
)


@given(st.lists(ROW, max_size=14), st.sampled_from(RULES), st.randoms())
def test_no_rule_changes_a_total_and_order_does_not_matter(drawn: list[Any], rule: str, random: Any) -> None:
    amounts: dict[Any, Decimal | None] = {}
    for cluster, name, part, units, currency in drawn:
        named = "idle" if part in {"unallocated", "unused_commitment"} else name
        amounts[currency, cluster, named, part] = None if units is None else Decimal(units).scaleb(-18)
    rows = [(DAY, currency, *rest, cost, False) for (currency, *rest), cost in amounts.items()]
    given_parts = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    found = borne(given_parts, rule)
    key = ["day", "billing_currency"]
    before = money.summed(given_parts.sort(key), by=key, columns=["cost"])
    assert money.summed(found.sort(key), by=key, columns=["cost"]).equals(before)
    assert money.summed(found.sort(key), by=key, columns=["own"]).rename({"own": "cost"}).equals(before)
    mixed = pl.DataFrame(random.sample(rows, len(rows)), schema=SCHEMA, orient="row")
    assert borne(mixed, rule).equals(found)
