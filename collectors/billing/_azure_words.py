"""What the words of an Azure row say that no expression can: looked up once for each distinct text."""

import json
import re
from typing import Final

import polars as pl

from collectors.billing._azure_services import region_id, service_category
from collectors.billing._token_words import model_and_tokens

_PAIR: Final = re.compile(r'"((?:[^"\\]|\\.)+)"\s*:\s*"((?:[^"\\]|\\.)*)"')
_SIZE: Final = r'"ServiceType"\s*:\s*"((?:Standard|Basic)_[^"]+)"'
_AI: Final = r"(?i)openai|cognitive|foundry|machine learning|saas|marketplace"


def looked_up(rows: pl.DataFrame) -> list[pl.Series]:
    """Return ServiceCategory, ServiceSubcategory, RegionId, SkuPriceDetails and Tags of each row."""
    keys = rows.select(pl.struct(pl.col("meter_category", "namespace", "family").fill_null("")).alias("key"))["key"]
    known = {tuple(each.values()): service_category(*each.values()) for each in keys.unique().to_list()}
    found = [known[tuple(each.values())] for each in keys.to_list()]
    region = {text: region_id(text) for text in rows["location"].drop_nulls().unique().to_list()}
    return [
        pl.Series("ServiceCategory", [each[0] for each in found], dtype=pl.String),
        pl.Series("ServiceSubcategory", [each[1] for each in found], dtype=pl.String),
        rows["location"].replace_strict(region, default=None, return_dtype=pl.String).alias("RegionId"),
        _details(rows),
        _tags(rows["tags"]),
    ]


def _details(rows: pl.DataFrame) -> pl.Series:
    """Return SkuPriceDetails: the size of a machine, and the model of a token meter."""
    kinds = pl.concat_str(["family", "meter_category"], separator=" ", ignore_nulls=True)
    said = pl.concat_str(["product", "meter_subcategory", "meter_name"], separator=" ", ignore_nulls=True)
    words = rows.select(
        pl.struct(
            pl.col("more").str.extract(_SIZE, 1).alias("size"),
            pl.when(kinds.str.contains(_AI)).then(said).alias("words"),
        ).alias("said")
    )["said"]
    made: dict[tuple[str | None, str | None], str | None] = {}
    for each in words.unique().to_list():
        details = {"InstanceType": each["size"]} if each["size"] else {}
        details |= model_and_tokens(each["words"] or "")
        made[each["size"], each["words"]] = json.dumps(details, sort_keys=True) if details else None
    return pl.Series(
        "SkuPriceDetails", [made[each["size"], each["words"]] for each in words.to_list()], dtype=pl.String
    )


def _tags(column: pl.Series) -> pl.Series:
    """Return tags as JSON objects: EA leaves the braces out, and cuts long ones, whose whole pairs are kept."""
    read = {text: _object(text) for text in column.drop_nulls().unique().to_list()}
    return column.replace_strict(read, default=None, return_dtype=pl.String).alias("Tags")


def _object(text: str) -> str:
    for each in (text, "{" + text + "}"):
        try:
            value = json.loads(each)
        except ValueError:
            continue
        if isinstance(value, dict):
            return json.dumps(value, sort_keys=True, ensure_ascii=False)
    pairs = dict(_PAIR.findall(text))
    return json.dumps(pairs, sort_keys=True, ensure_ascii=False) if pairs else text
