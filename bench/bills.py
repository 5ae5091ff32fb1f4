"""A FOCUS bill of many rows as one Parquet file, and how long it takes to import it into a store."""

import json
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from app.context import Context
from app.services.ingest import Files, ingest
from bench._measure import peak_bytes
from ledger.config import Settings

_START = datetime(2026, 10, 1, tzinfo=UTC)
_END = datetime(2026, 11, 1, tzinfo=UTC)
_BATCH = 500_000
_ROW_GROUP = 250_000
_IS_COVERED = pl.col("row") % 10 == 0

# What is the same in every row.
_SAME = {
    "BillingAccountId": "123456789012",
    "BillingAccountName": "payer",
    "BillingCurrency": "USD",
    "ChargeCategory": "Usage",
    "ChargeFrequency": "Usage-Based",
    "ConsumedUnit": "Hours",
    "InvoiceId": "INV-1",
    "InvoiceIssuerName": "Amazon Web Services",
    "PricingCategory": "Standard",
    "PricingUnit": "Hrs",
    "ProviderName": "AWS",
    "PublisherName": "AWS",
    "RegionId": "us-east-1",
    "RegionName": "US East (N. Virginia)",
    "ResourceType": "Instance",
    "ServiceCategory": "Compute",
    "ServiceName": "Amazon Elastic Compute Cloud",
    "ServiceSubcategory": "Virtual Machines",
}
_COMMITMENT = {
    "CommitmentDiscountCategory": "Spend",
    "CommitmentDiscountId": "arn:aws:savingsplans::123456789012:savingsplan/1",
    "CommitmentDiscountStatus": "Used",
    "CommitmentDiscountType": "Compute Savings Plan",
}

# How many different values a column has: accounts, resources, SKUs and sets of tags of a large customer.
_ACCOUNTS, _RESOURCES, _SKUS, _TAGS, _ZONES = 40, 30_000, 2_000, 1_500, 12


def _pick(seed: int, values: pl.Series) -> pl.Expr:
    """Return one of some values for each row; the same seed gives the same."""
    code = (pl.col("row").hash(seed) % len(values)).cast(pl.UInt32)
    return pl.lit(values).gather(code)


def _names(pattern: str, count: int) -> pl.Series:
    return pl.Series([pattern.format(index) for index in range(count)])


def batch(first: int, rows: int, start: datetime = _START, end: datetime = _END) -> pl.DataFrame:
    """Return some rows of the bill, as an export of FOCUS 1.2 writes them: costs as doubles, instants with a zone."""
    hours = (end - start) // timedelta(hours=1)
    period_start, period_end = (pl.lit(each).cast(pl.Datetime("us", "UTC")) for each in (start, end))
    at = period_start + pl.duration(hours=pl.col("row") % hours)
    columns = {
        "BillingPeriodStart": period_start,
        "BillingPeriodEnd": period_end,
        "ChargePeriodStart": at,
        "ChargePeriodEnd": at + pl.duration(hours=1),
        "ChargeClass": pl.lit(None, dtype=pl.String),
        "ResourceName": pl.lit(None, dtype=pl.String),
        **{name: pl.lit(text) for name, text in _SAME.items()},
        **_amounts(),
        **_commitments(),
        **_varied(),
    }
    frame = pl.select(pl.int_range(first, first + rows, dtype=pl.Int64, eager=False).alias("row"))
    return frame.select(columns[name].alias(name) for name in sorted(columns))


def _amounts() -> dict[str, pl.Expr]:
    # Every third cost is so small that a double's text has an exponent, as requests and transfer have.
    scale = pl.when(pl.col("row") % 3 == 0).then(1e-12).otherwise(1e-6)
    listed = ((pl.col("row").hash(1) % 10_000_000).cast(pl.Float64) * scale).round(12)
    charged = (listed * 0.8).round(12)
    quantity = (pl.col("row").hash(2) % 1000).cast(pl.Float64) / 1000
    return {
        "BilledCost": pl.when(_IS_COVERED).then(0.0).otherwise(charged),
        "EffectiveCost": (charged * 0.9).round(12),
        "ContractedCost": charged,
        "ContractedUnitPrice": pl.lit(None, dtype=pl.Float64),
        "ListCost": listed,
        "ListUnitPrice": listed,
        "ConsumedQuantity": quantity,
        "PricingQuantity": quantity,
    }


def _commitments() -> dict[str, pl.Expr]:
    return {name: pl.when(_IS_COVERED).then(pl.lit(text)) for name, text in _COMMITMENT.items()}


def _varied() -> dict[str, pl.Expr]:
    """Return the columns of which a large customer has many values; those of a SKU go together."""
    return {
        "AvailabilityZone": _pick(3, _names("us-east-1{}", _ZONES)),
        "ChargeDescription": _pick(4, _names("$0.{} per On Demand Linux instance hour", _SKUS)),
        "ResourceId": _pick(5, _names("arn:aws:ec2:us-east-1:123456789012:instance/i-{:017x}", _RESOURCES)),
        "SkuId": _pick(6, _names("SKU{:08d}", _SKUS)),
        "SkuMeter": _pick(6, _names("BoxUsage:p5.{}xlarge", _SKUS)),
        "SkuPriceId": _pick(6, _names("SKU{:08d}.JRTCKXETXF.6YS6EN2CT7", _SKUS)),
        "SubAccountId": _pick(7, _names("2{:011d}", _ACCOUNTS)),
        "SubAccountName": _pick(7, _names("account {}", _ACCOUNTS)),
        "Tags": _pick(8, _names('{{"team": "team-{0}", "env": "prod", "job": "job-{0}"}}', _TAGS)),
    }


def write(path: Path, rows: int) -> None:
    """Write the bill, some rows at a time."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for first in range(0, rows, _BATCH):
            batch(first, min(_BATCH, rows - first)).write_parquet(Path(folder) / f"{first:09d}.parquet")
        pl.scan_parquet(folder).sink_parquet(path, row_group_size=_ROW_GROUP)


def compute(url: str, path: Path) -> None:
    """Import the bill as the command does, and print the figures."""
    settings = Settings()
    settings = settings.model_copy(update={"store": settings.store.model_copy(update={"url": url})})
    context = Context(settings)
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    found = ingest.run(context, Files(paths=(str(path),)))
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    context.store.close()
    figures = {"import_seconds": seconds, "cpu_seconds": used, "peak_bytes": peak_bytes(), "told": found}
    print(json.dumps(figures, default=str))


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "write":
        write(Path(arguments[0]), int(arguments[1]))
    else:
        compute(arguments[0], Path(arguments[1]))
