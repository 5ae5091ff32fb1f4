"""Each way in which a bill is broken, through the command line: where, what was found and expected, a hint."""

import gzip
import io
import json
from collections.abc import Mapping
from pathlib import Path

import polars as pl
import pytest

from tests.app.conftest import Command
from tests.collectors.billing.bills import ROW, text

DAYS = [
    {"ChargePeriodStart": f"2026-01-{day:02d}T00:00:00Z", "ChargePeriodEnd": f"2026-01-{day:02d}T01:00:00Z"}
    for day in range(1, 31)
]


def _parquet(**given: object) -> bytes:
    out = io.BytesIO()
    pl.DataFrame([{**ROW, **given}] * 50).write_parquet(out)
    return out.getvalue()


REFUSED: Mapping[str, tuple[str, bytes, str, str]] = {
    "a missing column": (
        "bill.csv",
        text([{}], without=["ChargePeriodStart"]).encode(),
        "line 1: found no column ChargePeriodStart, expected all that FOCUS makes mandatory",
        "export with all columns, or state what the file lacks under [money.bill_defaults]",
    ),
    "a missing cost": (
        "bill.csv",
        text([{}], without=["BilledCost", "BillingCurrency"]).encode(),
        "line 1: found no column BilledCost, BillingCurrency, expected all that FOCUS makes mandatory",
        "export with BilledCost: a cost is nothing that could be stated for all rows",
    ),
    "a wrong type in every row": (
        "bill.csv",
        text([{"BilledCost": "lots"}] * 3).encode(),
        (
            "found no row that can be kept, expected at least one; 3 rows, the first at line 2, column BilledCost: "
            "found 'lots', expected a decimal number such as -12.50"
        ),
        "correct the file and import it again",
    ),
    "a flag for a cost": (
        "bill.parquet",
        _parquet(BilledCost=True),
        "row 1, column BilledCost: found 'true', expected a decimal number such as -12.50",
        "correct the file and import it again",
    ),
    "an empty file": ("bill.csv", b"", "found an empty file, expected a bill", "export it again"),
    "a header alone": (
        "bill.csv",
        text([]).encode(),
        "found a header and no rows, expected charges",
        "export it again",
    ),
    "a truncated Parquet file": (
        "bill.parquet",
        _parquet()[:-30],
        "found a Parquet file without its end",
        "fetch the file again, and compare its size with the original",
    ),
    "a truncated gzip file": (
        "bill.csv.gz",
        gzip.compress(text([{}] * 50).encode(), mtime=0)[:-20],
        "found a gzip stream that is cut or damaged",
        "fetch the file again, and compare its size with the original",
    ),
    "no bill": (
        "bill.csv",
        b"name,age\nx,1\n",
        "found name, age, expected one of",
        "name the format with --format, or check that bill.csv is a bill",
    ),
    "a page of a browser": (
        "bill.csv",
        b"<html><body>Sign in</body></html>",
        "expected one of",
        "name the format with --format, or check that bill.csv is a bill",
    ),
    "a spreadsheet": (
        "bill.csv",
        b"PK\x03\x04rest",
        "found a zip archive or a spreadsheet, expected CSV, gzipped CSV or Parquet",
        "export it as CSV or Parquet",
    ),
    "a column that is there twice": (
        "bill.csv",
        text([{"billedcost": "1"}]).encode(),
        "line 1: found column 'billedcost' twice, expected each column once",
        "export the file again",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_kept_is_one_line_and_a_hint(command: Command, home: Path, case: str) -> None:
    name, content, message, hint = REFUSED[case]
    (home / name).write_bytes(content)
    ended = command("ingest", name)
    assert ended.code == 2
    (error,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert error.startswith(f"error: {name}: ")
    assert message in error
    assert f"  hint: {hint}" in ended.err
    assert "Traceback" not in ended.err


KEPT: Mapping[str, tuple[list[dict[str, str]], str]] = {
    "words for nothing": (
        [{"ResourceId": "NULL", "Tags": "N/A", "InvoiceIssuerName": ""}],
        "3 cells such as 'NULL' or '' read as null",
    ),
    "instants without a zone": (
        [{"ChargePeriodStart": "2026-01-01 00:00:00"}],
        "1 instant without a zone taken as UTC",
    ),
    "an unknown cost": ([{"ListCost": ""}], ""),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_can_be_read_is_kept_and_told(command: Command, home: Path, case: str) -> None:
    rows, remark = KEPT[case]
    (home / "bill.csv").write_text(text(rows), encoding="utf-8")
    ended = command("ingest", "bill.csv", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["files"][0]["rows"] == len(rows)
    assert f"bill.csv: {remark}" in ended.err


def test_two_currencies_are_two_totals(command: Command, home: Path) -> None:
    (home / "two.csv").write_text(text([{}, {"BillingCurrency": "EUR"}]), encoding="utf-8")
    ended = command("ingest", "two.csv", "--json")
    assert json.loads(ended.out)["files"][0]["billed_cost"] == {"EUR": "1.5", "USD": "1.5"}
    assert "two.csv: charges in EUR and USD are kept apart: their amounts are never added" in ended.err
    (home / "word.csv").write_text(text([{}, {"BillingCurrency": "Dollar"}]), encoding="utf-8")
    ended = command("ingest", "word.csv")
    assert "line 3, column BillingCurrency: found 'Dollar', expected three letters of ISO 4217" in ended.err


def test_twenty_seven_decimals_are_summed_before_they_are_rounded(command: Command, home: Path) -> None:
    tiny = {"BilledCost": "0.000000000000000000600000001"}
    (home / "bill.csv").write_text(text([tiny] * 3), encoding="utf-8")
    ended = command("ingest", "bill.csv", "--json")
    assert json.loads(ended.out)["files"][0]["billed_cost"] == {"USD": "0.000000000000000002"}
    kept = json.loads(command("sql", "SELECT residue_text FROM bill_import", "--format", "json").out)
    assert kept == [{"residue_text": "-0.000000000000000001199999997"}]


def test_half_a_period_waits_for_a_person(command: Command, home: Path) -> None:
    bill = home / "bill.csv"
    bill.write_text(text(DAYS), encoding="utf-8")
    command("ingest", "bill.csv")
    bill.write_text(text(DAYS[:15]), encoding="utf-8")
    ended = command("ingest", "bill.csv")
    assert ended.code == 2
    (error,) = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert error.startswith("error: bill.csv: account acc-1, period 2026-01: found 15 charge days, expected the 30")
    assert "hint: import it again with --accept if it is right; until then the earlier bill counts" in ended.err
    assert command("ingest", "bill.csv", "--accept").code == 0


def test_what_only_the_ledger_refuses_is_told_too(command: Command, home: Path) -> None:
    head = "region,instance_type,usd_per_hour_on_demand,gpu_count,gpu_memory_mib_each,price_date"
    lines = [f"us-east-1,p5.{size}xlarge,98.32,8,{memory},2026-07-01" for size, memory in ((48, 81920), (4, -1))]
    (home / "prices.csv").write_text("\n".join([head, *lines]), encoding="utf-8")
    ended = command("ingest", "prices.csv", "--json")
    file = json.loads(ended.out)["files"][0]
    assert (file["rows"], file["rejected"]) == (1, 1)
    assert "prices.csv: 1 row left out of price: see `rejected_row`" in ended.err
    kept = json.loads(command("sql", "SELECT reason, fault FROM rejected_row", "--format", "json").out)
    assert kept == [
        {
            "reason": "gpu_memory_bytes: found -1048576.0, expected at least 0.0",
            "fault": "gpu_memory_bytes: expected at least 0.0",
        }
    ]


def test_a_refused_row_is_kept_as_the_file_has_it(command: Command, home: Path) -> None:
    """That is how a person finds it; rows with one fault are one line with the first of them."""
    bad = {"BilledCost": "lots", "ResourceId": "i-2"}
    (home / "bill.csv").write_text(text([{}, bad, {**bad, "ResourceId": "i-3"}]), encoding="utf-8")
    ended = command("ingest", "bill.csv")
    assert "2 rows, the first at line 3, column BilledCost: found 'lots'" in ended.err
    kept = json.loads(command("sql", "SELECT row_json FROM rejected_row ORDER BY reason", "--format", "json").out)
    assert [json.loads(each["row_json"]) for each in kept] == [{**ROW, **bad}, {**ROW, **bad, "ResourceId": "i-3"}]


def test_rows_in_an_open_cell_are_told(command: Command, home: Path) -> None:
    lines = text([{}] * 4, end="\n").splitlines()
    lines[2] = lines[2][:-1]
    (home / "bill.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ended = command("ingest", "bill.csv", "--json")
    file = json.loads(ended.out)["files"][0]
    assert (file["rows"], file["rejected"], file["billed_cost"]) == (2, 1, {"USD": "3"})
    assert "line 3, column Tags: found a quote that closes in line 4, with 2 rows in its cell" in ended.err
