"""What came out of models: tokens that servers read and wrote, and tokens that trainings were fed with."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import dataframely as dy
import polars as pl

from ledger.expressions import total
from ledger.names import UNATTRIBUTED
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
    serving: dy.LazyFrame[ServingSample], training: dy.LazyFrame[TrainingSample], held: pl.DataFrame, span: Span
) -> pl.DataFrame:
    """Return the tokens and samples of each node, day and model, and the time behind them; a reset adds nothing.

    The model is that of the job, else what the server or the training calls it.
    """
    models = (
        held.filter(pl.col("job_id") != "")
        .with_columns(pl.col("hour_start").dt.date().alias("day"))
        .sort("submitted_at", "restart_count", "model", descending=[True, True, False])
        .unique(["day", "cluster", "job_id"], keep="first", maintain_order=True)
        .select("day", "cluster", "job_id", pl.col("model").alias("job_model"))
    )
    grown = pl.concat([_served(serving, span), _trained(training, span)], how="diagonal")
    return (
        grown.join(models, on=["day", "cluster", "job_id"], how="left")
        .with_columns(pl.coalesce("job_model", "model").alias("model"))
        .group_by("day", "cluster", "node", "model")
        .agg(*(whole(each) for each in TOKENS), *(total(each) for each in TIMES))
    )


def reporting(
    serving: dy.LazyFrame[ServingSample], training: dy.LazyFrame[TrainingSample], span: Span
) -> dict[str, pl.DataFrame]:
    """Return the jobs of each day that said of themselves that they serve, and those that train."""
    kinds = {"serving": serving, "training": training}
    return {
        kind: samples.filter(
            pl.col("sampled_at").is_between(span.start, span.end, closed="left") & (pl.col("job_id") != "")
        )
        .select(pl.col("sampled_at").dt.date().alias("day"), "cluster", "job_id")
        .unique()
        .collect()
        for kind, samples in kinds.items()
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
    return found.select(*_PLACE, *(pl.col(delta_name(f"{each}_total")).alias(each) for each in names))


def _trained(training: dy.LazyFrame[TrainingSample], span: Span) -> pl.DataFrame:
    """Return what the counters of trainings grew by, of all their ranks: each counts from 0 when it starts."""
    counters = ["token_count_total", "sample_count_total"]
    by = ["cluster", "node", "job_id", "run", "rank_index", "started_at"]
    told = training.select(*by, "sampled_at", "step_seconds", *counters, pl.col("model").fill_null(UNATTRIBUTED))
    first = told.sort("sampled_at").unique(by, keep="first", maintain_order=True)
    begun = first.filter(pl.col("started_at") < pl.col("sampled_at")).with_columns(
        pl.col("started_at").alias("sampled_at"), *(pl.lit(0.0).alias(counter) for counter in counters)
    )
    found = _grown(pl.concat([told, begun]), counters, by, span)
    names = dict(zip(TRAINED, counters, strict=True))
    return found.select(*_PLACE, *(pl.col(delta_name(counter)).alias(name) for name, counter in names.items()))


def _grown(samples: pl.LazyFrame, counters: Sequence[str], by: Sequence[str], span: Span) -> pl.DataFrame:
    return (
        deltas(samples, counters, by=by, keep_gaps=True)
        .filter(pl.col("sampled_at").is_between(span.start, span.end, closed="left"))
        .filter(pl.col("elapsed_ms") <= EDGE // timedelta(milliseconds=1))
        .with_columns(pl.col("sampled_at").dt.date().alias("day"))
        .collect()
    )
