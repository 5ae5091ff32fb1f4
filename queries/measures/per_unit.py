"""What a unit costs: tokens and samples of models, GPU-hours and runs of their owners."""

from typing import Final

import polars as pl

from queries.measure import Amount, UnitCost

_HOUR: Final = 3600

SERVING_COST: Final = Amount(
    "serving_cost",
    "Serving",
    "Effective cost of jobs on the days on which they answered as model servers, and of what is billed by the token.",
    ("model_costs",),
    "serving_cost",
)
PROMPT_COST: Final = Amount(
    "prompt_cost",
    "Prompts",
    "Cost of serving, in proportion to the time that requests spent in prefill; as billed for managed models.",
    ("model_costs",),
    "prompt_cost",
)
GENERATED_COST: Final = Amount(
    "generated_cost",
    "Generation",
    "Cost of serving, in proportion to the time that requests spent in decode; as billed for managed models.",
    ("model_costs",),
    "generated_cost",
)
PROMPT_TOKENS_COST: Final = UnitCost(
    "million_prompt_tokens_cost",
    "Per million prompt tokens",
    "Prefill's share of the cost of serving, by the time that requests spent in it, divided by prompt tokens.",
    PROMPT_COST,
    pl.col("prompt_token_count").sum(),
    1_000_000,
)
GENERATED_TOKENS_COST: Final = UnitCost(
    "million_generated_tokens_cost",
    "Per million generated tokens",
    "Decode's share of the cost of serving, by the time that requests spent in it, divided by generated tokens. "
    "Decode time is summed; the mean time per token of requests is not it.",
    GENERATED_COST,
    pl.col("generated_token_count").sum(),
    1_000_000,
)
MILLION_TOKENS_COST: Final = UnitCost(
    "million_tokens_cost",
    "Per million tokens",
    "Cost of serving, divided by all tokens, prompts included; training of the same model is not in it.",
    SERVING_COST,
    pl.col("prompt_token_count").sum() + pl.col("generated_token_count").sum(),
    1_000_000,
)
MANAGED_TOKENS_COST: Final = UnitCost(
    "million_managed_tokens_cost",
    "Per million tokens",
    "What the bill charges for tokens of one direction, divided by how many it counts.",
    Amount(
        "managed_cost",
        "Managed models",
        "Effective cost of models of managed services.",
        ("managed_models",),
        "effective_cost",
    ),
    pl.col("token_count").sum(),
    1_000_000,
)
TRAINING_COST: Final = Amount(
    "training_cost",
    "Training",
    "Effective cost of jobs on the days on which their training told how far it was.",
    ("model_costs",),
    "training_cost",
)
OWNER_COST: Final = Amount(
    "owner_cost",
    "Cost",
    "Effective cost of what it held, idle time included.",
    ("unit_costs",),
    "effective_cost",
)
OWNER_PRODUCTIVE: Final = Amount(
    "owner_productive_cost",
    "Productive",
    "Effective cost of its productive time.",
    ("unit_costs",),
    "productive_cost",
)
OWNER_HOUR_COST: Final = UnitCost(
    "owner_gpu_hour_cost",
    "Per GPU-hour",
    "Its cost, divided by all GPU time behind it.",
    OWNER_COST,
    pl.col("held_gpu_seconds").sum(),
    _HOUR,
)
PRODUCTIVE_HOUR_COST: Final = UnitCost(
    "productive_gpu_hour_cost",
    "Per productive GPU-hour",
    "Its whole cost, divided by its productive GPU time alone: what an hour of work really costs.",
    OWNER_COST,
    pl.col("productive_gpu_seconds").sum(),
    _HOUR,
)
SAMPLED_COST: Final = Amount(
    "sampled_cost",
    "Cost of samples",
    "Effective cost of the runs whose training told samples, on the days on which it told them.",
    ("unit_costs", "model_costs"),
    "sampled_cost",
)
TOKEN_TRAINED_COST: Final = Amount(
    "token_trained_cost",
    "Cost of trained tokens",
    "Effective cost of the runs whose training told tokens, on the days on which it told them.",
    ("unit_costs",),
    "token_trained_cost",
)
SAMPLES_COST: Final = UnitCost(
    "thousand_samples_cost",
    "Per 1,000 samples",
    "What the runs whose training told samples cost on the days on which it told them, idle time included, divided by "
    "these samples; other runs are not in it.",
    SAMPLED_COST,
    pl.col("trained_sample_count").sum(),
    1_000,
)
TRAINED_TOKENS_COST: Final = UnitCost(
    "million_trained_tokens_cost",
    "Per million trained tokens",
    "What the runs whose training told tokens cost on the days on which it told them, idle time included, divided by "
    "these tokens; other runs are not in it.",
    TOKEN_TRAINED_COST,
    pl.col("trained_token_count").sum(),
    1_000_000,
)
RUN_COST: Final = UnitCost(
    "run_cost",
    "Per run",
    "Its cost, divided by its runs; a run that was requeued is one run.",
    OWNER_COST,
    pl.col("run_count").sum(),
    1,
)
OWNER_UNITS: Final = (OWNER_HOUR_COST, PRODUCTIVE_HOUR_COST, RUN_COST, SAMPLES_COST, TRAINED_TOKENS_COST)
"""What an owner's cost is told per, in the order of a table."""
