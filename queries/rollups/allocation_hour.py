"""Who a cost belongs to: every unit of it on one device, in one state, for one holder, or in a bucket without one."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger import money
from ledger.sections import MoneySettings
from ledger.tables import AllocationHour, CostHour, GpuHour, Job, JobGpuHour, Node
from queries.graph import Input, Span, rollup
from queries.rollups._leaves import LEAF, PLACE, gpu_leaves, nobody, request_leaves
from queries.rollups._split_rules import WHOLE_NODE, part_weights
from queries.rollups._stays import stays

_MEASURES: Final = ("billed_cost", "effective_cost")
_COST_KEY: Final = tuple(CostHour.primary_key())
_MARKET: Final = ("hour_start", "provider", "billing_currency")
_MILLIONTHS: Final = 1_000_000
_NOT_SPLIT: Final = "not_split"
_JOB_COLUMNS: Final = ("cluster", "job_id", "submitted_at", "restart_count", "cpu_count", "memory_bytes", "node_count")

# Milliseconds times millionths of a device: what a leaf's weight has of a GPU-second.
_GPU_SECOND_OF_WEIGHT: Final = Decimal("1e-9")


@rollup()
def allocation_hour(
    costs: Annotated[dy.LazyFrame[CostHour], Input(by="hour_start")],
    gpu_hours: dy.LazyFrame[GpuHour],
    job_hours: dy.LazyFrame[JobGpuHour],
    jobs: Annotated[dy.LazyFrame[Job], Input(columns=_JOB_COLUMNS, fills=False)],
    nodes: Annotated[dy.LazyFrame[Node], Input(fills=False)],
    span: Span,
    settings: MoneySettings,
) -> dy.LazyFrame[AllocationHour]:
    """Divide each hour of a cost over the devices, states and holders of its node, exactly.

    A node's price goes to its devices by a named rule, and from a device to states and jobs by time. Usage
    without a node or without device time is `unallocable`, unless its service is for everybody; what is no
    usage is `shared`; commitments that nobody used are `idle`.

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
    divided = _divided(placed, places, leaves, requests, settings.split_rule)
    apart = _apart(bucket)
    if settings.shared_cost != "apart":
        apart = _shared_among_teams(apart, rows, divided, settings)
    parts = pl.concat([divided, apart], how="diagonal")
    wide = parts.join(rows.select("row", *_COST_KEY, "service_name"), on="row")
    return AllocationHour.cast(wide.select(AllocationHour.column_names()).sort(AllocationHour.primary_key()).lazy())


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
    return hours.join(had, on=PLACE, how="left").with_row_index("place")


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
    """Return costs that have no device: of those without an owner, what serves everybody is `shared`."""
    shared, rest = [], []
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
    kept = ["row", "bucket", "state", *_MEASURES]
    parts = pl.concat([others.select(kept), for_all.select(kept)])
    return parts.with_columns(
        pl.lit("").alias("gpu_uuid"),
        *nobody(),
        pl.lit(_NOT_SPLIT).alias("allocated_method_id"),
        pl.lit(0, dtype=pl.Int64).alias("weight"),
    ).pipe(_with_seconds)


def _divided(
    placed: pl.DataFrame, places: pl.DataFrame, leaves: pl.DataFrame, requests: pl.DataFrame, rule: str
) -> pl.DataFrame:
    """Return the costs of node-hours on their leaves."""
    weights = placed.select("row", "place").join(part_weights(places, rule), on="place")
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
    return devices.join(described, on="leaf").drop("leaf").pipe(_with_seconds)


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
    order = [*PLACE, *LEAF]
    every = pl.concat(found).join(places.select("place", *PLACE), on=PLACE).sort([*order, "part"])
    return every.with_columns(pl.struct(order).rle_id().alias("leaf"))


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


def _shared_among_teams(
    apart: pl.DataFrame, rows: pl.DataFrame, divided: pl.DataFrame, settings: MoneySettings
) -> pl.DataFrame:
    """Divide shared costs of the AI estate: in fixed shares, or over who held devices of the provider in the hour."""
    about = rows.select("row", *_MARKET, "in_scope")
    spread = apart.with_row_index("part").join(about, on="row")
    mine = (pl.col("bucket") == "shared") & pl.col("in_scope")
    whole = spread.filter(mine).drop("team", *_MEASURES)
    if settings.shared_cost == "fixed":
        leaves = whole.join(_fixed_shares(settings), how="cross")
    else:
        leaves = whole.join(_holding_teams(divided, about, is_even=settings.shared_cost == "even"), on=_MARKET)
    split = money.apportion(spread.filter(mine), leaves, by=["part"], weight="weight", tie=["team"], columns=_MEASURES)
    method = (
        pl.when(pl.col("team") == "").then("allocated_method_id").otherwise(pl.lit(f"shared_{settings.shared_cost}"))
    )
    named = split.parts.with_columns(method.alias("allocated_method_id"))
    return pl.concat([each.select(apart.columns) for each in (spread.filter(~mine), split.unplaced, named)])


def _holding_teams(divided: pl.DataFrame, about: pl.DataFrame, *, is_even: bool) -> pl.DataFrame:
    """Return the teams that held devices, with the device time as `weight`, or 1 each."""
    weight = pl.lit(1) if is_even else (pl.col("held_gpu_seconds").sum() * 1000)
    held = divided.filter(pl.col("bucket") == "allocated").join(about, on="row")
    return held.group_by(*_MARKET, "team").agg(weight.cast(pl.Int64).alias("weight"))


def _fixed_shares(settings: MoneySettings) -> pl.DataFrame:
    """Return each team's share in millionths; the rest is nobody's and stays apart."""
    shares = {team: int(ratio * _MILLIONTHS) for team, ratio in sorted(settings.shared_cost_ratios.items())}
    rest = _MILLIONTHS - sum(shares.values())
    named = [(team, share) for team, share in ({"": rest} | shares).items() if share]
    return pl.DataFrame(named, schema={"team": pl.String, "weight": pl.Int64}, orient="row")
