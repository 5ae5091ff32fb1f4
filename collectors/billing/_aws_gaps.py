"""What AWS's FOCUS exports leave out and say elsewhere: the meter, and what a pricing unit has.

AWS may leave InvoiceIssuerName, PublisherName, SkuId, SkuPriceId, ListUnitPrice, ContractedUnitPrice and PricingUnit
empty. The issuer is taken to be the provider (`_charges`); a price that is not stated stays unknown. SkuMeter and
SkuPriceDetails, which the export of FOCUS 1.0 lacks, follow from AWS's own columns `x_UsageType` and `x_ServiceCode`.
"""

from dataclasses import replace
from typing import Final

import polars as pl

from collectors.billing._aws_codes import details_of
from collectors.billing._texts import Texts
from collectors.billing._typed import as_text

COLUMNS: Final = frozenset({"x_usagetype", "x_servicecode"})

_NOTHING: Final = dict.fromkeys(
    ("productproductname", "productmodel", "productinstancetype", "productgpu", "productvcpu", "productmemory",
     "productoperatingsystem")
)  # fmt: skip


def completed(texts: Texts) -> Texts:
    """Return the rows of an export with SkuMeter and SkuPriceDetails, where AWS says them in columns of its own."""
    names = {name.casefold(): name for name in texts.frame.columns}
    if not names.keys() >= COLUMNS:
        return texts
    frame = texts.frame
    usage, code = (_text(frame[names[name]]) for name in ("x_usagetype", "x_servicecode"))
    distinct = pl.DataFrame({"usage": usage, "code": code}).unique()
    told = [
        details_of({**_NOTHING, "lineitemusagetype": type_, "lineitemproductcode": service})
        for type_, service in distinct.iter_rows()
    ]
    known = distinct.with_columns(details=pl.Series(told, dtype=pl.String))
    details = pl.DataFrame({"usage": usage, "code": code}).join(
        known, on=["usage", "code"], how="left", nulls_equal=True, maintain_order="left"
    )["details"]
    found = {names.get("skumeter", "SkuMeter"): usage, names.get("skupricedetails", "SkuPriceDetails"): details}
    columns = [
        pl.select(pl.coalesce(_text(frame[name]), value)).to_series().alias(name)
        if name in frame.columns
        else value.alias(name)
        for name, value in found.items()
    ]
    coded = {name: each for name, each in texts.coded.items() if name not in found}
    return replace(texts, frame=frame.with_columns(columns), coded=coded, origin=texts)


def _text(column: pl.Series) -> pl.Series:
    """Return a column as texts, without those that only say that there is none."""
    texts = as_text(column)
    return pl.select(
        pl.when(~texts.str.strip_chars().str.to_lowercase().is_in(["", "null", "n/a"])).then(texts)
    ).to_series()
