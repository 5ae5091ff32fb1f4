"""Invoices: what an issuer asks to be paid, from outside the bill that it is compared with.

Two forms: the InvoiceDetail dataset of FOCUS 1.4, whose lines are kept and summed by invoice, and a table with
invoice_issuer, invoice_id, billing_period_start, billing_currency, invoiced, one row per invoice. Nobody owes a
voided invoice: its lines are kept and sum to 0.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Final

import dataframely as dy
import polars as pl

from collectors.billing._cells import Cells
from collectors.billing._charges import import_frame
from collectors.billing._format import BillFormat, Head, Imported, Request
from collectors.billing._texts import read_texts
from ledger import money
from ledger.errors import InputError
from ledger.tables import Invoice, InvoiceLine, declared
from ledger.words import amount

_DETAIL: Final = "FOCUS 1.4 InvoiceDetail"
_PLAIN: Final = "csv"
_DETAIL_TELLING: Final = frozenset({"invoiceissuestatus", "invoicedetailgrain", "invoiceissuedate"})
_KEY: Final = ("invoice_issuer", "invoice_id", "billing_account_id", "billing_period_start", "billing_currency")
_CURRENCY: Final = r"^[A-Z]{3}$"

# Our column: the InvoiceDetail column that holds it.
_DETAIL_NAMES: Final = {
    "invoice_issuer": "InvoiceIssuerName",
    "invoice_id": "InvoiceId",
    "billing_account_id": "BillingAccountId",
    "billing_period_start": "BillingPeriodStart",
    "billing_currency": "BillingCurrency",
    "invoiced": "BilledCost",
    "issue_status": "InvoiceIssueStatus",
    "issued_at": "InvoiceIssueDate",
    "provider": "ServiceProviderName",
}

# Of a line alone.
_LINE_NAMES: Final = {
    "invoice_detail_id": "InvoiceDetailId",
    "charge_category": "ChargeCategory",
    "description": "InvoiceDetailDescription",
    "grain": "InvoiceDetailGrain",
    "payment_currency": "PaymentCurrency",
    "payment_cost": "PaymentCurrencyBilledCost",
    "payment_due_at": "PaymentDueDate",
    "reference_invoice_id": "ReferenceInvoiceId",
}
_VOIDED: Final = "voided"
_NEEDED: Final = ("invoice_issuer", "invoice_id", "billing_period_start", "billing_currency", "invoiced")


def _form(head: Head) -> str | None:
    """Return which of the two forms it is, or None."""
    names = head.folded
    if "chargeperiodstart" not in names and len(names & _DETAIL_TELLING) and "invoiceid" in names:
        return _DETAIL
    if {"invoice_id", "invoiced"} <= names or {"invoice_issuer", "invoice_id"} <= names:
        return _PLAIN
    return None


def _read(request: Request) -> Imported:
    """Return one invoice row per issuer, invoice, account, period and currency."""
    has_lines = request.version == _DETAIL
    names = {**_DETAIL_NAMES, **_LINE_NAMES} if has_lines else {name: name for name in _DETAIL_NAMES}
    judged: list[tuple[Cells, pl.DataFrame]] = []
    for file in request.source.files:
        cells = Cells(read_texts(file, file.content()), declared(Invoice).name)
        judged.append((cells, _lines(cells, names, request)))
    if has_lines:
        _need_rows(judged)
        _refuse_whole(judged)
    lines = pl.concat([cells.kept(frame) for cells, frame in judged])
    rejected = [each for cells, _ in judged for each in cells.rejected()]
    naive = sum(cells.naive_instant_count for cells, _ in judged)
    tables: dict[type[dy.Schema], pl.DataFrame] = {InvoiceLine: _kept(lines)} if has_lines else {}
    if lines.is_empty() and not rejected:
        raise InputError(f"{request.source.path}: found a header and no rows, expected invoices")
    invoices = _summed(lines).with_columns(
        pl.lit("invoice_detail" if has_lines else "csv").alias("source"),
        pl.lit(request.source.path).alias("path"),
    )
    return Imported(
        path=request.source.path,
        format=invoice.name,
        version=request.version,
        source_name=request.source.name,
        sha256=request.sha256,
        import_id=request.import_id,
        tables={Invoice: Invoice.cast(invoices), **tables},
        imports=import_frame([]),
        rejected=tuple(rejected),
        normalised_count=sum(cells.normalised_count for cells, _ in judged),
        naive_instant_count=naive,
        remarks=(f"{amount(naive, 'instant')} without a zone taken as UTC",) if naive else (),
    )


def _lines(cells: Cells, names: dict[str, str], request: Request) -> pl.DataFrame:
    """Return the lines of one file under our names, judged."""
    stated = {name.casefold(): value for name, value in request.defaults.items()}
    missing = [names[name] for name in _NEEDED if not cells.has(names[name]) and names[name].casefold() not in stated]
    if missing:
        raise InputError(
            f"{cells.texts.header}: found no column {', '.join(missing)}, expected {', '.join(names.values())}",
            hint="add the column to the file",
        )
    columns = {name: cells.text(actual, stated.get(actual.casefold())) for name, actual in names.items()}
    columns["invoiced"] = cells.amount(names["invoiced"], is_needed=True).amounts
    if "payment_cost" in names:
        columns["payment_cost"] = cells.amount(names["payment_cost"]).amounts
    for name in {"billing_period_start", "issued_at", "payment_due_at"} & set(names):
        default = stated.get(names[name].casefold())
        columns[name] = cells.instant(names[name], is_needed=name == "billing_period_start", default=default)
    columns["billing_account_id"] = columns["billing_account_id"].fill_null("")
    columns["billing_currency"] = columns["billing_currency"].str.to_uppercase()
    for name in ("invoice_issuer", "invoice_id", "billing_currency"):
        cells.need(names[name], columns[name], "a value in every row")
    for index in pl.arg_where(~columns["billing_currency"].str.contains(_CURRENCY), eager=True).to_list():
        cells.refuse(index, names["billing_currency"], columns["billing_currency"][index], "three letters of ISO 4217")
    frame = pl.DataFrame([column.alias(name) for name, column in columns.items()])
    if request.version == _PLAIN:
        again = frame.select(pl.struct(_KEY).is_duplicated() & ~pl.struct(_KEY).is_first_distinct()).to_series()
        for index in pl.arg_where(again, eager=True).to_list():
            cells.refuse(index, names["invoice_id"], frame["invoice_id"][index], "each invoice once")
    return frame


def _need_rows(judged: Sequence[tuple[Cells, pl.DataFrame]]) -> None:
    """Refuse a file of lines with a record that is no row: of which invoice it is a line is not known.

    Raises: InputError: it has one.
    """
    for cells, _ in judged:
        if cells.texts.broken:
            first = cells.texts.broken[0]
            raise InputError(
                f"{cells.texts.label}: line {first.line}: found {first.found}, expected {first.expected}",
                hint="correct the file: an invoice is what its lines sum to, and this may be one of any",
            )


def _refuse_whole(judged: Sequence[tuple[Cells, pl.DataFrame]]) -> None:
    """Refuse the other lines of an invoice of which a line is refused: what it asks for is not known."""
    of = ["invoice_issuer", "invoice_id"]
    broken = pl.concat([frame[sorted(cells.refused)].select(of) for cells, frame in judged]).drop_nulls().unique()
    for cells, frame in judged:
        found = frame.select(of).with_row_index("row").join(broken, on=of, how="semi")
        for row, number in found.select("row", "invoice_id").iter_rows():
            cells.refuse(row, _DETAIL_NAMES["invoice_id"], number, "an invoice whose lines can all be read")


def _kept(lines: pl.DataFrame) -> pl.DataFrame:
    """Return the lines of invoices; one without an id of its own, or with another's, is named by its place."""
    key = [*_KEY, "invoice_detail_id"]
    again = ~pl.struct(key).is_first_distinct() | pl.col("invoice_detail_id").is_null()
    place = pl.format("row {}", pl.int_range(1, pl.len() + 1))
    named = lines.with_columns(pl.when(again).then(place).otherwise("invoice_detail_id").alias("invoice_detail_id"))
    return InvoiceLine.cast(named.select(InvoiceLine.column_names()))


def _summed(lines: pl.DataFrame) -> pl.DataFrame:
    """Return invoices with the exact sum of their lines; words that differ between lines are joined."""
    is_voided = (pl.col("issue_status").str.to_lowercase() == _VOIDED).fill_null(value=False)
    owed = lines.with_columns(
        pl.when(is_voided).then(pl.lit(Decimal(0), dtype=money.MONEY)).otherwise("invoiced").alias("invoiced")
    )
    sums = money.summed(owed, by=_KEY, columns=["invoiced"])
    words = lines.group_by(_KEY).agg(
        pl.col("provider").drop_nulls().unique().sort().str.join(", "),
        pl.col("issue_status").drop_nulls().unique().sort().str.join(", "),
        pl.col("issued_at").max(),
    )
    named = words.with_columns(pl.col("provider", "issue_status").replace("", None))
    return sums.join(named, on=_KEY, how="left", nulls_equal=True, maintain_order="left")


invoice = BillFormat(name="invoice", detect=_form, read=_read, module=__name__)
