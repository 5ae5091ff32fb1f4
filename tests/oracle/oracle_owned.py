"""What owned hardware costs, read literally: asset after asset, step after step, minute after minute.

Plain Python on whole units of 1e-18 and fractions; it shares no code with what it checks.

Readings where the contract leaves a choice:
* What is spread evenly over a time has cost, up to an instant, as much as whole units had gone by then; a step costs
  the difference, so that all steps sum to the whole.
* Space, staff and support cost an average month: a twelfth of a year of 365.2425 days.
* Energy is what was measured, and rated power for the seconds of a step in which nothing was; where neither is known,
  or no price, it is no charge. Assets of one node share what was measured of it evenly.
* A price by time is that of the local clock, minute by minute: the first part that fits holds, and a night belongs to
  the day on which it begins. Then energy is charged by the hour, else by the step.
* Only whole steps within the life are charged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import NamedTuple
from zoneinfo import ZoneInfo

ONE = 10**18
HOUR = 3600
DAY = 24 * HOUR
YEAR = 31_556_952


class Price(NamedTuple):
    """What a kilowatt-hour costs on some weekdays from one minute of the day to another; Monday is 0."""

    days: frozenset[int]
    start: int
    end: int
    units: int


@dataclass(frozen=True)
class Owned:
    """One asset; amounts are units, `start` and `end` of its life seconds since 1970, other numbers plain texts."""

    name: str
    node: str
    currency: str
    start: int
    end: int
    purchase: int
    residual: int = 0
    financing: int | None = None
    space: int | None = None
    staff: int | None = None
    support: int | None = None
    watts: str | None = None
    overhead: str = "1"
    energy: int | None = None
    tariff: tuple[Price, ...] = ()
    zone: str = "UTC"


class Measured(NamedTuple):
    """What a node drew in a part of an hour."""

    node: str
    at: int
    joules: str
    seconds: int


class Key(NamedTuple):
    """Whose charge, for what, and when."""

    asset: str
    kind: str
    start: int
    seconds: int


class Cost(NamedTuple):
    """What was charged and for how much, in units, in which currency, and by which evidence."""

    units: int
    quantity: int
    currency: str
    evidence: str


def charges(assets: Sequence[Owned], measured: Sequence[Measured], start: int, end: int, step: int) -> dict[Key, Cost]:
    """Return what assets cost in each whole step of a time."""
    found: dict[Key, Cost] = {}
    for each in assets:
        sharing = sum(other.node == each.node for other in assets)
        mine = [one for one in measured if one.node == each.node]
        for at in _steps(each, start, end, step):
            found |= _flat(each, at, step)
        length = HOUR if each.tariff else step
        for at in _steps(each, start, end, length):
            cost = _energy(each, mine, sharing, at, length)
            if cost is not None:
                found[Key(each.name, "energy", at, length)] = cost
    return found


def _steps(asset: Owned, start: int, end: int, length: int) -> Iterator[int]:
    at = -(-max(start, asset.start) // length) * length
    while at + length <= min(end, asset.end):
        yield at
        at += length


def _flat(asset: Owned, at: int, length: int) -> dict[Key, Cost]:
    """Return what a step costs whether anything runs or not."""
    life = asset.end - asset.start
    parts = [("depreciation", asset.purchase - asset.residual, life, "straight-line")]
    if asset.financing is not None:
        parts.append(("financing", asset.financing, life, "evenly over its life"))
    for kind, monthly in (("space", asset.space), ("staff", asset.staff), ("support", asset.support)):
        if monthly is not None:
            parts.append((kind, monthly * 12, YEAR, "average month"))
    gone = at - asset.start
    return {
        Key(asset.name, kind, at, length): Cost(
            whole * (gone + length) // over - whole * gone // over, length * ONE // HOUR, asset.currency, evidence
        )
        for kind, whole, over, evidence in parts
    }


def _energy(asset: Owned, measured: Sequence[Measured], sharing: int, at: int, length: int) -> Cost | None:
    now = [each for each in measured if at <= each.at < at + length]
    joules = sum((Fraction(each.joules) for each in now), Fraction(0)) / sharing
    seconds = sum(each.seconds for each in now)
    missing = max(0, length - seconds)
    if (not seconds and asset.watts is None) or (asset.energy is None and not asset.tariff):
        return None
    rated = Fraction(asset.watts or "0") * missing
    hours = (joules + rated) * Fraction(asset.overhead) / 3_600_000
    cost = round(hours * _price(asset, at))
    if not missing:
        evidence = "measured"
    elif asset.watts is None:
        evidence = f"measured for {seconds} of {length} s"
    else:
        evidence = "measured and rated" if seconds else "rated power"
    return Cost(cost, round(hours * ONE), asset.currency, evidence)


def _price(asset: Owned, at: int) -> Fraction:
    """Return the mean price of an hour, in units, or the one for all time."""
    if not asset.tariff:
        return Fraction(asset.energy or 0)
    total = 0
    for minute in range(60):
        clock = (datetime.fromtimestamp(at, UTC) + timedelta(minutes=minute)).astimezone(ZoneInfo(asset.zone))
        time = clock.hour * 60 + clock.minute
        total += next((each.units for each in asset.tariff if _holds(each, clock.weekday(), time)), asset.energy or 0)
    return Fraction(total, 60)


def _holds(price: Price, weekday: int, minute: int) -> bool:
    if price.start < price.end:
        return weekday in price.days and price.start <= minute < price.end
    if minute >= price.start:
        return weekday in price.days
    return minute < price.end and (weekday - 1) % 7 in price.days
