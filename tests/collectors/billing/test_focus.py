"""FOCUS exports come in whole: every digit, every currency, every good row."""

import gzip
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import obstore
import polars as pl
import pytest
from obstore.store import LocalStore

from collectors.billing._format import Imported
from collectors.billing._read import read_bill
from ledger import money
from ledger.errors import InputError
from ledger.tables import BillImport, FocusCharge
from tests.collectors.billing.bills import ROW, bill, text

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def _charges(read: Imported) -> pl.DataFrame:
    FocusCharge.validate(read.tables[FocusCharge])
    BillImport.validate(read.imports)
    return read.tables[FocusCharge]


def _typed(rows: list[Mapping[str, str]]) -> pl.DataFrame:
    """Build a bill as AWS types it in Parquet: doubles, naive timestamps, tags as a map."""
    frame = pl.DataFrame([{**ROW, **row} for row in rows])
    instants = [
        pl.col(name).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="ns")
        for name in ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
    ]
    costs = [pl.col(name).cast(pl.Float64) for name in ("BilledCost", "EffectiveCost", "PricingQuantity")]
    tags = pl.lit([{"key": "team", "value": "vision"}]).alias("Tags")
    return frame.with_columns(*instants, *costs, pl.col("ListCost").cast(pl.Decimal(30, 15)), tags)


def test_a_row_keeps_its_meaning_under_todays_names(tmp_path: Path) -> None:
    read = read_bill(bill(tmp_path / "a.csv", {"InvoiceId": "NULL"}), imported_at=NOW)
    row = _charges(read).row(0, named=True)
    assert read.format == "focus"
    assert read.version == "1.2"
    assert row["BilledCost"] == Decimal("1.5")
    assert row["ServiceProviderName"] == "Cloud"
    assert row["HostProviderName"] == "Host"
    assert row["InvoiceId"] == ""
    assert row["ChargePeriodEnd"] == datetime(2026, 1, 1, 1, tzinfo=UTC)
    assert row["unknown_reason"] is None
    assert json.loads(row["Tags"]) == {"team": "vision"}
    stated = read.imports.row(0, named=True)
    assert stated["billed_cost"] == Decimal("1.5")
    assert stated["imported_at"] == NOW
    assert stated["source_name"] == "a.csv"
    assert stated["complete_through"] == row["ChargePeriodEnd"]
    assert stated["normalised_count"] == 1
    assert read.rejected == ()


@pytest.mark.parametrize(
    ("columns", "version"),
    [
        ({}, "1.0"),
        ({"SkuMeter": "m"}, "1.1"),
        ({"PricingCurrency": "USD"}, "1.2"),
        ({"ServiceProviderName": "Cloud"}, "1.3"),
        ({"ServiceProviderName": "Cloud", "InvoiceDetailId": "1"}, "1.4"),
    ],
)
def test_the_version_is_told_from_the_columns(tmp_path: Path, columns: dict[str, str], version: str) -> None:
    assert read_bill(bill(tmp_path / "a.csv", columns)).version == version


def test_all_containers_give_the_same_charges(tmp_path: Path) -> None:
    rows = [{"BilledCost": "0.1"}, {"BilledCost": "-2.00000001", "ChargeCategory": "Credit", "Tags": ""}]
    plain = text(rows)
    (tmp_path / "plain.csv").write_text(plain, newline="")
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + plain.encode())
    (tmp_path / "wide.csv").write_bytes(plain.encode("utf-16"))
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(plain.encode()))
    (tmp_path / "semicolon.csv").write_text(
        pl.read_csv(plain.encode(), infer_schema=False).write_csv(separator=";"), newline=""
    )
    pl.read_csv(plain.encode(), infer_schema=False).write_parquet(tmp_path / "texts.parquet")
    frames = [_charges(read_bill(each)).drop("import_id") for each in sorted(tmp_path.iterdir())]
    assert len(frames) == 6
    for frame in frames:
        assert frame.equals(frames[0])
    assert money.total(frames[0]["BilledCost"]) == Decimal("-1.90000001")


def test_parquet_doubles_are_read_by_their_shortest_text(tmp_path: Path) -> None:
    _typed([{"BilledCost": "0.1"}, {"BilledCost": "1e-7"}]).write_parquet(tmp_path / "a.parquet")
    read = read_bill(tmp_path / "a.parquet")
    charges = _charges(read)
    assert charges["BilledCost"].to_list() == [Decimal("0.1"), Decimal("0.0000001")]
    assert charges["ListCost"].to_list() == [Decimal(2), Decimal(2)]
    assert charges["Tags"].to_list() == ['{"team": "vision"}'] * 2
    assert charges["BillingPeriodStart"][0] == datetime(2026, 1, 1, tzinfo=UTC)
    assert read.naive_instant_count == 8
    assert read.imports["naive_instant_count"].sum() == 8


def test_a_folder_is_one_import_and_a_manifest_names_its_files(tmp_path: Path) -> None:
    bill(tmp_path / "run/part-1.csv", {"BilledCost": "1"}, {"BilledCost": "2"})
    bill(tmp_path / "run/part-2.csv", {"BilledCost": "3", "BillingCurrency": "EUR"})
    (tmp_path / "run/readme.md").write_text("not data")
    whole = read_bill(tmp_path / "run")
    assert _charges(whole)["row_index"].to_list() == [0, 1, 2]
    assert whole.source_name == str((tmp_path / "run").resolve())
    assert whole.imports["billing_currency"].to_list() == ["EUR", "USD"]
    manifest = tmp_path / "run/manifest.json"
    manifest.write_text(json.dumps({"blobs": [{"blobName": "exports/run/part-2.csv", "dataRowCount": 1}]}))
    assert _charges(read_bill(manifest))["BilledCost"].to_list() == [Decimal(3)]
    manifest.write_text(json.dumps({"dataFiles": ["s3://bucket/run/part-9.csv"]}))
    with pytest.raises(InputError, match=r"part-9\.csv, found no such file"):
        read_bill(manifest)


def test_an_object_store_gives_what_the_folder_gives(tmp_path: Path) -> None:
    store = LocalStore(str(tmp_path / "bucket"), mkdir=True)
    obstore.put(store, "exports/2026-01/a.csv", text([{"BilledCost": "7"}]).encode())
    obstore.put(store, "exports/2026-01/b.csv", text([{"BilledCost": "8"}]).encode())
    url = f"file://{tmp_path}/bucket/exports/2026-01"
    assert money.total(_charges(read_bill(url))["BilledCost"]) == 15
    assert read_bill(url).source_name == url
    one = read_bill(f"{url}/a.csv")
    assert _charges(one)["BilledCost"].to_list() == [Decimal(7)]
    assert one.source_name == "a.csv"
    with pytest.raises(InputError, match="found nothing there"):
        read_bill(f"{url}/c.csv")


def test_twenty_seven_decimals_are_summed_before_they_are_rounded(tmp_path: Path) -> None:
    rows = [{"BilledCost": "0.000000000000000000400000000"}] * 5
    read = read_bill(bill(tmp_path / "a.csv", *rows))
    assert _charges(read)["BilledCost"].to_list() == [Decimal(0)] * 5
    stated = read.imports.row(0, named=True)
    assert stated["billed_cost"] == Decimal("2e-18")
    assert stated["residue"] == Decimal("2e-18")


def test_currencies_accounts_and_periods_stay_apart(tmp_path: Path) -> None:
    read = read_bill(
        bill(
            tmp_path / "a.csv",
            {"BilledCost": "1"},
            {"BilledCost": "10", "BillingCurrency": "JPY"},
            {"BillingAccountId": "acc-2"},
            {"BillingPeriodStart": "2025-12-01T00:00:00Z", "ChargeClass": "Correction", "BilledCost": "-0.25"},
        )
    )
    _charges(read)
    units = read.imports.select("billing_account_id", "billing_currency", "billed_cost").rows()
    assert units == [
        ("acc-1", "USD", Decimal("-0.25")),
        ("acc-1", "JPY", Decimal(10)),
        ("acc-1", "USD", Decimal(1)),
        ("acc-2", "USD", Decimal("1.5")),
    ]


def test_words_for_nothing_are_null_and_counted(tmp_path: Path) -> None:
    read = read_bill(
        bill(
            tmp_path / "a.csv",
            {"ListCost": "NULL", "ResourceId": "Not Applicable", "PublisherName": "N/A", "Tags": "null"},
        )
    )
    row = _charges(read).row(0, named=True)
    assert [row[name] for name in ("ListCost", "ResourceId", "HostProviderName", "Tags")] == [None] * 4
    assert row["unknown_reason"] == "ListCost is empty at the source"
    assert read.normalised_count == 4


def test_naive_instants_are_utc_and_counted(tmp_path: Path) -> None:
    read = read_bill(
        bill(
            tmp_path / "a.csv",
            {"ChargePeriodStart": "2026-01-01 00:00:00", "ChargePeriodEnd": "2026-01-01T02:00:00+01:00"},
            {"ChargePeriodStart": "2026-01-01", "ChargePeriodEnd": "2026-01-01 01:00:00 UTC"},
        )
    )
    charges = _charges(read)
    assert charges["ChargePeriodStart"].to_list() == [datetime(2026, 1, 1, tzinfo=UTC)] * 2
    assert charges["ChargePeriodEnd"].to_list() == [datetime(2026, 1, 1, 1, tzinfo=UTC)] * 2
    assert read.naive_instant_count == 2


def test_a_zero_that_cannot_be_true_is_unknown(tmp_path: Path) -> None:
    read = read_bill(
        bill(
            tmp_path / "a.csv",
            {"BilledCost": "0", "EffectiveCost": "3", "ListCost": "0", "ContractedCost": "0"},
            {"BilledCost": "0", "EffectiveCost": "0", "ListCost": "0", "ContractedCost": "0"},
            {"BilledCost": "-3", "ListCost": "0", "ContractedCost": "0", "ChargeCategory": "Credit"},
        )
    )
    charges = _charges(read)
    assert charges["ListCost"].to_list() == [None, 0, 0]
    assert charges["ContractedCost"].to_list() == [None, 0, 0]
    assert charges["unknown_reason"][0] == (
        "ListCost is 0 at the source for usage with a cost; ContractedCost is 0 at the source for usage with a cost"
    )


def test_columns_for_other_costs_may_be_absent(tmp_path: Path) -> None:
    read = read_bill(bill(tmp_path / "a.csv", {}, without=["ListCost", "ContractedCost", "EffectiveCost", "Tags"]))
    row = _charges(read).row(0, named=True)
    assert row["EffectiveCost"] is None
    assert row["unknown_reason"].startswith("EffectiveCost is empty at the source; ListCost")


def test_bad_rows_are_named_and_good_rows_stay(tmp_path: Path) -> None:
    path = bill(
        tmp_path / "a.csv",
        {"ChargeDescription": "two\nlines"},
        {"BilledCost": "1,5"},
        {"ChargePeriodStart": "yesterday"},
        {"ChargeCategory": "usage"},
        {"BillingCurrency": "Dollar"},
        {"ChargePeriodEnd": "2025-12-31T00:00:00Z"},
        {"BillingAccountId": ""},
        {"BilledCost": ""},
        {name: name for name in ROW} | {"ChargeDescription": "ChargeDescription"},
        {"BilledCost": "4"},
    )
    with path.open("a", newline="") as file:
        file.write("1,2,3\r\n")
    read = read_bill(path)
    assert _charges(read)["row_index"].to_list() == [0, 9]
    assert [each.reason.removeprefix(f"{path}: ") for each in read.rejected] == [
        "line 4, column BilledCost: found '1,5', expected a decimal number such as -12.50",
        "line 5, column ChargePeriodStart: found 'yesterday', expected an instant such as 2026-01-01T00:00:00Z",
        "line 6, column ChargeCategory: found 'usage', expected one of Usage, Purchase, Tax, Credit, Adjustment",
        "line 7, column BillingCurrency: found 'Dollar', expected three letters of ISO 4217",
        "line 8, column ChargePeriodEnd: found '2025-12-31T00:00:00Z', expected ChargePeriodStart or later",
        "line 9, column BillingAccountId: found nothing, expected a value in every row",
        "line 10, column BilledCost: found nothing, expected a decimal number such as -12.50",
        "line 11: found the header again, expected a row",
        "line 13: found 3 cells, expected 20 as in the header",
    ]
    stated = read.imports.row(0, named=True)
    assert stated["row_count"] == 2
    assert stated["rejected_count"] == 9
    # The source's total has the refused rows whose cost can be read: the difference stays visible.
    assert stated["billed_cost"] == Decimal("1.5") + 4 + Decimal("1.5") * 3


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "0001-01-01T00:00:00+05:00", "9999-12-31T00:00:00Z"])
@pytest.mark.parametrize("is_typed", [False, True])
def test_a_time_that_means_unknown_is_no_time(tmp_path: Path, at: str, is_typed: bool) -> None:
    """.NET writes the year 1 for a date that it does not know, others 9999: no hour of them is in the ledger."""
    whole = {"ChargePeriodStart": at, "ChargePeriodEnd": at}
    path = bill(tmp_path / "a.csv", {}, whole)
    if is_typed and "+" not in at:
        path = tmp_path / "a.parquet"
        instants = [name for name in ROW if name.endswith(("Start", "End"))]
        typed = [pl.col(name).str.to_datetime(time_zone="UTC") for name in instants]
        pl.DataFrame([ROW, {**ROW, **whole}]).with_columns(typed).write_parquet(path)
    read = read_bill(path)
    assert _charges(read).height == 1
    (refused,) = read.rejected
    assert (refused.column, refused.found[:6]) == ("ChargePeriodStart", repr(at)[:6])
    assert refused.expected.startswith("an instant")


def test_a_quote_that_closes_in_the_next_row_refuses_both(tmp_path: Path) -> None:
    path = bill(tmp_path / "a.csv", {}, {}, {})
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace('"{', '"{', 1).replace('}"', "}")
    path.write_text("\n".join(lines))
    read = read_bill(path)
    assert _charges(read).height == 1
    assert [each.found for each in read.rejected] == ["a quote that closes in line 4, with 2 rows in its cell"]
    assert read.rejected[0].line == 3


def _whole_parquet() -> bytes:
    out = io.BytesIO()
    pl.DataFrame([ROW]).write_parquet(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "found an empty file, expected a bill"),
        ("a.csv", b"\n \n", "found an empty file, expected a bill"),
        ("a.csv", text([]).encode(), "found a header and no rows"),
        ("a.csv", b"name,age\nx,1\n", "found name, age, expected one of"),
        ("a.csv", b"<html><body>Sign in</body></html>", "expected one of"),
        ("a.csv", bytes(range(256)) * 20, "found binary data"),
        ("a.csv", b"\x93\xff\x91" * 200, "no UTF-8 text at byte 0"),
        ("a.csv", b"PK\x03\x04rest", "found a zip archive or a spreadsheet"),
        (
            "a.tar.gz",
            gzip.compress(b"a.csv".ljust(257, b"\0") + b"ustar".ljust(255, b"\0"), mtime=0),
            "found a tar archive",
        ),
        (
            "a.csv",
            text([{}], without=["BilledCost", "ProviderName"]).encode(),
            "no column BilledCost, ServiceProviderName",
        ),
        ("a.csv", text([{"billedcost": "1"}]).encode(), "found column 'billedcost' twice"),
        ("a.csv.gz", gzip.compress(text([{}] * 50).encode(), mtime=0)[:-20], "gzip stream that is cut or damaged"),
        ("a.csv.gz", b"\x1f\x8bgarbage", "gzip stream that is cut or damaged"),
        ("a.parquet", _whole_parquet()[:-30], "Parquet file without its end"),
        ("a.parquet", b"PAR1" + b"\0" * 50 + b"PAR1", "damaged Parquet file"),
    ],
)
def test_what_is_no_bill_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_bill(tmp_path / name)
    assert message in caught.value.message
    assert caught.value.message.startswith(str(tmp_path / name))
    assert "\n" not in caught.value.message


def test_a_missing_path_and_an_empty_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing there"):
        read_bill(tmp_path / "nothing.csv")
    with pytest.raises(InputError, match="found no file that could be a bill"):
        read_bill(tmp_path)
    with pytest.raises(InputError, match="format: found 'focsu'"):
        read_bill(bill(tmp_path / "a.csv", {}), format="focsu")


def test_the_same_bytes_under_the_same_name_are_the_same_import(tmp_path: Path) -> None:
    first = read_bill(bill(tmp_path / "x/a.csv", {}))
    again = read_bill(bill(tmp_path / "y/a.csv", {}))
    other = read_bill(bill(tmp_path / "x/b.csv", {}))
    assert first.import_id == again.import_id
    assert other.import_id != first.import_id
    assert other.sha256 == first.sha256


@pytest.mark.real_data
def test_the_real_sample_sums_to_the_last_digit(shared_data: Path) -> None:
    name = "billing/focus/focus_1.0_sample_aws_1to15_microsoft.csv"
    expected = json.loads((shared_data / "expected.json").read_text())[name]
    read = read_bill(shared_data / name)
    charges = _charges(read)
    assert charges.height == expected["rows"]
    assert read.rejected == ()
    for column in ("BilledCost", "EffectiveCost", "ListCost"):
        assert money.total(charges[column]) == Decimal(expected[column])
    for column, key in (("ServiceProviderName", "provider"), ("ServiceCategory", "ServiceCategory")):
        sums = money.summed(charges, by=[column], columns=["BilledCost"])
        assert dict(sums.rows()) == {k: Decimal(v) for k, v in expected[f"BilledCost_by_{key}"].items()}
    assert read.imports["billed_cost"].sum() == Decimal(expected["BilledCost"])
    assert read.naive_instant_count == 4 * charges.height
    assert read.remarks[-1] == "columns that are not kept: Id"


EXAMPLES = {
    "commitment_discount_usage_scenario_1": (1, "0", "1"),
    "commitment_discount_usage_scenario_2": (1, "0", "1"),
    "commitment_discount_usage_scenario_3": (2, "0", "1"),
    "commitment_discount_usage_scenario_4": (2, "0.5", "1.5"),
    "one_hundred_percent_utilization_with_commitment_discount_flexibility_with_1_resource": (3, "2.75", "2.75"),
    "one_hundred_percent_utilization_with_commitment_discount_flexibility_with_2_resources": (3, "2", "2"),
    "one_hundred_percent_utilization_without_commitment_discount_flexibility": (2, "1.5", "1.5"),
    "zero_percent_utilization_without_commitment_discount_flexibility": (3, "3.5", "3.5"),
}


@pytest.mark.real_data
@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_worked_examples_come_in_with_what_they_leave_out_stated(shared_data: Path, name: str) -> None:
    """They show only the columns of their lesson: account, currency and provider are stated for the whole file."""
    path = shared_data / f"billing/focus/spec_examples/{name}.csv"
    with pytest.raises(InputError, match="BillingAccountId, BillingCurrency, ServiceProviderName"):
        read_bill(path)
    stated = {"BillingAccountId": "example", "BillingCurrency": "USD", "ProviderName": "Example"}
    read = read_bill(path, defaults=stated)
    charges = _charges(read)
    count, billed, effective = EXAMPLES[name]
    assert charges.height == count
    assert read.rejected == ()
    assert money.total(charges["BilledCost"]) == Decimal(billed)
    assert money.total(charges["EffectiveCost"]) == Decimal(effective)
    assert set(charges["InvoiceIssuerName"]) == {"Example"}


@pytest.mark.real_data
def test_focus_0_5_is_named_and_refused(shared_data: Path) -> None:
    with pytest.raises(InputError, match="found FOCUS 0"):
        read_bill(shared_data / "billing/focus/focus_0.5_all_pass.csv")


def test_a_cell_of_a_megabyte_is_read_and_rows_are_still_told(tmp_path: Path) -> None:
    path = bill(tmp_path / "a.csv", {"ChargeDescription": "x" * 2**20}, {"BilledCost": "much"}, {})
    with path.open("a", newline="") as file:
        file.write("1,2\r\n")
    read = read_bill(path)
    assert _charges(read).height == 2
    assert [each.found for each in read.rejected] == ["'much'", "2 cells"]


def test_a_header_that_never_ends_is_no_bill(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"' + "x" * 2**20)
    with pytest.raises(InputError, match="expected one of"):
        read_bill(tmp_path / "a.csv")


def test_a_total_less_its_residue_is_what_the_rows_sum_to(tmp_path: Path) -> None:
    path = bill(tmp_path / "bill.csv", *({"BilledCost": f"0.{each:0>19}"} for each in ("15", "10")))
    found = read_bill(path)
    row = found.imports.row(0, named=True)
    assert money.total(found.tables[FocusCharge]["BilledCost"]) == Decimal("3e-18")
    assert (row["billed_cost"], row["residue"]) == (Decimal("2e-18"), Decimal("-1e-18"))
    assert row["residue_text"] == "-0.0000000000000000005"
