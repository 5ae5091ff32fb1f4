"""A refused row is told as its file has it, whatever format and container it came in."""

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import polars as pl
import pytest

from collectors.billing import _as_written
from collectors.billing._format import Rejected
from collectors.billing._rates import stated
from collectors.billing._read import read_bill
from ledger.errors import InputError
from ledger.money_sections import RateCard
from tests.collectors.billing.aws_bills import LINE, report
from tests.collectors.billing.bills import ROW, bill, text
from tests.collectors.billing.test_azure_cost import ROW as AZURE
from tests.collectors.billing.test_gcp_billing import ROW as GOOGLE
from tests.collectors.billing.test_oci_cost import _LINE as ORACLE

CARDS = (RateCard(provider="CoreWeave", sku="H100", unit_price="2.5", currency="USD"),)


def _table(path: Path, *rows: Mapping[str, str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def _focus(folder: Path) -> tuple[Path, Mapping[str, object]]:
    bad = {"BilledCost": "lots", "EffectiveCost": "NULL", "ResourceId": " i-2 "}
    return bill(folder / "a.csv", {}, bad), {**ROW, **bad}


def _focus_parquet(folder: Path) -> tuple[Path, Mapping[str, object]]:
    bad = {**ROW, "ChargeCategory": "usage", "PricingQuantity": "2"}
    typed = pl.DataFrame([ROW, bad]).with_columns(
        pl.col("PricingQuantity").cast(pl.Float64), pl.col("EffectiveCost").cast(pl.Decimal(38, 2))
    )
    typed.write_parquet(folder / "a.parquet")
    return folder / "a.parquet", {**bad, "PricingQuantity": 2.0, "EffectiveCost": "1.25"}


def _aws(folder: Path) -> tuple[Path, Mapping[str, object]]:
    bad = {"lineItem/UnblendedCost": "much"}
    return report(folder / "cur.csv", {}, bad), {**LINE, **bad}


def _azure(folder: Path) -> tuple[Path, Mapping[str, object]]:
    bad = {**AZURE, "CostInBillingCurrency": "much"}
    return _table(folder / "azure.csv", AZURE, bad), bad


def _oracle(folder: Path) -> tuple[Path, Mapping[str, object]]:
    bad = {**ORACLE, "cost/myCost": "much"}
    return _table(folder / "oci.csv", ORACLE, bad), bad


def _google(folder: Path) -> tuple[Path, Mapping[str, object]]:
    row = {
        "billing_account_id": "a",
        "service.description": "Vertex AI",
        "usage_start_time": "2026-09-01 00:00:00 UTC",
        "usage_end_time": "2026-09-01 01:00:00 UTC",
        "cost": "1",
        "currency": "USD",
        "credits": "[]",
        "invoice.month": "202609",
        "nobody.knows": "this",
    }
    bad = {**row, "credits": "oops"}
    return _table(folder / "google.csv", row, bad), bad


def _usage(folder: Path) -> tuple[Path, Mapping[str, object]]:
    row = {"start": "2026-09-01", "provider": "CoreWeave", "sku": "H100", "quantity": "8", "unit": "Hours", "note": ""}
    bad = {**row, "quantity": "many"}
    return _table(folder / "usage.csv", row, bad), bad


def _invoice(folder: Path) -> tuple[Path, Mapping[str, object]]:
    row = {
        "invoice_issuer": "Cloud Inc.",
        "invoice_id": "1",
        "billing_period_start": "2026-09-01",
        "billing_currency": "USD",
        "invoiced": "10.5",
    }
    bad = {**row, "invoice_id": "2", "invoiced": "ten"}
    return _table(folder / "invoices.csv", row, bad), bad


@pytest.mark.parametrize("made", [_focus, _focus_parquet, _aws, _azure, _oracle, _google, _usage, _invoice])
def test_a_refused_row_is_told_whole(tmp_path: Path, made: Callable[[Path], tuple[Path, Mapping[str, object]]]) -> None:
    path, row = made(tmp_path)
    read = read_bill(path, prices=lambda: stated(CARDS))
    (refused,) = read.rejected
    assert (refused.line, refused.is_line) == ((3, True) if path.suffix == ".csv" else (2, False))
    assert json.loads(refused.record) == row
    assert list(json.loads(refused.record)) == list(row)


def test_a_line_of_json_is_told_by_the_columns_that_are_read(tmp_path: Path) -> None:
    path = tmp_path / "google.jsonl"
    path.write_text("".join(json.dumps({**GOOGLE, **each}) + "\n" for each in ({}, {"cost": "much"})) + "[1]\n")
    refused, broken = read_bill(path).rejected
    record = json.loads(refused.record)
    assert (refused.line, record["cost"], record["sku_id"], record["resource_name"]) == (2, "much", "AAAA", "gpu-1")
    assert (broken.line, json.loads(broken.record)) == (3, [["1"]])


def test_a_record_of_another_width_is_told_cell_by_cell(tmp_path: Path) -> None:
    path = bill(tmp_path / "a.csv", {})
    with path.open("a", newline="", encoding="utf-8") as file:
        file.write('1,"two, and\nmore",3\r\n')
    (refused,) = read_bill(path).rejected
    assert refused.reason.endswith("line 3: found 3 cells over lines 3 to 4, expected 19 as in the header")
    assert json.loads(refused.record) == ["1", "two, and\nmore", "3"]


def test_the_first_rows_of_each_fault_are_told_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("collectors.billing._cells.WHOLE_ROWS", 2)
    bad = [*[{"BilledCost": "lots"}] * 4, *[{"ChargeCategory": "usage"}] * 3]
    rejected = read_bill(bill(tmp_path / "a.csv", *bad)).rejected
    assert [each.line for each in rejected if each.record] == [2, 3, 6, 7]


def test_a_cell_of_a_megabyte_is_cut(tmp_path: Path) -> None:
    path = bill(tmp_path / "a.csv", {"BilledCost": "lots", "ChargeDescription": "x" * 2**20})
    (refused,) = read_bill(path).rejected
    assert json.loads(refused.record)["ChargeDescription"] == "x" * 4_000 + "..."


def test_what_is_no_number_is_still_json() -> None:
    assert json.loads(_as_written.as_json({"a": float("nan"), "b": None, "c": float("-inf")})) == {
        "a": "nan",
        "b": None,
        "c": "-inf",
    }


def _joined(first: Sequence[str], second: Sequence[str]) -> str:
    """Return two bills that somebody joined, each with its own order of columns."""
    out = io.StringIO()
    for names in (first, second):
        writer = csv.DictWriter(out, names)
        writer.writeheader()
        writer.writerow(ROW)
    return out.getvalue()


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_header_that_comes_again_is_no_row(tmp_path: Path, mark: str) -> None:
    whole = text([{}])
    (tmp_path / "a.csv").write_text(mark + whole + mark + whole, encoding="utf-8", newline="")
    read = read_bill(tmp_path / "a.csv")
    assert [(each.line, each.found) for each in read.rejected] == [(3, "the header again")]
    assert read.row_count == 2


def test_a_header_with_other_columns_in_the_middle_is_refused(tmp_path: Path) -> None:
    """What follows it would be read in wrong columns: cost as list cost."""
    names = list(ROW)
    (tmp_path / "a.csv").write_text(_joined(names, names[::-1]), encoding="utf-8", newline="")
    with pytest.raises(InputError) as caught:
        read_bill(tmp_path / "a.csv")
    assert caught.value.message == (
        f"{tmp_path}/a.csv: line 3: found a header with other columns than the first, expected one layout"
    )


def test_a_refusal_is_one_line_without_its_row() -> None:
    refused = Rejected("a.csv", 3, "BilledCost", "'x'", "a number", record='{"BilledCost": "x"}')
    assert refused.reason == "a.csv: line 3, column BilledCost: found 'x', expected a number"
