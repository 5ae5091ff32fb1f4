"""What limited each device of each job, minute by minute."""

from datetime import datetime, timedelta
from typing import Annotated

import dataframely as dy
import polars as pl

from ledger.expressions import per, to_gpu_seconds, to_seconds
from ledger.names import EVIDENCE_QUALITIES, HELD_IDLE_STATES
from ledger.tables import (
    BottleneckMinute,
    Gpu,
    GpuMinute,
    GpuProcessSample,
    GpuStateInterval,
    Job,
    JobGpu,
    Node,
    NodeMinute,
    PressureSample,
)
from ledger.tables.partition import Among, Without
from queries.graph import Input, Span, rollup
from queries.rollups import _bottleneck_rules as rules
from queries.rollups._bottleneck_holders import INTERVAL, holders, with_fraction
from queries.rollups._bottleneck_numbers import measured
from queries.rollups._bottleneck_peers import with_peers
from queries.rollups._links import with_links
from queries.rollups._minutes import by_minute
from queries.rollups._pressure import COLUMNS as PRESSURE_COLUMNS
from queries.rollups._pressure import RESOURCES, pressure_minutes
from queries.rollups._process_holders import process_holdings
from queries.rollups._steps import LONGEST_STEP
from queries.rollups._timeline import MINUTE, instant, located, milliseconds, packed

_DEVICE = ("cluster", "node", "gpu_uuid")
_RUN = ("job_id", "restart_count", "submitted_at")
_WINDOW = timedelta(minutes=rules.STRAGGLER_MINUTES)
_HOUR = timedelta(hours=1)
_LIMITED_STATES = ("underused", "productive")
_KINDS = ("idle", "waiting", "throttled", "limited", "observed")
_GRADES = dict(enumerate(EVIDENCE_QUALITIES))

_EVIDENCE = (
    "kernel_active_ratio",
    "graphics_active_ratio",
    "sm_active_ratio",
    "tensor_active_ratio",
    "dram_active_ratio",
    "power_watts",
    "power_limit_watts",
    "power_capped_seconds",
    "sm_clock_ratio",
    "observed_seconds",
)
_OF_NODE = (
    "node_cpu_active_ratio",
    "node_cpu_iowait_ratio",
    "node_cpu_pressure_ratio",
    "node_io_pressure_ratio",
    "node_memory_pressure_ratio",
    "node_network_active_ratio",
    "node_file_system_wait_ratio",
)
_OF_PROCESS = ("sampled_at", *_DEVICE, "user", "job_id", "step_seconds")
_OF_JOB = {resource: f"job_{resource}_pressure_ratio" for resource in RESOURCES}


# Intervals are cut at clock hours: the one before holds the minutes that peers are compared over.
_WHOSE = (*_DEVICE, "job_id", "state", "evidence_quality")
_Intervals = Annotated[
    dy.LazyFrame[GpuStateInterval], Input(before=_HOUR, columns=(*_DEVICE, *_RUN, *INTERVAL), coded=_WHOSE)
]
_Minutes = Annotated[
    dy.LazyFrame[GpuMinute],
    Input(before=_WINDOW, columns=(*_DEVICE, "minute_start", *_EVIDENCE, "nvlink_bytes_per_second"), coded=_DEVICE),
]
_Nodes = Annotated[
    dy.LazyFrame[NodeMinute], Input(before=_WINDOW, columns=("cluster", "node", "minute_start", *_OF_NODE))
]
_Holdings = Annotated[dy.LazyFrame[JobGpu], Input(before=_HOUR, columns=(*_DEVICE, *_RUN, "held_start", "held_end"))]
_Gpus = Annotated[
    dy.LazyFrame[Gpu],
    Input(before=_WINDOW, columns=(*_DEVICE, "exists_start", "exists_end", "gpu_fraction", "gpu_model")),
]
_Jobs = Annotated[dy.LazyFrame[Job], Input(before=_HOUR, columns=("cluster", *_RUN, "ended_at"), fills=False)]
_Inventory = Annotated[
    dy.LazyFrame[Node],
    Input(before=_HOUR, columns=("cluster", "node", "exists_start", "exists_end", "holder"), fills=False),
]
# Processes of a job are named by the intervals: only the others are asked for their owners, where no scheduler runs.
_Processes = Annotated[
    dy.LazyFrame[GpuProcessSample],
    Input(
        before=_HOUR + LONGEST_STEP,
        columns=_OF_PROCESS,
        coded=(*_DEVICE, "user", "job_id"),
        where={"job_id": ("",), "node": Among(("node", "holder", "process"))},
        fills=False,
    ),
]
# Of the cgroups of jobs; what a node says of itself is in its minutes.
_Pressure = Annotated[
    dy.LazyFrame[PressureSample],
    Input(
        before=_WINDOW + LONGEST_STEP,
        after=LONGEST_STEP,
        columns=PRESSURE_COLUMNS,
        where={"job_id": Without(("",))},
        fills=False,
    ),
]


@rollup(rows_at_once=130_000)
def bottleneck_minute(
    intervals: _Intervals,
    minutes: _Minutes,
    nodes: _Nodes,
    holdings: _Holdings,
    gpus: _Gpus,
    jobs: _Jobs,
    inventory: _Inventory,
    processes: _Processes,
    pressure: _Pressure,
    span: Span,
) -> dy.LazyFrame[BottleneckMinute]:
    """Judge each minute that a job held a device by the evidence of the device and its node.

    Where no scheduler runs, the holders are those of `job_gpu_hour`: the jobs of the processes on a device, else their
    owners.

    Idle, throttled and unknown time (faulty and orphaned with it) is what the ledger says; only the rest is divided
    among the other classes, and a minute has one of them. A device with several holders is divided evenly here;
    `bottleneck_hour` puts that right.

    What a job's own cgroup waited for stands for what its node's tasks waited for, where it was watched: no other job
    is part of it. NVLink is judged against what the model's links carry, where that is known.

    Busy time whose holder nobody knows belongs to no job and is in `gpu_hour` alone.

    Nulls: `runner_up` where no other class is met, `idle_cause` where the node gives no reason.
    Source: the order and thresholds of `queries.rollups._bottleneck_rules`.
    """
    is_held = (pl.col("job_id") != "") | (pl.col("holder_count") > 0)
    are_told = intervals.filter(is_held & (pl.col("ended_at") > span.start - _WINDOW))
    stretches = are_told.with_columns(pl.col(_WHOSE).cast(pl.String)).collect()
    inventoried: pl.DataFrame = gpus.collect()
    known: pl.DataFrame = holdings.collect()
    by_process = process_holdings(stretches, known, inventory.collect(), processes.collect(), jobs.collect())
    told = holders(with_fraction(stretches, inventoried), known, by_process)
    if told.is_empty():
        return BottleneckMinute.create_empty(lazy=True)
    devices, runs = _numbered(stretches), _runs(told)
    rows = (
        _held(told.join(devices, on=_DEVICE).join(runs, on=["cluster", *_RUN]), span)
        .pipe(_with_evidence, minutes.collect(), nodes.collect(), with_links(devices, inventoried))
        .pipe(_with_jobs, pressure, devices, runs)
        .pipe(measured)
        .pipe(with_peers)
        .filter(pl.col("minute").is_between(_minute(span.start), _minute(span.end), closed="left"))
    )
    if rows.is_empty():
        return BottleneckMinute.create_empty(lazy=True)
    return BottleneckMinute.cast(_named(rules.judged(rows), devices, runs).lazy().select(_columns()))


def _runs(told: pl.DataFrame) -> pl.DataFrame:
    """Return the runs in order, each with a number of its own as `run`."""
    return told.select("cluster", *_RUN).unique().sort("cluster", *_RUN).with_row_index("run")


def _with_evidence(
    held: pl.DataFrame, minutes: pl.DataFrame, nodes: pl.DataFrame, devices: pl.DataFrame
) -> pl.DataFrame:
    """Add what devices did, and how their nodes were, in each minute."""
    return held.join(_of_devices(minutes, devices), on="key", how="left", maintain_order="left").join(
        _of_nodes(nodes, devices), on="host_key", how="left", maintain_order="left"
    )


def _numbered(stretches: pl.DataFrame) -> pl.DataFrame:
    """Return the devices in order, each with a number of its own as `device` and that of its node as `host`."""
    devices = stretches.select(_DEVICE).unique().sort(_DEVICE).with_row_index("device")
    return devices.with_columns((pl.struct("cluster", "node").rank("dense") - 1).alias("host"))


def _named(judged: pl.DataFrame, devices: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the names of the devices and runs that their numbers stand for."""
    return judged.with_columns(
        *(devices[name].gather(judged["device"]) for name in _DEVICE),
        *(runs[name].gather(judged["run"]) for name in _RUN),
    )


def _minute(at: datetime) -> int:
    """Return the number of the minute that an instant lies in."""
    return milliseconds(at) // MINUTE


def _of_devices(minutes: pl.DataFrame, devices: pl.DataFrame) -> pl.DataFrame:
    """Return what devices did in each minute, by `key`: device and minute as one number."""
    carries = devices.get_column("link_bytes_per_second")
    rows = located(minutes, devices.drop("link_bytes_per_second"), at="minute_start")
    links = per("nvlink_bytes_per_second", pl.lit(carries.gather(rows.get_column("device")))).clip(upper_bound=1.0)
    return rows.select(packed(pl.col("time") // MINUTE).alias("key"), *_EVIDENCE, links.alias("nvlink_active_ratio"))


def _of_nodes(minutes: pl.DataFrame, devices: pl.DataFrame) -> pl.DataFrame:
    """Return how nodes were in each minute, by `host_key`."""
    hosts = devices.select("cluster", "node", "host").unique()
    minute = pl.col("minute_start").dt.timestamp("ms") // MINUTE
    return minutes.join(hosts, on=["cluster", "node"]).select(packed(minute, "host").alias("host_key"), *_OF_NODE)


def _with_jobs(rows: pl.DataFrame, pressure: pl.LazyFrame, devices: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Add what the cgroups of jobs waited for on their nodes, null where none was watched; nothing if none ever was."""
    sampled = pressure.collect()
    if sampled.is_empty():
        return rows
    told = pressure_minutes(sampled.lazy(), ("cluster", "node", "job_id"))
    hosts = devices.select("cluster", "node", "host").unique()
    of_runs = told.join(hosts, on=["cluster", "node"]).join(runs, on=["cluster", "job_id"]).rename(_OF_JOB)
    keyed = of_runs.select(packed("minute", "host").alias("host_key"), "run", *_OF_JOB.values())
    return rows.join(keyed, on=["host_key", "run"], how="left", maintain_order="left")


def _held(told: pl.DataFrame, span: Span) -> pl.DataFrame:
    """Return, per minute, device and run, the milliseconds of idle, throttled, unknown and other time.

    Numbers stand for devices and runs: millions of rows are grouped without looking at text. Quality is that of the
    longest observed part, the earlier of two equals.
    """
    since, state = milliseconds(span.start - _WINDOW), pl.col("state")
    begin = pl.col("started_at").dt.timestamp("ms").clip(lower_bound=since)
    stretches = told.select(
        *("device", "host", "run", "gpu_fraction", "place", "holders"),
        begin.alias("start"),
        (pl.col("ended_at").dt.timestamp("ms") - begin).alias("length"),
        state.is_in(HELD_IDLE_STATES).alias("idle"),
        (state == "held_idle").alias("waiting"),
        (state == "throttled").alias("throttled"),
        state.is_in(_LIMITED_STATES).alias("limited"),
        pl.col("is_observed").alias("observed"),
        pl.col("evidence_quality")
        .replace_strict({grade: code for code, grade in _GRADES.items()}, return_dtype=pl.Int8)
        .alias("grade"),
    )
    # Whole milliseconds for each holder; the first ones take the rest.
    mine = pl.col("part") // pl.col("holders") + (pl.col("place") < pl.col("part") % pl.col("holders")).cast(pl.Int64)
    parts = (
        by_minute(stretches, "start", "length")
        .with_columns(packed("minute").alias("key"), mine.alias("held_ms"))
        .sort("key", "run", "part_start")
        .with_columns(pl.when(kind).then("held_ms").otherwise(0).alias(f"{kind}_ms") for kind in _KINDS)
    )
    same = pl.all_horizontal(pl.col(name) == pl.col(name).shift(1) for name in ("key", "run")).fill_null(value=False)
    alone = parts.select(~same & ~same.shift(-1, fill_value=False)).to_series()
    several = parts.filter(~alone)
    sums = ("held_ms", *(f"{kind}_ms" for kind in _KINDS))
    longest = pl.col("grade").sort_by("observed_ms", maintain_order=True, descending=True).first()
    joined = several.group_by("key", "run", maintain_order=True).agg(
        pl.col("device", "host", "minute", "gpu_fraction").first(), pl.col(sums).sum(), pl.col("holders").max(), longest
    )
    names = ["key", "run", "device", "host", "minute", "gpu_fraction", *sums, "holders", "grade"]
    return (
        pl.concat([parts.filter(alone).select(names), joined.select(names)])
        .rename({"holders": "holder_count"})
        .with_columns(
            packed("minute", "host").alias("host_key"),
            pl.col("grade").replace_strict(_GRADES, return_dtype=pl.String).alias("evidence_quality"),
        )
    )


def _columns() -> list[pl.Expr]:
    """Return the columns of the table that are not there yet, and the others by their names."""
    unknown = pl.col("held_ms") - pl.col("idle_ms") - pl.col("throttled_ms") - pl.col("limited_ms")
    time = {
        "gpu_allocated_seconds": pl.col("held_ms"),
        "gpu_idle_seconds": pl.col("idle_ms"),
        "gpu_throttled_seconds": pl.col("throttled_ms"),
        "gpu_unknown_seconds": unknown,
        "gpu_limited_seconds": pl.col("limited_ms"),
    }
    given = {
        "minute_start": instant(pl.col("minute") * MINUTE),
        **{name: to_gpu_seconds(to_seconds(value), "gpu_fraction") for name, value in time.items()},
        "idle_cause": pl.when(pl.col("waiting_ms") > 0).then(rules.idle_cause()),
    }
    return [given.get(name, pl.col(name)).alias(name) for name in BottleneckMinute.column_names()]
