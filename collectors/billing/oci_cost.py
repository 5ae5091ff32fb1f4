"""Oracle's cost reports, and its older usage reports, which have quantities and no cost.

`docs/bills.md` says from which column each FOCUS column comes. A usage report is priced by rate cards, as any usage
without cost; its SKU is `product/resource`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import polars as pl

from collectors.billing._cells import NULL_WORDS, Cells
from collectors.billing._charges import Charges, charges_of
from collectors.billing._format import BillFormat, Head, Imported, Near, Request
from collectors.billing._native import in_own_words
from collectors.billing._service_categories import OTHER, with_category
from collectors.billing._texts import Everything, Texts, read_parts
from collectors.billing._typed import as_text
from collectors.billing._whole import imported
from collectors.billing.usage_only import Usage, priced_usage
from ledger.errors import InputError
from ledger.tables import FocusCharge, declared

_COST: Final = ("lineitem/intervalusagestart", "cost/mycost", "product/service")
_USAGE: Final = ("lineitem/intervalusagestart", "usage/billedquantity", "product/resource")
_NEEDED: Final = (*_COST, "lineitem/intervalusageend", "lineitem/tenantid", "cost/currencycode")
_AGAIN: Final = "fetch the file again from the bucket of the tenancy's reports, folder reports/cost-csv"
_OWN: Final = frozenset({*_NEEDED, *_USAGE, "product/compartmentid", "cost/productsku"})
_ENOUGH: Final = 3
_OVERAGE: Final = "oci_billed"
"""Under a prepaid subscription only what exceeds it is invoiced: `oci_billed = "overage"` says so."""

_NAMES: Final[Mapping[str, str]] = {
    "BilledCost": "cost/myCost",
    "EffectiveCost": "cost/myCost",
    "ContractedCost": "cost/myCost",
    "BillingAccountId": "cost/subscriptionId",
    "BillingCurrency": "cost/currencyCode",
    "BillingPeriodStart": "lineItem/intervalUsageStart",
    "BillingPeriodEnd": "lineItem/intervalUsageStart",
    "ChargePeriodStart": "lineItem/intervalUsageStart",
    "ChargePeriodEnd": "lineItem/intervalUsageEnd",
    "PricingQuantity": "usage/billedQuantity",
    "ConsumedQuantity": "usage/billedQuantity",
    "ContractedUnitPrice": "cost/unitPrice",
}

# What usage without cost calls each column of a usage report.
_PLAIN: Final[Mapping[str, str]] = {
    "start": "lineitem/intervalusagestart",
    "end": "lineitem/intervalusageend",
    "account": "lineitem/tenantid",
    "sku": "product/resource",
    "quantity": "usage/billedquantity",
    "unit": "usage/consumedquantityunits",
    "region": "product/region",
    "resource": "product/resourceid",
    "project": "product/compartmentid",
}

_UNTOLD: Final = pl.lit(None, dtype=pl.String)

_SERVICES: Final[Mapping[str, str]] = {
    "compute": "Virtual Machines",
    "kubernetes_engine": "Containers",
    "oke_control_plane": "Containers",
    "functions": "Serverless Compute",
    "block_storage": "Block Storage",
    "objectstore": "Object Storage",
    "file_storage": "File Storage",
    "filestorage": "File Storage",
    "network": "Network Infrastructure",
    "load_balancer": "Application Networking",
    "lbaas": "Application Networking",
    "fastconnect": "Network Connectivity",
    "database": "Relational Databases",
    "mysql": "Relational Databases",
    "postgresql": "Relational Databases",
    "nosql": "NoSQL Databases",
    "generative_ai": "Generative AI",
    "data_science": "AI Platforms",
    "ai_services": "Other (AI and Machine Learning)",
    "telemetry": "Observability",
    "logging": "Observability",
    "oracle_streaming_service": "Messaging",
    "oracle_notification_service": "Messaging",
    "kms": "Other (Security)",
    "waf": "Other (Security)",
}
_TAG: Final = re.compile(r"^tags/(?=.)", re.IGNORECASE)
_MODEL: Final = re.compile(r"(?i)\b((?:meta llama|llama|cohere|command|grok|gemini|gpt)[a-z0-9. -]*?)(?: -|,|$)")


def _version(head: Head) -> str | None:
    """Return cost or usage where the file is a report of Oracle's, else None."""
    if head.folded >= set(_COST):
        return "cost"
    return "usage" if head.folded >= set(_USAGE) else None


def _near(head: Head) -> Near | None:
    """Say what a file lacks to be a cost report of Oracle's, where its columns look like those of one."""
    if len(head.folded & _OWN) < _ENOUGH:
        return None
    lacking = ", nor ".join(name for name in _NEEDED if name not in head.folded)
    return Near(f"columns of Oracle's reports, and none of them {lacking}", "Oracle's cost report", _AGAIN)


def _read(request: Request) -> Imported:
    """Return the charges of all files of a delivery as one import."""
    if request.version == "usage":
        return replace(priced_usage(request, _plain_usage(request)), format=oci_cost.name)
    stated = {name.casefold(): value for name, value in request.defaults.items()}
    billed = stated.get(_OVERAGE, "cost")
    if billed not in {"cost", "overage"}:
        raise InputError(f"bill_defaults.{_OVERAGE}: found {billed!r}, expected cost or overage")
    remark = (
        'cost/myCost is taken as invoiced; under prepaid credits only overage is: state oci_billed = "overage" then'
        if billed == "cost"
        else "cost/myCostOverage is taken as invoiced, cost/myCost as effective"
    )
    return imported(request, oci_cost.name, _parts(request, billed), remarks=(remark,))


def _parts(request: Request, billed: str) -> Iterator[Charges]:
    first_index = 0
    for file in request.source.files:
        for texts in read_parts(file, file.content(), Everything()):
            names = {name.casefold(): name for name in texts.frame.columns}
            missing = [name for name in _NEEDED if name not in names]
            if missing:
                raise InputError(
                    f"{texts.header}: found no column {', '.join(missing)}, expected Oracle's cost report",
                    hint=_AGAIN,
                )
            plain = texts.frame.with_columns(as_text(texts.frame[name]) for name in texts.frame.columns)
            rows = plain.select(_clean(name).alias(folded) for folded, name in names.items())
            made = _charges_as_text(rows, names, billed)
            own = Texts(texts.label, made, texts.lines, texts.broken, texts.is_line, origin=texts)
            cells = Cells(own, declared(FocusCharge).name)
            yield in_own_words(charges_of(cells, request.defaults, first_index=first_index), _NAMES)
            first_index += texts.frame.height


def _clean(name: str) -> pl.Expr:
    stripped = pl.col(name).str.strip_chars()
    return pl.when(~stripped.str.to_lowercase().is_in(NULL_WORDS)).then(stripped)


def _charges_as_text(rows: pl.DataFrame, names: Mapping[str, str], billed: str) -> pl.DataFrame:
    """Return FOCUS columns as texts, one row for each line of the report."""

    def own(name: str) -> pl.Expr:
        return pl.col(name) if name in rows.columns else pl.lit(None, dtype=pl.String)

    cost, overage = own("cost/mycost"), own("cost/mycostoverage")
    month = own("lineitem/intervalusagestart").str.head(10).str.to_date("%Y-%m-%d", strict=False).dt.month_start()
    start = own("lineitem/intervalusagestart")
    categories = [with_category(_SERVICES.get((each or "").casefold(), OTHER)) for each in rows["product/service"]]
    is_correction = own("lineitem/iscorrection").str.to_lowercase() == "true"
    ends = pl.coalesce(month.dt.offset_by("1mo").dt.strftime("%Y-%m-%dT00:00:00Z"), start)
    return rows.select(
        (cost if billed == "cost" else pl.coalesce(overage, pl.lit("0"))).alias("BilledCost"),
        cost.alias("EffectiveCost"),
        cost.alias("ContractedCost"),
        pl.coalesce(own("cost/subscriptionid"), own("lineitem/tenantid")).alias("BillingAccountId"),
        pl.coalesce(own("product/compartmentid"), own("lineitem/tenantid")).alias("SubAccountId"),
        own("product/compartmentname").alias("SubAccountName"),
        own("cost/currencycode").alias("BillingCurrency"),
        pl.coalesce(month.dt.strftime("%Y-%m-%dT00:00:00Z"), start).alias("BillingPeriodStart"),
        ends.alias("BillingPeriodEnd"),
        start.alias("ChargePeriodStart"),
        own("lineitem/intervalusageend").alias("ChargePeriodEnd"),
        pl.lit("Usage").alias("ChargeCategory"),
        pl.when(is_correction).then(pl.lit("Correction")).alias("ChargeClass"),
        own("product/description").alias("ChargeDescription"),
        pl.lit("Usage-Based").alias("ChargeFrequency"),
        pl.Series("ServiceCategory", [each for each, _ in categories], dtype=pl.String),
        pl.Series("ServiceSubcategory", [each for _, each in categories], dtype=pl.String),
        own("product/service").alias("ServiceName"),
        *(pl.lit("Oracle").alias(name) for name in ("ServiceProviderName", "HostProviderName", "InvoiceIssuerName")),
        pl.lit("Standard").alias("PricingCategory"),
        own("usage/billedquantity").alias("PricingQuantity"),
        pl.coalesce(own("cost/skuunitdescription"), own("cost/billingunitreadable")).alias("PricingUnit"),
        own("usage/billedquantity").alias("ConsumedQuantity"),
        pl.coalesce(own("cost/skuunitdescription"), own("cost/billingunitreadable")).alias("ConsumedUnit"),
        own("cost/unitprice").alias("ContractedUnitPrice"),
        own("product/resourceid").alias("ResourceId"),
        own("product/region").alias("RegionId"),
        own("product/availabilitydomain").alias("AvailabilityZone"),
        own("cost/productsku").alias("SkuId"),
        own("product/description").alias("SkuMeter"),
        _details(rows),
        _tags(rows, names),
    )


def _details(rows: pl.DataFrame) -> pl.Series:
    """Return the model that a line of generative AI names, as SkuPriceDetails."""
    if "product/description" not in rows.columns:
        return pl.Series("SkuPriceDetails", [None] * rows.height, dtype=pl.String)
    found = []
    for service, words in rows.select("product/service", "product/description").iter_rows():
        model = _MODEL.search(words or "") if "ai" in (service or "").casefold().split("_") else None
        found.append(None if model is None else json.dumps({"ModelId": "-".join(model[1].lower().split())}))
    return pl.Series("SkuPriceDetails", found, dtype=pl.String)


def _tags(rows: pl.DataFrame, names: Mapping[str, str]) -> pl.Series:
    own = {folded: _TAG.sub("", name) for folded, name in names.items() if _TAG.match(name)}
    told = []
    for row in rows.select(list(own)).iter_rows() if own else [()] * rows.height:
        tags = {name: value for name, value in zip(own.values(), row, strict=True) if value is not None}
        told.append(json.dumps(tags, sort_keys=True) if tags else None)
    return pl.Series("Tags", told, dtype=pl.String)


def _plain_usage(request: Request) -> Iterator[Usage]:
    """Yield usage reports under the names that usage without cost has."""
    for file in request.source.files:
        for texts in read_parts(file, file.content(), Everything()):
            names = {name.casefold(): name for name in texts.frame.columns}
            own = {plain: names[folded] for plain, folded in _PLAIN.items() if folded in names}
            told = [pl.col(own[plain]).alias(plain) if plain in own else _UNTOLD.alias(plain) for plain in _PLAIN]
            rows = texts.frame.select(*told, pl.lit("Oracle").alias("provider"))
            yield Usage(replace(texts, frame=rows, origin=texts), own)


oci_cost = BillFormat(name="oci_cost", detect=_version, read=_read, module=__name__, near=_near)
