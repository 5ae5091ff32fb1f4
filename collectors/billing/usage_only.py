"""Usage without cost, as GPU clouds such as CoreWeave export it: priced by a rate card, never counted as invoiced.

The usage may come under FOCUS's names without any cost column, or in a plain table of start, sku and quantity.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final

import polars as pl

from collectors.billing._cells import NULL_WORDS, Cells
from collectors.billing._charges import Charges, charges_of
from collectors.billing._format import BillFormat, Head, Imported, Request
from collectors.billing._native import Native, imported, in_own_words
from collectors.billing._rates import Rate, Rates, folded_unit
from collectors.billing._source import SourceFile
from collectors.billing._texts import read_texts
from ledger import money
from ledger.errors import InputError
from ledger.tables import FocusCharge, Price, declared

_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "ChargePeriodStart": (
        "chargeperiodstart",
        "start",
        "starttime",
        "usagestart",
        "usagestarttime",
        "from",
        "date",
        "day",
    ),
    "ChargePeriodEnd": ("chargeperiodend", "end", "endtime", "usageend", "usageendtime", "to"),
    "BillingAccountId": ("billingaccountid", "account", "accountid", "organization", "org", "orgid", "organizationid"),
    "ServiceProviderName": ("serviceprovidername", "providername", "provider", "cloud"),
    "SkuId": (
        "skuid",
        "skupriceid",
        "sku",
        "skuname",
        "instancetype",
        "machinetype",
        "product",
        "gputype",
        "resourcetype",
    ),
    "ConsumedQuantity": (
        "consumedquantity",
        "pricingquantity",
        "quantity",
        "usage",
        "usagequantity",
        "hours",
        "gpuhours",
    ),
    "ConsumedUnit": ("consumedunit", "pricingunit", "unit", "usageunit"),
    "RegionId": ("regionid", "region", "zone", "location"),
    "ResourceId": ("resourceid", "instanceid", "nodeid", "resource", "node"),
    "SubAccountId": ("subaccountid", "project", "projectid", "namespace"),
    "Tags": ("tags", "labels", "customtags"),
}
_COSTS: Final = frozenset(
    {
        "billedcost",
        "effectivecost",
        "listcost",
        "contractedcost",
        "cost",
        "amount",
        "price",
        "total",
        "charge",
        "costinbillingcurrency",
        "pretaxcost",
        "invoiced",
        "unitprice",
        "usdperhourondemand",
    }
)
_NEEDED: Final = ("ChargePeriodStart", "SkuId", "ConsumedQuantity")
_DATABRICKS: Final = frozenset({"workspaceid", "skuname", "cloud"})
"""Columns of `system.billing.usage`, where Databricks says its usage in DBU."""

_IN_HOURS: Final = frozenset({"hours", "gpuhours"})
_DATE_CHARACTERS: Final = 10
_ABOUT_RATES: Final = ("rate", "no_rate", "missing")
"""What is told of each usage beside its charge: its rate, or why it has none, and what a rate is missing for."""


def _folded(name: str) -> str:
    return "".join(each for each in name.casefold() if each.isalnum())


def _found(names: tuple[str, ...] | list[str]) -> dict[str, str]:
    by_fold = {_folded(each): each for each in reversed(list(names))}
    if by_fold.keys() >= _DATABRICKS:  # its column `cloud` says where the workspace runs, not who sells
        del by_fold["cloud"]
    return {
        focus: by_fold[alias]
        for focus, aliases in _ALIASES.items()
        if (alias := next((each for each in aliases if each in by_fold), None)) is not None
    }


def _version(head: Head) -> str | None:
    """Return rate_card where the file is usage without any cost, else None."""
    names = {_folded(each) for each in head.columns}
    columns = _found(head.columns)
    if names & _COSTS or not set(_NEEDED) <= columns.keys():
        return None
    has_unit = "ConsumedUnit" in columns or _folded(columns["ConsumedQuantity"]) in _IN_HOURS
    return "rate_card" if has_unit else None


def _read(request: Request) -> Imported:
    """Return usage as charges: nothing is billed; effective is quantity times the rate that held at its start.

    Nulls: EffectiveCost is null where no rate is known in the currency of the usage, with the reason. Usage that names
    no currency is priced in that of the rate, and says which.
    """
    rates = Rates(request.prices() if request.prices else Price.create_empty())
    charges: list[Charges] = []
    first_index = 0
    unpriced: dict[str, None] = {}
    for file in request.source.files:
        made, missing = _charges(file, request, rates, first_index)
        charges.append(made)
        unpriced |= dict.fromkeys(missing)
        first_index += made.frame.height + len(made.rejected)
    remarks = [f"no rate is known for {', '.join(unpriced)}: their cost is unknown, not 0"] if unpriced else []
    remarks.append("usage without cost: nothing of it counts as invoiced")
    return imported(request, Native(usage_only.name, request.version, charges, tuple(remarks)))


def _charges(file: SourceFile, request: Request, rates: Rates, first_index: int) -> tuple[Charges, list[str]]:
    """Return one file's charges, and the SKUs for which no rate is known."""
    texts = read_texts(file, file.content())
    columns = _found(texts.frame.columns)
    if not set(_NEEDED) <= columns.keys():
        raise InputError(f"{file.label}: line 1: found no column of {', '.join(_NEEDED)}, expected usage with a SKU")
    stated = {name.casefold(): value for name, value in request.defaults.items()}
    rows = [_priced(row, rates) for row in _rows(texts.frame, columns, stated).iter_rows(named=True)]
    names = [*(name for name in FocusCharge.column_names() if not rows or name in rows[0]), *_ABOUT_RATES]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))
    cells = Cells(replace(texts, frame=frame.drop(_ABOUT_RATES)), declared(FocusCharge).name)
    for index in pl.arg_where(frame["BillingCurrency"].is_null(), eager=True).to_list():
        cells.refuse(index, columns["SkuId"], frame["SkuId"][index], "a SKU with a rate under [[money.rate_cards]]")
    own = {**columns, "PricingQuantity": columns["ConsumedQuantity"]}
    charges = in_own_words(charges_of(cells, request.defaults, first_index=first_index), own)
    told = frame[(charges.frame["row_index"] - first_index).to_list()]
    reasons = told.select(
        pl.when(pl.col("rate").is_null())
        .then(pl.format("EffectiveCost: {}; BilledCost: the provider says usage only", "no_rate"))
        .otherwise(pl.format("EffectiveCost is usage at the {}; BilledCost: the provider says usage only", "rate"))
        .alias("unknown_reason")
    ).to_series()
    kept = charges.frame.with_columns(reasons, pl.lit(value=True).alias("is_derived"))
    missing = frame.filter(pl.col("BillingCurrency").is_not_null(), pl.col("SkuId").is_not_null())["missing"]
    return replace(charges, frame=kept), missing.drop_nulls().unique(maintain_order=True).to_list()


def _rows(frame: pl.DataFrame, columns: Mapping[str, str], stated: Mapping[str, str]) -> pl.DataFrame:
    """Return the usage under FOCUS names: what the file says, else what is stated, else what follows."""
    known = {name.casefold(): name for name in FocusCharge.column_names()}
    own = {known[name.casefold()]: name for name in frame.columns if name.casefold() in known} | dict(columns)
    rows = frame.select(_text(pl.col(name)).alias(focus) for focus, name in own.items())
    absent = [name for name in (*_ALIASES, "BillingCurrency", "InvoiceIssuerName") if name not in rows.columns]
    if {_folded(each) for each in frame.columns} >= _DATABRICKS:
        stated = {"serviceprovidername": "Databricks", **stated}
    rows = rows.with_columns(pl.lit(stated.get(name.casefold()), dtype=pl.String).alias(name) for name in absent)
    if "ConsumedUnit" not in columns:
        rows = rows.with_columns(pl.lit("Hours").alias("ConsumedUnit"))
    return rows.with_columns(
        pl.coalesce("BillingAccountId", "ServiceProviderName").alias("BillingAccountId"),
        pl.coalesce("InvoiceIssuerName", "ServiceProviderName").alias("InvoiceIssuerName"),
    )


def _text(column: pl.Expr) -> pl.Expr:
    stripped = column.cast(pl.String).str.strip_chars()
    return pl.when(~stripped.str.to_lowercase().is_in(NULL_WORDS)).then(stripped)


def _priced(row: dict[str, str | None], rates: Rates) -> dict[str, str | None]:
    """Return one usage as the texts of a charge."""
    start = _instant(row["ChargePeriodStart"])
    provider, sku, unit = row["ServiceProviderName"] or "", row["SkuId"] or "", row["ConsumedUnit"] or ""
    currency = (row["BillingCurrency"] or "").upper() or None
    rate = rates.at(provider, sku, unit, row["RegionId"] or "", start, currency) if start else None
    others = rates.currencies_at(provider, sku, unit, row["RegionId"] or "", start) if start and rate is None else []
    details = {"InstanceType": sku} if sku and folded_unit(unit) == "hour" else {}
    made = {
        **row,
        "BilledCost": "0",
        "EffectiveCost": _cost(row["ConsumedQuantity"], rate),
        "BillingCurrency": rate.currency if rate else currency or rates.currency_of(provider),
        "ChargePeriodEnd": row["ChargePeriodEnd"] or _day_after(row["ChargePeriodStart"], start),
        "ChargeCategory": row.get("ChargeCategory") or "Usage",
        "ChargeFrequency": row.get("ChargeFrequency") or "Usage-Based",
        "ServiceCategory": row.get("ServiceCategory") or "Compute",
        "ServiceName": row.get("ServiceName") or row["ServiceProviderName"],
        "PricingQuantity": row["ConsumedQuantity"],
        "PricingUnit": row["ConsumedUnit"],
        "ContractedUnitPrice": money.written(rate.unit_price) if rate else None,
        "SkuPriceDetails": row.get("SkuPriceDetails") or (json.dumps(details) if details else None),
        "rate": rate.words if rate else None,
        **({} if rate else _why_unpriced(sku, currency, others)),
    }
    return made | _period(row, start)


def _why_unpriced(sku: str, currency: str | None, others: list[str]) -> dict[str, str]:
    """Say why usage has no price, and what a rate is missing for; `others` are the currencies that have one."""
    if not others:
        return {"no_rate": "no rate is known for the SKU", "missing": sku}
    only = " and ".join(others)
    return {
        "no_rate": f"no rate in {currency} is known for the SKU, only in {only}",
        "missing": f"{sku} in {currency} (only in {only})",
    }


def _cost(quantity: str | None, rate: Rate | None) -> str | None:
    if rate is None or quantity is None:
        return None
    try:
        parsed = money.parse(quantity)
    except money.MoneyError:
        return None  # the quantity's own column says what is wrong with it
    return money.written(money.priced(rate.unit_price, Fraction(parsed.amount) + Fraction(parsed.residue)))


def _period(row: Mapping[str, str | None], start: datetime | None) -> dict[str, str | None]:
    """Return the billing period: the export's own, else the month of the usage."""
    if row.get("BillingPeriodStart") or start is None:
        return {"BillingPeriodStart": row.get("BillingPeriodStart"), "BillingPeriodEnd": row.get("BillingPeriodEnd")}
    first = start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = (first + timedelta(days=31)).replace(day=1)
    return {"BillingPeriodStart": first.isoformat(), "BillingPeriodEnd": after.isoformat()}


def _day_after(text: str | None, start: datetime | None) -> str | None:
    """Return the end of a usage that names a day only; of one with a time and no end nothing is known."""
    is_day = text is not None and len(text) == _DATE_CHARACTERS and start is not None
    return (start + timedelta(days=1)).isoformat() if is_day and start else None


def _instant(text: str | None) -> datetime | None:
    try:
        at = datetime.fromisoformat((text or "").removesuffix(" UTC"))
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


usage_only: Final = BillFormat(name="usage_only", detect=_version, read=_read, module=__name__)
