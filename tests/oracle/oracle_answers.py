"""What is answered from costs, read literally: who bears idle time, what idled between runs, commitments, tokens.

Plain Python on whole units of 1e-18 and whole milliseconds; it shares no code with what it checks.

Readings where the contract leaves a choice:
* What nobody held on a day goes to who held anything in its cluster on that day, unused commitments of no cluster to
  who held anything at all; a name's weight is what it held in money, known and above zero, to a part in 10^18.
* What idled on a node goes to who held it on that day, by milliseconds; else to `nobody`.
* Used and unused parts of a commitment are spread over the hours of their charge period by time, purchases are booked
  where they start, or where their billing period does.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from tests.oracle.oracle_money import HOUR, Units, added, divided

DAY = 24 * HOUR
HELD_IDLE = frozenset({"allocated_idle", "held_idle"})


class Part(NamedTuple):
    """What a name cost on a day in one cluster, and what kind of time that was."""

    day: int
    currency: str
    cluster: str
    name: str
    part: str
    cost: Units


Key = tuple[int, str, str]


def borne(parts: Iterable[Part], rule: str) -> dict[Key, Units]:
    """Return the cost by day, currency and name with what it bears of idle time."""
    parts = list(parts)
    found: dict[Key, Units] = {}

    def add(part: Part, name: str, amount: Units) -> None:
        key = (part.day, part.currency, name)
        found[key] = added(found.get(key), amount)

    for each in parts:
        add(each, each.name, each.cost)
    if rule == "cluster":
        for each in parts:
            if each.part in HELD_IDLE and each.cost is not None:
                add(each, each.name, -each.cost)
                add(each, "idle", each.cost)
    if rule in {"proportional", "even"}:
        for pool in parts:
            if pool.part in {"unallocated", "unused_commitment"} and pool.cost is not None:
                for name, amount in _spread(pool, parts, is_even=rule == "even").items():
                    add(pool, name, amount)
                    add(pool, "idle", -amount)
    return found


def _spread(pool: Part, parts: Iterable[Part], *, is_even: bool) -> dict[str, int]:
    """Return what each name bears of one amount of idle time."""
    held: dict[str, Units] = {}
    for each in parts:
        near = (each.day, each.currency) == (pool.day, pool.currency) and pool.cluster in {"", each.cluster}
        if near and each.part in {"used", *HELD_IDLE} and each.name != "idle":
            held[each.name] = added(held.get(each.name), each.cost)
    amounts = {name: max(cost or 0, 0) for name, cost in held.items()}
    step = max(sum(amounts.values()) // 10**18, 1)
    weights = {(name,): 1 if is_even else amount // step for name, amount in amounts.items()}
    if not sum(weights.values()):
        return {}
    return {str(name): amount or 0 for (name,), amount in divided(pool.cost, weights).items()}


def between_runs(
    idle: Mapping[tuple[int, str, str], Units], held: Mapping[tuple[int, str, str], int]
) -> dict[tuple[str, str], Units]:
    """Return what idled between runs, by owner and currency.

    `idle` is money by day, node and currency; `held` is milliseconds by day, node and owner.
    """
    found: dict[tuple[str, str], Units] = {}
    for (day, node, currency), amount in idle.items():
        mine = {(name,): time for (at, on, name), time in held.items() if (at, on) == (day, node)}
        parts = divided(amount, mine) if sum(mine.values()) else {("nobody",): amount}
        for (name,), part in parts.items():
            found[str(name), currency] = added(found.get((str(name), currency)), part)
    return found


class Term(NamedTuple):
    """One charge of a commitment."""

    commitment: str
    kind: str
    start: int
    end: int
    period_start: int
    period_end: int
    billed: int
    effective: Units
    currency: str
    instance: str


Days = dict[tuple[str, int, str, str, str], Units]
Counts = dict[tuple[str, int, str, str, str], tuple[int, int]]


def commitments(charges: Iterable[Term]) -> Days:
    """Return what each commitment cost by day, currency, instance and kind: purchased, used or unused."""
    found: Days = {}
    for each in charges:
        if each.kind == "purchased":
            inside = each.period_start <= each.start < each.period_end
            at = each.start if inside else each.period_start
            parts: dict[int, Units] = {at - at % HOUR: each.billed}
        else:
            hours: dict[tuple[object, ...], int] = {}
            at = each.start
            while at < each.end:
                until = min(each.end, at - at % HOUR + HOUR)
                hours[(at - at % HOUR,)] = until - at
                at = until
            parts = {_hour(key): part for key, part in divided(each.effective, hours).items()}
        for hour, part in parts.items():
            place = (each.commitment.lower(), hour - hour % DAY, each.currency, each.instance, each.kind)
            found[place] = added(found.get(place), part)
    return found


def unstated(charges: Iterable[Term]) -> Counts:
    """Return of how many charges nobody states the cost, by day as above: those that touch it, and that begin on it."""
    found: Counts = {}
    for each in charges:
        if each.kind == "purchased" or each.effective is not None:
            continue
        for day in range(each.start - each.start % DAY, each.end, DAY):
            place = (each.commitment.lower(), day, each.currency, each.instance, each.kind)
            touching, begun = found.get(place, (0, 0))
            found[place] = (touching + 1, begun + (day <= each.start))
    return found


def _hour(key: tuple[object, ...]) -> int:
    (hour,) = key
    assert isinstance(hour, int)
    return hour


def served(cost: Units, prefill: float | None, decode: float | None) -> tuple[Units, Units]:
    """Return what prompts and what generated tokens cost: by the whole milliseconds of prefill and decode."""
    if prefill is None or decode is None:
        return None, None
    weights: dict[tuple[object, ...], int] = {("generated",): round(decode * 1000), ("prompt",): round(prefill * 1000)}
    if cost is None or not sum(weights.values()):
        return None, None
    parts = divided(cost, weights)
    return parts[("prompt",)], parts[("generated",)]
