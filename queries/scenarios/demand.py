"""How many GPUs work needs, hour by hour, and what a base of servers with the rest rented comes to."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from typing import Final

import polars as pl

from ledger import money

HOUR_MS: Final = 3_600_000
MONTH_HOURS: Final = 730
"""Hours of an average month."""


@dataclass(frozen=True)
class Demand:
    """GPU time of each hour of a stretch, in milliseconds of whole GPUs; an hour in which nothing was needed has 0."""

    hours: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many hours the stretch has."""
        return len(self.hours)

    @cached_property
    def total(self) -> int:
        """All of it, in milliseconds."""
        return sum(self.hours)

    @property
    def gpu_hours(self) -> Fraction:
        """All of it, in GPU-hours."""
        return Fraction(self.total, HOUR_MS)

    def times(self, factor: Fraction) -> "Demand":
        """Return the same work where it takes longer or shorter, each hour rounded up to a millisecond."""
        if factor == 1:
            return self
        return Demand(tuple(-(-hour * factor.numerator // factor.denominator) for hour in self.hours))

    def servers(self, gpu_count: int) -> int:
        """Return how many servers of so many GPUs the busiest hour needs."""
        return _up(max(self.hours, default=0), gpu_count * HOUR_MS)

    def server_hours(self, gpu_count: int) -> int:
        """Return for how many hours servers are rented, where each hour has as many whole ones as it needs."""
        return self.beyond(0, gpu_count)

    def beyond(self, base_gpu_count: int, gpu_count: int) -> int:
        """Return for how many hours servers are rented for what a base of GPUs does not cover."""
        base, size = base_gpu_count * HOUR_MS, gpu_count * HOUR_MS
        return sum(_up(hour - base, size) * times for hour, times in self._levels if hour > base)

    def each_beyond(self, base_size: int, gpu_count: int) -> Iterator[int]:
        """Yield what `beyond` returns for a base of 0, 1, 2, ... servers of a size, until the base covers all."""
        if base_size % gpu_count:
            yield from self._each_unlike(base_size, gpu_count)
            return
        # Servers of the base take the place of whole rented ones: those still needed only have to be counted.
        step = base_size // gpu_count
        needed = Counter[int]()
        for hour, times in self._levels:
            needed[_up(hour, gpu_count * HOUR_MS)] += times
        above = [times for _, times in sorted(needed.items())]
        levels = sorted(needed)
        rented = sum(level * times for level, times in needed.items())
        hours, low = sum(above), 0
        place = 0
        yield rented
        while rented:
            for _ in range(step):
                while place < len(levels) and levels[place] <= low:
                    hours -= above[place]
                    place += 1
                rented -= hours
                low += 1
            yield rented

    def _each_unlike(self, base_size: int, gpu_count: int) -> Iterator[int]:
        hours, times = (pl.Series(each, dtype=pl.Int64) for each in zip(*self._levels, strict=True))
        size = gpu_count * HOUR_MS
        for base in range(self.servers(base_size) + 1):
            missing = (hours - base * base_size * HOUR_MS).clip(lower_bound=0)
            yield int((((missing + (size - 1)) // size) * times).sum())

    @cached_property
    def _levels(self) -> tuple[tuple[int, int], ...]:
        return tuple(sorted(Counter(self.hours or (0,)).items()))


@dataclass(frozen=True)
class Mix:
    """A base of servers that is paid in every hour, and the rest rented by the hour; `cost` is that of the stretch."""

    base_count: int
    rented_hours: int
    cost: Fraction


def mixes(demand: Demand, base: tuple[int, Decimal | Fraction], rent: tuple[int, Decimal | Fraction]) -> list[Mix]:
    """Return every base from none to one that covers the busiest hour; each side is GPUs of a server and hour price."""
    (base_size, base_price), (size, price) = base, rent
    paid = Fraction(base_price) * demand.count
    return [
        Mix(count, rented, paid * count + Fraction(price) * rented)
        for count, rented in enumerate(demand.each_beyond(base_size, size))
    ]


def cheapest(found: Sequence[Mix]) -> Mix:
    """Return the mix of the least cost; among equals the one that binds the least."""
    return min(found, key=lambda each: (each.cost, each.base_count))


def month(cost: Fraction, hours: int) -> Decimal:
    """Return what a stretch's cost comes to in an average month."""
    return money.priced(Decimal(1), cost * MONTH_HOURS / hours)


def _up(amount: int, size: int) -> int:
    return -(-amount // size)
