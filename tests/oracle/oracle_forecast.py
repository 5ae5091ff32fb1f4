"""What days will cost, read literally: the same weekday before, or the median of three, whichever was nearer.

Plain Python on whole units; it shares no code with what it checks.

Readings where the contract leaves a choice:
* A day so many weeks ahead is foreseen from weekdays that lie at least so many weeks before it.
* Both ways are judged a week ahead on the days that both could foresee; the median must have been nearer in sum, on 28
  days or more.
* The interval is as wide as the distance that four of five past days kept to, of five days at least.
"""

from collections.abc import Mapping
from typing import NamedTuple

WEEK = 7
NAIVE, MEDIAN = "seasonal_naive_7", "seasonal_median_3"
COUNTS = {NAIVE: 1, MEDIAN: 3}

History = Mapping[int, int | None]
"""What each complete day cost, by its number."""


class Foreseen(NamedTuple):
    """What a day is expected to cost, with the ends of its interval."""

    cost: int
    lower: int | None
    upper: int | None
    method: str


def forecast(history: History, last: int) -> dict[int, Foreseen]:
    """Return what each day after a history is expected to cost, up to a last one."""
    made_on = max(history)
    method = _chosen(history)
    found = {}
    for day in range(made_on + 1, last + 1):
        weeks = (day - made_on + WEEK - 1) // WEEK
        cost = _expected(history, day, weeks, method)
        if cost is not None:
            width = _width(history, weeks, method)
            ends = (None, None) if width is None else (cost - width, cost + width)
            found[day] = Foreseen(cost, *ends, method)
    return found


def _expected(history: History, day: int, weeks: int, method: str) -> int | None:
    before = [history.get(day - (weeks + index) * WEEK) for index in range(COUNTS[method])]
    known = sorted(each for each in before if each is not None)
    return known[len(known) // 2] if len(known) == len(before) else None


def _errors(history: History, weeks: int, method: str) -> dict[int, int]:
    """Return how far each past day was from what was expected of it."""
    found = {}
    for day, cost in history.items():
        expected = _expected(history, day, weeks, method)
        if cost is not None and expected is not None:
            found[day] = abs(cost - expected)
    return found


def _chosen(history: History) -> str:
    errors = {method: _errors(history, 1, method) for method in COUNTS}
    both = errors[NAIVE].keys() & errors[MEDIAN].keys()
    sums = {method: sum(found[day] for day in both) for method, found in errors.items()}
    return MEDIAN if len(both) >= 28 and sums[MEDIAN] < sums[NAIVE] else NAIVE


def _width(history: History, weeks: int, method: str) -> int | None:
    distances = sorted(_errors(history, weeks, method).values())
    if len(distances) < 5:
        return None
    return next(each for each in distances if sum(other <= each for other in distances) * 5 >= len(distances) * 4)
