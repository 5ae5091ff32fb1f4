"""Every number that a person sees: its name with unit, how it is computed from rows, and what it means.

A measure is computed from the rows of one table and no other way: a page, the weekly mail and the API say the same
number. A ratio is a sum against a sum, never a mean of ratios; what nobody measured is null, never 0; money is summed
exactly and stays apart by currency. `queries.measure` takes the numbers.
"""

from collections.abc import Mapping
from typing import Final

import polars as pl

from ledger.expressions import per, to_gpu_seconds, total
from ledger.names import HELD_IDLE_STATES, IDLE_STATES, STATES, State
from ledger.tables import (
    AllocationHour,
    CostHour,
    CoverageDay,
    Finding,
    GpuHour,
    JobGpuHour,
    JobUsage,
    ModelCostDay,
    NetworkHour,
    StorageDay,
)
from queries.measure import Amount, Measure, UnitCost

_HOUR: Final = 3600


def _device(state: str) -> pl.Expr:
    """Return device seconds of one state times the device's fraction."""
    return to_gpu_seconds(f"{state}_seconds", "gpu_fraction")


def _hours(seconds: pl.Expr) -> pl.Expr:
    """Return exact seconds as hours, a float for the eye."""
    return total(seconds).cast(pl.Float64) / _HOUR


def _share(states: tuple[State, ...], whole: pl.Expr) -> pl.Expr:
    """Return the part that some states have of a whole."""
    return per(pl.sum_horizontal(_device(state) for state in states).sum(), whole.sum())


_EXISTED: Final = to_gpu_seconds("existed_seconds", "gpu_fraction")
_HELD: Final = pl.sum_horizontal(_device(state) for state in STATES)


def _gpu_ratio(name: str, title: str, means: str, *states: State) -> Measure:
    return Measure(name, title, "ratio", means, GpuHour, _share(states, _EXISTED))


GPU_HOURS: Final = Measure(
    "existed_gpu_hours",
    "GPU-hours",
    "count",
    "Hours in which GPUs existed, seen or not; a slice counts as its part of the device.",
    GpuHour,
    _hours(_EXISTED),
)
IDLE_RATIO: Final = _gpu_ratio(
    "idle_ratio",
    "Idle",
    "Share of existing GPU time that was unallocated, allocated idle or held idle. Time that nobody saw is not idle.",
    *IDLE_STATES,
)
UNALLOCATED_RATIO: Final = _gpu_ratio(
    "unallocated_ratio", "Unallocated", "Share of existing GPU time that nobody held.", "unallocated"
)
ALLOCATED_IDLE_RATIO: Final = _gpu_ratio(
    "allocated_idle_ratio",
    "Allocated idle",
    "Share of existing GPU time that a job held without a process on the device.",
    "allocated_idle",
)
HELD_IDLE_RATIO: Final = _gpu_ratio(
    "held_idle_ratio",
    "Held idle",
    "Share of existing GPU time in which a job's process held the device and did nothing.",
    "held_idle",
)
ORPHANED_RATIO: Final = _gpu_ratio(
    "orphaned_ratio",
    "Orphaned",
    "Share of existing GPU time in which a process of no live job held the device. It stands beside idle.",
    "orphaned",
)
FAULTY_RATIO: Final = _gpu_ratio(
    "faulty_ratio", "Faulty", "Share of existing GPU time in which the device or its node was broken.", "faulty"
)
UNKNOWN_RATIO: Final = _gpu_ratio(
    "unknown_ratio", "Unknown", "Share of existing GPU time of which nothing is known. It is no saving.", "unknown"
)
THROTTLED_RATIO: Final = _gpu_ratio(
    "throttled_ratio", "Throttled", "Share of existing GPU time lost to heat or a power brake.", "throttled"
)
UNDERUSED_RATIO: Final = _gpu_ratio(
    "underused_ratio",
    "Underused",
    "Share of existing GPU time that was busy with under a quarter of the device.",
    "underused",
)
PRODUCTIVE_RATIO: Final = _gpu_ratio(
    "productive_ratio", "Productive", "Share of existing GPU time in which the device worked.", "productive"
)
ENERGY_JOULES: Final = Measure(
    "energy_joules",
    "Energy",
    "joules",
    "Energy by the devices' own counters; gaps and resets add nothing.",
    GpuHour,
    total("energy_joules"),
)
COVERAGE_RATIO: Final = Measure(
    "coverage_ratio",
    "Coverage",
    "ratio",
    "Share of existing GPU time that samples cover.",
    CoverageDay,
    per(pl.col("gpu_observed_seconds").sum(), pl.col("gpu_existed_seconds").sum()),
)
ALLOCATION_COVERAGE_RATIO: Final = Measure(
    "allocation_coverage_ratio",
    "Holder known",
    "ratio",
    "Share of existing GPU time of which it is known who held it, or that nobody did.",
    CoverageDay,
    per(pl.col("gpu_held_known_seconds").sum(), pl.col("gpu_existed_seconds").sum()),
)

HELD_GPU_HOURS: Final = Measure(
    "held_gpu_hours",
    "GPU-hours held",
    "count",
    "GPU time that jobs held, as their share of each device.",
    JobGpuHour,
    _hours(_HELD),
)
HELD_IDLE_SHARE_RATIO: Final = Measure(
    "held_idle_share_ratio",
    "Idle while held",
    "ratio",
    "Share of the GPU time that jobs held in which nothing of theirs ran.",
    JobGpuHour,
    _share(HELD_IDLE_STATES, _HELD),
)
HELD_PRODUCTIVE_RATIO: Final = Measure(
    "held_productive_ratio",
    "Productive while held",
    "ratio",
    "Share of the GPU time that jobs held in which the device worked.",
    JobGpuHour,
    _share(("productive",), _HELD),
)
JOB_COUNT: Final = Measure(
    "job_count", "Job runs", "count", "Runs of jobs; a requeue is a new one.", JobUsage, pl.len()
)
PENDING_GPU_COUNT: Final = Measure(
    "pending_gpu_count",
    "GPUs waited for",
    "count",
    "GPUs that jobs ask for which have not started.",
    JobUsage,
    total(pl.when(pl.col("state") == "PENDING").then("requested_gpu_count")),
)
QUEUE_SECONDS: Final = Measure(
    "median_queue_seconds",
    "Wait for a start",
    "seconds",
    "Time from submission to start that half of the started jobs did not exceed.",
    JobUsage,
    pl.col("queue_seconds").filter(pl.col("started_at").is_not_null()).median(),
)
NETWORK_PEAK_RATIO: Final = Measure(
    "network_peak_ratio",
    "Busiest port",
    "ratio",
    "Highest step of any port against its line rate, in its busier direction.",
    NetworkHour,
    pl.col("peak_active_ratio").max(),
)
STORAGE_FULL_RATIO: Final = Measure(
    "storage_full_ratio",
    "Fullest file system",
    "ratio",
    "Highest share of a file system that was in use.",
    StorageDay,
    (pl.col("used_bytes") / pl.when(pl.col("capacity_bytes") > 0).then("capacity_bytes")).max(),
)

_ALL: Final = pl.lit(value=True)
_IN_SCOPE: Final = pl.col("in_scope")
_ON_DEVICE: Final = pl.col("gpu_uuid") != ""


def _state_cost(name: str, title: str, means: str, *states: State) -> Amount:
    where = _IN_SCOPE & _ON_DEVICE & pl.col("state").is_in(states)
    return Amount(name, title, means, AllocationHour, "effective_cost", where)


SPEND: Final = Amount(
    "spend_cost",
    "AI spend",
    "Effective (amortised) cost of the AI estate. Hours that no bill covers yet are estimated.",
    AllocationHour,
    "effective_cost",
    _IN_SCOPE,
)
BILLED: Final = Amount(
    "billed_cost",
    "Billed",
    "What is invoiced for the AI estate, purchases booked whole. Only this reconciles with an invoice.",
    AllocationHour,
    "billed_cost",
    _IN_SCOPE,
)
ESTIMATED_COST: Final = Amount(
    "estimated_cost",
    "Estimated part",
    "The part of the spend that no bill row covers yet: priced at the last billed rate, else at list price.",
    AllocationHour,
    "effective_cost",
    _IN_SCOPE & pl.col("is_estimated"),
)
ALL_CHARGES: Final = Amount(
    "charged_cost",
    "All charges",
    "Everything that is billed, of the AI estate or not: what an invoice is compared with.",
    CostHour,
    "billed_cost",
    _ALL,
)
ALLOCATED_COST: Final = Amount(
    "allocated_cost",
    "Held by jobs",
    "Effective cost of the GPU time that jobs held, its idle time included.",
    AllocationHour,
    "effective_cost",
    _IN_SCOPE & (pl.col("bucket") == "allocated"),
)
SHARED_COST: Final = Amount(
    "shared_cost",
    "Shared",
    "Tax, credits, support, storage and network that belong to nobody alone.",
    AllocationHour,
    "effective_cost",
    _IN_SCOPE & (pl.col("bucket") == "shared"),
)
UNALLOCABLE_COST: Final = Amount(
    "unallocable_cost",
    "Without an owner",
    "Cost of unheld faulty, orphaned and unknown time, and of charges without a device.",
    AllocationHour,
    "effective_cost",
    _IN_SCOPE & (pl.col("bucket") == "unallocable"),
)
IDLE_COST: Final = _state_cost(
    "idle_cost",
    "Idle cost",
    "Effective cost of unallocated, allocated idle and held idle GPU time.",
    *IDLE_STATES,
)
UNALLOCATED_COST: Final = _state_cost(
    "unallocated_cost", "Unallocated", "Effective cost of GPU time that nobody held.", "unallocated"
)
ALLOCATED_IDLE_COST: Final = _state_cost(
    "allocated_idle_cost", "Allocated idle", "Effective cost of held GPU time without a process.", "allocated_idle"
)
HELD_IDLE_COST: Final = _state_cost(
    "held_idle_cost", "Held idle", "Effective cost of GPU time whose process did nothing.", "held_idle"
)
ORPHANED_COST: Final = _state_cost(
    "orphaned_cost", "Orphaned", "Effective cost of GPU time that a process of no live job held.", "orphaned"
)
PRODUCTIVE_COST: Final = _state_cost(
    "productive_cost", "Productive", "Effective cost of GPU time in which the device worked.", "productive"
)
COST_PER_GPU_HOUR: Final = UnitCost(
    "gpu_hour_cost",
    "A held GPU-hour",
    "Effective cost of held GPU time, divided by that time.",
    ALLOCATED_COST,
    pl.col("held_gpu_seconds").sum(),
    _HOUR,
)

MODEL_COST: Final = Amount(
    "model_cost",
    "Cost of models",
    "Effective cost of what the jobs of models held, idle time included.",
    ModelCostDay,
    "effective_cost",
    _ALL,
)
COST_PER_MILLION_TOKENS: Final = UnitCost(
    "million_token_cost",
    "A million tokens",
    "Effective cost of models whose servers report tokens, for a million generated ones, prompts not counted.",
    Amount(
        "serving_cost",
        "Cost of serving",
        "Effective cost of days of models with generated tokens.",
        ModelCostDay,
        "effective_cost",
        pl.col("generated_token_count").is_not_null(),
    ),
    pl.col("generated_token_count").sum(),
    1_000_000,
)

_IS_OPEN: Final = pl.col("status") == "open"
SAVING_CASH: Final = Amount(
    "saving_cash_month",
    "Cash to save a month",
    "Money that would not be paid any more; 0 under a running commitment or on owned hardware, until that ends.",
    Finding,
    "saving_cash_month",
    _IS_OPEN,
)
SAVING_EFFECTIVE: Final = Amount(
    "saving_effective_month",
    "Cost to free a month",
    "Effective cost that would be freed for other work.",
    Finding,
    "saving_effective_month",
    _IS_OPEN,
)
SAVING_REALISED: Final = Amount(
    "saving_realised_month",
    "Saved a month",
    "Of applied findings: what their evidence cost a month before, less what it has cost since.",
    Finding,
    "saving_realised_month",
    pl.col("status") == "applied",
)
FREED_GPU_HOURS: Final = Measure(
    "freed_gpu_hours_month",
    "GPU-hours to free a month",
    "month",
    "GPU time that open findings would free in an average month.",
    Finding,
    total(pl.when(_IS_OPEN).then(pl.col("freed_gpu_hours_month").cast(pl.Float64))),
)


def catalogue() -> Mapping[str, Measure | Amount | UnitCost]:
    """Return all measures of this module by name."""
    found = (each for each in globals().values() if isinstance(each, Measure | Amount | UnitCost))
    return {each.name: each for each in found}
