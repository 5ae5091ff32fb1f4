"""The pages Invoices and Import: what they show is what the store has, and only an admin changes anything."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from streamlit.testing.v1 import AppTest

from app.context import Context
from app.data import Scope
from app.page import pages
from app.services import named
from app.views import imports
from ledger.store import Store
from ledger.tables import BillImport, BillingPeriod, Invoice, Reconciliation, SplitCharge
from queries import sql
from tests.app.conftest import used
from tests.app.opening import metrics, opened, said
from tests.collectors.billing.bills import bill

ROWS = (
    {"InvoiceId": "INV-1", "BilledCost": "100.10"},
    {"InvoiceId": "INV-1", "BilledCost": "11.25", "ResourceId": "i-2"},
    {"InvoiceId": "INV-1", "BilledCost": "8.33", "ChargeCategory": "Tax", "ResourceId": "", "ServiceName": "Tax"},
    {"InvoiceId": "INV-1", "BilledCost": "-2.5", "ChargeClass": "Correction", "ResourceId": "i-2",
     "ChargePeriodStart": "2025-12-30T00:00:00Z", "ChargePeriodEnd": "2025-12-31T00:00:00Z"},
)  # fmt: skip


def run(context: Context, name: str, **params: object) -> object:
    service = named(name)
    return service.run(context, service.asked(params))


@pytest.fixture
def billed(empty_context: Context, tmp_path: Path) -> Context:
    """Return a store with one bill and an invoice that leaves its tax out."""
    run(empty_context, "ingest", paths=[str(bill(tmp_path / "bill.csv", *ROWS))])
    run(empty_context, "invoices", action="type", invoice_issuer="Cloud Inc.", invoice_id="INV-1", period="2026-01",
        billing_currency="USD", invoiced="108.85")  # fmt: skip
    run(empty_context, "rollup")
    return empty_context


def button(test: AppTest, label: str) -> None:
    next(each for each in test.button if each.label == label).click()
    test.run()
    assert not test.exception, [each.value for each in test.exception]


def test_a_difference_is_shown_with_what_explains_it(billed: Context) -> None:
    with used(billed):
        test = opened("invoices")
    words = said(test)
    assert [each.value for each in test.error] == ["1 of 1 bills differ from what they should sum to."]
    assert metrics(test)["Invoices that differ"] == ("1", "of 1")
    assert "| Difference | 8.33 |" in words
    assert "one charge (Tax, Tax, 2026-01-01 00:00) is 8.33 USD; the invoice seems to leave that out" in words
    groups = next(each.value for each in test.dataframe if "charge_count" in each.value.columns)
    assert groups["billed_cost"].sum() == pytest.approx(117.18)
    assert groups.set_index("name").loc["Machines", "charge_count"] == 3


def test_a_correction_is_shown_as_invoiced_and_as_incurred(billed: Context) -> None:
    (row,) = billed.store.select(sql.load("late_charges").text).to_dicts()
    assert row["billing_period_start"] == datetime(2026, 1, 1, tzinfo=UTC)
    assert f"{row['incurred_start']:%Y-%m}" == "2025-12"
    assert (row["charge_class"], row["billed_cost"]) == ("Correction", Decimal("-2.5"))
    with used(billed):
        late = opened("invoices").dataframe[-1].value
    assert late["billed_cost"].to_list() == [-2.5]


def test_an_invoice_is_typed_on_the_page_and_its_period_closed(billed: Context) -> None:
    with used(billed):
        test = opened("invoices")
        fields = {each.label: each for each in test.text_input}
        assert {label: fields[label].value for label in ("Issuer", "Invoice", "Month", "Currency")} == {
            "Issuer": "Cloud Inc.", "Invoice": "INV-1", "Month": "2026-01", "Currency": "USD"
        }  # fmt: skip
        fields["Payable amount"].set_value("a lot")
        button(test, "Keep it")
        assert next(each.value for each in test.error) == (
            "invoiced: found 'a lot', expected an amount such as 1234.56."
        )
        next(each for each in test.text_input if each.label == "Payable amount").set_value("117.18")
        button(test, "Keep it")
        assert "Invoice INV-1: $117.18." in test.success[0].value
        button(test, "Close January 2026")
        assert test.success[0].value == "2026-01 of Cloud Inc. is closed."
        assert "Open January 2026 again" in [each.label for each in test.button]
    assert billed.store.read(Invoice)["invoiced"].to_list() == [Decimal("117.18")]
    assert billed.store.read(BillingPeriod)["status"].to_list() == ["closed"]


@pytest.mark.parametrize("role", ["manager", "sre"])
def test_others_than_admins_read_and_change_nothing(role: str, billed: Context) -> None:
    viewed = replace(billed, viewer=lambda: Scope(role), _store=billed.store)
    with used(viewed):
        test = opened("invoices")
    assert not test.button
    assert not test.text_input
    assert "imports" not in {each.name for each in pages(role)}


def test_what_waits_is_shown_with_its_changes_and_accepted(empty_context: Context, tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", *ROWS)
    run(empty_context, "ingest", paths=[str(path)])
    run(empty_context, "ingest", paths=[str(bill(path, *ROWS[1:]))])
    with used(empty_context):
        test = opened("imports")
        assert metrics(test)["Waiting for you"][0] == "1"
        totals = test.dataframe[0].value.set_index("change")
        assert totals.loc["removed", "billed_change_cost"] == pytest.approx(-100.1)
        assert totals.loc["same", "charge_count"] == 3
        button(test, "Accept it")
        assert metrics(test)["Waiting for you"][0] == "0"
    statuses = empty_context.store.read(BillImport).sort("imported_at")["status"].to_list()
    assert sorted(statuses) == ["current", "superseded"]


def test_changes_between_snapshots_sum_to_the_change_of_the_totals(empty_context: Context, tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", *ROWS)
    run(empty_context, "ingest", paths=[str(path)])
    later = [{**ROWS[0], "BilledCost": "100.100000000000000001"}, *ROWS[2:], {"BilledCost": "7", "ResourceId": "i-9"}]
    run(empty_context, "ingest", paths=[str(bill(path, *later))])
    imports_ = empty_context.store.read(BillImport)
    old, new = (imports_.filter(pl.col("status") == status).row(0, named=True) for status in ("superseded", "current"))
    (unit,) = run(empty_context, "bill_changes", import_id=new["import_id"])
    change = new["billed_cost"] - old["billed_cost"]
    assert sum(each["billed_change_cost"] for each in unit["totals"]) == change
    assert sum(each["billed_change_cost"] for each in unit["changes"]) == change
    assert sorted(each["change"] for each in unit["changes"]) == ["added", "changed", "removed"]


def test_a_refusal_is_told_apart_into_place_found_and_expected() -> None:
    reasons = [
        "a.csv: line 3, column BilledCost: found 'ten', expected a decimal number such as -12.50",
        "in/b.parquet: row 7: found 3 cells, expected 9",
        "line 4: a job without an id",
    ]
    found = imports.told_apart(pl.DataFrame({"reason": reasons}))
    assert found.select("place", "found", "expected").rows() == [
        ("line 3, column BilledCost", "'ten'", "a decimal number such as -12.50"),
        ("row 7", "3 cells", "9"),
        ("line 4", "a job without an id", None),
    ]
    assert found["hint"].to_list() == [
        "write the amount with a point, without separators of thousands",
        "put cells that hold a separator or a line feed into quotes",
        "correct the row",
    ]


def test_rows_that_are_wrong_in_the_same_way_are_one_line_of_the_page(empty_context: Context, tmp_path: Path) -> None:
    wrong = [{"BilledCost": f"{n} or so"} for n in range(1_200)]
    path = bill(tmp_path / "bill.csv", {}, *wrong, {"ChargeCategory": "Fee"})
    told = run(empty_context, "ingest", paths=[str(path)], names=["bill.csv"])["files"]
    with used(empty_context):
        test = opened("imports", import_outcome=told)
        faults = next(each.value for each in test.dataframe if "row_count" in each.value.columns)
        assert faults["row_count"].to_list() == [1_200, 1]
        assert faults["place"].to_list() == ["line 3, column BilledCost", "line 1203, column ChargeCategory"]
        assert "1,201 rows were refused" in said(test)
        health = opened("data_health")
        shown = next(each.value for each in health.dataframe if "last_rejected_at" in each.value.columns)
        assert shown["row_count"].to_list() == [1_200, 1]
        assert "line 3, column BilledCost" in shown["reason"][0]


def test_the_charges_of_an_invoice_sum_to_it_in_every_grouping(demo_context: Context) -> None:
    store: Store = demo_context.store
    row = store.read(Reconciliation).filter(pl.col("invoiced").is_not_null()).sort("invoice_id").row(0, named=True)
    asked = {
        "issuer": row["invoice_issuer"],
        "invoice": row["invoice_id"],
        "start": row["billing_period_start"],
        "currency": row["billing_currency"],
    }
    for by in ("line", "service", "category", "resource", "day", "account"):
        groups = store.select(sql.load("invoice_groups").text, **asked, by=by)
        assert groups["billed_cost"].sum() == row["charged"], by
        name = groups["name"][0]
        charges = store.select(sql.load("invoice_charges").text, **asked, by=by, name=name)
        if groups["charge_count"][0] == charges.height:
            assert charges["billed_cost"].sum() == groups["billed_cost"][0]
    services = store.select(sql.load("invoice_groups").text, **asked, by="resource")
    largest = next(each for each in services.iter_rows(named=True) if each["name"])
    held = store.select(
        sql.load("invoice_allocations").text, **asked, resource=largest["name"], service="", category="Usage"
    )
    assert held["billed_cost"].sum() == largest["billed_cost"]


def test_months_sum_their_bills(demo_context: Context) -> None:
    found = demo_context.store.read(Reconciliation)
    with used(demo_context):
        shown = next(each.value for each in opened("invoices").dataframe if "compared_count" in each.value.columns)
    assert shown["bill_count"].sum() == found.height
    for _, row in shown.iterrows():
        bills = found.filter(
            pl.col("billing_period_start") == row["billing_period_start"],
            pl.col("billing_currency") == row["billing_currency"],
        )
        assert row["charged"] == pytest.approx(float(sum(bills["charged"])))
        assert row["compared_count"] == bills["invoiced"].count()
        assert set(row["issuers"].split(" · ")) == set(bills["invoice_issuer"])


def test_hours_sum_to_what_a_holder_is_allocated(demo_context: Context) -> None:
    store = demo_context.store
    largest = store.select(
        "SELECT invoice_issuer AS issuer, invoice_id AS invoice, billing_period_start AS start, "
        "billing_currency AS currency, resource_id AS resource, '' AS service, charge_category AS category "
        "FROM allocation_hour WHERE bucket = 'allocated' AND NOT is_estimated "
        "GROUP BY ALL ORDER BY count(*) DESC LIMIT 1"
    ).row(0, named=True)
    whole = store.select(
        "SELECT team, job_id, submitted_at, bucket, node, sum(billed_cost) AS billed_cost FROM allocation_hour "
        "WHERE invoice_issuer = $issuer AND invoice_id = $invoice AND billing_period_start = $start "
        "AND billing_currency = $currency AND resource_id = $resource AND charge_category = $category "
        "AND bucket = 'allocated' AND NOT is_estimated GROUP BY ALL ORDER BY billed_cost DESC LIMIT 1",
        **{name: value for name, value in largest.items() if name != "service"},
    ).row(0, named=True)
    names = {"holder": "team", "job": "job_id", "submitted": "submitted_at", "bucket": "bucket", "node": "node"}
    hours = store.select(
        sql.load("invoice_hours").text, **largest, **{name: whole[column] for name, column in names.items()}
    )
    assert hours["billed_cost"].sum() == whole["billed_cost"]
    window = {"start": hours["hour_start"].min(), "end": hours["hour_start"].max() + timedelta(hours=1)}
    cells = store.select(sql.load("state_cells").text, **window, cluster="", team="", bucket="hour")
    assert set(hours["gpu"]) - {""} <= set(cells["gpu"]), "a link names a device as the page of GPUs does"


def test_the_bills_own_division_of_a_node_is_found_by_its_charge(empty_context: Context) -> None:
    part = {"import_id": "a", "parent_resource_id": "i-A1", "billing_currency": "USD", "meter": "accelerator"}
    hours = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(3)]
    rows = [
        part | {"row_index": index, "resource_id": f"pod/{index % 2}", "split_cost": Decimal(index + 1),
                "charge_start": hours[index // 2], "charge_end": hours[index // 2 + 1]}
        for index in range(4)
    ]  # fmt: skip
    columns = SplitCharge.create_empty().schema
    frame = pl.DataFrame([{name: row.get(name) for name in columns} for row in rows], schema=columns)
    empty_context.store.replace(SplitCharge, frame, partitions=["a"], state=None)
    question = sql.load("split_charges").text

    def found(start: datetime, end: datetime, resource: str = "i-a1") -> list[tuple[object, ...]]:
        asked = {"import": "a", "resource": resource, "start": start, "end": end}
        return empty_context.store.select(question, **asked).select("resource_id", "split_cost").rows()

    assert found(hours[0], hours[1]) == [("pod/1", Decimal(2)), ("pod/0", Decimal(1))]
    assert found(hours[0], hours[2]) == [("pod/1", Decimal(6)), ("pod/0", Decimal(4))]
    assert found(hours[0], hours[2], "i-b2") == []
