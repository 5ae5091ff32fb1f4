"""The door: what comes in is made to fit its table, or refused with a reason.

The checks are those of the table's dataframely schema, compiled once into operations on whole columns:
a commit brings a few hundred rows to each of ten tables, where planning a lazy query per table costs
more than the rows. A test holds both to the same verdict.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import dataframely as dy
import polars as pl

from ledger._order import arranged, has_repeats
from ledger.errors import ContractError
from ledger.frames import columns_of, typed
from ledger.tables.partition import Group, Table

APPEND_ONLY: Final[frozenset[Group]] = frozenset({"sample", "slow_sample", "event"})
"""Groups in which the first row of a key stays; elsewhere the newest row of a key counts."""

_UNDERSTOOD: Final = frozenset({"primary_key", "nullability", "min", "max", "inf", "nan", "check__one_of"})


NONE_REJECTED: Final = pl.DataFrame(schema={"reason": pl.String, "row_json": pl.String})
"""No refused rows."""


@dataclass(frozen=True)
class Written:
    """What became of the rows of one table.

    `rows` were stored; `duplicates` were there already, or were replaced by a newer row of the same
    frame; `rejected` stand in `rejected_row`; `unknown_columns` were left out.
    """

    rows: int
    duplicates: int
    rejected: int
    unknown_columns: tuple[str, ...]


@dataclass(frozen=True)
class Admitted:
    """Rows that fit their table, with distinct keys, in the table's order; and those that did not fit."""

    frame: pl.DataFrame
    rejected: pl.DataFrame
    duplicates: int
    unknown_columns: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """Rows in the order in which they came and in their table's types, and what is wrong with each.

    `reason` is null for a good row; `is_repeated` marks those that equal, or are replaced by, another of the frame.
    """

    table: Table
    given: pl.DataFrame
    fitted: pl.DataFrame
    reason: pl.Series
    is_repeated: pl.Series
    unknown_columns: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Tell whether every row may be stored."""
        return self.reason.null_count() == self.given.height and not self.is_repeated.any()

    def odd_rows(self) -> list[int]:
        """Return the places of rows that may not be stored."""
        return [] if self.is_whole else (self.reason.is_not_null() | self.is_repeated).arg_true().to_list()

    def admitted(self) -> "Admitted":
        """Return the rows that may be stored, in the table's order, and why the others may not."""
        order, unknown = self.table.order, self.unknown_columns
        if self.is_whole:
            return Admitted(arranged(self.fitted, order), NONE_REJECTED, 0, unknown)
        is_good = self.reason.is_null() & ~self.is_repeated
        rejected = rejection(self.given.filter(self.reason.is_not_null()), self.reason.drop_nulls())
        return Admitted(arranged(self.fitted.filter(is_good), order), rejected, int(self.is_repeated.sum()), unknown)


@dataclass(frozen=True)
class Check:
    """What one column must fulfil."""

    name: str
    column: dy.Column
    is_required: bool
    is_float: bool
    least: Any
    most: Any
    among: tuple[str, ...] | None

    def is_fulfilled(self, series: pl.Series) -> bool:
        """Tell whether all values fit."""
        if self.is_required and series.null_count():
            return False
        if self.is_float and not is_finite(series):
            return False
        if self.least is not None and (low := series.min()) is not None and low < self.least:
            return False
        if self.most is not None and (high := series.max()) is not None and high > self.most:
            return False
        return self.among is None or bool(series.is_in(self.among).all())

    def reasons(self, series: pl.Series) -> list[tuple[pl.Series, str]]:
        """Return which values do not fit, with what was expected of them."""
        found = []
        if self.is_required:
            found.append((series.is_null(), "a value"))
        if self.is_float:
            found.append((~(series.is_finite() | series.is_null()), "a finite number"))
        if self.least is not None:
            found.append((series < self.least, f"at least {self.least}"))
        if self.most is not None:
            found.append((series > self.most, f"at most {self.most}"))
        if self.among is not None:
            found.append((~series.is_in(self.among), f"one of {', '.join(self.among)}"))
        return [(mask.fill_null(value=False), expected) for mask, expected in found]


def is_finite(series: pl.Series) -> bool:
    """Tell whether no value is NaN or infinite: a sum of others is neither, as long as they are not very large."""
    total = series.sum()
    return math.isfinite(total) or bool(series.is_finite().all())


@cache
def checks(schema: type[dy.Schema]) -> tuple[Check, ...]:
    """Return what the columns of a table must fulfil.

    Raises: ContractError: the schema has a rule that the door does not know.
    """
    rules = {name.rsplit("|", 1)[-1] for name in schema._validation_rules(with_cast=False)}  # noqa: SLF001  its only list
    if not rules <= _UNDERSTOOD:
        raise ContractError(
            f"{schema.__name__}: found rules {sorted(rules - _UNDERSTOOD)}, expected some of {sorted(_UNDERSTOOD)}"
        )
    return tuple(
        Check(
            name=name,
            column=column,
            is_required=not column.nullable,
            is_float=isinstance(column, dy.Float64),
            least=getattr(column, "min", None),
            most=getattr(column, "max", None),
            among=(column.metadata or {}).get("among"),
        )
        for name, column in columns_of(schema).items()
    )


def unknown_columns(table: Table, frame: pl.DataFrame) -> tuple[str, ...]:
    """Return the columns that the table does not have."""
    return tuple(name for name in frame.columns if name not in columns_of(table.schema))


def admit(table: Table, frame: pl.DataFrame) -> Admitted:
    """Return the rows of a frame that may be stored, and why the others may not."""
    return judged(table, frame).admitted()


def judged(table: Table, frame: pl.DataFrame) -> Judged:
    """Return the rows of a frame in their table's types, and which of them may not be stored."""
    known = checks(table.schema)
    series, misfits = _fit(table, frame.rechunk(), known)
    fitted = pl.DataFrame(series)
    reason = pl.Series("reason", [None] * frame.height, dtype=pl.String)
    for name, mask in misfits:
        kind = columns_of(table.schema)[name].dtype
        reason = _explain(reason, mask, name, frame[name], f"a value that fits {kind} unchanged")
    for check in known:
        if not check.is_fulfilled(fitted[check.name]):
            found = frame[check.name] if check.name in frame.columns else fitted[check.name]
            for mask, expected in check.reasons(fitted[check.name]):
                reason = _explain(reason, mask, check.name, found, expected)
    reason, is_repeated = _repeated(table, fitted, reason)
    return Judged(table, frame, fitted, reason, is_repeated, unknown_columns(table, frame))


def _fit(
    table: Table, frame: pl.DataFrame, known: Sequence[Check]
) -> tuple[list[pl.Series], list[tuple[str, pl.Series]]]:
    """Return every column in its type, and which values were lost on the way."""
    fitted, misfits = [], []
    for check in known:
        if check.name not in frame.columns:
            fitted.append(pl.Series(check.name, [None], dtype=check.column.dtype).new_from_index(0, frame.height))
            continue
        before = frame[check.name]
        after = typed(before, check.column, f"{table.name}: {check.name}")
        if after.null_count() != before.null_count():
            misfits.append((check.name, before.is_not_null() & after.is_null()))
        fitted.append(after)
    return fitted, misfits


def _explain(reason: pl.Series, mask: pl.Series, name: str, found: pl.Series, expected: str) -> pl.Series:
    """Give a reason to rows that have none yet."""
    chosen = (mask & reason.is_null()).arg_true()
    if chosen.is_empty():
        return reason
    texts = [f"{name}: found {_shown(found[int(row)])}, expected {expected}" for row in chosen]
    return reason.scatter(chosen, texts)


def _shown(value: object) -> str:
    return "null" if value is None else repr(value)[:200]


def _repeated(table: Table, fitted: pl.DataFrame, reason: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Tell the rows whose key has come before: equal ones are dropped, others are refused or replace."""
    nothing = pl.Series("repeated", [False]).new_from_index(0, fitted.height)
    key = list(table.key)
    good = fitted if reason.null_count() == fitted.height else fitted.filter(reason.is_null())
    if fitted.is_empty() or not has_repeats(good, key):
        return reason, nothing
    places = pl.Series("place", range(fitted.height), dtype=pl.UInt32).filter(reason.is_null())
    if table.group not in APPEND_ONLY:
        is_last = good.select(pl.struct(key).is_last_distinct()).to_series()
        return reason, nothing.scatter(places.filter(~is_last), True)  # noqa: FBT003  the value that is set
    is_new_row = good.select(pl.struct(pl.all()).is_first_distinct()).to_series()
    is_new_key = good.select(pl.struct(key).is_first_distinct()).to_series()
    refused = places.filter(is_new_row & ~is_new_key)
    texts = [_second(table, fitted.row(int(place), named=True)) for place in refused]
    return reason.scatter(refused, texts), nothing.scatter(places.filter(~is_new_row), True)  # noqa: FBT003


def _second(table: Table, row: dict[str, Any]) -> str:
    key = ", ".join(f"{name}={row[name]}" for name in table.key)
    return f"key ({key}): found a second, different row, expected one; the first stays"


def rejection(rows: pl.DataFrame, reasons: pl.Series | Sequence[str]) -> pl.DataFrame:
    """Return refused rows as text, each with its reason."""
    texts = [json.dumps(row, default=str, allow_nan=True) for row in rows.iter_rows(named=True)]
    return pl.DataFrame({"reason": reasons, "row_json": pl.Series(texts, dtype=pl.String)})


def second_rows(table: Table, frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows as refused, because a different row with their key is stored."""
    return rejection(frame, pl.Series([_second(table, row) for row in frame.iter_rows(named=True)], dtype=pl.String))
