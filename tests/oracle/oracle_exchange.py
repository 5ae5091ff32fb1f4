"""What amounts are in another currency, read literally: row after row, each by the rate of its day.

Plain Python on whole units of 1e-18 and numbers of days; it shares no code with what it checks.

Readings where the contract leaves a choice:
* The newest rate of a pair holds, whichever way it is stated; of one day the one that is stated in the direction that
  is asked for, and of those the one that came last.
* Without one, two rates are taken across a third currency: across the one whose older rate is the newest, of equals the
  first by name.
* A currency of which any row has no rate stays as it is billed, with all its rows.
"""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

ONE = 10**18

Units = int | None


class Rate(NamedTuple):
    """How much of a currency one of another buys, from a day on, in units."""

    day: int
    source: str
    target: str
    units: int


class Row(NamedTuple):
    """An amount or two of a day, with what is counted beside them."""

    day: int
    currency: str
    name: str
    amounts: tuple[Units, ...]
    count: int | None
    flag: bool


class Told(NamedTuple):
    """Rows in the display currency, by day, currency and name, and what is said about them."""

    rows: dict[tuple[int, str, str], tuple[tuple[Units, ...], int | None, bool]]
    converted: tuple[str, ...]
    kept: tuple[str, ...]
    first: int | None
    last: int | None


def told(rows: Sequence[Row], rates: Sequence[Rate], to: str, on: int | None = None) -> Told:
    """Return rows in one currency, each by the rate of its own day, or all by that of one day."""
    names = sorted({each.currency for each in rows} - {to})
    found = {
        (each.currency, each.day): quote(rates, each.currency, to, each.day if on is None else on) for each in rows
    }
    kept = tuple(name for name in names if any(known is None for (code, _), known in found.items() if code == name))
    converted = tuple(name for name in names if name not in kept)
    merged: dict[tuple[int, str, str], tuple[tuple[Units, ...], int | None, bool]] = {}
    days = set()
    for each in rows:
        known = found[each.currency, each.day]
        currency, amounts = each.currency, each.amounts
        if each.currency in converted and known is not None:
            currency = to
            amounts = tuple(None if units is None else round(units * known[0]) for units in amounts)
            days.add(known[1])
        key = (each.day, currency, each.name)
        before = merged.get(key, ((None,) * len(amounts), None, False))
        sums = tuple(_added(one, other) for one, other in zip(before[0], amounts, strict=True))
        merged[key] = (sums, _added(before[1], each.count), before[2] or each.flag)
    return Told(merged, converted, kept, min(days, default=None), max(days, default=None))


def quote(rates: Sequence[Rate], source: str, target: str, on: int) -> tuple[Fraction, int] | None:
    """Return what one of a currency bought of another on a day, and the day of the oldest rate behind it."""
    if source == target:
        return Fraction(1), on
    if direct := _held(rates, source, target, on):
        return direct
    best: tuple[Fraction, int] | None = None
    for third in sorted({each.source for each in rates} | {each.target for each in rates}):
        first, second = _held(rates, source, third, on), _held(rates, third, target, on)
        if first and second and (best is None or min(first[1], second[1]) > best[1]):
            best = first[0] * second[0], min(first[1], second[1])
    return best


def _held(rates: Sequence[Rate], source: str, target: str, on: int) -> tuple[Fraction, int] | None:
    """Return the rate between two currencies that held on a day."""
    best: tuple[int, bool] | None = None
    ratio = Fraction(1)
    for each in rates:
        if {each.source, each.target} != {source, target} or each.day > on:
            continue
        is_stated = each.source == source
        if best is None or (each.day, is_stated) >= best:
            best = each.day, is_stated
            ratio = Fraction(each.units, ONE) if is_stated else Fraction(ONE, each.units)
    return None if best is None else (ratio, best[0])


def _added(one: Units, other: Units) -> Units:
    return other if one is None else one if other is None else one + other
