"""Invoices come in as their issuer wrote them, one row per payable amount."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.billing._format import Imported
from collectors.billing._read import read_bill
from ledger.errors import InputError
from ledger.tables import BillingPeriod, Invoice, InvoiceLine

PLAIN = "invoice_issuer,invoice_id,billing_period_start,billing_currency,invoiced"

DETAIL = {
    "InvoiceIssuerName": "Cloud Inc.",
    "InvoiceId": "INV-1",
    "InvoiceDetailId": "1",
    "BilledCost": "10.005",
    "BillingAccountId": "acc-1",
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-01-01T00:00:00Z",
    "BillingPeriodEnd": "2026-02-01T00:00:00Z",
    "ChargeCategory": "Usage",
    "InvoiceDetailGrain": "{}",
    "InvoiceIssueDate": "2026-02-03T00:00:00Z",
    "InvoiceIssueStatus": "Issued",
    "PaymentTerms": "Net 30",
}


def _invoices(read: Imported) -> pl.DataFrame:
    assert read.format == "invoice"
    return Invoice.validate(read.tables[Invoice])


def test_a_table_of_invoices(tmp_path: Path) -> None:
    path = tmp_path / "invoices.csv"
    path.write_text(f"{PLAIN}\nCloud Inc.,INV-1,2026-01,usd,1234.56\nHosting,INV-2,2026-01-01,JPY,10000000000\n")
    read = read_bill(path)
    rows = _invoices(read).sort("invoice_id").rows(named=True)
    assert [row["invoiced"] for row in rows] == [Decimal("1234.56"), Decimal(10**10)]
    assert [row["billing_currency"] for row in rows] == ["USD", "JPY"]
    assert {row["billing_period_start"] for row in rows} == {datetime(2026, 1, 1, tzinfo=UTC)}
    assert rows[0]["billing_account_id"] == ""
    assert rows[0]["source"] == "csv"
    assert read.imports.is_empty()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_lines_of_invoice_detail_are_summed_by_invoice(tmp_path: Path, suffix: str) -> None:
    lines = pl.DataFrame(
        [
            DETAIL,
            {**DETAIL, "InvoiceDetailId": "2", "BilledCost": "-0.005", "ChargeCategory": "Credit"},
            {**DETAIL, "InvoiceId": "INV-2", "BilledCost": "7", "InvoiceIssueStatus": "Draft"},
        ]
    )
    path = tmp_path / f"detail.{suffix}"
    lines.write_csv(path) if suffix == "csv" else lines.write_parquet(path)
    invoices = _invoices(read_bill(path)).sort("invoice_id")
    assert invoices["invoiced"].to_list() == [Decimal(10), Decimal(7)]
    assert invoices["issue_status"].to_list() == ["Issued", "Draft"]
    assert invoices["source"].unique().to_list() == ["invoice_detail"]
    assert invoices["issued_at"][0] == datetime(2026, 2, 3, tzinfo=UTC)


def test_bad_invoices_are_named_and_good_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "invoices.csv"
    path.write_text(
        f"{PLAIN}\nA,1,2026-01-01,USD,1\nA,2,2026-01-01,USD,about 5\nA,1,2026-01-01,USD,1\nA,3,2026-01-01,Euro,1\n"
        ",4,2026-01-01,USD,1\nA,5,,USD,1\n"
    )
    read = read_bill(path)
    assert _invoices(read)["invoice_id"].to_list() == ["1"]
    assert [each.reason.removeprefix(f"{path}: ") for each in read.rejected] == [
        "line 3, column invoiced: found 'about 5', expected a decimal number such as -12.50",
        "line 4, column invoice_id: found '1', expected each invoice once",
        "line 5, column billing_currency: found 'EURO', expected three letters of ISO 4217",
        "line 6, column invoice_issuer: found nothing, expected a value in every row",
        "line 7, column billing_period_start: found nothing, expected an instant such as 2026-01-01T00:00:00Z",
    ]


def test_a_missing_column_may_be_stated(tmp_path: Path) -> None:
    path = tmp_path / "invoices.csv"
    path.write_text("invoice_issuer,invoice_id,billing_period_start,invoiced\nA,1,2026-01-01,5\n")
    with pytest.raises(InputError, match="found no column billing_currency"):
        read_bill(path)
    invoices = _invoices(read_bill(path, defaults={"billing_currency": "EUR"}))
    assert invoices["billing_currency"].to_list() == ["EUR"]
    path.write_text(f"{PLAIN}\n")
    with pytest.raises(InputError, match="found a header and no rows"):
        read_bill(path)


def test_lines_stay_and_a_voided_invoice_is_owed_by_nobody(tmp_path: Path) -> None:
    lines = pl.DataFrame(
        [
            {**DETAIL, "PaymentCurrency": "EUR", "PaymentCurrencyBilledCost": "9.20"},
            {**DETAIL, "InvoiceDetailId": "2", "BilledCost": "-0.005", "ChargeCategory": "Credit"},
            {**DETAIL, "InvoiceDetailId": "2", "BilledCost": "5", "ChargeCategory": "Tax"},
            {**DETAIL, "InvoiceId": "INV-2", "BilledCost": "7", "InvoiceIssueStatus": "Voided"},
        ]
    )
    path = tmp_path / "detail.csv"
    lines.write_csv(path)
    read = read_bill(path)
    assert _invoices(read).sort("invoice_id")["invoiced"].to_list() == [Decimal(15), Decimal(0)]
    kept = InvoiceLine.validate(read.tables[InvoiceLine])
    assert kept["invoice_detail_id"].to_list() == ["1", "2", "row 3", "1"]
    assert kept["invoiced"].to_list() == [Decimal("10.005"), Decimal("-0.005"), Decimal(5), Decimal(7)]
    assert kept["charge_category"].to_list() == ["Usage", "Credit", "Tax", "Usage"]
    assert kept.row(0, named=True)["payment_currency"] == "EUR"
    assert kept.row(0, named=True)["payment_cost"] == Decimal("9.20")


def test_an_invoice_with_a_line_that_cannot_be_read_is_refused_whole(tmp_path: Path) -> None:
    """Its other lines sum to less than it asks for: that would look like a bill that is too large."""
    for name, first in (("a", "ten"), ("b", "10")):
        pl.DataFrame(
            [
                {**DETAIL, "BilledCost": first},
                {**DETAIL, "InvoiceDetailId": f"2{name}", "BilledCost": "5"},
                {**DETAIL, "InvoiceId": f"INV-{name}", "BilledCost": "7"},
            ]
        ).write_csv(tmp_path / f"{name}.csv")
    read = read_bill(tmp_path)
    assert _invoices(read).sort("invoice_id").select("invoice_id", "invoiced").rows() == [
        ("INV-a", Decimal(7)),
        ("INV-b", Decimal(7)),
    ]
    assert InvoiceLine.validate(read.tables[InvoiceLine]).height == 2
    assert [each.reason.removeprefix(f"{tmp_path}/") for each in read.rejected] == [
        "a.csv: line 2, column BilledCost: found 'ten', expected a decimal number such as -12.50",
        "a.csv: line 3, column InvoiceId: found 'INV-1', expected an invoice whose lines can all be read",
        "b.csv: line 2, column InvoiceId: found 'INV-1', expected an invoice whose lines can all be read",
        "b.csv: line 3, column InvoiceId: found 'INV-1', expected an invoice whose lines can all be read",
    ]


def test_lines_with_a_record_that_is_no_line_are_refused(tmp_path: Path) -> None:
    """Of which invoice it is a line nobody knows: any of them might ask for more."""
    path = tmp_path / "detail.csv"
    pl.DataFrame([DETAIL, {**DETAIL, "InvoiceId": "INV-2"}]).write_csv(path)
    with path.open("a", encoding="utf-8") as file:
        file.write("Cloud Inc.,INV-2,2\n")
    with pytest.raises(InputError) as caught:
        read_bill(path)
    assert caught.value.message == f"{path}: line 4: found 3 cells, expected 13 as in the header"


def test_billing_periods_are_open_or_closed(tmp_path: Path) -> None:
    path = tmp_path / "periods.csv"
    path.write_text(
        "InvoiceIssuerName,BillingPeriodStart,BillingPeriodEnd,BillingPeriodStatus,BillingPeriodCreated,"
        "BillingPeriodLastUpdated\n"
        "Cloud Inc.,2026-01-01T00:00:00Z,2026-02-01T00:00:00Z,Open,2026-01-01T00:00:00Z,2026-01-01T00:00:00Z\n"
        "Cloud Inc.,2026-01-01T00:00:00Z,2026-02-01T00:00:00Z,Closed,2026-01-01T00:00:00Z,2026-02-05T00:00:00Z\n"
        "Cloud Inc.,2026-02-01T00:00:00Z,2026-03-01T00:00:00Z,Finished,2026-02-01T00:00:00Z,\n"
        "Cloud Inc.,2026-03-01T00:00:00Z,2026-02-01T00:00:00Z,Closed,2026-02-01T00:00:00Z,\n"
    )
    read = read_bill(path)
    assert read.format == "billing_period"
    (row,) = BillingPeriod.validate(read.tables[BillingPeriod]).rows(named=True)
    assert (row["status"], row["changed_at"]) == ("closed", datetime(2026, 2, 5, tzinfo=UTC))
    assert [each.reason.removeprefix(f"{path}: ") for each in read.rejected] == [
        "line 4, column BillingPeriodStatus: found 'finished', expected one of open, closed",
        "line 5, column BillingPeriodEnd: found '2026-02-01T00:00:00Z', expected an end after BillingPeriodStart",
    ]
