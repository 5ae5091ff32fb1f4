"""Keeping what a delivery of a bill gave."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal

import dataframely as dy
import polars as pl

from app.context import Context
from collectors.billing._format import Imported
from collectors.billing._snapshot import decide
from ledger import money
from ledger.store import Store, Written
from ledger.tables import BillImport, BillingPeriod, FocusCharge, Invoice, InvoiceLine, declared
from ledger.words import amount

_NAMED = ("path", "source", "source_name")
_UNIT = ("InvoiceIssuerName", "BillingPeriodStart", "BillingAccountId")


@dataclass(frozen=True)
class Outcome:
    """What one import gave, as the command line tells it; `waiting` says why it does not count yet."""

    format: str
    version: str
    rows: int
    rejected: int
    billed_cost: dict[str, Decimal] = field(default_factory=dict)
    effective_cost: dict[str, Decimal | None] = field(default_factory=dict)
    is_unchanged: bool = False
    waiting: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def shown_as(imported: Imported, path: str, name: str) -> Imported:
    """Return an import that calls its path by the name that it has on the caller's machine."""
    if path == name:
        return imported
    return replace(
        imported,
        path=imported.path.replace(path, name),
        imports=_renamed(imported.imports, path, name),
        tables={schema: _renamed(frame, path, name) for schema, frame in imported.tables.items()},
        rejected=tuple(replace(each, path=each.path.replace(path, name)) for each in imported.rejected),
        remarks=tuple(each.replace(path, name) for each in imported.remarks),
    )


def _renamed(frame: pl.DataFrame, path: str, name: str) -> pl.DataFrame:
    present = [each for each in _NAMED if frame.schema.get(each) == pl.String]
    return frame.with_columns(pl.col(present).str.replace_all(path, name, literal=True)) if present else frame


@dataclass
class Received:
    """Takes the charges of a bill into the store while it is read, so that they are never in memory together.

    No row of `bill_import` speaks of them before the whole bill is read: until then they do not count.
    """

    store: Store
    known: frozenset[str]
    begun: str = ""
    is_kept: bool = False
    units: list[pl.DataFrame] = field(default_factory=list)

    def __call__(self, charges: pl.DataFrame) -> None:
        """Store a part of the charges, unless these bytes were imported before."""
        self.units.append(charges.select(_UNIT).unique())
        import_id = str(charges["import_id"][0])
        if import_id in self.known:
            return
        if self.begun:
            self.store.extend(FocusCharge, charges, partitions=[import_id])
        else:
            self.store.replace(FocusCharge, charges, partitions=[import_id])
            self.begun = import_id


@contextmanager
def receiving(context: Context) -> Iterator[Received]:
    """Give what takes the charges of one bill; if they are not kept in the end, they are taken out again."""
    known = context.store.read(BillImport, columns=("import_id",))["import_id"]
    received = Received(context.store, frozenset(known))
    try:
        yield received
    finally:
        if received.begun and not received.is_kept:
            context.store.replace(FocusCharge, FocusCharge.create_empty(), partitions=[received.begun])


def keep(context: Context, imported: Imported, *, accept: bool, received: Received | None = None) -> Outcome:
    """Store an import: charges first, so that an import row never stands without them."""
    store, settings = context.store, context.settings.money
    decision = decide(
        store.read(BillImport),
        imported.imports,
        accept=accept,
        append_only=imported.source_name in settings.append_only_sources,
        smaller_ratio=settings.smaller_import_ratio,
        closed=closed_units(context, _units(imported, received)),
    )
    rest = dict(imported.tables)
    charges = rest.pop(FocusCharge, None)
    if received is not None:
        received.is_kept = not decision.is_unchanged
    if charges is not None and not decision.is_unchanged and not imported.sunk_count:
        store.replace(FocusCharge, charges, partitions=[imported.import_id])
    if Invoice in rest:
        _replace_told_otherwise(store, rest[Invoice])
    if InvoiceLine in rest:
        _replace_lines(store, rest[InvoiceLine])
    written = {schema: store.append(schema, frame, source=imported.path) for schema, frame in rest.items()}
    misfit_count = sum(each.rejected for each in written.values())
    if not decision.is_unchanged:
        store.append(BillImport, decision.changed, source=imported.path)
    return Outcome(
        format=imported.format,
        version=imported.version,
        rows=imported.row_count - misfit_count,
        rejected=len(imported.rejected) + misfit_count,
        billed_cost={code: amount or Decimal(0) for code, amount in _by_currency(imported, "billed_cost").items()},
        effective_cost=_by_currency(imported, "effective_cost"),
        is_unchanged=decision.is_unchanged and not any(each.rows for each in written.values()),
        waiting=decision.reasons,
        remarks=(*decision.remarks, *misfits(written)),
    )


def misfits(written: Mapping[type[dy.Schema], Written]) -> tuple[str, ...]:
    """Say how many rows a table did not take: their reader let them pass, a bound of the table did not."""
    return tuple(
        f"{amount(each.rejected, 'row')} left out of {declared(schema).name}: see `rejected_row`"
        for schema, each in written.items()
        if each.rejected
    )


def _replace_told_otherwise(store: Store, invoices: pl.DataFrame) -> None:
    """Take back rows of invoices that a file now tells: what was typed, and the whole where it tells the accounts.

    An invoice stands whole, without an account, or by account: never both, since its rows are added.
    """
    of = ("invoice_issuer", "invoice_id", "billing_period_start", "billing_currency")
    named = pl.col("billing_account_id") != ""
    stated = store.read(Invoice, where={name: invoices[name].unique().to_list() for name in of[:2]})
    told = invoices.group_by(of).agg(named.any().alias("is_by_account"))
    both = stated.join(told, on=of, how="left", nulls_equal=True)
    is_other = (pl.col("source") == "typed") | (named != pl.col("is_by_account"))
    stays = both.filter(pl.col("is_by_account").is_null() | ~is_other).select(stated.columns)
    if stays.height == stated.height:
        return
    touched = stated.select(of[:2]).unique().rows()
    store.replace(Invoice, stays, partitions=[f"{issuer}|{number}" for issuer, number in touched])


def _replace_lines(store: Store, lines: pl.DataFrame) -> None:
    """Take back lines that an invoice has no more: told again, it is what its lines are now."""
    of = ("invoice_issuer", "invoice_id", "billing_account_id", "billing_period_start", "billing_currency")
    stated = store.read(InvoiceLine, where={name: lines[name].unique().to_list() for name in of[:2]})
    again = stated.join(lines, on=of, how="semi")
    gone = again.join(lines, on=(*of, "invoice_detail_id"), how="anti")
    if gone.is_empty():
        return
    touched = gone.select(of[:2]).unique()
    stays = stated.join(touched, on=of[:2], how="semi").join(gone, on=(*of, "invoice_detail_id"), how="anti")
    store.replace(InvoiceLine, stays, partitions=[f"{issuer}|{number}" for issuer, number in touched.rows()])


def _units(imported: Imported, received: Received | None) -> pl.DataFrame | None:
    """Return the issuers, accounts and periods of an import's charges."""
    if received is not None and received.units:
        return pl.concat(received.units)
    return imported.tables.get(FocusCharge)


def closed_units(context: Context, charges: pl.DataFrame | None) -> set[tuple[object, object]]:
    """Return the accounts and periods of charges whose issuer's period is closed."""
    if charges is None:
        return set()
    closed = context.store.read(BillingPeriod).filter(pl.col("status") == "closed")
    on = {"InvoiceIssuerName": "invoice_issuer", "BillingPeriodStart": "billing_period_start"}
    units = charges.select(*on, "BillingAccountId").unique()
    found = units.join(closed, left_on=list(on), right_on=list(on.values()), how="semi")
    return set(found.select("BillingAccountId", "BillingPeriodStart").iter_rows())


def _by_currency(imported: Imported, column: str) -> dict[str, Decimal | None]:
    """Return the source's own totals; an amount that it does not state is null."""
    found = imported.imports.sort("billing_currency").partition_by("billing_currency", as_dict=True)
    return {str(code): money.total(frame[column]) for (code,), frame in found.items()}
