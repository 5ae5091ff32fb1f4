"""What each GPU did, as intervals: the ledger of time."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.names import STATES
from ledger.tables import Gpu, GpuEvent, GpuSample, GpuStateInterval, Job, JobGpu, Node, NodeState
from queries.graph import Input, Span, rollup
from queries.rollups._context import FAULT_MEMORY, RUN, context, faults, present
from queries.rollups._decision import CODES, HELD_JOB, Thresholds, rule_version
from queries.rollups._demand import demand, with_demand
from queries.rollups._evidence import CAUSES, COLUMNS, evidence
from queries.rollups._merge import BY_JOB, BY_NOBODY, BY_PROCESS, BY_UNKNOWN, joined, judged, marks
from queries.rollups._naming import COLUMNS as NAMING_COLUMNS
from queries.rollups._naming import Naming, named
from queries.rollups._steps import LONGEST_STEP, LOOKBACK
from queries.rollups._timeline import DEVICE, HOUR, blocks, instant, located, milliseconds, packed
from queries.rollups._unplaced import COLUMNS as UNPLACED_COLUMNS
from queries.rollups._unplaced import unplaced

_JOB_COLUMNS: Final = (
    *RUN,
    *NAMING_COLUMNS,
    "state",
    "pending_reason",
    "eligible_at",
    *UNPLACED_COLUMNS,
)

_OF_NODE: Final = {"RESERVED": "reservation", "QUOTA": "quota", "POWERED_DOWN": "powered_down"}
_DRAINED: Final = ("DRAINED", "DRAINING")
_QUALITIES: Final = ("A", "B", "C", "D", "X")


@rollup(rows_at_once=1_200_000)
def gpu_state_interval(
    samples: Annotated[
        dy.LazyFrame[GpuSample],
        Input(before=LOOKBACK, after=LONGEST_STEP, columns=COLUMNS, coded=DEVICE, fills=False, apart=True),
    ],
    gpus: Annotated[dy.LazyFrame[Gpu], Input(before=LOOKBACK, apart=True)],
    nodes: Annotated[dy.LazyFrame[Node], Input(before=LOOKBACK, fills=False, apart=True)],
    node_states: Annotated[dy.LazyFrame[NodeState], Input(before=LOOKBACK, fills=False, apart=True)],
    events: Annotated[dy.LazyFrame[GpuEvent], Input(before=FAULT_MEMORY + LOOKBACK, fills=False)],
    holdings: Annotated[dy.LazyFrame[JobGpu], Input(before=FAULT_MEMORY + LOOKBACK, fills=False)],
    jobs: Annotated[dy.LazyFrame[Job], Input(before=FAULT_MEMORY + LOOKBACK, columns=_JOB_COLUMNS, fills=False)],
    span: Span,
    thresholds: Thresholds,
    naming: Naming,
) -> dy.LazyFrame[GpuStateInterval]:
    """Cut each GPU's existence into stretches of one state.

    A step between two samples is judged by the sample at its start; what no step covers is unknown.
    Existence is the inventory's, so that a device without any sample is there, as unknown time.
    """
    window = (milliseconds(span.start - LOOKBACK), milliseconds(span.end))
    inventory = gpus.collect().sort(*DEVICE, "exists_start")
    if inventory.is_empty():
        return GpuStateInterval.create_empty(lazy=True)
    devices = inventory.unique(DEVICE, keep="last", maintain_order=True).select(*DEVICE, "parent_gpu_uuid")
    devices = devices.with_row_index("device")
    runs = named(jobs.collect(), naming)
    held = holdings.collect()
    existing = inventory.join(devices.drop("parent_gpu_uuid"), on=DEVICE)
    around = _described(
        context(
            devices,
            window,
            present(existing, window, span),
            held,
            nodes.collect(),
            node_states.collect(),
            faults(events.collect(), held, runs, devices, window),
            unplaced(runs, held, devices, window, FAULT_MEMORY),
        )
    )
    limits = _limits(existing)
    told = samples.collect()
    nothing = located(told.clear(), devices, at="sampled_at")
    seen, sampled = [evidence(nothing, limits, thresholds)], [nothing.get_column("key")]
    for block in blocks(told, devices, at="sampled_at"):
        seen.append(evidence(block, limits, thresholds))
        sampled.append(block.get_column("key"))
    # The last row says nothing: it stands for the time before a device's first sample.
    silence = seen[0].clear(1).with_columns(pl.lit(0, dtype=pl.Int64).alias("throttle"))
    said = pl.concat([*seen, silence])
    stretches = judged(marks(said, around), said, around, pl.concat(sampled), thresholds)
    inside = joined(stretches.filter(_in_span(around, stretches, span)))
    rows = _worded(_with_names(inside, around), devices, runs)
    return GpuStateInterval.cast(_with_reasons(rows, runs, window, span, thresholds).lazy())


def _with_names(rows: pl.DataFrame, around: pl.DataFrame) -> pl.DataFrame:
    """Return intervals with what is known of them besides their samples."""
    names = around.select("piece", "holders", "holder_count", "submitted_at", "restart_count", "node_state", "fault")
    return rows.join(names, on="piece", how="left", maintain_order="left")


def _limits(existing: pl.DataFrame) -> pl.DataFrame:
    """Return from when on which power and memory limits hold for a device: its first row from ever on."""
    is_first = pl.col("device").ne_missing(pl.col("device").shift(1))
    since = pl.when(is_first).then(0).otherwise(pl.col("exists_start").dt.timestamp("ms"))
    return existing.select(
        packed(since).alias("key"),
        "idle_power_watts",
        pl.col("power_limit_watts").alias("rated_power_watts"),
        "memory_baseline_bytes",
    ).sort("key")


def _described(around: pl.DataFrame) -> pl.DataFrame:
    """Add to the context what the decision reads of it, and `signature`, which changes where anything of it does."""
    state = pl.col("node_state")
    names = set(around.columns) - {"piece", "start", "end"}
    changes = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in sorted(names))
    hour = pl.col("start") // HOUR
    # A device that no run holds by name may be one of those that a run has without one.
    told = (pl.col("holder") == "scheduler") & state.ne_missing("UNKNOWN") & ~pl.col("has_unplaced")
    return around.with_columns(
        (changes | hour.ne_missing(hour.shift(1))).cum_sum().alias("signature"),
        pl.when(pl.col("holder_count") > 0)
        .then(BY_JOB)
        .when(told)
        .then(BY_NOBODY)
        .when(pl.col("holder") == "process")
        .then(BY_PROCESS)
        .otherwise(BY_UNKNOWN)
        .cast(pl.UInt8)
        .alias("by"),
        pl.col("holders").rank("dense").cast(pl.UInt32).alias("holders_code"),
        (pl.col("fault").is_not_null() | state.eq_missing("DOWN")).alias("is_fault"),
        state.is_in(_DRAINED).fill_null(value=False).alias("is_drained"),
        state.is_in(["DOWN", "POWERED_DOWN"]).fill_null(value=False).alias("is_gone"),
    )


def _in_span(around: pl.DataFrame, rows: pl.DataFrame, span: Span) -> pl.Series:
    """Return which stretches lie in the span: context is cut at its start, so that none lies across."""
    return (around.get_column("start") >= milliseconds(span.start)).gather(rows.get_column("piece"))


def _worded(rows: pl.DataFrame, devices: pl.DataFrame, runs: pl.DataFrame) -> pl.DataFrame:
    """Return intervals with names instead of numbers, and with whose they were."""
    start = pl.col("key") - packed(pl.lit(0))
    of_process = pl.col("process_jobs").cast(pl.String)
    people = runs.select(*RUN, "user", "team")
    held = pl.col("held").eq_missing(HELD_JOB)
    return (
        rows.join(devices, on="device", how="left", maintain_order="left")
        .with_columns(
            start.alias("start"),
            (start + pl.col("end_key") - pl.col("key")).alias("end"),
            pl.coalesce(of_process, "holders").alias("job_id"),
            pl.when(held)
            .then(pl.coalesce("holder_count", of_process.str.split(",").list.len().cast(pl.Int64)))
            .when(pl.col("held").is_not_null())
            .then(pl.lit(0, dtype=pl.Int64))
            .alias("holder_count"),
            pl.col("quality")
            .replace_strict(dict(enumerate(_QUALITIES)), return_dtype=pl.String)
            .alias("evidence_quality"),
        )
        .join(people, on=RUN, how="left", maintain_order="left")
    )


def _with_reasons(
    rows: pl.DataFrame, runs: pl.DataFrame, window: tuple[int, int], span: Span, thresholds: Thresholds
) -> pl.DataFrame:
    """Return finished intervals: why a device was broken, unknown or free, cut where the reason changes."""
    state, cause = pl.col("state"), pl.col("cause")
    lost = pl.when(cause == CAUSES.index("lost")).then(pl.lit("lost"))
    down = pl.when(pl.col("node_state") == "DOWN").then(pl.lit("node_down")).otherwise(pl.lit("drained"))
    of_node = pl.col("node_state").replace_strict(_OF_NODE, default=None, return_dtype=pl.String)
    rows = rows.with_columns(
        pl.when(state == CODES["faulty"])
        .then(pl.coalesce("fault", lost, down))
        .when(state == CODES["unallocated"])
        .then(of_node)
        .when(state == CODES["unknown"])
        .then(cause.replace_strict(dict(enumerate(CAUSES)), return_dtype=pl.String))
        .alias("reason")
    )
    is_free = (pl.col("state") == CODES["unallocated"]) & pl.col("reason").is_null()
    free = with_demand(rows.filter(is_free), demand(runs, window, span))
    free = free.with_columns(pl.col("demand").alias("reason")).select(rows.columns)
    whole = pl.concat([rows.filter(~is_free), free], how="vertical_relaxed").sort("device", "start")
    return whole.with_columns(
        instant("start").alias("started_at"),
        instant("end").alias("ended_at"),
        state.replace_strict(dict(enumerate(STATES)), return_dtype=pl.String).alias("state"),
        pl.lit(rule_version(thresholds)).alias("rule_version"),
    ).select(GpuStateInterval.column_names())
