"""Who bears idle time, what idled between runs, commitments and tokens against a plain reading; and faults in each."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

import polars as pl
import pytest

from ledger import money as ledger_money
from ledger.money_sections import MoneySettings
from ledger.tables import AllocationHour, FocusCharge, JobGpuHour, NodeResource, ServingSample, TrainingDay
from queries.graph import Span
from queries.idle_borne import RULES, borne
from queries.rollups.commitment_day import commitment_day
from queries.rollups.model_cost_day import model_cost_day
from queries.unit_costs import between_runs
from tests.bills import charge, imports_of, job_hour, rows
from tests.oracle import oracle_answers as oracle
from tests.oracle.bills import APRIL, FIRST, MARCH, MAY
from tests.oracle.money_frames import moment, money, units
from tests.oracle.oracle_answers import DAY, Part, Term
from tests.oracle.oracle_money import HOUR, Units
from tests.oracle.searching import CI
from tests.queries.rollups.test_forecast_day import hour
from tests.queries.rollups.test_model_cost_day import sample

DAYS = 500 if CI else 150
"""So many days of a fleet, each with its own names, nodes and holders."""

NAMES = ("vision", "speech", "search", "unassigned")
PARTS = ("used", "used", "held_idle", "allocated_idle", "unallocated", "unused_commitment", "apart")
COST = ledger_money.MONEY


def day_of(at: int) -> date:
    return moment(at).date()


def amount(draw: random.Random) -> Units:
    """Draw an amount: unknown, nothing, negative, a few units, or large."""
    size = draw.choice((None, 0, 3, 10**6, 10**20, 10**28))
    return None if size is None else draw.choice((1, 1, 1, -1)) * draw.randint(0, size)


@cache
def parts() -> tuple[Part, ...]:
    """Draw what names cost on each day."""
    draw = random.Random(1)  # noqa: S311  seeded, not secret
    found: dict[tuple[Any, ...], Part] = {}
    for number in range(DAYS):
        day = FIRST + number * DAY
        for _ in range(draw.randint(1, 12)):
            part = draw.choice(PARTS)
            name = "idle" if part in {"unallocated", "unused_commitment"} else draw.choice(NAMES)
            cluster = "" if part == "unused_commitment" else draw.choice(("a", "b"))
            each = Part(day, draw.choice(("USD", "USD", "EUR")), cluster, name, part, amount(draw))
            found[each[:5]] = each
    return tuple(found.values())


def part_frame(given: Sequence[Part]) -> pl.DataFrame:
    names = ("day", "billing_currency", "cluster", "name", "part", "cost", "has_estimate")
    types = dict.fromkeys(names, pl.String) | {"day": pl.Date, "cost": COST, "has_estimate": pl.Boolean}
    told = [(day_of(each.day), *each[1:5], money(each.cost), False) for each in given]
    return pl.DataFrame(told, schema=types, orient="row")


def check_borne(given: Sequence[Part], rule: str, found: pl.DataFrame) -> None:
    wanted = {(day_of(key[0]), *key[1:]): cost for key, cost in oracle.borne(given, rule).items()}
    told = {
        tuple(row[:3]): units(row[3]) for row in found.select("day", "billing_currency", "name", "cost").iter_rows()
    }
    assert told == wanted
    assert found.height == len(told)


@pytest.mark.parametrize("rule", RULES)
def test_idle_time_is_borne_as_a_plain_reading_says(rule: str) -> None:
    check_borne(parts(), rule, borne(part_frame(parts()), rule))


BORNE_FAULTS: Mapping[str, tuple[str, Callable[[Part], Part | None]]] = {
    "credits weigh": (
        "proportional",
        lambda each: each._replace(cost=abs(each.cost or 0)) if each.part == "used" else each,
    ),
    "clusters are one": ("even", lambda each: each._replace(cluster="a")),
    "currencies are one": ("even", lambda each: each._replace(currency="USD")),
    "days are one": ("proportional", lambda each: each._replace(day=FIRST)),
    "unused commitments stay": (
        "proportional",
        lambda each: each._replace(part="apart") if each.cluster == "" else each,
    ),
    "held idle time is used": (
        "cluster",
        lambda each: each._replace(part="used") if each.part == "held_idle" else each,
    ),
    "shared cost is held": ("even", lambda each: each._replace(part="used") if each.part == "apart" else each),
    "who only idled holds nothing": (
        "even",
        lambda each: each._replace(part="apart") if each.part == "held_idle" else each,
    ),
    "idle time is dropped": ("even", lambda each: None if each.part == "unallocated" else each),
}


@pytest.mark.parametrize("name", BORNE_FAULTS)
def test_a_fault_in_who_bears_idle_time_turns_the_comparison_red(name: str) -> None:
    rule, misread = BORNE_FAULTS[name]
    few = parts()[:600]
    wrong = {each[:5]: each for each in map(misread, few) if each is not None}
    with pytest.raises(AssertionError):
        check_borne(few, rule, borne(part_frame(tuple(wrong.values())), rule))


@pytest.mark.parametrize("other", RULES[1:])
def test_another_rule_for_idle_time_turns_the_comparison_red(other: str) -> None:
    with pytest.raises(AssertionError):
        check_borne(parts(), "holder", borne(part_frame(parts()), other))


Idle = dict[tuple[int, str, str], Units]
Held = dict[tuple[int, str, str], int]


@cache
def idled() -> tuple[Idle, Held]:
    """Draw what idled on nodes, and who held them how long."""
    draw = random.Random(2)  # noqa: S311  seeded, not secret
    idle: Idle = {}
    held: Held = {}
    for number in range(DAYS):
        day = FIRST + number * DAY
        for node in draw.sample(("n1", "n2", "n3"), draw.randint(1, 3)):
            for currency in draw.choice((("USD",), ("USD", "EUR"))):
                idle[day, node, currency] = amount(draw)
            for name in draw.sample(NAMES, draw.randint(0, 3)):
                held[day, node, name] = draw.choice((0, 1, draw.randint(1, 86_400_000)))
    return idle, held


def frames(idle: Idle, held: Held) -> tuple[pl.DataFrame, pl.DataFrame]:
    place = {"day": pl.Date, "cluster": pl.String, "node": pl.String}
    cost = {"billing_currency": pl.String, "effective_cost": COST, "held_gpu_seconds": COST}
    time = {"name": pl.String, "team": pl.String, "held_gpu_seconds": pl.Decimal(28, 9)}
    unheld = [
        (day_of(day), "c", node, currency, money(each), Decimal(3600)) for (day, node, currency), each in idle.items()
    ]
    holders = [(day_of(day), "c", node, name, "", Decimal(each) / 1000) for (day, node, name), each in held.items()]
    return (
        pl.DataFrame(unheld, schema=place | cost, orient="row"),
        pl.DataFrame(holders, schema=place | time, orient="row"),
    )


def check_between(idle: Idle, held: Held, found: pl.DataFrame) -> None:
    told = {
        (name, currency): units(cost)
        for name, currency, cost in found.select("name", "billing_currency", "effective_cost").iter_rows()
    }
    wanted = oracle.between_runs(idle, held)
    for key in told.keys() | wanted.keys():
        assert told.get(key) == wanted.get(key), key


def test_what_idled_between_runs_is_its_owners_as_a_plain_reading_says() -> None:
    check_between(*idled(), between_runs(*frames(*idled())))


BETWEEN_FAULTS: Mapping[str, Callable[[Idle, Held], tuple[Idle, Held]]] = {
    "nodes are one": lambda idle, held: (idle, {(day, "n1", name): time for (day, _, name), time in held.items()}),
    "days are one": lambda idle, held: (idle, {(FIRST, node, name): time for (_, node, name), time in held.items()}),
    "all hold as long": lambda idle, held: (idle, dict.fromkeys(held, 1)),
    "nobody held anything": lambda idle, _: (idle, {}),
    "unknown is nothing": lambda idle, held: (
        {key: cost or 0 for key, cost in idle.items()} | {(FIRST, "x", "JPY"): 1},
        held,
    ),
    "credits are clamped": lambda idle, held: ({key: cost and max(cost, 0) for key, cost in idle.items()}, held),
    "one second more": lambda idle, held: (idle, {key: time + 1000 for key, time in held.items()}),
}


@pytest.mark.parametrize("name", BETWEEN_FAULTS)
def test_a_fault_in_what_idled_between_runs_turns_the_comparison_red(name: str) -> None:
    with pytest.raises(AssertionError):
        check_between(*idled(), between_runs(*frames(*BETWEEN_FAULTS[name](*idled()))))


@cache
def terms() -> tuple[Term, ...]:
    """Draw charges of commitments: bought, used and unused, over hours, parts of hours and days."""
    draw = random.Random(3)  # noqa: S311  seeded, not secret
    found: dict[tuple[Any, ...], Term] = {}
    for _ in range(DAYS):
        kind = draw.choice(("purchased", "used", "used", "unused"))
        start = FIRST + draw.randint(0, 20 * 24 * 60) * 60_000
        length = draw.choice((HOUR, DAY, 90 * 60_000 + 7, 1, 365 * DAY))
        length = length if kind == "purchased" else min(length, DAY)
        late = draw.random() < 0.2
        period = (APRIL, MAY) if late else (MARCH, APRIL)
        billed = draw.randint(0, 10**21) if kind == "purchased" else 0
        effective = 0 if kind == "purchased" else amount(draw)
        name = draw.choice(("Plan-1", "plan-1", "cr-9"))
        instance = "" if kind != "used" else draw.choice(("p5", "p4d"))
        each = Term(
            name, kind, start, start + length, *period, billed, effective, draw.choice(("USD", "EUR")), instance
        )
        found[name.lower(), kind, start, start + length, period, each.currency, instance] = each
    return tuple(found.values())


Told = tuple[oracle.Days, oracle.Counts]
"""What was found by day: costs, and how many charges nobody states the cost of."""


def days_of(given: Sequence[Term]) -> Told:
    """Return what the rollup makes of charges, as the oracle says it."""
    bill = [
        charge(
            index,
            BilledCost=money(each.billed),
            EffectiveCost=money(each.effective),
            BillingCurrency=each.currency,
            BillingPeriodStart=moment(each.period_start),
            BillingPeriodEnd=moment(each.period_end),
            ChargePeriodStart=moment(each.start),
            ChargePeriodEnd=moment(each.end),
            ChargeCategory="Purchase" if each.kind == "purchased" else "Usage",
            CommitmentDiscountId=None if each.commitment == "cr-9" else each.commitment,
            CapacityReservationId="CR-9" if each.commitment == "cr-9" else None,
            CommitmentDiscountStatus=None if each.kind == "purchased" else each.kind.title(),
            SkuPriceDetails=f'{{"InstanceType": "{each.instance}"}}' if each.instance else None,
        )
        for index, each in enumerate(given)
    ]
    charges = rows(FocusCharge, bill)
    made = commitment_day.function(
        charges=charges.lazy(),
        imports=imports_of(charges).lazy(),
        resources=rows(NodeResource, []).lazy(),
        span=Span(moment(MARCH), moment(MAY), moment(MAY)),
        settings=MoneySettings(),
    ).collect()
    found: oracle.Days = {}
    counts: oracle.Counts = {}
    for row in made.iter_rows(named=True):
        day = round(moment(MARCH).timestamp() * 1000) + (row["day"] - day_of(MARCH)) // timedelta(days=1) * DAY
        for kind in ("purchased", "used", "unused"):
            cost = units(row[f"{kind}_cost"])
            key = (row["commitment_id"], day, row["billing_currency"], row["instance_type"], kind)
            if cost is not None:
                found[key] = (found.get(key) or 0) + cost
            touching, begun = (row.get(f"{kind}_unstated_{name}") or 0 for name in ("count", "begun_count"))
            if touching:
                before = counts.get(key, (0, 0))
                counts[key] = (before[0] + touching, before[1] + begun)
    return found, counts


def check_commitments(given: Sequence[Term], told: Told) -> None:
    found, counts = told
    assert found == {key: cost for key, cost in oracle.commitments(given).items() if cost is not None}
    assert counts == oracle.unstated(given)


def test_commitments_cost_by_day_what_a_plain_reading_says() -> None:
    check_commitments(terms(), days_of(terms()))


TERM_FAULTS: Mapping[str, Callable[[Term], Term | None]] = {
    "what is unused is used": lambda each: each._replace(kind="used") if each.kind == "unused" else each,
    "what is unused is dropped": lambda each: None if each.kind == "unused" else each,
    "purchases are spread": lambda each: each._replace(kind="used", effective=each.billed),
    "cash is cost": lambda each: each._replace(effective=each.billed),
    "a charge is of its first hour": lambda each: each._replace(end=each.start + 1),
    "charge periods are days": lambda each: each._replace(start=each.start - each.start % DAY),
    "instances are one": lambda each: each._replace(instance="p5"),
    "commitments are one": lambda each: each._replace(commitment="plan-1"),
    "credits are clamped": lambda each: each._replace(effective=each.effective and max(each.effective, 0)),
    "what is not stated is no charge": lambda each: each if each.effective is not None else None,
    "what is not stated is another day's": lambda each: (
        each if each.effective is not None else each._replace(start=each.start + DAY, end=each.end + DAY)
    ),
    "the billing period is the charge's": lambda each: each._replace(period_start=MARCH, period_end=APRIL),
}


@pytest.mark.parametrize("name", TERM_FAULTS)
def test_a_fault_in_commitments_turns_the_comparison_red(name: str) -> None:
    few = terms()[:80]
    wrong = [each for each in map(TERM_FAULTS[name], few) if each is not None]
    with pytest.raises(AssertionError):
        check_commitments(few, days_of(wrong))


class Served(NamedTuple):
    """What one server's job cost in an hour, and how long requests spent in prefill and decode."""

    model: str
    cost: Units
    prefill: float | None
    decode: float | None


@cache
def servers() -> tuple[Served, ...]:
    draw = random.Random(4)  # noqa: S311  seeded, not secret
    times = (None, 0.0, 0.2, 5.0, 0.000_4, 0.123, 3_600.0)
    return tuple(
        Served(f"m{number}", amount(draw), draw.choice(times), draw.choice(times)) for number in range(DAYS // 3)
    )


def priced(given: Sequence[Served]) -> dict[str, tuple[Units, Units]]:
    """Return what the rollup makes of servers: the cost of prompts and of generated tokens, by model."""
    at = moment(FIRST)
    hours, held, samples = [], [], []
    for number, each in enumerate(given):
        about = {"job_id": f"j{number}", "node": f"n{number}", "gpu_uuid": f"g{number}", "submitted_at": moment(MARCH)}
        hours.append(hour(at, money(each.cost), **about, model=each.model))
        about.pop("submitted_at")
        job, gpu, name = about["job_id"], about["gpu_uuid"], about["node"]
        held.append(job_hour(at, str(gpu), str(job), str(name), productive_seconds=3600, model=each.model))
        for minute, share in ((1, 0.0), (2, 1.0)):
            grown = (None if time is None else time * share for time in (each.prefill, each.decode))
            times = dict(zip(("prefill_seconds_total", "decode_seconds_total"), grown, strict=True))
            told = sample(at + timedelta(minutes=minute), 1000.0 * minute, None, step_seconds=60.0, **times)
            samples.append(told | {"job_id": job, "node": name, "endpoint": f"http://{name}:8000"})
    made = model_cost_day.function(
        allocations=rows(AllocationHour, hours).lazy(),
        job_hours=rows(JobGpuHour, held).lazy(),
        serving=rows(ServingSample, samples).lazy(),
        training=rows(TrainingDay, []).lazy(),
        span=Span(at, at + timedelta(days=1), moment(APRIL)),
    ).collect()
    return {
        row["model"]: (units(row["prompt_cost"]), units(row["generated_cost"])) for row in made.iter_rows(named=True)
    }


def check_served(given: Sequence[Served], found: Mapping[str, tuple[Units, Units]]) -> None:
    assert found == {each.model: oracle.served(each.cost, each.prefill, each.decode) for each in given}


def test_prompts_and_generated_tokens_cost_what_a_plain_reading_says() -> None:
    found = priced(servers())
    check_served(servers(), found)
    known = [both for both in found.values() if None not in both and sum(filter(None, both))]
    assert len(known) > len(servers()) // 5


SERVED_FAULTS: Mapping[str, Callable[[Served], Served]] = {
    "decode is a mean per token": lambda each: each._replace(decode=each.decode and each.decode / 250),
    "prefill is not told": lambda each: each._replace(prefill=None),
    "decode is nothing": lambda each: each._replace(decode=each.decode and 0.0),
    "prompts and answers are swapped": lambda each: each._replace(prefill=each.decode, decode=each.prefill),
    "what is not told is nothing": lambda each: each._replace(prefill=each.prefill or 0.0, decode=each.decode or 0.0),
    "an unknown cost is nothing": lambda each: each._replace(cost=each.cost or 0),
}


@pytest.mark.parametrize("name", SERVED_FAULTS)
def test_a_fault_in_the_price_of_tokens_turns_the_comparison_red(name: str) -> None:
    with pytest.raises(AssertionError):
        check_served(servers(), priced([SERVED_FAULTS[name](each) for each in servers()]))
