"""FOCUS 1.0 to 1.4 say the same charge in other columns; AWS's export leaves some of them out."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.billing import _csv
from collectors.billing._read import read_bill
from ledger import money
from ledger.tables import FocusCharge
from tests.collectors.billing.bills import ROW, bill

# Until 1.2 a provider and a publisher, from 1.3 on who provides and who hosts; each version adds columns.
_PROVIDERS = ("ProviderName", "PublisherName")
_SINCE: Mapping[str, Mapping[str, str]] = {
    "1.0": {"ProviderName": "Cloud", "PublisherName": "Host"},
    "1.1": {
        "ProviderName": "Cloud", "PublisherName": "Host", "SkuMeter": "meter", "ServiceSubcategory": "Virtual Machines",
        "CapacityReservationId": "cr-1", "CapacityReservationStatus": "Used", "CommitmentDiscountQuantity": "2",
        "SkuPriceDetails": '{"InstanceType": "p5"}',
    },
    "1.2": {
        "ProviderName": "Cloud", "PublisherName": "Host", "SkuMeter": "meter", "InvoiceId": "inv-1",
        "BillingAccountType": "Payer", "SubAccountType": "Member", "PricingCurrency": "USD",
        "PricingCurrencyEffectiveCost": "9",
    },
    "1.3": {
        "ServiceProviderName": "Cloud", "HostProviderName": "Host", "InvoiceId": "inv-1", "AllocatedMethodId": "",
        "ContractApplied": "",
    },
    "1.4": {
        "ServiceProviderName": "Cloud", "HostProviderName": "Host", "InvoiceId": "inv-1", "InvoiceDetailId": "line-1",
        "CommitmentProgramEligibilityDetails": "{}",
    },
}  # fmt: skip


@pytest.mark.parametrize("version", _SINCE)
def test_each_version_gives_the_same_charge(tmp_path: Path, version: str) -> None:
    path = bill(tmp_path / "a.csv", _SINCE[version], without=_PROVIDERS if version >= "1.3" else ())
    parquet = tmp_path / "a.parquet"
    pl.read_csv(path, infer_schema=False).write_parquet(parquet)
    for each in (path, parquet):
        read = read_bill(each)
        assert (read.format, read.version, read.rejected) == ("focus", version, ())
        row = read.tables[FocusCharge].row(0, named=True)
        assert (row["ServiceProviderName"], row["HostProviderName"]) == ("Cloud", "Host")
        assert (row["BilledCost"], row["EffectiveCost"]) == (Decimal("1.5"), Decimal("1.25"))
        kept = {name: value for name, value in _SINCE[version].items() if name in row and value}
        assert {name: str(row[name]).removesuffix(".000000000000000000") for name in kept} == kept
        assert row["InvoiceDetailId"] == ("line-1" if version == "1.4" else None)


def test_a_file_with_old_and_new_names_takes_the_new_ones(tmp_path: Path) -> None:
    path = bill(tmp_path / "a.csv", {"ServiceProviderName": "New", "ProviderName": "Old"})
    assert read_bill(path).tables[FocusCharge]["ServiceProviderName"].to_list() == ["New"]


_GAPS = ("InvoiceIssuerName", "PublisherName", "SkuId", "SkuPriceId", "ListUnitPrice", "ContractedUnitPrice")


def test_what_aws_leaves_out_is_null_or_follows_from_its_own_columns(tmp_path: Path) -> None:
    own = {
        **dict.fromkeys(_GAPS, ""),
        "PricingUnit": "N/A",
        "ProviderName": "AWS",
        "x_UsageType": "USE1-BoxUsage:p5.48xlarge",
        "x_ServiceCode": "AmazonEC2",
    }
    model = {"x_UsageType": "USE1-Claude3Sonnet-output-tokens", "x_ServiceCode": "AmazonBedrock"}
    told = {"SkuMeter": "stated", "SkuPriceDetails": '{"InstanceType": "g5.xlarge"}'}
    read = read_bill(bill(tmp_path / "a.csv", own, {**own, **model}, {**own, **told}))
    assert read.rejected == ()
    rows = read.tables[FocusCharge]
    assert rows["InvoiceIssuerName"].to_list() == ["AWS"] * 3
    assert "3 rows without InvoiceIssuerName: the service provider is taken" in read.remarks
    unknown = ("HostProviderName", "SkuId", "SkuPriceId", "ListUnitPrice", "ContractedUnitPrice", "PricingUnit")
    assert rows.select(unknown).null_count().row(0) == (3,) * len(unknown)
    assert rows["SkuMeter"].to_list() == [own["x_UsageType"], model["x_UsageType"], "stated"]
    assert [json.loads(each) for each in rows["SkuPriceDetails"]] == [
        {"InstanceType": "p5.48xlarge"},
        {"ModelId": "claude3sonnet", "TokenDirection": "Output"},
        {"InstanceType": "g5.xlarge"},
    ]


def test_a_charge_beside_its_parts_is_told(tmp_path: Path) -> None:
    halves = [{"AllocatedMethodId": "by-slice", "BilledCost": "0.75", "EffectiveCost": "0.625"}] * 2
    alone = read_bill(bill(tmp_path / "parts.csv", *halves, {"ResourceId": "i-2"}))
    assert not any("twice" in each for each in alone.remarks)
    both = read_bill(bill(tmp_path / "both.csv", *halves, {"AllocatedMethodId": ""}))
    assert money.total(both.tables[FocusCharge]["BilledCost"]) == 3
    (remark,) = (each for each in both.remarks if "twice" in each)
    assert remark.startswith("found 1 charge beside the parts")


@pytest.mark.parametrize("is_split", [False, True])
def test_a_charge_far_from_its_parts_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_split: bool) -> None:
    """Files are read in parts, and a delivery has several: what belongs together may stand anywhere."""
    monkeypatch.setattr(_csv, "_LARGE_BYTES", 1)
    monkeypatch.setattr(_csv, "_BLOCK_BYTES", 4096)
    monkeypatch.setattr(_csv, "_PART_ROWS", 10)
    half = {"AllocatedMethodId": "by-slice", "BilledCost": "0.75", "EffectiveCost": "0.625"}
    others = [{"AllocatedMethodId": "", "ResourceId": f"j-{each}"} for each in range(60)]
    rows = [half, *others[:30], {"AllocatedMethodId": ""}, *others[30:], half]
    if is_split:
        bill(tmp_path / "run/a.csv", *rows[:40])
        bill(tmp_path / "run/b.csv", *rows[40:])
    else:
        bill(tmp_path / "run/a.csv", *rows)
    sizes: list[int] = []
    read = read_bill(tmp_path / "run", sink=lambda charges: sizes.append(charges.height))
    assert len(sizes) > 2
    (remark,) = (each for each in read.remarks if "twice" in each)
    assert remark.startswith("found 1 charge beside the parts")


def test_a_price_that_aws_writes_as_zero_is_unknown(tmp_path: Path) -> None:
    rows = read_bill(bill(tmp_path / "a.csv", {"ListCost": "0", "ContractedCost": "0"})).tables[FocusCharge]
    assert rows.select("ListCost", "ContractedCost").row(0) == (None, None)
    assert rows["unknown_reason"][0] is not None


def test_partitioned_folders_are_one_delivery(tmp_path: Path) -> None:
    for month, cost in (("2026-09", 1.1), ("2026-10", 2.2)):
        part = pl.DataFrame([{**ROW, "BillingPeriodStart": f"{month}-01T00:00:00Z"}]).with_columns(
            BilledCost=pl.lit(cost), BillingPeriodEnd=pl.lit("2026-11-01T00:00:00Z")
        )
        folder = tmp_path / f"export/data/BILLING_PERIOD={month}"
        folder.mkdir(parents=True)
        part.write_parquet(folder / "export-00001.snappy.parquet")
    (tmp_path / "export/metadata/BILLING_PERIOD=2026-10").mkdir(parents=True)
    (tmp_path / "export/metadata/BILLING_PERIOD=2026-10/export-Manifest.json").write_text('{"dataFiles": []}')
    read = read_bill(tmp_path / "export")
    assert read.tables[FocusCharge]["BilledCost"].to_list() == [Decimal("1.1"), Decimal("2.2")]
    assert read.imports.height == 2


_ROWS = 280_000


def _large(path: Path, *, bad: int | None = None) -> Path:
    """Write a bill of more rows than one part has, typed as AWS types it; the first of all costs is no number."""
    row = pl.int_range(_ROWS, eager=True)
    costs = ("0." + (row % 97).cast(pl.String).str.zfill(2)).cast(pl.Float64)
    frame = pl.DataFrame([ROW]).drop("BilledCost", "Tags").select(pl.all().repeat_by(_ROWS).explode())
    pairs = pl.Series(
        [[{"key": "team", "value": '"a"'}], [{"key": "team", "value": None}], None],
        dtype=pl.List(pl.Struct({"key": pl.String, "value": pl.String})),
    )
    frame = frame.with_columns(
        BilledCost=pl.select(pl.when(row != (-1 if bad is None else bad)).then(costs)).to_series(),
        ResourceId=pl.select(pl.when(row % 3 > 0).then(pl.format(" i-{} ", row % 7))).to_series(),
        InvoiceId=pl.select(pl.when(row % 2 == 0).then(pl.lit("NULL")).otherwise(pl.lit("inv"))).to_series(),
        Tags=pairs.gather(row % 3),
        PricingQuantity=row.cast(pl.Decimal(20, 4)),
        ChargePeriodStart=pl.lit("2026-01-01T00:00:00").str.to_datetime(time_unit="ms"),
    )
    frame.write_parquet(path, row_group_size=70_000)
    return path


def test_a_large_file_comes_in_parts_that_are_the_whole(tmp_path: Path) -> None:
    path = _large(tmp_path / "a.parquet", bad=260_001)
    whole = read_bill(path)
    parts: list[pl.DataFrame] = []
    read = read_bill(path, sink=parts.append)
    assert [each.height for each in parts] == [250_000, 29_999]
    assert pl.concat(parts).equals(whole.tables[FocusCharge])
    assert (read.row_count, read.tables[FocusCharge].height) == (_ROWS - 1, 0)
    assert read.imports.drop("imported_at").equals(whole.imports.drop("imported_at"))
    # What was refused is said with its row in the file, not in the part.
    assert [each.line for each in read.rejected] == [260_002]
    assert read.rejected == whole.rejected
    assert f"{_ROWS // 2} cells such as 'NULL' or '' read as null" in read.remarks
    expected = sum(Decimal(each % 97) / 100 for each in range(_ROWS) if each != 260_001)
    assert money.total(whole.imports["billed_cost"]) == expected
    rows = whole.tables[FocusCharge]
    assert rows["row_index"].to_list() == [*range(260_001), *range(260_002, _ROWS)]
    assert rows["ResourceId"][:4].to_list() == [None, "i-1", "i-2", None]
    assert rows["InvoiceId"][:2].to_list() == ["", "inv"]
    assert rows["Tags"][:3].to_list() == ['{"team": "\\"a\\""}', '{"team": null}', None]
    assert rows["PricingQuantity"][9] == Decimal(9)


def test_decimals_that_do_not_fit_are_refused_and_others_are_exact(tmp_path: Path) -> None:
    wide = pl.Series([Decimal(10) ** 21, Decimal("0.1")], dtype=pl.Decimal(38, 10))
    frame = pl.DataFrame([ROW, ROW]).with_columns(BilledCost=wide, ListCost=pl.Series([3, 4], dtype=pl.Int32))
    frame.write_parquet(tmp_path / "a.parquet")
    read = read_bill(tmp_path / "a.parquet")
    assert [each.line for each in read.rejected] == [1]
    assert read.tables[FocusCharge].select("BilledCost", "ListCost").row(0) == (Decimal("0.1"), Decimal(4))
