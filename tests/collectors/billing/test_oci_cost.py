"""Oracle's cost and usage reports become FOCUS charges."""

import csv
import gzip
import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.billing._read import read_bill
from ledger import money
from ledger.errors import InputError
from ledger.tables import FocusCharge

_LINE: Mapping[str, str] = {
    "lineItem/referenceNo": "ref",
    "lineItem/tenantId": "ocid1.tenancy.oc1..a",
    "lineItem/intervalUsageStart": "2026-10-13T10:00Z",
    "lineItem/intervalUsageEnd": "2026-10-13T11:00:00Z",
    "product/service": "COMPUTE",
    "product/compartmentId": "ocid1.compartment.oc1..c",
    "product/compartmentName": "vision",
    "product/region": "us-sanjose-1",
    "product/availabilityDomain": "sj-1",
    "product/resourceId": "ocid1.instance.oc1.us-sanjose-1.x",
    "usage/billedQuantity": "8.000000000000000000",
    "usage/billedQuantityOverage": "",
    "cost/subscriptionId": "ocid1.organizationssubscription.oc1.us-sanjose-1.s",
    "cost/productSku": "B98415",
    "product/Description": "OCI - Compute - GPU - H100",
    "cost/unitPrice": "10.000000000000000000",
    "cost/unitPriceOverage": "",
    "cost/myCost": "80.000000000000000001",
    "cost/myCostOverage": "",
    "cost/currencyCode": "USD",
    "cost/billingUnitReadable": "1 NONE HOURS GPU",
    "cost/skuUnitDescription": "GPU Per Hour",
    "cost/overageFlag": "false",
    "lineItem/isCorrection": "false",
    "lineItem/backreferenceNo": "",
    "tags/Oracle-Tags.CreatedBy": "default/a",
    "tags/team": "vision",
}


def _report(path: Path, *lines: Mapping[str, str], without: tuple[str, ...] = ()) -> Path:
    out = io.StringIO()
    names = [each for each in _LINE if each not in without]
    writer = csv.DictWriter(out, names, extrasaction="ignore")
    writer.writeheader()
    writer.writerows({**_LINE, **each} for each in lines)
    path.write_bytes(gzip.compress(out.getvalue().encode()))
    return path


def test_a_line_of_a_cost_report_with_all_its_columns(tmp_path: Path) -> None:
    read = read_bill(_report(tmp_path / "reports_cost-csv_0001.csv.gz", {}))
    assert (read.format, read.version, read.rejected) == ("oci_cost", "cost", ())
    row = read.tables[FocusCharge].row(0, named=True)
    assert row["BilledCost"] == row["EffectiveCost"] == row["ContractedCost"] == Decimal("80.000000000000000001")
    assert row["ListCost"] is None
    assert "ListCost is empty" in row["unknown_reason"]
    assert row["BillingAccountId"].startswith("ocid1.organizationssubscription")
    assert (row["SubAccountId"], row["SubAccountName"]) == ("ocid1.compartment.oc1..c", "vision")
    assert row["BillingPeriodStart"] == datetime(2026, 10, 1, tzinfo=UTC)
    assert row["BillingPeriodEnd"] == datetime(2026, 11, 1, tzinfo=UTC)
    assert row["ChargePeriodStart"] == datetime(2026, 10, 13, 10, tzinfo=UTC)
    assert (row["ServiceCategory"], row["ServiceSubcategory"]) == ("Compute", "Virtual Machines")
    assert (row["ServiceProviderName"], row["InvoiceIssuerName"]) == ("Oracle", "Oracle")
    assert (row["SkuId"], row["SkuMeter"], row["PricingUnit"]) == (
        "B98415",
        "OCI - Compute - GPU - H100",
        "GPU Per Hour",
    )
    assert (row["RegionId"], row["AvailabilityZone"]) == ("us-sanjose-1", "sj-1")
    assert json.loads(row["Tags"]) == {"Oracle-Tags.CreatedBy": "default/a", "team": "vision"}


def test_overage_is_what_is_billed_where_credits_are_prepaid(tmp_path: Path) -> None:
    path = _report(tmp_path / "cost.csv.gz", {}, {"cost/myCost": "5", "cost/myCostOverage": "5"})
    charges = read_bill(path, defaults={"oci_billed": "overage"}).tables[FocusCharge]
    assert charges["BilledCost"].to_list() == [0, 5]
    assert money.total(charges["EffectiveCost"]) == Decimal("85.000000000000000001")
    with pytest.raises(InputError, match="expected cost or overage"):
        read_bill(path, defaults={"oci_billed": "everything"})


def test_corrections_exponents_and_models(tmp_path: Path) -> None:
    path = _report(
        tmp_path / "cost.csv.gz",
        {"lineItem/isCorrection": "true", "cost/myCost": "-2.323760000E-9"},
        {"product/service": "GENERATIVE_AI", "product/Description": "Meta Llama 3.1 405B - Large"},
        {"product/service": "SOMETHING_NEW"},
    )
    rows = read_bill(path).tables[FocusCharge]
    assert rows["ChargeClass"].to_list() == ["Correction", None, None]
    assert rows["BilledCost"][0] == Decimal("-0.00000000232376")
    assert json.loads(rows["SkuPriceDetails"][1]) == {"ModelId": "meta-llama-3.1-405b"}
    assert rows["ServiceCategory"].to_list() == ["Compute", "AI and Machine Learning", "Other"]


def test_what_is_wrong_names_the_column_of_the_report(tmp_path: Path) -> None:
    path = _report(tmp_path / "cost.csv.gz", {"cost/myCost": "n.a."}, {"lineItem/intervalUsageStart": "soon"}, {})
    read = read_bill(path)
    assert [each.reason for each in read.rejected] == [
        f"{path}: line 2, column cost/myCost: found 'n.a.', expected a decimal number such as -12.50",
        f"{path}: line 3, column lineItem/intervalUsageStart: found 'soon', expected an instant such as "  # noqa: ISC004
        "2026-01-01T00:00:00Z",
    ]
    with pytest.raises(InputError, match=r"line 1: found no column cost/currencycode"):
        read_bill(_report(tmp_path / "cut.csv.gz", {}, without=("cost/currencyCode",)))


def test_a_usage_report_is_usage_without_cost(tmp_path: Path) -> None:
    path = tmp_path / "reports_usage-csv_0001.csv"
    frame = pl.DataFrame(
        {
            "lineItem/referenceNo": ["a"],
            "lineItem/tenantId": ["ocid1.tenancy.oc1..a"],
            "lineItem/intervalUsageStart": ["2020-10-13T10:00Z"],
            "lineItem/intervalUsageEnd": ["2020-10-13T11:00Z"],
            "product/service": ["COMPUTE"],
            "product/resource": ["PIC_COMPUTE_GPU_V100"],
            "product/compartmentId": ["ocid1.compartment.oc1..c"],
            "product/region": ["us-sanjose-1"],
            "product/resourceId": ["ocid1.instance.oc1.x"],
            "usage/consumedQuantity": ["28800000"],
            "usage/billedQuantity": ["8"],
            "usage/consumedQuantityUnits": ["Hours"],
        }
    )
    frame.write_csv(path)
    read = read_bill(path)
    assert (read.format, read.version, read.row_count) == ("oci_cost", "usage", 0)
    (refused,) = read.rejected
    assert "PIC_COMPUTE_GPU_V100" in refused.reason
    assert "a SKU with a rate" in refused.reason
