"""Trainings that push how far they are, through a Pushgateway or as metrics of their own.

A counter is that of one process: `job_id`, `run` and `rank` tell processes apart, `model` is what the training calls
its model, and `node` where it runs. Since when it counts is what Prometheus' clients tell beside each counter in
`_created`; without it a training that starts again is one counter that falls.

A Pushgateway tells the last push for ever: its group is to be deleted when the training ends.

Source: OpenMetrics, counters and their creation; the push guide of Prometheus.
"""

from datetime import UTC, datetime
from typing import Final

import polars as pl

from collectors.cluster._prometheus_asking import LAST_SECOND
from collectors.cluster._prometheus_table import Key, Labels, Metric, Target
from ledger.tables import TrainingSample

_PREFIX: Final = "clusterledger_training"
_JOBS: Final = ("job_id", "slurm_job_id", "pod_uid")
_STARTS: Final = tuple(f"_{what}_created" for what in ("steps", "samples", "tokens"))
_MOST_DIGITS: Final = 9
_UNKNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _process(labels: Labels, part: str) -> Key | None:
    del part
    rank = labels.get("rank", "") or "0"
    if not (rank.isascii() and rank.isdecimal() and len(rank) <= _MOST_DIGITS):
        return None
    job = next((labels[name] for name in _JOBS if labels.get(name)), "")
    return (job, labels.get("run", ""), rank, labels.get("model", ""))


def _begun(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows with since when their process counts; what it claims nobody has seen."""
    told = [pl.col(name) for name in _STARTS if name in frame.columns]
    # A training may push anything, such as milliseconds.
    starts = [pl.from_epoch(pl.when(each.is_between(0, LAST_SECOND)).then(each) * 1_000_000, "us") for each in told]
    started = (
        pl.min_horizontal(starts).dt.replace_time_zone("UTC") if starts else pl.lit(None, pl.Datetime("us", "UTC"))
    )
    counts = [name for name in ("step_count_total", "sample_count_total", "token_count_total") if name in frame.columns]
    return frame.filter(pl.any_horizontal(pl.col(counts).is_not_null())).with_columns(
        started_at=started.fill_null(pl.lit(_UNKNOWN, pl.Datetime("us", "UTC"))),
        rank_index=pl.col("rank_index").cast(pl.Int64),
        model=pl.when(pl.col("model") != "").then("model"),
        is_job_seen=pl.lit(value=False),
    )


TRAINING: Final = Target(
    exporter="trainings",
    schema=TrainingSample,
    names=("job_id", "run", "rank_index", "model"),
    key=_process,
    finish=_begun,
    metrics=(
        Metric(f"{_PREFIX}_steps_total", "step_count_total"),
        Metric(f"{_PREFIX}_samples_total", "sample_count_total"),
        Metric(f"{_PREFIX}_tokens_total", "token_count_total"),
        *(Metric(f"{_PREFIX}{name}", name) for name in _STARTS),
    ),
)

TARGETS: Final = (TRAINING,)
