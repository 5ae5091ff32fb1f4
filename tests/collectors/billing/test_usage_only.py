"""Usage that comes without cost: priced by what was agreed, unknown where nothing was, never invoiced."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest

from collectors.billing._format import Imported
from collectors.billing._rates import stated
from collectors.billing._read import read_bill
from ledger.errors import InputError
from ledger.money_sections import RateCard
from ledger.tables import BillImport, FocusCharge, Price

CARDS = (
    RateCard(provider="CoreWeave", sku="H100_SXM", unit_price=Decimal("2.23"), currency="USD"),
    RateCard(
        provider="CoreWeave",
        sku="H100_SXM",
        unit_price=Decimal("2.00"),
        currency="USD",
        valid_from=date(2026, 9, 10),
    ),
    RateCard(provider="CoreWeave", sku="H100_SXM", unit_price=Decimal("1.90"), currency="USD", region="ORD1"),
)

USAGE = (
    "start,end,organization,provider,sku,region,quantity,unit\n"
    "2026-09-09T00:00:00Z,2026-09-10T00:00:00Z,org-1,CoreWeave,H100_SXM,LAS1,192,Hours\n"
    "2026-09-10T00:00:00Z,2026-09-11T00:00:00Z,org-1,CoreWeave,H100_SXM,LAS1,192.5,hours\n"
    "2026-09-10T00:00:00Z,2026-09-11T00:00:00Z,org-1,CoreWeave,H100_SXM,ORD1,8,hours\n"
    "2026-09-10T00:00:00Z,2026-09-11T00:00:00Z,org-1,CoreWeave,B200,LAS1,24,hours\n"
)


def _read(path: Path, cards: tuple[RateCard, ...] = CARDS, **defaults: str) -> Imported:
    read = read_bill(path, defaults=defaults, prices=lambda: stated(cards))
    assert read.format == "usage_only"
    BillImport.validate(read.imports)
    return read


def _charges(read: Imported) -> pl.DataFrame:
    return FocusCharge.validate(read.tables[FocusCharge])


def test_usage_is_priced_by_the_rate_of_its_day_and_place(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(USAGE)
    read = _read(path)
    charges = _charges(read)
    assert charges["EffectiveCost"].to_list() == [Decimal("428.16"), Decimal(385), Decimal("15.2"), None]
    assert charges["BilledCost"].to_list() == [0, 0, 0, 0]
    assert charges["InvoiceId"].to_list() == [""] * 4
    assert charges["is_derived"].all()
    assert charges["unknown_reason"].to_list() == [
        "EffectiveCost is usage at the rate card of 2000-01-01 in USD; BilledCost: the provider says usage only",
        "EffectiveCost is usage at the rate card of 2026-09-10 in USD; BilledCost: the provider says usage only",
        "EffectiveCost is usage at the rate card of 2000-01-01 in USD; BilledCost: the provider says usage only",
        "EffectiveCost: no rate is known for the SKU; BilledCost: the provider says usage only",
    ]
    assert read.imports["billed_cost"].to_list() == [0]
    assert "no rate is known for B200: their cost is unknown, not 0" in read.remarks
    first = charges.row(0, named=True)
    assert first["BillingPeriodStart"] == datetime(2026, 9, 1, tzinfo=UTC)
    assert first["BillingPeriodEnd"] == datetime(2026, 10, 1, tzinfo=UTC)
    assert json.loads(first["SkuPriceDetails"]) == {"InstanceType": "H100_SXM"}


def test_focus_names_without_any_cost(tmp_path: Path) -> None:
    path = tmp_path / "focus.csv"
    path.write_text(
        "BillingAccountId,BillingCurrency,BillingPeriodStart,BillingPeriodEnd,ChargePeriodStart,ChargePeriodEnd,"
        "ChargeCategory,ServiceCategory,ServiceName,ProviderName,PublisherName,InvoiceIssuerName,SkuId,ConsumedQuantity,"
        "ConsumedUnit,PricingQuantity,PricingUnit\n"
        "org-1,USD,2026-09-01T00:00:00Z,2026-10-01T00:00:00Z,2026-09-13T05:00:00Z,2026-09-13T06:00:00Z,"
        "Usage,Compute,GPU Compute,CoreWeave,CoreWeave,CoreWeave,H100_SXM,16,Hours,16,Hours\n"
    )
    charge = _charges(_read(path)).row(0, named=True)
    assert (charge["EffectiveCost"], charge["BilledCost"]) == (32, 0)
    assert (charge["ServiceProviderName"], charge["ServiceName"]) == ("CoreWeave", "GPU Compute")


def test_days_and_stated_names(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text("date,sku,gpu_hours\n2026-09-13,H100_SXM,10\n2026-09-14,H100_SXM,many\n")
    read = _read(path, ServiceProviderName="CoreWeave")
    charge = _charges(read).row(0, named=True)
    assert (charge["EffectiveCost"], charge["BillingAccountId"]) == (20, "CoreWeave")
    assert charge["ChargePeriodEnd"] == datetime(2026, 9, 14, tzinfo=UTC)
    assert [each.reason.removeprefix(f"{path}: ") for each in read.rejected] == [
        "line 3, column gpu_hours: found 'many', expected a decimal number such as -12.50"
    ]


def test_without_a_rate_or_a_currency_a_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(USAGE)
    read = _read(path, cards=())
    assert len(read.rejected) == 4
    assert read.rejected[0].reason.endswith("expected a SKU with a rate under [[money.rate_cards]]")
    priced = _charges(_read(path, cards=(), BillingCurrency="USD"))
    assert priced["EffectiveCost"].null_count() == 4


def test_usage_that_names_no_sku_has_no_rate_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(USAGE.replace("B200", "NULL"))
    read = _read(path)
    reason = _charges(read)["unknown_reason"][3]
    assert reason == "EffectiveCost: the usage names no SKU, and so no rate; BilledCost: the provider says usage only"
    assert "no rate is known for usage without a SKU: their cost is unknown, not 0" in read.remarks


def test_a_rate_card_file_is_what_usage_is_priced_by(tmp_path: Path) -> None:
    card = tmp_path / "coreweave.toml"
    card.write_text(
        'provider = "CoreWeave"\ncurrency = "USD"\n'
        '[[rate]]\nsku = "H100_SXM"\nunit_price = 2.23\nvalid_from = 2026-01-01\n'
        '[[rate]]\nsku = "H100_SXM"\nunit_price = 2.000000000000000001\nvalid_from = 2026-09-10\n'
    )
    table = tmp_path / "coreweave.csv"
    table.write_text(
        "provider,sku,unit_price,currency,valid_from\n"
        "CoreWeave,H100_SXM,2.23,usd,2026-01-01\n"
        "CoreWeave,H100_SXM,2.000000000000000001,USD,2026-09-10\n"
        "CoreWeave,H100_SXM,3,USD,2026-09-10\n"
        "CoreWeave,B200,-1,USD,2026-09-10\n"
    )
    read = read_bill(card)
    prices = Price.validate(read.tables[Price])
    from_table = read_bill(table)
    assert from_table.tables[Price].drop("source").equals(prices.drop("source"))
    assert [each.reason.removeprefix(f"{table}: ") for each in from_table.rejected] == [
        "line 4, column sku: found 'H100_SXM', expected each rate once",
        "line 5, column unit_price: found '-1', expected 0 or more",
    ]
    path = tmp_path / "usage.csv"
    path.write_text(USAGE)
    charges = _charges(read_bill(path, prices=lambda: prices))
    assert charges["EffectiveCost"][1] == Decimal("385.000000000000000192")
    strange = tmp_path / "strange.toml"
    strange.write_text('[[rate]]\nskew = "a"\n')
    with pytest.raises(InputError, match="found 'skew', expected one of provider"):
        read_bill(strange)


def test_what_was_agreed_goes_before_what_is_listed(tmp_path: Path) -> None:
    listed = stated(CARDS[:1]).with_columns(
        pl.lit("on_demand").alias("price_category"), pl.lit(Decimal(9)).cast(pl.Decimal(38, 18)).alias("unit_price")
    )
    path = tmp_path / "usage.csv"
    path.write_text(USAGE.splitlines()[0] + "\n" + USAGE.splitlines()[1] + "\n")
    both = _charges(read_bill(path, prices=lambda: pl.concat([listed, stated(CARDS[:1])])))
    assert both["EffectiveCost"].to_list() == [Decimal("428.16")]
    alone = _charges(read_bill(path, prices=lambda: listed))
    assert alone["EffectiveCost"].to_list() == [192 * 9]
    assert alone["unknown_reason"][0].startswith("EffectiveCost is usage at the price list of 2000-01-01")


def test_usage_of_databricks_is_priced_by_the_unit(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(
        "account_id,workspace_id,sku_name,cloud,usage_start_time,usage_end_time,custom_tags,usage_unit,usage_quantity\n"
        "a,w,PREMIUM_SERVERLESS_REAL_TIME_INFERENCE,AWS,2026-09-13T00:00:00Z,2026-09-13T01:00:00Z,"
        '"{""team"": ""vision""}",DBU,10.5\n'
    )
    card = RateCard(
        provider="Databricks",
        sku="PREMIUM_SERVERLESS_REAL_TIME_INFERENCE",
        unit="DBU",
        unit_price=Decimal("0.07"),
        currency="USD",
    )
    charge = _charges(_read(path, (card,))).row(0, named=True)
    assert (charge["EffectiveCost"], charge["ServiceProviderName"]) == (Decimal("0.735"), "Databricks")
    assert (charge["ConsumedUnit"], charge["SkuPriceDetails"]) == ("DBU", None)
    assert json.loads(charge["Tags"]) == {"team": "vision"}


IN_CURRENCIES = "start,end,provider,sku,quantity,unit,BillingCurrency\n" + "".join(
    f"2026-09-09,2026-09-10,CoreWeave,H100_SXM,10,hours,{code}\n" for code in ("USD", "JPY", "EUR", "usd")
)
YEN = RateCard(provider="CoreWeave", sku="H100_SXM", unit_price=Decimal(330), currency="JPY")


def test_usage_has_a_price_in_its_own_currency_or_none(tmp_path: Path) -> None:
    """A yen is no dollar: what is billed in euros has no cost as long as no rate in euros is known."""
    path = tmp_path / "usage.csv"
    path.write_text(IN_CURRENCIES)
    read = _read(path, (CARDS[0], YEN))
    charges = _charges(read)
    assert charges.select("BillingCurrency", "EffectiveCost", "ContractedUnitPrice").rows() == [
        ("USD", Decimal("22.3"), Decimal("2.23")),
        ("JPY", Decimal(3300), Decimal(330)),
        ("EUR", None, None),
        ("USD", Decimal("22.3"), Decimal("2.23")),
    ]
    assert charges["unknown_reason"][2] == (
        "EffectiveCost: no rate in EUR is known for the SKU, only in JPY and USD; "
        "BilledCost: the provider says usage only"
    )
    assert "no rate is known for H100_SXM in EUR (only in JPY and USD): their cost is unknown, not 0" in read.remarks


def test_what_was_agreed_in_another_currency_does_not_hide_what_is_listed_in_this_one(tmp_path: Path) -> None:
    listed = stated((YEN.model_copy(update={"currency": "EUR", "unit_price": Decimal(3)}),)).with_columns(
        pl.lit("on_demand").alias("price_category")
    )
    path = tmp_path / "usage.csv"
    path.write_text(IN_CURRENCIES)
    charges = _charges(read_bill(path, prices=lambda: pl.concat([stated((CARDS[0], YEN)), listed])))
    assert charges.select("BillingCurrency", "EffectiveCost").row(2) == ("EUR", Decimal(30))
    assert "price list of 2000-01-01 in EUR" in charges["unknown_reason"][2]


def test_usage_that_names_no_currency_is_priced_in_that_of_its_rate_which_is_told(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(USAGE)
    charges = _charges(_read(path, (YEN,)))
    assert charges["BillingCurrency"].to_list() == ["JPY"] * 4
    assert charges["EffectiveCost"].to_list() == [Decimal(192 * 330), Decimal(63525), Decimal(2640), None]
    assert "rate card of 2000-01-01 in JPY" in charges["unknown_reason"][0]
