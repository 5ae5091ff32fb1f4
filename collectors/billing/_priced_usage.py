"""Usage at the rates that held: each kind of usage is looked up once, however many rows are of it."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

import polars as pl

from collectors.billing._cells import EARLIEST, LATEST
from collectors.billing._rates import Rates, folded_unit
from ledger import money

ABOUT_RATES: Final = ("rate", "no_rate", "missing")
"""What is told of each usage beside its charge: its rate, or why it has none, and what a rate is missing for."""

_KIND: Final = ("ServiceProviderName", "SkuId", "ConsumedUnit", "RegionId", "ChargePeriodStart", "BillingCurrency")
_FOUND: Final = (
    *ABOUT_RATES,
    "currency",
    "ContractedUnitPrice",
    "details",
    "period_start",
    "period_end",
    "day_end",
)
_USUAL: Final[Mapping[str, str]] = {
    "ChargeCategory": "Usage",
    "ChargeFrequency": "Usage-Based",
    "ServiceCategory": "Compute",
}
_DATE_CHARACTERS: Final = 10

_Kind = tuple[str | None, ...]


def priced(usage: pl.DataFrame, rates: Rates) -> pl.DataFrame:
    """Return usage under FOCUS names as the texts of charges, with `ABOUT_RATES` beside them.

    Nothing is billed. The period is the export's own, else the month of the usage; usage that names a day and no end
    ends with the day.
    """
    kinds = usage.select(_KIND).unique(maintain_order=True)
    found = pl.DataFrame(
        [_found(kind, rates) for kind in kinds.iter_rows()], schema=dict.fromkeys(_FOUND, pl.String), orient="row"
    )
    known = pl.concat([kinds, found], how="horizontal")
    rows = usage.join(known, on=_KIND, how="left", nulls_equal=True, maintain_order="left")
    has_period = pl.col("BillingPeriodStart").is_not_null() | pl.col("period_start").is_null()
    absent = [
        name
        for name in (*_USUAL, "ServiceName", "SkuPriceDetails", "BillingPeriodStart", "BillingPeriodEnd")
        if name not in rows.columns
    ]
    return (
        rows.with_columns(pl.lit(None, dtype=pl.String).alias(name) for name in absent)
        .with_columns(
            *(pl.col(name).fill_null(word) for name, word in _USUAL.items()),
            *(
                pl.when(has_period).then(name).otherwise(other).alias(name)
                for name, other in (("BillingPeriodStart", "period_start"), ("BillingPeriodEnd", "period_end"))
            ),
            pl.lit("0").alias("BilledCost"),
            pl.coalesce("currency", "BillingCurrency").alias("BillingCurrency"),
            pl.coalesce("ChargePeriodEnd", "day_end").alias("ChargePeriodEnd"),
            pl.coalesce("ServiceName", "ServiceProviderName").alias("ServiceName"),
            pl.coalesce("SkuPriceDetails", "details").alias("SkuPriceDetails"),
            pl.col("ConsumedQuantity").alias("PricingQuantity"),
            pl.col("ConsumedUnit").alias("PricingUnit"),
            _costs(rows),
        )
        .drop("currency", "details", "period_start", "period_end", "day_end")
    )


def _found(kind: _Kind, rates: Rates) -> tuple[str | None, ...]:
    """Return what is known of one kind of usage, in the order of `_FOUND`."""
    provider, sku, unit, region = (each or "" for each in kind[:4])
    start, currency = _instant(kind[4]), (kind[5] or "").upper() or None
    rate = rates.at(provider, sku, unit, region, start, currency) if start else None
    others = rates.currencies_at(provider, sku, unit, region, start) if start and rate is None else []
    no_rate, missing = (None, None) if rate else _why_unpriced(sku, currency, others)
    return (
        rate.words if rate else None,
        no_rate,
        missing,
        rate.currency if rate else currency or rates.currency_of(provider),
        money.written(rate.unit_price) if rate else None,
        json.dumps({"InstanceType": sku}) if sku and folded_unit(unit) == "hour" else None,
        *_period(start),
        _day_end(kind[4], start),
    )


def _why_unpriced(sku: str, currency: str | None, others: list[str]) -> tuple[str, str]:
    """Say why usage has no price, and what a rate is missing for; `others` are the currencies that have one."""
    if not sku:
        return "the usage names no SKU, and so no rate", "usage without a SKU"
    if not others:
        return "no rate is known for the SKU", sku
    only = " and ".join(others)
    return f"no rate in {currency} is known for the SKU, only in {only}", f"{sku} in {currency} (only in {only})"


def _costs(rows: pl.DataFrame) -> pl.Series:
    """Return quantity times rate as texts; null without a rate, or where the quantity is no amount."""
    pairs = rows.select("ContractedUnitPrice", "ConsumedQuantity")
    distinct = pairs.drop_nulls().unique()
    costs = [_cost(price, quantity) for price, quantity in distinct.iter_rows()]
    known = distinct.with_columns(pl.Series("EffectiveCost", costs, dtype=pl.String))
    return pairs.join(known, on=pairs.columns, how="left", maintain_order="left")["EffectiveCost"]


def _cost(price: str, quantity: str) -> str | None:
    try:
        parsed = money.parse(quantity)
    except money.MoneyError:
        return None  # the quantity's own column says what is wrong with it
    amount = Fraction(parsed.amount) + Fraction(parsed.residue)
    return money.written(money.priced(money.parse(price).amount, amount))


def _period(start: datetime | None) -> tuple[str | None, str | None]:
    """Return the month of an instant."""
    if start is None:
        return None, None
    first = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.isoformat(), (first + timedelta(days=31)).replace(day=1).isoformat()


def _day_end(text: str | None, start: datetime | None) -> str | None:
    """Return the end of a usage that names a day only; of one with a time and no end nothing is known."""
    is_day = text is not None and len(text) == _DATE_CHARACTERS
    return (start + timedelta(days=1)).isoformat() if is_day and start else None


def _instant(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat((text or "").removesuffix(" UTC"))
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at if EARLIEST <= at < LATEST else None
