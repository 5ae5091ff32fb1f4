"""Which import of a bill counts, read literally: one account's period after the other.

Plain Python on whole units of 1e-18; it shares no code with what it checks.

Readings where the contract leaves a choice:
* What an import would replace is one thing, however many deliveries it came in: its cost is their sum, its days those
  of the delivery with the most.
* A cost that is no longer known is a loss of all that was known.
* Only what would be replaced can speak against an import: what another source delivers of a closed period is added.
* An import of both views of a cost takes the place of one that has either; one view beside another waits, and accepted
  takes its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

CURRENT, SUPERSEDED, WAITING = "current", "superseded", "waiting"

Units = int | None


class Sum(NamedTuple):
    """What an import has of one account's period in one currency."""

    currency: str
    rows: int
    days: int
    billed: int
    effective: Units


@dataclass(frozen=True)
class Unit:
    """One account's period in one import; `at` says in which order imports came."""

    name: str
    source: str
    kind: str
    views: frozenset[str]
    content: str
    at: int
    account: str
    period: int
    sums: tuple[Sum, ...]

    @property
    def place(self) -> tuple[str, int]:
        """Return what it is about."""
        return self.account, self.period


@dataclass(frozen=True)
class Rules:
    """How strictly an import is judged; `hundredths` of a cost are the loss at which it waits."""

    accept: bool = False
    append_only: bool = False
    hundredths: int = 20
    closed: frozenset[tuple[str, int]] = frozenset()


class Standing(NamedTuple):
    """How an account's period of an import stands, and which import it replaced, by currency."""

    status: str
    replaced: tuple[tuple[str, str], ...] = ()


Known = Mapping[Unit, Standing]


class Verdict(NamedTuple):
    """How all imports stand after one, and what was told of its units: why they wait, and who delivers them too."""

    standings: dict[Unit, Standing]
    told: dict[Unit, frozenset[str]]
    beside: frozenset[str]


def after(known: Known, fresh: Sequence[Unit], rules: Rules) -> Verdict:
    """Return how imports stand after one that consists of these units."""
    found = dict(known)
    told: dict[Unit, frozenset[str]] = {}
    beside: set[str] = set()
    for unit in fresh:
        mine = known.get(unit)
        if mine is not None and not (rules.accept and mine.status != CURRENT):
            if mine.status == WAITING:
                told[unit] = frozenset({"again"})
            continue
        if any(_is_copy(unit, each, standing) for each, standing in known.items()):
            told[unit] = frozenset({"copy"})
            continue
        rivals = [
            each
            for each, standing in found.items()
            if standing.status == CURRENT and each.place == unit.place and each.name != unit.name
        ]
        replaced = [each for each in rivals if each.source == unit.source and not rules.append_only]
        views = [each for each in rivals if each.source != unit.source and _is_another_view(unit, each)]
        has_both = all(each.views < unit.views for each in views)
        if has_both or rules.accept:
            replaced += views
        against = set() if has_both else {"view"}
        against |= {"closed"} if unit.place in rules.closed and replaced else set()
        against |= _losses(unit, replaced, rules.hundredths)
        if against and not rules.accept:
            told[unit] = frozenset(against)
            found[unit] = Standing(WAITING)
            continue
        found |= {each: found[each]._replace(status=SUPERSEDED) for each in replaced}
        found[unit] = Standing(CURRENT, tuple((each.currency, _before(each.currency, replaced)) for each in unit.sums))
        beside |= {each.source for each in rivals if each.source != unit.source and each not in replaced}
    return Verdict(found, told, frozenset(beside))


def _is_copy(unit: Unit, other: Unit, standing: Standing) -> bool:
    return other.content == unit.content and other.name != unit.name and standing.status != SUPERSEDED


def _is_another_view(unit: Unit, other: Unit) -> bool:
    return bool(unit.views) and other.kind == unit.kind and other.views != unit.views


def _losses(unit: Unit, replaced: Sequence[Unit], hundredths: int) -> set[str]:
    """Say in what a unit is less than all that it would replace."""
    words: set[str] = set()
    mine = {each.currency: each for each in unit.sums}
    for currency in {each.currency for old in replaced for each in old.sums}:
        old = [each for one in replaced for each in one.sums if each.currency == currency]
        if currency not in mine:
            words.add("currency")
            continue
        now = mine[currency]
        if now.days < max(each.days for each in old):
            words.add("days")
        pairs = (
            ("billed", now.billed, sum(each.billed for each in old)),
            ("effective", now.effective or 0, sum(each.effective or 0 for each in old)),
        )
        words |= {name for name, left, then in pairs if then > left and (then - left) * 100 >= abs(then) * hundredths}
    return words


def _before(currency: str, replaced: Sequence[Unit]) -> str:
    """Return which import one took the place of in a currency: of several the latest; '' of none."""
    same = [each for each in replaced if any(one.currency == currency for one in each.sums)] or replaced
    return max(same, key=lambda each: each.at).name if same else ""
