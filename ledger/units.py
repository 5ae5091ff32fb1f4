"""Units, read off the last word of a column's name.

A number whose name does not end in one of these is refused by a test: a reader must never guess
between seconds and milliseconds, or between a ratio and a percentage.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Unit:
    """How a quantity is written and plotted."""

    suffix: str
    symbol: str
    meaning: str


UNITS: Final[tuple[Unit, ...]] = (
    Unit("bytes_per_second", "B/s", "bytes in a second"),
    Unit("bytes", "B", "bytes"),
    Unit("seconds", "s", "seconds"),
    Unit("joules", "J", "joules"),
    Unit("grams_per_kilowatt_hour", "g/kWh", "grams of CO2 equivalent for a kilowatt-hour"),
    Unit("grams", "g", "grams of CO2 equivalent"),
    Unit("watts", "W", "watts"),
    Unit("celsius", "°C", "degrees Celsius"),
    Unit("hertz", "Hz", "hertz"),
    Unit("ratio", "", "a share between 0 and 1, never a percentage"),
    Unit("fraction", "", "part of one device, between 0 and 1"),
    Unit("count", "", "how many"),
    Unit("index", "", "an ordinal that starts at 0"),
    Unit("code", "", "a number that names something"),
    Unit("bitmask", "", "a set of flags"),
    Unit("bits", "bit", "bits"),
    Unit("usd", "USD", "US dollars"),
    Unit("cost", "", "money in `billing_currency`"),
    Unit("price", "", "money for one pricing unit in `billing_currency`"),
    Unit("month", "", "money, or GPU-hours where the name says so, in an average month"),
)

MONEY_NAMES: Final = frozenset({"charged", "allocated", "estimated", "invoiced", "difference", "tolerance", "residue"})
"""Columns of the contract that are money in `billing_currency` without saying so at their end."""


def unit_of(column: str) -> Unit | None:
    """Return the unit that a column's name states, or None.

    A trailing `_total` marks a counter and stands behind the unit.
    """
    name = column.removesuffix("_total")
    return next((unit for unit in UNITS if name == unit.suffix or name.endswith(f"_{unit.suffix}")), None)


def is_money(column: str) -> bool:
    """Tell whether a column holds money: Decimal(38, 18), printed as text in JSON."""
    if column in MONEY_NAMES or column.endswith(("_cost", "_price")):
        return True
    if column.endswith(("Cost", "Price")):
        return True
    return column.startswith("saving_")
