"""Who a cost belongs to: every unit of it on one device, in one state, for one holder, or in a bucket without one."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger import money
from ledger.money_sections import MoneySettings
from ledger.tables import AllocationHour, CostHour, GpuHour, Job, JobGpuHour, NetworkHour, Node, StorageHour
from queries.graph import Input, Span, rollup
from queries.rollups._direct import NETWORK_COLUMNS, STORAGE_COLUMNS, Traffic
from queries.rollups._leaves import LEAF, PLACE, gpu_leaves, nobody, request_leaves
from queries.rollups._shared import MEASURES as _MEASURES
from queries.rollups._shared import NOT_SPLIT, OWNER, is_shared, said, shared_out
from queries.rollups._split_rules import WHOLE_NODE, part_weights
from queries.rollups._stays import stays

_COST_KEY: Final = tuple(CostHour.primary_key())
_JOB_COLUMNS: Final = ("cluster", "job_id", "submitted_at", "restart_count", "cpu_count", "memory_bytes", "node_count")

# Milliseconds times millionths of a device: what a leaf's weight has of a GPU-second.
_GPU_SECOND_OF_WEIGHT: Final = Decimal("1e-9")


@rollup(rows_at_once=100_000)
def allocation_hour(
    costs: Annotated[dy.LazyFrame[CostHour], Input(by="hour_start")],
    gpu_hours: dy.LazyFrame[GpuHour],
    job_hours: dy.LazyFrame[JobGpuHour],
    jobs: Annotated[dy.LazyFrame[Job], Input(columns=_JOB_COLUMNS, fills=False)],
    nodes: Annotated[dy.LazyFrame[Node], Input(fills=False)],
    ports: Annotated[dy.LazyFrame[NetworkHour], Input(columns=NETWORK_COLUMNS, fills=False)],
    systems: Annotated[dy.LazyFrame[StorageHour], Input(columns=STORAGE_COLUMNS, fills=False)],
    span: Span,
    settings: MoneySettings,
) -> dy.LazyFrame[AllocationHour]:
    """Divide each hour of a cost over the devices, states and holders of its node, exactly.

    A node's price goes to its devices by a named rule, and from a device to states and jobs by time. Usage
    without a node or without device time is `unallocable`, unless its service is for everybody or it has an owner;
    what is no usage is `shared`, and divided by the rule of its kind; commitments that nobody used are `idle`.

    Conserves: over each key of `cost_hour`, parts sum to the cost in each measure. Nulls: unknown stays unknown.
    """
    within = (pl.col("hour_start") >= span.start) & (pl.col("hour_start") < span.end)
    rows = costs.filter(within).collect().sort(_COST_KEY).with_row_index("row")
    devices, held = gpu_hours.filter(within).collect(), job_hours.filter(within).collect()
    leaves = gpu_leaves(devices, held)
    places = _places(leaves, stays(nodes.collect()))
    bucket, placed = _sort_out(rows, places)
    requests = pl.DataFrame()
    if settings.split_rule != WHOLE_NODE:
        requests = request_leaves(devices, held, jobs.collect(), places.drop("place", "gpu_count"))
    divided = _divided(placed, part_weights(places, settings), places, leaves, requests)
    apart = _apart(bucket)
    if is_shared(settings):
        traffic = Traffic(ports.filter(within).collect(), systems.filter(within).collect(), held)
        apart = shared_out(apart, rows, divided, traffic, settings)
    # In the order of the table's key: costs and leaves are numbered in it, and numbers sort faster than a dozen texts.
    ordered = [divided.sort("row", "leaf").drop("leaf"), apart.sort("row", *LEAF)]
    parts = (
        pl.concat(ordered, how="diagonal")
        .sort("row", maintain_order=True)
        .with_columns(
            pl.col("allocated_method_id")
            .replace_strict(said(settings), default=None, return_dtype=pl.String)
            .alias("allocated_method_details")
        )
    )
    wide = parts.join(
        rows.select("row", *_COST_KEY, "service_name", "has_unstated_charge"), on="row", maintain_order="left"
    )
    return AllocationHour.cast(wide.select(AllocationHour.column_names()).lazy())


def _places(leaves: pl.DataFrame, nodes: pl.DataFrame) -> pl.DataFrame:
    """Return the node-hours with device time, numbered, with what the node had."""
    hours = leaves.filter(pl.col("weight") > 0).select(PLACE).unique().sort(PLACE)
    had = (
        hours.join(nodes, on=["cluster", "node"])
        .filter(pl.col("exists_start") < pl.col("hour_start").dt.offset_by("1h"))
        .sort("exists_start")
        .unique(PLACE, keep="last")
        .select(*PLACE, "gpu_count", "cpu_count", "memory_bytes")
    )
    return hours.join(had, on=PLACE, how="left", maintain_order="left").with_row_index("place")


def _sort_out(rows: pl.DataFrame, places: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the costs that go to a bucket whole, and those that go to a place."""
    located = rows.join(places.select("place", *PLACE), on=PLACE, how="left", maintain_order="left")
    used = (pl.col("charge_category") == "Usage") & (pl.col("commitment_status") != "Unused")
    has_place = used & pl.col("place").is_not_null()
    bucket = (
        pl.when(pl.col("charge_category") != "Usage")
        .then(pl.lit("shared"))
        .when(pl.col("commitment_status") == "Unused")
        .then(pl.lit("idle"))
        .otherwise(pl.lit("unallocable"))
    )
    state = pl.when(used & (pl.col("node") != "")).then(pl.lit("unknown")).otherwise(pl.lit(""))
    whole = located.filter(~has_place).with_columns(bucket.alias("bucket"), state.alias("state"))
    return whole, located.filter(has_place)


def _apart(whole: pl.DataFrame) -> pl.DataFrame:
    """Return costs that have no device: what somebody owns, and what serves everybody, is `shared`.

    The model that a bill names is that of the cost, except of commitments that nobody used.
    """
    shared, rest = [], []
    owned = (pl.col("owner_team") != "") & (pl.col("bucket") != "idle")
    whole = whole.with_columns(
        pl.when(owned).then("owner_team").otherwise(pl.lit("")).alias("team"),
        pl.when(owned).then(pl.lit("shared")).otherwise("bucket").alias("bucket"),
        pl.when(owned).then(pl.lit(OWNER)).otherwise(pl.lit(NOT_SPLIT)).alias("allocated_method_id"),
        pl.when(pl.col("bucket") == "idle").then(pl.lit("")).otherwise("named_model").alias("model"),
    )
    ownerless = pl.col("bucket") == "unallocable"
    for measure in _MEASURES:
        part = pl.when(ownerless).then(money.to_units(f"shared_{measure}"))
        shared.append(money.from_units(part).alias(measure))
        left = money.to_units(measure) - pl.when(ownerless).then(part.fill_null(0)).otherwise(0)
        rest.append(money.from_units(left).alias(measure))
    has_part = ownerless & pl.any_horizontal(pl.col(f"shared_{each}").is_not_null() for each in _MEASURES)
    for_all = whole.filter(has_part).with_columns(*shared, pl.lit("shared").alias("bucket"))
    for_all = for_all.with_columns(pl.col("billed_cost").fill_null(0))
    # A row of nothing says nothing more, unless it says that the measure is known.
    is_known = [pl.col(each).is_null() | pl.col(f"shared_{each}").is_not_null() for each in _MEASURES]
    nothing_left = pl.all_horizontal(*is_known, *(pl.col(each).fill_null(0) == 0 for each in _MEASURES))
    others = whole.with_columns(*rest).filter(~(has_part & nothing_left))
    kept = ["row", "bucket", "state", "team", "model", "allocated_method_id", *_MEASURES]
    parts = pl.concat([others.select(kept), for_all.select(kept)])
    return parts.with_columns(
        pl.lit("").alias("gpu_uuid"),
        *(each for each in nobody() if each.meta.output_name() not in {"team", "model"}),
        pl.lit(0, dtype=pl.Int64).alias("weight"),
    ).pipe(_with_seconds)


def _divided(
    placed: pl.DataFrame, rule: pl.DataFrame, places: pl.DataFrame, leaves: pl.DataFrame, requests: pl.DataFrame
) -> pl.DataFrame:
    """Return the costs of node-hours on their leaves; `rule` weighs the parts of each node."""
    weights = placed.select("row", "place").join(rule, on="place")
    numbered = _numbered(leaves, requests, places)
    by_part = (
        money.apportion(
            placed.select("row", *_MEASURES), weights, by=["row"], weight="part_weight", tie=["part"], columns=_MEASURES
        )
        .parts.drop("part_weight")
        .with_row_index("piece")
    )
    ends = by_part.drop(_MEASURES).join(numbered.select("place", "part", "leaf", "weight"), on=["place", "part"])
    parts = money.apportion(
        by_part.select("piece", *_MEASURES), ends, by=["piece"], weight="weight", tie=["leaf"], columns=_MEASURES
    ).parts
    parts = _counted_once(parts, placed)
    devices = parts.filter(pl.col("part") == "gpu").drop("part", "piece", "place")
    asked = parts.filter(pl.col("part") != "gpu")
    if asked.height:
        # Processors and memory of one job are one row.
        key = ["row", "leaf", "allocated_method_id"]
        both = money.summed(asked, by=key, columns=_MEASURES).with_columns(pl.lit(0, dtype=pl.Int64).alias("weight"))
        devices = pl.concat([devices, both.select(devices.columns)])
    described = numbered.select("leaf", *LEAF).unique("leaf")
    return devices.join(described, on="leaf").pipe(_with_seconds)


def _numbered(leaves: pl.DataFrame, requests: pl.DataFrame, places: pl.DataFrame) -> pl.DataFrame:
    """Return all leaves by place and part, numbered in the order of their keys, which breaks ties."""
    devices = leaves.with_columns(pl.lit("gpu").alias("part"))
    found: Sequence[pl.DataFrame] = [devices]
    if requests.height:
        found = [
            devices,
            requests.unpivot(
                ["cpu", "memory"],
                index=[*PLACE, *LEAF],
                variable_name="part",
                value_name="weight",
            ).select(devices.columns),
        ]
    # Places are numbered in the order of their names.
    order = ["place", *LEAF]
    every = pl.concat(found).join(places.select("place", *PLACE), on=PLACE).drop(PLACE).sort([*order, "part"])
    changes = pl.any_horizontal(pl.col(each).ne_missing(pl.col(each).shift(1)) for each in order)
    return every.with_columns((changes.cast(pl.UInt32).cum_sum() - 1).alias("leaf"))


def _counted_once(parts: pl.DataFrame, placed: pl.DataFrame) -> pl.DataFrame:
    """Leave the device time with the largest cost of each node-hour, so that it is not summed twice."""
    largest = placed.sort(
        ["place", "effective_cost", "billed_cost", "row"], descending=[False, True, True, False], nulls_last=True
    ).unique("place", keep="first", maintain_order=True)["row"]
    once = pl.when(pl.col("row").is_in(largest.implode())).then("weight").otherwise(0)
    return parts.with_columns(once.cast(pl.Int64).alias("weight"))


def _with_seconds(parts: pl.DataFrame) -> pl.DataFrame:
    seconds = pl.col("weight").cast(pl.Decimal(28, 0)) * pl.lit(_GPU_SECOND_OF_WEIGHT, dtype=pl.Decimal(28, 9))
    return parts.with_columns(seconds.cast(pl.Decimal(28, 9)).alias("held_gpu_seconds")).drop("weight")
