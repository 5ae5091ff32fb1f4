"""Rows of Google's billing export as the texts of FOCUS charges.

A credit that is a lower rate lowers the charge that it is on; a credit that is money given is a charge of its own.
Source: the schema of Google's detailed usage export, and FOCUS 1.4, ChargeCategory.
"""

import json
from collections.abc import Mapping
from typing import Final

import polars as pl

from collectors.billing._gcp_credits import KIND
from collectors.billing._gcp_rows import listed
from collectors.billing._gcp_services import service_category
from collectors.billing._token_words import model_and_tokens

NAMES: Final[Mapping[str, str]] = {
    "BilledCost": "cost",
    "EffectiveCost": "cost",
    "ListCost": "cost_at_list",
    "BillingAccountId": "billing_account_id",
    "BillingCurrency": "currency",
    "BillingPeriodStart": "invoice.month",
    "BillingPeriodEnd": "invoice.month",
    "ChargePeriodStart": "usage_start_time",
    "ChargePeriodEnd": "usage_end_time",
    "PricingQuantity": "usage.amount_in_pricing_units",
    "ConsumedQuantity": "usage.amount",
    "ListUnitPrice": "price.list_price",
    "ContractedUnitPrice": "price.effective_price",
}
"""From which column of the export a FOCUS column comes that a row can be refused for."""

COLUMNS: Final = (
    "billing_account_id",
    "service_id",
    "service_description",
    "sku_id",
    "sku_description",
    "usage_start_time",
    "usage_end_time",
    "project_id",
    "project_name",
    "project_labels",
    "labels",
    "system_labels",
    "tags",
    "location_location",
    "location_region",
    "location_zone",
    "cost",
    "cost_at_list",
    "currency",
    "currency_conversion_rate",
    "usage_amount",
    "usage_unit",
    "usage_amount_in_pricing_units",
    "usage_pricing_unit",
    "credits",
    "invoice_month",
    "cost_type",
    "adjustment_info_type",
    "adjustment_info_mode",
    "resource_name",
    "resource_global_name",
    "price_effective_price",
    "price_list_price",
    "seller_name",
    "subscription_instance_id",
)
"""What is read of an export, under our names."""

_PROVIDER: Final = "Google Cloud"
_MACHINE: Final = "compute.googleapis.com/machine_spec"
_SPOT: Final = r"(?i)\b(?:spot|preemptible)\b"
_MONTH: Final = r"^(20[0-9]{2})-?([01][0-9])"


def known(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the columns that are read; absent ones null, empty cells null."""
    absent = [name for name in COLUMNS if name not in frame.columns]
    # A frame without columns has no height: what is absent is added as columns of its own.
    nothing = pl.DataFrame({name: [None] * frame.height for name in absent}, schema=dict.fromkeys(absent, pl.String))
    stripped = pl.col(COLUMNS).str.strip_chars()
    return pl.concat([frame, nothing], how="horizontal").select(pl.when(stripped != "").then(stripped))


def charges_as_text(rows: pl.DataFrame) -> pl.DataFrame:
    """Return FOCUS columns as texts, one row for each row of the export, after `credited` and `amortised`.

    Of a fee whose use is set off against it, what is left is unused commitment.
    """
    is_correction = pl.col("adjustment_info_type").str.to_uppercase().str.contains("CORRECTION").fill_null(value=False)
    category = (
        pl.when(pl.col("is_fee"))
        .then(pl.lit("Purchase"))
        .when(KIND == "regular")
        .then(pl.lit("Usage"))
        .when(KIND == "tax")
        .then(pl.lit("Tax"))
        .otherwise(pl.lit("Adjustment"))
    )
    is_fee = pl.col("is_fee") | pl.col("is_left")
    is_usage = (KIND == "regular") & ~is_fee
    return rows.with_columns(_looked_up(rows)).select(
        pl.col("billed").alias("BilledCost"),
        pl.col("effective").alias("EffectiveCost"),
        pl.col("cost_at_list").alias("ListCost"),
        pl.when(is_usage).then("cost").alias("ContractedCost"),
        *_bill(),
        category.alias("ChargeCategory"),
        pl.when(is_correction).then(pl.lit("Correction")).alias("ChargeClass"),
        pl.coalesce("sku_description", "service_description").alias("ChargeDescription"),
        pl.when(is_fee).then(pl.lit("Recurring")).when(is_usage).then(pl.lit("Usage-Based")).alias("ChargeFrequency"),
        *_service(),
        *_pricing(is_usage, is_fee),
        *_place(),
        pl.col("Tags"),
    )


def credits_as_text(own: pl.DataFrame, charges: pl.DataFrame) -> pl.DataFrame:
    """Return the charge of each credit that is money given: the place of the row that it is on, and its amount."""
    at = charges[own["row"].to_list()]
    empty = ("ListCost", "ContractedCost", "PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit")
    prices = ("ListUnitPrice", "ContractedUnitPrice", "PricingCategory", "SkuPriceDetails", "ChargeClass")
    commitment = [name for name in charges.columns if name.startswith("CommitmentDiscount")]
    return at.with_columns(
        own["amount"].alias("BilledCost"),
        own["amount"].alias("EffectiveCost"),
        pl.lit("Credit").alias("ChargeCategory"),
        pl.lit("One-Time").alias("ChargeFrequency"),
        own["name"].alias("ChargeDescription"),
        *(pl.lit(None, dtype=pl.String).alias(name) for name in (*empty, *prices, *commitment)),
    ).select(charges.columns)


def unused_as_text(fees: pl.DataFrame, amounts: list[str]) -> pl.DataFrame:
    """Return the charge of what nobody used of each fee: nothing billed, a part of the fee effective."""
    lacking = ("ContractedCost", "PricingQuantity", "PricingUnit", "ResourceId")
    return fees.with_columns(
        pl.lit("0").alias("BilledCost"),
        pl.Series("EffectiveCost", amounts, dtype=pl.String),
        pl.lit("Usage").alias("ChargeCategory"),
        pl.lit("Usage-Based").alias("ChargeFrequency"),
        pl.lit("Unused").alias("CommitmentDiscountStatus"),
        *(pl.lit(None, dtype=pl.String).alias(name) for name in lacking),
    ).select(fees.columns)


def _bill() -> list[pl.Expr]:
    """The invoice month decides the billing period, not the clock: Google closes months at midnight in California."""
    month = pl.coalesce("invoice_month", "usage_start_time")
    start = pl.concat_str(month.str.extract(_MONTH, 1), pl.lit("-"), month.str.extract(_MONTH, 2), pl.lit("-01"))
    first = start.str.to_date("%Y-%m-%d", strict=False)
    written = "%Y-%m-%dT00:00:00Z"
    return [
        pl.col("currency").alias("BillingCurrency"),
        pl.col("billing_account_id").alias("BillingAccountId"),
        pl.coalesce(first.dt.strftime(written), "invoice_month").alias("BillingPeriodStart"),
        pl.coalesce(first.dt.offset_by("1mo").dt.strftime(written), "invoice_month").alias("BillingPeriodEnd"),
        pl.col("usage_start_time").alias("ChargePeriodStart"),
        pl.coalesce("usage_end_time", "usage_start_time").alias("ChargePeriodEnd"),
        pl.col("project_id").alias("SubAccountId"),
        pl.col("project_name").alias("SubAccountName"),
        pl.lit("Google").alias("InvoiceIssuerName"),
        pl.lit(_PROVIDER).alias("ServiceProviderName"),
        pl.coalesce("seller_name", pl.lit(_PROVIDER)).alias("HostProviderName"),
    ]


def _service() -> list[pl.Expr]:
    return [
        pl.coalesce("service_description", "service_id").alias("ServiceName"),
        pl.col("ServiceCategory"),
        pl.col("ServiceSubcategory"),
        pl.col("sku_id").alias("SkuId"),
        pl.col("sku_description").alias("SkuMeter"),
        pl.col("SkuPriceDetails"),
    ]


def _pricing(is_usage: pl.Expr, is_fee: pl.Expr) -> list[pl.Expr]:
    covered = is_usage & pl.col("covered_by").is_not_null()
    is_spot = pl.col("sku_description").str.contains(_SPOT).fill_null(value=False)
    is_rate = pl.col("currency_conversion_rate").is_null() | pl.col("currency_conversion_rate").str.contains(
        r"^1(\.0*)?$"
    )
    return [
        pl.when(covered | is_fee)
        .then(pl.lit("Committed"))
        .when(is_usage & is_spot)
        .then(pl.lit("Dynamic"))
        .when(is_usage)
        .then(pl.lit("Standard"))
        .alias("PricingCategory"),
        pl.when(is_usage | is_fee).then("usage_amount_in_pricing_units").alias("PricingQuantity"),
        pl.when(is_usage | is_fee).then("usage_pricing_unit").alias("PricingUnit"),
        pl.when(is_usage).then("usage_amount").alias("ConsumedQuantity"),
        pl.when(is_usage).then("usage_unit").alias("ConsumedUnit"),
        # Prices are in US dollars: in a bill of another currency they are not this bill's.
        pl.when(is_rate).then("price_list_price").alias("ListUnitPrice"),
        pl.when(is_rate).then("price_effective_price").alias("ContractedUnitPrice"),
        pl.coalesce(
            pl.when(covered).then("commitment"), pl.when(is_fee).then(pl.coalesce("subscription_instance_id", "sku_id"))
        ).alias("CommitmentDiscountId"),
        pl.when(is_fee).then("sku_description").alias("CommitmentDiscountName"),
        pl.coalesce(pl.when(covered).then("covered_by"), "kind").alias("CommitmentDiscountCategory"),
        pl.when(covered | is_fee).then(pl.lit("Committed Use Discount")).alias("CommitmentDiscountType"),
        pl.when(covered).then(pl.lit("Used")).when("is_left").then(pl.lit("Unused")).alias("CommitmentDiscountStatus"),
    ]


def _place() -> list[pl.Expr]:
    """An instance is named as Kubernetes and the metadata server name it; other resources by their global name."""
    is_instance = pl.col("resource_global_name").str.contains(r"(?i)/instances?/").fill_null(value=False)
    plain = ~pl.col("resource_name").str.contains("/", literal=True)
    instance = pl.when(is_instance & plain).then(
        pl.format(
            "//compute.googleapis.com/projects/{}/zones/{}/instances/{}", "project_id", "location_zone", "resource_name"
        )
    )
    return [
        pl.coalesce(instance, "resource_global_name", "resource_name").alias("ResourceId"),
        pl.col("resource_name").str.extract(r"([^/]+)$", 1).alias("ResourceName"),
        pl.when(is_instance).then(pl.lit("Instance")).alias("ResourceType"),
        pl.coalesce("location_region", "location_location").alias("RegionId"),
        pl.coalesce("location_region", "location_location").alias("RegionName"),
        pl.col("location_zone").alias("AvailabilityZone"),
    ]


def _looked_up(rows: pl.DataFrame) -> list[pl.Series]:
    """Return what no expression can say: looked up once for each distinct text."""
    services = rows["service_description"].fill_null("")
    known_services = {text: service_category(text) for text in services.unique().to_list()}
    found = [known_services[text] for text in services.to_list()]
    labels = rows.select(pl.struct("labels", "project_labels", "tags").alias("all"))["all"]
    made_tags = {tuple(each.values()): _tags(*each.values()) for each in labels.unique().to_list()}
    said = rows.select(pl.struct("system_labels", "service_description", "sku_description").alias("all"))["all"]
    made_details = {tuple(each.values()): _details(*each.values()) for each in said.unique().to_list()}
    return [
        pl.Series("ServiceCategory", [each[0] for each in found], dtype=pl.String),
        pl.Series("ServiceSubcategory", [each[1] for each in found], dtype=pl.String),
        pl.Series("Tags", [made_tags[tuple(each.values())] for each in labels.to_list()], dtype=pl.String),
        pl.Series("SkuPriceDetails", [made_details[tuple(each.values())] for each in said.to_list()], dtype=pl.String),
    ]


def _tags(labels: str | None, project_labels: str | None, tags: str | None) -> str | None:
    """Return labels as one object; a label of the resource wins over one of its project."""
    merged: dict[str, object] = {}
    for text in (project_labels, tags, labels):
        merged |= _pairs(text)
    return json.dumps(merged, sort_keys=True, ensure_ascii=False) if merged else None


def _pairs(text: str | None) -> dict[str, object]:
    found = listed(text) if text else None
    return {str(each["key"]): each.get("value") for each in found or [] if "key" in each}


def _details(system_labels: str | None, service: str | None, sku: str | None) -> str | None:
    machine = _pairs(system_labels).get(_MACHINE)
    details = {"InstanceType": str(machine)} if machine else {}
    if service and service_category(service)[0] == "AI and Machine Learning":
        details |= model_and_tokens(sku or "")
    return json.dumps(details, sort_keys=True) if details else None
