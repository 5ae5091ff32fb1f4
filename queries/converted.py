"""Costs of days that were converted, each by the rate of its own day, brought to the rows that a page shows.

A sum over days cannot be converted exactly: rates change. So days are asked, converted, and only then summed.
"""

from collections.abc import Sequence
from typing import Final

import polars as pl

from ledger import money
from ledger.expressions import total
from queries.display import CURRENCY, Shown
from queries.measures.gpu_time import RUN

MODEL_COSTS: Final = (
    *("effective_cost", "productive_cost", "idle_cost"),
    *("serving_cost", "serving_productive_cost", "prompt_cost", "generated_cost", "training_cost", "sampled_cost"),
)
"""What `model_cost_days` answers in money."""

MANAGED_COSTS: Final = ("billed_cost", "effective_cost")
"""What `managed_models` answers in money."""

RUN_COSTS: Final = ("effective_cost", "productive_cost", "idle_cost", "sampled_cost", "token_trained_cost")
"""What `unit_cost_days` answers in money."""

JOB_COSTS: Final = ("effective_cost", "idle_cost")
"""What `job_cost_days` answers in money."""

COMMITMENT_COSTS: Final = ("used_cost", "unused_cost", "committed_cost", "net_saving_cost")
"""What `commitment_costs` answers in money."""

COVERABLE_COSTS: Final = ("on_demand_cost", "covered_list_cost", "eligible_list_cost", "steady_hour_cost")
"""What `coverable` answers in money."""

OWNED_COSTS: Final = ("effective_cost", "unheld_cost")
"""What `owned_hardware` answers in money."""


def models(days: pl.DataFrame) -> pl.DataFrame:
    """Return what `model_costs` answers, from rows of `model_cost_days`: the dearest first."""
    by = ["model", CURRENCY]
    names = pl.col("provider").filter(pl.col("provider") != "").unique().sort().str.join(", ")
    providers = days.group_by(by).agg(names).with_columns(pl.when(pl.col("provider") != "").then("provider"))
    summed = _over_days(days.drop("provider"), by, MODEL_COSTS).join(providers, on=by, how="left")
    order = [each for each in days.columns if each != "day"]
    return summed.select(order).sort("effective_cost", "model", descending=[True, False], nulls_last=True)


def managed(days: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `managed_models` without their days: the dearest first."""
    by = ["provider", "service_name", "model", "token_direction", "unit", "team", CURRENCY]
    order = ["effective_cost", "model", "token_direction", "team"]
    return _over_days(days, by, MANAGED_COSTS).sort(order, descending=[True, False, False, False], nulls_last=True)


def runs(counted: pl.DataFrame, days: Shown) -> pl.DataFrame:
    """Return answers of `unit_costs` with the money of `unit_cost_days`, which was converted: the dearest first.

    Runs, seconds, samples and tokens are as they were counted, under the currency that their money is in now.
    """
    by = ["name", "team", CURRENCY]
    amounts = money.summed(days.frame, by=by, columns=RUN_COSTS)
    renamed = counted.drop(RUN_COSTS).with_columns(
        pl.col(CURRENCY).replace(dict.fromkeys(days.converted, days.currency))
    )
    return (
        _counted(renamed, by)
        .join(amounts, on=by, how="left")
        .select(counted.columns)
        .sort("effective_cost", "name", descending=[True, False], nulls_last=True)
    )


def idle(days: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `idle_costs` without their days: the dearest state first."""
    found = _over_days(days, ["state", CURRENCY], ("effective_cost",))
    return found.sort("effective_cost", "state", descending=[True, False], nulls_last=True)


def jobs(found: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Return answers of `jobs` with the money of `job_cost_days`: a run once for each currency in which it cost."""
    runs = found.drop(CURRENCY, *JOB_COSTS, "has_estimate").unique(RUN, keep="first", maintain_order=True)
    return _with_costs(runs, _over_days(days, [*RUN, CURRENCY], JOB_COSTS)).select(found.columns)


def bottleneck_jobs(found: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Return answers of `bottleneck_jobs` with the money of `job_cost_days`, in the same way."""
    classes = found.drop(CURRENCY, "job_cost").unique([*RUN, "bottleneck"], keep="first", maintain_order=True)
    costs = money.summed(days, by=[*RUN, CURRENCY], columns=["effective_cost"])
    return _with_costs(classes, costs.rename({"effective_cost": "job_cost"})).select(found.columns)


def _with_costs(runs: pl.DataFrame, costs: pl.DataFrame) -> pl.DataFrame:
    return runs.join(costs.sort(CURRENCY), on=RUN, how="left", nulls_equal=True, maintain_order="left_right")


def job_states(days: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `job_costs` without their days: the dearest state first."""
    found = _over_days(days, ["state", CURRENCY], ("effective_cost", "billed_cost"))
    return found.sort("effective_cost", "state", descending=[True, False], nulls_last=True)


def coverable(days: pl.DataFrame) -> pl.DataFrame:
    """Return rows of `coverable` without their days: what runs around the clock and costs most first."""
    found = _over_days(days, ["provider", "region", "instance_type", CURRENCY], COVERABLE_COSTS)
    order = ["steady_hour_cost", "on_demand_cost", "instance_type"]
    return found.sort(order, descending=[True, True, False], nulls_last=True)


def with_costs(things: pl.DataFrame, on: Sequence[str], *costs: pl.DataFrame) -> pl.DataFrame:
    """Return things with what they cost, once for each currency; without one where nothing of it is known.

    `costs` have rows of days, each with columns of its own.
    """
    days = pl.concat(costs, how="diagonal")
    columns = [name for name, dtype in days.schema.items() if dtype == money.MONEY]
    sums = _over_days(days, [*on, CURRENCY], columns)
    return things.join(sums.sort(CURRENCY), on=on, how="left", maintain_order="left_right")


def _over_days(days: pl.DataFrame, by: Sequence[str], columns: Sequence[str]) -> pl.DataFrame:
    """Return rows of days as one row for each key: money is summed exactly, counts are null where all are."""
    sums = money.summed(days, by=by, columns=columns)
    return sums.join(_counted(days.drop("day", *columns), by), on=list(by), how="left", nulls_equal=True)


def _counted(rows: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return the sums of what is counted in each group, and whether any of its flags is set."""
    rest = {name: dtype for name, dtype in rows.schema.items() if name not in by}
    counts = [total(name).alias(name) for name, dtype in rest.items() if dtype.is_numeric()]
    flags = [pl.col(name).any() for name, dtype in rest.items() if dtype == pl.Boolean]
    return rows.group_by(by, maintain_order=True).agg(*counts, *flags)
