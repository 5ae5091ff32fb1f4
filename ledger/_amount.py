"""One amount: read exactly, rounded once, added and multiplied without losing a digit."""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, Overflow
from typing import Final

import polars as pl

from ledger.errors import InputError
from ledger.tables.columns import MONEY_PRECISION, MONEY_SCALE

MONEY: Final = pl.Decimal(MONEY_PRECISION, MONEY_SCALE)
UNIT: Final = Decimal(1).scaleb(-MONEY_SCALE)
LARGEST: Final = Decimal((0, (9,) * MONEY_PRECISION, -MONEY_SCALE))

# A double has at most 17 digits and an exponent above -325: nothing that a source writes is longer.
_MOST_DECIMALS: Final = 400
_MOST_CHARACTERS: Final = 500
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)

EXACT: Final = Context(prec=2 * _MOST_CHARACTERS, traps=[Inexact, Overflow])
ROUNDING: Final = Context(prec=2 * _MOST_CHARACTERS, rounding=ROUND_HALF_EVEN)


class MoneyError(InputError, ValueError):
    """A text is no amount, or an amount does not fit Decimal(38, 18)."""


@dataclass(frozen=True)
class Parsed:
    """An amount at rest and what rounding to 18 decimals took away; their sum is what the text says."""

    amount: Decimal
    residue: Decimal


def parse(text: str) -> Parsed:
    """Return the amount that a text states, at 18 decimals, rounded half to even.

    Raises: MoneyError: the text is no finite decimal number, or needs more than 20 digits before the point.
    """
    stripped = text.strip()
    if len(stripped) > _MOST_CHARACTERS or not _NUMBER.fullmatch(stripped):
        raise MoneyError(f"found {_shortened(text)}, expected a decimal number such as -12.50 or 1.2e-7")
    exact = Decimal(stripped)
    if exact.is_zero():
        return Parsed(Decimal(0), Decimal(0))
    if exact.adjusted() >= MONEY_PRECISION - MONEY_SCALE:
        raise MoneyError(f"found {_shortened(text)}, expected an amount of at most 20 digits before the point")
    if exact.adjusted() < -_MOST_DECIMALS:
        raise MoneyError(f"found {_shortened(text)}, expected an amount of at most {_MOST_DECIMALS} decimals")
    amount = at_rest(exact)
    return Parsed(amount, EXACT.subtract(exact, amount))


def add(*amounts: Decimal) -> Decimal:
    """Return the exact sum of amounts of any number of decimals; 0 of none."""
    result = Decimal(0)
    for each in amounts:
        result = EXACT.add(result, each)
    return result


def difference(left: Decimal, right: Decimal) -> Decimal:
    """Return `left - right` exactly; Python's own operators round to 28 digits."""
    return EXACT.subtract(left, right)


def share(amount: Decimal, ratio: Decimal) -> Decimal:
    """Return a ratio of an amount exactly: a product of all its digits."""
    return EXACT.multiply(amount, ratio)


def at_rest(amount: Decimal) -> Decimal:
    """Return an amount of any number of decimals at 18, rounded half to even.

    Raises: MoneyError: it does not fit Decimal(38, 18).
    """
    value = amount.quantize(UNIT, context=ROUNDING)
    if value.copy_abs() > LARGEST:
        raise MoneyError(f"found {amount:.6g}, expected an amount of at most 20 digits before the point")
    return value


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")  # noqa: PLR2004  one line of an error
