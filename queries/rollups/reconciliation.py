"""Whether what was allocated is what was charged, and what was charged is what was invoiced."""

from decimal import Decimal
from typing import Annotated, Any, Final

import dataframely as dy
import polars as pl

from ledger import money
from ledger.tables import AllocationHour, BillImport, FocusCharge, Invoice, Reconciliation
from queries.graph import Input, Span, rollup
from queries.rollups._lines import IMPORT_KEY, current

_CHARGE_COLUMNS: Final = (
    "import_id",
    "row_index",
    "BilledCost",
    "BillingCurrency",
    "BillingAccountId",
    "BillingPeriodStart",
    "ServiceProviderName",
    "InvoiceIssuerName",
    "InvoiceId",
)
_KEY: Final = tuple(Reconciliation.primary_key())
_INVOICE: Final = ("invoice_issuer", "invoice_id", "billing_period_start", "billing_currency")
_ALLOCATION_COLUMNS: Final = (*_KEY, "hour_start", "is_estimated", "billed_cost")

# The own organisation sends no invoice for what it owns.
_OWNED_FORMATS: Final = ("on_premises",)
_USAGE_FORMAT: Final = "usage_only"
"""Usage that came without cost and was priced here: no export says what it costs."""


@rollup()
def reconciliation(
    charges: Annotated[dy.LazyFrame[FocusCharge], Input(by="BillingPeriodStart", columns=_CHARGE_COLUMNS)],
    imports: Annotated[dy.LazyFrame[BillImport], Input(by="billing_period_start")],
    allocations: Annotated[dy.LazyFrame[AllocationHour], Input(by="billing_period_start", columns=_ALLOCATION_COLUMNS)],
    invoices: Annotated[dy.LazyFrame[Invoice], Input(by="billing_period_start")],
    span: Span,
) -> dy.LazyFrame[Reconciliation]:
    """Compare each invoice's billed charges with their allocations, the source's own totals and the invoice.

    Always the whole invoice, in scope or not, and BilledCost only. `matches_invoice` needs an amount from outside
    the bill; `matches_export` says that the sums equal the totals that came with the export; both need the
    allocations to sum to the charges, exactly. Costs that no bill covers yet stand apart, as `estimated`, and the
    status `estimated` marks them. Where no charge of an issuer's month names an invoice, as with Google, Oracle and
    Azure's Enterprise Agreements, its charges are compared with the sum of the issuer's invoices of the month.

    Nulls: `is_ok` is null without an invoice: agreeing with itself proves nothing.
    """
    billed = current(charges.collect(), imports.collect())
    period = pl.col("billing_period_start").is_between(span.start, span.end, closed="left")
    charged = _charged(billed, imports.collect()).filter(period)
    allocated = _allocated(allocations.filter(period).collect())
    both = charged.join(allocated, on=_KEY, how="full", coalesce=True)
    judged = _judged(_beside_invoices(both, _as_billed(invoices.filter(period).collect(), charged)))
    return Reconciliation.cast(judged.select(Reconciliation.column_names()).sort(_KEY).lazy())


def _charged(billed: pl.DataFrame, imports: pl.DataFrame) -> pl.DataFrame:
    """Return what each invoice charges, whether all of it is owned hardware, and whether its exports agree."""
    named = billed.rename({ours: theirs for ours, theirs in IMPORT_KEY.items() if ours != theirs}).rename(
        {
            "ServiceProviderName": "provider",
            "InvoiceIssuerName": "invoice_issuer",
            "InvoiceId": "invoice_id",
            "BilledCost": "charged",
        }
    )
    about = _exports(named, imports)
    sums = money.summed(named.sort("import_id", "row_index"), by=_KEY, columns=["charged"])
    described = (
        named.join(about, on=list(IMPORT_KEY.values()))
        .group_by(_KEY)
        .agg(
            pl.len().alias("row_count"),
            pl.col("is_owned").all().cast(pl.Int64),
            pl.col("exports_agree").all().cast(pl.Int64),
            pl.col("is_priced_here").all().cast(pl.Int64),
            pl.col("complete_through").max(),
        )
    )
    return sums.join(described, on=_KEY)


def _exports(named: pl.DataFrame, imports: pl.DataFrame) -> pl.DataFrame:
    """Tell for each import whether its stored charges sum to the totals that the source states.

    A control total may be rounded to the currency's subunit: then the invoice's tolerance holds for it too.
    """
    key = list(IMPORT_KEY.values())
    sums = money.summed(named, by=key, columns=["charged"]).join(imports.filter(pl.col("status") == "current"), on=key)
    agree = []
    for row in sums.iter_rows(named=True):
        own = money.difference(row["billed_cost"], row["residue"]) == row["charged"]
        control = row["control_cost"]
        allowed = money.tolerance(row["billing_currency"], row["row_count"])
        off = None if control is None else money.difference(control, row["billed_cost"]).copy_abs()
        agree.append(own and (off is None or off <= allowed))
    return sums.select(
        *key,
        "complete_through",
        pl.col("format").is_in(_OWNED_FORMATS).alias("is_owned"),
        (pl.col("format") == _USAGE_FORMAT).alias("is_priced_here"),
        pl.Series("exports_agree", agree, dtype=pl.Boolean),
    )


def _allocated(allocations: pl.DataFrame) -> pl.DataFrame:
    """Return what was allocated of each invoice's charges, and what is estimated beside them."""
    split = allocations.with_columns(
        pl.when(~pl.col("is_estimated")).then("billed_cost").alias("allocated"),
        pl.when("is_estimated").then("billed_cost").alias("estimated"),
    )
    sums = money.summed(split.sort(_KEY), by=_KEY, columns=["allocated", "estimated"])
    flags = split.group_by(_KEY).agg(pl.col("is_estimated").any().alias("has_estimates"))
    return sums.join(flags, on=_KEY)


def _as_billed(invoices: pl.DataFrame, charged: pl.DataFrame) -> pl.DataFrame:
    """Return invoices under the numbers that their bills have: none where no charge of their issuer's month has one."""
    month = [name for name in _INVOICE if name != "invoice_id"]
    is_billed = (pl.col("is_owned") == 0) & (pl.col("is_priced_here") == 0)
    told = charged.filter(is_billed).group_by(month).agg((pl.col("invoice_id") != "").any().alias("has_numbers"))
    bare = told.filter(~pl.col("has_numbers")).select(*month, pl.lit("").alias("billed_id"))
    named = pl.coalesce("billed_id", "invoice_id").alias("invoice_id")
    return invoices.join(bare, on=month, how="left").with_columns(named).drop("billed_id")


def _beside_invoices(both: pl.DataFrame, invoices: pl.DataFrame) -> pl.DataFrame:
    """Add what each invoice says; one that no charge has come for stands with charges of 0.

    An invoice may bill several providers: it is compared with what all of them charge.
    """
    sums = money.summed(invoices.sort(_INVOICE), by=_INVOICE, columns=["invoiced"]).join(
        invoices.group_by(_INVOICE).agg(pl.col("provider").min().alias("provider_named")), on=_INVOICE
    )
    nothing = pl.lit(Decimal(0), dtype=money.MONEY)
    rows = both.join(sums, on=_INVOICE, how="full", coalesce=True).with_columns(
        pl.coalesce("provider", "provider_named", "invoice_issuer").alias("provider"),
        *(pl.coalesce(each, nothing).alias(each) for each in ("charged", "allocated", "estimated")),
        pl.col("row_count", "is_owned", "exports_agree", "is_priced_here").fill_null(0),
    )
    whole = money.summed(rows.sort(_KEY), by=_INVOICE, columns=["charged"]).rename({"charged": "all_charged"})
    counts = rows.group_by(_INVOICE).agg(pl.col("row_count").sum().alias("all_row_count"))
    return rows.join(whole, on=_INVOICE).join(counts, on=_INVOICE)


def _judged(both: pl.DataFrame) -> pl.DataFrame:
    """Add the tolerance and the verdict, invoice by invoice.

    An invoice is judged whole. What it differs by stands once, beside the provider that charged most on it, so that
    what is invoiced sums to the invoice.
    """
    schema: dict[str, pl.DataType] = {
        "invoiced": money.MONEY,
        "difference": money.MONEY,
        "tolerance": money.MONEY,
        "status": pl.String(),
        "is_ok": pl.Boolean(),
    }
    # Owned hardware is on nobody's invoice: it never bears a difference.
    order = ["is_owned", "charged", "provider"]
    first = both.sort(order, descending=[False, True, False]).unique(_INVOICE, keep="first", maintain_order=True)
    bears = set(first.select(_KEY).iter_rows())
    verdicts = [
        _verdict(row, bears_it=tuple(row[name] for name in _KEY) in bears) for row in both.iter_rows(named=True)
    ]
    return pl.concat([both.drop("invoiced"), pl.DataFrame(verdicts, schema=schema, orient="row")], how="horizontal")


def _verdict(
    row: dict[str, Any], *, bears_it: bool
) -> tuple[Decimal | None, Decimal | None, Decimal, str, bool | None]:
    """Return invoiced, difference, tolerance, status and is_ok of one provider's part of an invoice."""
    tolerance = money.tolerance(row["billing_currency"], row["all_row_count"])
    is_allocated = row["allocated"] == row["charged"]
    if row["invoiced"] is not None and not row["is_owned"]:
        whole = money.difference(row["all_charged"], row["invoiced"])
        difference = whole if bears_it else Decimal(0)
        is_ok = is_allocated and whole.copy_abs() <= tolerance
        invoiced = money.difference(row["charged"], difference)
        return invoiced, difference, tolerance, "matches_invoice" if is_ok else "differs", is_ok
    if row["row_count"] and not is_allocated:
        status = "unchecked" if row["has_estimates"] is None else "differs"
    elif row["has_estimates"] or row["is_priced_here"]:
        status = "estimated"
    else:
        status = "matches_export" if row["exports_agree"] else "differs"
    return None, None, tolerance, status, None
