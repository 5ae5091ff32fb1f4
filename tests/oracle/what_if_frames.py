"""Drawn work and offers as the tables that scenarios are made of, all ways to do it, and their comparison."""

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import polars as pl

from ledger.money import MONEY
from queries.scenarios import owned
from queries.scenarios.offers import Convert, offers
from queries.scenarios.options import Assumptions, Option
from queries.scenarios.scenario import Scenario, scenario
from queries.scenarios.work import works
from tests.oracle.faults import Fault, Tables, as_it_is
from tests.oracle.money_frames import money, units
from tests.oracle.oracle_what_if import HOUR, ONE, Asked, Cost, Key, Offer, Server, Told, Used, Way, told
from tests.oracle.searching import CI

SEEDS = range(8 if CI else 3)
START = datetime(2026, 11, 1, tzinfo=UTC)
DAY = date(2026, 11, 20)
HOURS = 48

KINDS: tuple[Key, ...] = (
    ("AWS", "us-east-1", "p5", "H100"),
    ("Cloud", "", "8xh100", "H100"),
    ("Lab", "dc", "own", "A100"),
)
MODELS = {"H100": ("NVIDIA H100 80GB HBM3", "h100"), "A100": ("NVIDIA A100-SXM4-40GB", "Nvidia A100 PCIe")}
"""By kind of GPU: what a device is called, and what a list calls it."""

SERVER = Server(
    gpus=8, currency="EUR", purchase="250000.01", months=Fraction(601, 10), residual="17000.5", financing="9100",
    watts="9800.5", overhead="1.3", energy="0.2145", space="210.7", staff="99.99", support="450",
)  # fmt: skip

BILLED = {"on_demand": "on demand", "spot": "spot", "committed": "committed"}


class Case(NamedTuple):
    """What was used and what it cost, what is offered, and what is assumed, in several ways."""

    seen: list[Used]
    costs: list[Cost]
    offers: list[Offer]
    asked: list[Asked]


@cache
def case(seed: int) -> Case:
    draw = random.Random(seed)  # noqa: S311  seeded, not secret
    seen = []
    for key, gpus in zip(KINDS, (32, 16, 8), strict=True):
        for hour in range(HOURS):
            existed = draw.randint(gpus * HOUR // 2, gpus * HOUR)
            held = draw.choice((0, existed, draw.randint(0, existed), draw.randint(0, existed)))
            memory = draw.choice((None, draw.uniform(1e9, 70e9)))
            if hour == 7 or draw.random() < 0.9:
                seen.append(Used(hour, key, existed, held, draw.randint(0, held), memory))
    costs = [
        Cost(KINDS[0], "USD", draw.randint(10**28, 10**30)),
        Cost(KINDS[0], "EUR", None),
        Cost(KINDS[1], "EUR", draw.randint(1, 10**22)),
        Cost(KINDS[2], "USD", draw.randint(1, 10**22)),
        Cost(KINDS[2], "EUR", draw.randint(1, 10**22)),
    ]
    offered = [_offer(draw, number) for number in range(30)]
    offered.append(_near(offered[0]))
    listed = [each for each in offered if each.category == "on_demand" and each.gpu == "H100"]
    rates = {"USD": Fraction(1), "EUR": Fraction(draw.randint(10**18, 12 * 10**17), ONE)}
    common = Asked(rates=rates, interrupted=draw.choice((None, "0.0731")))
    far = max((each for each in listed if each.currency in rates), key=lambda each: each.units // each.gpus)
    rest = f"{far.kind} · {far.provider} {far.region} · {far.lists}"
    asked = [
        common,
        replace(common, basis="existing", rerun="0.25", year="0.3", three="0.55", server=SERVER),
        replace(common, gpu="A100", speed="0.37", spot="0.6", server=replace(SERVER, gpus=6, energy="0")),
        replace(common, basis="productive", speed="1.9", rent=rest),
    ]
    return Case(seen, costs, offered, asked)


def _near(offer: Offer) -> Offer:
    """Return an offer of what the first kind of work runs on."""
    return offer._replace(
        provider="AWS",
        region="us-east-1",
        kind="p5",
        category="on_demand",
        memory=80e9,
        currency="USD",
        lists="list l.csv",
    )


def _offer(draw: random.Random, number: int) -> Offer:
    is_billed = number % 5 == 4
    category = draw.choice(list(BILLED)) if is_billed else draw.choice(("on_demand", "rate_card", "reserved", "spot"))
    gpu = "H100" if number < 20 else "A100"
    if gpu == "A100" and category == "spot":
        # Only a discount says what it costs on spot.
        category = "on_demand"
    lists = f"bill, {BILLED[category]}" if is_billed else f"{'rate card' if category == 'rate_card' else 'list'} l.csv"
    return Offer(
        draw.choice(("AWS", "Cloud", "Far")), draw.choice(("us-east-1", "eu")), f"t{number}", gpu, category,
        draw.choice(("USD", "USD", "EUR", "JPY")), draw.randint(ONE, 99 * ONE), draw.choice((1, 4, 8)),
        draw.choice((None, 40e9, 80e9, 141e9)), lists,
    )  # fmt: skip


@cache
def tables(seed: int) -> Tables:
    found = case(seed)
    rows = [_offer_row(each) for each in found.offers]
    bare = rows[0] | {"instance_type": "bare", "unit_price": Decimal("0.01"), "price_category": "on_demand"}
    bare |= {"gpu_model": None, "gpu_count": None, "source": "l.csv", "billing_currency": "USD"}
    prices = [*(row for row in rows if row["source"] == "l.csv"), bare]
    return {
        "hours": pl.DataFrame(
            [_place(each.key) | _seen_row(each) for each in found.seen],
            schema_overrides={"memory_used_bytes": pl.Float64},
        ),
        "costs": pl.DataFrame(
            [
                _place(each.key)
                | {"billing_currency": each.currency, "effective_cost": money(each.units), "committed_cost": None}
                | {"owned_cost": None, "estimated_cost": None, "unknown_count": 0, "costed_ms": HOUR}
                for each in found.costs
            ],
            schema_overrides={"effective_cost": MONEY},
        ),
        "prices": pl.DataFrame(prices, schema_overrides={"unit_price": MONEY, "gpu_memory_bytes": pl.Float64}),
        "rates": pl.DataFrame(
            [row for row in rows if row["source"] != "l.csv"],
            schema_overrides={"unit_price": MONEY, "gpu_memory_bytes": pl.Float64},
        ),
    }


def _place(key: Key) -> dict[str, Any]:
    return {"provider": key[0], "region": key[1], "instance_type": key[2], "gpu_model": MODELS[key[3]][0]}


def _seen_row(each: Used) -> dict[str, Any]:
    return {
        "hour_start": START + timedelta(hours=each.hour), "gpu_count": 8, "memory_total_bytes": 80e9,
        "existed_ms": each.existed, "held_ms": each.held, "productive_ms": each.productive,
        "memory_used_bytes": each.memory, "energy_joules": 1e6, "metered_ms": each.existed,
    }  # fmt: skip


def _offer_row(each: Offer) -> dict[str, Any]:
    return {
        "provider": each.provider, "region": each.region, "instance_type": each.kind, "price_category": each.category,
        "billing_currency": each.currency, "unit_price": money(each.units), "priced_on": DAY,
        "source": each.lists.rpartition(" ")[2] if "l.csv" in each.lists else "", "gpu_model": MODELS[each.gpu][1],
        "gpu_count": each.gpus, "gpu_memory_bytes": each.memory,
    }  # fmt: skip


Found = dict[tuple[Key, int], Told]


@cache
def expected(seed: int) -> Found:
    found = case(seed)
    # What bills show has a place behind that of the lists.
    ordered = sorted(found.offers, key=lambda each: each.lists.startswith("bill"))
    return {
        (key, index): told(key, found.seen, found.costs, ordered, asked)
        for key in KINDS
        for index, asked in enumerate(found.asked)
    }


Assuming = Callable[[Asked], Asked]


def as_asked(asked: Asked) -> Asked:
    return asked


def computed(seed: int, fault: Fault = as_it_is, assuming: Assuming = as_asked) -> Found:
    """Return all ways of each kind of work, where tables are read with a fault, or something else is assumed."""
    made = fault(tables(seed))
    done = {}
    for index, each in enumerate(case(seed).asked):
        asked = assuming(each)
        worth = _worth(asked)
        offered = offers(made["prices"], made["rates"], worth)
        interrupted = None if asked.interrupted is None else Decimal(asked.interrupted)
        for work in works(made["hours"], made["costs"]):
            key = work.provider, work.region, work.instance_type, work.accelerator
            done[key, index] = _told(scenario(work, offered, _assumptions(asked), interrupted, worth, DAY))
    return done


def _worth(asked: Asked) -> Convert:
    return lambda currency, _: asked.rates.get(currency)


def _assumptions(asked: Asked) -> Assumptions:
    texts = (asked.rerun, asked.spot, asked.year, asked.three)
    ratios = [None if each is None else Decimal(each) for each in texts]
    return Assumptions(asked.basis, asked.gpu, Decimal(asked.speed), *ratios, asked.rent, _server(asked.server))


def _server(server: Server | None) -> owned.Server | None:
    if server is None:
        return None

    def known(text: str) -> Decimal | None:
        return None if text == "0" else Decimal(text)

    return owned.Server(
        "S", server.currency, server.gpus, Decimal(server.purchase), known(server.residual), known(server.financing),
        server.months, known(server.watts), Decimal(server.overhead), known(server.energy), known(server.space),
        known(server.staff), known(server.support), "inventory",
    )  # fmt: skip


def _told(found: Scenario) -> Told:
    ways = {
        _name(each): Way(
            units(each.month_cost), each.base_gpu_count, each.rented_hours, units(each.all_rented_cost),
            units(each.all_base_cost), each.break_even,
        )
        for each in (found.now, *found.options)
    }  # fmt: skip
    assert len(ways) == len(found.options) + 1
    least = (found.best, found.best_risky, found.based)
    for each in found.options:
        saving, costs = found.saving(each), (found.now.month_cost, each.month_cost)
        now, then = (units(cost) for cost in costs)
        assert units(saving) == (None if now is None or then is None else now - then)
    return Told(ways, *(None if each is None else _name(each) for each in least))


def _name(option: Option) -> tuple[str, ...]:
    offer = option.offer
    if option.kind == "own":
        return "own", "all" if option.name.endswith("for everything") else "base"
    if offer is None:
        return ("now",)
    if ", less " in offer.source:
        return option.kind, "discount" if option.kind == "spot" else option.line.removeprefix("committed for ")
    return option.kind, offer.name


def check(seed: int, found: Found) -> None:
    wanted = expected(seed)
    assert found.keys() == wanted.keys()
    for key, mine in wanted.items():
        for name in mine.ways.keys() | found[key].ways.keys():
            one, other = found[key].ways.get(name), mine.ways.get(name)
            assert one == other, (key, name, "scenario", one, "oracle", other)
        assert found[key] == mine, key
