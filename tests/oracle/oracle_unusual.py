"""Which days are unusual, and which part made them so, read literally: day after day, part after part.

Plain Python on whole units of 1e-18 and numbers of days; it shares no code with what it checks.

Readings where the contract leaves a choice:
* Of an even number of values the median is the lower of the two in the middle.
* A provider is in use from its first charge until two days after its last one; a day that begins before the first
  charge of a currency is not whole.
* Before its first charge in the nine weeks before a day, a scope has no past; after it a day without a charge cost 0.
* The cost of a scope is unknown on a day on which a charge of it is, or a part of a charge: it is not judged there, and
  the day is none to compare with. Of the parts of another day, one that is unknown counts as 0.
* An account whose bills end on a day or within the two before it is waited for; what begins in the three days after the
  day is known by then.
* Work counts as dearer for everybody where the price of a provider moved, and no team makes half of its difference.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

WEEK, WEEKS = 7, 8

Units = int | None


class Charge(NamedTuple):
    """What one part cost on one day, from an hour of the day to another; `resource` is its node, else its service."""

    day: int
    currency: str
    provider: str
    team: str
    resource: str
    cost: Units
    seconds: int
    is_estimated: bool = False
    begin: int = 0
    end: int = 24
    is_partial: bool = False


class Delivery(NamedTuple):
    """A bill of one account: the day on which its period begins, and the hour through which it is complete."""

    currency: str
    account: str
    day: int
    through: int
    is_current: bool = True


class Limits(NamedTuple):
    """What is unusual enough to be told; `least` is in units."""

    spreads: Fraction = Fraction(5)
    ratio: Fraction = Fraction(1, 5)
    least: int = 50 * 10**18
    estate: Fraction = Fraction(1, 20)
    weekdays: int = 4


class Unusual(NamedTuple):
    """An unusual day of one scope, and its cause."""

    actual: int
    expected: int
    spread: int
    reach: int
    difference: int
    weekdays: int
    cause: str
    provider: str
    resource: str
    team: str
    part: int
    volume: Units
    price: Units


@dataclass(frozen=True)
class Past:
    """What some charges cost on each whole day, and how much device time it was."""

    costs: Mapping[int, Units]
    seconds: Mapping[int, int]

    @classmethod
    def of(cls, charges: Iterable[Charge], whole: Iterable[int]) -> "Past":
        """Return the past of charges; a whole day without one cost 0."""
        known: dict[int, list[Units]] = {day: [] for day in whole}
        seconds = dict.fromkeys(known, 0)
        for each in charges:
            if each.day in known:
                known[each.day].append(None if each.is_partial else each.cost)
                seconds[each.day] += each.seconds
        return cls({day: _total(amounts) for day, amounts in known.items()}, seconds)

    def same(self, day: int) -> list[int]:
        """Return what is known of the same weekdays before a day."""
        found = [self.costs.get(day - week * WEEK) for week in range(1, WEEKS + 1)]
        return [each for each in found if each is not None]

    def change(self, day: int) -> tuple[int, int]:
        """Return what a day cost, and what its weekday usually does."""
        return self.costs.get(day) or 0, _median(self.same(day)) if self.same(day) else 0

    def difference(self, day: int) -> int:
        """Return by how much a day differs from its weekday."""
        now, before = self.change(day)
        return now - before


def _total(amounts: Sequence[Units]) -> Units:
    known = [each for each in amounts if each is not None]
    return sum(known) if len(known) == len(amounts) else None


def _median(values: Sequence[int]) -> int:
    """Return the smallest of the values that half of them do not exceed."""
    return next(each for each in sorted(values) if sum(other <= each for other in values) * 2 >= len(values))


def unusual(
    charges: Sequence[Charge], deliveries: Sequence[Delivery], days: Iterable[int], limits: Limits
) -> dict[tuple[int, str, str], Unusual]:
    """Return the unusual ones of some days, by day, scope and currency."""
    found: dict[tuple[int, str, str], Unusual] = {}
    for currency in {each.currency for each in charges}:
        mine = [each for each in charges if each.currency == currency]
        late = _late([each for each in deliveries if each.currency == currency and each.is_current])
        whole = [day for day in _whole(mine) if day not in late]
        estate = Past.of(mine, whole)
        scopes = {"total": mine}
        for each in mine:
            for scope in ([f"team:{each.team}"] if each.team else []) + [f"provider:{each.provider}"]:
                scopes.setdefault(scope, []).append(each)
        for scope, part in scopes.items():
            for day in set(days) & set(whole):
                told = _day(part, day, whole, estate, limits)
                if told is not None:
                    found[day, scope, currency] = told
    return found


def _whole(charges: Sequence[Charge]) -> list[int]:
    """Return the days of which every provider in use has billed all, and nothing is estimated."""
    billed: dict[str, list[int]] = {}
    used: dict[str, list[int]] = {}
    for each in charges:
        used.setdefault(each.provider, []).append(each.day)
        billed.setdefault(each.provider, [])
        if not each.is_estimated:
            billed[each.provider].append(each.day * 24 + each.end)
    begun = min(each.day * 24 + each.begin for each in charges)
    return [
        day
        for day in sorted({each.day for each in charges} - {each.day for each in charges if each.is_estimated})
        if begun <= day * 24
        and all(
            max(billed[provider], default=0) >= (day + 1) * 24
            for provider, mine in used.items()
            if min(mine) <= day <= max(mine) + 2
        )
    ]


def _late(deliveries: Sequence[Delivery]) -> set[int]:
    """Return the days for which an account is waited for."""
    found: set[int] = set()
    for account in {each.account for each in deliveries}:
        mine = [each for each in deliveries if each.account == account]
        for day in range(max(each.through for each in mine) // 24 + 4):
            known = [each.through for each in mine if each.day < day + 4]
            if known and (day - 2) * 24 < max(known) < (day + 1) * 24:
                found.add(day)
    return found


def _day(charges: Sequence[Charge], day: int, whole: Sequence[int], estate: Past, limits: Limits) -> Unusual | None:
    charged = [each.day for each in charges if each.day >= day - (WEEKS + 1) * WEEK]
    if not charged:
        return None
    past = Past.of(charges, [each for each in whole if each >= min(charged)])
    actual, same = past.costs.get(day), past.same(day)
    if actual is None or len(same) < limits.weekdays:
        return None
    usual = _median(same)
    spread = _median([abs(each - usual) for each in same])
    before = [past.same(day - back) for back in range(WEEK)]
    distances = sorted(abs(each - _median(known)) for known in before for each in known)
    reach = distances[(len(distances) - 1) * 9 // 10]
    difference = actual - usual
    week = [each for each in range(day - 7, day) if past.costs.get(each) is not None]
    recent = _median([past.costs[each] or 0 for each in week]) if week else usual
    told = [past.difference(each) for each in week if past.same(each)]
    furthest = max([0, *told]) if difference > 0 else min([0, *told])
    least = max(limits.least, limits.estate * (_median(estate.same(day)) if estate.same(day) else 0))
    # Of normal values a standard deviation is 1.4826 median distances, and 0.608 of what nine of ten keep to.
    is_far = abs(difference) > limits.spreads * max(Fraction(14826, 10_000) * spread, Fraction(608, 1_000) * reach)
    is_large = all(
        abs(each) >= least and abs(each) > limits.ratio * abs(beside)
        for each, beside in ((difference, usual), (actual - recent, recent), (difference - furthest, usual))
    )
    is_one_way = len({each > 0 for each in (difference, actual - recent, difference - furthest)}) == 1
    if not (is_far and is_large and is_one_way):
        return None
    cause = _cause(charges, day, whole, difference > 0)
    return Unusual(actual, usual, spread, reach, difference, len(same), *cause)


def _cause(
    charges: Sequence[Charge], day: int, whole: Sequence[int], rises: bool
) -> tuple[str, str, str, str, int, Units, Units]:
    """Return the part that differs most, why, by how much, and what amount and price did to the whole."""

    def most(among: Sequence[Charge], name: Callable[[Charge], str]) -> tuple[str, list[Charge], int]:
        parts: dict[str, list[Charge]] = {}
        for each in among:
            if each.day in whole:
                parts.setdefault(name(each), []).append(each)
        differences = {each: Past.of(parts[each], whole).difference(day) for each in sorted(parts)}
        furthest = (max if rises else min)(differences.values())
        first = next(each for each, difference in differences.items() if difference == furthest)
        return first, parts[first], furthest

    volume, price = _split(Past.of(charges, whole), day)
    provider, provided, differs = most(charges, lambda each: each.provider)
    team, owned, own = most(provided, lambda each: each.team)
    if abs(own) * 2 < abs(differs) and _word(Past.of(provided, whole), day) == "price":
        resource, _, part = most(provided, lambda each: each.resource)
        return "price", provider, resource, "", part, volume, price
    resource, last, part = most(owned, lambda each: each.resource)
    return _word(Past.of(last, whole), day), provider, resource, team, part, volume, price


def _word(past: Past, day: int) -> str:
    now, before = past.change(day)
    if not before:
        return "new"
    if not now:
        return "gone"
    volume, price = _split(past, day)
    if volume is None or price is None:
        return "charge"
    return "volume" if abs(volume) >= abs(price) else "price"


def _split(past: Past, day: int) -> tuple[Units, Units]:
    """Return what more or less device time would have cost at the old price, and what the price did."""
    now, before = past.change(day)
    times = [past.seconds[day - week * WEEK] for week in range(1, WEEKS + 1) if day - week * WEEK in past.seconds]
    time, usual = past.seconds.get(day, 0), _median(times) if times else 0
    if not time or not usual:
        return None, None
    volume = round(Fraction(before) * (time - usual) / usual)
    return volume, now - before - volume
