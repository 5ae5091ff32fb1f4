"""Cells of a bill: words that mean null, instants, amounts and tags, a whole column at a time."""

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from typing import Final

import polars as pl

from collectors.billing._as_written import WHOLE_ROWS, headers_again, rows_as_json
from collectors.billing._format import Rejected
from collectors.billing._texts import Texts
from collectors.billing._typed import Coded, as_text
from ledger.money import MONEY, ParsedColumn, parse_column

NULL_WORDS: Final = ("", "null", "none", "n/a", "not applicable")

_INSTANT: Final = pl.Datetime("us", "UTC")
_SHOWN_CHARACTERS: Final = 60
_AMOUNT: Final = "a decimal number such as -12.50"
_MONTH_CHARACTERS: Final = 7
EARLIEST: Final = datetime(1990, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)
"""Exports write the years 1 and 9999 for a date that is not known: no charge is of these."""
_IN_TIME: Final = f"an instant between {EARLIEST.year} and {LATEST.year}"


@dataclass
class Cells:
    """A file's columns under folded names while its rows are being judged.

    A row is refused once, for the first thing that is wrong with it.
    """

    texts: Texts
    table_name: str
    normalised_count: int = 0
    naive_instant_count: int = 0
    refused: dict[int, Rejected] = field(default_factory=dict)
    columns: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = {name.casefold(): name for name in self.texts.frame.columns}

    @property
    def height(self) -> int:
        """How many rows the file has."""
        return self.texts.frame.height

    def has(self, name: str) -> bool:
        """Tell whether the file has a column, in any spelling."""
        return name.casefold() in self.columns

    def text(self, name: str, default: str | None = None) -> pl.Series:
        """Return a column with the words for null made null; an absent column is the default in every row."""
        actual = self.columns.get(name.casefold())
        if actual is None:
            return pl.repeat(default, self.height, dtype=pl.String, eager=True).alias(name)
        coded = self.texts.coded.get(actual)
        if coded is not None:
            return self._decoded(coded, self.texts.frame[actual]).alias(name)
        stripped, is_word = _cleaned(as_text(_without_fraction(self.texts.frame[actual])))
        self.normalised_count += int(is_word.sum())
        return pl.select(pl.when(~is_word).then(stripped).alias(name)).to_series()

    def _decoded(self, coded: Coded, raw: pl.Series) -> pl.Series:
        """Return a coded column cleaned; each of its values is looked at once."""
        stripped, is_word = _cleaned(coded.values)
        if is_word.any():
            self.normalised_count += int(is_word.gather(coded.codes).sum())
        elif stripped.equals(coded.values):
            return raw
        return pl.select(pl.when(~is_word).then(stripped)).to_series().gather(coded.codes)

    def amount(self, name: str, *, is_needed: bool = False) -> ParsedColumn:
        """Return a column of amounts; what is none refuses its row."""
        actual = self.columns.get(name.casefold())
        typed = None if actual is None else self.texts.frame[actual]
        if typed is None or not typed.dtype.is_numeric():
            texts = self.text(name)
            parsed = parse_column(texts)
        else:
            exact = _exact(typed.alias(name))
            texts = typed if exact else as_text(typed)
            parsed = exact or parse_column(texts.alias(name))
        for index, why in parsed.refused.items():
            expected = why.rpartition("expected ")[2]
            self.refuse(index, name, texts[index], expected if expected.startswith("an amount") else _AMOUNT)
        if is_needed:
            self.need(name, texts, _AMOUNT)
        return parsed

    def number(self, name: str) -> pl.Series:
        """Return a column of physical quantities as floats; what is no number refuses its row."""
        return self.amount(name).amounts.cast(pl.Float64)

    def whole(self, name: str) -> pl.Series:
        """Return a column of whole numbers; what is none refuses its row."""
        amounts = self.amount(name).amounts
        wholes = amounts.cast(pl.Decimal(38, 0)).cast(pl.Int64, strict=False)
        broken = (amounts != amounts.cast(pl.Decimal(38, 0)).cast(amounts.dtype, strict=False)).fill_null(value=False)
        for index in pl.arg_where(broken | (wholes.is_null() & amounts.is_not_null()), eager=True).to_list():
            self.refuse(index, name, self.text(name)[index], "a whole number")
        return wholes.alias(name)

    def instant(self, name: str, *, is_needed: bool = False, default: str | None = None) -> pl.Series:
        """Return a column of instants in UTC; what has no zone is taken as UTC and counted."""
        expected = "an instant such as 2026-01-01T00:00:00Z"
        actual = self.columns.get(name.casefold())
        if actual is not None and isinstance(self.texts.frame.schema[actual], pl.Datetime):
            return self._typed_instant(name, self.texts.frame[actual], expected if is_needed else "")
        texts = self.text(name, default)
        distinct = texts.drop_nulls().unique()
        read = [_instant(each) for each in distinct.to_list()]
        known = pl.DataFrame(
            {
                "text": distinct,
                "at": pl.Series([at for at, _ in read], dtype=_INSTANT),
                "is_naive": pl.Series([naive for _, naive in read], dtype=pl.Boolean),
            }
        )
        found = texts.to_frame("text").join(known, on="text", how="left", maintain_order="left")
        bad = found["at"].is_null() & texts.is_not_null()
        for index in pl.arg_where(bad, eager=True).to_list():
            self.refuse(index, name, texts[index], expected)
        self._in_time(name, found["at"], texts)
        if name.casefold() in self.texts.naive:
            self.naive_instant_count += texts.len() - texts.null_count()
        else:
            self.naive_instant_count += int(found["is_naive"].sum())
        if is_needed:
            self.need(name, texts, expected)
        return found["at"].alias(name)

    def _typed_instant(self, name: str, column: pl.Series, expected: str) -> pl.Series:
        if name.casefold() in self.texts.naive:
            self.naive_instant_count += column.len() - column.null_count()
            column = column.dt.replace_time_zone("UTC")
        if expected:
            self.need(name, column, expected)
        at = column.dt.convert_time_zone("UTC").cast(_INSTANT).alias(name)
        self._in_time(name, at, at)
        return at

    def _in_time(self, name: str, at: pl.Series, written: pl.Series) -> None:
        """Refuse the rows of a time that has no charges."""
        if wrong := pl.arg_where((at < EARLIEST) | (at >= LATEST), eager=True).to_list():
            texts = as_text(written)
            for index in wrong:
                self.refuse(index, name, texts[index], _IN_TIME)

    def need(self, name: str, column: pl.Series, expected: str) -> None:
        """Refuse the rows in which a column that must be known is null."""
        for index in pl.arg_where(column.is_null(), eager=True).to_list():
            self.refuse(index, name, None, expected)

    def among(self, name: str, column: pl.Series, words: tuple[str, ...]) -> None:
        """Refuse the rows in which a column is none of the words."""
        bad = column.is_not_null() & ~column.is_in(words)
        for index in pl.arg_where(bad, eager=True).to_list():
            self.refuse(index, name, column[index], f"one of {', '.join(words)}")

    def refuse(self, index: int, name: str, found: object, expected: str) -> None:
        """Refuse a row, unless it is refused already."""
        if index in self.refused:
            return
        line = int(self.texts.lines[index])
        if line in self._headers:
            name, found, expected = "", "the header again", "a row"
        elif found is None:
            found = "nothing"
        else:
            text = found.isoformat().replace("+00:00", "Z") if isinstance(found, datetime) else str(found)
            found = repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}...")
        self.refused[index] = Rejected(
            self.texts.label,
            line,
            name,
            str(found),
            expected,
            self.table_name,
            self.texts.is_line,
        )

    def kept(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return a frame of this file's height without the refused rows."""
        if not self.refused:
            return frame
        keep = pl.repeat(value=True, n=self.height, dtype=pl.Boolean, eager=True)
        keep = keep.scatter(sorted(self.refused), False)  # noqa: FBT003  a value, no flag
        return frame.filter(keep)

    def rejected(self) -> tuple[Rejected, ...]:
        """Return the refused rows and the records that were no rows, in the order of the file."""
        label, is_line = self.texts.label, self.texts.is_line
        broken = [
            Rejected(label, each.line, each.column, each.found, each.expected, self.table_name, is_line, each.record)
            for each in self.texts.broken
        ]
        return tuple(sorted([*broken, *self._as_written()], key=lambda each: each.line))

    def _as_written(self) -> list[Rejected]:
        """Return the refused rows, the first of each fault with the whole row as its file has it."""
        counts: dict[tuple[str, str], int] = {}
        whole: set[int] = set()
        for each in self.refused.values():
            fault = each.column, each.expected
            counts[fault] = counts.get(fault, 0) + 1
            if counts[fault] <= WHOLE_ROWS:
                whole.add(each.line)
        records = rows_as_json(self.texts, whole) if whole else {}
        return [replace(each, record=records.get(each.line, "")) for each in self.refused.values()]

    @cached_property
    def _headers(self) -> frozenset[int]:
        """The lines that say the header again."""
        return headers_again(self.texts)


def _without_fraction(column: pl.Series) -> pl.Series:
    """Return numbers for names as whole ones: a column with gaps made accounts such as 123456789012 floats."""
    if not column.dtype.is_float():
        return column
    whole = column.cast(pl.Int64, strict=False)
    return whole if (whole == column).all() and whole.null_count() == column.null_count() else column


def _cleaned(texts: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Return texts without space around them, and which of them are words for null."""
    stripped = texts.str.strip_chars()
    return stripped, stripped.str.to_lowercase().is_in(NULL_WORDS)


def _exact(column: pl.Series) -> ParsedColumn | None:
    """Return decimals and whole numbers as amounts without a text between; None where that could round."""
    is_decimal = isinstance(column.dtype, pl.Decimal) and column.dtype.scale <= MONEY.scale
    if not is_decimal and not column.dtype.is_integer():
        return None
    amounts = column.cast(MONEY, strict=False)
    return ParsedColumn(amounts, {}, {}) if amounts.null_count() == column.null_count() else None


def tags(column: pl.Series) -> tuple[pl.Series, int]:
    """Return tags as JSON objects, and how many cells were neither objects nor lists of pairs."""
    found = {text: _tags(text) for text in column.drop_nulls().unique().to_list()}
    unreadable = [text for text, value in found.items() if value is None]
    count = int(column.is_in(unreadable).sum()) if unreadable else 0
    if all(text == value for text, value in found.items()):
        return column, count
    read = column.replace_strict(list(found), list(found.values()), default=None, return_dtype=pl.String)
    return read.alias(column.name), count


def _tags(text: str) -> str | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if isinstance(value, dict):
        return text
    if isinstance(value, list) and all(isinstance(each, dict) and "key" in each for each in value):
        return json.dumps({str(each["key"]): each.get("value") for each in value}, sort_keys=True)
    return None


def _instant(text: str) -> tuple[datetime | None, bool]:
    """Return a text as an instant in UTC, and whether it named no zone."""
    plain = text.removesuffix(" UTC").removesuffix(" utc")
    has_zone = plain != text
    if len(plain) == _MONTH_CHARACTERS:
        plain += "-01"
    try:
        at = datetime.fromisoformat(plain)
        in_utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None, False
    return in_utc, at.tzinfo is None and not has_zone
