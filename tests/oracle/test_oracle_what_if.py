"""Other ways to do drawn work against a plain reading; and faults in what was used, is offered, and is assumed."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction

import polars as pl
import pytest

from tests.oracle.faults import LAST_UNIT, Fault, Tables, not_read, read_as, read_where
from tests.oracle.oracle_what_if import Way
from tests.oracle.what_if_frames import KINDS, SEEDS, Assuming, Found, check, computed, expected


@pytest.mark.parametrize("seed", SEEDS)
def test_each_way_costs_what_a_plain_reading_says(seed: int) -> None:
    check(seed, computed(seed))
    every = [name for each in expected(seed).values() for name in each.ways]
    assert {name[0] for name in every} == {"now", "rent", "spot", "commit", "own"}
    assert {("spot", "discount"), ("commit", "1 year"), ("own", "base"), ("own", "all")} <= set(every)
    assert any(way.cost is None for each in expected(seed).values() for way in each.ways.values())
    assert len({each.best for each in expected(seed).values()}) > 1


def _of_one_kind(made: Tables) -> Tables:
    """Read the hours of all kinds of servers as those of each."""
    names = ("existed_ms", "held_ms", "productive_ms")
    return made | {"hours": made["hours"].with_columns(pl.col(name).sum().over("hour_start") for name in names)}


def _one_cost(made: Tables) -> Tables:
    by = ["provider", "region", "instance_type", "gpu_model"]
    known = made["costs"].filter(pl.col("effective_cost").is_not_null())
    return made | {"costs": known.unique(by, keep="first", maintain_order=True)}


_HELD = pl.col("held_ms")

FAULTS: Mapping[str, Fault] = {
    "all that is there is held": read_as("hours", held_ms=pl.col("existed_ms")),
    "what is held is productive": read_as("hours", productive_ms=_HELD),
    "what is productive is held": read_as("hours", held_ms=pl.col("productive_ms")),
    "what is held is all that is there": read_as("hours", existed_ms=_HELD),
    "hours are alike": read_as("hours", held_ms=_HELD.mean().round(0).over("instance_type")),
    "work is a hundredth more": read_as("hours", held_ms=_HELD + _HELD // 100),
    "hours without work were not there": read_where("hours", _HELD > 0),
    "the last hour is lost": read_where("hours", pl.col("hour_start") < pl.col("hour_start").max()),
    "hours are those of all kinds": _of_one_kind,
    "memory is not measured": read_as("hours", memory_used_bytes=None),
    "more memory was in use than there is": read_as("hours", memory_used_bytes=81e9),
    "what it costs is a last unit more": read_as("costs", effective_cost=pl.col("effective_cost") + LAST_UNIT),
    "cents are enough": read_as("costs", effective_cost=pl.col("effective_cost").round(2)),
    "an unknown cost is none": read_as("costs", effective_cost=pl.col("effective_cost").fill_null(0)),
    "one of two currencies is all": _one_cost,
    "no bill is known": not_read("costs"),
    "servers have one GPU": read_as("prices", gpu_count=1),
    "servers have eight GPUs": read_as("prices", gpu_count=8),
    "billed servers have sixteen GPUs": read_as("rates", gpu_count=16),
    "lists tell no memory": read_as("prices", gpu_memory_bytes=None),
    "what is billed is too small": read_as("rates", gpu_memory_bytes=1e9),
    "all is on demand": read_as("prices", price_category="on_demand"),
    "all was billed on demand": read_as("rates", price_category="on_demand"),
    "reservations are spot": read_as("prices", price_category=pl.col("price_category").replace({"reserved": "spot"})),
    "prices are in one currency": read_as("prices", billing_currency="USD"),
    "bills are in one currency": read_as("rates", billing_currency="EUR"),
    "lists are of one region": read_as("prices", region="us-east-1"),
    "prices are a last unit more": read_as("prices", unit_price=pl.col("unit_price") + LAST_UNIT),
    "bills are a last unit more": read_as("rates", unit_price=pl.col("unit_price") + LAST_UNIT),
    "GPUs are alike": read_as("prices", gpu_model="H100"),
    "no list is read": not_read("prices"),
    "rates of bills are not read": not_read("rates"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_what_was_used_or_offered_turns_the_comparison_red(name: str, seed: int) -> None:
    with pytest.raises(AssertionError):
        check(seed, computed(seed, FAULTS[name]))


def server_with(**given: object) -> Assuming:
    """Return what is assumed with another server, where there is one."""
    return lambda asked: replace(asked, server=asked.server and replace(asked.server, **given))  # type: ignore[arg-type]


ASSUMED: Mapping[str, Assuming] = {
    "work is what is there": lambda asked: replace(asked, basis="existing"),
    "work is what was held": lambda asked: replace(asked, basis="held"),
    "another GPU is not asked for": lambda asked: replace(asked, gpu=""),
    "GPUs are equally fast": lambda asked: replace(asked, speed="1"),
    "nothing is done twice": lambda asked: replace(asked, rerun="0"),
    "what was interrupted is not measured": lambda asked: replace(asked, interrupted="0.2", rerun=None),
    "spot has no discount": lambda asked: replace(asked, spot=asked.spot and "0"),
    "no discount is known on spot": lambda asked: replace(asked, spot=None),
    "a year has no discount": lambda asked: replace(asked, year="0"),
    "nobody states a discount": lambda asked: replace(asked, year=None, three=None),
    "three years are as one": lambda asked: replace(asked, three=asked.year),
    "the rest is rented where it is cheapest": lambda asked: replace(asked, rent=""),
    "nothing can be bought": lambda asked: replace(asked, server=None),
    "yen are dollars": lambda asked: replace(asked, rates={**asked.rates, "JPY": Fraction(1)}),
    "euros are dollars": lambda asked: replace(asked, rates=dict.fromkeys(asked.rates, Fraction(1))),
    "no rate of the euro is known": lambda asked: replace(asked, rates={"USD": Fraction(1)}),
    "a server has one GPU": server_with(gpus=1),
    "a server costs dollars": server_with(currency="USD"),
    "it costs a cent more": server_with(purchase="250000.02"),
    "nothing is left of it": server_with(residual="0"),
    "nobody finances it": server_with(financing="0"),
    "it lasts five years": server_with(months=Fraction(60)),
    "it draws a kilowatt": server_with(watts="1000"),
    "the site has no overhead": server_with(overhead="1"),
    "energy is free": server_with(energy="0", watts="9800.5"),
    "space is free": server_with(space="0"),
    "nobody runs it": server_with(staff="0"),
    "nobody supports it": server_with(support="0"),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ASSUMED)
def test_what_is_assumed_otherwise_turns_the_comparison_red(name: str, seed: int) -> None:
    with pytest.raises(AssertionError):
        check(seed, computed(seed, assuming=ASSUMED[name]))


WAYS: Mapping[str, Callable[[Way], Way | None]] = {
    "a last unit too much": lambda way: way._replace(cost=(way.cost or 0) + 1),
    "without a price": lambda way: way._replace(cost=None, all_rented=1),
    "another base": lambda way: way._replace(base=way.base + 8),
    "a server more for an hour": lambda way: way._replace(rented=way.rented + Fraction(1, 48)),
    "all rented for less": lambda way: way._replace(all_rented=(way.all_rented or 0) - 1),
    "all as a base for less": lambda way: way._replace(all_base=(way.all_base or 0) - 1),
    "worth it a little earlier": lambda way: way._replace(break_even=(way.break_even or 0) - Fraction(1, 10**9)),
    "left out": lambda _: None,
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", WAYS)
def test_one_wrong_way_turns_the_comparison_red(name: str, seed: int) -> None:
    right = computed(seed)
    for place in (min(right), max(right)):
        for way in right[place].ways:
            wrong = WAYS[name](right[place].ways[way])
            ways = {each: known for each, known in right[place].ways.items() if each != way}
            with pytest.raises(AssertionError):
                check(seed, right | {place: right[place]._replace(ways=ways | ({way: wrong} if wrong else {}))})


@pytest.mark.parametrize("which", ["best", "risky", "based"])
def test_another_cheapest_way_turns_the_comparison_red(which: str) -> None:
    right: Found = computed(0)
    place = KINDS[0], 1
    for wrong in (("rent", "another"), None):
        with pytest.raises(AssertionError):
            check(0, right | {place: right[place]._replace(**{which: wrong})})
