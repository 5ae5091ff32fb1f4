"""What was bought in advance, what of it was used, and what could have been."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger import money
from ledger.money_sections import MoneySettings
from ledger.tables import BillImport, CommitmentDay, FocusCharge, NodeResource
from queries.graph import Input, Span, rollup
from queries.rollups._lines import current
from queries.rollups._scope import in_scope
from queries.rollups._spread import hours

_COLUMNS: Final = (
    "import_id",
    "row_index",
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "BillingCurrency",
    "BillingAccountId",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "PricingCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountType",
    "CommitmentDiscountStatus",
    "CapacityReservationId",
    "CapacityReservationStatus",
    "ResourceId",
    "RegionId",
    "SkuId",
    "SkuPriceDetails",
    "SubAccountId",
    "Tags",
)
_IMPORT_COLUMNS: Final = (
    "import_id",
    "billing_account_id",
    "billing_period_start",
    "billing_currency",
    "status",
    "format",
)
_KEY: Final = tuple(CommitmentDay.primary_key())
_COSTS: Final = ("effective_cost", "list_cost", "billed_cost")
_MEASURES: Final = (
    "purchased_cost",
    "used_cost",
    "unused_cost",
    "covered_list_cost",
    "on_demand_cost",
    "on_demand_list_cost",
)
_COUNTS: Final = (
    "used_unstated_count",
    "used_unstated_begun_count",
    "unused_unstated_count",
    "unused_unstated_begun_count",
    "covered_list_unstated_count",
)
_OWNED_FORMAT: Final = "on_premises"
_ELIGIBLE: Final = ("Compute", "AI and Machine Learning")
"""FOCUS service categories that reservations and savings plans are sold for."""

_DAY_HOURS: Final = 24


@rollup()
def commitment_day(
    charges: Annotated[dy.LazyFrame[FocusCharge], Input(by="BillingPeriodStart", columns=_COLUMNS)],
    imports: Annotated[dy.LazyFrame[BillImport], Input(by="billing_period_start", columns=_IMPORT_COLUMNS)],
    resources: Annotated[dy.LazyFrame[NodeResource], Input(columns=("resource_id",), fills=False)],
    span: Span,
    settings: MoneySettings,
) -> dy.LazyFrame[CommitmentDay]:
    """Sum what commitments cost by day: bought, used and unused; beside it standard usage that they could cover.

    Usage is spread evenly over the hours of its charge period, purchases are booked whole. What could be covered is
    usage of servers at standard prices in the AI estate: neither spot nor owned hardware.

    Conserves: over a billing period, used and unused cost are the EffectiveCost of its charges, exactly.
    Nulls: a cost is null where no charge behind it says it; where some do not, they are counted beside it.
    """
    period = pl.col("BillingPeriodStart").is_between(span.start, span.end, closed="left")
    known = imports.collect()
    rented = known.filter(pl.col("format") != _OWNED_FORMAT)
    bills = current(charges.filter(period).collect(), rented)
    if bills.is_empty():
        return CommitmentDay.create_empty(lazy=True)
    ours = resources.select(pl.col("resource_id").str.to_lowercase()).unique().collect()["resource_id"]
    told = _told(bills, ours, settings)
    lines = _lines(told)
    if lines.is_empty():
        return CommitmentDay.create_empty(lazy=True)
    by_hour = pl.concat([_spread(lines.filter(pl.col("kind") != "purchased")), _booked(lines)])
    sums = money.summed(by_hour.sort(_KEY), by=_KEY, columns=_MEASURES)
    rows = sums.join(_described(lines), on=["commitment_id", "provider", "billing_account_id"], how="left")
    rows = rows.join(_terms(lines), on=_KEY, how="left").join(_lowest(by_hour), on=_KEY, how="left")
    rows = rows.join(_unstated(told), on=_KEY, how="left").with_columns(pl.col(_COUNTS).fill_null(0))
    return CommitmentDay.cast(rows.select(CommitmentDay.column_names()).sort(_KEY).lazy())


def _told(bills: pl.DataFrame, ours: pl.Series, settings: MoneySettings) -> pl.DataFrame:
    """Return the charges of commitments, and those that one could cover, with their kind."""
    identity = pl.coalesce("CommitmentDiscountId", "CapacityReservationId").str.to_lowercase()
    statuses = [pl.col("CommitmentDiscountStatus"), pl.col("CapacityReservationStatus")]
    unused = pl.any_horizontal((each == "Unused").fill_null(value=False) for each in statuses)
    usage = pl.col("ChargeCategory") == "Usage"
    standard = pl.col("PricingCategory").fill_null("Standard") == "Standard"
    eligible = usage & identity.is_null() & standard & pl.col("ServiceCategory").is_in(_ELIGIBLE)
    kind = (
        pl.when((pl.col("ChargeCategory") == "Purchase") & identity.is_not_null())
        .then(pl.lit("purchased"))
        .when(usage & identity.is_not_null() & unused)
        .then(pl.lit("unused"))
        .when(usage & identity.is_not_null())
        .then(pl.lit("used"))
        .when(eligible & pl.col("ChargeClass").is_null())
        .then(pl.lit("on_demand"))
    )
    a_node = pl.col("ResourceId").str.to_lowercase().is_in(ours.implode()).fill_null(value=False)
    instance_type = pl.coalesce(pl.col("SkuPriceDetails").str.json_path_match("$.InstanceType"), "SkuId")
    named = bills.with_columns(in_scope(bills, settings.scope)).select(
        pl.col("BillingPeriodStart").alias("billing_period_start"),
        pl.col("BillingPeriodEnd").alias("period_end"),
        pl.col("ChargePeriodStart").alias("start"),
        # A charge of no length is one of the instant at which it starts.
        pl.max_horizontal("ChargePeriodEnd", pl.col("ChargePeriodStart").dt.offset_by("1us")).alias("end"),
        pl.col("ServiceProviderName").alias("provider"),
        pl.col("BillingAccountId").alias("billing_account_id"),
        identity.fill_null("").alias("commitment_id"),
        pl.col("RegionId").fill_null("").alias("region"),
        instance_type.fill_null("").alias("instance_type"),
        pl.col("BillingCurrency").alias("billing_currency"),
        pl.col("CommitmentDiscountName").alias("commitment_name"),
        pl.col("CommitmentDiscountType").alias("commitment_type"),
        kind.alias("kind"),
        (pl.col("in_scope") | a_node).alias("in_scope"),
        pl.col("EffectiveCost").alias("effective_cost"),
        pl.col("ListCost").alias("list_cost"),
        pl.col("BilledCost").alias("billed_cost"),
    )
    return named.filter(pl.col("kind").is_not_null(), (pl.col("kind") != "on_demand") | pl.col("in_scope"))


def _lines(told: pl.DataFrame) -> pl.DataFrame:
    """Return charges summed by kind and charge period."""
    # Sorted, so that the small rests of a division fall on the same places, in any order of rows.
    key = [each for each in told.columns if each not in _COSTS]
    return money.summed(told.sort(key), by=key, columns=_COSTS).with_row_index("line")


def _spread(lines: pl.DataFrame) -> pl.DataFrame:
    """Return usage by hour, evenly over its charge period, with its costs in the columns of its kind."""
    stretches = lines.drop(_COSTS).with_columns(pl.col("start").alias("since"), pl.col("end").alias("until"))
    split = money.apportion(
        lines.select("line", *_COSTS),
        hours(stretches),
        by=["line"],
        weight="weight",
        tie=["hour_start"],
        columns=_COSTS,
    )
    return _measured(split.parts)


def _booked(lines: pl.DataFrame) -> pl.DataFrame:
    """Return purchases at their start, or at the billing period's where that lies outside it."""
    outside = (pl.col("start") < pl.col("billing_period_start")) | (pl.col("start") >= pl.col("period_end"))
    at = pl.when(outside).then("billing_period_start").otherwise("start")
    bought = lines.filter(pl.col("kind") == "purchased")
    return _measured(bought.with_columns(at.dt.truncate("1h").alias("hour_start")))


def _measured(parts: pl.DataFrame) -> pl.DataFrame:
    """Put each cost into the column of its kind."""

    def of(kind: str, cost: str) -> pl.Expr:
        return pl.when(pl.col("kind") == kind).then(cost)

    return parts.with_columns(
        pl.col("hour_start").dt.date().alias("day"),
        of("purchased", "billed_cost").alias("purchased_cost"),
        of("used", "effective_cost").alias("used_cost"),
        of("unused", "effective_cost").alias("unused_cost"),
        of("used", "list_cost").alias("covered_list_cost"),
        of("on_demand", "effective_cost").alias("on_demand_cost"),
        of("on_demand", "list_cost").alias("on_demand_list_cost"),
    ).select(*_KEY, "hour_start", *_MEASURES)


def _described(lines: pl.DataFrame) -> pl.DataFrame:
    """Return what each commitment is called, and whether any charge of it belongs to the AI estate."""
    return lines.group_by("commitment_id", "provider", "billing_account_id").agg(
        pl.col("commitment_name").drop_nulls().min(),
        pl.col("commitment_type").drop_nulls().min(),
        pl.col("in_scope").any(),
    )


def _terms(lines: pl.DataFrame) -> pl.DataFrame:
    """Return from when to when purchases hold that are made for a day or longer."""
    outside = (pl.col("start") < pl.col("billing_period_start")) | (pl.col("start") >= pl.col("period_end"))
    at = pl.when(outside).then("billing_period_start").otherwise("start")
    long = lines.filter(pl.col("kind") == "purchased", pl.col("end") - pl.col("start") >= pl.duration(days=1))
    return (
        long.with_columns(at.dt.date().alias("day"))
        .group_by(_KEY)
        .agg(pl.col("start").min().alias("term_start"), pl.col("end").max().alias("term_end"))
    )


def _unstated(told: pl.DataFrame) -> pl.DataFrame:
    """Count the charges whose figure the bill does not state, on each day that they touch."""
    used, unused = pl.col("kind") == "used", pl.col("kind") == "unused"
    no_cost, no_list = pl.col("effective_cost").is_null(), pl.col("list_cost").is_null()
    begun, last = pl.col("start").dt.date(), pl.col("end").dt.offset_by("-1us").dt.date()
    days = (
        told.filter((used & (no_cost | no_list)) | (unused & no_cost))
        .with_columns(begun.alias("begun"), pl.date_ranges(begun, last).alias("day"))
        .explode("day")
    )
    begins = pl.col("begun") == pl.col("day")
    counted = (used & no_cost, used & no_cost & begins, unused & no_cost, unused & no_cost & begins, used & no_list)
    return days.group_by(_KEY).agg(
        each.sum().cast(pl.Int64).alias(name) for name, each in zip(_COUNTS, counted, strict=True)
    )


def _lowest(by_hour: pl.DataFrame) -> pl.DataFrame:
    """Return the cheapest hour of standard usage of each day."""
    usage = by_hour.filter(pl.col("commitment_id") == "")
    hourly = money.summed(usage.sort([*_KEY, "hour_start"]), by=[*_KEY, "hour_start"], columns=["on_demand_cost"])
    nothing = pl.lit(0, dtype=money.MONEY)
    cheapest = pl.when(pl.len() < _DAY_HOURS).then(nothing).otherwise(pl.col("on_demand_cost").min())
    return hourly.group_by(_KEY).agg(
        pl.when(pl.col("on_demand_cost").is_not_null().all()).then(cheapest).alias("lowest_hour_cost")
    )
