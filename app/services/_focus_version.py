"""Allocations in the form of an earlier FOCUS version, whole enough for the public validator of it.

FOCUS 1.2 has no columns for split costs: ours stand under `x_`. It knows no unknown cost either: what the ledger does
not know is taken from the next cost that it knows, and the row says so in `x_DerivedColumns`.
"""

from typing import Final, Literal

import polars as pl

Version = Literal["1.4", "1.2"]

_RENAMED: Final = {
    "ServiceProviderName": "ProviderName",
    "HostProviderName": "PublisherName",
    "AllocatedMethodId": "x_AllocatedMethodId",
    "AllocatedMethodDetails": "x_AllocatedMethodDetails",
    "AllocatedResourceId": "x_AllocatedResourceId",
    "AllocatedResourceName": "x_AllocatedResourceName",
    "AllocatedTags": "Tags",
}

_ESTIMATED: Final = "Not billed yet"
_OTHER: Final = "Other"

# What a cost is taken from where it is not known itself, first wins; a billed cost is always known.
_SOURCES: Final = {
    "EffectiveCost": ("EffectiveCost", "BilledCost"),
    "ContractedCost": ("ContractedCost", "EffectiveCost", "BilledCost"),
    "ListCost": ("ListCost", "ContractedCost", "EffectiveCost", "BilledCost"),
}


def in_version(frame: pl.DataFrame, version: Version) -> pl.DataFrame:
    """Return an export under the names of a version; 1.4 is what it is made in."""
    return frame if version == "1.4" else _in_1_2(frame)


def _in_1_2(frame: pl.DataFrame) -> pl.DataFrame:
    derived = [pl.when(pl.col(name).is_null()).then(pl.lit(name)) for name in _SOURCES]
    usage = pl.col("ChargeCategory") == "Usage"
    category = pl.coalesce("ServiceCategory", pl.when(usage & pl.col("x_Node").is_not_null()).then(pl.lit("Compute")))
    whole = frame.with_columns(
        pl.concat_str(derived, separator=",", ignore_nulls=True).alias("x_DerivedColumns"),
        *(pl.coalesce(sources).alias(name) for name, sources in _SOURCES.items()),
        pl.coalesce("HostProviderName", "ServiceProviderName").alias("HostProviderName"),
        pl.coalesce("ServiceName", pl.lit(_ESTIMATED)).alias("ServiceName"),
        pl.when(usage).then(pl.lit("Usage-Based")).otherwise(pl.lit("One-Time")).alias("ChargeFrequency"),
        category.fill_null(_OTHER).alias("ServiceCategory"),
    )
    # A service has one category in this version: the first of those that its rows have.
    one = pl.col("ServiceCategory").sort().first().over("ServiceProviderName", "ServiceName")
    named = whole.with_columns(one.alias("ServiceCategory"))
    subcategory = pl.concat_str(pl.lit(f"{_OTHER} ("), "ServiceCategory", pl.lit(")"))
    return named.with_columns(subcategory.alias("ServiceSubcategory")).rename(_RENAMED, strict=False)
