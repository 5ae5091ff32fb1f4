"""The bills: they can be imported, keep the identities of FOCUS, and meet their invoices."""

import csv
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.billing._read import read_bill
from collectors.simulate import Cluster, bills
from collectors.simulate.billing import invoice_totals
from collectors.simulate.charges import (
    COMMITTED_RATE,
    charges,
    complete_through,
    month_of,
    periods,
)
from collectors.simulate.shapes import instant
from ledger.tables import Asset, FocusCharge, Invoice, Price

_CENT = Decimal("0.01")


@pytest.fixture(scope="module")
def paths(demo: Cluster, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return bills(demo, tmp_path_factory.mktemp("bills"))


@pytest.fixture(scope="module")
def imported(paths: list[Path]) -> dict[type, pl.DataFrame]:
    found: dict[type, list[pl.DataFrame]] = {}
    for path in paths:
        result = read_bill(path)
        assert not result.rejected, path
        for schema, frame in result.tables.items():
            found.setdefault(schema, []).append(frame)
    return {schema: pl.concat(frames) for schema, frames in found.items()}


def test_every_file_is_imported_without_a_reject(imported: dict[type, pl.DataFrame], demo: Cluster) -> None:
    assert {FocusCharge, Invoice, Price, Asset} <= set(imported)
    assert imported[FocusCharge].height == len(charges(demo))
    assert imported[Asset].height == 4


def test_imported_money_is_exactly_what_was_charged(imported: dict[type, pl.DataFrame], demo: Cluster) -> None:
    expected: defaultdict[str, Decimal] = defaultdict(Decimal)
    effective: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in charges(demo):
        expected[row.currency] += row.billed
        effective[row.currency] += row.effective
    sums = imported[FocusCharge].group_by("BillingCurrency").agg(pl.col("BilledCost", "EffectiveCost").sum())
    assert {row[0]: row[1] for row in sums.rows()} == dict(expected)
    assert {row[0]: row[2] for row in sums.rows()} == dict(effective)


def test_what_such_clusters_get_is_there(demo: Cluster) -> None:
    rows = charges(demo)
    assert {row.category for row in rows} == {"Usage", "Purchase", "Tax", "Credit", "Adjustment"}
    assert {row.currency for row in rows} == {"USD", "EUR"}
    assert len({row.account for row in rows}) == 3
    assert all(not row.resource for row in rows if row.category in {"Tax", "Credit"})
    assert any(row.category == "Usage" and not row.resource and not row.commitment for row in rows)
    assert {row.end - row.start for row in rows if row.node is not None} == {3_600, 86_400}
    assert {row.commitment for row in rows} == {"", "Purchase", "Used", "Unused"}
    assert len({row.sub_account for row in rows}) > 3
    corrections = [row for row in rows if row.charge_class == "Correction"]
    assert corrections
    assert all(row.billed < 0 and month_of(row.start) < row.period for row in corrections)


def test_the_commitment_is_used_or_unused_and_bought_once(demo: Cluster) -> None:
    rows = charges(demo)
    bought = [row for row in rows if row.commitment == "Purchase"]
    assert [row.effective for row in bought] == [0]
    assert bought[0].billed == 2 * COMMITTED_RATE * 8_760
    hours: defaultdict[int, Decimal] = defaultdict(Decimal)
    for row in rows:
        if row.commitment in {"Used", "Unused"}:
            assert row.billed == 0
            hours[row.start] += row.effective
    assert set(hours.values()) == {2 * COMMITTED_RATE}
    assert list(hours) == list(range(demo.start, complete_through(demo)["AWS"], 3_600))


def test_invoices_are_the_bills_rounded_to_cents(imported: dict[type, pl.DataFrame]) -> None:
    key = ["InvoiceIssuerName", "InvoiceId", "BillingAccountId"]
    billed = imported[FocusCharge].filter(pl.col("InvoiceId") != "").group_by(key).agg(pl.col("BilledCost").sum())
    invoiced = {
        (row["invoice_issuer"], row["invoice_id"], row["billing_account_id"]): row["invoiced"]
        for row in imported[Invoice].iter_rows(named=True)
    }
    assert len(invoiced) == 3
    assert {row[:3]: row[3].quantize(_CENT) for row in billed.rows()} == invoiced


def test_a_planted_difference_is_in_the_first_invoice_only(demo: Cluster, tmp_path: Path) -> None:
    path = next(
        path for path in bills(demo, tmp_path, planted_difference=Decimal(1_234)) if path.name == "invoices.csv"
    )
    with path.open(encoding="utf-8") as file:
        told = [Decimal(row["invoiced"]) for row in csv.DictReader(file)]
    true = [total for _, total in sorted(invoice_totals(demo, charges(demo)).items())]
    assert [mine - other for mine, other in zip(told, true, strict=True)] == [1_234, 0, 0]


def test_the_last_month_is_closed_and_the_current_one_is_open(demo: Cluster) -> None:
    months = periods(demo)
    assert [f"{month:%Y-%m}" for month in months] == ["2026-10", "2026-11"]
    invoices = {invoice for _, invoice, _ in invoice_totals(demo, charges(demo))}
    assert all(invoice.endswith("-202610") for invoice in invoices)
    for through in complete_through(demo).values():
        assert 20 <= (demo.end - through) / 3_600 < 48


def test_the_same_plan_writes_the_same_bytes(demo: Cluster, paths: list[Path], tmp_path: Path) -> None:
    again = bills(demo, tmp_path)
    assert [path.name for path in again] == [path.name for path in paths]
    assert all(one.read_bytes() == two.read_bytes() for one, two in zip(again, paths, strict=True))


def test_nodes_are_charged_for_the_seconds_they_existed(demo: Cluster) -> None:
    seconds: defaultdict[int, Decimal] = defaultdict(Decimal)
    for row in charges(demo):
        if row.node is not None and not row.charge_class:
            seconds[row.node] += row.quantity * 3_600
    through = complete_through(demo)
    for node in demo.nodes:
        if node.provider.name in through:
            last = min(demo.node_end(node.index), through[node.provider.name])
            assert abs(seconds[node.index] - (last - node.start)) < Decimal("0.001"), instant(node.start)
