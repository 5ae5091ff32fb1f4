"""List prices: AWS and Azure on-demand lists, a list of GPU clouds, and OpenCost's custom price sheet."""

import re
from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from collectors.billing._cells import Cells
from collectors.billing._charges import import_frame
from collectors.billing._format import BillFormat, Head, Imported, Rejected, Request
from collectors.billing._texts import read_texts
from ledger.errors import InputError
from ledger.tables import Price, declared

_MEBIBYTE: Final = 2.0**20
_GIBIBYTE: Final = 2.0**30
_DATE_IN_NAME: Final = re.compile(r"(20\d\d-\d\d(?:-\d\d)?)")
_KEY: Final = ("provider", "region", "instance_type", "price_category", "billing_currency", "valid_start")

# Prices are looked up under the name that a provider has on its bills.
_BILLED_AS: Final = {"GCP": "Google Cloud", "Azure": "Microsoft"}

# OpenCost's sheet names only the end of a price: it holds from the earliest instant that the ledger knows.
_ALWAYS: Final = "2000-01-01T00:00:00Z"


def _aws(cells: Cells, request: Request) -> pl.DataFrame:
    """Read on-demand prices of AWS with the shape of each instance type; other accelerators count as GPUs."""
    return pl.DataFrame(
        {
            "provider": pl.repeat("AWS", cells.height, dtype=pl.String, eager=True),
            "region": cells.text("region"),
            "instance_type": cells.text("instance_type"),
            "unit_price": cells.amount("usd_per_hour_on_demand", is_needed=True).amounts,
            "valid_start": cells.instant("price_date", is_needed=True, default=_dated(cells, request)),
            "gpu_model": _first(cells.text("gpu_name"), cells.text("accelerator_name")),
            "gpu_count": _first(cells.whole("gpu_count"), cells.whole("accelerator_count")),
            "gpu_memory_bytes": cells.number("gpu_memory_mib_each") * _MEBIBYTE,
            "cpu_count": cells.whole("vcpus"),
            "memory_bytes": cells.number("memory_mib") * _MEBIBYTE,
        }
    )


def _azure(cells: Cells, request: Request) -> pl.DataFrame:
    """Read on-demand prices of Azure's sizes."""
    return pl.DataFrame(
        {
            "provider": pl.repeat("Microsoft", cells.height, dtype=pl.String, eager=True),
            "region": cells.text("region"),
            "instance_type": cells.text("sku"),
            "unit_price": cells.amount("usd_per_hour_on_demand", is_needed=True).amounts,
            "valid_start": cells.instant("price_date", is_needed=True, default=_dated(cells, request)),
        }
    )


def _clouds(cells: Cells, request: Request) -> pl.DataFrame:
    """Read a list of many clouds, an on-demand and a spot price in a row; sizes without a name get one."""
    gpus = cells.whole("GPUs")
    shape = pl.DataFrame(
        {
            "provider": cells.text("Cloud").replace(_BILLED_AS),
            "name": cells.text("Name"),
            "gpu_model": cells.text("GPU Type"),
            "gpu_count": gpus,
            "gpu_memory_bytes": cells.number("GPU RAM") * _GIBIBYTE,
            # Some clouds say "4-6": a range is no number, and no reason to refuse the price.
            "cpu_count": cells.text("vCPUs").cast(pl.Int64, strict=False),
            "memory_bytes": cells.text("RAM").cast(pl.Float64, strict=False) * _GIBIBYTE,
            "valid_start": cells.instant("price_date", is_needed=True, default=_dated(cells, request)),
            "on_demand": cells.amount("On-demand").amounts,
            "spot": cells.amount("Spot").amounts,
        }
    ).with_row_index("#row")
    for index in pl.arg_where(shape["on_demand"].is_null() & shape["spot"].is_null(), eager=True).to_list():
        cells.refuse(index, "On-demand", None, "an on-demand or a spot price")
    shape = shape.with_columns(_instance_name().alias("instance_type"))
    priced = shape.unpivot(
        ["on_demand", "spot"],
        index=[each for each in shape.columns if each not in {"on_demand", "spot"}],
        variable_name="price_category",
        value_name="unit_price",
    )
    return (
        priced.filter(pl.col("unit_price").is_not_null())
        .with_columns(
            # The list has the memory of all GPUs together.
            pl.when(pl.col("gpu_count") > 0)
            .then(pl.col("gpu_memory_bytes") / pl.col("gpu_count"))
            .alias("gpu_memory_bytes"),
        )
        .sort("#row", "price_category")
        .drop("name")
    )


def _instance_name() -> pl.Expr:
    """Return the size's name; with its GPUs where a cloud sells one size with several, or its shape for a name."""
    gpus = pl.format("{}x {}", "gpu_count", "gpu_model")
    cpus = pl.col("cpu_count").cast(pl.String).fill_null("?")
    memory = (pl.col("memory_bytes") / _GIBIBYTE).cast(pl.String).str.strip_suffix(".0").fill_null("?")
    shapes = pl.struct("gpu_count", "gpu_model").n_unique().over("provider", "name")
    named = pl.when(shapes > 1).then(pl.format("{} + {}", "name", gpus)).otherwise("name")
    return (
        pl.when(pl.col("name").is_not_null())
        .then(named)
        .otherwise(pl.format("{}, {} vCPU, {} GiB", gpus, cpus, memory))
    )


def _custom(cells: Cells, request: Request) -> pl.DataFrame:
    """Read OpenCost's custom sheet: a price per node or per GPU, chosen by the value of a label."""
    del request
    name = cells.text("InstanceID")
    is_gpu = cells.text("AssetClass").str.to_lowercase() == "gpu"
    frame = pl.DataFrame(
        {
            "provider": pl.repeat("custom", cells.height, dtype=pl.String, eager=True),
            "region": cells.text("Region"),
            "instance_type": name,
            "unit_price": cells.amount("MarketPriceHourly", is_needed=True).amounts,
            "valid_start": pl.repeat(_ALWAYS, cells.height, dtype=pl.String, eager=True).str.to_datetime(
                time_zone="UTC"
            ),
            "is_gpu": is_gpu,
        }
    )
    word = pl.col("instance_type").str.to_lowercase()
    return frame.with_columns(
        pl.when(word.str.contains("reserved"))
        .then(pl.lit("reserved"))
        .when(word.str.contains("spot"))
        .then(pl.lit("spot"))
        .otherwise(pl.lit("on_demand"))
        .alias("price_category"),
        pl.when("is_gpu")
        .then(pl.col("instance_type").str.replace(r"(?i)-(ondemand|on-demand|reserved|spot)$", ""))
        .alias("gpu_model"),
        pl.when("is_gpu").then(1).cast(pl.Int64).alias("gpu_count"),
    ).drop("is_gpu")


_LAYOUTS: Final[Mapping[str, tuple[frozenset[str], Callable[[Cells, Request], pl.DataFrame]]]] = {
    "aws": (frozenset({"region", "instance_type", "usd_per_hour_on_demand"}), _aws),
    "azure": (frozenset({"region", "sku", "usd_per_hour_on_demand"}), _azure),
    "clouds": (frozenset({"cloud", "gpu type", "gpus", "on-demand", "spot"}), _clouds),
    "opencost": (frozenset({"instanceid", "assetclass", "marketpricehourly"}), _custom),
}


def _layout(head: Head) -> str | None:
    """Return which list it is, by its columns."""
    return next((name for name, (columns, _) in _LAYOUTS.items() if columns <= head.folded), None)


def _read(request: Request) -> Imported:
    """Return the prices of all files; a price that stands twice is refused the second time."""
    if request.version not in _LAYOUTS:
        raise InputError(
            f"{request.source.path}: found columns of no known price list, expected that of {', '.join(_LAYOUTS)}"
        )
    _, rows_of = _LAYOUTS[request.version]
    frames: list[pl.DataFrame] = []
    rejected: list[Rejected] = []
    for file in request.source.files:
        cells = Cells(read_texts(file, file.content()), declared(Price).name)
        prices = _keyed(rows_of(cells, request), request)
        index = prices["#row"]
        for name in ("provider", "instance_type"):
            for row in index.filter(prices[name].is_null()).to_list():
                cells.refuse(row, name, None, "a value in every row")
        again = ~prices.select(pl.struct(_KEY).is_first_distinct()).to_series()
        for row, price in zip(index.filter(again).to_list(), prices.filter(again).iter_rows(named=True), strict=True):
            cells.refuse(row, "instance_type", price["instance_type"], "each price once")
        frames.append(prices.filter(~pl.col("#row").is_in(sorted(cells.refused))))
        rejected.extend(cells.rejected())
    whole = pl.concat(frames, how="diagonal").with_columns(pl.lit(request.source.name).alias("source"))
    if whole.is_empty() and not rejected:
        raise InputError(f"{request.source.path}: found a header and no rows, expected prices")
    whole = whole.unique(_KEY, keep="first", maintain_order=True)
    return Imported(
        path=request.source.path,
        format=price_list.name,
        version=request.version,
        source_name=request.source.name,
        sha256=request.sha256,
        import_id=request.import_id,
        tables={Price: Price.cast(_complete(whole))},
        imports=import_frame([]),
        rejected=tuple(rejected),
    )


def _keyed(prices: pl.DataFrame, request: Request) -> pl.DataFrame:
    """Fill the parts of the key that a list leaves out."""
    stated = {name.casefold(): value for name, value in request.defaults.items()}
    if "#row" not in prices.columns:
        prices = prices.with_row_index("#row")
    if "price_category" not in prices.columns:
        prices = prices.with_columns(pl.lit("on_demand").alias("price_category"))
    if "provider" in stated:
        prices = prices.with_columns(pl.lit(stated["provider"]).alias("provider"))
    return prices.with_columns(
        pl.col("region").fill_null("") if "region" in prices.columns else pl.lit("").alias("region"),
        pl.lit(stated.get("billing_currency", "USD")).alias("billing_currency"),
        pl.lit("Hours").alias("pricing_unit"),
    )


def _complete(prices: pl.DataFrame) -> pl.DataFrame:
    absent = [name for name in Price.column_names() if name not in prices.columns]
    return prices.with_columns(pl.lit(None).alias(name) for name in absent)


def _dated(cells: Cells, request: Request) -> str | None:
    """Return the date of a list that has none in its rows: stated, or in the file's name."""
    stated = {name.casefold(): value for name, value in request.defaults.items()}.get("price_date")
    found = _DATE_IN_NAME.search(request.source.name)
    date = stated or (found.group(1) if found else None)
    if date is None and not cells.has("price_date"):
        raise InputError(
            f"{cells.texts.label}: found no date, neither in a column price_date nor in the file's name",
            hint="put the date of the list into the file's name, such as prices_2026-01.csv",
        )
    return date


def _first(left: pl.Series, right: pl.Series) -> pl.Series:
    """Return the left value where it is known, else the right."""
    return pl.select(pl.coalesce(left, right)).to_series()


price_list = BillFormat(name="price_list", detect=_layout, read=_read, module=__name__)
