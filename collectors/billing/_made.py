"""Charges that are made here, as an import that replaces itself."""

import hashlib
from datetime import datetime
from decimal import Decimal

import polars as pl

from collectors.billing._charges import UNIT, import_frame
from collectors.billing._format import Imported
from collectors.billing._source import import_id
from ledger import billed, money
from ledger.tables import FocusCharge


def made_import(
    source: str, month: datetime, bare: pl.DataFrame, *, imported_at: datetime, remarks: tuple[str, ...] = ()
) -> Imported:
    """Return one month's charges as an import whose id changes only when its charges do.

    `bare` has the columns of `focus_charge`; what tells its rows apart, import and place, is set here.
    """
    sha256 = hashlib.sha256(bare.write_csv().encode()).hexdigest()
    path = f"{source}/{month:%Y-%m}"
    identity = import_id(path, sha256)
    charges = bare.with_columns(
        pl.lit(identity).alias("import_id"), pl.int_range(pl.len(), dtype=pl.Int64).alias("row_index")
    )
    units = money.summed(charges, by=UNIT, columns=["BilledCost", "EffectiveCost"])
    facts = charges.group_by(UNIT).agg(
        pl.len().cast(pl.Int64).alias("row_count"),
        pl.col("ChargePeriodStart").dt.date().n_unique().cast(pl.Int64).alias("charge_day_count"),
        pl.col("ServiceProviderName").unique().sort().str.join(", ").alias("provider"),
        billed.usage_end().alias("usage_end"),
        billed.long_usage_end().alias("long_usage_end"),
    )
    delivered = pl.lit(imported_at, dtype=pl.Datetime("us", "UTC"))
    facts = facts.with_columns(
        billed.complete_through("usage_end", "long_usage_end", delivered).alias("complete_through")
    )
    imports = [
        {
            "import_id": identity,
            "billing_account_id": row["BillingAccountId"],
            "billing_period_start": row["BillingPeriodStart"],
            "billing_currency": row["BillingCurrency"],
            "source_name": source,
            "path": path,
            "format": source,
            "provider": row["provider"],
            "sha256": sha256,
            "imported_at": imported_at,
            "status": "current",
            "row_count": row["row_count"],
            "rejected_count": 0,
            "charge_day_count": row["charge_day_count"],
            "billed_cost": row["BilledCost"],
            "effective_cost": row["EffectiveCost"],
            "residue": Decimal(0),
            "complete_through": row["complete_through"],
        }
        for row in units.join(facts, on=UNIT, maintain_order="left").iter_rows(named=True)
    ]
    return Imported(
        path=path,
        format=source,
        version="",
        source_name=source,
        sha256=sha256,
        import_id=identity,
        tables={FocusCharge: FocusCharge.cast(charges)},
        imports=import_frame(imports),
        remarks=remarks,
    )
