"""What a kilowatt-hour costs at which time, as a contract states it."""

import re
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = "|".join(_DAYS)
_PART: Final = re.compile(
    rf"(?:(?P<first>{_DAY})(?:-(?P<last>{_DAY}))?\s+)?"
    r"(?:(?P<start>[0-2]\d:[0-5]\d)-(?P<end>[0-2]\d:[0-5]\d)\s+)?(?P<price>\d+(?:\.\d{1,18})?)"
)
_DAY_MINUTES: Final = 1440
_HOUR_MINUTES: Final = 60
_EXPECTED: Final = "parts such as `mon-fri 07:00-21:00 0.31`, separated by semicolons, and a plain price at the end"


@dataclass(frozen=True)
class Part:
    """A price with the days and the minutes of the day for which it holds; the end is exclusive."""

    days: frozenset[int]
    start: int
    end: int
    price: Decimal

    def holds(self, weekday: int, minute: int) -> bool:
        """Tell whether it holds at a minute of a weekday; a night belongs to the day on which it begins."""
        if self.start < self.end:
            return weekday in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return weekday in self.days
        return minute < self.end and (weekday - 1) % len(_DAYS) in self.days


Tariff = tuple[Part, ...]


def tariff(text: str, otherwise: Decimal | None) -> Tariff:
    """Return the parts of a tariff in their order; `otherwise` is the price of all other time.

    Raises: ValueError: what was expected, where it is written in another way or leaves time without a price.
    """
    parts = [_part(each.strip().lower()) for each in text.split(";") if each.strip()]
    whole = Part(frozenset(range(len(_DAYS))), 0, _DAY_MINUTES, Decimal(0))
    if otherwise is not None:
        parts.append(Part(whole.days, whole.start, whole.end, otherwise))
    if not parts or (parts[-1].days, parts[-1].start, parts[-1].end) != (whole.days, whole.start, whole.end):
        raise ValueError(f"{_EXPECTED}, or energy_price for all other time")
    return tuple(parts)


def _part(text: str) -> Part:
    found = _PART.fullmatch(text)
    if found is None:
        raise ValueError(_EXPECTED)
    first, last = found["first"], found["last"]
    begin = _DAYS.index(first) if first else 0
    length = (_DAYS.index(last) - begin) % len(_DAYS) + 1 if last else 1 if first else len(_DAYS)
    start, end = _minutes(found["start"] or "00:00"), _minutes(found["end"] or "24:00")
    if start == end or start >= _DAY_MINUTES or end > _DAY_MINUTES:
        raise ValueError("a time from 00:00 to 24:00, and an end that is not the start")
    return Part(frozenset((begin + each) % len(_DAYS) for each in range(length)), start, end, Decimal(found["price"]))


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * _HOUR_MINUTES + int(minutes)


@lru_cache(maxsize=20_000)
def hour_price(parts: Tariff, zone: str, at: datetime) -> Fraction:
    """Return the mean price of an hour that starts at an instant, exactly: a price may change inside it."""
    place = ZoneInfo(zone)
    local = [(at + timedelta(minutes=minute)).astimezone(place) for minute in range(_HOUR_MINUTES)]
    minutes = Counter(
        next(part.price for part in parts if part.holds(clock.weekday(), clock.hour * _HOUR_MINUTES + clock.minute))
        for clock in local
    )
    return sum((Fraction(price) * count for price, count in minutes.items()), Fraction(0)) / _HOUR_MINUTES
