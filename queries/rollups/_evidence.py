"""What samples say about the step that begins with them, as small numbers."""

from typing import Final

import polars as pl

from queries.rollups._decision import ENGINES, SEEN_SAMPLE, SEEN_STATUS, Thresholds, activity, power_proxy, quality
from queries.rollups._steps import grown, steps, whole_milliseconds

COLUMNS: Final = (
    "sampled_at",
    "cluster",
    "node",
    "gpu_uuid",
    "step_seconds",
    "status",
    "evidence_quality",
    "kernel_active_ratio",
    "graphics_active_ratio",
    "sm_active_ratio",
    *ENGINES,
    "memory_used_bytes",
    "power_watts",
    "power_limit_watts",
    "hw_thermal_throttle_seconds_total",
    "sw_thermal_throttle_seconds_total",
    "power_brake_throttle_seconds_total",
    "process_count",
    "process_job_ids",
    "jobless_process_count",
)
"""What is read of `gpu_sample`."""

CAUSES: Final = ("", "lost", "error", "denied", "no_sample", "no_evidence", "holder_unknown")
"""Why a piece is not simply judged by its values; its place is its code."""

_SAID: Final = ("quality", "activity", "is_memory_held", "seen", "cause", "is_running", "jobs", "is_jobless")

_THROTTLES: Final = tuple(f"{kind}_throttle_seconds_total" for kind in ("hw_thermal", "sw_thermal", "power_brake"))


def evidence(samples: pl.DataFrame, limits: pl.DataFrame, thresholds: Thresholds) -> pl.DataFrame:
    """Return what samples say without knowing who holds the device, a row for each run of samples that say the same.

    Takes samples that are located and in order; `limits` says from when on a device has which idle_power_watts,
    rated_power_watts, memory_baseline_bytes: by `key`. `step` is the length of the run, null before a gap.
    `throttle` is the longest of the three clock counters' growth: they overlap (heat trips hardware and driver
    at once), so a sum would count a millisecond twice. It ends with the step.
    """
    rows = _with_throttle(steps(samples)).join_asof(limits, on="key", check_sortedness=False)
    ok = pl.col("status") == "ok"
    above = pl.col("memory_used_bytes") > pl.col("memory_baseline_bytes") + thresholds.memory_above_baseline_bytes
    rows = rows.with_columns(
        pl.coalesce("power_limit_watts", "rated_power_watts").alias("power_limit_watts"),
        pl.when(ok).then("evidence_quality").otherwise(pl.lit("X")).alias("declared"),
    ).with_columns(power_proxy().alias("power_proxy"))
    said = (
        rows.with_columns(quality().alias("quality"))
        .with_columns(pl.when(ok).then(activity(thresholds)).alias("activity"), above.alias("is_memory_held"))
        .select(
            "key",
            "device",
            "step",
            "quality",
            "activity",
            "is_memory_held",
            "throttle",
            pl.when(ok).then(SEEN_SAMPLE).otherwise(SEEN_STATUS).cast(pl.UInt8).alias("seen"),
            _status_cause().alias("cause"),
            (pl.col("process_count") > 0).alias("is_running"),
            _jobs_on_device(),
            (pl.coalesce("jobless_process_count", pl.when(pl.col("process_job_ids") == "").then("process_count")) > 0)
            .fill_null(value=False)
            .alias("is_jobless"),
        )
    )
    return _joined(said)


def _joined(said: pl.DataFrame) -> pl.DataFrame:
    """Return the first of each run of samples that say the same, with the run's length; throttled steps stay apart.

    A step that is known reaches to the next sample of the same device, and one that is not ends its run.
    """
    is_known, calm = pl.col("step").is_not_null(), pl.col("throttle") == 0
    same = [pl.col(name).eq_missing(pl.col(name).shift(1)) for name in _SAID]
    follows = pl.all_horizontal(is_known, is_known.shift(1), calm, calm.shift(1), *same)
    runs = said.filter(~follows.fill_null(value=False))
    length = pl.col("key").shift(-1) - pl.col("key")
    return runs.with_columns(pl.when(is_known).then(length).alias("step"))


def _with_throttle(rows: pl.DataFrame) -> pl.DataFrame:
    """Add how many milliseconds of the step the clock was held down for heat or by a power brake, as `throttle`."""
    rows = rows.with_columns(whole_milliseconds(name) for name in _THROTTLES)
    longest = pl.max_horizontal(grown(name) for name in _THROTTLES)
    return rows.with_columns(pl.min_horizontal(longest.fill_null(0), "step").fill_null(0).alias("throttle"))


def _status_cause() -> pl.Expr:
    """Return the code of the cause that a status is: none, lost, denied, or else an error."""
    status = pl.col("status")
    rest = pl.when(status == "denied").then(CAUSES.index("denied")).otherwise(CAUSES.index("error"))
    lost = pl.when(status == "lost").then(CAUSES.index("lost")).otherwise(rest)
    return pl.when(status == "ok").then(0).otherwise(lost).cast(pl.UInt8)


def _jobs_on_device() -> pl.Expr:
    """Return whose processes are on the device; '' for nobody's, null where processes are invisible.

    Text becomes a category here: it repeats for as long as a job runs.
    """
    text = pl.when(pl.col("process_count") == 0).then(pl.lit("")).otherwise("process_job_ids")
    return text.cast(pl.Categorical).alias("jobs")
