"""Unusual days of drawn scopes against a plain reading, with their causes; and faults in what they are made of."""

import random
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import polars as pl
import pytest

from ledger.names import NOBODY_AT
from ledger.tables import AnomalyDay, BillImport, SpendDay
from ledger.tables.spending import ANOMALY_CAUSES
from queries.graph import Span
from queries.rollups.anomaly_day import Anomalies, anomaly_day
from tests.frames import frame, validated
from tests.oracle.faults import LAST_UNIT, Reading, as_read, changed, only, reading
from tests.oracle.money_frames import money, units
from tests.oracle.oracle_unusual import Charge, Delivery, Limits, Unusual, unusual
from tests.oracle.searching import CI

SEEDS = range(8 if CI else 2)
# Those with each cause, in which faults are tried.
FAULTY = range(2)
FIRST = datetime(2026, 2, 2, tzinfo=UTC)
COUNT, ASKED = 84, range(60, 84)
ONE = 10**18

PARTS: Mapping[tuple[str, str, str, str], range] = {
    ("USD", "AWS", "t0", "n0"): range(COUNT),
    ("USD", "AWS", "t0", "n1"): range(COUNT),
    ("USD", "AWS", "t1", "n1"): range(COUNT),
    ("USD", "AWS", "t4", "n8"): range(31, COUNT),
    ("USD", "AWS", "", "n2"): range(COUNT),
    ("USD", "GCP", "t1", "n3"): range(COUNT - 1),
    ("USD", "GCP", "t2", "n4"): range(COUNT - 1),
    ("USD", "GCP", "t2", "backup"): range(COUNT - 1),
    ("USD", "GCP", "", "storage"): range(COUNT - 1),
    ("USD", "Old", "t0", "n7"): range(40),
    ("EUR", "OCI", "t3", "n5"): range(COUNT),
    ("EUR", "OCI", "t0", "n6"): range(COUNT),
}
"""Currency, provider, team, and node or service of what costs something, and on which days it does."""

CAUSES = ("volume", "price", "everywhere", "new", "gone", "charge", "more for good")
WORDS = {name: "" for name, dtype in SpendDay.create_empty().schema.items() if dtype == pl.String}


def _date(number: int) -> date:
    return (FIRST + timedelta(days=number)).date()


def _event(draw: random.Random, index: int) -> tuple[str, tuple[str, str, str, str]]:
    """Return what happens, in turn, and to which part: one with device time, or to one that has none."""
    cause = CAUSES[index % len(CAUSES)]
    known = [part for part, days in PARTS.items() if part[3].startswith("n") == (cause != "charge") and 60 in days]
    currency = "EUR" if index in {4, 7} else "USD"
    return cause, draw.choice([part for part in known if part[0] == currency] or known)


@cache
def charges(seed: int) -> tuple[Charge, ...]:
    """Draw what parts cost: with weekends and noise, and every other day with something that is unlike the others."""
    draw = random.Random(seed)  # noqa: S311  seeded, not secret
    levels = {part: draw.randint(400, 2_000) * ONE for part in PARTS}
    events = {day: _event(draw, index) for index, day in enumerate(ASKED[3::2])}
    found: list[Charge] = []
    for part, days in PARTS.items():
        level, has_time = levels[part], part[3].startswith("n")
        for day in days:
            cost = level // (4 if day % 7 > 4 else 1) + draw.randint(-ONE, ONE) * (level // ONE // 30)
            seconds = cost * 36 // ONE if has_time else 0
            cause, where = events.get(day, ("", part))
            if cause == "more for good" and where == part:
                level = level * 5 // 2
            if (cause == "gone" and where == part) or draw.random() < 0.004:
                continue
            if cause == "everywhere" and where[1] == part[1]:
                cost = cost * 7 // 3
            if cause in {"price", "charge"} and where == part:
                cost *= 5
            if cause == "volume" and where == part:
                cost, seconds = cost * 5, seconds * 5
            known = None if draw.random() < (0.08 if part[2] in {"t3", "t4"} else 0.003) else cost
            is_partial = draw.random() < 0.004
            found.append(Charge(day, *part, known, seconds, begin=9 if day == 0 else 0, is_partial=is_partial))
    for day, (cause, where) in events.items():
        if cause == "new":
            found.append(Charge(day, *where[:2], "t9", "n9", draw.randint(20_000, 25_000) * ONE, 3600))
    # The last of the providers has billed a part of its last day; one of the others is estimated, and one once before.
    found = [_cut(each) if each.day == COUNT - 1 and each.provider == "OCI" else each for each in found]
    late = Charge(COUNT - 1, "USD", "GCP", "t2", "n4", 9_000 * ONE, 3600, is_estimated=True)
    found += [late, late._replace(day=70, currency="EUR", provider="OCI", team="t3", resource="n5")]
    # Of an estate of another size each amount has more digits than a plain operator keeps.
    size = 10**9 + 7 if seed % 2 else 1
    return tuple(each._replace(cost=None if each.cost is None else each.cost * size) for each in found)


def _cut(charge: Charge) -> Charge:
    """Return a part of a day, dear as it is."""
    return charge._replace(end=20, cost=20_000 * ONE)


@cache
def spent(seed: int) -> pl.DataFrame:
    """Return the charges as days of the ledger, with taxes and what others were charged beside them."""
    draw = random.Random(seed)  # noqa: S311  seeded, not secret
    rows = [_row(each) for each in charges(seed)]
    for day in range(COUNT):
        beside = _row(Charge(day, "USD", "AWS", draw.choice(("t0", "t1")), "n1", 700 * (day % 13) * ONE, 3600))
        rows.append(beside | {"charge_category": "Tax"})
        rows.append(beside | {"in_scope": False})
    return validated(SpendDay, frame(SpendDay, rows))


def _row(charge: Charge) -> dict[str, Any]:
    start = FIRST + charge.day * timedelta(days=1)
    has_node = charge.resource.startswith("n")
    return {
        **WORDS,
        "day": start.date(),
        "billing_currency": charge.currency,
        "provider": charge.provider,
        "billing_period_start": start.replace(day=1),
        "charge_category": "Usage",
        "bucket": "allocated",
        "node": charge.resource if has_node else "",
        "service_name": "Compute" if has_node else charge.resource,
        "team": charge.team,
        "submitted_at": NOBODY_AT,
        "is_estimated": charge.is_estimated,
        "in_scope": True,
        "billed_cost": Decimal(0),
        "effective_cost": money(charge.cost),
        "held_gpu_seconds": Decimal(charge.seconds),
        "productive_gpu_seconds": Decimal(0),
        "idle_gpu_seconds": Decimal(0),
        "first_hour_start": start + timedelta(hours=charge.begin),
        "last_hour_end": start + timedelta(hours=charge.end),
        "has_unstated_charge": charge.is_partial or None,
    }


DELIVERIES = (
    Delivery("USD", "whole", 0, 28 * 24),
    Delivery("USD", "whole", 28, COUNT * 24),
    Delivery("USD", "ends", 28, 66 * 24 + 10),
    Delivery("USD", "ends", 60, COUNT * 24, is_current=False),
    Delivery("EUR", "pauses", 56, 77 * 24),
    Delivery("EUR", "pauses", 82, COUNT * 24),
)
"""Of one account in dollars nothing comes after its 66th day; one in euros pauses, until its next period begins."""


@cache
def delivered(deliveries: tuple[Delivery, ...] = DELIVERIES) -> pl.DataFrame:
    """Return what was imported, as the ledger has it."""
    rows = [
        {
            "import_id": str(number),
            "billing_account_id": each.account,
            "billing_period_start": FIRST + timedelta(days=each.day),
            "billing_currency": each.currency,
            "source_name": each.account,
            "path": each.account,
            "format": "focus",
            "sha256": str(number),
            "imported_at": FIRST + timedelta(days=COUNT),
            "status": "current" if each.is_current else "waiting",
            "row_count": 1,
            "rejected_count": 0,
            "charge_day_count": 1,
            "billed_cost": Decimal(0),
            "residue": Decimal(0),
            "complete_through": FIRST + timedelta(hours=each.through),
        }
        for number, each in enumerate(deliveries)
    ]
    return validated(BillImport, frame(BillImport, rows))


def told(days: pl.DataFrame, settings: Anomalies | None = None, bills: pl.DataFrame | None = None) -> pl.DataFrame:
    start, end = (FIRST + at * timedelta(days=1) for at in (ASKED.start, ASKED.stop))
    imports = delivered() if bills is None else bills
    made = anomaly_day.function(days.lazy(), imports.lazy(), Span(start, end, end), settings or Anomalies())
    return validated(AnomalyDay, made.collect())


@cache
def expected(seed: int) -> dict[tuple[int, str, str], Unusual]:
    return unusual(charges(seed), DELIVERIES, ASKED, Limits())


def check(wanted: Mapping[tuple[int, str, str], Unusual], found: pl.DataFrame) -> None:
    rows = {
        ((row["day"] - FIRST.date()).days, row["scope"], row["billing_currency"]): Unusual(
            *(units(row[f"{name}_cost"]) or 0 for name in ("actual", "expected", "spread", "reach", "difference")),
            row["weekday_count"],
            row["cause"],
            *(row[f"cause_{name}"] for name in ("provider", "resource", "team")),
            units(row["cause_cost"]) or 0,
            units(row["volume_cost"]),
            units(row["price_cost"]),
        )
        for row in found.iter_rows(named=True)
    }
    assert len(rows) == found.height
    for key in rows.keys() | wanted.keys():
        assert rows.get(key) == wanted.get(key), (key, "rollup", rows.get(key), "oracle", wanted.get(key))
    teams = found.select(pl.col("team") == pl.col("scope").str.extract("^team:(.*)$").fill_null("")).to_series()
    assert teams.all()


@pytest.mark.parametrize("seed", SEEDS)
def test_days_are_unusual_as_a_plain_reading_says(seed: int) -> None:
    check(expected(seed), told(spent(seed)))


@pytest.mark.parametrize("seed", FAULTY)
def test_each_cause_is_drawn(seed: int) -> None:
    assert {each.cause for each in expected(seed).values()} == set(ANOMALY_CAUSES)
    assert {scope.partition(":")[0] for _, scope, _ in expected(seed)} == {"total", "team", "provider"}


DAY = pl.col("day")
_COST = pl.col("effective_cost")

FAULTS: Mapping[str, Reading] = {
    "a day later": reading(day=DAY.dt.offset_by("1d")),
    "an unknown day is free": reading(effective_cost=_COST.fill_null(Decimal(0)), has_unstated_charge=False),
    "what is partly known is known": reading(has_unstated_charge=False),
    "a last unit more": reading(effective_cost=_COST + LAST_UNIT),
    "cents are enough": reading(effective_cost=_COST.round(2)),
    "what is billed is what it costs": reading(effective_cost=pl.col("billed_cost")),
    "teams are one": reading(team="t0"),
    "providers are one": reading(provider="AWS"),
    "currencies are one": reading(billing_currency="USD"),
    "nodes are not read": reading(node=""),
    "services are not read": reading(service_name=""),
    "device time is not read": reading(held_gpu_seconds=Decimal(0)),
    "device time is the same each day": reading(held_gpu_seconds=Decimal(3600)),
    "taxes come each day": reading(charge_category="Usage"),
    "others' charges count": reading(in_scope=True),
    "estimates are bills": reading(is_estimated=False),
    "a day is whole when it has begun": reading(
        first_hour_start=DAY.cast(pl.Datetime("us", "UTC")),
        last_hour_end=DAY.dt.offset_by("1d").cast(pl.Datetime("us", "UTC")),
    ),
    "the oldest weeks are lost": only(_date(31) < DAY),
    "the week before is lost": only(
        ~DAY.is_between((FIRST + timedelta(days=60)).date(), (FIRST + timedelta(days=66)).date())
    ),
    "what is no longer used is still waited for": lambda days: pl.concat(
        [days, as_read(days.filter(pl.col("provider") == "Old").tail(1), day=_date(COUNT - 1), is_estimated=True)]
    ),
    "nobody's cost is not read": only(pl.col("team") != ""),
    "who is new is not seen": only(pl.col("team") != "t9"),
}


@pytest.mark.parametrize("seed", FAULTY)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_what_was_spent_turns_the_comparison_red(name: str, seed: int) -> None:
    with pytest.raises(AssertionError):
        check(expected(seed), told(FAULTS[name](spent(seed))))


_THROUGH = pl.col("complete_through")

BILL_FAULTS: Mapping[str, Reading] = {
    "no account is waited for": only(pl.lit(value=False)),
    "who ends was never there": only(pl.col("billing_account_id") != "ends"),
    "who pauses was never there": only(pl.col("billing_account_id") != "pauses"),
    "what waits counts": reading(status="current"),
    "what comes later is known": reading(billing_period_start=FIRST),
    "accounts are one": reading(billing_account_id="one", source_name="one"),
    "currencies are one": reading(billing_currency="USD"),
    "bills end a week later": reading(complete_through=_THROUGH.dt.offset_by("7d")),
    "bills end a week before": reading(complete_through=_THROUGH.dt.offset_by("-7d")),
}


@pytest.mark.parametrize("seed", FAULTY)
@pytest.mark.parametrize("name", BILL_FAULTS)
def test_a_fault_in_what_was_delivered_turns_the_comparison_red(name: str, seed: int) -> None:
    with pytest.raises(AssertionError):
        check(expected(seed), told(spent(seed), bills=BILL_FAULTS[name](delivered())))


OTHER_LIMITS: Mapping[str, Anomalies] = {
    "a little is far": Anomalies(spreads=1),
    "a lot is near": Anomalies(spreads=100),
    "a hundredth is large": Anomalies(least_ratio=0.01),
    "three times as much is little": Anomalies(least_ratio=3),
    "thousands are nothing": Anomalies(least_cost=3_000),
    "the estate is not asked": Anomalies(least_estate_ratio=0),
    "half of the estate": Anomalies(least_estate_ratio=0.5),
    "eight weekdays are too few": Anomalies(least_weekdays=8),
}


@pytest.mark.parametrize("name", OTHER_LIMITS)
def test_other_limits_are_those_of_the_plain_reading_and_turn_the_comparison_red(name: str) -> None:
    limits = OTHER_LIMITS[name]
    reading = Limits(
        Fraction(str(limits.spreads)),
        Fraction(str(limits.least_ratio)),
        int(limits.least_cost) * ONE,
        Fraction(str(limits.least_estate_ratio)),
        limits.least_weekdays,
    )
    reds = 0
    for seed in FAULTY:
        wanted = unusual(charges(seed), DELIVERIES, ASKED, reading)
        found = told(spent(seed), limits)
        check(wanted, found)
        if wanted != expected(seed):
            reds += 1
            with pytest.raises(AssertionError):
                check(expected(seed), found)
    assert reds


ANSWERS: Mapping[str, Mapping[str, pl.Expr]] = {
    **{
        f"a last unit too much: {name}": {name: pl.col(name).fill_null(Decimal(0)) + LAST_UNIT}
        for name in AnomalyDay.column_names()
        if name.endswith("_cost")
    },
    "one weekday more": {"weekday_count": pl.col("weekday_count") + 1},
    "another cause": {"cause": pl.col("cause").replace_strict({"price": "volume"}, default="price")},
    "another provider": {"cause_provider": pl.lit("X")},
    "another resource": {"cause_resource": pl.lit("X")},
    "another team": {"cause_team": pl.lit("X")},
    "another day": {"day": DAY.dt.offset_by("7d")},
    "another currency": {"billing_currency": pl.lit("JPY")},
    "another scope": {"scope": pl.lit("team:X")},
    "of a team that is not asked about": {"team": pl.lit("X")},
    "lost": {},
}


@pytest.mark.parametrize("seed", FAULTY)
@pytest.mark.parametrize("name", ANSWERS)
def test_one_wrong_day_turns_the_comparison_red(name: str, seed: int) -> None:
    right = told(spent(seed))
    columns = ANSWERS[name]
    for place in (0, right.height // 2, right.height - 1):
        wrong = changed(right, place, **columns) if columns else right.filter(pl.int_range(pl.len()) != place)
        with pytest.raises(AssertionError):
            check(expected(seed), wrong)
