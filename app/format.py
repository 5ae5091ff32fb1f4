"""How numbers are written for people: one way per unit, a dash for what is not known."""

from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

from babel.numbers import format_currency, get_currency_precision

UNKNOWN: Final = "–"
"""What stands where a number is not known; never 0."""

_LOCALE: Final = "en_US"

_COMPACT_FROM: Final = Decimal(100_000)

_POWERS: Final = ((Decimal(10) ** 9, "B"), (Decimal(10) ** 6, "M"), (Decimal(10) ** 3, "k"))

BYTE_STEPS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")

_PHYSICAL: Final[dict[str, tuple[tuple[tuple[float, str], ...], str]]] = {
    "joules": (((3.6e12, "GWh"), (3.6e9, "MWh"), (3.6e6, "kWh"), (3.6e3, "Wh")), "J"),
    "grams": (((1e9, "kt"), (1e6, "t"), (1e3, "kg")), "g"),
    "grams_per_kilowatt_hour": ((), "g/kWh"),
}
"""Units that are written in another one that fits their size, the largest first."""

_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86_400


def money(amount: Decimal | None, currency: str, *, compact: bool = False) -> str:
    """Write an amount in its currency, rounded for the eye only: `$1,234.56`; `$1.23M` where compact."""
    if amount is None:
        return UNKNOWN
    size = amount.copy_abs()
    if compact and size >= _COMPACT_FROM:
        for power, letter in _POWERS:
            if size >= power:
                digits = 0 if size >= 100 * power else 1 if size >= 10 * power else 2
                scaled = (amount / power).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN)
                written = format_currency(
                    scaled,
                    currency,
                    f"¤#,##0.{'0' * digits}" if digits else "¤#,##0",
                    locale=_LOCALE,
                    currency_digits=False,
                )
                return f"{written}{letter}"
    if compact and size >= 1000:  # noqa: PLR2004  cents do not matter beside thousands
        return format_currency(amount, currency, "¤#,##0", locale=_LOCALE, currency_digits=False)
    return format_currency(amount, currency, locale=_LOCALE)


def unit_price(amount: Decimal | None, currency: str) -> str:
    """Write a price for one unit with enough digits to tell small ones apart: `$0.0213`."""
    if amount is None:
        return UNKNOWN
    digits = get_currency_precision(currency)
    if amount and amount.copy_abs() < 1:
        digits = max(digits, 2 - amount.adjusted())
    return format_currency(
        amount, currency, f"¤#,##0.{'0' * digits}" if digits else "¤#,##0", locale=_LOCALE, currency_digits=False
    )


def percent(ratio: float | Decimal | None, digits: int = 1) -> str:
    """Write a share between 0 and 1 as a percentage; a share that is not 0 never reads `0.0 %`."""
    if ratio is None:
        return UNKNOWN
    value = float(ratio) * 100
    smallest = 10.0**-digits
    if 0 < value < smallest:
        return f"<{smallest:.{digits}f} %"
    if 100 - smallest < value < 100:  # noqa: PLR2004  per cent
        return f">{100 - smallest:.{digits}f} %"
    return f"{value:.{digits}f} %"


def gpu_hours(hours: float | None) -> str:
    """Write GPU-hours: `1,234 GPU-h`."""
    if hours is None:
        return UNKNOWN
    return f"{hours:,.0f} GPU-h" if abs(hours) >= 100 else f"{hours:,.1f} GPU-h"  # noqa: PLR2004  digits to read


def count(number: float | Decimal | None) -> str:
    """Write how many: whole numbers without decimals, parts with one or two."""
    if number is None:
        return UNKNOWN
    value = float(number)
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}".rstrip("0")


def large(number: float | None) -> str:
    """Write a large count shortly: `18.1 M`."""
    if number is None:
        return UNKNOWN
    for power, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= power:
            return f"{number / power:.3g} {letter}"
    return f"{number:,.0f}"


def measured(unit: str, name: str, value: float | Decimal | None) -> str:
    """Write the value of a measure: a share as a percentage, GPU-hours shortly, how many in full."""
    if unit == "ratio":
        return percent(value)
    if unit in _PHYSICAL:
        return scaled(None if value is None else float(value), *_PHYSICAL[unit])
    return large(None if value is None else float(value)) if name.endswith("gpu_hours") else count(value)


def scaled(amount: float | None, steps: tuple[tuple[float, str], ...], smallest: str) -> str:
    """Write a quantity in the largest unit of which it is one or more: `12 MWh`, `1.2 t`."""
    if amount is None:
        return UNKNOWN
    size, symbol = next((step for step in steps if abs(amount) >= step[0]), (1.0, smallest))
    value = amount / size
    digits = 0 if abs(value) >= 10 or value == round(value) else 1  # noqa: PLR2004  digits to read
    return f"{value:,.{digits}f} {symbol}"


def duration(seconds: float | Decimal | timedelta | None) -> str:
    """Write a stretch of time with its two largest units: `3 d 4 h`, `12 min`."""
    if seconds is None:
        return UNKNOWN
    whole = round(seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < _DAY:
        hours, minutes = whole // _HOUR, whole % _HOUR // _MINUTE
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = whole // _DAY, whole % _DAY // _HOUR
    return f"{days} d {hours} h" if hours else f"{days} d"


def brief(seconds: float | Decimal | None) -> str:
    """Write a stretch of time with its largest unit alone, where there is little room: `1.6 h`."""
    if seconds is None:
        return UNKNOWN
    value = float(seconds)
    for length, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if value >= length:
            return f"{value / length:,.1f}".removesuffix(".0") + f" {unit}"
    return f"{value:.0f} s"


def binary_step(amount: float) -> int:
    """Return the place in `BYTE_STEPS` of the prefix with which a number of bytes is read most easily."""
    step = 0
    while abs(amount) >= 1024 and step < len(BYTE_STEPS) - 1:  # noqa: PLR2004  binary prefixes
        amount /= 1024
        step += 1
    return step


def size(amount: float | None, *, per_second: bool = False) -> str:
    """Write bytes, or bytes in a second, with a binary prefix: `1.5 GiB/s`."""
    if amount is None:
        return UNKNOWN
    step = binary_step(amount)
    value = amount / 1024.0**step
    digits = 0 if step == 0 or abs(value) >= 100 else 1  # noqa: PLR2004  digits to read
    return f"{value:,.{digits}f} {BYTE_STEPS[step]}{'/s' if per_second else ''}"


def instant(at: datetime | None) -> str:
    """Write an instant to the minute, in UTC: `20 Nov 2026 23:04 UTC`."""
    return UNKNOWN if at is None else f"{at:%-d %b %Y %H:%M} UTC"


def ago(at: datetime | None, now: datetime) -> str:
    """Write how long ago something was: `4 min ago`."""
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    return "just now" if seconds < _MINUTE else f"{duration(seconds)} ago"


def words(name: str) -> str:
    """Write a name of the ledger as words: `held_idle` is `held idle`."""
    return name.replace("_", " ")
