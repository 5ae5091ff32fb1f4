"""Google's billing export: credits, committed use, and every form in which the export leaves BigQuery."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.billing._format import Imported
from collectors.billing._gcp_charges import known
from collectors.billing._gcp_commitments import amortised
from collectors.billing._gcp_credits import credited
from collectors.billing._read import read_bill
from ledger.tables import BillImport, FocusCharge

ROW: Mapping[str, object] = {
    "billing_account_id": "000000-B0BBA4-940A77",
    "service": {"id": "6F81-5844-456A", "description": "Compute Engine"},
    "sku": {"id": "AAAA", "description": "Nvidia Tesla A100 GPU running in Americas"},
    "usage_start_time": "2026-09-13 10:00:00 UTC",
    "usage_end_time": "2026-09-13 11:00:00 UTC",
    "project": {"id": "vision", "name": "Vision", "labels": [{"key": "team", "value": "project"}]},
    "labels": [{"key": "team", "value": "vision"}],
    "system_labels": [{"key": "compute.googleapis.com/machine_spec", "value": "a2-highgpu-1g"}],
    "location": {"location": "us-central1", "country": "US", "region": "us-central1", "zone": "us-central1-a"},
    "cost": 2.5,
    "currency": "USD",
    "currency_conversion_rate": 1.0,
    "usage": {"amount": 3600.0, "unit": "seconds", "amount_in_pricing_units": 1.0, "pricing_unit": "hour"},
    "credits": [],
    "invoice": {"month": "202609"},
    "cost_type": "regular",
    "resource": {
        "name": "gpu-1",
        "global_name": "//compute.googleapis.com/projects/1/zones/us-central1-a/instance/77",
    },
}

FEE = {
    "sku": {"id": "FFFF", "description": "Commitment v1: Nvidia Tesla A100 GPU in Americas for 1 Year"},
    "cost": 300.0,
    "usage": {"amount": 14400.0, "unit": "seconds", "amount_in_pricing_units": 4.0, "pricing_unit": "hour"},
    "resource": {},
}


def _credit(kind: str, amount: float, name: str = "") -> dict[str, object]:
    return {"name": name or kind, "amount": amount, "full_name": None, "id": f"id-{kind}", "type": kind}


def _lines(path: Path, *rows: Mapping[str, object]) -> Path:
    path.write_text("".join(json.dumps({**ROW, **row}) + "\n" for row in rows), encoding="utf-8")
    return path


def _charges(read: Imported) -> pl.DataFrame:
    assert read.format == "gcp_billing"
    BillImport.validate(read.imports)
    return FocusCharge.validate(read.tables[FocusCharge])


def test_rate_credits_lower_a_charge_and_money_given_is_a_charge(tmp_path: Path) -> None:
    given_back = [
        _credit("SUSTAINED_USAGE_DISCOUNT", -0.3),
        _credit("DISCOUNT", -0.2),
        _credit("PROMOTION", -1.0, "Free trial"),
        _credit("SUBSCRIPTION_BENEFIT", -0.25),
    ]
    charges = _charges(read_bill(_lines(tmp_path / "e.json", {"credits": given_back}, {})))
    assert charges.select("ChargeCategory", "BilledCost", "EffectiveCost", "ChargeDescription").rows() == [
        ("Usage", 2, 2, "Nvidia Tesla A100 GPU running in Americas"),
        ("Credit", -1, -1, "Free trial"),
        ("Credit", Decimal("-0.25"), Decimal("-0.25"), "SUBSCRIPTION_BENEFIT"),
        ("Usage", Decimal("2.5"), Decimal("2.5"), "Nvidia Tesla A100 GPU running in Americas"),
    ]
    assert charges["BilledCost"].sum() == 2 * Decimal("2.5") - Decimal("1.75")
    usage, credit = charges.row(0, named=True), charges.row(1, named=True)
    assert usage["ContractedCost"] == Decimal("2.5")
    assert (credit["ConsumedQuantity"], credit["ContractedCost"]) == (None, None)
    assert credit["ResourceId"] == usage["ResourceId"]


@pytest.mark.parametrize(
    ("kind", "is_own"),
    [
        ("FREE_TIER", False),
        ("RESELLER_MARGIN", False),
        ("COMMITTED_USAGE_DISCOUNT", False),
        ("PROMOTION", True),
        ("SOMETHING_NEW", True),
    ],
)
def test_each_kind_of_credit(tmp_path: Path, kind: str, *, is_own: bool) -> None:
    charges = _charges(read_bill(_lines(tmp_path / "e.json", {"credits": [_credit(kind, -1.0)]})))
    assert charges["BilledCost"].to_list() == ([Decimal("2.5"), Decimal(-1)] if is_own else [Decimal("1.5")])


def test_what_a_charge_is(tmp_path: Path) -> None:
    rows = (
        {"cost_type": "tax", "sku": {"description": "Tax"}},
        {"cost_type": "rounding_error", "cost": -0.000001},
        {"cost_type": "adjustment", "adjustment_info": {"type": "GOODWILL"}, "cost": -4},
        {"adjustment_info": {"type": "USAGE_CORRECTION"}, "cost": -2.5},
        {"sku": {"description": "Spot Preemptible A2 Instance Core running in Americas"}},
    )
    charges = _charges(read_bill(_lines(tmp_path / "e.jsonl", {}, *rows)))
    assert charges.select("ChargeCategory", "ChargeClass", "PricingCategory").rows() == [
        ("Usage", None, "Standard"),
        ("Tax", None, None),
        ("Adjustment", None, None),
        ("Adjustment", None, None),
        ("Usage", "Correction", "Standard"),
        ("Usage", None, "Dynamic"),
    ]
    first = charges.row(0, named=True)
    assert first["BillingPeriodStart"] == datetime(2026, 9, 1, tzinfo=UTC)
    assert first["ResourceId"].endswith("/projects/vision/zones/us-central1-a/instances/gpu-1")
    assert json.loads(first["Tags"]) == {"team": "vision"}
    assert json.loads(first["SkuPriceDetails"]) == {"InstanceType": "a2-highgpu-1g"}
    assert first["ListCost"] is None
    assert "ListCost is empty at the source" in first["unknown_reason"]


def test_usage_that_came_late_stands_on_the_later_invoice(tmp_path: Path) -> None:
    charge = _charges(read_bill(_lines(tmp_path / "e.json", {"invoice": {"month": "202610"}}))).row(0, named=True)
    assert charge["BillingPeriodStart"] == datetime(2026, 10, 1, tzinfo=UTC)
    assert charge["ChargePeriodStart"] == datetime(2026, 9, 13, 10, tzinfo=UTC)


def test_a_fee_is_brought_to_the_usage_that_it_covers_and_the_rest_is_unused(tmp_path: Path) -> None:
    covered = {"credits": [_credit("COMMITTED_USAGE_DISCOUNT", -2.5)]}
    half = {"credits": [_credit("COMMITTED_USAGE_DISCOUNT", -1.25)]}
    read = read_bill(_lines(tmp_path / "e.json", FEE, covered, half, {}))
    charges = _charges(read)
    wanted = ("ChargeCategory", "CommitmentDiscountStatus", "BilledCost", "EffectiveCost", "is_derived")
    # Of 4 committed GPU-hours at 75 each, 1.5 were used.
    assert charges.select(wanted).rows() == [
        ("Purchase", None, 300, 0, False),
        ("Usage", "Unused", 0, Decimal("187.5"), True),
        ("Usage", "Used", 0, 75, False),
        ("Usage", "Used", Decimal("1.25"), Decimal("38.75"), False),
        ("Usage", None, Decimal("2.5"), Decimal("2.5"), False),
    ]
    assert read.imports["effective_cost"][0] == read.imports["billed_cost"][0] == Decimal("303.75")


def test_a_fee_in_one_file_covers_usage_in_another(tmp_path: Path) -> None:
    _lines(tmp_path / "part-1.jsonl", FEE)
    _lines(tmp_path / "part-2.jsonl", {"credits": [_credit("COMMITTED_USAGE_DISCOUNT", -2.5)]})
    charges = _charges(read_bill(tmp_path))
    used = charges.filter(CommitmentDiscountStatus="Used")
    assert used["EffectiveCost"].to_list() == [75]
    assert charges["EffectiveCost"].sum() == charges["BilledCost"].sum() == 300


def test_an_unused_commitment_is_waste_with_a_row(tmp_path: Path) -> None:
    charges = _charges(read_bill(_lines(tmp_path / "e.json", FEE, {})))
    assert charges.filter(CommitmentDiscountStatus="Unused")["EffectiveCost"].to_list() == [300]


def test_committed_money_is_spread_by_what_it_discounted(tmp_path: Path) -> None:
    fee = {**FEE, "sku": {"description": "Commitment - dollar based v1: Compute for 1 year"}, "cost": 9.0}
    rows = [{"credits": [_credit("COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE", amount)]} for amount in (-2.0, -1.0)]
    charges = _charges(read_bill(_lines(tmp_path / "e.json", fee, *rows)))
    assert charges["EffectiveCost"].to_list() == [0, Decimal("6.5"), Decimal("4.5")]
    assert charges["CommitmentDiscountCategory"].to_list() == ["Spend"] * 3


def test_what_is_left_of_a_fee_that_use_is_set_off_against_is_unused(tmp_path: Path) -> None:
    fee = {**FEE, "cost": 10.0, "credits": [_credit("FEE_UTILIZATION_OFFSET", -8.0)]}
    charge = _charges(read_bill(_lines(tmp_path / "e.json", fee))).row(0, named=True)
    assert (charge["BilledCost"], charge["EffectiveCost"]) == (2, 2)
    assert (charge["ChargeCategory"], charge["CommitmentDiscountStatus"]) == ("Usage", "Unused")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["fee", "covered", "plain", "spend fee", "spend", "other"]),
            st.decimals(0, 1000, places=9),
            st.decimals(0, 1, places=3),
            st.sampled_from(["us", "eu"]),
        ),
        max_size=12,
    )
)
def test_committed_use_conserves_cost(lines: list[tuple[str, Decimal, Decimal, str]]) -> None:
    kinds = {"covered": "COMMITTED_USAGE_DISCOUNT", "other": "COMMITTED_USAGE_DISCOUNT"}
    words = {"fee": FEE["sku"], "spend fee": {"description": "Commitment - dollar based v1: Compute for 1 year"}}
    rows = []
    for kind, cost, share, region in lines:
        credit = _credit(kinds.get(kind, "COMMITTED_USAGE_DISCOUNT_DOLLAR_BASE"), 0) | {"amount": str(-cost * share)}
        sku = words.get(
            kind, {"description": "N2 Core in X" if kind == "other" else "Nvidia Tesla A100 GPU running in X"}
        )
        rows.append(
            {
                "billing_account_id": "a",
                "invoice_month": "202609",
                "currency": "USD",
                "cost": str(cost),
                "usage_amount": str(cost * 3),
                "location_region": region,
                "sku_description": str(dict(sku)["description"]),  # type: ignore[call-overload]
                "credits": json.dumps([credit]) if kind in {"covered", "other", "spend"} else None,
            }
        )
    schema = dict.fromkeys(
        (
            "billing_account_id",
            "invoice_month",
            "currency",
            "cost",
            "usage_amount",
            "location_region",
            "sku_description",
            "credits",
        ),
        pl.String,
    )
    frame = credited(known(pl.DataFrame(rows, schema=schema))).frame
    spread = amortised(frame)
    billed = sum((Decimal(each) for each in frame["billed"].to_list()), Decimal(0))
    effective = sum((Decimal(str(each)) for each in spread.effective), Decimal(0))
    unused = sum((Decimal(amount) for _, amount in spread.unused), Decimal(0))
    assert effective + unused == billed
    assert all(Decimal(amount) >= 0 for _, amount in spread.unused)


def test_parquet_with_nested_credits_is_the_same_bill(tmp_path: Path) -> None:
    rows = ({"credits": [_credit("PROMOTION", -1.0)]}, {"credits": [_credit("DISCOUNT", -0.5)]}, {})
    lines = _charges(read_bill(_lines(tmp_path / "e.json", *rows)))
    pl.DataFrame([{**ROW, **row} for row in rows]).write_parquet(tmp_path / "e.parquet")
    nested = _charges(read_bill(tmp_path / "e.parquet"))
    same = [name for name in FocusCharge.column_names() if name != "import_id"]
    assert nested.select(same).equals(lines.select(same))
    array = tmp_path / "array.json"
    array.write_text(json.dumps([{**ROW, **row} for row in rows]), encoding="utf-8")
    assert _charges(read_bill(array)).select(same).equals(lines.select(same))


def test_bad_rows_are_named(tmp_path: Path) -> None:
    path = _lines(tmp_path / "e.json", {}, {"cost": "much"}, {"credits": [_credit("DISCOUNT", 0) | {"amount": "some"}]})
    with path.open("a", encoding="utf-8") as file:
        file.write("{not json\n")
    read = read_bill(path)
    assert _charges(read).height == 1
    assert [each.reason.removeprefix(f"{path}: ") for each in read.rejected] == [
        "line 2, column cost: found 'much', expected a decimal number such as -12.50",
        "line 3, column cost: found 'some', expected a decimal number such as -12.50",
        "line 4: found text that is no JSON: {not json, expected one object",
    ]
    table = tmp_path / "flat.csv"
    table.write_text(
        "billing_account_id,service.description,usage_start_time,usage_end_time,cost,currency,credits,invoice.month\n"
        "a,Vertex AI,2026-09-01 00:00:00+00:00,2026-09-01 01:00:00+00:00,1,USD,oops,202609\n"
    )
    assert [each.reason for each in read_bill(table).rejected] == [
        f"{table}: line 2, column credits: found 'oops', expected a list of credits, as JSON"
    ]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_with_a_mark_of_its_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    """As PowerShell writes what `bq query --format=json` answers."""
    path = _lines(tmp_path / "e.json", {}, {"cost": 1.25})
    text = path.read_text(encoding="utf-8")
    path.write_text(text, encoding=encoding)
    assert _charges(read_bill(path))["BilledCost"].to_list() == [Decimal("2.5"), Decimal("1.25")]
    path.write_text(f"[{','.join(text.splitlines())}]", encoding=encoding)
    assert _charges(read_bill(path))["BilledCost"].to_list() == [Decimal("2.5"), Decimal("1.25")]


def test_token_skus_name_their_model(tmp_path: Path) -> None:
    row = {
        "service": {"description": "Vertex AI"},
        "sku": {"description": "Gemini 2.5 Flash Text Output - Predictions"},
        "system_labels": [],
        "resource": {},
    }
    charge = _charges(read_bill(_lines(tmp_path / "e.json", row))).row(0, named=True)
    assert json.loads(charge["SkuPriceDetails"]) == {"ModelId": "gemini-2.5-flash", "TokenDirection": "Output"}
    assert (charge["ServiceCategory"], charge["ServiceName"]) == ("AI and Machine Learning", "Vertex AI")


def test_prices_in_dollars_are_not_those_of_a_bill_in_euros(tmp_path: Path) -> None:
    price = {"effective_price": "2.5", "list_price": "3"}
    rows = ({"price": price}, {"price": price, "currency": "EUR", "currency_conversion_rate": 0.9})
    charges = _charges(read_bill(_lines(tmp_path / "e.json", *rows)))
    assert charges["ContractedUnitPrice"].to_list() == [Decimal("2.5"), None]
    assert read_bill(tmp_path / "e.json").imports["billing_currency"].to_list() == ["EUR", "USD"]


@pytest.mark.real_data
def test_a_real_export(shared_data: Path) -> None:
    expected = json.loads((shared_data / "expected.json").read_text())
    name = "billing/gcp/gcp_standard_export_2020-11.csv"
    found = next(each[name] for each in (expected, *expected.values()) if isinstance(each, dict) and name in each)
    read = read_bill(shared_data / name)
    charges = _charges(read)
    assert read.rejected == ()
    sums = dict(charges.group_by("ChargeCategory").agg(pl.col("BilledCost").sum()).iter_rows())
    assert sums == {"Usage": Decimal(found["cost"]), "Credit": Decimal(found["credits"])}
    assert charges.filter(ChargeCategory="Usage").height == found["rows"]
    assert charges["BillingCurrency"].unique().to_list() == found["currency"]
