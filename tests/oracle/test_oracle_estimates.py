"""Estimates of hours that no bill covers yet against a plain reading, on drawn fleets; and faults in them."""

import random
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import Any

import polars as pl
import pytest

from ledger.tables import GpuHour
from queries.graph import Span
from queries.rollups.unbilled_hour import unbilled_hour
from tests import bills as tables
from tests.oracle.bills import FIRST, MARCH, UNIT
from tests.oracle.faults import LAST_UNIT, Fault, changed, not_read, read_as, read_where
from tests.oracle.money_frames import moment, money, units
from tests.oracle.oracle_estimates import Billed, Estimate, Fleet, Listed, Node, estimates
from tests.oracle.oracle_money import HOUR
from tests.oracle.searching import CI

TOGETHER = 100
CALLS = 10 if CI else 1
NOW = FIRST + 9 * HOUR + 25 * 60_000
KINDS = frozenset(
    {
        *("at its own account's rate", "at another account's rate", "at the list price", "at no price", "covered"),
        *("left out", "part of an hour", "unknown rate", "without devices"),
    }
)


def fleet(number: int, draw: random.Random) -> Fleet:
    """Draw one provider's nodes, what of them is billed, and its prices."""
    nodes, billed = [], []
    for index in range(draw.choice((1, 2, 3))):
        edge = FIRST + draw.randint(0, 8 * 60) * 60_000
        start, end = draw.choice(((MARCH, None), (MARCH, None), (edge, None), (MARCH, edge)))
        gpus = draw.choice((8, 8, 8, 4, 0, None))
        nodes.append(
            Node(f"n{index}", start, end, gpus, draw.choice(("eu", "eu", "us")), draw.choice(("h100", "a100")))
        )
    for each in nodes:
        account, currency = draw.choice("ab"), draw.choice(("USD", "USD", "EUR"))
        if draw.random() < 0.3:
            continue
        # The node exists on all of what is billed: a charge for an hour without it would be spread elsewhere.
        hours = range(FIRST - draw.choice((0, 3, 30)) * HOUR, FIRST + draw.randint(1, 8) * HOUR, HOUR)
        skipped = draw.choice(hours)
        is_unknown, is_corrected = draw.random() < 0.15, draw.random() < 0.1
        for hour in hours:
            there = each.start <= hour and (each.end is None or hour + HOUR <= each.end)
            if not there or (hour == skipped and draw.random() < 0.5):
                continue
            amount = draw.choice((1, 1, -1)) * draw.randint(0, 10**21)
            amount_told = None if is_unknown or draw.random() < 0.05 else amount
            is_correction, is_credit = is_corrected or draw.random() < 0.05, draw.random() < 0.05
            billed.append(Billed(each.node, hour, account, currency, amount_told, is_correction, is_credit))
    listed = {
        (region, kind, currency, since): Listed(region, kind, currency, since, draw.randint(0, 99) * UNIT, is_spot)
        for _ in range(draw.choice((0, 2, 5)))
        for region in draw.choice((("",), ("eu",), ("", "us")))
        for kind in draw.choice((("h100",), ("a100", "h100")))
        for currency in draw.choice((("USD",), ("EUR",), ("EUR", "USD")))
        for since in (draw.choice((MARCH, FIRST + 2 * HOUR, FIRST + 5 * HOUR)),)
        for is_spot in (draw.random() < 0.2,)
    }
    return Fleet(f"cloud{number}", tuple(nodes), tuple(billed), tuple(listed.values()))


def charges(each: Fleet) -> list[dict[str, Any]]:
    """Return the bill of a fleet."""
    return [
        tables.charge(
            index,
            import_id=each.name,
            BilledCost=Decimal(0),
            EffectiveCost=money(one.amount),
            BillingCurrency=one.currency,
            BillingAccountId=one.account,
            ChargePeriodStart=moment(one.hour),
            ChargePeriodEnd=moment(one.hour + HOUR),
            ChargeCategory="Credit" if one.is_credit else "Usage",
            ChargeClass="Correction" if one.is_correction else None,
            ServiceProviderName=each.name,
            InvoiceIssuerName=each.name,
            ResourceId=f"i-{one.node}",
        )
        for index, one in enumerate(each.billed)
    ]


def inputs(fleets: list[Fleet]) -> dict[str, pl.DataFrame]:
    """Return the tables of some fleets; an instance is called the same with each provider."""
    nodes = [
        tables.node(one.node, moment(one.start), None if one.end is None else moment(one.end))
        | {"cluster": each.name, "provider": each.name, "gpu_count": one.gpus}
        | {"region": one.region, "instance_type": one.kind}
        for each in fleets
        for one in each.nodes
    ]
    links = [
        tables.link(one.node) | {"cluster": each.name, "provider": each.name} for each in fleets for one in each.nodes
    ]
    prices = [
        {
            "provider": each.name,
            "region": one.region,
            "instance_type": one.kind,
            "price_category": "spot" if one.is_spot else "on_demand",
            "billing_currency": one.currency,
            "valid_start": moment(one.since),
            "unit_price": money(one.amount),
            "pricing_unit": "Hours",
        }
        for each in fleets
        for one in each.listed
    ]
    bill = [row for each in fleets for row in charges(each)]
    return tables.cost_inputs(bill, nodes=nodes, links=links, prices=prices)


Found = dict[tuple[str, str, int], Estimate]


def found_in(costs: pl.DataFrame) -> Found:
    """Return the estimates among costs."""
    rows = costs.filter("is_estimated")
    found = {
        (row["cluster"], row["node"], round(row["hour_start"].timestamp() * 1000)): Estimate(
            row["billing_account_id"], row["billing_currency"], units(row["effective_cost"])
        )
        for row in rows.iter_rows(named=True)
    }
    assert len(found) == rows.height
    return found


def expected(fleets: list[Fleet]) -> Found:
    return {
        (each.name, node, hour): estimate
        for each in fleets
        for (node, hour), estimate in estimates(each, MARCH, NOW).items()
    }


@cache
def given(seed: int) -> tuple[list[Fleet], dict[str, pl.DataFrame]]:
    draw = random.Random(seed)  # noqa: S311  seeded, not secret
    fleets = [fleet(number, draw) for number in range(TOGETHER)]
    return fleets, inputs(fleets)


def computed(made: Mapping[str, pl.DataFrame], now: int = NOW) -> pl.DataFrame:
    return tables.costs_of(made, now=moment(now))


def compare(fleets: list[Fleet], found: Found) -> None:
    """Compare what is estimated with what the oracle reads, to the last unit."""
    wanted = expected(fleets)
    for place in found.keys() | wanted.keys():
        assert found.get(place) == wanted.get(place), (place, "rollup", found.get(place), "oracle", wanted.get(place))


@pytest.mark.parametrize("seed", range(CALLS))
def test_an_hour_without_a_bill_is_estimated_as_a_plain_reading_says(seed: int) -> None:
    fleets, made = given(seed)
    compare(fleets, found_in(computed(made)))


def kinds(each: Fleet) -> Counter[str]:
    """Return what a fleet shows: a case that nothing draws proves nothing."""
    made = estimates(each, MARCH, NOW)
    own = {one.node: one.account for one in each.billed if not one.is_credit}
    found: Counter[str] = Counter()
    for (node, hour), estimate in made.items():
        stay = next(one for one in each.nodes if one.node == node)
        found["at the list price" if not estimate.account else "at another account's rate"] += 1
        if estimate.account and own.get(node) == estimate.account:
            found["at its own account's rate"] += 1
        found["unknown rate"] += estimate.amount is None
        found["part of an hour"] += stay.start > hour or (stay.end is not None and stay.end < hour + HOUR)
    covered = {(one.node, one.hour) for one in each.billed if not one.is_correction and not one.is_credit}
    for one in each.nodes:
        found["without devices"] += not one.gpus
        through = max((hour for node, hour in covered if node == one.node), default=0)
        for hour in range(FIRST, NOW - HOUR, HOUR):
            if one.gpus and one.start <= hour and one.end is None and (one.node, hour) not in made:
                is_covered = (one.node, hour) in covered
                found["covered" if is_covered else "left out" if hour < through else "at no price"] += 1
    return found


def test_each_kind_is_drawn() -> None:
    fleets, _ = given(0)
    drawn: Counter[str] = sum((kinds(each) for each in fleets), Counter())
    assert KINDS - set(+drawn) == set()
    assert len(expected(fleets)) > 500
    assert not CI or CALLS * TOGETHER >= 1_000


@pytest.mark.parametrize("seed", range(0, CALLS, 4))
def test_neither_the_order_of_rows_nor_another_fleet_matters(seed: int) -> None:
    fleets, made = given(seed)
    assert found_in(computed(tables.mixed(made, seed))) == found_in(computed(made))
    alone = inputs(fleets[:1])
    mine = {place: each for place, each in found_in(computed(made)).items() if place[0] == fleets[0].name}
    assert found_in(computed(alone)) == mine


def seen(fleets: list[Fleet]) -> pl.DataFrame:
    """Return an hour of one device for each hour in which a node with devices existed, the present one among them."""
    hours = [
        tables.device_hour(moment(hour), "g", one.node, existed_seconds=existed // 1000) | {"cluster": each.name}
        for each in fleets
        for one in each.nodes
        for hour in range(FIRST, NOW, HOUR)
        if one.gpus and (existed := min(hour + HOUR, one.end or hour + HOUR) - max(hour, one.start)) >= 1000
    ]
    return tables.rows(GpuHour, hours)


def listed_apart(fleets: list[Fleet], made: Mapping[str, pl.DataFrame]) -> dict[tuple[str, str, int], str]:
    """Return the hours that stand beside all totals, with why."""
    found = unbilled_hour.function(
        gpu_hours=seen(fleets).lazy(),
        costs=computed(made).lazy(),
        nodes=made["nodes"].lazy(),
        prices=made["prices"].lazy(),
        span=Span(moment(FIRST), moment(NOW), moment(NOW)),
    ).collect()
    return {
        (row["cluster"], row["node"], round(row["hour_start"].timestamp() * 1000)): row["reason"]
        for row in found.iter_rows(named=True)
    }


@pytest.mark.parametrize("seed", range(0, CALLS, 4))
def test_each_hour_is_billed_estimated_or_listed_apart(seed: int) -> None:
    fleets, made = given(seed)
    billed = {
        (each.name, one.node, one.hour)
        for each in fleets
        for one in each.billed
        if not one.is_correction and not one.is_credit
    }
    over = {
        (row["cluster"], row["node"], round(row["hour_start"].timestamp() * 1000))
        for row in seen(fleets).iter_rows(named=True)
        if row["hour_start"] < moment(NOW - NOW % HOUR)
    }
    apart = listed_apart(fleets, made)
    assert apart.keys() == over - billed - expected(fleets).keys()
    assert set(apart.values()) == {"left_out", "no_price"}


INPUTS: Mapping[str, Fault] = {
    "a correction is a bill": read_as("charges", ChargeClass=None),
    "a credit is usage": read_as("charges", ChargeCategory="Usage"),
    "an unused commitment has a rate": read_as("charges", CommitmentDiscountStatus="Unused"),
    "an unknown cost is none": read_as("charges", EffectiveCost=pl.col("EffectiveCost").fill_null(Decimal(0))),
    "a negative rate is clamped": read_as(
        "charges", EffectiveCost=pl.max_horizontal("EffectiveCost", pl.lit(Decimal(0)))
    ),
    "accounts are one": read_as("charges", BillingAccountId="a"),
    "currencies are one": read_as("charges", BillingCurrency="USD"),
    "nodes of all types have one rate": read_as("nodes", instance_type="h100"),
    "nodes of all regions have one rate": read_as("nodes", region="eu"),
    "nodes without devices are estimated": read_as("nodes", gpu_count=8),
    "a part of an hour is a whole one": read_as("nodes", exists_start=pl.col("exists_start").dt.truncate("1h")),
    "who left is still there": read_as("nodes", exists_end=None),
    "nodes are not linked": not_read("resources"),
    "spot prices are prices on demand": read_as("prices", price_category="on_demand"),
    "prices of all regions are alike": read_as("prices", region=""),
    "a price held before its day": read_as("prices", valid_start=moment(MARCH)),
    "a list has one currency": read_as("prices", billing_currency="USD"),
    "no list is read": not_read("prices"),
    "the last hours of a bill are lost": read_where("charges", pl.col("ChargePeriodStart") < moment(FIRST + 4 * HOUR)),
}
"""The oracle reads the tables, what it judges reads them changed."""

OUTPUTS: Mapping[str, pl.Expr | None] = {
    "an estimate dropped": None,
    "a last unit too much": pl.col("effective_cost") + LAST_UNIT,
    "an estimate clamped": pl.lit(Decimal(0)),
}


@pytest.mark.parametrize("name", INPUTS)
def test_a_rule_that_misreads_turns_the_comparison_red(name: str) -> None:
    fleets, made = given(0)
    with pytest.raises(AssertionError):
        compare(fleets, found_in(computed(INPUTS[name](made))))


def test_an_hour_that_is_not_over_turns_the_comparison_red() -> None:
    fleets, made = given(0)
    with pytest.raises(AssertionError):
        compare(fleets, found_in(computed(made, NOW + HOUR)))


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("seed", range(3))
def test_one_wrong_estimate_turns_the_comparison_red(name: str, seed: int) -> None:
    fleets, made = given(0)
    rows = computed(made)
    places = rows.select((pl.col("is_estimated") & (pl.col("effective_cost") != 0)).arg_true()).to_series().to_list()
    place = random.Random(seed).choice(places)  # noqa: S311  seeded, not secret
    value = OUTPUTS[name]
    wrong = (
        rows.filter(pl.int_range(pl.len()) != place) if value is None else changed(rows, place, effective_cost=value)
    )
    with pytest.raises(AssertionError):
        compare(fleets, found_in(wrong))
