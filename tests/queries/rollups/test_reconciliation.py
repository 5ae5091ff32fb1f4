from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from ledger.money_sections import MoneySettings, ScopeSettings
from ledger.tables import (
    AllocationHour,
    FocusCharge,
    GpuHour,
    JobGpuHour,
    NetworkHour,
    Node,
    Reconciliation,
    StorageHour,
)
from queries.graph import Span
from queries.rollups.allocation_hour import allocation_hour
from queries.rollups.reconciliation import reconciliation
from tests.bills import HOUR, MONTH, NEXT, at, charge, costs, device_hour, imports_of, invoices, jobs, link, node, rows
from tests.frames import validated


def invoice(amount: str, **given: Any) -> dict[str, Any]:
    row = {
        "invoice_issuer": "AWS",
        "invoice_id": "inv-1",
        "billing_account_id": "acct",
        "billing_period_start": MONTH,
        "billing_currency": "USD",
        "provider": "AWS",
        "invoiced": Decimal(amount),
        "source": "csv",
    }
    return row | given


def allocations(charges: list[dict[str, Any]], settings: MoneySettings, now: datetime) -> pl.DataFrame:
    hours = costs(charges, nodes=[node()], links=[link()], now=now, settings=settings)
    made = allocation_hour.function(
        costs=hours.lazy(),
        gpu_hours=rows(
            GpuHour, [device_hour(at(1) + hour * HOUR, f"g{gpu}") for hour in range(24) for gpu in range(3)]
        ).lazy(),
        job_hours=rows(JobGpuHour, []).lazy(),
        jobs=jobs([]).lazy(),
        nodes=rows(Node, [node()]).lazy(),
        ports=rows(NetworkHour, []).lazy(),
        systems=rows(StorageHour, []).lazy(),
        span=Span(MONTH, NEXT, now),
        settings=settings,
    )
    return validated(AllocationHour, made.collect())


def reconciled(
    charges: list[dict[str, Any]],
    invoice_rows: Iterable[Mapping[str, Any]] = (),
    *,
    now: datetime = MONTH,
    lost: bool = False,
    settings: MoneySettings | None = None,
    **given: Any,
) -> list[dict[str, Any]]:
    bill = rows(FocusCharge, charges)
    parts = allocations(charges, settings or MoneySettings(), now)
    made = reconciliation.function(
        charges=bill.lazy(),
        imports=imports_of(bill, **given).lazy(),
        allocations=(parts.slice(1) if lost else parts).lazy(),
        invoices=invoices(invoice_rows).lazy(),
        span=Span(MONTH, NEXT, now),
    )
    return validated(Reconciliation, made.collect()).to_dicts()


BILL = [
    charge(0, BilledCost=Decimal("100.01")),
    charge(1, ResourceId=None, ChargeCategory="Tax", BilledCost=Decimal("20.002"), SubAccountId="elsewhere"),
    charge(2, ResourceId=None, ChargeCategory="Credit", BilledCost=Decimal(-5)),
]


def test_the_whole_invoice_matches_whatever_is_in_scope() -> None:
    scope = MoneySettings(scope=ScopeSettings(services=("nothing",)))
    (row,) = reconciled(BILL, [invoice("115.02")], settings=scope)
    assert (row["charged"], row["allocated"], row["invoiced"]) == (
        Decimal("115.012"),
        Decimal("115.012"),
        Decimal("115.02"),
    )
    assert row["difference"] == Decimal("-0.008")
    assert (row["status"], row["is_ok"], row["row_count"]) == ("matches_invoice", True, 3)
    assert row["tolerance"] == 1
    assert row["complete_through"] == at(2)


def test_more_than_the_tolerance_differs() -> None:
    (row,) = reconciled(BILL, [invoice("113.99")])
    assert (row["status"], row["is_ok"]) == ("differs", False)


def test_a_lost_allocation_differs_even_from_a_matching_invoice() -> None:
    (row,) = reconciled(BILL, [invoice("115.012")], lost=True)
    assert (row["status"], row["is_ok"]) == ("differs", False)
    (row,) = reconciled(BILL, lost=True)
    assert (row["status"], row["is_ok"]) == ("differs", None)


def test_without_an_invoice_it_agrees_with_its_export_at_most() -> None:
    (row,) = reconciled(BILL)
    assert (row["status"], row["is_ok"], row["invoiced"], row["difference"]) == ("matches_export", None, None, None)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"billed_cost": Decimal("115.0121"), "residue": Decimal("0.0001")}, "matches_export"),
        ({"billed_cost": Decimal("115.0121")}, "differs"),
        ({"control_cost": Decimal("115.01")}, "matches_export"),
        ({"control_cost": Decimal(140)}, "differs"),
        ({"format": "usage_only"}, "estimated"),
    ],
)
def test_the_totals_of_the_export_decide(given: dict[str, Decimal], status: str) -> None:
    (row,) = reconciled(BILL, **given)
    assert row["status"] == status


def test_owned_hardware_never_matches_an_invoice() -> None:
    (row,) = reconciled(BILL, [invoice("115.012")], format="on_premises")
    assert (row["status"], row["is_ok"], row["invoiced"]) == ("matches_export", None, None)


def test_what_is_estimated_is_said() -> None:
    rows_of = reconciled(BILL, now=at(2, 5))
    estimated, billed = rows_of
    assert (estimated["invoice_id"], estimated["status"], estimated["charged"]) == ("", "estimated", 0)
    assert (estimated["allocated"], billed["estimated"]) == (0, 0)
    assert estimated["estimated"] > 0
    assert estimated["is_ok"] is None
    assert billed["status"] == "matches_export"


def test_charges_of_no_invoice_yet_and_their_estimates_are_one_row() -> None:
    (row,) = reconciled([each | {"InvoiceId": ""} for each in BILL], now=at(2, 5))
    assert row["status"] == "estimated"
    assert row["allocated"] == row["charged"] == Decimal("115.012")
    assert row["estimated"] > 0


def test_an_invoice_that_no_charge_came_for_differs() -> None:
    _, row = sorted(
        reconciled(BILL, [invoice("7", invoice_id="inv-2", provider=None)]), key=lambda each: str(each["invoice_id"])
    )
    assert (row["provider"], row["charged"], row["difference"]) == ("AWS", 0, -7)
    assert (row["status"], row["is_ok"], row["row_count"]) == ("differs", False, 0)


UNNAMED = [each | {"InvoiceId": ""} for each in BILL]


@pytest.mark.parametrize("amounts", [("115.012",), ("120.012", "-5")])
def test_a_bill_that_names_no_invoice_is_compared_with_those_of_its_month(amounts: tuple[str, ...]) -> None:
    """Google's, Oracle's and Azure's EA exports have no invoice numbers: the issuer's invoices sum to the month."""
    sent = [invoice(amount, invoice_id=f"G-{number}") for number, amount in enumerate(amounts)]
    (row,) = reconciled(UNNAMED, sent)
    assert (row["invoice_id"], row["charged"], row["invoiced"]) == ("", Decimal("115.012"), Decimal("115.012"))
    assert (row["status"], row["is_ok"]) == ("matches_invoice", True)
    (row,) = reconciled(UNNAMED, [invoice("99", invoice_id="G-1")])
    assert (row["status"], row["difference"]) == ("differs", Decimal("16.012"))


def test_a_bill_that_names_one_invoice_keeps_them_apart() -> None:
    found = reconciled([*BILL[:1], *UNNAMED[1:]], [invoice("100.01"), invoice("15", invoice_id="inv-2")])
    assert sorted((row["invoice_id"], row["charged"], row["status"]) for row in found) == [
        ("", Decimal("15.002"), "matches_export"),
        ("inv-1", Decimal("100.01"), "matches_invoice"),
        ("inv-2", 0, "differs"),
    ]


def test_what_is_owned_or_priced_here_is_no_invoice_of_its_month() -> None:
    for name in ("on_premises", "usage_only"):
        found = reconciled(UNNAMED, [invoice("115.012", invoice_id="G-1")], format=name)
        assert {row["invoice_id"]: row["invoiced"] for row in found} == {"": None, "G-1": Decimal("115.012")}


def test_an_invoice_of_several_providers_is_compared_whole() -> None:
    bill = [*BILL, charge(3, ServiceProviderName="Vendor", ResourceId="x", BilledCost=Decimal(10))]
    rows_of = reconciled(bill, [invoice("125.012")])
    assert [(row["provider"], row["invoiced"], row["status"]) for row in rows_of] == [
        ("AWS", Decimal("115.012"), "matches_invoice"),
        ("Vendor", Decimal(10), "matches_invoice"),
    ]


def test_what_an_invoice_of_several_providers_differs_by_stands_once() -> None:
    """Sums over bills are sums over invoices: 130 is invoiced, and not 130 beside each of its providers."""
    bill = [*BILL, charge(3, ServiceProviderName="A vendor", ResourceId="x", BilledCost=Decimal(10))]
    rows_of = reconciled(bill, [invoice("130")])
    assert [(row["provider"], row["invoiced"], row["difference"], row["status"], row["is_ok"]) for row in rows_of] == [
        ("A vendor", Decimal(10), Decimal(0), "differs", False),
        ("AWS", Decimal(120), Decimal("-4.988"), "differs", False),
    ]


def test_accounts_of_one_invoice_are_summed_and_other_months_left_alone() -> None:
    april = invoice("1", billing_period_start=datetime(2026, 4, 1, tzinfo=UTC))
    halves = [invoice("100"), invoice("15.012", billing_account_id="other")]
    (row,) = reconciled(BILL, [*halves, april])
    assert (row["invoiced"], row["status"]) == (Decimal("115.012"), "matches_invoice")
