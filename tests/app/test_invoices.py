"""Invoices that are typed, reconciled, explained and taken back, from the command's side and on the pages."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from app.context import Context
from app.services import named
from ledger import money
from ledger.errors import InputError
from ledger.tables import Audit, Invoice, InvoiceLine, Reconciliation
from tests.collectors.billing.bills import bill

Act = Callable[..., Any]

ROWS = (
    {"InvoiceId": "INV-1", "BilledCost": "100.10"},
    {"InvoiceId": "INV-1", "BilledCost": "11.25", "ResourceId": "i-2"},
    {"InvoiceId": "INV-1", "BilledCost": "8.33", "ChargeCategory": "Tax", "ResourceId": "", "ServiceName": "Tax"},
)

TYPED = {
    "action": "type",
    "invoice_issuer": "Cloud Inc.",
    "invoice_id": "INV-1",
    "period": "2026-01",
    "billing_currency": "usd",
}


@pytest.fixture
def act(empty_context: Context, tmp_path: Path) -> Act:
    """Return a way to run services on a store with one bill."""

    def run(name: str, **params: Any) -> Any:
        service = named(name)
        return service.run(empty_context, service.asked(params))

    run("ingest", paths=[str(bill(tmp_path / "bill.csv", *ROWS))])
    return run


def test_an_invoice_that_is_typed_is_reconciled_and_its_difference_explained(act: Act, empty_context: Context) -> None:
    act("invoices", **TYPED, invoiced="111.35")
    act("rollup")
    (row,) = act("reconcile")
    assert (row["status"], row["difference"]) == ("differs", Decimal("8.33"))
    assert [each["words"] for each in row["causes"]] == [
        "one charge (Tax, Tax, 2026-01-01 00:00) is 8.33 USD; the invoice seems to leave that out"
    ]
    act("invoices", **TYPED, invoiced="119.68")
    act("rollup")
    (row,) = act("reconcile")
    assert (row["status"], row["is_ok"], row["causes"]) == ("matches_invoice", True, [])
    assert act("invoices", action="remove", invoice_issuer="Cloud Inc.", invoice_id="INV-1")
    act("rollup")
    (row,) = act("reconcile")
    assert (row["status"], row["is_ok"]) == ("matches_export", None)
    actions = empty_context.store.read(Audit)["action"].to_list()
    assert sorted(actions) == ["invoice removed", "invoice typed", "invoice typed"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"invoice_issuer": " "}, "invoice_issuer: found nothing, expected what the invoice and the bill call it"),
        ({"billing_currency": "Euro"}, "billing_currency: found 'EURO', expected three letters of ISO 4217"),
        ({"period": "January"}, "period: found 'January', expected a month such as 2026-10"),
        ({"invoiced": "1,234.50"}, "invoiced: found '1,234.50', expected an amount such as 1234.56"),
        ({"invoiced": ""}, "invoiced: found '', expected an amount such as 1234.56"),
    ],
)
def test_what_cannot_be_an_invoice_is_said(act: Act, change: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as told:
        act("invoices", **{**TYPED, "invoiced": "1", **change})
    assert told.value.message.startswith(message)


def test_what_an_issuer_sent_counts_before_what_is_typed(act: Act, tmp_path: Path) -> None:
    path = tmp_path / "invoices.csv"
    path.write_text(
        "invoice_issuer,invoice_id,billing_period_start,billing_currency,invoiced\n"
        "Cloud Inc.,INV-1,2026-01,USD,119.68\n"
    )
    act("ingest", paths=[str(path)])
    with pytest.raises(InputError, match=r"found 119\.68 USD from .*invoices\.csv, expected none from a file"):
        act("invoices", **TYPED, invoiced="5")
    with pytest.raises(InputError, match="found no typed invoice INV-1"):
        act("invoices", action="remove", invoice_issuer="Cloud Inc.", invoice_id="INV-1")


def test_an_invoice_is_told_whole_or_by_account(act: Act, tmp_path: Path, empty_context: Context) -> None:
    """A corrected file may name accounts where the first did not: the later one counts, nothing is added up."""
    head = "invoice_issuer,invoice_id,billing_account_id,billing_period_start,billing_currency,invoiced\n"
    other = "Cloud Inc.,INV-2,,2026-01,USD,7\n"

    def told(name: str, *rows: str) -> dict[str, Decimal]:
        (tmp_path / name).write_text(head + other + "".join(f"Cloud Inc.,INV-1,{each}\n" for each in rows))
        act("ingest", paths=[str(tmp_path / name)])
        found = empty_context.store.read(Invoice)
        assert found.filter(invoice_id="INV-2")["invoiced"].to_list() == [7]
        return dict(found.filter(invoice_id="INV-1").select("billing_account_id", "invoiced").rows())

    act("invoices", **TYPED, invoiced="5")
    assert told("whole.csv", ",2026-01,USD,119.68") == {"": Decimal("119.68")}
    by_account = {"acc-1": Decimal("100.00"), "acc-2": Decimal("19.68")}
    assert told("first.csv", "acc-1,2026-01,USD,100", "acc-2,2026-01,USD,20") == by_account | {"acc-2": Decimal(20)}
    assert told("second.csv", "acc-2,2026-01,USD,19.68") == by_account
    assert told("again.csv", ",2026-01,USD,111") == {"": Decimal(111)}


def test_lines_that_an_issuer_tells_no_more_are_gone(act: Act, tmp_path: Path, empty_context: Context) -> None:
    """An invoice that is told again is what its lines are now; lines of other invoices and accounts stay."""
    head = "InvoiceIssuerName,InvoiceId,InvoiceDetailId,BillingAccountId,BillingPeriodStart,BillingCurrency,BilledCost"
    path = tmp_path / "detail.csv"

    def told(*lines: str) -> dict[str, Decimal]:
        issued = [f"Cloud Inc.,{line},Issued" for line in lines]
        path.write_text("\n".join([f"{head},InvoiceIssueStatus", *issued]), encoding="utf-8")
        act("ingest", paths=[str(path)])
        kept = empty_context.store.read(InvoiceLine)
        sums = money.summed(kept, by=["invoice_id", "billing_account_id"], columns=["invoiced"])
        stated = empty_context.store.read(Invoice).select("invoice_id", "billing_account_id", "invoiced")
        assert sorted(stated.rows()) == sorted(sums.select(stated.columns).rows())
        return dict(kept.sort("invoice_detail_id").select("invoice_detail_id", "invoiced").rows())

    rest = "2026-01-01T00:00:00Z,USD"
    first = (f"INV-1,a,acc-1,{rest},100", f"INV-1,b,acc-1,{rest},19.68", f"INV-1,c,acc-2,{rest},1")
    assert told(*first, f"INV-2,d,acc-1,{rest},7") == {"a": 100, "b": Decimal("19.68"), "c": 1, "d": 7}
    assert told(f"INV-1,a,acc-1,{rest},119.68") == {"a": Decimal("119.68"), "c": 1, "d": 7}


def test_the_demos_invoices_match_within_the_tolerance(demo_context: Context) -> None:
    rows = demo_context.store.read(Reconciliation).filter(pl.col("invoiced").is_not_null())
    assert rows.height >= 2
    for row in rows.iter_rows(named=True):
        assert row["status"] == "matches_invoice", row
        assert abs(row["difference"]) <= row["tolerance"]
        assert row["tolerance"] == money.tolerance(row["billing_currency"], row["row_count"])
