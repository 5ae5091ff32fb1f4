"""AWS Cost and Usage Reports become FOCUS charges whose sums are AWS's own."""

import csv
import gzip
import io
import json
import tarfile
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.billing._format import Imported
from collectors.billing._read import read_bill
from ledger import money
from ledger.errors import InputError
from ledger.tables import FocusCharge, SplitCharge
from tests.collectors.billing.aws_bills import LINE, PLAN, RESERVATION, line, report


def _charges(read: Imported) -> pl.DataFrame:
    return read.tables[FocusCharge]


def _read(path: Path, *lines: dict[str, str]) -> pl.DataFrame:
    read = read_bill(report(path / "report.csv", *lines))
    assert read.rejected == ()
    return _charges(read)


def test_a_line_of_usage_with_all_its_columns(tmp_path: Path) -> None:
    row = _read(tmp_path, line()).row(0, named=True)
    assert (row["BilledCost"], row["EffectiveCost"], row["ListCost"], row["ContractedCost"]) == (Decimal("98.32"),) * 4
    assert (row["BillingAccountId"], row["SubAccountId"]) == ("111122223333", "444455556666")
    assert (row["InvoiceId"], row["InvoiceIssuerName"]) == ("12345", "Amazon Web Services, Inc.")
    assert (row["ServiceProviderName"], row["HostProviderName"]) == ("AWS", "AWS")
    assert (row["ChargeCategory"], row["ChargeClass"], row["ChargeFrequency"]) == ("Usage", None, "Usage-Based")
    assert (row["ServiceCategory"], row["ServiceSubcategory"]) == ("Compute", "Virtual Machines")
    assert row["ServiceName"] == "Amazon Elastic Compute Cloud"
    assert (row["RegionId"], row["RegionName"], row["AvailabilityZone"]) == (
        "us-east-2",
        "US East (Ohio)",
        "us-east-2a",
    )
    assert (row["SkuId"], row["SkuMeter"]) == ("SKU1", "USE2-BoxUsage:p5.48xlarge")
    assert row["SkuPriceId"] == "SKU1.JRTC.6YS6"
    assert json.loads(row["SkuPriceDetails"]) == {
        "InstanceType": "p5.48xlarge",
        "GpuCount": 8,
        "CoreCount": 192,
        "MemorySize": 2048.0,
    }
    assert (row["PricingCategory"], row["PricingUnit"], row["ConsumedUnit"]) == ("Standard", "Hrs", "Hrs")
    assert (row["ResourceId"], row["ResourceName"], row["ResourceType"]) == ("i-1", "node-1", "Compute Instance")
    assert json.loads(row["Tags"]) == {"Name": "node-1", "team": "vision"}
    # Ordinary usage has a SubscriptionId too: it names no commitment.
    assert row["CommitmentDiscountId"] is None
    assert row["CommitmentDiscountStatus"] is None


@pytest.mark.parametrize(
    ("kind", "category", "frequency"),
    [
        ("Fee", "Purchase", "One-Time"),
        ("Tax", "Tax", "One-Time"),
        ("Credit", "Credit", "One-Time"),
        ("Refund", "Adjustment", "One-Time"),
        ("EdpDiscount", "Adjustment", "Usage-Based"),
        ("PrivateRateDiscount", "Adjustment", "Usage-Based"),
        ("BundledDiscount", "Adjustment", "Usage-Based"),
        ("SppDiscount", "Adjustment", "Usage-Based"),
    ],
)
def test_what_is_no_usage_keeps_its_sign_and_is_billed_whole(
    tmp_path: Path, kind: str, category: str, frequency: str
) -> None:
    row = _read(tmp_path, line(kind, "-12.5", ResourceId="", publicOnDemandCost="")).row(0, named=True)
    assert (row["ChargeCategory"], row["ChargeFrequency"]) == (category, frequency)
    assert row["BilledCost"] == row["EffectiveCost"] == Decimal("-12.5")
    assert row["ResourceId"] is None
    assert row["PricingQuantity"] is None


def test_savings_plan_covered_usage_is_amortised_and_not_billed(tmp_path: Path) -> None:
    plan = {"SavingsPlanARN": PLAN}
    rows = _read(
        tmp_path,
        line("SavingsPlanRecurringFee", "60", TotalCommitmentToDate="60", UsedCommitment="45.5", **plan),
        line("SavingsPlanCoveredUsage", "98.32", SavingsPlanEffectiveCost="45.5", **plan),
        line("SavingsPlanNegation", "-98.32", **plan),
    )
    fee, covered, negation, unused = rows.rows(named=True)
    assert (fee["ChargeCategory"], fee["BilledCost"], fee["EffectiveCost"]) == ("Purchase", Decimal(60), Decimal(0))
    assert fee["ChargeFrequency"] == "Recurring"
    assert (covered["BilledCost"], covered["EffectiveCost"]) == (Decimal(0), Decimal("45.5"))
    assert (covered["ListCost"], covered["ContractedCost"]) == (Decimal("98.32"), Decimal("98.32"))
    assert (covered["CommitmentDiscountStatus"], covered["PricingCategory"]) == ("Used", "Committed")
    assert (negation["BilledCost"], negation["EffectiveCost"], negation["ListCost"]) == (Decimal(0),) * 3
    assert (unused["ChargeCategory"], unused["CommitmentDiscountStatus"]) == ("Usage", "Unused")
    assert (unused["BilledCost"], unused["EffectiveCost"]) == (Decimal(0), Decimal("14.5"))
    assert (unused["ListCost"], unused["ConsumedQuantity"]) == (None, None)
    assert set(rows["CommitmentDiscountId"]) == {PLAN}
    assert set(rows["CommitmentDiscountCategory"]) == {"Spend"}
    assert rows["row_index"].to_list() == [0, 1, 2, 3]
    # The identity of FOCUS: what is used and unused is what was bought.
    assert money.total(rows["EffectiveCost"]) == money.total(rows["BilledCost"]) == Decimal(60)


def test_a_negation_that_does_not_cancel_is_billed(tmp_path: Path) -> None:
    rows = _read(
        tmp_path,
        line("SavingsPlanCoveredUsage", "10.00000000000000000005", SavingsPlanARN=PLAN, SavingsPlanEffectiveCost="6"),
        line("SavingsPlanNegation", "-10", SavingsPlanARN=PLAN),
        line("SavingsPlanCoveredUsage", "7", SavingsPlanARN=PLAN, SavingsPlanEffectiveCost="6", CurrencyCode="EUR"),
        line("SavingsPlanNegation", "-6.75", SavingsPlanARN=PLAN, CurrencyCode="EUR"),
    )
    assert rows["BilledCost"].to_list() == [0, 0, 0, 0, 0, Decimal("0.25")]
    rest = rows.row(5, named=True)
    assert (rest["ChargeCategory"], rest["BillingCurrency"], rest["EffectiveCost"]) == ("Adjustment", "EUR", 0)
    assert rows["row_index"].to_list() == [0, 1, 2, 3, 4, 5]


def test_covered_usage_is_taken_back_in_another_file_of_the_report(tmp_path: Path) -> None:
    """What one file covers and another takes back is no charge of either: only what nobody takes back is left."""
    plan = {"SavingsPlanARN": PLAN}
    covered = [
        line("SavingsPlanCoveredUsage", cost, ResourceId=name, SavingsPlanEffectiveCost="6", **plan)
        for cost, name in (("98.32", "i-a"), ("40", "i-b"))
    ]
    report(tmp_path / "r" / "1.csv", *covered)
    report(tmp_path / "r" / "2.csv", line("SavingsPlanNegation", "-98.32", **plan), line("Usage", "5"))
    report(tmp_path / "r" / "3.csv", line("SavingsPlanNegation", "-39.5", **plan))
    rows = _charges(read_bill(tmp_path / "r"))
    assert rows.filter(pl.col("CommitmentDiscountStatus") == "Used")["BilledCost"].to_list() == [0, 0]
    assert rows.filter(pl.col("BilledCost") != 0).select("ChargeCategory", "BilledCost").rows() == [
        ("Usage", Decimal(5)),
        ("Adjustment", Decimal("0.5")),
    ]
    assert money.total(rows["EffectiveCost"]) == Decimal(17)


def test_a_plan_is_after_discounts_where_the_line_says_so(tmp_path: Path) -> None:
    fee = line(
        "SavingsPlanRecurringFee",
        "60",
        SavingsPlanARN=PLAN,
        TotalCommitmentToDate="80",
        UsedCommitment="60",
        **{
            "savingsPlan/RecurringCommitmentForBillingPeriod": "60",
            "savingsPlan/AmortizedUpfrontCommitmentForBillingPeriod": "20",
            "savingsPlan/NetRecurringCommitmentForBillingPeriod": "54",
            "savingsPlan/NetAmortizedUpfrontCommitmentForBillingPeriod": "18",
        },
    )
    assert _read(tmp_path, fee)["EffectiveCost"].to_list() == [0, Decimal(18)]


def test_reserved_usage_and_what_of_the_reservation_was_not_used(tmp_path: Path) -> None:
    arn = {"ReservationARN": RESERVATION}
    rows = _read(
        tmp_path,
        line("Fee", "1000", **arn),
        line("RIFee", "300", UnusedAmortizedUpfrontFeeForBillingPeriod="10.1", UnusedRecurringFee="20.02", **arn),
        line("DiscountedUsage", "0", EffectiveCost="50.25", **arn),
        line("DiscountedUsage", "0", **arn),
    )
    upfront, fee, used, unknown, unused = rows.rows(named=True)
    assert (upfront["BilledCost"], upfront["EffectiveCost"]) == (Decimal(1000), Decimal(0))
    assert (fee["BilledCost"], fee["EffectiveCost"], fee["ChargeFrequency"]) == (Decimal(300), Decimal(0), "Recurring")
    assert (used["BilledCost"], used["EffectiveCost"]) == (Decimal(0), Decimal("50.25"))
    assert (used["CommitmentDiscountCategory"], used["CommitmentDiscountStatus"]) == ("Usage", "Used")
    # At contracted prices, and without the column that amortises: unknown, which is not 0.
    assert used["ContractedCost"] is None
    assert unknown["EffectiveCost"] is None
    assert "EffectiveCost is empty" in unknown["unknown_reason"]
    assert (unused["EffectiveCost"], unused["CommitmentDiscountStatus"]) == (Decimal("30.12"), "Unused")
    assert set(rows["CommitmentDiscountId"]) == {RESERVATION}


def test_a_discount_counts_once_where_the_report_has_net_columns(tmp_path: Path) -> None:
    net = "lineItem/NetUnblendedCost"
    rows = _read(
        tmp_path,
        line("Usage", "100", **{net: "90"}),
        line("EdpDiscount", "-10", **{net: ""}),
        line("Tax", "5", **{net: "5"}),
    )
    assert money.total(rows["BilledCost"]) == money.total(rows["EffectiveCost"]) == Decimal(95)
    assert rows["BilledCost"].to_list() == [100, -10, 5]
    assert rows["EffectiveCost"].to_list() == [90, 0, 5]
    assert rows["ContractedCost"].to_list() == [90, 0, 5]


def test_split_lines_stand_apart_and_are_never_summed(tmp_path: Path) -> None:
    pod = {
        "splitLineItem/ParentResourceId": "i-1",
        "splitLineItem/SplitCost": "40",
        "splitLineItem/UnusedCost": "9.16",
        "splitLineItem/SplitUsage": "4",
        "splitLineItem/ReservedUsage": "4",
        "splitLineItem/ActualUsage": "",
        "splitLineItem/SplitUsageRatio": "0.5",
        "lineItem/ResourceId": "arn:aws:eks:us-east-2:1:pod/a",
    }
    read = read_bill(
        report(
            tmp_path / "report.csv",
            line(),
            line("Usage", "0", **pod),
            line("Usage", "", **pod),
            line("Usage", "0.5", **pod),
        )
    )
    assert read.rejected == ()
    # A split line with a cost of its own is a charge as well: nothing that is billed goes missing.
    assert _charges(read)["BilledCost"].to_list() == [Decimal("98.32"), Decimal("0.5")]
    splits = read.tables[SplitCharge]
    assert splits["split_cost"].to_list() == [40, 40]
    assert splits["unused_cost"].to_list() == [Decimal("9.16")] * 2
    assert splits.row(0, named=True)["parent_resource_id"] == "i-1"
    assert splits["ActualQuantity"].to_list() == [None, None]
    assert splits["row_index"].n_unique() == 2
    assert "kept apart" in read.remarks[0]
    assert money.total(read.imports["billed_cost"]) == Decimal("98.82")


def test_marketplace_lines_name_seller_and_issuer(tmp_path: Path) -> None:
    sold = {"bill/BillingEntity": "AWS Marketplace", "lineItem/LegalEntity": "Acme Models Ltd", "ProductCode": "3xyz"}
    row = _read(tmp_path, line(**sold)).row(0, named=True)
    assert (row["ServiceProviderName"], row["HostProviderName"]) == ("Acme Models Ltd", "AWS")
    assert row["InvoiceIssuerName"] == "Amazon Web Services, Inc."


@pytest.mark.parametrize(
    ("code", "name", "usage_type", "expected"),
    [
        (
            "AmazonBedrock",
            "Amazon Bedrock",
            "USE1-Claude3.5Sonnet-input-tokens",
            {"ModelId": "claude3.5sonnet", "TokenDirection": "Input"},
        ),
        (
            "AmazonBedrock",
            "Amazon Bedrock",
            "USW2-NovaPro-text-output-tokens",
            {"ModelId": "novapro-text", "TokenDirection": "Output"},
        ),
        (
            "7g37",
            "Claude 3 Opus (Amazon Bedrock Edition)",
            "USE1_InputTokenCount-Units",
            {"ModelId": "claude-3-opus", "TokenDirection": "Input"},
        ),
        (
            "AmazonBedrock",
            "Amazon Bedrock",
            "USE1-Llama3-70B-cache-read-input-token-count",
            {"ModelId": "llama3-70b", "TokenDirection": "Input", "TokenCacheAction": "Read"},
        ),
        ("AmazonSageMaker", "Amazon SageMaker", "USE1-Train:ml.p4d.24xlarge", {"InstanceType": "ml.p4d.24xlarge"}),
    ],
)
def test_managed_ai_names_its_model(
    tmp_path: Path, code: str, name: str, usage_type: str, expected: dict[str, str]
) -> None:
    given_columns = {"ProductCode": code, "ProductName": name, "UsageType": usage_type}
    plain = dict.fromkeys(("instanceType", "gpu", "vcpu", "memory"), "")
    row = _read(tmp_path, line(**given_columns, **plain)).row(0, named=True)
    assert json.loads(row["SkuPriceDetails"]) == expected


def test_spot_is_dynamic_and_the_region_is_found_without_a_column(tmp_path: Path) -> None:
    nowhere = {"regionCode": "", "location": ""}
    rows = _read(
        tmp_path,
        line(UsageType="USW2-SpotUsage:g5.xlarge", AvailabilityZone="", **nowhere),
        line(UsageType="BoxUsage:g5.xlarge", **nowhere),
        line(UsageType="Requests", AvailabilityZone="", **nowhere),
    )
    assert rows["PricingCategory"].to_list() == ["Dynamic", "Standard", "Standard"]
    assert rows["RegionId"].to_list() == ["us-west-2", "us-east-2", None]


def test_capacity_reservations_are_named(tmp_path: Path) -> None:
    arn = "arn:aws:ec2:us-east-2:1:capacity-reservation/cr-1"
    row = _read(
        tmp_path,
        line(
            **{
                "capacityReservation/CapacityReservationArn": arn,
                "capacityReservation/CapacityReservationStatus": "Unused",
            }
        ),
    ).row(0, named=True)
    assert (row["CapacityReservationId"], row["CapacityReservationStatus"]) == (arn, "Unused")


def test_usage_of_an_earlier_month_is_a_correction(tmp_path: Path) -> None:
    rows = _read(
        tmp_path,
        line(UsageStartDate="2026-09-30T23:00:00Z", UsageEndDate="2026-10-01T00:00:00Z"),
        line("Refund", "-5"),
        line(),
    )
    assert rows["ChargeClass"].to_list() == ["Correction", "Correction", None]


def test_words_for_nothing_are_null_and_counted(tmp_path: Path) -> None:
    read = read_bill(report(tmp_path / "report.csv", line(ResourceId="NULL", sku="N/A"), line(gpu="")))
    assert _charges(read).select("ResourceId", "SkuId").row(0) == (None, None)
    assert read.normalised_count == 2
    assert "2 cells such as 'NULL' or '' read as null" in read.remarks


def test_a_kind_that_nobody_knows_is_kept_and_told(tmp_path: Path) -> None:
    read = read_bill(report(tmp_path / "report.csv", line("MysteryFee", "3"), line()))
    assert _charges(read)["ChargeCategory"].to_list() == ["Adjustment", "Usage"]
    assert any("MysteryFee (1)" in each for each in read.remarks)


def test_refused_lines_name_the_column_of_the_report(tmp_path: Path) -> None:
    path = report(
        tmp_path / "report.csv", line(cost="abc"), line(CurrencyCode="??"), line(UsageStartDate="yesterday"), line()
    )
    read = read_bill(path)
    instant = "expected an instant such as 2026-01-01T00:00:00Z"
    assert [each.reason for each in read.rejected] == [
        f"{path}: line 2, column lineItem/UnblendedCost: found 'abc', expected a decimal number such as -12.50",
        f"{path}: line 3, column lineItem/CurrencyCode: found '??', expected three letters of ISO 4217",
        f"{path}: line 4, column lineItem/UsageStartDate: found 'yesterday', {instant}",
    ]
    assert _charges(read).height == 1
    assert money.total(read.imports["rejected_count"].cast(pl.Decimal(38, 18))) == 3


def test_a_fee_that_is_two_charges_is_refused_once(tmp_path: Path) -> None:
    fee = line("RIFee", "5", ReservationARN=RESERVATION, UnusedRecurringFee="1", CurrencyCode="??")
    read = read_bill(report(tmp_path / "report.csv", fee, line()))
    assert [each.line for each in read.rejected] == [2]
    assert _charges(read).height == 1


def test_a_report_without_a_column_that_makes_a_charge_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    names = [each for each in LINE if each != "lineItem/CurrencyCode"]
    path.write_text(",".join(names) + "\n" + ",".join("x" for _ in names) + "\n")
    with pytest.raises(InputError, match=r"line 1: found no column lineItem/CurrencyCode"):
        read_bill(path)


def _as_2_0(path: Path, lines: list[dict[str, str]], *, is_csv: bool) -> Path:
    """Write lines as CUR 2.0 has them: other names, products and tags in maps, money as doubles in Parquet."""
    rows: list[dict[str, object]] = []
    for each in lines:
        row: dict[str, object] = {}
        product: dict[str, str] = {}
        tags: dict[str, str] = {}
        for name, value in {**LINE, **each}.items():
            group, _, last = name.partition("/")
            if group == "resourceTags":
                tags[f"user_{last.removeprefix('user:')}"] = value
            elif group == "product" and last not in {"instanceType", "sku", "regionCode", "productFamily"}:
                product["".join(f"_{c.lower()}" if c.isupper() else c for c in last).lstrip("_")] = value
            else:
                own = "".join(f"_{c.lower()}" if c.isupper() else c for c in last).lstrip("_")
                kind = {"lineItem": "line_item", "savingsPlan": "savings_plan"}.get(group, group)
                row[f"{kind}_{own}"] = value or None
        rows.append({**row, "product": product, "resource_tags": tags, "bill_payer_account_name": "payer"})
    if is_csv:
        texts = [{k: json.dumps(v) if isinstance(v, dict) else v for k, v in row.items()} for row in rows]
        out = io.StringIO()
        writer = csv.DictWriter(out, list(texts[0]))
        writer.writeheader()
        writer.writerows(texts)
        path.write_bytes(gzip.compress(out.getvalue().encode()))
        return path
    frame = pl.DataFrame([{k: v for k, v in row.items() if not isinstance(v, dict)} for row in rows])
    pairs = pl.List(pl.Struct({"key": pl.String, "value": pl.String}))
    maps = [
        pl.Series(name, [[{"key": k, "value": v} for k, v in row[name].items()] for row in rows], dtype=pairs)  # type: ignore[attr-defined]  a map
        for name in ("product", "resource_tags")
    ]
    numbers = [name for name in frame.columns if name.endswith(("cost", "rate", "amount", "to_date", "commitment"))]
    times = [name for name in frame.columns if name.endswith(("start_date", "end_date"))]
    frame.with_columns(
        pl.col(numbers).cast(pl.Float64),
        pl.col(times).str.head(19).str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="ms"),
        *maps,
    ).write_parquet(path)
    return path


@pytest.mark.parametrize("is_csv", [True, False])
def test_cur_2_0_gives_the_charges_of_the_legacy_report(tmp_path: Path, *, is_csv: bool) -> None:
    lines = [
        line(),
        line("SavingsPlanCoveredUsage", "10.1", SavingsPlanARN=PLAN, SavingsPlanEffectiveCost="6"),
        line("SavingsPlanNegation", "-10.1", SavingsPlanARN=PLAN),
        line("DiscountedUsage", "0", ReservationARN=RESERVATION, EffectiveCost="50.25"),
        line("Tax", "7.25", ResourceId="", publicOnDemandCost=""),
    ]
    legacy = _charges(read_bill(report(tmp_path / "report.csv", *lines)))
    read = read_bill(_as_2_0(tmp_path / ("new.csv.gz" if is_csv else "new.parquet"), lines, is_csv=is_csv))
    assert (read.format, read.version) == ("aws_cur", "2.0")
    assert read.rejected == ()
    differing = ("import_id", "BillingAccountName")
    assert _charges(read).drop(differing).equals(legacy.drop(differing))
    assert set(_charges(read)["BillingAccountName"]) == {"payer"}


_AMOUNT = st.decimals(-1000, 1000, places=10).map(lambda each: f"{each:f}")
_LINES = st.lists(
    st.one_of(
        st.builds(line, st.sampled_from(["Usage", "Tax", "Fee", "Credit", "Refund"]), _AMOUNT),
        st.builds(
            lambda cost, effective: line(
                "SavingsPlanCoveredUsage", cost, SavingsPlanARN=PLAN, SavingsPlanEffectiveCost=effective
            ),
            _AMOUNT,
            _AMOUNT,
        ),
        st.builds(lambda cost: line("SavingsPlanNegation", cost, SavingsPlanARN=PLAN), _AMOUNT),
        st.builds(
            lambda cost, whole, used: line(
                "SavingsPlanRecurringFee", cost, SavingsPlanARN=PLAN, TotalCommitmentToDate=whole, UsedCommitment=used
            ),
            _AMOUNT,
            _AMOUNT,
            _AMOUNT,
        ),
        st.builds(
            lambda cost, effective: line("DiscountedUsage", cost, ReservationARN=RESERVATION, EffectiveCost=effective),
            _AMOUNT,
            _AMOUNT,
        ),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(lines=_LINES)
def test_billed_is_conserved_and_effective_is_what_aws_amortises(
    tmp_path_factory: pytest.TempPathFactory, lines: list[dict[str, str]]
) -> None:
    rows = _read(tmp_path_factory.mktemp("report"), *lines)
    assert money.total(rows["BilledCost"]) == sum(
        (Decimal(each["lineItem/UnblendedCost"]) for each in lines), Decimal(0)
    )
    expected = Decimal(0)
    for each in lines:
        kind = each["lineItem/LineItemType"]
        if kind == "SavingsPlanCoveredUsage":
            expected += Decimal(each["savingsPlan/SavingsPlanEffectiveCost"])
        elif kind == "SavingsPlanRecurringFee":
            expected += Decimal(each["savingsPlan/TotalCommitmentToDate"]) - Decimal(each["savingsPlan/UsedCommitment"])
        elif kind == "DiscountedUsage":
            expected += Decimal(each["reservation/EffectiveCost"])
        elif kind != "SavingsPlanNegation":
            expected += Decimal(each["lineItem/UnblendedCost"])
    assert money.total(rows["EffectiveCost"]) == expected
    assert rows["row_index"].to_list() == list(range(rows.height))


_OLD, _NEW = "861af42f-713c-4a42-9562-9158a7625630", "0b6cc2c4-0000-4a42-9562-9158a7625630"


def _versions(tmp_path: Path) -> Path:
    """Write two versions of one month's report, as AWS leaves them."""
    period = tmp_path / "prefix/report/20261001-20261101"
    report(period / _OLD / "report-1.csv", line(cost="1"))
    report(period / _NEW / "report-1.csv", line(cost="2"))
    report(period / _NEW / "report-2.csv", line(cost="3"))
    return period


def test_of_several_versions_of_a_report_the_listed_one_counts(tmp_path: Path) -> None:
    period = _versions(tmp_path)
    keys = [f"prefix/report/20261001-20261101/{_NEW}/report-{index}.csv" for index in (1, 2)]
    manifest = json.dumps({"assemblyId": _NEW, "reportKeys": keys})
    (period / "report-Manifest.json").write_text(manifest)
    (period / _NEW / "report-Manifest.json").write_text(manifest)
    for location in (period, tmp_path / "prefix", period / "report-Manifest.json"):
        assert _charges(read_bill(location))["BilledCost"].to_list() == [2, 3]
    assert _charges(read_bill(period / _OLD))["BilledCost"].to_list() == [1]
    assert _charges(read_bill(f"file://{period}"))["BilledCost"].to_list() == [2, 3]


def test_versions_without_a_manifest_are_refused_rather_than_added_up(tmp_path: Path) -> None:
    period = _versions(tmp_path)
    with pytest.raises(InputError, match=r"found 2 versions of one report beside each other") as refused:
        read_bill(period)
    assert "name one of its folders" in refused.value.hint


def test_months_of_data_exports_are_one_delivery(tmp_path: Path) -> None:
    status = tmp_path / "cost_and_usage_data_status"
    status.mkdir()
    pl.DataFrame({"status": ["READY"]}).write_parquet(status / "status.parquet")
    for month, cost in (("2026-09", "1"), ("2026-10", "2")):
        report(tmp_path / f"data/BILLING_PERIOD={month}/export-00001.csv", line(cost=cost))
    assert _charges(read_bill(tmp_path))["BilledCost"].to_list() == [1, 2]


@pytest.mark.real_data
def test_the_real_report_sums_to_what_is_expected(shared_data: Path) -> None:
    name = "billing/aws/cur_legacy_2023-11_01to07.csv"
    expected = json.loads((shared_data / "expected.json").read_text())[name]
    read = read_bill(shared_data / name)
    charges = _charges(read)
    assert (read.format, read.version, charges.height) == ("aws_cur", "legacy", expected["rows"])
    assert money.total(charges["BilledCost"]) == Decimal(expected["UnblendedCost"])
    lines = pl.read_csv(shared_data / name, infer_schema=False)["lineItem/ProductCode"]
    sums = money.summed(charges.with_columns(code=lines), by=["code"], columns=["BilledCost"])
    assert dict(sums.iter_rows()) == {
        code: Decimal(total) for code, total in expected["UnblendedCost_by_ProductCode"].items()
    }
    by_kind = dict(charges["ChargeCategory"].value_counts().iter_rows())
    assert by_kind == expected["by_LineItemType_rows"]
    assert charges.filter(pl.col("ServiceCategory") == "Other")["ServiceName"].n_unique() == 0


@pytest.mark.real_data
def test_the_s3_layout_imports_as_one_delivery(shared_data: Path, tmp_path: Path) -> None:
    with tarfile.open(shared_data / "billing/aws/cur_s3_layout_2018-08.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    period = tmp_path / "my-prefix/my-report/20180801-20180901"
    by_manifest, by_folder = read_bill(period / "my-report-Manifest.json"), read_bill(period)
    assert _charges(by_manifest).height == 6190
    assert by_manifest.import_id == by_folder.import_id
    (data,) = period.rglob("*.csv.gz")
    costs = [
        Decimal(each["lineItem/UnblendedCost"])
        for each in csv.DictReader(io.StringIO(gzip.decompress(data.read_bytes()).decode()))
    ]
    stated = by_manifest.imports.row(0, named=True)
    assert sum(costs, Decimal(0)) == Decimal("29684.780682464855373934184")
    assert stated["billed_cost"] == Decimal("29684.780682464855373934")
    assert money.total(_charges(by_manifest)["BilledCost"]) == stated["billed_cost"] - stated["residue"]


@pytest.mark.real_data
def test_rows_that_all_end_early_are_read_and_told(shared_data: Path) -> None:
    read = read_bill(shared_data / "billing/aws/cur_small_2018.csv")
    assert _charges(read).height == 19
    assert read.rejected == ()
    assert any("costCategory/CostCenter" in each for each in read.remarks)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_rows_that_all_end_before_their_header_lack_its_last_columns(tmp_path: Path, encoding: str) -> None:
    path = report(tmp_path / "cur.csv", {}, {})
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([header, *(each.rpartition(",")[0] for each in lines)]), encoding=encoding)
    read = read_bill(path)
    assert (read.row_count, read.rejected) == (2, ())
    assert "every row ends before resourceTags/user:Name: nothing was read for it" in read.remarks
    path.write_text("\n".join([header, *(",".join(each.split(",")[:5]) for each in lines)]), encoding=encoding)
    assert [each.found for each in read_bill(path).rejected] == ["4 cells", "4 cells"]
