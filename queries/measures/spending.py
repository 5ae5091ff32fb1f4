"""What the estate, its idle time and its models cost, what a GPU-hour costs, and what can be saved."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from ledger.names import HELD_IDLE_STATES, IDLE_STATES, UNATTRIBUTED, State
from queries.measure import Amount, Measure, Part, UnitCost
from queries.measures.gpu_time import STATES_SAY

_HOUR: Final = 3600

SPEND: Final = Amount(
    "spend_cost",
    "AI spend",
    "Effective (amortised) cost of the AI estate. Hours without a bill are estimated.",
    ("cost_days",),
    "cost",
    asks={"measure": "effective", "estate": "in"},
)
BILLED: Final = Amount(
    "billed_cost",
    "Billed cost",
    "What whole billing periods invoice for the AI estate, purchases booked whole.",
    ("cost_days",),
    "cost",
    asks={"measure": "billed", "estate": "in"},
)
ALL_SPEND: Final = Amount(
    "all_spend_cost",
    "Effective cost of all charges",
    "Effective (amortised) cost of everything that is billed, of the AI estate or not.",
    ("cost_days",),
    "cost",
    asks={"measure": "effective", "estate": "all"},
)
ALL_BILLED: Final = Amount(
    "all_billed_cost",
    "Billed cost of all charges",
    "Everything that whole billing periods bill, of the AI estate or not: what an invoice is compared with.",
    ("cost_days",),
    "cost",
    asks={"measure": "billed", "estate": "all"},
)
ESTIMATED_DAYS: Final = Measure(
    "estimated_day_count",
    "Days with estimates",
    "Days with hours that no bill covers yet, priced at the last billed or the list rate.",
    ("cost_days",),
    "count",
    pl.col("day").filter(pl.col("has_estimate")).n_unique(),
)
COST_DAYS: Final = Measure(
    "cost_day_count",
    "Days with a cost",
    "Days on which anything cost.",
    ("cost_days",),
    "count",
    pl.col("day").n_unique(),
)
MONTH_END: Final = Amount(
    "forecast_cost",
    "Month end",
    "Expected: spend so far, and the days to come as the same weekdays before. Needs complete weeks.",
    ("forecast_day",),
    "forecast_cost",
)
MONTH_END_LOWER: Final = Amount(
    "lower_cost", "Month end, at least", "Lower end of the forecast's interval.", ("forecast_day",), "lower_cost"
)
MONTH_END_UPPER: Final = Amount(
    "upper_cost", "Month end, at most", "Upper end of the forecast's interval.", ("forecast_day",), "upper_cost"
)

_IS_IDLE: Final = pl.col("state").is_in(IDLE_STATES)

IDLE_COST: Final = Amount(
    "idle_cost",
    "Idle cost",
    "Unallocated, allocated idle and held idle GPU time of the AI estate, at its effective cost.",
    ("idle_costs",),
    "effective_cost",
    _IS_IDLE,
)
IDLE_PART_COSTS: Final[Mapping[State, Amount]] = {
    state: Amount(
        f"{state}_cost",
        state.replace("_", " ").capitalize(),
        f"Effective cost of GPU time {STATES_SAY[state]}.",
        ("idle_costs",),
        "effective_cost",
        pl.col("state") == state,
    )
    for state in (*IDLE_STATES, "orphaned")
}
IDLE_OF_SPEND: Final = Part(
    "idle_of_spend_ratio",
    "Idle part of the spend",
    "Idle cost against the spend of the same stretch.",
    IDLE_COST,
    SPEND,
)

HELD_COST: Final = Amount(
    "held_cost",
    "Held by jobs",
    "Effective cost of the GPU time that jobs held, idle time included.",
    ("price_per_gpu_hour",),
    "effective_cost",
)
GPU_HOUR_COST: Final = UnitCost(
    "gpu_hour_cost",
    "Per held GPU-hour",
    "Effective cost of held GPU time, divided by that time.",
    HELD_COST,
    pl.col("held_gpu_seconds").sum(),
    _HOUR,
)

JOBS_IDLE_COST: Final = Amount(
    "jobs_idle_cost", "Idle cost of jobs", "Effective cost of what jobs held and did not use.", ("jobs",), "idle_cost"
)
JOB_COST: Final = Amount(
    "job_cost",
    "Cost",
    "Effective cost since it began; hours that no bill covers yet are estimated.",
    ("job_costs",),
    "effective_cost",
)
JOB_WASTE: Final = Amount(
    "job_waste_cost",
    "Wasted",
    "Cost of its idle time.",
    ("job_costs",),
    "effective_cost",
    pl.col("state").is_in(HELD_IDLE_STATES),
)
LIMITED_COST: Final = Amount(
    "limited_cost",
    "Cost",
    "A job's effective cost, divided by its GPU time in each class.",
    ("bottleneck_jobs",),
    "cost",
)

_IS_NAMED: Final = pl.col("model") != UNATTRIBUTED

MODEL_COUNT: Final = Measure(
    "model_count",
    "Models",
    "Models whose jobs held anything, or that a managed service billed.",
    ("model_costs",),
    "count",
    pl.col("model").filter(_IS_NAMED).n_unique(),
)
MODELS_COST: Final = Amount(
    "models_cost",
    "Held for models",
    "Effective cost of what jobs held, of a model or of none that is named, idle time included, and of managed models.",
    ("model_costs",),
    "effective_cost",
)
NAMED_COST: Final = Amount(
    "named_models_cost",
    "Allocated to models",
    "Effective cost of what their jobs held, idle time included, and of managed models, as their bill names them.",
    ("model_costs",),
    "effective_cost",
    _IS_NAMED,
)
UNNAMED_COST: Final = Amount(
    "unattributed_cost",
    "Unattributed",
    "Held by jobs that no naming rule gives a model.",
    ("model_costs",),
    "effective_cost",
    ~_IS_NAMED,
)
MODELLESS_COST: Final = Amount(
    "modelless_cost",
    "Of no model",
    "Effective cost of the AI estate that is no model's: GPUs that nobody held, commitments that nobody used, tax, "
    "credits and services for everybody, and what belongs to nobody.",
    ("modelless_costs",),
    "effective_cost",
)
MODELS_PRODUCTIVE: Final = Part(
    "productive_cost_ratio",
    "Productive",
    "Cost of productive time against the cost of all held time.",
    Amount(
        "models_productive_cost",
        "Productive",
        "Effective cost of the productive time of models.",
        ("model_costs",),
        "productive_cost",
    ),
    MODELS_COST,
)

_IS_OPEN: Final = pl.col("status") == "open"

OPEN_FINDINGS: Final = Measure(
    "open_finding_count",
    "Open findings",
    "Findings that nobody has decided on.",
    ("findings",),
    "count",
    _IS_OPEN.sum(),
)
SAVING_EFFECTIVE: Final = Amount(
    "saving_effective_month",
    "Frees a month",
    "Effective cost that open findings free in an average month. Those that claim the same saving are counted once.",
    ("findings",),
    "saving_effective_month",
    _IS_OPEN,
)
SAVING_CASH: Final = Amount(
    "saving_cash_month",
    "Of it cash",
    "Money that is not paid any more; 0 under a running commitment or on owned hardware, until that ends.",
    ("findings",),
    "saving_cash_month",
    _IS_OPEN,
)
SAVING_REALISED: Final = Amount(
    "saving_realised_month",
    "You saved",
    "Realised by findings that were applied, a month: what their evidence cost before, less what it has cost since.",
    ("findings",),
    "saving_realised_month",
    pl.col("status") == "applied",
)
UNMATCHED_COST: Final = Amount(
    "unmatched_cost",
    "Unmatched charges",
    "Charges in scope whose resource belongs to no node.",
    ("unmatched_charges",),
    "effective_cost",
    pl.col("in_scope"),
)
STORAGE_OWNED: Final = Part(
    "storage_owned_ratio",
    "Owner known",
    "Cost of volumes, buckets and file systems that is some team's, by `money.owners` or a rule of shared cost.",
    Amount(
        "storage_owned_cost",
        "Somebody's storage",
        "Effective cost of storage that belongs to no node, and of which the team is known.",
        ("storage_costs",),
        "attributed_cost",
    ),
    Amount(
        "storage_cost",
        "Storage",
        "Effective cost of storage that belongs to no node.",
        ("storage_costs",),
        "effective_cost",
    ),
)
