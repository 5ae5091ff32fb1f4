"""What statements say, closed ones and open ones, read literally: kept in books, act after act.

Plain Python on whole units of 1e-18 and numbers of months; it shares no code with what it checks.

Readings where the contract leaves a choice:
* What is used counts in the month of use, what is billed in the month of the billing period; both only of the estate.
* A correction is one whatever it corrects; a charge that is some team's by rule, or that nobody held, is owned.
* A closed statement says for ever what it said. What is known of closed months, less all that was stated of them, is
  on the statement of the month after the last closed one; without a difference it is not mentioned.
* Closing the statements of all closes those of teams that come later as well: they have said nothing.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

Units = int | None

Amounts = tuple[Units, ...]
"""Billed, effective, productive and idle cost, and device time, in units; null where nothing says so."""


class Spent(NamedTuple):
    """A part of a team's cost: used in one month, billed in another."""

    team: str
    used: int
    billed_in: int
    currency: str
    provider: str
    service: str
    category: str
    is_correction: bool
    bucket: str
    method: str
    amounts: Amounts
    is_estimated: bool = False
    in_scope: bool = True


class Key(NamedTuple):
    """What a row of a statement is told apart by."""

    month: int
    currency: str
    line: str
    provider: str
    service: str
    category: str


Rows = dict[Key, tuple[Amounts, bool]]
"""Rows of a statement: their amounts, and whether a part has no bill yet."""


class Books:
    """All that is known, all that was stated, and which months are closed, of every team or of one."""

    def __init__(self) -> None:
        self.spent: Sequence[Spent] = ()
        self._stated: dict[tuple[str, int], Rows] = {}
        self._closed: set[tuple[str, int]] = set()

    def close(self, month: int, team: str, teams: Iterable[str]) -> None:
        """Close the statements of a month, of one team or, without one, of all."""
        for each in [team] if team else teams:
            if month not in self._months(each):
                self._stated[each, month] = self.statement(each, month)
        self._closed.add((team, month))

    def statement(self, team: str, month: int) -> Rows:
        """Return what a team's statement of a month says."""
        closed = self._months(team)
        if month in closed:
            return self._stated.get((team, month), {})
        found = self._known(team, [month])
        if closed and month == max(closed) + 1:
            found |= self._adjustments(team, closed)
        return found

    def _months(self, team: str) -> set[int]:
        return {month for whose, month in self._closed if whose in ("", team)}

    def _known(self, team: str, months: Iterable[int]) -> Rows:
        wanted = set(months)
        found: Rows = {}
        for each in self.spent:
            if each.team != team or not each.in_scope:
                continue
            billed, *rest = each.amounts
            if each.used in wanted:
                _count(found, _key(each, each.used), (None, *rest), each.is_estimated)
            if each.billed_in in wanted:
                _count(found, _key(each, each.billed_in), (billed, *(None for _ in rest)), each.is_estimated)
        return found

    def _adjustments(self, team: str, closed: Iterable[int]) -> Rows:
        found = self._known(team, closed)
        for (whose, _), rows in self._stated.items():
            if whose == team:
                for key, (amounts, _) in rows.items():
                    taken = tuple(None if each is None else -each for each in amounts)
                    _count(found, key, taken, is_estimated=False)
        return {key: row for key, row in found.items() if any(row[0])}


def _count(rows: Rows, key: Key, amounts: Amounts, is_estimated: bool) -> None:
    before, was_estimated = rows.get(key, ((None,) * len(amounts), False))
    sums = tuple(_added(one, other) for one, other in zip(before, amounts, strict=True))
    rows[key] = sums, was_estimated or is_estimated


def _added(one: Units, other: Units) -> Units:
    return other if one is None else one if other is None else one + other


def _key(spent: Spent, month: int) -> Key:
    return Key(month, spent.currency, _line(spent), spent.provider, spent.service, spent.category)


def _line(spent: Spent) -> str:
    """Return what a charge is for."""
    if spent.is_correction:
        return "correction"
    if spent.category in ("Tax", "Credit", "Adjustment"):
        return spent.category.lower()
    if spent.method in ("owner", "shared_direct"):
        return "owned"
    if spent.bucket == "shared" or spent.method.startswith("shared"):
        return "shared"
    return "held" if spent.bucket == "allocated" else "owned"
