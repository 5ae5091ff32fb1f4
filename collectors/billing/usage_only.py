"""Usage without cost, as GPU clouds such as CoreWeave export it: priced by a rate card, never counted as invoiced.

The usage may come under FOCUS's names without any cost column, or in a plain table of start, sku and quantity.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import polars as pl

from collectors.billing._cells import NULL_WORDS, Cells
from collectors.billing._charges import Charges, charges_of
from collectors.billing._format import BillFormat, Head, Imported, Request
from collectors.billing._native import in_own_words
from collectors.billing._priced_usage import ABOUT_RATES, priced
from collectors.billing._rates import Rates
from collectors.billing._texts import Everything, Texts, read_parts
from collectors.billing._typed import as_text
from collectors.billing._whole import imported
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


@dataclass(frozen=True)
class Usage:
    """Some rows of usage, and how their file calls the columns that FOCUS names otherwise."""

    texts: Texts
    names: Mapping[str, str] = field(default_factory=dict)


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
    """Return usage as charges; see `priced_usage`."""
    files = request.source.files
    return priced_usage(
        request, (Usage(each) for file in files for each in read_parts(file, file.content(), Everything()))
    )


def priced_usage(request: Request, parts: Iterable[Usage]) -> Imported:
    """Return usage as charges: nothing is billed; effective is quantity times the rate that held at its start.

    Nulls: EffectiveCost is null where no rate is known in the currency of the usage, with the reason. Usage that names
    no currency is priced in that of the rate, and says which.
    """
    unpriced: dict[str, None] = {}
    whole = imported(request, usage_only.name, _parts(request, parts, unpriced))
    remarks = [f"no rate is known for {', '.join(unpriced)}: their cost is unknown, not 0"] if unpriced else []
    remarks.append("usage without cost: nothing of it counts as invoiced")
    return replace(whole, remarks=(*whole.remarks, *remarks))


def _parts(request: Request, parts: Iterable[Usage], unpriced: dict[str, None]) -> Iterator[Charges]:
    """Yield the charges of each part; SKUs for which no rate is known are added to `unpriced`."""
    rates = Rates(request.prices() if request.prices else Price.create_empty())
    first_index = 0
    for usage in parts:
        charges, missing = _charges(usage, request, rates, first_index)
        unpriced |= dict.fromkeys(missing)
        first_index += usage.texts.frame.height
        yield charges


def _charges(usage: Usage, request: Request, rates: Rates, first_index: int) -> tuple[Charges, list[str]]:
    """Return the charges of a part, and the SKUs for which no rate is known."""
    texts = usage.texts
    columns = _found(texts.frame.columns)
    if not set(_NEEDED) <= columns.keys():
        raise InputError(f"{texts.header}: found no column of {', '.join(_NEEDED)}, expected usage with a SKU")
    stated = {name.casefold(): value for name, value in request.defaults.items()}
    made = priced(_rows(texts.frame, columns, stated), rates)
    frame = made.select(*(name for name in FocusCharge.column_names() if name in made.columns), *ABOUT_RATES)
    naive = frozenset(name.casefold() for name, each in columns.items() if each.casefold() in texts.naive)
    made_texts = replace(texts, frame=frame.drop(ABOUT_RATES), naive=naive, coded={}, origin=texts)
    cells = Cells(made_texts, declared(FocusCharge).name)
    for index in pl.arg_where(frame["BillingCurrency"].is_null(), eager=True).to_list():
        cells.refuse(index, columns["SkuId"], frame["SkuId"][index], "a SKU with a rate under [[money.rate_cards]]")
    own = {**columns, "PricingQuantity": columns["ConsumedQuantity"]}
    own = {name: usage.names.get(each, each) for name, each in own.items()}
    charges = in_own_words(charges_of(cells, request.defaults, first_index=first_index), own)
    told = frame[(charges.frame["row_index"] - first_index).to_list()]
    reasons = told.select(
        pl.when(pl.col("rate").is_null())
        .then(pl.format("EffectiveCost: {}; BilledCost: the provider says usage only", "no_rate"))
        .otherwise(pl.format("EffectiveCost is usage at the {}; BilledCost: the provider says usage only", "rate"))
        .alias("unknown_reason")
    ).to_series()
    kept = charges.frame.with_columns(reasons, pl.lit(value=True).alias("is_derived"))
    missing = frame.filter(pl.col("BillingCurrency").is_not_null())["missing"]
    return replace(charges, frame=kept), missing.drop_nulls().unique(maintain_order=True).to_list()


def _rows(frame: pl.DataFrame, columns: Mapping[str, str], stated: Mapping[str, str]) -> pl.DataFrame:
    """Return the usage under FOCUS names: what the file says, else what is stated, else what follows."""
    known = {name.casefold(): name for name in FocusCharge.column_names()}
    own = {known[name.casefold()]: name for name in frame.columns if name.casefold() in known} | dict(columns)
    rows = pl.DataFrame([as_text(frame[name]).alias(focus) for focus, name in own.items()]).select(
        _clean(focus) for focus in own
    )
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


def _clean(name: str) -> pl.Expr:
    stripped = pl.col(name).str.strip_chars()
    return pl.when(~stripped.str.to_lowercase().is_in(NULL_WORDS)).then(stripped).alias(name)


usage_only: Final = BillFormat(name="usage_only", detect=_version, read=_read, module=__name__)
