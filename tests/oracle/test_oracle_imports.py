"""Which import of a bill counts, over drawn deliveries, against a plain reading; and faults in what is judged."""

import random
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, NamedTuple

import polars as pl
import pytest

from collectors.billing._charges import import_frame
from collectors.billing._snapshot import Decision, decide
from tests.oracle.faults import LAST_UNIT, Fault, Tables, as_it_is, as_read, not_read, read_as
from tests.oracle.money_frames import money
from tests.oracle.oracle_imports import CURRENT, SUPERSEDED, WAITING, Rules, Standing, Sum, Unit, Verdict, after
from tests.oracle.searching import CI

STEPS = 400 if CI else 120
SEEDS = range(2)
ONE = 10**18
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
SOURCES = {"exports": "focus", "more": "focus", "billed": "azure_cost", "spread": "azure_cost"}
VIEWS = ({"actual"}, {"amortised"}, {"actual", "amortised"})
AMOUNTS = (*(each * ONE for each in (100, 100, 100, 80, 81, 79, 64, 125, -100, -120, 0)), 80 * ONE + 1, 80 * ONE + 1)

WORDS: Mapping[str, str] = {
    "charge days, expected": "days",
    "found billed_cost": "billed",
    "effective_cost": "effective",
    "found no charge in": "currency",
    "view of a cost": "view",
    "in a closed billing period": "closed",
    "still waiting": "again",
    "the same bytes": "copy",
}
"""By which words a reason is known."""


class Step(NamedTuple):
    """One import onto what is known, how it is judged, and how all stand afterwards by the plain reading; as tables."""

    known: Mapping[Unit, Standing]
    fresh: list[Unit]
    rules: Rules
    verdict: Verdict
    made: Tables


@cache
def history(seed: int) -> list[Step]:
    """Draw deliveries one after the other: new ones, the same again, copies, smaller ones, of closed periods."""
    draw = random.Random(seed)  # noqa: S311  seeded, not secret
    steps: list[Step] = []
    known: dict[Unit, Standing] = {}
    for at in range(STEPS):
        fresh = _delivery(draw, at, known)
        closed = frozenset(each.place for each in fresh if draw.random() < 0.08)
        rules = Rules(draw.random() < 0.15, draw.random() < 0.08, draw.choice((20, 20, 20, 20, 10)), closed)
        steps.append(_step(known, fresh, rules))
        known = {} if len(known) > 40 else steps[-1].verdict.standings
    # Whatever is drawn: what is a last unit short of too little, and what takes the place of two.
    known = {}
    for at, billed in enumerate((100 * ONE, 80 * ONE + 1, 80 * ONE, 200 * ONE), STEPS):
        sums = (Sum("USD", 1, 31, billed, billed),)
        unit = Unit(f"i{at}", "exports", "focus", frozenset(), f"sha{at}", at, "a", 0, sums)
        steps.append(_step(known, [unit], Rules(append_only=at == STEPS + 2)))
        known = steps[-1].verdict.standings
    return steps


def _step(known: Mapping[Unit, Standing], fresh: list[Unit], rules: Rules) -> Step:
    made = {"known": table(known), "fresh": table(dict.fromkeys(fresh, Standing(CURRENT)))}
    return Step(known, fresh, rules, after(known, fresh, rules), made)


def _delivery(draw: random.Random, at: int, known: Mapping[Unit, Standing]) -> list[Unit]:
    names = sorted({each.name for each in known})
    again = draw.choice(names) if names and draw.random() < 0.3 else ""
    if again:
        units = [each for each in known if each.name == again]
        if draw.random() < 0.7:
            return units
        return [replace(each, name=f"i{at}", source="copies", at=at) for each in units]
    source = draw.choice(list(SOURCES))
    kind = SOURCES[source]
    views = frozenset(draw.choice(VIEWS)) if kind == "azure_cost" else frozenset[str]()
    months = draw.sample(range(2), draw.choice((1, 2)))
    return [
        Unit(f"i{at}", source, kind, views, f"sha{at}", at, draw.choice(("a", "b")), month, _sums(draw))
        for month in months
    ]


def _sums(draw: random.Random) -> tuple[Sum, ...]:
    currencies = draw.choice((("USD",), ("USD",), ("USD",), ("USD", "EUR"), ("EUR",)))
    found = []
    for currency in currencies:
        billed = draw.choice(AMOUNTS)
        effective = draw.choice((billed, billed, billed, billed, draw.choice(AMOUNTS), None))
        found.append(Sum(currency, draw.randint(1, 9), draw.choice((31, 31, 31, 31, 31, 31, 30)), billed, effective))
    return tuple(found)


def path(unit: Unit, currency: str) -> str:
    """Return what a row is found again by, whatever else of it is misread."""
    return f"{unit.name}/{unit.account}/{unit.period}/{currency}"


def table(units: Mapping[Unit, Standing]) -> pl.DataFrame:
    return import_frame(
        {
            "import_id": unit.name,
            "billing_account_id": unit.account,
            "billing_period_start": _month(unit.period),
            "billing_currency": each.currency,
            "source_name": unit.source,
            "path": path(unit, each.currency),
            "format": unit.kind,
            "version": " and ".join(sorted(unit.views)),
            "sha256": unit.content,
            "imported_at": JANUARY + timedelta(hours=unit.at),
            "status": standing.status,
            "supersedes_import_id": dict(standing.replaced).get(each.currency) or None,
            "row_count": each.rows,
            "rejected_count": 0,
            "charge_day_count": each.days,
            "billed_cost": money(each.billed),
            "effective_cost": money(each.effective),
            "residue": Decimal(0),
        }
        for unit, standing in units.items()
        for each in unit.sums
    )


def _month(period: int) -> datetime:
    return JANUARY.replace(month=1 + period)


Judged = Callable[[Rules], Rules]


def as_drawn(rules: Rules) -> Rules:
    return rules


def decided(step: Step, fault: Fault = as_it_is, judged: Judged = as_drawn) -> Decision:
    """Return what is decided of a step where `known` and `fresh` are read with a fault, or by other rules."""
    made, rules = fault(step.made), judged(step.rules)
    return decide(
        made["known"],
        made["fresh"],
        accept=rules.accept,
        append_only=rules.append_only,
        smaller_ratio=rules.hundredths / 100,
        closed={(account, _month(period)) for account, period in rules.closed},
    )


def standing(units: Mapping[Unit, Standing]) -> dict[str, tuple[str, str | None]]:
    """Return how each row stands, and which import it replaced."""
    return {
        path(unit, each.currency): (stands.status, dict(stands.replaced).get(each.currency) or None)
        for unit, stands in units.items()
        for each in unit.sums
    }


def check(step: Step, found: Decision) -> None:
    """Compare how imports stand, what changed, and what a person is told."""
    expected, before = standing(step.verdict.standings), standing(step.known)
    rows = {path: tuple(rest) for path, *rest in found.imports.select("path", "status", "supersedes_import_id").rows()}
    assert rows == expected
    changed = {each for each, stands in expected.items() if before.get(each) != stands}
    assert set(found.changed["path"]) == changed
    assert found.is_unchanged == (not changed)
    assert told(found) == {
        (each.name, each.account, str(each.period)): words for each, words in step.verdict.told.items()
    }
    beside = [each for each in found.remarks if "both count" in each]
    assert len(beside) == bool(step.verdict.beside)
    for remark in beside:
        named = re.search(r": (\w+) (?:and (\d+) other sources? )?delivers? ", remark)
        assert named is not None, remark
        assert named[1] in step.verdict.beside
        assert int(named[2] or 0) + 1 == len(step.verdict.beside)


def told(found: Decision) -> dict[tuple[str, ...], frozenset[str]]:
    """Return what is said of each account's period of an import."""
    said: dict[tuple[str, ...], set[str]] = {}
    for each in (*found.reasons, *(one for one in found.remarks if "same bytes" in one)):
        of, text = each.split(": ", 2)[0], each.split(": ", 2)[2]
        (word,) = {word for words, word in WORDS.items() if words in text}
        said.setdefault(tuple(of.split("/")[:3]), set()).add(word)
    return {unit: frozenset(words) for unit, words in said.items()}


def check_all(seed: int, fault: Fault = as_it_is, judged: Judged = as_drawn) -> None:
    for step in history(seed):
        check(step, decided(step, fault, judged))


@pytest.mark.parametrize("seed", SEEDS)
def test_imports_stand_as_a_plain_reading_says_and_each_kind_is_drawn(seed: int) -> None:
    check_all(seed)
    verdicts = [each.verdict for each in history(seed)]
    assert {word for each in verdicts for words in each.told.values() for word in words} == set(WORDS.values())
    assert {each.status for one in verdicts for each in one.standings.values()} == {CURRENT, SUPERSEDED, WAITING}
    assert sum(bool(each.beside) for each in verdicts) > 10


def both(**columns: Any) -> Fault:
    """Return a fault that misreads columns of what is known and of what comes."""
    return lambda made: {name: as_read(rows, **columns) for name, rows in made.items()}


NEXT_MONTH = pl.col("billing_period_start").dt.offset_by("1mo")

FAULTS: Mapping[str, Fault] = {
    "days are not counted": both(charge_day_count=1),
    "what is billed is not compared": both(billed_cost=Decimal(100)),
    "what is effective is not compared": both(effective_cost=Decimal(100)),
    "effective is what was billed": both(effective_cost=pl.col("billed_cost")),
    "credits are charges": both(billed_cost=pl.col("billed_cost").abs()),
    "amounts are whole": both(**{name: pl.col(name).round(0) for name in ("billed_cost", "effective_cost")}),
    "a last unit less comes": read_as("fresh", billed_cost=pl.col("billed_cost") - LAST_UNIT),
    "sources are one": both(source_name="exports"),
    "each import is a source": both(source_name=pl.col("import_id")),
    "accounts are not told apart": read_as("known", billing_account_id="a"),
    "the account of what is known is not read": read_as("known", billing_account_id="other"),
    "what is known is of a month later": read_as("known", billing_period_start=NEXT_MONTH),
    "contents are the same": both(sha256="same"),
    "contents differ": both(sha256=pl.col("path")),
    "views are not told apart": both(version="actual"),
    "views are not read": both(version=""),
    "formats are one": both(format="focus", version="actual"),
    "what waits counts": read_as("known", status=pl.col("status").replace({WAITING: CURRENT})),
    "what was replaced counts": read_as("known", status=pl.col("status").replace({SUPERSEDED: CURRENT})),
    "what was replaced waits": read_as("known", status=pl.col("status").replace({SUPERSEDED: WAITING})),
    "nothing counts": read_as("known", status=SUPERSEDED),
    "nothing is known": not_read("known"),
    "currencies are one": read_as("fresh", billing_currency="USD"),
    "the order of imports is not read": read_as("known", imported_at=JANUARY),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_what_is_judged_turns_the_comparison_red(name: str, seed: int) -> None:
    with pytest.raises(AssertionError):
        check_all(seed, FAULTS[name])


OTHER_RULES: Mapping[str, Judged] = {
    "nothing is accepted": lambda rules: replace(rules, accept=False),
    "all is accepted": lambda rules: replace(rules, accept=True),
    "all is added": lambda rules: replace(rules, append_only=True),
    "nothing is added": lambda rules: replace(rules, append_only=False),
    "a little less waits": lambda rules: replace(rules, hundredths=1),
    "a third less replaces": lambda rules: replace(rules, hundredths=33),
    "a fifth and a unit": lambda rules: replace(rules, hundredths=rules.hundredths + 1),
    "nothing is closed": lambda rules: replace(rules, closed=frozenset()),
    "all is closed": lambda rules: replace(rules, closed=frozenset((name, month) for name in "ab" for month in (0, 1))),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", OTHER_RULES)
def test_another_rule_turns_the_comparison_red(name: str, seed: int) -> None:
    with pytest.raises(AssertionError):
        check_all(seed, judged=OTHER_RULES[name])


@pytest.mark.parametrize("seed", SEEDS)
def test_one_wrong_standing_or_word_turns_the_comparison_red(seed: int) -> None:
    decisions = [(step, decided(step)) for step in history(seed)]
    step, right = next(
        (step, found)
        for step, found in decisions
        if found.reasons and not found.is_unchanged and found.imports["supersedes_import_id"].drop_nulls().len()
    )
    rows = right.imports
    for wrong in (
        replace(right, imports=as_read(rows, status=pl.col("status").replace({CURRENT: WAITING}))),
        replace(right, imports=as_read(rows, supersedes_import_id=None)),
        replace(right, imports=rows.slice(1)),
        replace(right, changed=right.changed.slice(1)),
        replace(right, is_unchanged=True),
        replace(right, reasons=()),
    ):
        with pytest.raises(AssertionError):
            check(step, wrong)
