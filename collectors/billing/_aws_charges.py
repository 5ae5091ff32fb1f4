"""Line items of AWS as the texts of FOCUS charges.

Billed is what AWS invoices: `UnblendedCost` of every line, discounts as lines of their own. Effective is what AWS
amortises, after discounts where the report has net columns; then a discount's own line is 0, since the lines that
it lowers already have it.

Source: AWS, "Data dictionary" of the Cost and Usage Report and of CUR 2.0.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from collectors.billing._aws_codes import looked_up
from collectors.billing._aws_plans import COVERED, NEGATION
from collectors.billing._aws_unused import unused_rows

NAMES: Final[Mapping[str, str]] = {
    "BilledCost": "lineItem/UnblendedCost",
    "EffectiveCost": "the effective cost",
    "ListCost": "pricing/publicOnDemandCost",
    "ContractedCost": "lineItem/NetUnblendedCost",
    "BillingAccountId": "bill/PayerAccountId",
    "BillingCurrency": "lineItem/CurrencyCode",
    "BillingPeriodStart": "bill/BillingPeriodStartDate",
    "BillingPeriodEnd": "bill/BillingPeriodEndDate",
    "ChargePeriodStart": "lineItem/UsageStartDate",
    "ChargePeriodEnd": "lineItem/UsageEndDate",
    "ChargeCategory": "lineItem/LineItemType",
    "PricingQuantity": "lineItem/UsageAmount",
    "ConsumedQuantity": "lineItem/UsageAmount",
    "ListUnitPrice": "pricing/publicOnDemandRate",
    "ContractedUnitPrice": "lineItem/UnblendedRate",
}
"""From which column of AWS a FOCUS column comes that a row can be refused for."""

_KIND: Final = pl.col("lineitemlineitemtype")
_RESERVED: Final = "DiscountedUsage"
_USAGE: Final = ("Usage", _RESERVED, COVERED)
_PURCHASES: Final = ("Fee", "RIFee", "SavingsPlanUpfrontFee", "SavingsPlanRecurringFee")
_KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(_USAGE, "Usage"),
    **dict.fromkeys(_PURCHASES, "Purchase"),
    "Tax": "Tax",
    "Credit": "Credit",
    "Refund": "Adjustment",
    NEGATION: "Adjustment",
}
_DISCOUNT: Final = _KIND.str.ends_with("Discount")
_IS_USAGE: Final = _KIND.is_in(_USAGE)
_IS_PLAN: Final = _KIND.str.starts_with("SavingsPlan")
_BUYS: Final = _KIND.is_in(["RIFee", "SavingsPlanUpfrontFee", "SavingsPlanRecurringFee"]) | (
    (_KIND == "Fee") & pl.col("reservationreservationarn").is_not_null()
)
_IS_MARKETPLACE: Final = (
    pl.col("billbillingentity").str.to_lowercase().str.contains("marketplace").fill_null(value=False)
)
_ZERO: Final = pl.lit("0")


def unknown_kinds(rows: pl.DataFrame) -> dict[str, int]:
    """Return the line item types that AWS did not document, with how many lines each has."""
    kinds = rows.filter(_KIND.is_not_null() & ~_KIND.is_in(list(_KINDS)) & ~_DISCOUNT)["lineitemlineitemtype"]
    return dict(kinds.value_counts(sort=True).iter_rows())


def charges_as_text(rows: pl.DataFrame, billed: pl.Series) -> pl.DataFrame:
    """Return FOCUS columns as texts: one row for each line, and one for each commitment that was not all used.

    `billed` is what each line is billed; `row` says from which line each comes.
    """
    with_billed = rows.with_row_index("row").with_columns(billed.alias("billed"))
    has_net = bool(rows["lineitemnetunblendedcost"].is_not_null().any())
    lines = with_billed.with_columns(looked_up(rows)).select(
        "row",
        *_costs(has_net=has_net),
        *_who(),
        *_when(),
        *_what(),
        *_quantities(),
        *_commitment(),
        *_where(),
    )
    return pl.concat([lines, unused_rows(rows, lines)], how="vertical")


def _costs(*, has_net: bool) -> list[pl.Expr]:
    cost, billed = pl.col("lineitemunblendedcost"), pl.col("billed")
    net = pl.coalesce("lineitemnetunblendedcost", "lineitemunblendedcost")
    discount = pl.coalesce("lineitemnetunblendedcost", _ZERO) if has_net else cost
    reserved = pl.coalesce("reservationneteffectivecost", "reservationeffectivecost")
    planned = pl.coalesce("savingsplannetsavingsplaneffectivecost", "savingsplansavingsplaneffectivecost")
    effective = (
        pl.when(_KIND == _RESERVED)
        .then(reserved)
        .when(_KIND == COVERED)
        .then(planned)
        .when(_BUYS | (_KIND == NEGATION))
        .then(_ZERO)
        .when(_DISCOUNT)
        .then(discount)
        .otherwise(net)
    )
    listed = (
        pl.when(_IS_USAGE)
        .then("pricingpublicondemandcost")
        .when(_DISCOUNT | (_KIND == NEGATION))
        .then(_ZERO)
        .otherwise(cost)
    )
    # What reserved usage would cost at contracted prices stands nowhere in the report.
    contracted = (
        pl.when(_KIND == _RESERVED)
        .then(None)
        .when(_KIND == COVERED)
        .then(cost)
        .when(_DISCOUNT)
        .then(discount)
        .when(_KIND == NEGATION)
        .then(_ZERO)
        .otherwise(net)
    )
    return [
        billed.alias("BilledCost"),
        effective.alias("EffectiveCost"),
        listed.alias("ListCost"),
        contracted.alias("ContractedCost"),
    ]


def _who() -> list[pl.Expr]:
    """AWS resells what others sell on its marketplace: the seller makes it available, AWS's entity invoices it."""
    seller = pl.when(_IS_MARKETPLACE).then(pl.coalesce("lineitemlegalentity", "billbillingentity"))
    return [
        pl.col("billpayeraccountid").alias("BillingAccountId"),
        pl.col("billpayeraccountname").alias("BillingAccountName"),
        pl.col("lineitemusageaccountid").alias("SubAccountId"),
        pl.col("lineitemusageaccountname").alias("SubAccountName"),
        pl.col("lineitemcurrencycode").alias("BillingCurrency"),
        pl.col("billinvoiceid").alias("InvoiceId"),
        pl.coalesce("billinvoicingentity", pl.lit("Amazon Web Services, Inc.")).alias("InvoiceIssuerName"),
        pl.coalesce(seller, pl.lit("AWS")).alias("ServiceProviderName"),
        pl.lit("AWS").alias("HostProviderName"),
    ]


def _when() -> list[pl.Expr]:
    return [
        pl.col("billbillingperiodstartdate").alias("BillingPeriodStart"),
        pl.col("billbillingperiodenddate").alias("BillingPeriodEnd"),
        pl.col("lineitemusagestartdate").alias("ChargePeriodStart"),
        pl.coalesce("lineitemusageenddate", "lineitemusagestartdate").alias("ChargePeriodEnd"),
    ]


def _what() -> list[pl.Expr]:
    """A kind that AWS has not documented is an adjustment; a line of an earlier month's usage corrects it."""
    category = pl.when(_KIND.is_not_null()).then(_KIND.replace_strict(_KINDS, default="Adjustment"))
    is_earlier = pl.col("lineitemusagestartdate").str.head(10) < pl.col("billbillingperiodstartdate").str.head(10)
    is_correction = (_KIND == "Refund") | (_IS_USAGE & is_earlier)
    frequency = (
        pl.when(_IS_USAGE | _DISCOUNT | (_KIND == NEGATION))
        .then(pl.lit("Usage-Based"))
        .when(_KIND.is_in(["RIFee", "SavingsPlanRecurringFee"]))
        .then(pl.lit("Recurring"))
        .when(_KIND.is_not_null())
        .then(pl.lit("One-Time"))
    )
    return [
        category.alias("ChargeCategory"),
        pl.when(is_correction).then(pl.lit("Correction")).alias("ChargeClass"),
        pl.col("lineitemlineitemdescription").alias("ChargeDescription"),
        frequency.alias("ChargeFrequency"),
        pl.col("ServiceCategory"),
        pl.col("ServiceSubcategory"),
        pl.coalesce("productproductname", "productservicename", "lineitemproductcode").alias("ServiceName"),
    ]


def _quantities() -> list[pl.Expr]:
    is_spot = pl.col("lineitemusagetype").str.contains("SpotUsage") | (pl.col("pricingterm") == "Spot")
    priced = (
        pl.when(_KIND.is_in([_RESERVED, COVERED]))
        .then(pl.lit("Committed"))
        .when((_KIND == "Usage") & is_spot)
        .then(pl.lit("Dynamic"))
        .when(_KIND == "Usage")
        .then(pl.lit("Standard"))
    )
    usage = pl.when(_IS_USAGE)
    return [
        priced.alias("PricingCategory"),
        usage.then("lineitemusageamount").alias("PricingQuantity"),
        usage.then("pricingunit").alias("PricingUnit"),
        usage.then("lineitemusageamount").alias("ConsumedQuantity"),
        usage.then("pricingunit").alias("ConsumedUnit"),
        usage.then("pricingpublicondemandrate").alias("ListUnitPrice"),
        pl.when(_KIND.is_in(["Usage", COVERED])).then("lineitemunblendedrate").alias("ContractedUnitPrice"),
    ]


def _commitment() -> list[pl.Expr]:
    """Only lines of a reservation or plan name one: `SubscriptionId` stands on ordinary usage as well."""
    of_reservation = (_KIND == _RESERVED) | (_BUYS & ~_IS_PLAN)
    reservation = pl.coalesce("reservationreservationarn", "reservationsubscriptionid")
    return [
        pl.when(_IS_PLAN)
        .then("savingsplansavingsplanarn")
        .when(of_reservation)
        .then(reservation)
        .alias("CommitmentDiscountId"),
        pl.when(_IS_PLAN)
        .then(pl.lit("Spend"))
        .when(of_reservation)
        .then(pl.lit("Usage"))
        .alias("CommitmentDiscountCategory"),
        pl.when(_IS_PLAN)
        .then(pl.coalesce("savingsplanofferingtype", pl.lit("Savings Plan")))
        .when(of_reservation)
        .then(pl.lit("Reserved Instance"))
        .alias("CommitmentDiscountType"),
        pl.when(_KIND.is_in([_RESERVED, COVERED])).then(pl.lit("Used")).alias("CommitmentDiscountStatus"),
        pl.col("capacityreservationcapacityreservationarn").alias("CapacityReservationId"),
        pl.when(pl.col("capacityreservationcapacityreservationarn").is_not_null())
        .then(pl.col("capacityreservationcapacityreservationstatus").replace({"Reserved": None}))
        .alias("CapacityReservationStatus"),
    ]


def _where() -> list[pl.Expr]:
    is_region = (pl.col("productlocationtype") == "AWS Region") | pl.col("productlocationtype").is_null()
    return [
        pl.col("lineitemresourceid").alias("ResourceId"),
        pl.col("tags").str.json_path_match("$.Name").alias("ResourceName"),
        pl.when(pl.col("lineitemresourceid").is_not_null()).then("productproductfamily").alias("ResourceType"),
        pl.coalesce("productregioncode", "productregion", "region").alias("RegionId"),
        pl.when(is_region).then("productlocation").alias("RegionName"),
        pl.col("lineitemavailabilityzone").alias("AvailabilityZone"),
        pl.col("productsku").alias("SkuId"),
        pl.col("lineitemusagetype").alias("SkuMeter"),
        pl.coalesce("pricingratecode", "pricingrateid").alias("SkuPriceId"),
        pl.col("SkuPriceDetails"),
        pl.col("tags").alias("Tags"),
    ]
