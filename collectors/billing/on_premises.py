"""Owned hardware: a TOML or CSV table of assets, from which charges are made as a cloud would bill them.

In TOML, keys at the top are the value of every `[[asset]]` that does not state its own.
"""

from typing import Final
from zoneinfo import available_timezones

import polars as pl

from collectors.billing._cells import Cells
from collectors.billing._charges import import_frame
from collectors.billing._format import BillFormat, Head, Imported, Rejected, Request
from collectors.billing._tariff import tariff
from collectors.billing._toml import has_tables, stated_texts
from ledger.errors import InputError
from ledger.tables import Asset, NodeResource, declared

_NEEDED: Final = (
    "asset_id",
    "cluster",
    "node",
    "owner",
    "billing_currency",
    "purchase_cost",
    "life_start",
    "life_end",
)
_MONEY: Final = (
    "purchase_cost",
    "residual_cost",
    "energy_price",
    "space_month_cost",
    "staff_month_cost",
    "support_month_cost",
    "financing_cost",
)
_TEXTS: Final = ("asset_id", "cluster", "node", "owner", "billing_currency")
_WORDS: Final = ("energy_tariff", "time_zone")
_NUMBERS: Final = ("power_watts", "host_power_watts", "pue_ratio")
_LEAST_PUE: Final = 1.0
_MOST_PUE: Final = 5.0
_TABLE: Final = "asset"


def _kind(head: Head) -> str | None:
    """Return toml or csv where the file is a table of assets."""
    if {"asset_id", "purchase_cost"} <= head.folded:
        return "csv"
    return "toml" if has_tables(head, _TABLE) else None


def _read(request: Request) -> Imported:
    """Return the assets, and the link from each node to the charges that its assets will have."""
    frames: list[pl.DataFrame] = []
    rejected: list[Rejected] = []
    remarks: list[str] = []
    for file in request.source.files:
        cells = Cells(stated_texts(file, _TABLE, Asset.column_names()), declared(Asset).name)
        frames.append(_assets(cells, request))
        rejected.extend(cells.rejected())
        unknown = sorted(cells.columns.keys() - set(Asset.column_names()))
        if unknown:
            remarks.append(f"{file.label}: {', '.join(unknown)} are no columns of an asset and were left out")
    assets = pl.concat(frames)
    if assets.is_empty() and not rejected:
        raise InputError(f"{request.source.path}: found no asset, expected one or more")
    return Imported(
        path=request.source.path,
        format=on_premises.name,
        version=request.version,
        source_name=request.source.name,
        sha256=request.sha256,
        import_id=request.import_id,
        tables={Asset: Asset.cast(assets), NodeResource: NodeResource.cast(_links(assets))},
        imports=import_frame([]),
        rejected=tuple(rejected),
        remarks=tuple(remarks),
    )


def _assets(cells: Cells, request: Request) -> pl.DataFrame:
    """Return the good assets of one file."""
    stated = {name.casefold(): value for name, value in request.defaults.items()}
    missing = [name for name in _NEEDED if not cells.has(name) and name not in stated]
    if missing:
        raise InputError(
            f"{cells.texts.header}: found no column {', '.join(missing)}, expected {', '.join(_NEEDED)}",
            hint="add the column to the file",
        )
    columns = {name: cells.text(name, stated.get(name)) for name in _TEXTS}
    columns |= {name: cells.amount(name, is_needed=name == "purchase_cost").amounts for name in _MONEY}
    for name in ("life_start", "life_end"):
        columns[name] = cells.instant(name, is_needed=True, default=stated.get(name)).dt.date()
    columns["gpu_count"] = cells.whole("gpu_count")
    columns |= {name: cells.number(name) for name in _NUMBERS}
    columns |= {name: cells.text(name) for name in _WORDS}
    for name in _TEXTS:
        cells.need(name, columns[name], "a value for every asset")
    frame = pl.DataFrame([column.alias(name) for name, column in columns.items()])
    _judge(cells, frame)
    return cells.kept(frame.select(Asset.column_names()))


def _judge(cells: Cells, frame: pl.DataFrame) -> None:
    """Refuse assets that cannot be written off: a life without length, a residual above the price."""
    wrong = (
        ("asset_id", ~pl.col("asset_id").is_first_distinct(), "each asset once"),
        ("billing_currency", ~pl.col("billing_currency").str.contains(r"^[A-Z]{3}$"), "three letters of ISO 4217"),
        ("life_end", pl.col("life_end") <= pl.col("life_start"), "a day after life_start"),
        ("residual_cost", pl.col("residual_cost") > pl.col("purchase_cost"), "at most purchase_cost"),
        ("pue_ratio", ~pl.col("pue_ratio").is_between(_LEAST_PUE, _MOST_PUE), "1 to 5"),
        *((name, pl.col(name) < 0, "0 or more") for name in ("power_watts", "host_power_watts")),
        ("gpu_count", pl.col("gpu_count") < 0, "0 or more"),
        *((name, pl.col(name) < 0, "0 or more") for name in _MONEY),
    )
    for name, is_wrong, expected in wrong:
        for index in frame.select(pl.arg_where(is_wrong)).to_series().to_list():
            cells.refuse(index, name, frame[name][index], expected)
    _judge_tariffs(cells, frame)


def _judge_tariffs(cells: Cells, frame: pl.DataFrame) -> None:
    """Refuse tariffs that leave an hour without a price, and clocks that do not exist."""
    for index, (text, price, zone) in enumerate(frame.select("energy_tariff", "energy_price", "time_zone").iter_rows()):
        if zone is not None and zone not in available_timezones():
            cells.refuse(index, "time_zone", zone, "the name of a time zone, such as Europe/Berlin")
        try:
            if text is not None:
                tariff(text, price)
        except ValueError as error:
            cells.refuse(index, "energy_tariff", text, str(error))


def _links(assets: pl.DataFrame) -> pl.DataFrame:
    """Return the node of each asset under the resource id that its charges will carry."""
    day_start = pl.Datetime("us", "UTC")
    return assets.select(
        "cluster",
        "node",
        pl.col("owner").alias("provider"),
        pl.col("asset_id").str.to_lowercase().alias("resource_id"),
        pl.col("life_start").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(day_start).alias("valid_start"),
        pl.col("life_end").cast(pl.Datetime("us")).dt.replace_time_zone("UTC").cast(day_start).alias("valid_end"),
        pl.lit("configuration").alias("match_method"),
    )


on_premises = BillFormat(name="on_premises", detect=_kind, read=_read, module=__name__)
