"""What came out of models: tokens that servers read and wrote, and tokens that trainings were fed with."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import dataframely as dy
import polars as pl

from ledger.expressions import total
from ledger.names import NOBODY_AT, UNATTRIBUTED
from ledger.tables import ServingSample, TrainingSample
from queries.counters import delta_name, deltas
from queries.graph import Span

SERVED: Final = ("prompt_token_count", "generated_token_count")
TIMES: Final = ("prefill_seconds", "decode_seconds")
TRAINED: Final = ("trained_token_count", "trained_sample_count")
TOKENS: Final = (*SERVED, *TRAINED)
COUNTED: Final = (*TOKENS, *TIMES)

EDGE: Final = timedelta(hours=1)
"""How far before midnight the sample may lie that the day's first tokens are counted from."""

_PLACE: Final = ("day", "cluster", "node", "job_id", "model")


def tokens(
    serving: dy.LazyFrame[ServingSample], training: pl.DataFrame, held: pl.DataFrame, span: Span
) -> pl.DataFrame:
    """Return the tokens and samples of each node, day and model, and the time behind them; a reset adds nothing.

    The model is that of the job, else what the server or the training calls it. `training` are rows of `training_day`.
    """
    served = of_runs(_served(serving, span), held)
    place = ("day", "cluster", "node", "model")
    counted = training.filter(pl.any_horizontal(pl.col(TRAINED).is_not_null()))
    return (
        pl.concat([served.select(*place, *SERVED, *TIMES), counted.select(*place, *TRAINED)], how="diagonal")
        .group_by(place)
        .agg(*(whole(each) for each in TOKENS), *(total(each) for each in TIMES))
    )


def of_runs(told: pl.DataFrame, held: pl.DataFrame) -> pl.DataFrame:
    """Add the submit time of the run that told each row, and put its model in the place of what the row calls it.

    Where an id recurs on a day, it is the run that was submitted last before the row, else the first of the day.
    Nulls: `submitted_at` where no job of that id held a device on the day.
    """
    job = ["day", "cluster", "job_id"]
    runs = (
        held.filter(pl.col("job_id") != "")
        .with_columns(pl.col("hour_start").dt.date().alias("day"))
        .sort("submitted_at", "restart_count", "model", descending=[False, True, False])
        .unique([*job, "submitted_at"], keep="first", maintain_order=True)
        .with_columns(pl.when(pl.int_range(pl.len()).over(job) > 0).then("submitted_at").alias("since"))
        .select(*job, "submitted_at", pl.col("model").alias("job_model"), pl.col("since").fill_null(NOBODY_AT))
    )
    return (
        told.sort("sampled_at")
        .join_asof(runs.sort("since"), left_on="sampled_at", right_on="since", by=job, check_sortedness=False)
        .with_columns(pl.coalesce("job_model", "model").alias("model"))
    )


def reporting(serving: dy.LazyFrame[ServingSample], training: pl.DataFrame, span: Span) -> dict[str, pl.DataFrame]:
    """Return the jobs of each day that said of themselves that they serve, the runs that train, and on samples."""
    kinds = {
        "serving": serving.filter(_within(span)).with_columns(_day()),
        "training": training.lazy(),
        "sampled": training.lazy().filter(pl.col("trained_sample_count").is_not_null()),
    }
    job = ["day", "cluster", "job_id"]
    return {
        kind: told.filter(pl.col("job_id") != "")
        .select(job if kind == "serving" else [*job, "submitted_at"])
        .unique()
        .collect()
        for kind, told in kinds.items()
    }


def whole(column: str) -> pl.Expr:
    """Return the sum of a counter's growth as a whole number; null where none is known."""
    grown = pl.col(column)
    return pl.when(grown.is_not_null().any()).then(grown.sum()).round().cast(pl.Int64).alias(column)


def _served(serving: dy.LazyFrame[ServingSample], span: Span) -> pl.DataFrame:
    """Return what servers' counters grew by.

    A server that did not answer for a while has counted on: its next answer is compared with its last one.
    """
    names = (*SERVED, *TIMES)
    counters = [f"{each}_total" for each in names]
    answered = serving.filter(pl.any_horizontal(pl.col(counters).is_not_null()))
    found = _grown(answered, counters, ["cluster", "node", "endpoint", "model"], span)
    return found.select(*_PLACE, "sampled_at", *(pl.col(delta_name(f"{each}_total")).alias(each) for each in names))


def trained(training: dy.LazyFrame[TrainingSample], span: Span) -> pl.DataFrame:
    """Return what the counters of trainings grew by, of all their ranks: each counts from 0 when it starts.

    A counter that stands at 0 is one that the training does not use.

    Shape, grain: one row per step, and one per day, process and model that told anything, without counts.
    """
    counters = ["token_count_total", "sample_count_total"]
    by = ["cluster", "node", "job_id", "run", "rank_index", "started_at"]
    told = training.select(*by, "sampled_at", "step_seconds", *counters, pl.col("model").fill_null(UNATTRIBUTED))
    first = told.sort("sampled_at").unique(by, keep="first", maintain_order=True)
    begun = first.filter(pl.col("started_at") < pl.col("sampled_at")).with_columns(
        pl.col("started_at").alias("sampled_at"), *(pl.lit(0.0).alias(counter) for counter in counters)
    )
    found = _grown(pl.concat([told, begun]), counters, by, span)
    names = dict(zip(TRAINED, counters, strict=True))
    grown = found.select(
        *_PLACE,
        "sampled_at",
        *(pl.when(pl.col(each) > 0).then(pl.col(delta_name(each))).alias(name) for name, each in names.items()),
    )
    present = (
        told.filter(_within(span)).group_by(_day(), *_PLACE[1:], "started_at").agg(pl.col("sampled_at").min()).collect()
    )
    return pl.concat([grown, present.drop("started_at")], how="diagonal")


def _within(span: Span) -> pl.Expr:
    return pl.col("sampled_at").is_between(span.start, span.end, closed="left")


def _day() -> pl.Expr:
    return pl.col("sampled_at").dt.date().alias("day")


def _grown(samples: pl.LazyFrame, counters: Sequence[str], by: Sequence[str], span: Span) -> pl.DataFrame:
    return (
        deltas(samples, counters, by=by, keep_gaps=True)
        .filter(_within(span))
        .filter(pl.col("elapsed_ms") <= EDGE // timedelta(milliseconds=1))
        .with_columns(_day())
        .collect()
    )
