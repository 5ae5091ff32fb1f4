"""Numbers and days as people of a place write them, brought to one way of writing: 1234.5 and 2026-01-31.

How a file writes is told by all of its rows, part by part (`Evidence`), and decided once (`Ways`). What its rows
contradict, or leave open where a guess could be wrong, is refused: an amount is never read as another one.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

import polars as pl

from ledger.errors import InputError

_YEAR_FIRST: Final = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?(?:[T ].*)?")
_YEAR_LAST: Final = re.compile(r"(\d{1,2})([-/.])(\d{1,2})[-/.](\d{4}|\d{2})(?: .*)?")
_COMPACT: Final = re.compile(r"(\d{4})(\d{2})(\d{2})")
_SHORT_YEAR: Final = 100
_CENTURY: Final = 2000

_BLANKS: Final = r"\s\u{a0}\u{202f}'\u{2019}"
_EXPONENT: Final = r"(?:[eE][-+]?[0-9]+)"
# Three digits after one mark may be a fraction or a group (1.234); all other forms say which the mark is.
_FRACTION: Final = (
    rf"^[-+]?[0-9{_BLANKS}]*@(?:[0-9]{{1,2}}|[0-9]{{4,}}){_EXPONENT}?$"
    rf"|^[-+]?(?:0[0-9]*|[0-9]{{4,}}|[0-9]{{1,3}}(?:[{_BLANKS}][0-9]{{3}})+)?@[0-9]{{3}}{_EXPONENT}?$"
    rf"|^[-+]?[0-9]+@[0-9]+{_EXPONENT}$"
    r"|^[-+]?[0-9]{1,3}(?:~[0-9]{3})+@[0-9]*$"
    r"|^[-+]?[1-9][0-9]{0,2}(?:~[0-9]{3}){2,}$"
)
_EITHER: Final = r"^[-+]?[1-9][0-9]{0,2},[0-9]{3}$"
_EITHER_POINT: Final = r"^[-+]?[1-9][0-9]{0,2}\.[0-9]{3}$"

DAYS_STATED: Final = {"day/month/year": True, "month/day/year": False}
NUMBERS_STATED: Final = {"decimal comma": True, "decimal point": False}


def _with_marks(pattern: str, mark: str, group: str) -> str:
    return pattern.replace("@", re.escape(mark)).replace("~", re.escape(group))


_COMMA_FRACTION: Final = _with_marks(_FRACTION, ",", ".")
_POINT_FRACTION: Final = _with_marks(_FRACTION, ".", ",")


@dataclass(frozen=True)
class Ways:
    """How a file writes: whether a comma ends the whole part of its numbers, and whether its days come first.

    `is_plain` tells that no number needs a change, `is_guess` that the order of its days is none that it shows.
    """

    is_comma: bool
    is_day_first: bool
    is_plain: bool
    is_guess: bool = False


@dataclass
class Evidence:
    """What the rows of a file show of how it writes, a first number of each kind and its distinct days."""

    comma: str | None = None
    point: str | None = None
    either_comma: str | None = None
    either_point: str | None = None
    is_plain: bool = True
    days: set[str] = field(default_factory=set)

    def see(self, frame: pl.DataFrame, numbers: Sequence[str], days: Sequence[str]) -> None:
        """Take in some rows."""
        for name in days:
            self.days.update(frame[name].drop_nulls().unique().to_list())
        for name in numbers:
            texts = frame[name].drop_nulls()
            with_comma = texts.filter(texts.str.contains(",", literal=True))
            self.is_plain = self.is_plain and with_comma.is_empty() and not texts.str.contains(f"[{_BLANKS}]").any()
            self.comma = self.comma or _first(texts if self.point is None else with_comma, _COMMA_FRACTION)
            self.point = self.point or _first(texts, _POINT_FRACTION)
            self.either_comma = self.either_comma or _first(with_comma, _EITHER)
            self.either_point = self.either_point or self.point or _first(texts, _EITHER_POINT)

    def ways(self, label: str, stated: Mapping[str, str], *, is_local: bool) -> Ways:
        """Return how the file writes; `is_local` says that it is not from an export in English.

        Raises: InputError: its rows contradict each other, or leave open what a guess could get wrong.
        """
        is_comma = self._is_comma(label, stated, is_local=is_local)
        is_day_first, is_guess = _is_day_first(self.days, label, stated, is_local=is_local or is_comma)
        is_plain = self.is_plain and not is_comma
        return Ways(is_comma, is_day_first, is_plain=is_plain, is_guess=is_guess)

    def _is_comma(self, label: str, stated: Mapping[str, str], *, is_local: bool) -> bool:
        if self.comma is not None and self.point is not None:
            raise InputError(
                f"{label}: found numbers written as {self.comma} and as {self.point}, expected one decimal mark",
                hint="export the file again: a program for tables may have rewritten some of its numbers",
            )
        said = _stated("azure_numbers", NUMBERS_STATED, stated)
        if self.comma is not None or self.point is not None:
            return self.comma is not None
        if said is not None:
            return said
        open_number = self.either_comma or (self.either_point if is_local else None)
        if open_number is not None:
            raise InputError(
                f"{label}: found {open_number} and no number that tells whether its mark ends the whole part or parts "
                "thousands, expected one that does",
                hint='state it: [money.bill_defaults] azure_numbers = "decimal point", or "decimal comma"',
            )
        return False


def plain_numbers(frame: pl.DataFrame, names: Sequence[str], ways: Ways) -> pl.DataFrame:
    """Return the columns with a decimal point and no grouping; what is no number stays, and is refused as none."""
    if ways.is_plain:
        return frame
    return frame.with_columns(_plain(pl.col(name), is_comma=ways.is_comma).alias(name) for name in names)


def plain_days(frame: pl.DataFrame, names: Sequence[str], ways: Ways) -> pl.DataFrame:
    """Return the columns with days as 2026-01-31; what is no day in the file's order stays, and is refused as none."""
    distinct = {text for name in names for text in frame[name].drop_nulls().unique().to_list()}
    days = {text: _day(text, is_day_first=ways.is_day_first) for text in distinct}
    read = {text: day.isoformat() for text, day in days.items() if day is not None}
    return frame.with_columns(pl.col(name).replace(read).alias(name) for name in names) if read else frame


def _first(texts: pl.Series, pattern: str) -> str | None:
    found = texts.filter(texts.str.contains(pattern))
    return None if found.is_empty() else str(found[0])


def _plain(text: pl.Expr, *, is_comma: bool) -> pl.Expr:
    mark, group = (r",", r"\.") if is_comma else (r"\.", r",")
    grouped = text.str.contains(rf"^[-+]?[1-9][0-9]{{0,2}}(?:[{group}{_BLANKS}][0-9]{{3}})+(?:{mark}[0-9]*)?$")
    single = text.str.contains(rf"^[-+]?[0-9]*(?:{mark}[0-9]*)?{_EXPONENT}?$")
    squeezed = pl.when(grouped).then(text.str.replace_all(rf"[{group}{_BLANKS}]", "")).otherwise(text)
    return pl.when(grouped | single).then(squeezed.str.replace(mark, ".")).otherwise(text) if is_comma else squeezed


def _stated(name: str, words: Mapping[str, bool], stated: Mapping[str, str]) -> bool | None:
    said = stated.get(name)
    if said is None:
        return None
    if said not in words:
        raise InputError(f"bill_defaults.{name}: found {said!r}, expected {' or '.join(words)}")
    return words[said]


def _is_day_first(texts: set[str], label: str, stated: Mapping[str, str], *, is_local: bool) -> tuple[bool, bool]:
    """Return whether days such as 03/04/2026 begin with the day, and whether nothing in the file says so."""
    parts = {text: found for text in sorted(texts) if (found := _YEAR_LAST.fullmatch(text))}
    orders = {text: (_day(text, is_day_first=True), _day(text, is_day_first=False)) for text in parts}
    day_first = next((text for text, (day, month) in orders.items() if day and not month), None)
    month_first = next((text for text, (day, month) in orders.items() if month and not day), None)
    if day_first and month_first:
        raise InputError(
            f"{label}: found days written as {day_first} and as {month_first}, expected one order of day and month",
            hint="export the file again: a program for tables may have rewritten some of its days",
        )
    said = _stated("azure_days", DAYS_STATED, stated)
    if day_first or month_first or said is not None:
        return bool(day_first) or (not month_first and bool(said)), False
    open_day = next((text for text, (day, month) in orders.items() if day != month), None)
    if open_day is None or any(found[2] == "." for found in parts.values()):
        return open_day is not None, False
    if is_local:
        raise InputError(
            f"{label}: found {open_day} and no day after the 12th, expected one that tells day from month",
            hint='state it: [money.bill_defaults] azure_days = "day/month/year", or "month/day/year"',
        )
    return False, True


def _day(text: str, *, is_day_first: bool) -> date | None:
    found = _YEAR_FIRST.fullmatch(text) or _COMPACT.fullmatch(text)
    if found:
        year, month, day = (int(each) for each in found.groups())
    elif found := _YEAR_LAST.fullmatch(text):
        first, second, year = int(found[1]), int(found[3]), int(found[4])
        year += _CENTURY if year < _SHORT_YEAR else 0
        day, month = (first, second) if is_day_first else (second, first)
    else:
        return None
    try:
        return date(year, month, day)
    except ValueError:
        return None
