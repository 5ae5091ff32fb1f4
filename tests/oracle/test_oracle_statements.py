"""Statements, closed and open, against books kept by hand; and faults in what is known and in what was stated."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import dataframely as dy
import polars as pl
import pytest

from app.context import Context
from app.services.statement import of
from ledger.tables import StatementClose, StatementLine
from tests.app.test_statements import MONTHS, a_ledger, close, know, spent
from tests.oracle.faults import LAST_UNIT, Reading, as_read, only, reading
from tests.oracle.money_frames import money, units
from tests.oracle.oracle_statements import Books, Key, Rows, Spent
from tests.oracle.searching import CI

SEEDS = range(6 if CI else 2)
TEAMS = ("red", "blue", "green")
FIRST, LAST = MONTHS[0].month, MONTHS[-1].month
AMOUNTS = ("billed_cost", "effective_cost", "productive_cost", "idle_cost", "held_gpu_seconds")

Acts = tuple[tuple[tuple[int, str], ...], ...]

ACTS: Acts = (((8, ""),), ((9, "red"),), ((10, "red"), (9, "")), ())
"""What is closed after each time that something is known: a month, and of which team, '' for all."""

FIRST_ACTS: Acts = (*ACTS[:1], ())


@cache
def history(seed: int) -> tuple[tuple[Spent, ...], ...]:
    """Draw what is known at each time: of what was known before some is restated, some is gone, and more comes."""
    draw = random.Random(seed)  # noqa: S311  seeded, not secret
    known: list[tuple[Spent, ...]] = []
    for index, _ in enumerate(ACTS):
        kept = [each for each in (known[-1] if known else ()) if draw.random() < 0.9]
        restated = [each._replace(amounts=_amounts(draw)) if draw.random() < 0.3 else each for each in kept]
        fresh = [_part(draw, team) for team in TEAMS[: 2 + (index > 2)] for _ in range(14)]
        if index == 2:
            # Somebody comes late, and only with what was paid in August for October.
            fresh.append(_part(draw, "green")._replace(used=10, billed_in=8, in_scope=True))
        known.append((*restated, *fresh))
    return tuple(known)


def _part(draw: random.Random, team: str) -> Spent:
    return Spent(
        team=team,
        used=draw.randint(FIRST, LAST),
        billed_in=draw.randint(FIRST, LAST),
        currency=draw.choice(("USD", "USD", "JPY")),
        provider=draw.choice(("AWS", "GCP")),
        service=draw.choice(("Compute", "Storage")),
        category=draw.choice(("Usage", "Usage", "Usage", "Tax", "Credit", "Adjustment")),
        is_correction=draw.random() < 0.1,
        bucket=draw.choice(("allocated", "shared", "idle")),
        method=draw.choice(("whole_node_to_gpu", "whole_node_to_gpu", "owner", "shared_direct", "shared_even")),
        amounts=_amounts(draw),
        is_estimated=draw.random() < 0.15,
        in_scope=draw.random() < 0.85,
    )


def _amounts(draw: random.Random) -> tuple[int | None, ...]:
    costs = [draw.choice((None, draw.randint(-(10**30), 10**30), draw.randint(0, 10**20))) for _ in range(3)]
    return draw.randint(-(10**30), 10**30), *costs, draw.randint(0, 10**7) * 10**15


def frame(parts: tuple[Spent, ...]) -> pl.DataFrame:
    return spent([_row(number, each) for number, each in enumerate(parts)])


def _row(number: int, part: Spent) -> dict[str, Any]:
    return {
        "job_id": f"j{number}",
        "day": date(2026, part.used, 3),
        "billing_period_start": datetime(2026, part.billed_in, 1, tzinfo=UTC),
        "billing_currency": part.currency,
        "provider": part.provider,
        "service_name": part.service,
        "charge_category": part.category,
        "charge_class": "Correction" if part.is_correction else "",
        "bucket": part.bucket,
        "allocated_method_id": part.method,
        "team": part.team,
        "is_estimated": part.is_estimated,
        "in_scope": part.in_scope,
        **dict(zip(AMOUNTS, map(money, part.amounts), strict=True)),
        "held_gpu_seconds": Decimal((part.amounts[-1] or 0) // 10**15).scaleb(-3),
    }


Found = dict[tuple[str, int], Rows]


@cache
def expected(seed: int, acts: Acts = ACTS) -> dict[tuple[str, int], Rows]:
    books = Books()
    for parts, closings in zip(history(seed), acts, strict=False):
        books.spent = parts
        for month, team in closings:
            books.close(month, team, TEAMS)
    # The last ones first: they tell most of what went before.
    return {(team, month): books.statement(team, month) for team in TEAMS for month in range(LAST + 1, FIRST - 1, -1)}


def as_known(rows: pl.DataFrame) -> pl.DataFrame:
    return rows


@contextmanager
def a_past(seed: int, fault: Reading = as_known, acts: Acts = ACTS) -> Iterator[Context]:
    """Return a ledger that knew and closed all of it, where what is known is read with a fault."""
    with a_ledger() as context:
        for parts, closings in zip(history(seed), acts, strict=False):
            know(context, fault(frame(parts)))
            for month, team in closings:
                close(context, f"2026-{month:02}", team)
        yield context


def check(seed: int, context: Context, acts: Acts = ACTS) -> None:
    """Compare statement after statement."""
    for place, wanted in expected(seed, acts).items():
        team, month = place
        compare(place, wanted, _rows(of(context, team, datetime(2026, month, 1, tzinfo=UTC)).charges))


def compare(place: tuple[str, int], wanted: Rows, found: Rows) -> None:
    for key in wanted.keys() | found.keys():
        assert found.get(key) == wanted.get(key), (place, key, "statement", found.get(key), "books", wanted.get(key))


def _rows(charges: pl.DataFrame) -> Rows:
    found: Rows = {}
    for row in charges.iter_rows(named=True):
        names = ("billing_currency", "line", "provider", "service_name", "charge_category")
        key = Key(row["for_month"].month, *(row[name] for name in names))
        assert key not in found, "a row is told once"
        found[key] = tuple(units(row[name]) for name in AMOUNTS), row["has_estimate"]
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_statements_say_what_books_kept_by_hand_say(seed: int) -> None:
    with a_past(seed) as context:
        check(seed, context)
    rows = {place: set(each) for place, each in expected(seed).items()}
    assert {key.line for each in rows.values() for key in each} == {
        *("held", "owned", "shared", "tax", "credit", "adjustment", "correction")
    }
    adjusted = {place for place, each in rows.items() for key in each if key.month < place[1]}
    assert {("red", 9), ("red", 10), ("red", 11), ("blue", 9), ("blue", 10), ("green", 9), ("green", 10)} == adjusted


_USED = pl.col("day").cast(pl.Datetime("us", "UTC")).dt.truncate("1mo")

READINGS: Mapping[str, Reading] = {
    "what is billed counts when it is used": reading(billing_period_start=_USED),
    "effective is what was billed": reading(effective_cost=pl.col("billed_cost")),
    "billed is a last unit more": reading(billed_cost=pl.col("billed_cost") + LAST_UNIT),
    "effective is a last unit more": reading(effective_cost=pl.col("effective_cost") + LAST_UNIT),
    "cents are enough": reading(billed_cost=pl.col("billed_cost").round(2)),
    "credits are clamped": reading(billed_cost=pl.max_horizontal("billed_cost", pl.lit(Decimal(0)))),
    "unknown effective cost is none": reading(effective_cost=pl.col("effective_cost").fill_null(Decimal(0))),
    "all of it was productive": reading(productive_cost=pl.col("effective_cost")),
    "nothing of it was idle": reading(idle_cost=None),
    "device time is not read": reading(held_gpu_seconds=Decimal(0)),
    "all belongs to the estate": reading(in_scope=True),
    "all is billed": reading(is_estimated=False),
    "corrections are charges": reading(charge_class=""),
    "taxes are usage": reading(charge_category="Usage"),
    "what is shared is held": reading(bucket="allocated", allocated_method_id="whole_node_to_gpu"),
    "what nobody held is held": reading(bucket=pl.col("bucket").replace({"idle": "allocated"})),
    "owners are not read": reading(allocated_method_id=pl.col("allocated_method_id").replace({"owner": "shared_even"})),
    "currencies are one": reading(billing_currency="USD"),
    "providers are one": reading(provider="AWS"),
    "services are one": reading(service_name="Compute"),
    "teams are one": reading(team="red"),
    "who comes late is not seen": only(pl.col("team") != "green"),
    "a part is lost": lambda rows: rows.slice(1),
}


@pytest.mark.parametrize("name", READINGS)
def test_a_fault_in_what_is_known_turns_the_comparison_red(name: str) -> None:
    acts = ACTS if name == "who comes late is not seen" else FIRST_ACTS
    with a_past(0, READINGS[name], acts) as context, pytest.raises(AssertionError):
        check(0, context, acts)


Keeping = tuple[type[dy.Schema], Reading]
"""A table, and what its rows are kept as."""

_ADJUSTED = pl.col("for_month") < pl.col("month")

KEPT: Mapping[str, Keeping] = {
    **{
        f"{name} is kept a last unit too high": (StatementLine, reading(**{name: pl.col(name) + LAST_UNIT}))
        for name in AMOUNTS[:4]
    },
    "unknown effective cost is kept as none": (
        StatementLine,
        reading(effective_cost=pl.col("effective_cost").fill_null(Decimal(0))),
    ),
    "adjustments are not kept": (StatementLine, only(~_ADJUSTED)),
    "charges are not kept": (StatementLine, only(pl.col("section") != "charges")),
    "only the last statement is kept": (StatementLine, only(pl.col("month") == pl.col("month").max())),
    "statements of one team are kept": (StatementLine, only(pl.col("team") == "red")),
    "estimates are kept as bills": (StatementLine, reading(has_estimate=False)),
    "a charge is kept for something else": (
        StatementLine,
        reading(name=pl.col("name").replace({"held": "owned elsewhere"})),
    ),
    "a charge is kept under another provider": (StatementLine, reading(provider=pl.col("provider") + "!")),
    "nothing is closed": (StatementClose, pl.DataFrame.clear),
    "what a team closed alone is open": (StatementClose, only(pl.col("team") == "")),
    "what all closed is open": (StatementClose, only(pl.col("team") != "")),
    "the first month is open": (StatementClose, only(pl.col("month") > date(2026, FIRST, 1))),
    "a team's months are those of all": (
        StatementClose,
        lambda rows: as_read(rows, team="").unique(["team", "month"], keep="first"),
    ),
}


@pytest.fixture(scope="module")
def past() -> Iterator[Context]:
    """Return a ledger in which all is right."""
    with a_past(0) as context:
        yield context


@pytest.mark.parametrize("name", KEPT)
def test_a_fault_in_what_was_stated_turns_the_comparison_red(name: str, past: Context) -> None:
    schema, fault = KEPT[name]
    right = past.store.read(schema)
    past.store.replace(schema, fault(right), partitions=["*"])
    with pytest.raises(AssertionError):
        check(0, past)
    past.store.replace(schema, right, partitions=["*"])


@pytest.mark.parametrize("fault", ["a last unit more", "a row more", "a row less", "an estimate"])
def test_one_wrong_row_turns_the_comparison_red(fault: str) -> None:
    right = expected(0)
    for place, rows in right.items():
        for key, ((billed, *rest), has_estimate) in rows.items():
            others = {each: row for each, row in rows.items() if each != key}
            wrong: Mapping[str, Rows] = {
                "a last unit more": {**rows, key: (((billed or 0) + 1, *rest), has_estimate)},
                "a row more": {**rows, key._replace(line="other"): rows[key]},
                "a row less": others,
                "an estimate": {**rows, key: (rows[key][0], not has_estimate)},
            }
            with pytest.raises(AssertionError):
                compare(place, rows, wrong[fault])
