"""Allocations under FOCUS names: each row is a part of a charge, with what the charge says of itself."""

from datetime import timedelta
from decimal import Decimal
from typing import Final

import polars as pl

from ledger import money
from ledger.tables import CostHour

MANDATORY: Final = (
    "BilledCost",
    "EffectiveCost",
    "ListCost",
    "ContractedCost",
    "BillingCurrency",
    "BillingAccountId",
    "BillingAccountName",
    "BillingPeriodStart",
    "BillingPeriodEnd",
    "ChargePeriodStart",
    "ChargePeriodEnd",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ServiceCategory",
    "ServiceName",
    "ServiceProviderName",
    "HostProviderName",
    "InvoiceIssuerName",
    "PricingQuantity",
    "PricingUnit",
)
"""Columns that FOCUS 1.4 makes mandatory; they are in every export, null where the ledger does not know."""

COST_COLUMNS: Final = (*CostHour.primary_key(), "list_cost", "contracted_cost", "charge_description")
"""What is read of a cost."""

_KEY: Final = CostHour.primary_key()
_COSTS: Final = ("list_cost", "contracted_cost")
_PRECISE: Final = 1_000_000_000
_MONEY: Final = pl.lit(None, dtype=money.MONEY)
_TEXT: Final = pl.lit(None, dtype=pl.String)


def focus(
    allocations: pl.DataFrame, costs: pl.DataFrame, accounts: pl.DataFrame, services: pl.DataFrame
) -> pl.DataFrame:
    """Return allocations under FOCUS names.

    A row keeps the charge's own category, period and account, and says through the Allocated columns whose part
    it is. The parts of a charge sum to it in each of the four costs, exactly. `accounts` says the name of an
    account and who hosts it, `services` the category of a service.

    Nulls: what the provider does not say; the quantity and unit that were priced, which are not divided.
    """
    rows = _priced(allocations, costs)
    rows = rows.join(accounts, on=["provider", "billing_account_id"], how="left", maintain_order="left")
    rows = rows.join(services, on=["provider", "service_name"], how="left", maintain_order="left")
    tags = pl.struct("team", "user", "job_id", "model", "bucket", "state").struct.json_encode()
    return rows.select(
        BilledCost="billed_cost",
        EffectiveCost="effective_cost",
        ListCost="list_cost",
        ContractedCost="contracted_cost",
        BillingAccountId="billing_account_id",
        BillingAccountName="account_name",
        BillingCurrency="billing_currency",
        BillingPeriodStart="billing_period_start",
        BillingPeriodEnd=pl.col("billing_period_start").dt.offset_by("1mo"),
        ChargeCategory="charge_category",
        ChargeClass=_known("charge_class"),
        ChargeDescription="charge_description",
        ChargePeriodStart="hour_start",
        ChargePeriodEnd=pl.col("hour_start") + timedelta(hours=1),
        CommitmentDiscountStatus=_known("commitment_status"),
        InvoiceId=_known("invoice_id"),
        InvoiceIssuerName="invoice_issuer",
        PricingQuantity=_MONEY,
        PricingUnit=_TEXT,
        ServiceProviderName="provider",
        HostProviderName="host_provider",
        ServiceCategory="service_category",
        ServiceName="service_name",
        ResourceId=_known("resource_id"),
        AllocatedMethodId=pl.when(_is_divided()).then("allocated_method_id"),
        AllocatedMethodDetails=_details(),
        AllocatedResourceId=_known("gpu_uuid"),
        AllocatedResourceName=_known("node"),
        AllocatedTags=tags,
        x_Cluster=_known("cluster"),
        x_Node=_known("node"),
        x_Bucket="bucket",
        x_State=_known("state"),
        x_Team=_known("team"),
        x_User=_known("user"),
        x_JobId=_known("job_id"),
        x_RestartCount="restart_count",
        x_Model=_known("model"),
        x_HeldGpuSeconds="held_gpu_seconds",
        x_IsEstimated="is_estimated",
        x_IsInScope="in_scope",
    )


def _priced(allocations: pl.DataFrame, costs: pl.DataFrame) -> pl.DataFrame:
    """Add to each part its list and contracted cost, in proportion to its effective, else its billed cost.

    The split is by those to a billionth, and what that leaves goes to the largest part.
    """
    charges = costs.select(COST_COLUMNS).with_row_index("charge")
    rows = allocations.with_row_index("part").join(
        charges.select(*_KEY, "charge", "charge_description"), on=_KEY, how="left", maintain_order="left"
    )
    leaves = rows.filter(pl.col("charge").is_not_null()).select("part", "charge", _weight())
    # A whole is divided as the costs are, so that the ratios of a charge sum to 1 exactly.
    whole = pl.lit(Decimal(1)).cast(money.MONEY).alias("ratio")
    divided = (*_COSTS, "ratio")
    amounts = charges.with_columns(whole).join(leaves.select("charge").unique(), on="charge", how="semi")
    parts = money.apportion(
        amounts.select("charge", *divided), leaves, by=["charge"], weight="weight", tie=["part"], columns=divided
    ).parts
    return rows.join(parts.select("part", *divided), on="part", how="left", maintain_order="left")


def _is_divided() -> pl.Expr:
    """Tell whether a row is a part of a charge, or all of one that no rule divides."""
    return pl.col("allocated_method_details").is_not_null() | (pl.col("charge").count().over("charge") > 1)


def _details() -> pl.Expr:
    """Return FOCUS's object of JSON: which part of the charge it is, and what the rule weighs.

    Source: FOCUS 1.3, AllocatedMethodDetails.
    """
    ratio = pl.col("ratio").cast(pl.String)
    element = pl.concat_str(pl.lit('{"Elements":[{"AllocatedRatio":'), ratio, pl.lit("}]"))
    rule = pl.col("allocated_method_details").str.strip_prefix("{").str.strip_suffix("}")
    said = pl.when(rule.is_not_null()).then(pl.concat_str(pl.lit(","), rule)).otherwise(pl.lit(""))
    return pl.when(_is_divided()).then(pl.concat_str(element, said, pl.lit("}")))


def _weight() -> pl.Expr:
    """Return a part's size among the parts of its charge as a whole number.

    What costs nothing is divided by the device time behind it, and evenly where there is none.
    """
    sizes = ("effective_cost", "billed_cost", "held_gpu_seconds")
    amounts = [money.to_units(each).fill_null(0).abs() for each in sizes]
    scaled = []
    for each in amounts:
        whole = each.sum().over("charge")
        step = pl.max_horizontal(whole // _PRECISE, pl.lit(1, dtype=pl.Int128))
        scaled.append(pl.when(whole > 0).then(each // step))
    return pl.coalesce(*scaled, pl.lit(1)).cast(pl.Int64).alias("weight")


def _known(column: str) -> pl.Expr:
    """Return a key's text as FOCUS has it: null where it does not apply."""
    return pl.when(pl.col(column) != "").then(pl.col(column))
