"""What has to be known of a whole Azure export before its first row is a charge; its rows are read, and not kept."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Final

import polars as pl

from collectors.billing._azure_charges import ACTUAL, charges_as_text, evidence, has_covered_usage
from collectors.billing._azure_columns import DAYS, NUMBERS, Known, agreement, found, known
from collectors.billing._azure_files import view_named
from collectors.billing._azure_languages import is_local
from collectors.billing._format import Request
from collectors.billing._short_rows import fitting_parts
from collectors.billing._source import SourceFile
from collectors.billing._texts import Texts
from collectors.billing._written_in import Evidence, Ways, plain_days, plain_numbers
from ledger.errors import InputError

_CODE: Final = r"^[A-Za-z]{3}$"
_STATE_IT: Final = 'state it: [money.bill_defaults] BillingCurrency = "EUR"'


@dataclass(frozen=True)
class Export:
    """One file of an export: how it writes, which view of the cost it is, and what it lacks.

    `columns` are the file's own names by ours. `currency` is the stated one, where the file names none that is one.
    `empty` are the FOCUS columns that are stated, for no row of the file has them.
    """

    file: SourceFile
    columns: Mapping[str, str]
    agreement: str
    ways: Ways
    views: frozenset[str]
    view: str | None
    has_covered_usage: bool
    currency: str | None
    empty: tuple[str, ...]
    remarks: tuple[str, ...]

    def rows(self, texts: Texts) -> pl.DataFrame:
        """Return a part of the file under our names, its numbers and days in one way of writing."""
        rows = known(texts.frame)
        if self.currency is not None:
            rows = rows.with_columns(pl.lit(self.currency).alias("currency"))
        return plain_days(plain_numbers(rows, NUMBERS, self.ways), DAYS, self.ways)


@dataclass
class _Seen:
    """What the parts of a file have shown so far."""

    ways: Evidence = field(default_factory=Evidence)
    views: set[str] = field(default_factory=set)
    filled: set[str] = field(default_factory=set)
    has_covered_usage: bool = False
    has_currency: bool = False
    first_currency: str | None = None

    def see(self, rows: pl.DataFrame, stated: Iterable[str]) -> None:
        self.ways.see(rows, NUMBERS, DAYS)
        self.views |= evidence(rows)
        self.has_covered_usage = self.has_covered_usage or has_covered_usage(rows)
        codes = rows["currency"].drop_nulls()
        self.has_currency = self.has_currency or bool(codes.str.contains(_CODE).any())
        if self.first_currency is None and codes.len():
            self.first_currency = str(codes[0])
        if stated:
            made = charges_as_text(rows, view=ACTUAL)
            self.filled |= {name for name in made.columns if made[name].null_count() < made.height}


def opened(file: SourceFile, request: Request) -> Export:
    """Return what a file is, after one reading of it.

    Which view of the cost it is, in which order it writes its days and with which mark its numbers, any of its rows
    may tell, and all have to agree: the rows are read twice, part by part, so that they need not be kept.
    Raises: InputError: it lacks a column without which a row is no charge, or its rows contradict each other.
    """
    stated = {name.casefold(): value for name, value in request.defaults.items()}
    seen = _Seen()
    names: list[str] = []
    remarks: list[str] = []
    for texts, lacking in fitting_parts(file, Known()):
        if lacking and not names:
            remarks.append(f"no row has a cell for {', '.join(lacking)}: read as null")
        names = names or [*texts.frame.columns, *texts.unread]
        _need_currency(texts.header, names, stated)
        seen.see(known(texts.frame), stated)
    columns = found(names)
    ways = seen.ways.ways(file.label, stated, is_local=is_local(names))
    currency = None
    if seen.first_currency and not seen.has_currency:
        currency = _stated_currency(file, columns["currency"], seen.first_currency, stated)
        remarks.append(f"{seen.first_currency!r} is no currency: the stated {currency} is taken")
    if ways.is_comma:
        remarks.append("numbers have a decimal comma")
    if ways.is_guess:
        remarks.append("days such as 03/04/2026 were read as month/day/year")
    if "account" not in columns and "billingaccountid" not in stated:
        remarks.append("no billing account is named: the billing profile, customer or subscription is taken")
    # What a bill lacks is stated for whole columns: an empty one is left out, so that the statement counts.
    made = charges_as_text(known(pl.DataFrame()), view=ACTUAL).columns
    empty = tuple(name for name in made if name.casefold() in stated and name not in seen.filled)
    return Export(
        file=file,
        columns=columns,
        agreement=agreement(names) or "payg",
        ways=ways,
        views=frozenset(seen.views),
        view=None,
        has_covered_usage=seen.has_covered_usage,
        currency=currency,
        empty=empty,
        remarks=tuple(remarks),
    )


def _need_currency(where: str, names: Sequence[str], stated: Mapping[str, str]) -> None:
    if "currency" not in found(names) and "billingcurrency" not in stated:
        raise InputError(
            f"{where}: found no column BillingCurrency, expected the currency of the bill",
            hint=_STATE_IT,
        )


def _stated_currency(file: SourceFile, column: str, word: str, stated: Mapping[str, str]) -> str:
    """Return the currency of an export whose own column names none.

    Raises: InputError: nobody stated it.
    """
    if "billingcurrency" not in stated:
        raise InputError(
            f"{file.label}: column {column}: found {word!r}, expected three letters of ISO 4217 in any row",
            hint=_STATE_IT,
        )
    return stated["billingcurrency"]


def with_views(exports: Sequence[Export]) -> list[Export]:
    """Say of each file which view it is: by its rows, else its name, else the files beside it, else actual.

    Raises: InputError: the rows of one file are of both views.
    """
    told: list[Export] = []
    beside: dict[PurePosixPath, set[str]] = {}
    for each in exports:
        if len(each.views) > 1:
            raise InputError(
                f"{each.file.label}: found purchases of commitments beside amortised cost, expected one view of a cost",
                hint="export actual and amortised cost into files of their own, and import the folder",
            )
        view = next(iter(each.views), None) or view_named(each.file)
        told.append(replace(each, view=view))
        if view is not None:
            beside.setdefault(PurePosixPath(each.file.name).parent, set()).add(view)
    settled = []
    for each in told:
        near = beside.get(PurePosixPath(each.file.name).parent, set())
        settled.append(replace(each, view=each.view or (next(iter(near)) if len(near) == 1 else ACTUAL)))
    return settled
