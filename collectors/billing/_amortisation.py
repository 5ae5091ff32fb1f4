"""What was paid in advance, spread over its term where the provider does not: rows that are marked as derived."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import polars as pl

from collectors.billing._format import Imported
from collectors.billing._made import made_import
from ledger import money
from ledger.tables import FocusCharge
from ledger.tables.partition import floor

SOURCE: Final = "amortisation"

_WHY: Final = "derived: the provider gives usage that was paid in advance no amortised cost"
_HOUR: Final = timedelta(hours=1)

_OF_PURCHASE: Final = (
    "BillingCurrency",
    "BillingAccountId",
    "BillingAccountName",
    "ServiceProviderName",
    "InvoiceIssuerName",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountCategory",
    "CommitmentDiscountType",
    "CapacityReservationId",
)
"""What a derived row takes from the purchase; the rest is that of the usage that it prices."""

_OF_USAGE: Final = (
    "HostProviderName",
    "InvoiceId",
    "ServiceCategory",
    "ServiceSubcategory",
    "ServiceName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "RegionId",
    "RegionName",
    "AvailabilityZone",
    "SkuId",
    "SkuMeter",
    "SkuPriceDetails",
    "SubAccountId",
    "SubAccountName",
    "Tags",
)
_STATUSES: Final = ("CommitmentDiscountStatus", "CapacityReservationStatus")

_Row = dict[str, Any]


def amortised(purchases: pl.DataFrame, usage: pl.DataFrame, *, imported_at: datetime) -> list[Imported]:
    """Return one import per calendar month: EffectiveCost for prepaid usage, and an offset row for its purchase.

    What was paid is spread evenly over the term. Each hour's part goes to the usage of that hour by quantity, to the
    commitment's own unused rows too, and to an unused row where nothing used it. Hours count that the account's bill
    covers. The offset takes from the purchase what it carries as EffectiveCost itself, so that over the term
    EffectiveCost sums to what was paid, once.

    Shape, grain: `purchases` and `usage` are charges with `commitment_id`, as `prepaid_purchases` and `prepaid_usage`
    answer them; purchases with `complete_through`.
    """
    pieces = [(index, *piece) for index, row in enumerate(purchases.iter_rows(named=True)) for piece in _pieces(row)]
    instant = pl.Datetime("us", "UTC")
    schema = pl.Schema({"purchase": pl.Int64(), "at": instant, "end": instant, "EffectiveCost": money.MONEY})
    cut = pl.DataFrame(pieces, schema=schema, orient="row").with_row_index("piece")
    numbered = purchases.with_row_index("purchase").with_columns(pl.col("purchase").cast(pl.Int64))
    rows = pl.concat([_offsets(numbered), _hours(cut, numbered, _by_hour(usage))])
    if rows.is_empty():
        return []
    months = rows.sort(rows.columns, nulls_last=True).partition_by("BillingPeriodStart", maintain_order=True)
    return [
        made_import(SOURCE, each["BillingPeriodStart"][0], each, imported_at=imported_at)
        for each in sorted(months, key=lambda month: month["BillingPeriodStart"][0])
    ]


def _pieces(purchase: _Row) -> Iterator[tuple[datetime, datetime, Decimal]]:
    """Yield the clock hours of a purchase's term that the bill covers, each with its part of the price."""
    start, end = purchase["ChargePeriodStart"], purchase["ChargePeriodEnd"]
    whole = _milliseconds(end - start)
    at = start
    while at < end:
        until = min(end, floor(at, "hour") + _HOUR)
        if until > purchase["complete_through"]:
            return
        part = money.spread(purchase["BilledCost"], _milliseconds(at - start), _milliseconds(until - start), whole)
        yield at, until, part
        at = until


def _milliseconds(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)


def _by_hour(usage: pl.DataFrame) -> pl.DataFrame:
    """Return usage cut at clock hours; `weight` is its quantity there, in millionths of a unit."""
    start, end = pl.col("ChargePeriodStart"), pl.col("ChargePeriodEnd")
    length = (end - start).dt.total_milliseconds()
    quantity = pl.coalesce("ConsumedQuantity", "PricingQuantity", "CommitmentDiscountQuantity").cast(pl.Float64)
    cut = (
        usage.filter(length > 0)
        .with_columns(pl.datetime_ranges(start.dt.truncate("1h"), end, "1h", closed="left").alias("hour"))
        .explode("hour")
    )
    inside = pl.min_horizontal(end, pl.col("hour") + _HOUR) - pl.max_horizontal(start, "hour")
    share = inside.dt.total_milliseconds() / length
    # Usage without a quantity counts as one unit for an hour.
    known = pl.coalesce(quantity * share, inside.dt.total_milliseconds() / 3_600_000)
    weighed = cut.with_columns((known * 1_000_000).round().cast(pl.Int64).alias("weight"))
    if not (weighed["weight"] < 0).any():
        return weighed
    # What is taken back lowers the usage of the same resource in that hour, as far as there is any.
    of = ["commitment_id", "hour", *_STATUSES, *_OF_USAGE]
    return weighed.group_by(of, maintain_order=True).agg(pl.col("weight").sum().clip(lower_bound=0))


def _hours(cut: pl.DataFrame, purchases: pl.DataFrame, usage: pl.DataFrame) -> pl.DataFrame:
    """Return the derived usage: each hour's part on what used it, or unused."""
    of_purchase = purchases.select(
        "purchase", "commitment_id", "ChargeDescription", *_OF_PURCHASE,
        *(pl.col(each).alias(f"{each}_bought") for each in _OF_USAGE),
    )  # fmt: skip
    hours = cut.with_columns(pl.col("at").dt.truncate("1h").alias("hour")).join(of_purchase, on="purchase")
    candidates = hours.drop("EffectiveCost").join(
        usage.select("commitment_id", "hour", "weight", *_STATUSES, *_OF_USAGE), on=["commitment_id", "hour"]
    )
    split = money.apportion(
        cut.select("piece", "EffectiveCost"),
        candidates,
        by=["piece"],
        weight="weight",
        tie=["ResourceId", "CapacityReservationStatus"],
        columns=["EffectiveCost"],
    )
    used = split.parts.with_columns(_status(each) for each in _STATUSES)
    nobody = hours.drop("EffectiveCost").join(split.unplaced, on="piece")
    unused = nobody.with_columns(
        *(pl.col(f"{each}_bought").alias(each) for each in _OF_USAGE),
        *(_status(each, "Unused") for each in _STATUSES),
    )
    both = pl.concat([used.filter(pl.col("EffectiveCost") != 0), unused], how="diagonal")
    return _charges(
        both.with_columns(
            pl.col("at").alias("ChargePeriodStart"),
            pl.col("end").alias("ChargePeriodEnd"),
            pl.lit("Usage").alias("ChargeCategory"),
            pl.lit("Usage-Based").alias("ChargeFrequency"),
            pl.lit("Committed").alias("PricingCategory"),
        ).with_columns(_month("at"))
    )


def _status(column: str, otherwise: str = "Used") -> pl.Expr:
    """Return the status of a row under the identifier that it has; the row's own word goes first."""
    identifier = column.replace("Status", "Id")
    said = pl.lit(otherwise) if otherwise == "Unused" else pl.coalesce(*_STATUSES, pl.lit(otherwise))
    return pl.when(pl.col(identifier).is_not_null()).then(said).alias(column)


def _offsets(purchases: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that take from purchases what the derived usage carries instead."""
    carrying = purchases.filter(pl.col("EffectiveCost") != 0)
    taken = money.from_units(pl.lit(0, dtype=pl.Int128) - money.to_units("EffectiveCost"))
    return _charges(carrying.with_columns(taken.alias("EffectiveCost")))


def _month(column: str) -> list[pl.Expr]:
    """Return the calendar month of an instant as a billing period."""
    start = pl.col(column).dt.truncate("1mo")
    return [start.alias("BillingPeriodStart"), start.dt.offset_by("1mo").alias("BillingPeriodEnd")]


def _charges(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows as charges that bill nothing and say that they are derived."""
    empty = FocusCharge.create_empty()
    described = rows.with_columns(
        pl.lit(Decimal(0), dtype=money.MONEY).alias("BilledCost"),
        pl.concat_str(pl.lit("Amortisation of "), pl.col("ChargeDescription").fill_null("a purchase")).alias(
            "ChargeDescription"
        ),
        pl.col("InvoiceId").fill_null(""),
        pl.lit(value=True).alias("is_derived"),
        pl.lit(_WHY).alias("unknown_reason"),
        *(pl.lit(None, dtype=empty.schema[name]).alias(name) for name in _NOT_KNOWN),
    )
    columns = [
        pl.col(name).cast(kind) if name in described.columns else pl.lit(None, dtype=kind).alias(name)
        for name, kind in empty.schema.items()
    ]
    return described.select(columns)


_NOT_KNOWN: Final = (
    "ListCost",
    "ContractedCost",
    "ListUnitPrice",
    "ContractedUnitPrice",
    "PricingQuantity",
    "ConsumedQuantity",
    "CommitmentDiscountQuantity",
)
"""Quantities and prices stand on the provider's own rows: a second one would count them twice."""
