"""Azure cost exports, actual and amortised, of every agreement: EA, MCA, pay as you go, in any spelling.

Actual and amortised cost are two views of one cost: billed is taken from the actual, effective from the
amortised export, and nothing is ever counted in both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Final

import polars as pl

from collectors.billing._azure_charges import (
    ACTUAL,
    AMORTISED,
    NAMES,
    charges_as_text,
    evidence,
    has_covered_usage,
    purchases_of_commitments,
)
from collectors.billing._azure_columns import DAYS, NUMBERS, agreement, found, known
from collectors.billing._azure_files import latest_runs, view_named, whole_texts
from collectors.billing._cells import Cells
from collectors.billing._charges import Charges, charges_of
from collectors.billing._format import BillFormat, Head, Imported, Request
from collectors.billing._native import Native, control_totals, imported, in_own_words
from collectors.billing._source import SourceFile
from collectors.billing._texts import Texts
from collectors.billing._written_in import plain_days, plain_numbers
from ledger.errors import InputError
from ledger.tables import FocusCharge, declared


@dataclass(frozen=True)
class _Export:
    """One file of an export: its rows under our names, and which view of the cost they are."""

    file: SourceFile
    texts: Texts
    rows: pl.DataFrame
    agreement: str
    view: str | None
    remarks: tuple[str, ...]


def _version(head: Head) -> str | None:
    """Return the agreement that the columns belong to, or None where they are no cost export of Azure."""
    return agreement(head.columns)


def _read(request: Request) -> Imported:
    """Return the charges of an export; of a folder that holds both views, one charge for what both say."""
    files, remarks = latest_runs(request.source.files)
    exports = _with_views([_opened(file, request) for file in files])
    views = sorted({str(each.view) for each in exports})
    is_both = len(views) > 1
    charges: list[Charges] = []
    controls: list[Charges] = []
    first_index = 0
    for each in exports:
        made = charges_as_text(each.rows, view=str(each.view))
        everything = pl.repeat(value=True, n=made.height, dtype=pl.Boolean, eager=True)
        bought = purchases_of_commitments(each.rows)
        if is_both and each.view == ACTUAL:
            controls.append(_charged(each, made, everything, request, 0))
        # What buys a commitment is taken from the actual cost, all else from the amortised.
        keep = everything if not is_both else bought if each.view == ACTUAL else ~bought
        charges.append(_charged(each, made, keep, request, first_index))
        first_index += charges[-1].frame.height + len(charges[-1].rejected)
    said = [remark for each in exports for remark in each.remarks]
    kinds = " and ".join(sorted({each.agreement for each in exports}))
    return imported(
        request,
        Native(
            format=azure_cost.name,
            version=f"{kinds} {' and '.join(views)}",
            files=charges,
            remarks=(*remarks, *dict.fromkeys(said), *_one_sided(exports, views)),
            controls=control_totals(controls) if is_both else None,
        ),
    )


def _opened(file: SourceFile, request: Request) -> _Export:
    """Return one file with its numbers and days in one way of writing.

    Raises: InputError: it lacks a column without which a row is no charge.
    """
    texts, remarks = whole_texts(file)
    columns = found(texts.frame.columns)
    stated = {name.casefold() for name in request.defaults}
    if "currency" not in columns and "billingcurrency" not in stated:
        raise InputError(
            f"{file.label}: line 1: found no column BillingCurrency, expected the currency of the bill",
            hint='state it: [money.bill_defaults] BillingCurrency = "EUR"',
        )
    rows, own_currency = _in_stated_currency(known(texts.frame), request)
    rows, has_comma = plain_numbers(rows, NUMBERS)
    rows, order = plain_days(rows, DAYS)
    said = [*remarks, *own_currency]
    if has_comma:
        said.append("numbers have a decimal comma")
    if order.is_guess:
        said.append("days such as 03/04/2026 were read as month/day/year")
    if "account" not in columns and "billingaccountid" not in stated:
        said.append("no billing account is named: the billing profile, customer or subscription is taken")
    return _Export(file, texts, rows, agreement(texts.frame.columns) or "payg", None, tuple(said))


def _in_stated_currency(rows: pl.DataFrame, request: Request) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Take the stated currency where the whole file names one that is none, as edited exports do."""
    stated = next((value for name, value in request.defaults.items() if name.casefold() == "billingcurrency"), None)
    codes = rows["currency"].drop_nulls()
    if stated is None or codes.is_empty() or codes.str.contains(r"^[A-Za-z]{3}$").any():
        return rows, ()
    remark = f"{codes[0]!r} is no currency: the stated {stated} is taken"
    return rows.with_columns(pl.lit(stated).alias("currency")), (remark,)


def _with_views(exports: Sequence[_Export]) -> list[_Export]:
    """Say of each file which view it is: by its rows, else its name, else the files beside it, else actual.

    Raises: InputError: the rows of one file are of both views.
    """
    told: list[_Export] = []
    beside: dict[PurePosixPath, set[str]] = {}
    for each in exports:
        views = evidence(each.rows)
        if len(views) > 1:
            raise InputError(
                f"{each.file.label}: found purchases of commitments beside amortised cost, expected one view of a cost",
                hint="export actual and amortised cost into files of their own, and import the folder",
            )
        view = next(iter(views), None) or view_named(each.file)
        told.append(replace(each, view=view))
        if view is not None:
            beside.setdefault(PurePosixPath(each.file.name).parent, set()).add(view)
    settled = []
    for each in told:
        near = beside.get(PurePosixPath(each.file.name).parent, set())
        settled.append(replace(each, view=each.view or (next(iter(near)) if len(near) == 1 else ACTUAL)))
    return settled


def _charged(export: _Export, made: pl.DataFrame, keep: pl.Series, request: Request, first_index: int) -> Charges:
    """Return the charges of some rows of a file; refusals name the file's own columns."""
    texts = replace(export.texts, frame=made.filter(keep), lines=export.texts.lines.filter(keep))
    stated = {name.casefold() for name in request.defaults}
    # What a bill lacks is stated for whole columns: an empty one is dropped, so that the statement counts.
    empty = [name for name in texts.frame.columns if name.casefold() in stated and texts.frame[name].is_null().all()]
    texts = replace(texts, frame=texts.frame.drop(empty))
    columns = found(export.texts.frame.columns)
    own = {focus: columns.get(ours, ours) for focus, ours in NAMES.items()}
    cells = Cells(texts, declared(FocusCharge).name)
    return in_own_words(charges_of(cells, request.defaults, first_index=first_index), own)


def _one_sided(exports: Sequence[_Export], views: Sequence[str]) -> tuple[str, ...]:
    """Say what one view alone cannot tell."""
    if len(views) > 1 or not any(has_covered_usage(each.rows) for each in exports):
        return ()
    lacks = {
        AMORTISED: "what was paid for reservations and savings plans is not in the billed cost",
        ACTUAL: "what usage under reservations and savings plans costs is unknown",
    }
    return (f"{views[0]} cost alone: {lacks[views[0]]}; import one folder that holds both views",)


azure_cost: Final = BillFormat(name="azure_cost", detect=_version, read=_read, module=__name__)
