"""Drawn amounts in the display currency against a plain reading; and faults in amounts, rates and answers."""

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from functools import cache
from typing import Literal, NamedTuple

import polars as pl
import pytest

from ledger.exchange import Exchange
from ledger.expressions import total
from ledger.money import MONEY
from queries.display import Shown, in_currency
from tests.oracle.faults import LAST_UNIT, Fault, Tables, as_it_is, as_read, changed, read_as, read_where
from tests.oracle.money_frames import money, units
from tests.oracle.oracle_exchange import ONE, Rate, Row, Told, told
from tests.oracle.searching import CI

ROWS = 2_000 if CI else 300
SEEDS = range(3)
ON_ONE_DAY = 3
FIRST = date(2026, 9, 1)
AMOUNTS = ("cost", "other_cost")
PAIRS = (("EUR", "USD"), ("USD", "EUR"), ("JPY", "USD"), ("GBP", "EUR"), ("USD", "CHF"), ("CHF", "SEK"))
"""Norwegian crowns have no rate."""


class Case(NamedTuple):
    """Amounts and rates, the currency that they are shown in, and the one day of all rates where rows have none."""

    rows: list[Row]
    rates: list[Rate]
    to: str
    on: int | None


@cache
def case(seed: int) -> Case:
    draw = random.Random(seed)  # noqa: S311  seeded, not secret
    rates = [
        Rate(day, source, target, draw.randint(ONE // 3, 3 * ONE))
        for source, target in PAIRS
        for day in range(0 if source != "GBP" else 5, 30)
        for _ in range(draw.choice((0, 0, 0, 1, 1, 2)))
    ]
    draw.shuffle(rates)
    # What was known from the start leaves no day without a rate, but for the pound.
    rates += [Rate(0, source, target, draw.randint(ONE // 3, 3 * ONE)) for source, target in PAIRS if source != "GBP"]
    rows = [
        Row(
            draw.randint(2, 29),
            draw.choice(("USD", "USD", "EUR", "JPY", "GBP", "CHF", "SEK", "NOK")),
            draw.choice(("a", "b")),
            tuple(draw.choice((None, draw.randint(-(10**22), 10**22), draw.randint(0, 10**19))) for _ in AMOUNTS),
            draw.choice((None, 1, 2)),
            draw.random() < 0.2,
        )
        for _ in range(ROWS)
    ]
    return Case(rows, rates, ("EUR", "USD", "EUR", "EUR")[seed], 20 if seed == ON_ONE_DAY else None)


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


@cache
def tables(seed: int) -> Tables:
    found = case(seed)
    return {
        "rates": pl.DataFrame(
            [(day(each.day), each.source, each.target, money(each.units)) for each in found.rates],
            schema={"rate_date": pl.Date, "from_currency": pl.String, "to_currency": pl.String, "unit_price": MONEY},
            orient="row",
        ),
        "rows": pl.DataFrame(
            [
                (day(each.day), each.currency, each.name, *map(money, each.amounts), each.count, each.flag)
                for each in found.rows
            ],
            schema={"day": pl.Date, "billing_currency": pl.String, "name": pl.String}
            | dict.fromkeys(AMOUNTS, MONEY)
            | {"run_count": pl.Int64, "has_estimate": pl.Boolean},
            orient="row",
        ),
    }


def shown(seed: int, fault: Fault = as_it_is) -> Shown:
    made, found = fault(tables(seed)), case(seed)
    exchange = Exchange(made["rates"].iter_rows())
    if found.on is None:
        return in_currency(made["rows"], exchange, found.to, AMOUNTS, day="day")
    return in_currency(made["rows"], exchange, found.to, AMOUNTS, on=day(found.on))


@cache
def expected(seed: int) -> Told:
    found = case(seed)
    return told(found.rows, found.rates, found.to, found.on)


def check(seed: int, found: Shown) -> None:
    wanted = expected(seed)
    rows = {
        ((row["day"] - FIRST).days, row["billing_currency"], row["name"]): (
            tuple(units(row[name]) for name in AMOUNTS),
            row["run_count"],
            row["has_estimate"],
        )
        for row in found.frame.iter_rows(named=True)
    }
    assert len(rows) == found.frame.height, "rows that agree in their texts and days are one"
    for key in rows.keys() | wanted.rows.keys():
        assert rows.get(key) == wanted.rows.get(key), (key, "shown", rows.get(key), "oracle", wanted.rows.get(key))
    assert (found.currency, found.converted, found.kept) == (case(seed).to, wanted.converted, wanted.kept)
    days = tuple(None if each is None else day(each) for each in (wanted.first, wanted.last))
    assert (found.first_day, found.last_day) == days


@pytest.mark.parametrize("seed", [*SEEDS, ON_ONE_DAY])
def test_amounts_are_converted_as_a_plain_reading_says(seed: int) -> None:
    check(seed, shown(seed))
    assert "NOK" in expected(seed).kept
    assert len(expected(seed).converted) > 2
    assert len(expected(seed).rows) < ROWS


def _of_the_other_way(made: Tables) -> Tables:
    names = {"from_currency": "to_currency", "to_currency": "from_currency"}
    return made | {"rates": as_read(made["rates"], **{name: pl.col(other) for name, other in names.items()})}


def _one_a_pair(keep: Literal["first", "last"], **by: date) -> Fault:
    """Return a fault that knows one rate of each pair for all time, the first or the last."""

    def fault(made: Tables) -> Tables:
        rates = made["rates"].sort("rate_date", maintain_order=True)
        known = rates.unique(["from_currency", "to_currency"], keep=keep, maintain_order=True)
        return made | {"rates": as_read(known, **by)}

    return fault


def _summed_first(made: Tables) -> Tables:
    """Sum what agrees in text, day and currency before it is converted."""
    by = ["day", "billing_currency", "name"]
    sums = [total(name).cast(MONEY).alias(name) for name in AMOUNTS]
    rows = made["rows"].group_by(by, maintain_order=True).agg(*sums, total("run_count"), pl.col("has_estimate").any())
    return made | {"rows": rows}


def _stated_once(made: Tables) -> Tables:
    by = ["rate_date", "from_currency", "to_currency"]
    return made | {"rates": made["rates"].unique(by, keep="first", maintain_order=True)}


_NEXT = pl.col("rate_date").dt.offset_by("1d")
_BEFORE = pl.col("rate_date").dt.offset_by("-1d")
_PAIR = pl.concat_str("from_currency", "to_currency")

FAULTS: Mapping[str, Fault] = {
    "a rate holds from the day after": read_as("rates", rate_date=_NEXT),
    "a rate holds from the day before": read_as("rates", rate_date=_BEFORE),
    "the first rate holds for ever": _one_a_pair("first"),
    "the last rate has held always": _one_a_pair("last", rate_date=FIRST),
    "rates are of the other way": _of_the_other_way,
    "rates have four decimals": read_as("rates", unit_price=pl.col("unit_price").round(4)),
    "rates are a last unit more": read_as("rates", unit_price=pl.col("unit_price") + LAST_UNIT),
    "rates are one": read_as("rates", unit_price=money(ONE)),
    "dollars are bought with one currency only": read_where("rates", _PAIR != "EURUSD"),
    "dollars are sold for one currency only": read_where("rates", _PAIR != "USDEUR"),
    "two pairs are not read": read_where("rates", ~_PAIR.is_in(["USDCHF", "JPYUSD"])),
    "a rate that is stated again is not read": lambda made: (
        made
        | {
            "rates": made["rates"].unique(
                ["rate_date", "from_currency", "to_currency"], keep="first", maintain_order=True
            )
        }
    ),
    "currencies are one": read_as("rows", billing_currency="USD"),
    "what is unknown is nothing": read_as("rows", cost=pl.col("cost").fill_null(money(0))),
    "cents are enough": read_as("rows", cost=pl.col("cost").round(2)),
    "credits are charges": read_as("rows", cost=pl.col("cost").abs()),
    "another amount is the same": read_as("rows", other_cost=pl.col("cost")),
    "amounts are a last unit more": read_as("rows", cost=pl.col("cost") + LAST_UNIT),
    "counts are not read": read_as("rows", run_count=None),
    "what is not counted is none": read_as("rows", run_count=pl.col("run_count").fill_null(0)),
    "nothing is estimated": read_as("rows", has_estimate=False),
    "what agrees is summed first": _summed_first,
    "what has no rate is left out": read_where("rows", pl.col("billing_currency") != "NOK"),
    "a row is lost": lambda made: made | {"rows": made["rows"].slice(1)},
    "a row comes twice": lambda made: made | {"rows": pl.concat([made["rows"], made["rows"].drop_nulls().tail(1)])},
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_amounts_or_rates_turns_the_comparison_red(name: str, seed: int) -> None:
    with pytest.raises(AssertionError):
        check(seed, shown(seed, FAULTS[name]))


ANSWERS: Mapping[str, Callable[[Shown, int], Shown]] = {
    "a last unit too much": lambda each, at: replace(
        each, frame=changed(each.frame, at, cost=pl.col("cost").fill_null(money(0)) + LAST_UNIT)
    ),
    "another amount": lambda each, at: replace(each, frame=changed(each.frame, at, other_cost=pl.lit(money(5)))),
    "called by the currency of its bill": lambda each, at: replace(
        each, frame=changed(each.frame, at, billing_currency=pl.lit("XTS"))
    ),
    "of the day before": lambda each, at: replace(
        each, frame=changed(each.frame, at, day=pl.col("day").dt.offset_by("-1d"))
    ),
    "one row lost": lambda each, at: replace(each, frame=each.frame.filter(pl.int_range(pl.len()) != at)),
    "kept ones are said to be converted": lambda each, _: replace(each, converted=each.converted + each.kept),
    "kept ones are not told": lambda each, _: replace(each, kept=()),
    "rates of today": lambda each, _: replace(each, last_day=day(31)),
    "rates of the first day": lambda each, _: replace(each, first_day=None),
    "into another currency": lambda each, _: replace(each, currency="GBP"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ANSWERS)
def test_one_wrong_word_or_number_turns_the_comparison_red(name: str, seed: int) -> None:
    right = shown(seed)
    places = [0, right.frame.height // 2, right.frame.height - 1]
    for place in places:
        with pytest.raises(AssertionError):
            check(seed, ANSWERS[name](right, place))


def test_another_day_for_all_rates_turns_the_comparison_red() -> None:
    found, made = case(ON_ONE_DAY), tables(ON_ONE_DAY)
    exchange = Exchange(made["rates"].iter_rows())
    for other in (in_currency(made["rows"], exchange, found.to, AMOUNTS, on=day(each)) for each in (4, 12, 28)):
        with pytest.raises(AssertionError):
            check(ON_ONE_DAY, other)
