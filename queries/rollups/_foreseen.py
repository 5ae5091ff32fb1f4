"""Ways to foresee a day's cost from the same weekdays before, and how far each was from what then came.

Order statistics and differences of amounts only: no amount is rounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from ledger import money
from queries.rollups._daily import DAY, History

NAIVE: Final = "seasonal_naive_7"
MEDIAN: Final = "seasonal_median_3"
METHODS: Final[dict[str, int]] = {NAIVE: 1, MEDIAN: 3}
"""Each way by its name, with how many of the last same weekdays it takes the median of."""

WEEK: Final = 7

# An interval from fewer residuals would be chance.
_FEWEST_RESIDUALS: Final = 5

# Another way than the simplest must have won on so many days.
_FEWEST_TESTED: Final = 28


@dataclass(frozen=True)
class Tested:
    """How one method did over the days that each method could have forecast a week ahead.

    `inside` of `given` days lay inside the interval that was known before them.
    """

    method: str
    days: int
    error: Decimal
    actual: Decimal
    inside: int
    given: int


def expected(history: History, day: date, weeks: int, method: str) -> Decimal | None:
    """Return what a day is expected to cost, from weekdays at least so many weeks before; null where one is unknown."""
    known = [history.get(day - (weeks + index) * WEEK * DAY) for index in range(METHODS[method])]
    costs = [each for each in known if each is not None]
    return sorted(costs)[len(costs) // 2] if len(costs) == len(known) else None


def spread(history: History, weeks: int, method: str) -> Decimal | None:
    """Return the 80th percentile of the distances between days and what was expected of them."""
    return _percentile([distance for _, distance in _distances(history, weeks, method)])


def chosen(tests: list[Tested]) -> str:
    """Return the method that a forecast uses: the simplest, unless another was nearer on enough days."""
    simplest = next(each for each in tests if each.method == NAIVE)
    if simplest.days < _FEWEST_TESTED:
        return NAIVE
    return min(tests, key=lambda each: (each.error, each.method != NAIVE)).method


def tested(history: History) -> list[Tested]:
    """Return how each method did, on the same days."""
    distances = {method: dict(_distances(history, 1, method)) for method in METHODS}
    days = sorted(set.intersection(*(set(each) for each in distances.values())))
    actual = money.add(*(cost for day in days if (cost := history[day]) is not None))
    return [
        Tested(
            method,
            len(days),
            money.add(*(of[day] for day in days)),
            actual,
            *_inside(of, days),
        )
        for method, of in distances.items()
    ]


def _distances(history: History, weeks: int, method: str) -> Iterator[tuple[date, Decimal]]:
    for day, cost in history.items():
        foreseen = expected(history, day, weeks, method)
        if cost is not None and foreseen is not None:
            yield day, money.difference(cost, foreseen).copy_abs()


def _percentile(distances: list[Decimal]) -> Decimal | None:
    if len(distances) < _FEWEST_RESIDUALS:
        return None
    return sorted(distances)[-(-len(distances) * 4 // 5) - 1]


def _inside(distances: dict[date, Decimal], days: list[date]) -> tuple[int, int]:
    """Return on how many days the distance was within what the days before it allowed, of how many with an interval."""
    inside = given = 0
    for day in days:
        # A week ahead, the days of the week itself are not known yet.
        width = _percentile([distance for each, distance in distances.items() if each <= day - WEEK * DAY])
        if width is not None:
            given += 1
            inside += distances[day] <= width
    return inside, given
