"""What an amount is in another currency, for the eye: by the rate of its day, with that day told.

Nothing that is stored is ever converted. Amounts are converted one by one, each by the rate of its own day, and
only then summed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Final, NamedTuple

from ledger import money

Row = tuple[date, str, str, Decimal]
"""One rate: its day, from which currency, to which, and how much one buys."""

_SAME: Final = Fraction(1)


@dataclass(frozen=True)
class Quote:
    """What one of a currency buys of another; `day` is the oldest day of the rates behind it, null without any.

    A rate is turned around, or taken across a third currency, where no direct one is known.
    """

    ratio: Fraction
    day: date | None

    def of(self, amount: Decimal) -> Decimal:
        """Return an amount in the other currency, rounded once, half to even, at 18 decimals."""
        return money.priced(amount, self.ratio)


class _Rate(NamedTuple):
    """What one of a currency buys of another from a day on; `is_stated` is 0 where it was turned around."""

    day: date
    is_stated: int
    ratio: Fraction


class Exchange:
    """All known rates, each of which holds from its day until the next one of its pair.

    Of one day, a rate that is stated comes before one that is turned around, and of the same the one that came last.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._known: dict[tuple[str, str], list[_Rate]] = {}
        for day, source, target, price in rows:
            if price > 0 and source != target:
                self._known.setdefault((source, target), []).append(_Rate(day, 1, Fraction(price)))
                self._known.setdefault((target, source), []).append(_Rate(day, 0, 1 / Fraction(price)))
        for rates in self._known.values():
            # Sorting keeps the order of those that are equal in this.
            rates.sort(key=lambda each: each[:2])

    def quote(self, source: str, target: str, on: date) -> Quote | None:
        """Return the rate that held on a day, null where none did: a rate of a later day says nothing about it."""
        if source == target:
            return Quote(_SAME, None)
        if direct := self._last(source, target, on):
            return Quote(direct.ratio, direct.day)
        crossed = [
            Quote(first.ratio * second.ratio, min(first.day, second.day))
            for via in sorted({pair[1] for pair in self._known if pair[0] == source})
            if (first := self._last(source, via, on)) and (second := self._last(via, target, on))
        ]
        return max(crossed, key=lambda each: each.day or on, default=None)

    def _last(self, source: str, target: str, on: date) -> _Rate | None:
        known = [each for each in self._known.get((source, target), []) if each.day <= on]
        return known[-1] if known else None
