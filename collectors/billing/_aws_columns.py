"""Columns of AWS's Cost and Usage Reports under one spelling, whichever of its three a file has.

`lineItem/UnblendedCost` (CSV), `line_item_unblended_cost` (Parquet, CUR 2.0) and what Athena makes of ARN
(`a_r_n`) become `lineitemunblendedcost`. What CUR 2.0 keeps in maps (`product`, `resource_tags`) is looked up there.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

import polars as pl

from collectors.billing._cells import NULL_WORDS
from collectors.billing._texts import Texts
from collectors.billing._typed import as_text

TELLING: Final = frozenset({"lineitemlineitemtype", "lineitemunblendedcost", "billpayeraccountid"})
MAPS: Final = frozenset({"product", "resourcetags", "costcategory", "discount", "tags"})

NEEDED: Final[tuple[str, ...]] = (
    "billinvoiceid", "billinvoicingentity", "billbillingentity", "billbilltype", "billpayeraccountid",
    "billpayeraccountname", "billbillingperiodstartdate", "billbillingperiodenddate",
    "lineitemusageaccountid", "lineitemusageaccountname", "lineitemlineitemtype", "lineitemusagestartdate",
    "lineitemusageenddate", "lineitemproductcode", "lineitemusagetype", "lineitemoperation",
    "lineitemavailabilityzone", "lineitemresourceid", "lineitemusageamount", "lineitemcurrencycode",
    "lineitemunblendedrate", "lineitemunblendedcost", "lineitemnetunblendedcost", "lineitemlineitemdescription",
    "lineitemlegalentity",
    "productproductname", "productservicename", "productservicecode", "productinstancetype", "productregion",
    "productregioncode", "productlocation", "productlocationtype", "productsku", "productproductfamily", "productgpu",
    "productvcpu", "productmemory", "productoperatingsystem", "productmodel", "productinferencetype",
    "pricingunit", "pricingpublicondemandcost", "pricingpublicondemandrate", "pricingrateid", "pricingratecode",
    "pricingterm", "pricingpurchaseoption",
    "reservationreservationarn", "reservationsubscriptionid", "reservationeffectivecost",
    "reservationneteffectivecost", "reservationunusedamortizedupfrontfeeforbillingperiod",
    "reservationnetunusedamortizedupfrontfeeforbillingperiod", "reservationunusedrecurringfee",
    "reservationnetunusedrecurringfee",
    "savingsplansavingsplanarn", "savingsplanofferingtype", "savingsplansavingsplaneffectivecost",
    "savingsplannetsavingsplaneffectivecost", "savingsplantotalcommitmenttodate", "savingsplanusedcommitment",
    "savingsplanrecurringcommitmentforbillingperiod", "savingsplannetrecurringcommitmentforbillingperiod",
    "savingsplanamortizedupfrontcommitmentforbillingperiod",
    "savingsplannetamortizedupfrontcommitmentforbillingperiod",
    "capacityreservationcapacityreservationarn", "capacityreservationcapacityreservationstatus",
    "splitlineitemparentresourceid", "splitlineitemsplitcost", "splitlineitemunusedcost",
    "splitlineitemnetsplitcost", "splitlineitemnetunusedcost", "splitlineitemsplitusage",
    "splitlineitemreservedusage", "splitlineitemactualusage", "splitlineitemsplitusageratio",
)  # fmt: skip

_LEGACY_TAG: Final = re.compile(r"^resource_?tags[/_](?=.)", re.IGNORECASE)
_LEGACY_CATEGORY: Final = re.compile(r"^cost_?category[/_](?=.)", re.IGNORECASE)
_NO_SIGN: Final = re.compile(r"[^a-z0-9]")


def canonical(name: str) -> str:
    """Return a column's name without signs and capitals."""
    return _NO_SIGN.sub("", name.casefold())


def canonical_names(names: Iterable[str]) -> dict[str, str]:
    """Return the file's own name of each column by its canonical one."""
    return {canonical(name): name for name in names}


def rows_of(texts: Texts) -> pl.DataFrame:
    """Return the columns that are needed, as texts with the words for null made null; absent ones are null."""
    names = canonical_names(texts.frame.columns)
    found = {name: _clean(texts.frame[names[name]]) for name in NEEDED if name in names}
    if "product" in names:
        found |= _of_map(_clean(texts.frame[names["product"]]), found)
    height = texts.frame.height
    absent = {name: pl.repeat(None, height, dtype=pl.String, eager=True) for name in NEEDED if name not in found}
    return pl.DataFrame({name: (found | absent)[name] for name in NEEDED}).with_columns(_tags(texts, names))


def words_for_nothing(texts: Texts) -> int:
    """Return how many cells of the columns that are needed say in a word that there is nothing, such as NULL or N/A."""
    names = canonical_names(texts.frame.columns)
    words = [each for each in NULL_WORDS if each]
    columns = [texts.frame[names[name]] for name in NEEDED if name in names]
    texts_only = [each for each in columns if each.dtype == pl.String]
    return sum(int(each.str.strip_chars().str.to_lowercase().is_in(words).sum()) for each in texts_only)


def left_out(texts: Texts) -> set[str]:
    """Return the columns of a file that have no place in the ledger; those that only describe a product are many."""
    kept = {*NEEDED, *MAPS, "identitylineitemid", "identitytimeinterval"}
    return {
        name
        for name in texts.frame.columns
        if canonical(name) not in kept
        and not canonical(name).startswith(("product", "pricing", "lineitem", "reservation", "savingsplan"))
        and not _LEGACY_TAG.match(name)
        and not _LEGACY_CATEGORY.match(name)
    }


def _clean(column: pl.Series) -> pl.Series:
    stripped = as_text(column).str.strip_chars()
    return pl.select(pl.when(~stripped.str.to_lowercase().is_in(NULL_WORDS)).then(stripped)).to_series()


def _of_map(products: pl.Series, found: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
    """Return product columns that only the map of CUR 2.0 has; each different map is read once."""
    read = {text: _pairs(text) for text in products.drop_nulls().unique().to_list()}
    columns = {}
    for name in (each for each in NEEDED if each.startswith("product") and each not in found):
        key = name.removeprefix("product")
        values = [{canonical(word): value for word, value in pairs.items()}.get(key) for pairs in read.values()]
        columns[name] = products.replace_strict(list(read), values, default=None, return_dtype=pl.String)
    return columns


def _pairs(text: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    if isinstance(value, list):  # a map that CSV writers give as a list of pairs
        value = {str(each[0]): each[1] for each in value if isinstance(each, list) and len(each) == 2}  # noqa: PLR2004
    return {str(key): str(each) for key, each in value.items() if each} if isinstance(value, dict) else {}


def _tags(texts: Texts, names: Mapping[str, str]) -> pl.Series:
    """Return the tags of a resource and its cost categories as one JSON object, without AWS's prefix `user:`."""
    own = {name: _LEGACY_TAG.sub("", name) for name in texts.frame.columns if _LEGACY_TAG.match(name)}
    own |= {
        name: f"costCategory:{_LEGACY_CATEGORY.sub('', name)}"
        for name in texts.frame.columns
        if _LEGACY_CATEGORY.match(name)
    }
    maps = {"resourcetags": "", "tags": "", "costcategory": "costCategory:"}
    columns = {name: _clean(texts.frame[name]) for name in own}
    columns |= {names[name]: _clean(texts.frame[names[name]]) for name in maps if name in names}
    if not columns:
        return pl.repeat(None, texts.frame.height, dtype=pl.String, eager=True).alias("tags")
    frame = pl.DataFrame(columns)
    distinct = frame.unique(maintain_order=True)
    told = [_one_object(row, own, maps) for row in distinct.iter_rows(named=True)]
    known = distinct.with_columns(pl.Series("\0tags", told, dtype=pl.String))
    return frame.join(known, on=frame.columns, how="left", nulls_equal=True, maintain_order="left")["\0tags"].alias(
        "tags"
    )


def _one_object(row: Mapping[str, str | None], own: Mapping[str, str], maps: Mapping[str, str]) -> str | None:
    tags: dict[str, str] = {}
    for name, value in row.items():
        if value is None:
            continue
        if name in own:
            tags[_plain(own[name])] = value
        else:
            tags |= {f"{maps[canonical(name)]}{_plain(key)}": each for key, each in _pairs(value).items()}
    return json.dumps(tags, sort_keys=True) if tags else None


def _plain(key: str) -> str:
    """Return a tag's key as its owner wrote it: `user:team` in CSV, `user_team` in Parquet are `team`."""
    return re.sub(r"^(user[:_]|user_attribute[:_]|resourceTags/)", "", key)
