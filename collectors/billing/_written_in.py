"""Numbers and days as people of a place write them, brought to one way of writing: 1234.5 and 2026-01-31."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

import polars as pl

_YEAR_FIRST: Final = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[T ].*)?")
_YEAR_LAST: Final = re.compile(r"(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4}|\d{2})(?: .*)?")
_COMPACT: Final = re.compile(r"(\d{4})(\d{2})(\d{2})")
_MONTHS: Final = 12
_SHORT_YEAR: Final = 100
_CENTURY: Final = 2000

# A comma before one, two, four or more digits, or after a point, ends the whole part of a number.
_DECIMAL_COMMA: Final = r"^[-+]?[0-9][0-9.\s']*,(?:[0-9]{1,2}|[0-9]{4,})(?:[eE][-+]?[0-9]+)?$|\.[0-9]{3},"
_GROUPING_COMMA: Final = r"^[-+]?[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]*$|^[-+]?[0-9]{1,3}(?:,[0-9]{3}){2,}$"


@dataclass(frozen=True)
class Order:
    """In which order a file writes its days, and whether that had to be guessed."""

    is_day_first: bool
    is_guess: bool


def plain_numbers(frame: pl.DataFrame, names: Sequence[str]) -> tuple[pl.DataFrame, bool]:
    """Return the columns with a decimal point and no grouping, and whether the file writes decimal commas.

    What cannot be told (`1,234` alone) stays as it is, and is refused as no number.
    """
    columns = [name for name in names if name in frame.columns]
    texts = (
        pl.concat([frame[name].drop_nulls().alias("text") for name in columns])
        if columns
        else pl.Series([], dtype=pl.String)
    )
    with_comma = texts.filter(texts.str.contains(",", literal=True))
    if with_comma.is_empty():
        return frame, False
    has_decimal = bool(with_comma.str.contains(_DECIMAL_COMMA).any())
    has_grouping = bool(with_comma.str.contains(_GROUPING_COMMA).any())
    if has_decimal == has_grouping:
        return frame, False
    return frame.with_columns(_plain(pl.col(name), is_comma=has_decimal).alias(name) for name in columns), has_decimal


def _plain(text: pl.Expr, *, is_comma: bool) -> pl.Expr:
    squeezed = text.str.replace_all(r"[\s\u{a0}\u{202f}']", "")
    if not is_comma:
        grouped = squeezed.str.contains(r"^[-+]?[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?$")
        return pl.when(grouped).then(squeezed.str.replace_all(",", "", literal=True)).otherwise(squeezed)
    grouped = squeezed.str.contains(r"^[-+]?[0-9]{1,3}(?:\.[0-9]{3})+(?:,[0-9]*)?$")
    ungrouped = pl.when(grouped).then(squeezed.str.replace_all(".", "", literal=True)).otherwise(squeezed)
    return ungrouped.str.replace(",", ".", literal=True)


def plain_days(frame: pl.DataFrame, names: Sequence[str]) -> tuple[pl.DataFrame, Order]:
    """Return the columns with days as 2026-01-31, in the one order that all days of the file fit.

    Of 03/04/2026 alone nobody can tell the month: it is taken as the first number, as Azure writes it, and
    `is_guess` says so. What is no day stays as it is.
    """
    columns = [name for name in names if name in frame.columns]
    distinct = sorted({text for name in columns for text in frame[name].drop_nulls().unique().to_list()})
    order = _order(distinct)
    days = {text: _day(text, order) for text in distinct}
    read = {text: day.isoformat() for text, day in days.items() if day is not None}
    if read:
        frame = frame.with_columns(pl.col(name).replace(read).alias(name) for name in columns)
    return frame, order


def _order(texts: Sequence[str]) -> Order:
    parts = [found for text in texts if (found := _YEAR_LAST.fullmatch(text))]
    day_first = any(int(each[1]) > _MONTHS for each in parts)
    month_first = any(int(each[3]) > _MONTHS for each in parts)
    dotted = any(each[2] == "." for each in parts)
    is_guess = bool(parts) and not (day_first or month_first or dotted)
    return Order(day_first or (dotted and not month_first), is_guess)


def _day(text: str, order: Order) -> date | None:
    found = _YEAR_FIRST.fullmatch(text) or _COMPACT.fullmatch(text)
    if found:
        year, month, day = (int(each) for each in found.groups())
    elif found := _YEAR_LAST.fullmatch(text):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        year += _CENTURY if year < _SHORT_YEAR else 0
        day, month = (first, second) if order.is_day_first else (second, first)
    else:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None
