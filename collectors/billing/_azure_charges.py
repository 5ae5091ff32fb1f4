"""Rows of an Azure cost export as the texts of FOCUS charges.

Source: Microsoft, "Convert Cost Management data to FOCUS", and the FOCUS 1.4 column definitions.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from collectors.billing._azure_words import looked_up

ACTUAL: Final = "actual"
AMORTISED: Final = "amortised"

NAMES: Final[Mapping[str, str]] = {
    "BilledCost": "cost",
    "EffectiveCost": "cost",
    "ListCost": "list_cost",
    "BillingAccountId": "account",
    "BillingCurrency": "currency",
    "BillingPeriodStart": "period_start",
    "BillingPeriodEnd": "period_end",
    "ChargePeriodStart": "day",
    "ChargePeriodEnd": "day",
    "ChargeCategory": "charge_type",
    "PricingQuantity": "quantity",
    "ConsumedQuantity": "quantity",
    "ListUnitPrice": "list_price",
    "ContractedUnitPrice": "unit_price",
}
"""From which of our columns a FOCUS column comes that a row can be refused for."""

_PERIODS: Final = ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
_PROVIDER: Final = "Microsoft"
_ZERO: Final = r"^[-+]?0*[.,]?0*(?:[eE][-+]?[0-9]+)?$"
_UNIT: Final = r"^[0-9][0-9.,]*\s*([A-Za-z]{2}.*)$"
_RATE: Final = r"^[0-9][0-9.,]*\s*(/\s*[A-Za-z]{2}.*)$"
_SCALE_SET: Final = r"(?i)/virtualMachineScaleSets/([^/]+)$"

_KIND: Final = pl.col("charge_type").str.to_lowercase().str.replace_all(r"[\s_]", "").fill_null("usage")
_MODEL: Final = pl.col("pricing_model").str.to_lowercase().str.replace_all(r"[\s_]", "")
_IS_UNUSED: Final = _KIND.is_in(["unusedreservation", "unusedsavingsplan"])
_IS_COMMITTED: Final = (
    pl.when(_MODEL.is_not_null())
    .then(_MODEL.is_in(["reservation", "savingsplan"]))
    .otherwise(pl.col("reservation").is_not_null() | pl.col("benefit").is_not_null())
    .or_(_IS_UNUSED)
)
_IS_PURCHASE: Final = _KIND.is_in(["purchase", "refund"])
_IS_ZERO: Final = pl.col("cost").str.contains(_ZERO).fill_null(value=True)


def evidence(rows: pl.DataFrame) -> set[str]:
    """Return which views of the cost the rows can only be.

    Purchases of commitments are never amortised; unused commitment and covered usage with a cost are never actual.
    """
    told = rows.select(
        (_IS_COMMITTED & (_KIND == "purchase") & ~_IS_ZERO).any().alias(ACTUAL),
        (_IS_UNUSED | (_IS_COMMITTED & ~_IS_PURCHASE & ~_IS_ZERO)).any().alias(AMORTISED),
    ).row(0, named=True)
    return {view for view, is_so in told.items() if is_so}


def has_covered_usage(rows: pl.DataFrame) -> bool:
    """Tell whether usage is covered by a reservation or savings plan."""
    return bool(rows.select((_IS_COMMITTED & ~_IS_PURCHASE).any()).item())


def purchases_of_commitments(rows: pl.DataFrame) -> pl.Series:
    """Tell of each row whether it buys, or gives back, a reservation or savings plan."""
    return rows.select((_IS_COMMITTED & _IS_PURCHASE).fill_null(value=False).alias("is_kept")).to_series()


def charges_as_text(rows: pl.DataFrame, *, view: str) -> pl.DataFrame:
    """Return FOCUS columns as texts, one row for each row of the export.

    Billed: the cost, 0 of what a commitment covers. Effective: the cost, 0 of what buys a commitment; null of
    what an actual export says nothing about, the usage that a commitment covers.
    """
    covered = _IS_COMMITTED & ~_IS_PURCHASE
    buys = _IS_COMMITTED & _IS_PURCHASE
    cost, zero = pl.col("cost"), pl.lit("0")
    if view == AMORTISED:
        billed = pl.when(covered).then(pl.when(cost.is_not_null()).then(zero)).otherwise(cost)
        effective = pl.when(buys).then(zero).otherwise(cost)
    else:
        billed = cost
        effective = pl.when(buys).then(zero).when(covered & _IS_ZERO).then(None).otherwise(cost)
    return (
        rows.with_columns(_periods())
        .with_columns(looked_up(rows))
        .select(
            billed.alias("BilledCost"),
            effective.alias("EffectiveCost"),
            pl.col("list_cost").alias("ListCost"),
            *_account(),
            pl.col("currency").alias("BillingCurrency"),
            *(
                pl.col(name)
                for name in ("BillingPeriodStart", "BillingPeriodEnd", "ChargePeriodStart", "ChargePeriodEnd")
            ),
            *_kind(),
            *_service(),
            *_quantity(),
            *_commitment(),
            *_resource(),
            pl.col("SkuPriceDetails"),
            pl.col("Tags"),
        )
    )


def _periods() -> list[pl.Expr]:
    """A day's charge lasts the day; a bill without a period is that of the day's month, and ends with its last day."""
    day = pl.col("day").str.to_date("%Y-%m-%d", strict=False)
    start = pl.col("period_start").str.to_date("%Y-%m-%d", strict=False)
    end = pl.col("period_end").str.to_date("%Y-%m-%d", strict=False)
    first = pl.coalesce(start, day.dt.month_start())
    bounds = {
        "BillingPeriodStart": first,
        "BillingPeriodEnd": pl.coalesce(end.dt.offset_by("1d"), first.dt.offset_by("1mo")),
        "ChargePeriodStart": day,
        "ChargePeriodEnd": day.dt.offset_by("1d"),
    }
    # What is no day stays as it was written, so that the refusal can show it.
    own = {"BillingPeriodStart": "period_start", "BillingPeriodEnd": "period_end"}
    return [
        pl.coalesce(each.dt.strftime("%Y-%m-%dT00:00:00Z"), pl.col(own.get(name, "day"))).alias(name)
        for name, each in bounds.items()
    ]


def _account() -> list[pl.Expr]:
    """An invoice goes to the billing profile under an MCA, to the account elsewhere; else to the subscription."""
    is_mca = pl.col("invoice").is_not_null() | pl.col("exchange").is_not_null()
    profile = pl.when(is_mca).then("profile")
    name = pl.when(is_mca & pl.col("profile").is_not_null()).then("profile_name")
    issuer = pl.coalesce("partner", pl.lit(_PROVIDER))
    return [
        pl.coalesce(profile, "account", "profile", "tenant", "subscription").alias("BillingAccountId"),
        pl.coalesce(name, "account_name").alias("BillingAccountName"),
        pl.col("subscription").alias("SubAccountId"),
        pl.col("subscription_name").alias("SubAccountName"),
        pl.col("invoice").alias("InvoiceId"),
        issuer.alias("InvoiceIssuerName"),
        pl.lit(_PROVIDER).alias("ServiceProviderName"),
        pl.coalesce(
            pl.when(pl.col("publisher_type").str.to_lowercase() == "marketplace").then("publisher"), pl.lit(_PROVIDER)
        ).alias("HostProviderName"),
    ]


def _kind() -> list[pl.Expr]:
    """What the charge is: a refund corrects a purchase, rounding and the rest are adjustments."""
    category = (
        pl.when(_KIND.is_in(["usage", "unusedreservation", "unusedsavingsplan"]))
        .then(pl.lit("Usage"))
        .when(_IS_PURCHASE)
        .then(pl.lit("Purchase"))
        .when(_KIND == "tax")
        .then(pl.lit("Tax"))
        .when(_KIND == "credit")
        .then(pl.lit("Credit"))
        .otherwise(pl.lit("Adjustment"))
    )
    often = pl.col("frequency").str.to_lowercase().str.replace_all(r"[\s_-]", "")
    words = {"onetime": "One-Time", "recurring": "Recurring", "usagebased": "Usage-Based"}
    spot = pl.col("meter_name").str.contains(r"(?i)\b(spot|low priority)\b").fill_null(value=False)
    pricing = (
        pl.when(_IS_COMMITTED)
        .then(pl.lit("Committed"))
        .when((_MODEL == "spot") | spot)
        .then(pl.lit("Dynamic"))
        .when((_MODEL == "ondemand") | (_MODEL.is_null() & (category == "Usage")))
        .then(pl.lit("Standard"))
    )
    return [
        category.alias("ChargeCategory"),
        pl.when(_KIND == "refund").then(pl.lit("Correction")).alias("ChargeClass"),
        pl.coalesce("product", "meter_name", "meter_category").alias("ChargeDescription"),
        often.replace_strict(words, default=None, return_dtype=pl.String).alias("ChargeFrequency"),
        pricing.alias("PricingCategory"),
    ]


def _service() -> list[pl.Expr]:
    return [
        pl.coalesce(
            pl.when(pl.col("meter_category").str.to_lowercase() != "unassigned").then("meter_category"),
            "namespace",
            "publisher",
        ).alias("ServiceName"),
        pl.col("ServiceCategory"),
        pl.col("ServiceSubcategory"),
        pl.coalesce("product_id", "part").alias("SkuId"),
        pl.col("meter").alias("SkuPriceId"),
        pl.coalesce("meter_name", "meter_subcategory").alias("SkuMeter"),
    ]


def _quantity() -> list[pl.Expr]:
    """Quantities count single units where the measure names one (10 Hours: hours), else blocks of it (10K)."""
    is_usage = _KIND == "usage"
    rate = pl.format("Units{}", pl.col("unit").str.extract(_RATE, 1))
    unit = pl.coalesce(pl.col("unit").str.extract(_UNIT, 1).str.strip_chars(), rate, "unit")
    priced = pl.when(~pl.col("unit_price").str.contains(_ZERO) | _IS_ZERO).then("unit_price")
    listed = pl.when(~pl.col("list_price").str.contains(_ZERO) | _IS_ZERO).then("list_price")
    is_billed_in_own = pl.col("exchange").is_null() | pl.col("exchange").str.contains(r"^1(?:\.0*)?$")
    return [
        pl.col("quantity").alias("PricingQuantity"),
        unit.alias("PricingUnit"),
        pl.when(is_usage).then("quantity").alias("ConsumedQuantity"),
        pl.when(is_usage).then(unit).alias("ConsumedUnit"),
        # Prices under an MCA are in the pricing currency: where that is another one, they are not this bill's.
        pl.when(is_billed_in_own).then(priced).alias("ContractedUnitPrice"),
        pl.when(is_billed_in_own).then(listed).alias("ListUnitPrice"),
    ]


def _commitment() -> list[pl.Expr]:
    benefit = pl.coalesce("benefit", "reservation")
    is_plan = (
        benefit.str.contains(r"(?i)/microsoft\.billingbenefits/")
        | (_MODEL == "savingsplan")
        | (_KIND == "unusedsavingsplan")
    )
    is_plan = is_plan.fill_null(value=False)
    reserved = pl.col("more").str.extract(r'"VMCapacityReservationId"\s*:\s*"([^"]+)"', 1)
    is_empty = pl.col("resource").str.contains(r"(?i)/capacityReservations/").fill_null(value=False)
    status = pl.when(_IS_UNUSED).then(pl.lit("Unused")).when(_KIND == "usage").then(pl.lit("Used"))
    return [
        pl.when(_IS_COMMITTED).then(benefit).alias("CommitmentDiscountId"),
        pl.when(_IS_COMMITTED).then(pl.coalesce("benefit_name", "reservation_name")).alias("CommitmentDiscountName"),
        pl.when(_IS_COMMITTED)
        .then(pl.when(is_plan).then(pl.lit("Spend")).otherwise(pl.lit("Usage")))
        .alias("CommitmentDiscountCategory"),
        pl.when(_IS_COMMITTED)
        .then(pl.when(is_plan).then(pl.lit("Savings Plan")).otherwise(pl.lit("Reservation")))
        .alias("CommitmentDiscountType"),
        pl.when(_IS_COMMITTED).then(status).alias("CommitmentDiscountStatus"),
        reserved.alias("CapacityReservationId"),
        pl.when(reserved.is_not_null())
        .then(pl.when(is_empty).then(pl.lit("Unused")).otherwise(pl.lit("Used")))
        .alias("CapacityReservationStatus"),
    ]


def _resource() -> list[pl.Expr]:
    """A machine of a scale set has an id of its own; exports name the set, and the machine in AdditionalInfo."""
    scale_set = pl.col("resource").str.extract(_SCALE_SET, 1)
    machine = pl.col("more").str.extract(r'"VMName"\s*:\s*"([^"]+)"', 1)
    number = pl.when(machine.str.to_lowercase().str.starts_with(scale_set.str.to_lowercase())).then(
        machine.str.extract(r"_([0-9]+)$", 1)
    )
    own = pl.when(number.is_not_null()).then(pl.format("{}/virtualMachines/{}", "resource", number))
    resource_id = pl.coalesce(own, "resource")
    kind = pl.col("resource").str.extract(r"(?i)/providers/([^/]+/[^/]+)", 1)
    return [
        resource_id.alias("ResourceId"),
        pl.coalesce(
            pl.when(scale_set.is_not_null()).then(machine),
            "resource_name",
            pl.col("resource").str.extract(r"([^/]+)/*$", 1),
        ).alias("ResourceName"),
        pl.coalesce("resource_type", kind).alias("ResourceType"),
        pl.col("RegionId"),
        pl.when(pl.col("RegionId").is_not_null()).then("location").alias("RegionName"),
        pl.col("zone").alias("AvailabilityZone"),
    ]
