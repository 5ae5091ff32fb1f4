"""What explains the difference between an invoice and its bill is found and said with words."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

import pytest
from hypothesis import strategies as st

from ledger import money
from ledger.store import Store
from ledger.tables import BillImport, FocusCharge, InvoiceLine
from queries.differences import Cause, causes
from tests.bills import MONTH, at, charge, rows
from tests.queries.rollups.conftest import on_cases

NOW = datetime(2026, 4, 2, tzinfo=UTC)

BILL = [
    charge(0, ServiceName="Compute", ResourceId="i-1", BilledCost=Decimal("24.13"), InvoiceDetailId="1"),
    charge(1, ServiceName="Compute", ResourceId="i-2", BilledCost=Decimal("31.07"), InvoiceDetailId="1"),
    charge(2, ServiceName="Compute", ResourceId="i-2", BilledCost=Decimal("17.003"), ChargePeriodStart=at(2),
           ChargePeriodEnd=at(3), InvoiceDetailId="1"),
    charge(3, ServiceName="Storage", ResourceId="v-1", BilledCost=Decimal("5.11"), InvoiceDetailId="2"),
    charge(4, ServiceName="Storage", ResourceId="v-2", BilledCost=Decimal("6.37"), InvoiceDetailId="2"),
    charge(5, ServiceName=None, ResourceId=None, ChargeCategory="Tax", BilledCost=Decimal("9.41"), InvoiceDetailId="3"),
    charge(6, ServiceName=None, ResourceId=None, ChargeCategory="Tax", BilledCost=Decimal("2.29"), InvoiceDetailId="3"),
    charge(7, ServiceName="Support", ResourceId=None, InvoiceId="inv-2", BilledCost=Decimal("70.01")),
    charge(8, ServiceName="Compute", ResourceId="i-3", ChargeClass="Correction", BilledCost=Decimal("-3.77"),
           InvoiceDetailId="4"),
    charge(9, ServiceName="Compute", ResourceId="i-4", BilledCost=Decimal("1.99"), InvoiceDetailId="1"),
    charge(10, ServiceName="Compute", ResourceId="i-4", BilledCost=Decimal("1.99"), InvoiceDetailId="1"),
]  # fmt: skip


def bill_import(import_id: str = "i1", status: str = "current", **given: Any) -> dict[str, Any]:
    return {
        "import_id": import_id,
        "billing_account_id": "acct",
        "billing_period_start": MONTH,
        "billing_currency": "USD",
        "source_name": "bill",
        "path": "bill.csv",
        "format": "focus",
        "sha256": import_id,
        "imported_at": NOW,
        "status": status,
        "row_count": 1,
        "rejected_count": 0,
        "charge_day_count": 1,
        "billed_cost": Decimal(0),
        "residue": Decimal(0),
        **given,
    }


@pytest.fixture
def store() -> Iterator[Store]:
    with Store.open("duckdb::memory:", now=lambda: NOW) as opened:
        opened.append(FocusCharge, rows(FocusCharge, BILL), source="test")
        opened.append(BillImport, rows(BillImport, [bill_import()]), source="test")
        yield opened


@pytest.fixture(scope="module")
def many() -> Iterator[tuple[Store, Iterator[int]]]:
    """Return a store for many bills, each of another issuer, and numbers for them: to open one takes far longer."""
    with Store.open("duckdb::memory:", now=lambda: NOW) as opened:
        yield opened, count()


def explained(store: Store, difference: str, tolerance: str = "1", issuer: str = "AWS") -> list[Cause]:
    row = {
        "invoice_issuer": issuer,
        "invoice_id": "inv-1",
        "billing_period_start": MONTH,
        "billing_currency": "USD",
        "difference": Decimal(difference),
        "tolerance": Decimal(tolerance),
    }
    return causes(store.select, row)


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        ("24.13", "one charge (Usage, Compute, i-1, 2026-03-01) is 24.13 USD; the invoice seems to leave that out"),
        ("11.70", "the 2 charges of invoice line 3 sum to 11.7 USD; the invoice seems to leave that out"),
        ("11.48", "the 2 charges of invoice line 2 sum to 11.48 USD; the invoice seems to leave that out"),
        ("48.07", "the 2 charges of resource i-2 sum to 48.073 USD; the invoice seems to leave that out"),
        ("-3.77", "one charge (Usage, Compute, i-3, 2026-03-01) is -3.77 USD; the invoice seems to leave that out"),
        ("-9.41", "one charge (Tax, 2026-03-01) is 9.41 USD; the invoice seems to hold that twice"),
        ("-70.01", ("one charge (Usage, Support, 2026-03-01) is 70.01 USD; in the bill they belong to invoice inv-2: "
                   "this invoice seems to hold them")),
        ("14.52", ("two charges: Tax, 2026-03-01 (row 5) and Usage, Storage, v-1, 2026-03-01 (row 3) sum to 14.52 USD; "
                  "the invoice seems to leave that out")),
    ],
)  # fmt: skip
def test_the_rows_behind_a_planted_difference_are_named(store: Store, difference: str, words: str) -> None:
    assert words in [each.words for each in explained(store, difference)]


def test_rows_that_are_in_the_bill_twice_are_told(store: Store) -> None:
    found = {each.how: each for each in explained(store, "1.99")}
    assert set(found) == {"copies"}
    assert found["copies"].row_count == 1
    assert found["copies"].words.endswith("the rows are alike in everything")


def test_what_nothing_explains_stays_unexplained(store: Store) -> None:
    assert explained(store, "1000000.01") == []
    assert explained(store, "0") == []


def test_a_group_may_differ_by_less_than_the_tolerance(store: Store) -> None:
    (found,) = explained(store, "73", "0.9")
    assert found.words == "the 6 charges of service Compute sum to 72.413 USD; the invoice seems to leave that out"
    assert explained(store, "73", "0.1") == []


def test_a_snapshot_that_waits_explains_it(store: Store) -> None:
    more = [{**each, "import_id": "i2"} for each in BILL] + [
        charge(30 + index, import_id="i2", BilledCost=Decimal(100), ResourceId=f"n-{index}") for index in range(2)
    ]
    store.append(FocusCharge, rows(FocusCharge, more), source="test")
    store.append(BillImport, rows(BillImport, [bill_import("i2", "waiting")]), source="test")
    assert [each.words for each in explained(store, "-200")] == [
        "import i2 (waiting) of this bill has other charges by 200 USD: with it the invoice would agree"
    ]


def test_a_line_of_the_invoice_that_differs_alone_is_named(store: Store) -> None:
    def line(detail: str, amount: str) -> dict[str, Any]:
        return {
            "invoice_issuer": "AWS",
            "invoice_id": "inv-1",
            "invoice_detail_id": detail,
            "billing_account_id": "acct",
            "billing_period_start": MONTH,
            "billing_currency": "USD",
            "invoiced": Decimal(amount),
        }

    lines = [line("1", "76.183"), line("2", "24.55"), line("3", "11.70"), line("4", "-3.77")]
    store.append(InvoiceLine, rows(InvoiceLine, lines), source="test")
    assert [each.words for each in explained(store, "-13.07")] == [
        "line 2 of the invoice differs from its 2 charges by -13.07 USD, alone"
    ]


AMOUNTS = st.lists(st.integers(1, 10**7), min_size=2, max_size=12, unique=True)
LEFT_OUT = AMOUNTS.flatmap(lambda amounts: st.tuples(st.just(amounts), st.integers(0, len(amounts) - 1)))


@on_cases(LEFT_OUT)
def test_a_single_charge_that_is_left_out_is_always_found(
    cases: list[tuple[list[int], int]], many: tuple[Store, Iterator[int]]
) -> None:
    store, numbers = many
    bills = {f"i{next(numbers)}": case for case in cases}
    charges = [
        charge(index, import_id=own, InvoiceIssuerName=f"issuer of {own}", BilledCost=Decimal(amount).scaleb(-2),
               ResourceId=f"r-{index}", ChargePeriodStart=MONTH + timedelta(hours=index),
               ChargePeriodEnd=MONTH + timedelta(hours=index + 1))
        for own, (amounts, _) in bills.items() for index, amount in enumerate(amounts)
    ]  # fmt: skip
    store.append(FocusCharge, rows(FocusCharge, charges), source="test")
    store.append(BillImport, rows(BillImport, [bill_import(own) for own in bills]), source="test")
    for own, (amounts, chosen) in bills.items():
        whole = Decimal(sum(amounts)).scaleb(-2)
        invoiced = (whole - Decimal(amounts[chosen]).scaleb(-2)).quantize(money.subunit("USD"))
        found = explained(store, str(whole - invoiced), issuer=f"issuer of {own}")
        assert any(
            each.row_count == 1 and abs(each.billed_cost - (whole - invoiced)) <= Decimal("0.005") for each in found
        )


def test_charges_of_an_hour_are_told_apart_by_their_hour(store: Store) -> None:
    """Machines cost the same in each hour: which one it may be is said, not the same day again and again."""
    hourly = [
        charge(
            20 + hour,
            ServiceName="Compute",
            ResourceId="i-9",
            BilledCost=Decimal("49.536"),
            ChargePeriodStart=at(7, hour),
            ChargePeriodEnd=at(7, hour + 1),
            InvoiceIssuerName="Else",
        )
        for hour in range(3)
    ]
    store.append(FocusCharge, rows(FocusCharge, hourly), source="test")
    found = explained(store, "49.536", issuer="Else")
    told = [each.value for each in found if each.kind == "charge"]
    assert told == [f"Usage, Compute, i-9, 2026-03-07 0{hour}:00" for hour in range(3)]
