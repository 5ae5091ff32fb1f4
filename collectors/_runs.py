"""Rounds of a collector that go alike are told together, once a minute: a row for each is a quarter of all rows."""

from collections.abc import Container, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

_MINUTE: Final = timedelta(minutes=1)

_EACH: Final = frozenset({"pod_resources"})
"""Collectors each of whose good rounds is a row: by the first that does not name a pod its devices are free again."""

_ALIKE: Final = ("is_ok", "error", "step_seconds")

Row = Mapping[str, Any]


class Runs:
    """What is to be told of the rounds of each collector, and when.

    The first round is told at once, and so is one with another outcome than the one before, after what was held of
    that. Rounds that go alike are added up, until the one that is nearest to a minute after the last that was told.
    The rounds of a row lie within a minute and within one hour of the clock: counts of an hour or a day stay exact. Its
    instant is that of its last round, so that rows of a collector come in the order of its rounds, each with an instant
    of its own.

    An agent that is killed loses the counts of a minute at most: what is held is on no disk. Samples are not held.
    """

    def __init__(self) -> None:
        self._stretches: dict[str, _Stretch] = {}

    def add(self, row: Row) -> list[Row]:
        """Return what is to be told now that a collector did another round, which is given as a row of its own."""
        name: str = row["collector"]
        stretch = self._stretches.get(name)
        if stretch is None or not stretch.goes_on_with(row):
            told = stretch.rest() if stretch else []
            self._stretches[name] = _Stretch(row)
            return [*told, row]
        return stretch.add(row)

    def rest(self, running: Container[str] = ()) -> list[Row]:
        """Return what is held of all collectors but those that run on; the next round of the others is a first one."""
        ended = [name for name in self._stretches if name not in running]
        return [row for name in ended for row in self._stretches.pop(name).rest()]


class _Stretch:
    """Rounds of one collector that go alike: since when they are added up, and those that are not told yet."""

    def __init__(self, told: Row) -> None:
        self._told = told
        self._minute_from = _at(told)
        self._held: dict[str, Any] = {}
        self._held_from = _at(told)

    def goes_on_with(self, row: Row) -> bool:
        """Tell whether a round went as those before, and soon after them by a clock that was not set back."""
        last, at = self._held or self._told, _at(row)
        is_each = row["collector"] in _EACH and row["is_ok"] and row["error"] is None
        is_alike = all(row[name] == self._told[name] for name in _ALIKE)
        return is_alike and not is_each and _at(last) < at <= self._held_from + _MINUTE

    def add(self, row: Row) -> list[Row]:
        """Take a round that goes on; return what is to be told now."""
        at = _at(row)
        told = self.rest() if self._held and _hour(at) != _hour(_at(self._held)) else []
        if self._held:
            self._held = _sum(self._held, row)
        else:
            self._held, self._held_from = dict(row), at
        left = self._minute_from + _MINUTE - at
        if left.total_seconds() < row["step_seconds"] / 2:
            told += self.rest()
            self._minute_from = at
        return told

    def rest(self) -> list[Row]:
        """Return what is held, and hold it no more."""
        if not self._held:
            return []
        self._told, self._held, self._held_from = self._held, {}, _at(self._held)
        return [self._told]


def _sum(held: dict[str, Any], row: Row) -> dict[str, Any]:
    """Return rounds and the next one as one row."""
    longest = "longest_round_seconds"
    sums = {name: held[name] + row[name] for name in ("row_count", "duration_seconds", "round_count")}
    return {**row, **sums, longest: max(held[longest], row[longest])}


def _at(row: Row) -> datetime:
    at: datetime = row["sampled_at"]
    return at


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)
