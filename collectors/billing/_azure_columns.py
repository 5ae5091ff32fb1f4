"""The columns of Azure's cost exports under one name each, whatever the agreement, version or language writes.

Localised exports have Azure's own name in brackets after the translated one, `Coût (Cost)`: that one counts, for
translations are not dependable (one of Spanish calls SubscriptionGuid the place of the resources).
Source: headers of German, Spanish and French exports in public reports of others who read them.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from collectors.billing._cells import NULL_WORDS
from collectors.billing._typed import as_text

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "cost": (
        "costinbillingcurrency",
        "cost",
        "pretaxcost",
        "extendedcost",
        "kosten",
        "cout",
        "coutdansladevisedefacturation",
        "costo",
        "costoenmonedadefacturacion",
        "kosteninabrechnungswahrung",
        "コスト",
        "成本",
    ),
    "list_cost": ("paygcostinbillingcurrency",),
    "currency": (
        "billingcurrencycode",
        "billingcurrency",
        "currency",
        "currencycode",
        "wahrung",
        "abrechnungswahrung",
        "devise",
        "devisedefacturation",
        "moneda",
        "monedadefacturacion",
        "通貨",
        "货币",
    ),
    "day": ("date", "usagedatetime", "usagedate", "datum", "fecha", "日付", "日期"),
    "period_start": ("billingperiodstartdate", "billingperiodstart"),
    "period_end": ("billingperiodenddate", "billingperiodend"),
    "account": ("billingaccountid", "enrollmentnumber"),
    "account_name": ("billingaccountname",),
    "profile": ("billingprofileid",),
    "profile_name": ("billingprofilename",),
    "tenant": ("customertenantid",),
    "subscription": ("subscriptionid", "subscriptionguid", "abonnementid", "abonnementguid", "suscripcionid"),
    "subscription_name": ("subscriptionname", "abonnementname", "nomdelabonnement"),
    "invoice": ("invoiceid",),
    "partner": ("partnername",),
    "charge_type": ("chargetype",),
    "frequency": ("frequency",),
    "pricing_model": ("pricingmodel",),
    "publisher": ("publishername",),
    "publisher_type": ("publishertype",),
    "product": ("productname", "product"),
    "product_id": ("productid",),
    "meter": ("meterid",),
    "meter_name": ("metername",),
    "meter_category": (
        "metercategory",
        "verbrauchseinheitenkategorie",
        "categoriedemesure",
        "categoriedecompteur",
        "categoriademedidor",
        "categoriadelmedidor",
        "測定カテゴリ",
        "计量类别",
    ),
    "meter_subcategory": ("metersubcategory",),
    "family": ("servicefamily",),
    "namespace": ("consumedservice", "consumedserviceid"),
    "resource": ("resourceid", "instanceid", "instancename"),
    "resource_name": ("resourcename",),
    "resource_type": ("resourcetype",),
    "location": ("resourcelocation", "resourcelocationnormalized", "location", "meterregion"),
    "zone": ("availabilityzone",),
    "quantity": ("quantity", "usagequantity", "consumedquantity", "menge", "quantite", "cantidad"),
    "unit": ("unitofmeasure",),
    "unit_price": ("unitprice",),
    "list_price": ("paygprice",),
    "part": ("partnumber",),
    "reservation": ("reservationid",),
    "reservation_name": ("reservationname",),
    "benefit": ("benefitid",),
    "benefit_name": ("benefitname",),
    "more": ("additionalinfo", "additionalproperties"),
    "tags": ("tags",),
    "exchange": ("exchangeratepricingtobilling", "exchangerate"),
}
"""Each column's names, folded, the surest first."""

_ALL_NAMES: Final = frozenset(each for names in ALIASES.values() for each in names)

TELLING: Final = ("cost", "day", "meter_category")
"""What an export has in every variant, together with the subscription or the account."""

NUMBERS: Final = ("cost", "list_cost", "quantity", "unit_price", "list_price", "exchange")
DAYS: Final = ("day", "period_start", "period_end")

_MCA: Final = frozenset({"pricingcurrency", "exchangeratepricingtobilling", "costinpricingcurrency", "partnername"})
_FOLD: Final = str.maketrans("äöüéèêàâôûîçñóíáú", "aoueeeaaouicnoiau")
_IN_BRACKETS: Final = re.compile(r".*[(（]\s*([A-Za-z][A-Za-z0-9]*)\s*[)）]\s*", re.DOTALL)


def folded(name: str) -> str:
    """Return a column's name without case, accents, spaces and signs; of a translated one Azure's own."""
    own = _IN_BRACKETS.fullmatch(name)
    plain = (own[1] if own else name).strip().casefold().translate(_FOLD)
    return "".join(each for each in plain if each.isalnum())


def is_translated(name: str) -> bool:
    """Tell whether a column has another name before Azure's own in brackets."""
    own = _IN_BRACKETS.fullmatch(name)
    return own is not None and folded(re.split("[(（]", name)[0]) != folded(own[1])


class Known:
    """The columns of a file that are read, by any of their names."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and folded(name) in _ALL_NAMES


def found(names: Iterable[str]) -> dict[str, str]:
    """Return which column of a file is which, by our name; the surest of several names wins."""
    by_fold = {folded(each): each for each in reversed(list(names))}
    return {
        ours: by_fold[alias]
        for ours, aliases in ALIASES.items()
        if (alias := next((each for each in aliases if each in by_fold), None)) is not None
    }


def agreement(names: Iterable[str]) -> str | None:
    """Return ea, mca or payg where the columns are those of an Azure cost export, else None."""
    names = list(names)
    columns = found(names)
    if not set(TELLING) <= columns.keys() or not {"subscription", "subscription_name"} & columns.keys():
        return None
    plain = {folded(each) for each in names}
    if plain & _MCA:
        return "mca"
    return "ea" if {"account", "part"} & columns.keys() else "payg"


def known(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the columns that are known, under our names, trimmed, words for null made null; absent ones null."""
    names = found(frame.columns)
    columns = []
    for ours in ALIASES:
        if ours not in names:
            columns.append(pl.repeat(None, frame.height, dtype=pl.String, eager=True).alias(ours))
            continue
        stripped = as_text(frame[names[ours]]).str.strip_chars()
        is_word = stripped.str.to_lowercase().is_in(NULL_WORDS)
        columns.append(pl.select(pl.when(~is_word).then(stripped)).to_series().alias(ours))
    return pl.DataFrame(columns)
