"""The files that such an estate gets: FOCUS 1.2 bills, invoices, price lists and an inventory of owned hardware."""

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Final

import polars as pl

from collectors.simulate import estate
from collectors.simulate.charges import COMMITMENT, Charge, charges, following, periods
from collectors.simulate.holding import assets
from collectors.simulate.offers import price_lists
from collectors.simulate.shapes import Cluster, instant
from ledger.tables import Asset

_INVOICE_COLUMNS: Final = (
    "invoice_issuer", "invoice_id", "billing_account_id", "billing_period_start", "billing_currency", "provider",
    "invoiced", "issue_status", "issued_at",
)  # fmt: skip
_CENT: Final = Decimal("0.01")
_ISSUERS: Final = {
    estate.AWS.name: "Amazon Web Services, Inc.",
    estate.AZURE.name: "Microsoft Ireland Operations Limited",
}
_NAMES: Final = {
    estate.AWS_ACCOUNT: "Example research", estate.AWS_LABS_ACCOUNT: "Example labs", estate.AZURE_ACCOUNT: "Example EU",
}  # fmt: skip
_KIND: Final = {"AWS Savings Plans": "Compute", "Amazon Simple Storage Service": "Storage", "Amazon FSx": "Storage",
                "Storage Accounts": "Storage", "AWS Data Transfer": "Networking", "Bandwidth": "Networking",
                "Amazon Relational Database Service": "Databases", "Azure App Service": "Web"}  # fmt: skip


def bills(cluster: Cluster, folder: Path, *, planted_difference: Decimal = Decimal(0)) -> list[Path]:
    """Write what `ingest` can read into a folder and return the paths, in the order to import them.

    A closed month has its invoice number, the running one has none. `planted_difference` is added to the first
    invoice, so that it differs from its bill.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = charges(cluster)
    paths = []
    for account in sorted({row.account for row in rows}):
        for period in periods(cluster):
            own = [row for row in rows if row.account == account and row.period == period]
            if own:
                paths.append(_bill(folder, own, cluster.end))
    paths.append(_invoices(folder / "invoices.csv", cluster, rows, planted_difference))
    paths.extend(price_lists(folder, cluster))
    owned = assets(cluster)
    if owned:
        paths.append(_assets(folder / "owned_hardware.csv", owned))
    return paths


def invoice_id(row: Charge, end: int) -> str:
    """Return the invoice of a charge, '' while its month is open."""
    if following(row.period).timestamp() > end:
        return ""
    prefix = {estate.AWS_ACCOUNT: "EUINUS26", estate.AWS_LABS_ACCOUNT: "EUINUL26"}.get(row.account, "E0600")
    return f"{prefix}-{row.period:%Y%m}"


def invoice_totals(cluster: Cluster, rows: Iterable[Charge]) -> dict[tuple[str, str, datetime], Decimal]:
    """Return the payable amount by account, invoice and month, rounded to cents as invoices are."""
    totals: dict[tuple[str, str, datetime], Decimal] = {}
    for row in rows:
        invoice = invoice_id(row, cluster.end)
        if invoice:
            key = (row.account, invoice, row.period)
            totals[key] = totals.get(key, Decimal(0)) + row.billed
    return {key: total.quantize(_CENT, ROUND_HALF_EVEN) for key, total in totals.items()}


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _focus(row: Charge, end: int) -> dict[str, str | None]:
    """Return a charge under the column names of FOCUS 1.2, every value as text."""
    committed = row.commitment in {"Used", "Unused"}
    purchase = row.commitment == "Purchase"
    usage = row.category == "Usage"
    unit_price = row.list_cost / row.quantity if usage and row.quantity else None
    return {
        "BilledCost": str(row.billed), "EffectiveCost": str(row.effective), "ListCost": str(row.list_cost),
        "ContractedCost": str(row.billed if purchase or not committed else row.list_cost),
        "BillingCurrency": row.currency, "BillingAccountId": row.account, "BillingAccountName": _NAMES[row.account],
        "BillingAccountType": "Account", "BillingPeriodStart": _text(row.period),
        "BillingPeriodEnd": _text(following(row.period)), "ChargePeriodStart": _text(instant(row.start)),
        "ChargePeriodEnd": _text(instant(row.end)), "ChargeCategory": row.category,
        "ChargeClass": row.charge_class or None, "ChargeDescription": row.description, "ChargeFrequency": row.frequency,
        "ServiceCategory": _KIND.get(row.service, "Compute" if row.node is not None else "Other"),
        "ServiceSubcategory": "Virtual Machines" if row.node is not None else None,
        "ServiceName": row.service, "ProviderName": row.provider, "PublisherName": row.provider,
        "InvoiceIssuerName": _ISSUERS[row.provider], "InvoiceId": invoice_id(row, end) or None,
        "PricingCategory": ("Committed" if committed else "Standard") if usage else None,
        "PricingQuantity": str(row.quantity) if usage else None, "PricingUnit": row.unit if usage else None,
        "ConsumedQuantity": str(row.quantity) if usage and row.commitment != "Unused" else None,
        "ConsumedUnit": row.unit if usage and row.commitment != "Unused" else None,
        "ListUnitPrice": None if unit_price is None else str(unit_price.quantize(Decimal("0.000001"))),
        "ContractedUnitPrice": None, "CommitmentDiscountId": COMMITMENT if row.commitment else None,
        "CommitmentDiscountName": "p5 for a year" if row.commitment else None,
        "CommitmentDiscountCategory": "Usage" if row.commitment else None,
        "CommitmentDiscountType": "Compute Savings Plans" if row.commitment else None,
        "CommitmentDiscountStatus": row.commitment if committed else None,
        "CommitmentDiscountQuantity": str(row.quantity) if row.commitment else None,
        "CommitmentDiscountUnit": "Hours" if committed else row.unit if row.commitment else None,
        "CapacityReservationId": None, "CapacityReservationStatus": None, "ResourceId": row.resource or None,
        "ResourceName": row.resource.rpartition("/")[2] or None,
        "ResourceType": "Instance" if row.node is not None else None, "RegionId": _region(row),
        "RegionName": _region(row),
        "AvailabilityZone": None, "SkuId": row.details.get("InstanceType"),
        "SkuMeter": "Compute Usage" if row.node is not None else None,
        "SkuPriceId": None, "SkuPriceDetails": json.dumps(row.details) if row.details else None,
        "SubAccountId": row.sub_account, "SubAccountName": row.sub_account[-8:],
        "Tags": json.dumps({"estate": "ai"}) if row.node is not None else "{}",
    }  # fmt: skip


def _region(row: Charge) -> str | None:
    if row.category != "Usage":
        return None
    return estate.AWS.region if row.provider == estate.AWS.name else estate.AZURE.region


def _bill(folder: Path, own: Sequence[Charge], end: int) -> Path:
    """Write one account's month: Microsoft delivers Parquet, AWS compressed CSV, its second account plain CSV."""
    first = own[0]
    rows = [_focus(row, end) for row in own]
    month = f"{first.period:%Y-%m}"
    if first.provider == estate.AZURE.name:
        path = folder / f"microsoft_focus_{month}.parquet"
        pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String)).write_parquet(path)
        return path
    content = _csv(list(rows[0]), rows)
    if first.account == estate.AWS_LABS_ACCOUNT:
        path = folder / f"aws_labs_focus_{month}.csv"
        path.write_text(content, encoding="utf-8")
        return path
    path = folder / f"aws_focus_{month}.csv.gz"
    # Without a time in its header the same plan gives the same bytes.
    path.write_bytes(gzip.compress(content.encode(), mtime=0))
    return path


def _csv(header: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _invoices(path: Path, cluster: Cluster, rows: Sequence[Charge], difference: Decimal) -> Path:
    whose = {row.account: row for row in rows}
    lines: list[dict[str, object]] = []
    for (account, invoice, period), total in sorted(invoice_totals(cluster, rows).items()):
        charge = whose[account]
        lines.append({
            "invoice_issuer": _ISSUERS[charge.provider], "invoice_id": invoice, "billing_account_id": account,
            "billing_period_start": _text(period), "billing_currency": charge.currency, "provider": charge.provider,
            "invoiced": str(total if lines else total + difference), "issue_status": "Issued",
            "issued_at": _text(following(period)),
        })  # fmt: skip
    path.write_text(_csv(_INVOICE_COLUMNS, lines), encoding="utf-8")
    return path


def _assets(path: Path, owned: Sequence[Mapping[str, object]]) -> Path:
    path.write_text(_csv(Asset.column_names(), owned), encoding="utf-8")
    return path
