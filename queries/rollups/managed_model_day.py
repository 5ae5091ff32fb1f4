"""What models of managed services cost by day, whose they are, and for how many tokens."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger import money
from ledger.money_sections import MoneySettings
from ledger.tables import BillImport, FocusCharge, ManagedModelDay
from ledger.tables.partition import Containing
from queries.graph import Input, Span, rollup
from queries.rollups._lines import IMPORT_KEY, current
from queries.rollups._scope import ACCOUNT_COLUMNS, in_scope, owner_team
from queries.rollups._spread import hours

_COLUMNS: Final = (
    *("import_id", "BilledCost", "EffectiveCost", "BillingCurrency", "BillingPeriodStart", "BillingPeriodEnd"),
    *("ChargePeriodStart", "ChargePeriodEnd", "ChargeCategory", "ServiceName", "ServiceProviderName", "ResourceId"),
    *("SkuPriceDetails", "ConsumedQuantity", "ConsumedUnit", "Tags", *ACCOUNT_COLUMNS),
)
_NAMED: Final = Containing(('"ModelId"',))
_KEY: Final = tuple(ManagedModelDay.primary_key())
_AMOUNTS: Final = ("billed_cost", "effective_cost", "consumed_unit_count", "token_count")
_BLOCK: Final = r"(?i)^(\d*) ?([km]?) ?(?:tokens?|units?|count)?$"
"""A unit that counts tokens, one by one or in blocks: `1K`, `1M tokens`, `Tokens`, `1000 tokens`."""


@rollup()
def managed_model_day(
    charges: Annotated[
        dy.LazyFrame[FocusCharge],
        Input(by="BillingPeriodStart", columns=_COLUMNS, where={"SkuPriceDetails": _NAMED}),
    ],
    imports: Annotated[
        dy.LazyFrame[BillImport], Input(by="billing_period_start", columns=(*IMPORT_KEY.values(), "status"))
    ],
    span: Span,
    settings: MoneySettings,
) -> dy.LazyFrame[ManagedModelDay]:
    """Sum the charges of which a bill names the model, by day, model, direction of the tokens and owner.

    Usage is spread evenly over its charge period, everything else is booked whole, as in `cost_hour`, of which these
    charges are a part: nothing here is added to it. A quantity is told in tokens where the bill says that it counts
    tokens, by its unit or by their direction, and the unit is one of blocks of them.

    Conserves: over a billing period, costs and quantities are those of its current charges that name a model, exactly.
    Nulls: a cost or quantity is null where no charge behind it says it.
    """
    period = pl.col("BillingPeriodStart").is_between(span.start, span.end, closed="left")
    bills = current(charges.filter(period).collect(), imports.collect())
    lines = _lines(bills, settings)
    if lines.is_empty():
        return ManagedModelDay.create_empty(lazy=True)
    split = money.apportion(
        lines.select("line", *_AMOUNTS), hours(lines), by=["line"], weight="weight", tie=["hour_start"],
        columns=_AMOUNTS,
    )  # fmt: skip
    parts = split.parts.select("line", "hour_start", *_AMOUNTS).join(lines.drop(_AMOUNTS), on="line")
    days = parts.with_columns(pl.col("hour_start").dt.date().alias("day")).sort(_KEY)
    return ManagedModelDay.cast(
        money.summed(days, by=_KEY, columns=_AMOUNTS).select(ManagedModelDay.column_names()).lazy()
    )


def _lines(bills: pl.DataFrame, settings: MoneySettings) -> pl.DataFrame:
    """Return the charges that name a model, with the stretch that each is spread over."""
    said = pl.col("SkuPriceDetails").str
    start, period = pl.col("ChargePeriodStart"), pl.col("BillingPeriodStart")
    outside = (start < period) | (start >= pl.col("BillingPeriodEnd"))
    is_usage = pl.col("ChargeCategory") == "Usage"
    since = pl.when(is_usage | ~outside).then(start).otherwise(period)
    instant = since.dt.offset_by("1us")
    direction = said.json_path_match("$.TokenDirection").fill_null("")
    unit = pl.col("ConsumedUnit").fill_null("")
    owner, scope = owner_team(bills, settings.owners), in_scope(bills, settings.scope)
    return (
        bills.with_columns(scope)
        .select(
            period.alias("billing_period_start"),
            pl.col("ServiceProviderName").alias("provider"),
            pl.col("ServiceName").fill_null("").alias("service_name"),
            said.json_path_match("$.ModelId").alias("model"),
            direction.alias("token_direction"),
            unit.alias("consumed_unit"),
            owner.alias("team"),
            pl.col("BillingCurrency").alias("billing_currency"),
            "in_scope",
            since.alias("since"),
            # A charge of no length is one of the instant at which it starts.
            pl.when(is_usage).then(pl.max_horizontal("ChargePeriodEnd", instant)).otherwise(instant).alias("until"),
            pl.col("BilledCost").alias("billed_cost"),
            pl.col("EffectiveCost").alias("effective_cost"),
            pl.col("ConsumedQuantity").alias("consumed_unit_count"),
            _tokens(unit, direction).alias("token_count"),
        )
        .filter(pl.col("model").fill_null("") != "")
        .with_row_index("line")
    )


def _tokens(unit: pl.Expr, direction: pl.Expr) -> pl.Expr:
    """Return the consumed quantity in tokens; null where it does not count tokens."""
    parts = unit.str.strip_chars().str.extract_groups(_BLOCK)
    size = pl.when(parts.struct["1"] == "").then(pl.lit("1")).otherwise(parts.struct["1"]).cast(pl.Int64, strict=False)
    times = parts.struct["2"].str.to_lowercase().replace_strict({"": 1, "k": 1_000, "m": 1_000_000}, default=None)
    is_counted = (direction != "") | unit.str.contains("(?i)token")
    counted = money.to_units("ConsumedQuantity") * (size * times).cast(pl.Int128)
    return pl.when(is_counted).then(money.from_units(counted))
