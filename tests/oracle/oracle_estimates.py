"""What hours of nodes are estimated at that no bill covers yet, read literally: one node and hour after the other.

Plain Python on whole units of 1e-18 and whole milliseconds; it shares no code with what it checks.

Readings where the contract leaves a choice:
* A rate is what all nodes of a type cost together on one account and in one currency in the last 24 clock hours in
  which it billed any of them, by the time in which these nodes existed in the hours that it billed.
* A node takes its own account's rate before another's, one in the currency that it was last billed in before another,
  of those the one that was billed last; equal ones go by account and currency. Else the list price that held when the
  hour began: in its currency before another, of its region before one for all, the newest.
* An account is complete through the end of the last usage on it, corrections too; a node that none billed, or corrected
  alone, goes by the account of its provider that is furthest.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from tests.oracle.oracle_money import HOUR, Units

DAY = 24 * HOUR


@dataclass(frozen=True)
class Node:
    """A node from when it joined to when it left."""

    node: str
    start: int
    end: int | None
    gpus: int | None
    region: str
    kind: str


class Billed(NamedTuple):
    """What one clock hour of a node was billed at, corrected by, or credited with."""

    node: str
    hour: int
    account: str
    currency: str
    amount: Units
    is_correction: bool = False
    is_credit: bool = False


class Listed(NamedTuple):
    """One list price for an hour on demand, from an instant on."""

    region: str
    kind: str
    currency: str
    since: int
    amount: int
    is_spot: bool = False


@dataclass(frozen=True)
class Fleet:
    """All that is told of one provider's nodes."""

    name: str
    nodes: tuple[Node, ...]
    billed: tuple[Billed, ...]
    listed: tuple[Listed, ...]


class Estimate(NamedTuple):
    """An hour of a node that nothing covers, at a known rate."""

    account: str
    currency: str
    amount: Units


class _Rate(NamedTuple):
    account: str
    currency: str
    last: int
    amount: Units
    time: int


def estimates(fleet: Fleet, month: int, now: int) -> dict[tuple[str, int], Estimate]:
    """Return the estimated hours of a fleet."""
    covered = {(each.node, each.hour) for each in _usage(fleet)}
    found = {}
    for node, hour in _missing(fleet, month, now):
        if (node.node, hour) in covered or not _is_open(fleet, node, hour):
            continue
        estimate = _billed_rate(fleet, node, hour, month) or _list_price(fleet, node, hour)
        if estimate is not None:
            found[node.node, hour] = estimate
    return found


def _usage(fleet: Fleet) -> list[Billed]:
    return [each for each in fleet.billed if not each.is_correction and not each.is_credit]


def _existed(node: Node, hour: int) -> int:
    until = hour + HOUR if node.end is None else min(node.end, hour + HOUR)
    return max(0, until - max(node.start, hour))


def _missing(fleet: Fleet, month: int, now: int) -> Iterator[tuple[Node, int]]:
    """Yield the hours of nodes with devices that are over."""
    for node in fleet.nodes:
        for hour in range(month, now - now % HOUR, HOUR):
            if node.gpus and _existed(node, hour):
                yield node, hour


def _own(fleet: Fleet, node: Node) -> tuple[str, str] | None:
    """Return on which account and in which currency a node was billed last."""
    mine = [each for each in _usage(fleet) if each.node == node.node]
    if not mine:
        return None
    last = max(each.hour for each in mine)
    return min((each.account, each.currency) for each in mine if each.hour == last)


def _is_open(fleet: Fleet, node: Node, hour: int) -> bool:
    """Tell whether bills of the node's account may still bring the hour."""
    through: dict[str, int] = {}
    for each in fleet.billed:
        if not each.is_credit:
            through[each.account] = max(through.get(each.account, 0), each.hour + HOUR)
    own = _own(fleet, node)
    if not through:
        return True
    return hour + HOUR > (through[own[0]] if own else max(through.values()))


def _billed_rate(fleet: Fleet, node: Node, hour: int, month: int) -> Estimate | None:
    own = _own(fleet, node) or ("", "")
    rates = [_rate(fleet, node, *pair) for pair in sorted({(each.account, each.currency) for each in _usage(fleet)})]
    known = [each for each in rates if each is not None]
    if not known:
        return None
    best = min(
        known,
        key=lambda each: (each.account != own[0], each.currency != own[1], -each.last, each.account, each.currency),
    )
    amount = None if best.amount is None else _part(best.amount, _existed(node, hour), best.time)
    return Estimate(best.account, best.currency, amount)


def _rate(fleet: Fleet, like: Node, account: str, currency: str) -> _Rate | None:
    """Return what nodes like this one cost on one account in the last 24 hours that it billed."""
    alike = {each.node: each for each in fleet.nodes if (each.kind, each.region) == (like.kind, like.region)}
    theirs = [
        each
        for each in _usage(fleet)
        if (each.account, each.currency) == (account, currency) and each.node in alike and alike[each.node].gpus
    ]
    if not theirs:
        return None
    last = max(each.hour for each in theirs)
    recent = [each for each in theirs if each.hour > last - DAY]
    known = [each.amount for each in recent if each.amount is not None]
    time = sum(_existed(alike[name], hour) for name, hour in {(each.node, each.hour) for each in recent})
    return _Rate(account, currency, last, sum(known) if known else None, time)


def _list_price(fleet: Fleet, node: Node, hour: int) -> Estimate | None:
    own = _own(fleet, node) or ("", "")
    held = [
        each
        for each in fleet.listed
        if each.kind == node.kind and each.region in {"", node.region} and each.since <= hour and not each.is_spot
    ]
    if not held:
        return None
    best = min(held, key=lambda each: (each.currency != own[1], not each.region, -each.since, each.currency))
    return Estimate("", best.currency, _part(best.amount, _existed(node, hour), HOUR))


def _part(units: int, time: int, whole: int) -> int:
    """Return a part of an amount, rounded towards zero."""
    part = abs(units) * time // whole
    return part if units >= 0 else -part
