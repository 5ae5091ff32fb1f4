"""What is usual of a weekday, what is not, and which part made the difference.

Medians are order statistics, distances are differences of amounts, and what decides are products: nothing is rounded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

import polars as pl

from ledger import money

PARTS: Final = ("provider", "team", "resource")
"""What a part of a cost is named by."""

_DAY: Final = timedelta(days=1)
_WEEK: Final = 7 * _DAY
_NOTHING: Final = Decimal(0)
_HALF: Final = Decimal("0.5")

# Of normal values, a standard deviation is so many median distances from the median, and so many of the distance that
# nine of ten do not reach.
_TO_DEVIATION: Final = Decimal("1.4826")
_FROM_NINE_OF_TEN: Final = Decimal("0.608")

Series = Mapping[date, Decimal | None]


@dataclass(frozen=True)
class Usual:
    """What each part cost and how much device time it was, on each complete day; null where a cost of it is unknown."""

    costs: Mapping[tuple[str, ...], Series]
    seconds: Mapping[tuple[str, ...], Mapping[date, Decimal]]
    complete: frozenset[date]

    @classmethod
    def of(cls, rows: pl.DataFrame, by: Sequence[str], complete: Sequence[date]) -> "Usual":
        """Return the series of some rows of `spend_day` in one currency, a part for each value of `by`."""
        named = rows.filter(pl.col("day").is_in(list(complete))).with_columns(
            pl.when(pl.col("node") != "").then("node").otherwise("service_name").alias("resource"),
            (pl.col("effective_cost").is_null() | pl.col("has_unstated_charge").fill_null(value=False)).alias(
                "is_unknown"
            ),
        )
        key = [*by, "day"]
        sums = money.summed(named, by=key, columns=["effective_cost"])
        rest = named.group_by(key).agg(pl.col("held_gpu_seconds").sum(), pl.col("is_unknown").any())
        costs: dict[tuple[str, ...], dict[date, Decimal | None]] = {}
        seconds: dict[tuple[str, ...], dict[date, Decimal]] = {}
        for *names, day, cost, time, is_unknown in sums.join(rest, on=key).iter_rows():
            part = tuple(str(name) for name in names)
            costs.setdefault(part, {})[day] = None if is_unknown else cost
            seconds.setdefault(part, {})[day] = time
        return cls(costs, seconds, frozenset(complete))

    def series(self, part: tuple[str, ...]) -> Series:
        """Return the cost of a part on each complete day; a day without a charge cost 0."""
        known = self.costs.get(part, {})
        return {day: known.get(day, _NOTHING) for day in self.complete}

    def median(self, part: tuple[str, ...], day: date, weeks: int) -> Decimal:
        """Return what a part usually costs on a day's weekday; 0 where nothing is known before."""
        before = weekdays(self.series(part), day, weeks)
        return middle(before) if before else _NOTHING

    def time(self, part: tuple[str, ...], day: date) -> Decimal:
        """Return the device time of a part on a day."""
        return self.seconds.get(part, {}).get(day, _NOTHING)


class Found(NamedTuple):
    """An unusual day beside what was usual."""

    actual: Decimal
    expected: Decimal
    spread: Decimal
    reach: Decimal
    difference: Decimal
    weekdays: int


class Part(NamedTuple):
    """Why a day was unusual, under the names of the table's columns."""

    cause: str
    cause_provider: str
    cause_resource: str
    cause_team: str
    cause_cost: Decimal
    volume_cost: Decimal | None
    price_cost: Decimal | None


def middle(values: Sequence[Decimal]) -> Decimal:
    """Return the median, of an even number the lower one of the two in the middle."""
    return sorted(values)[(len(values) - 1) // 2]


def weekdays(series: Series, day: date, weeks: int) -> list[Decimal]:
    """Return the known costs of the same weekdays before a day."""
    before = [series.get(day - index * _WEEK) for index in range(1, weeks + 1)]
    return [each for each in before if each is not None]


def reach(series: Series, day: date, weeks: int) -> Decimal:
    """Return the distance from their weekday's median that nine of ten days before a day do not exceed.

    Four Thursdays say little of how far a Thursday may go; all days of the weeks say how restless a cost is.
    """
    distances: list[Decimal] = []
    for offset in range(7):
        same = weekdays(series, day - offset * _DAY, weeks)
        if same:
            usual = middle(same)
            distances.extend(money.difference(each, usual).copy_abs() for each in same)
    return sorted(distances)[(len(distances) - 1) * 9 // 10] if distances else _NOTHING


def unusual(
    series: Series, day: date, *, weeks: int, least: int, spreads: Decimal, least_ratio: Decimal, least_cost: Decimal
) -> Found | None:
    """Return what is unusual of a day; None where nothing is, or too little is known.

    It must be unlike its weekdays, unlike the week before it, and further off than any day of that week was: what has
    become the new level is no news, and a step that lasts is told once.
    """
    actual, before = series.get(day), weekdays(series, day, weeks)
    if actual is None or len(before) < least:
        return None
    expected = middle(before)
    spread = middle([money.difference(each, expected).copy_abs() for each in before])
    far = reach(series, day, weeks)
    difference = money.difference(actual, expected)
    deviation = max(money.share(spread, _TO_DEVIATION), money.share(far, _FROM_NINE_OF_TEN))
    is_far = difference.copy_abs() > money.share(deviation, spreads)
    recent = [each for index in range(1, 8) if (each := series.get(day - index * _DAY)) is not None]
    from_recent = money.difference(actual, middle(recent)) if recent else difference
    from_told = money.difference(difference, _furthest(series, day, weeks, rises=difference > 0))
    is_large = all(
        each.copy_abs() >= least_cost and each.copy_abs() > money.share(usual.copy_abs(), least_ratio)
        for each, usual in (
            (difference, expected),
            (from_recent, middle(recent) if recent else expected),
            (from_told, expected),
        )
    )
    is_same_way = (difference > 0) == (from_recent > 0) == (from_told > 0)
    found = Found(actual, expected, spread, far, difference, len(before))
    return found if is_far and is_large and is_same_way else None


def _furthest(series: Series, day: date, weeks: int, *, rises: bool) -> Decimal:
    """Return how far the week before a day went from its own weekdays, in one direction; 0 where it did not."""
    week = [day - index * _DAY for index in range(1, 8)]
    known = [
        (cost, same)
        for each in week
        if (cost := series.get(each)) is not None
        if (same := weekdays(series, each, weeks))
    ]
    distances = [_NOTHING, *(money.difference(cost, middle(same)) for cost, same in known)]
    return max(distances) if rises else min(distances)


def cause(rows: pl.DataFrame, day: date, complete: Sequence[date], *, weeks: int, rises: bool) -> Part:
    """Return the part that differs most in the direction of the whole, and what amount and price did to the whole.

    The provider first, then its team. Where the price moved and no team makes half of the difference, it is all of
    them; else the resource of that team: work that moves from node to node changes nothing.
    """
    whole, by_provider, by_owner, by_part = (Usual.of(rows, by, complete) for by in ((), PARTS[:1], PARTS[:2], PARTS))
    provided, provider = _most_different(by_provider, by_provider.costs, day, weeks, rises=rises)
    owned, owner = _most_different(by_owner, _within(by_owner, provider), day, weeks, rises=rises)
    volume, price = _volume_and_price(whole, (), day, weeks)
    is_one = owned.copy_abs() >= money.share(provided.copy_abs(), _HALF)
    if not is_one and _word(by_provider, provider, day, weeks) == "price":
        everybody = Usual.of(rows, (PARTS[0], PARTS[2]), complete)
        differs, part = _most_different(everybody, _within(everybody, provider), day, weeks, rises=rises)
        return Part("price", provider[0], part[1], "", differs, volume, price)
    differs, part = _most_different(by_part, _within(by_part, owner), day, weeks, rises=rises)
    return Part(_word(by_part, part, day, weeks), part[0], part[2], part[1], differs, volume, price)


def _within(usual: Usual, start: tuple[str, ...]) -> list[tuple[str, ...]]:
    return [part for part in usual.costs if part[: len(start)] == start]


def _most_different(
    usual: Usual, among: Iterable[tuple[str, ...]], day: date, weeks: int, *, rises: bool
) -> tuple[Decimal, tuple[str, ...]]:
    differences = [(money.difference(*_now_and_before(usual, part, day, weeks)), part) for part in sorted(among)]
    return (max if rises else min)(differences, key=lambda each: each[0], default=(_NOTHING, ()))


def _now_and_before(usual: Usual, part: tuple[str, ...], day: date, weeks: int) -> tuple[Decimal, Decimal]:
    """Return what a part cost, and its median of the same weekdays."""
    return usual.series(part).get(day) or _NOTHING, usual.median(part, day, weeks)


def _word(usual: Usual, part: tuple[str, ...], day: date, weeks: int) -> str:
    """Return what changed of a part."""
    now, before = _now_and_before(usual, part, day, weeks)
    if not before:
        return "new"
    if not now:
        return "gone"
    volume, price = _volume_and_price(usual, part, day, weeks)
    if volume is None or price is None:
        return "charge"
    return "volume" if volume.copy_abs() >= price.copy_abs() else "price"


def _volume_and_price(
    usual: Usual, part: tuple[str, ...], day: date, weeks: int
) -> tuple[Decimal | None, Decimal | None]:
    """Return what the amount of device time alone changed at the old price, and the rest: the price.

    Nulls: without device time on both sides there is no price.
    """
    now, before = _now_and_before(usual, part, day, weeks)
    times = [usual.time(part, day - index * _WEEK) for index in range(1, weeks + 1)]
    old = [time for index, time in enumerate(times, 1) if day - index * _WEEK in usual.complete]
    time_now, time_before = usual.time(part, day), middle(old) if old else _NOTHING
    if not time_now or not time_before:
        return None, None
    volume = money.priced(before, (Fraction(time_now) - Fraction(time_before)) / Fraction(time_before))
    return volume, money.difference(money.difference(now, before), volume)
