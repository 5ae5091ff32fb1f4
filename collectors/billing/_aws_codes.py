"""What is worked out from AWS's codes, once for each different combination of them."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import polars as pl

from collectors.billing._aws_services import TOKENS, model_of, region_of, service_category

Codes = tuple[str | None, ...]

_AI: Final = re.compile(r"(?i)bedrock|sagemaker")
_SIZE: Final = re.compile(r"^([0-9.,]+) ?(?:GiB|GB)?$")
_HOURLY: Final = re.compile(r":((?:ml\.)?[a-z][a-z0-9-]*\.[a-z0-9-]+)$")
_BY_SERVICE: Final = ("lineitemproductcode", "productproductfamily")
_BY_PLACE: Final = ("lineitemavailabilityzone", "lineitemusagetype")
_BY_SKU: Final = (
    "lineitemproductcode", "productproductname", "lineitemusagetype", "productmodel", "productinstancetype",
    "productgpu", "productvcpu", "productmemory", "productoperatingsystem",
)  # fmt: skip


def looked_up(rows: pl.DataFrame) -> list[pl.Series]:
    """Return the columns ServiceCategory, ServiceSubcategory, region and SkuPriceDetails of the lines of a report."""
    services = _worked_out(rows, _BY_SERVICE, lambda row: service_category(row[0] or "", row[1] or ""), 2)
    regions = _worked_out(rows, _BY_PLACE, lambda row: (region_of(row[0] or "", row[1] or ""),), 1)
    details = _worked_out(rows, _BY_SKU, lambda row: (details_of(dict(zip(_BY_SKU, row, strict=True))),), 1)
    names = ("ServiceCategory", "ServiceSubcategory", "region", "SkuPriceDetails")
    return [series.alias(name) for series, name in zip([*services, *regions, *details], names, strict=True)]


def details_of(codes: Mapping[str, str | None]) -> str | None:
    """Return FOCUS SkuPriceDetails: what one pricing unit has, and the model where the bill names it."""
    found: dict[str, object] = {}
    usage_type = codes["lineitemusagetype"] or ""
    instance = codes["productinstancetype"] or next(iter(_HOURLY.findall(usage_type)), None)
    if instance:
        found["InstanceType"] = instance
    for key, name in {"GpuCount": "productgpu", "CoreCount": "productvcpu"}.items():
        if (value := codes[name]) and value.isdecimal():
            found[key] = int(value)
    if size := _SIZE.match(codes["productmemory"] or ""):
        found["MemorySize"] = float(size[1].replace(",", ""))
    if system := codes["productoperatingsystem"]:
        found["OperatingSystem"] = system
    words = [codes["productmodel"], codes["productproductname"], usage_type]
    if any(_AI.search(each) for each in (codes["lineitemproductcode"], codes["productproductname"]) if each):
        found |= _model([each for each in words if each])
    return json.dumps(found, sort_keys=True) if found else None


def _model(words: Sequence[str]) -> dict[str, str]:
    """Return the model that the first of some words name, and what they say of its tokens; nothing without a model."""
    named = [model for each in words if (model := model_of(each))]
    return {"ModelId": named[0], **TOKENS.said(words[-1])} if named else {}


def _worked_out(
    rows: pl.DataFrame, by: Sequence[str], work: Callable[[Codes], tuple[str | None, ...]], width: int
) -> list[pl.Series]:
    distinct = rows.select(by).unique(maintain_order=True)
    found = [work(row) for row in distinct.rows()]
    names = [f"\0{index}" for index in range(width)]
    columns = {name: pl.Series([each[index] for each in found], dtype=pl.String) for index, name in enumerate(names)}
    known = distinct.with_columns(**columns)
    joined = rows.select(by).join(known, on=list(by), how="left", nulls_equal=True, maintain_order="left")
    return [joined[name] for name in names]
