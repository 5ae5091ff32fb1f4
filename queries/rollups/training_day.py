"""By how much trainings advanced in a day, by run."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.names import NOBODY_AT
from ledger.tables import JobGpuHour, TrainingDay, TrainingSample
from queries.graph import Input, Span, rollup
from queries.rollups._tokens import EDGE, TRAINED, of_runs, trained, whole

_KEY: Final = tuple(TrainingDay.primary_key())
_HELD: Final = ("hour_start", "cluster", "job_id", "submitted_at", "restart_count", "model")


@rollup()
def training_day(
    training: Annotated[dy.LazyFrame[TrainingSample], Input(before=EDGE)],
    job_hours: Annotated[dy.LazyFrame[JobGpuHour], Input(columns=_HELD, fills=False)],
    span: Span,
) -> dy.LazyFrame[TrainingDay]:
    """Sum what the counters of trainings grew by, over their ranks and the restarts of a run; a reset adds nothing.

    The model is that of the job, else what the training calls it. Where an id recurs on a day, what is told belongs to
    the run that was submitted last before.

    Conserves: over jobs and nodes, a day's samples and tokens are those that the counters grew by.
    Nulls: a training that told something, but of no growth that is known to be of the day, has a row without counts;
    so has one for what it does not count.
    """
    held = job_hours.filter(pl.col("hour_start").is_between(span.start, span.end, closed="left")).collect()
    rows = (
        of_runs(trained(training, span), held)
        .with_columns(pl.col("submitted_at").fill_null(NOBODY_AT))
        .group_by(_KEY)
        .agg(whole(each) for each in TRAINED)
    )
    return TrainingDay.cast(rows.select(TrainingDay.column_names()).sort(_KEY).lazy())
