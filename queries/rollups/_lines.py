"""Charges that count, brought to the columns of the ledger, and their way back into hours."""

from typing import Final

import polars as pl

from ledger import money
from ledger.money_sections import MoneySettings
from queries.rollups._scope import in_scope, owner_team
from queries.rollups._spread import METHODS, book, spread

CHARGE: Final = (
    "provider",
    "invoice_issuer",
    "billing_account_id",
    "invoice_id",
    "billing_period_start",
    "resource_id",
    "charge_category",
    "charge_class",
    "commitment_status",
    "billing_currency",
    "cost_kind",
    "named_model",
    "owner_team",
    "in_scope",
)
"""The parts of the key of a cost that a charge brings along."""

_OWN: Final = CHARGE[:-2]
"""What of it is the charge's own: its owner, and whether it is in scope, may depend on its node."""

COSTS: Final = ("billed_cost", "effective_cost", "list_cost", "contracted_cost")
SHARED_COSTS: Final = ("shared_billed_cost", "shared_effective_cost")

_WORDS: Final = ("service_name", "charge_description")
_PLACE: Final = ("start", "end", "period_end", "region", "instance_type", "is_shared")

_KINDS: Final = {
    "Storage": "storage",
    "Networking": "network",
    "Management and Governance": "management",
    "Security": "management",
    "Identity": "management",
}
"""FOCUS service categories whose cost belongs to all when no resource names an owner, and what kind of cost it is."""

_CATEGORIES: Final = {"Tax": "tax", "Credit": "credit", "Adjustment": "adjustment"}
"""FOCUS charge categories that are a kind of cost, whatever the service."""

CHARGE_COLUMNS: Final = (
    "import_id",
    "row_index",
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "ContractedCost",
    "BillingCurrency",
    "BillingAccountId",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ServiceCategory",
    "ServiceSubcategory",
    "ServiceName",
    "ServiceProviderName",
    "InvoiceIssuerName",
    "InvoiceId",
    "CommitmentDiscountStatus",
    "CapacityReservationStatus",
    "ResourceId",
    "RegionId",
    "SkuId",
    "SkuPriceDetails",
    "SubAccountId",
    "Tags",
)
"""What is read of a charge here."""

IMPORT_KEY: Final = {
    "import_id": "import_id",
    "BillingAccountId": "billing_account_id",
    "BillingPeriodStart": "billing_period_start",
    "BillingCurrency": "billing_currency",
}


def current(charges: pl.DataFrame, imports: pl.DataFrame) -> pl.DataFrame:
    """Keep the charges of the snapshots that count; superseded and waiting ones stay in the store only."""
    counting = imports.filter(pl.col("status") == "current")
    return charges.join(
        counting, left_on=list(IMPORT_KEY), right_on=list(IMPORT_KEY.values()), how="semi", maintain_order="left"
    )


def lines(charges: pl.DataFrame, settings: MoneySettings) -> pl.DataFrame:
    """Return one row per set of charges that agree in key, place and words, with their sums.

    Nulls: a cost is null where no charge of the set says it.
    """
    statuses = [pl.col("CommitmentDiscountStatus"), pl.col("CapacityReservationStatus")]
    unused = pl.any_horizontal((each == "Unused").fill_null(value=False) for each in statuses)
    shared = pl.col("ServiceCategory").is_in(list(_KINDS)) | _is_control_plane()
    # A charge of no length is one of the instant at which it starts.
    end = pl.max_horizontal("ChargePeriodEnd", pl.col("ChargePeriodStart").dt.offset_by("1us"))
    instance_type = pl.coalesce(pl.col("SkuPriceDetails").str.json_path_match("$.InstanceType"), "SkuId")
    renamed = charges.with_columns(in_scope(charges, settings.scope)).select(
        pl.col("ServiceProviderName").alias("provider"),
        pl.col("InvoiceIssuerName").alias("invoice_issuer"),
        pl.col("BillingAccountId").alias("billing_account_id"),
        pl.col("InvoiceId").alias("invoice_id"),
        pl.col("BillingPeriodStart").alias("billing_period_start"),
        pl.col("ResourceId").str.to_lowercase().fill_null("").alias("resource_id"),
        pl.col("ChargeCategory").alias("charge_category"),
        pl.col("ChargeClass").fill_null("").alias("charge_class"),
        pl.when(unused).then(pl.lit("Unused")).otherwise(pl.coalesce(*statuses, pl.lit(""))).alias("commitment_status"),
        pl.col("BillingCurrency").alias("billing_currency"),
        _kind().alias("cost_kind"),
        _named_model().alias("named_model"),
        owner_team(charges, settings.owners).alias("owner_team"),
        "in_scope",
        pl.col("ChargePeriodStart").alias("start"),
        end.alias("end"),
        pl.col("BillingPeriodEnd").alias("period_end"),
        pl.col("RegionId").alias("region"),
        instance_type.str.to_lowercase().alias("instance_type"),
        shared.fill_null(value=False).alias("is_shared"),
        pl.col("ServiceName").alias("service_name"),
        pl.col("ChargeDescription").alias("charge_description"),
        pl.col("BilledCost").alias("billed_cost"),
        pl.col("EffectiveCost").alias("effective_cost"),
        pl.col("ListCost").alias("list_cost"),
        pl.col("ContractedCost").alias("contracted_cost"),
    )
    # Sorted, so that lines have the same numbers, and the small rests the same places, in any order of rows.
    key = [*CHARGE, *_PLACE, *_WORDS]
    summed = money.summed(renamed, by=key, columns=COSTS)
    summed = summed.with_columns(_unstated(renamed, key)).sort(key).with_row_index("line")
    return summed.with_columns(pl.struct(_OWN).rle_id().alias("charge"))


def _unstated(charges: pl.DataFrame, key: list[str]) -> pl.Series | pl.Expr:
    """Return for each group of charges, in their order, whether one of them does not say its effective cost."""
    name = "has_unstated_charge"
    # Most bills say it of every charge: those are not grouped a second time.
    if not charges["effective_cost"].null_count():
        return pl.lit(value=False).alias(name)
    groups = charges.group_by(key, maintain_order=True)
    return groups.agg(pl.col("effective_cost").is_null().any().alias(name))[name]


def _named_model() -> pl.Expr:
    # Few bills name a model: only what may be one is parsed.
    said = pl.col("SkuPriceDetails")
    likely = pl.when(said.str.contains('"ModelId"', literal=True)).then(said)
    return likely.str.json_path_match("$.ModelId").fill_null("")


def _is_control_plane() -> pl.Expr:
    return (pl.col("ServiceCategory") == "Compute") & (pl.col("ServiceSubcategory") == "Containers")


def _kind() -> pl.Expr:
    """Return what kind of cost a charge is, by which rules of shared cost tell it apart."""
    # No FOCUS category says that a charge is for support: its service's name does, in each provider's bill.
    is_support = pl.col("ServiceName").str.contains(r"(?i)\bsupport\b").fill_null(value=False)
    by_service = pl.col("ServiceCategory").replace_strict(_KINDS, default=None, return_dtype=pl.String)
    return (
        pl.when(pl.col("ChargeCategory").is_in(list(_CATEGORIES)))
        .then(pl.col("ChargeCategory").replace_strict(_CATEGORIES, default=None, return_dtype=pl.String))
        .when(is_support)
        .then(pl.lit("support"))
        .when(pl.col("ChargeCategory") == "Purchase")
        .then(pl.lit("purchase"))
        .when(_is_control_plane())
        .then(pl.lit("control_plane"))
        .otherwise(pl.coalesce(by_service, pl.lit("usage")))
    )


def placed(lines: pl.DataFrame, present: pl.DataFrame, pools: pl.DataFrame) -> pl.DataFrame:
    """Return the lines cut into hours and nodes: usage spread, everything else whole; sums are kept, exactly."""
    usage = pl.col("charge_category") == "Usage"
    leaves = pl.concat([spread(lines.filter(usage), present, pools), book(lines.filter(~usage), present)])
    alone = leaves.group_by("line").agg(pl.len().alias("leaves")).filter(pl.col("leaves") == 1)
    whole = leaves.join(alone.select("line"), on="line", how="semi").join(lines.select("line", *COSTS), on="line")
    many = leaves.join(alone.select("line"), on="line", how="anti")
    split = money.apportion(
        lines.join(many.select("line").unique(), on="line", how="semi"),
        many,
        by=["line"],
        weight="weight",
        tie=["hour_start", "cluster", "node"],
        columns=COSTS,
    )
    rest = lines.select("line", "charge", *CHARGE, *_WORDS, "is_shared", "has_unstated_charge")
    parts = pl.concat([whole.select(split.parts.columns), split.parts]).join(rest, on="line")
    # A charge of a node belongs to the AI estate, whatever account or tag it carries.
    ours = ((pl.col("node") != "").any().over("line")) | pl.col("in_scope")
    # And what has a node is its holders', whoever a tag names.
    owner = pl.when(pl.col("node") == "").then("owner_team").otherwise(pl.lit(""))
    return parts.with_columns(ours.alias("in_scope"), owner.alias("owner_team"))


def by_hour(parts: pl.DataFrame) -> pl.DataFrame:
    """Return one row per hour of the costs that have one key, with the least certain way of spreading."""
    # Charges go by their numbers here: a dozen texts per row would take most of the time.
    key = ["hour_start", "charge", "owner_team", "in_scope", "cluster", "node"]
    # What no node and no commitment explains is shared only if its service serves everybody.
    is_used = (pl.col("charge_category") == "Usage") & (pl.col("commitment_status") != "Unused")
    serves_all = (pl.col("node") == "") & is_used & pl.col("is_shared")
    shares = [
        pl.when(serves_all).then(measure).cast(money.MONEY).alias(shared)
        for measure, shared in zip(COSTS, SHARED_COSTS, strict=False)
    ]
    certainty = pl.col("spread_method").replace_strict(METHODS, range(len(METHODS)), return_dtype=pl.Int8)
    ranked = parts.select(*key, *COSTS, *shares, certainty, *_WORDS, "has_unstated_charge").sort(key)
    sums = money.summed(ranked, by=key, columns=[*COSTS, *SHARED_COSTS])
    words = ranked.group_by(key, maintain_order=True).agg(
        pl.col("spread_method").min().replace_strict(range(len(METHODS)), METHODS, return_dtype=pl.String),
        *(pl.col(each).min() for each in _WORDS),
        pl.col("has_unstated_charge").any(),
    )
    charges = parts.select("charge", *_OWN).unique("charge")
    described = pl.concat([sums, words.select("spread_method", *_WORDS, "has_unstated_charge")], how="horizontal")
    return described.join(charges, on="charge", maintain_order="left")
