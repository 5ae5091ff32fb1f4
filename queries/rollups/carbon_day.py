"""What the energy of each job emitted, day by day."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Self

import dataframely as dy
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ledger.expressions import divided, to_gpu_seconds
from ledger.names import STATES
from ledger.tables import Asset, CarbonDay, GpuHour, JobGpuHour, Node, NodeEnergyHour
from queries.graph import Input, Span, rollup
from queries.rollups._grid import COUNTRY_OF, GRIDS, Figure, overhead_of
from queries.rollups._stays import stays
from queries.rollups._whole_nodes import with_whole_nodes

_DEVICE: Final = ("hour_start", "cluster", "node", "gpu_uuid")
_HOLDER: Final = ("team", "model", "job_id", "restart_count", "submitted_at")
_GPU_COLUMNS: Final = (*_DEVICE, "existed_seconds", "gpu_fraction", "coverage_ratio", "energy_joules")
_JOB_COLUMNS: Final = (
    *_DEVICE,
    *_HOLDER,
    "user",
    "gpu_fraction",
    "coverage_ratio",
    "energy_joules",
    *(f"{state}_seconds" for state in STATES),
)
_NODE_COLUMNS: Final = ("cluster", "node", "exists_start", "exists_end", "provider", "region", "source")
_KEY: Final = tuple(CarbonDay.primary_key())
_PLACE: Final = ("day", "cluster", "region")
_KILOWATT_HOUR_JOULES: Final = 3_600_000

# Shares of a float: what a device has left of its energy after its jobs is nothing below this.
_ROUNDING: Final = 1e-9


class Site(BaseModel):
    """What is known of one place where nodes stand, from one day on; of several that fit, the latest holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    region: Annotated[str, Field(description="Region or site of the nodes; empty for all of `cluster`")] = ""
    cluster: Annotated[str, Field(description="Cluster of the nodes; empty for all of `region`")] = ""
    since: Annotated[date, Field(description="First day that the figures are for")] = date(1970, 1, 1)
    country: Annotated[str, Field(description="Country (ISO 3166) whose mean grid it has")] = ""
    grid_grams_per_kilowatt_hour: Annotated[
        float | None, Field(ge=0, le=3_000, description="CO2 equivalent of its electricity; goes before `country`")
    ] = None
    pue_ratio: Annotated[float | None, Field(ge=1, le=5, description="Power usage effectiveness")] = None
    source: Annotated[str, Field(description="Whose figures they are")] = "configuration"

    @model_validator(mode="after")
    def _place_and_country(self) -> Self:
        if not (self.region or self.cluster):
            raise ValueError("found a site without region and cluster, expected one of them")
        if self.country and self.country.upper() not in GRIDS:
            raise ValueError(f"country: found {self.country!r}, expected one of {', '.join(sorted(GRIDS))}")
        return self


class Carbon(BaseModel):
    """Where electricity comes from, where the figures of countries and clouds do not say it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sites: Annotated[tuple[Site, ...], Field(description="Regions, sites and clusters with figures of their own")] = ()


@rollup(version=2)
def carbon_day(
    gpu_hours: Annotated[dy.LazyFrame[GpuHour], Input(columns=_GPU_COLUMNS)],
    job_hours: Annotated[dy.LazyFrame[JobGpuHour], Input(columns=_JOB_COLUMNS, fills=False)],
    nodes: Annotated[dy.LazyFrame[Node], Input(columns=_NODE_COLUMNS, fills=False)],
    assets: Annotated[dy.LazyFrame[Asset], Input(columns=("cluster", "node", "pue_ratio"), fills=False)],
    whole_nodes: Annotated[dy.LazyFrame[NodeEnergyHour], Input(fills=False)],
    span: Span,
    settings: Carbon,
) -> dy.LazyFrame[CarbonDay]:
    """Sum the energy of devices by day and job, add what the site adds to it, and price it in carbon.

    Measured energy x PUE x the grid's figure of that day: of the whole node where a meter of it told, else of the GPU
    boards. PUE comes from the settings, else from the asset, else from what the cloud publishes; the grid from the
    settings, else the country of the region.

    Conserves: over a day, joules of jobs and of what nobody held sum to what the devices counted, and so do those of
    whole nodes to what their meters saw.
    Nulls: energy that was never measured; site and carbon too where a part of the product is unknown.
    """
    within = pl.col("hour_start").is_between(span.start, span.end, closed="left")
    devices = gpu_hours.filter(within).collect()
    if devices.is_empty():
        return CarbonDay.create_empty(lazy=True)
    held = _held(job_hours.filter(within).collect())
    parts = with_whole_nodes(pl.concat([held, _left(_existing(devices), held)]), devices, whole_nodes.collect())
    placed = _placed(parts, stays(nodes.collect()))
    overhead = assets.drop_nulls("pue_ratio").group_by("cluster", "node").agg(pl.col("pue_ratio").max()).collect()
    sited = _sited(placed, overhead, settings)
    return CarbonDay.cast(_priced(_by_day(sited), settings).select(CarbonDay.column_names()).sort(_KEY).lazy())


def _held(job_hours: pl.DataFrame) -> pl.DataFrame:
    """Return what jobs held of devices, with their energy and how much of the time it was seen."""
    seconds = pl.sum_horizontal(f"{state}_seconds" for state in STATES)
    return job_hours.with_columns(to_gpu_seconds(seconds, "gpu_fraction").alias("total_gpu_seconds")).select(
        *_DEVICE, *_HOLDER, "user", "total_gpu_seconds", "coverage_ratio", "energy_joules"
    )


def _existing(devices: pl.DataFrame) -> pl.DataFrame:
    return devices.select(
        *_DEVICE,
        to_gpu_seconds("existed_seconds", "gpu_fraction").alias("total_gpu_seconds"),
        "coverage_ratio",
        "energy_joules",
    )


def _left(devices: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Return what is left of each device's time and energy after its jobs."""
    # Floats are summed: in one order, a second run gives the same last digit.
    taken = (
        held.sort(*_DEVICE, *_HOLDER)
        .group_by(_DEVICE, maintain_order=True)
        .agg(
            pl.col("total_gpu_seconds").sum().alias("taken_seconds"),
            pl.col("energy_joules").sum().alias("taken_joules"),
        )
    )
    seconds = pl.col("total_gpu_seconds") - pl.col("taken_seconds").fill_null(0)
    joules = pl.col("energy_joules") - pl.col("taken_joules").fill_null(0.0)
    nothing = joules.abs() <= _ROUNDING * pl.col("energy_joules")
    left = devices.join(taken, on=_DEVICE, how="left").with_columns(
        seconds.alias("total_gpu_seconds"), pl.when(nothing).then(0.0).otherwise(joules).alias("energy_joules")
    )
    some = (pl.col("total_gpu_seconds") > 0) | (pl.col("energy_joules") != 0)
    return left.filter(some).select(
        *_DEVICE,
        pl.lit("").alias("team"),
        pl.lit("").alias("model"),
        pl.lit("").alias("job_id"),
        pl.lit(0, dtype=pl.Int64).alias("restart_count"),
        pl.lit(datetime(1970, 1, 1, tzinfo=UTC), dtype=pl.Datetime("us", "UTC")).alias("submitted_at"),
        pl.lit(None, dtype=pl.String).alias("user"),
        "total_gpu_seconds",
        "coverage_ratio",
        "energy_joules",
    )


def _placed(parts: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """Add the day, and the region and provider that the node had in the hour."""
    hours = parts.select("hour_start", "cluster", "node").unique()
    had = (
        hours.join(nodes, on=["cluster", "node"])
        .filter(pl.col("exists_start") < pl.col("hour_start").dt.offset_by("1h"))
        .sort("exists_start")
        .unique(["hour_start", "cluster", "node"], keep="last")
        .select("hour_start", "cluster", "node", "region", "provider")
    )
    return parts.join(had, on=["hour_start", "cluster", "node"], how="left").with_columns(
        pl.col("hour_start").dt.date().alias("day"), pl.col("region", "provider").fill_null("")
    )


def _sited(parts: pl.DataFrame, overhead: pl.DataFrame, settings: Carbon) -> pl.DataFrame:
    """Add the energy with what the site adds to it."""
    places = parts.select(*_PLACE, "provider").unique()
    stated = _looked_up(places, _stated(settings, _overhead), "stated")
    published = _looked_up(stated, lambda row: overhead_of(row["provider"]), "published")
    pue = pl.coalesce("stated", "pue_ratio", "published")
    return (
        parts.join(published.drop("stated_figure", "published_figure"), on=[*_PLACE, "provider"])
        .join(overhead, on=["cluster", "node"], how="left")
        .with_columns((pl.coalesce("node_joules", "energy_joules") * pue).alias("site_joules"))
    )


def _by_day(parts: pl.DataFrame) -> pl.DataFrame:
    """Return one row per day, region and holder; floats are added in one order."""
    energy, node, site = pl.col("energy_joules"), pl.col("node_joules"), pl.col("site_joules")
    is_known = energy.is_not_null() | node.is_not_null()
    is_whole = (site.is_not_null() | ~is_known).all()
    time = pl.col("total_gpu_seconds").cast(pl.Float64)
    seen = pl.coalesce(
        pl.when(energy.is_not_null()).then(time * pl.col("coverage_ratio")),
        pl.when(node.is_not_null()).then(time * pl.col("node_measured_ratio")),
    )
    whole_seen = pl.when(node.is_not_null()).then(time * pl.col("node_measured_ratio"))
    return (
        parts.sort(*_KEY, *_DEVICE)
        .group_by(_KEY, maintain_order=True)
        .agg(
            pl.col("user").drop_nulls().first(),
            pl.col("total_gpu_seconds").sum(),
            seen.sum().alias("known_gpu_seconds"),
            pl.when(energy.is_not_null().any()).then(energy.sum()).alias("energy_joules"),
            pl.when(node.is_not_null().any()).then(node.sum()).alias("node_joules"),
            whole_seen.sum().alias("node_known_gpu_seconds"),
            pl.when(is_known.any() & is_whole).then(site.sum()).alias("site_joules"),
        )
    )


def _priced(rows: pl.DataFrame, settings: Carbon) -> pl.DataFrame:
    """Add the grid's figure of the day and the carbon."""
    stated = _stated(settings, _grid)

    def figure(row: dict[str, Any]) -> Figure | None:
        country = COUNTRY_OF.get(row["region"].casefold(), "")
        return stated(row) or GRIDS.get(country)

    grids = _looked_up(rows.select(_PLACE).unique(), figure, "grid_grams_per_kilowatt_hour").with_columns(
        pl.col("grid_grams_per_kilowatt_hour_figure").struct.field("since").alias("grid_since"),
        pl.col("grid_grams_per_kilowatt_hour_figure").struct.field("source").alias("grid_source"),
    )
    kilowatt_hours = divided(pl.col("site_joules"), _KILOWATT_HOUR_JOULES)
    return rows.join(grids, on=_PLACE).with_columns(
        (kilowatt_hours * pl.col("grid_grams_per_kilowatt_hour")).alias("carbon_grams")
    )


def _grid(site: Site) -> Figure | None:
    """Return what a site's electricity emits, by its own figure or its country's."""
    if site.grid_grams_per_kilowatt_hour is not None:
        return Figure(site.grid_grams_per_kilowatt_hour, site.since, site.source)
    return GRIDS[site.country.upper()] if site.country else None


def _overhead(site: Site) -> Figure | None:
    """Return what a site adds to the energy of its machines."""
    return None if site.pue_ratio is None else Figure(site.pue_ratio, site.since, site.source)


def _stated(settings: Carbon, of: Callable[[Site], Figure | None]) -> Callable[[dict[str, Any]], Figure | None]:
    """Return what finds a figure of the settings for a place and day: of those that fit, the latest."""
    known = [(site, found) for site in settings.sites if (found := of(site)) is not None]

    def figure(row: dict[str, Any]) -> Figure | None:
        fitting = [
            (site.since, found)
            for site, found in known
            if site.region in {"", row["region"]} and site.cluster in {"", row["cluster"]} and site.since <= row["day"]
        ]
        return max(fitting, key=lambda each: each[0])[1] if fitting else None

    return figure


def _looked_up(places: pl.DataFrame, figure: Callable[[dict[str, Any]], Figure | None], name: str) -> pl.DataFrame:
    """Add a figure for each place, where it is for the day or an earlier one: its value, and all that is said of it."""
    found: Iterable[Figure | None] = (figure(row) for row in places.iter_rows(named=True))
    valid = [
        each if each is not None and each.since <= day else None
        for each, day in zip(found, places["day"].to_list(), strict=True)
    ]
    kind = pl.Struct({"value": pl.Float64, "since": pl.Date, "source": pl.String})
    told = pl.Series(f"{name}_figure", [None if each is None else each._asdict() for each in valid], dtype=kind)
    return places.with_columns(told, told.struct.field("value").alias(name))
