"""What each model cost in a day, what of it was work, and what came out."""

from decimal import Decimal
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger import money
from ledger.expressions import to_gpu_seconds, total
from ledger.names import HELD_IDLE_STATES, STATES
from ledger.tables import AllocationHour, JobGpuHour, ModelCostDay, ServingSample, TrainingDay
from queries.graph import Input, Span, rollup
from queries.rollups._leaves import PLACE
from queries.rollups._tokens import COUNTED, EDGE, reporting, tokens

_KEY: Final = tuple(ModelCostDay.primary_key())
_RUN: Final = ("cluster", "job_id", "submitted_at", "restart_count")
_COSTS: Final = ("effective_cost", "productive_cost", "idle_cost")


@rollup()
def model_cost_day(
    allocations: dy.LazyFrame[AllocationHour],
    job_hours: dy.LazyFrame[JobGpuHour],
    serving: Annotated[dy.LazyFrame[ServingSample], Input(before=EDGE)],
    training: dy.LazyFrame[TrainingDay],
    span: Span,
) -> dy.LazyFrame[ModelCostDay]:
    """Sum what jobs of one model held, in money and device time, beside the tokens that its servers report.

    Device time on nodes without any cost stands under the currency '', once its hour is over. Tokens are those of
    the job's model, or of the name that the server gives itself, with the currency of the server's node; trained tokens
    are those of the training's. Decode time is the time that requests spent in it, never a sum of means per token.
    The cost of serving is that of the jobs that answered as servers on the day, of training likewise.

    Nulls: a cost is null where no part of it is known; tokens are null where no server, or training, reports them.
    """
    within = pl.col("hour_start").is_between(span.start, span.end, closed="left")
    held = job_hours.filter(within).collect()
    allocated = allocations.filter(within & (pl.col("bucket") == "allocated")).collect()
    over = pl.col("hour_start").dt.offset_by("1h") <= span.now
    time = pl.concat([_priced(allocated), _unpriced(held.filter(over), allocated)])
    costs = money.summed(time.sort(_KEY), by=_KEY, columns=_COSTS)
    told = training.filter(pl.col("day").is_between(span.start.date(), span.end.date(), closed="left")).collect()
    for kind, jobs in reporting(serving, told, span).items():
        costs = costs.join(_of_jobs(time, jobs, kind), on=_KEY, how="left")
    counts = time.group_by(_KEY).agg(
        pl.col("gpu_seconds").sum().alias("gpu_allocated_seconds"),
        pl.struct(_RUN).filter(pl.col("job_id") != "").n_unique().alias("run_count"),
        pl.col("is_estimated").any(),
        *((pl.col("part") == part).any().alias(f"has_{part}") for part in ("productive", "idle")),
    )
    known = pl.col("effective_cost").is_not_null()
    rows = costs.join(counts, on=_KEY).with_columns(
        # Nothing of a known cost is a known zero.
        pl.when(known & ~pl.col(f"has_{part}")).then(pl.lit(Decimal(0), dtype=money.MONEY)).otherwise(cost).alias(cost)
        for part, cost in (("productive", "productive_cost"), ("idle", "idle_cost"))
    )
    reported = _in_currency(tokens(serving, told, held, span), time, rows)
    every = rows.join(reported, on=_KEY, how="full", coalesce=True).with_columns(
        pl.col("gpu_allocated_seconds").fill_null(0),
        pl.col("run_count").fill_null(0),
        pl.col("is_estimated").fill_null(value=False),
    )
    every = _served_apart(every)
    return ModelCostDay.cast(every.select(ModelCostDay.column_names()).sort(_KEY).lazy())


def _priced(allocated: pl.DataFrame) -> pl.DataFrame:
    """Return allocations with the parts of their cost."""
    idle = pl.col("state").is_in(list(HELD_IDLE_STATES))
    part = pl.when(pl.col("state") == "productive").then(pl.lit("productive")).when(idle).then(pl.lit("idle"))
    return (
        allocated.with_columns(part.otherwise(pl.lit("")).alias("part"))
        .with_columns(
            pl.when(pl.col("part") == "productive").then("effective_cost").alias("productive_cost"),
            pl.when(pl.col("part") == "idle").then("effective_cost").alias("idle_cost"),
            pl.col("hour_start").dt.date().alias("day"),
            pl.col("held_gpu_seconds").alias("gpu_seconds"),
        )
        .select(*_KEY, "node", *_RUN, "part", *_COSTS, "gpu_seconds", "is_estimated")
    )


def _of_jobs(time: pl.DataFrame, jobs: pl.DataFrame, kind: str) -> pl.DataFrame:
    """Return what these jobs cost, and of it their productive time; 0 of a known cost where none was productive."""
    names = {"effective_cost": f"{kind}_cost", "productive_cost": f"{kind}_productive_cost"}
    theirs = time.join(jobs, on=jobs.columns, how="semi").sort(_KEY)
    summed = money.summed(theirs, by=_KEY, columns=list(names)).rename(names)
    cost, productive = names.values()
    nothing = pl.when(pl.col(cost).is_not_null()).then(pl.lit(Decimal(0), dtype=money.MONEY))
    return summed.with_columns(pl.coalesce(productive, nothing).alias(productive))


def _served_apart(every: pl.DataFrame) -> pl.DataFrame:
    """Divide the cost of serving between prompts and generated tokens by the milliseconds in prefill and decode."""
    times = {"prompt_cost": "prefill_seconds", "generated_cost": "decode_seconds"}
    told = pl.all_horizontal(pl.col(each).is_not_null() for each in ("serving_cost", *times.values()))
    known = every.filter(told)
    leaves = pl.concat(
        known.select(*_KEY, pl.lit(name).alias("part"), (pl.col(time) * 1000).round().cast(pl.Int64).alias("weight"))
        for name, time in times.items()
    )
    amounts = known.select(*_KEY, "serving_cost")
    cost = ["serving_cost"]
    parts = money.apportion(amounts, leaves, by=_KEY, weight="weight", tie=["part"], columns=cost).parts
    for name in times:
        of_part = parts.filter(pl.col("part") == name).select(*_KEY, pl.col("serving_cost").alias(name))
        every = every.join(of_part, on=_KEY, how="left")
    return every


def _unpriced(held: pl.DataFrame, allocated: pl.DataFrame) -> pl.DataFrame:
    """Return what jobs held on nodes that nothing is known to have cost."""
    seconds = pl.sum_horizontal(f"{state}_seconds" for state in STATES)
    return held.join(allocated.select(PLACE).unique(), on=PLACE, how="anti").select(
        pl.col("hour_start").dt.date().alias("day"),
        pl.lit("").alias("billing_currency"),
        "model",
        "node",
        *_RUN,
        pl.lit("").alias("part"),
        *(pl.lit(None, dtype=money.MONEY).alias(each) for each in _COSTS),
        to_gpu_seconds(seconds, "gpu_fraction").alias("gpu_seconds"),
        pl.lit(value=False).alias("is_estimated"),
    )


def _in_currency(tokens: pl.DataFrame, time: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """Return tokens by day, currency and model: of the server's node, else where the model held most."""

    def main(frame: pl.DataFrame, by: list[str], seconds: str, name: str) -> pl.DataFrame:
        sums = frame.group_by(*by, "billing_currency").agg(pl.col(seconds).sum())
        most = sums.sort([seconds, "billing_currency"], descending=[True, False])
        return most.unique(by, keep="first", maintain_order=True).select(*by, pl.col("billing_currency").alias(name))

    of_node = main(time, ["day", "cluster", "node", "model"], "gpu_seconds", "of_node")
    of_model = main(rows, ["day", "model"], "gpu_allocated_seconds", "of_model")
    return (
        tokens.join(of_node, on=["day", "cluster", "node", "model"], how="left")
        .join(of_model, on=["day", "model"], how="left")
        .with_columns(pl.coalesce("of_node", "of_model", pl.lit("")).alias("billing_currency"))
        .group_by(_KEY)
        .agg(total(each) for each in COUNTED)
    )
