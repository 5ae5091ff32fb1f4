"""Lay samples and context over each other: the pieces of time that are judged, and the intervals that come out."""

import polars as pl

from queries.rollups._decision import (
    CODES,
    HELD_JOB,
    HELD_NOBODY,
    SEEN_NOTHING,
    SEEN_STATUS,
    Thresholds,
    decide,
)
from queries.rollups._evidence import CAUSES
from queries.rollups._timeline import packed

BY_JOB, BY_NOBODY, BY_PROCESS, BY_UNKNOWN = 0, 1, 2, 3
"""How a piece of context tells who holds the device."""

_GONE = ("DOWN", "POWERED_DOWN")
"""States in which the scheduler's word is all the evidence there is: no agent runs."""


def marks(samples: pl.DataFrame, context: pl.DataFrame) -> pl.DataFrame:
    """Return each stretch of time with one sample and one context: key, length, sample, piece, is_throttled.

    `samples` ends with a row that says nothing: it stands for the time before a device's first sample.
    A throttled step is cut where its throttled milliseconds end; they are put at its start.
    """
    nothing = samples.height - 1
    index = pl.int_range(pl.len(), dtype=pl.UInt32)
    calm, unset = pl.lit(value=True), pl.lit(None, dtype=pl.UInt32)
    slow = samples.select("key", index.alias("sample"), "throttle", "step")
    slow = slow.filter((pl.col("throttle") > 0) & (pl.col("throttle") < pl.col("step")))
    until = slow.select(pl.col("key") + pl.col("throttle"), "sample", unset.alias("piece"), calm.alias("calm"))
    first = pl.col("device").ne_missing(pl.col("device").shift(1))
    cut = context.select(
        packed("start").alias("key"),
        pl.when(first).then(nothing).cast(pl.UInt32).alias("sample"),
        "piece",
        pl.when(first).then(calm.not_()).alias("calm"),
    )
    more = pl.concat([until, cut]).sort("key", maintain_order=True)
    at = samples.head(nothing).select("key", index.alias("row"))
    merged = at.merge_sorted(more.select("key", (index + nothing).cast(pl.UInt32).alias("row")), "key")
    added = merged.select(pl.when(pl.col("row") >= nothing).then(pl.col("row") - nothing)).to_series()
    merged = merged.with_columns(
        more.get_column(name).gather(added).alias(name) for name in ("sample", "piece", "calm")
    )
    is_sample = pl.col("row") < nothing
    merged = merged.select(
        "key",
        pl.when(is_sample).then("row").otherwise("sample").forward_fill().alias("sample"),
        pl.col("piece").forward_fill(),
        pl.when(is_sample).then(calm.not_()).otherwise("calm").forward_fill().alias("calm"),
    )
    length = pl.col("key").shift(-1) - pl.col("key")
    return merged.with_columns(length.fill_null(0).alias("length")).filter(
        (pl.col("length") > 0) & pl.col("piece").is_not_null()
    )


def judged(rows: pl.DataFrame, samples: pl.DataFrame, context: pl.DataFrame, thresholds: Thresholds) -> pl.DataFrame:
    """Return the stretches of existing time with state, cause, quality and who holds: key, length, piece, ...

    Rows before the span are there for the age of stray processes and are still in the result.
    """
    rows = _with(
        rows, samples, ("step", "quality", "activity", "is_memory_held", "throttle", "seen", "cause"), "sample"
    )
    rows = _with(rows, samples, ("processes", "jobs", "jobless"), "sample")
    rows = rows.with_columns(samples.get_column("key").gather(rows.get_column("sample")).alias("sampled_key"))
    rows = _with(rows, context, ("exists", "device", "signature", "by", "holders_code"), "piece")
    rows = _with(rows, context, ("is_fault", "is_drained", "is_gone"), "piece")
    sampled = pl.col("step").is_not_null()
    rows = rows.with_columns(sampled.alias("is_observed")).with_columns(
        *(
            pl.when("is_observed").then(name).alias(name)
            for name in ("activity", "processes", "jobs", "is_memory_held", "quality")
        ),
        pl.when("is_observed").then("cause").otherwise(CAUSES.index("no_sample")).cast(pl.UInt8).alias("cause"),
        pl.when("is_observed")
        .then("seen")
        .when("is_gone")
        .then(SEEN_STATUS)
        .otherwise(SEEN_NOTHING)
        .cast(pl.UInt8)
        .alias("seen"),
        ((pl.col("throttle") > 0) & ~pl.col("calm")).alias("is_throttled"),
    )
    rows = _with_processes(rows, context)
    lost = pl.col("is_observed") & (pl.col("cause") == CAUSES.index("lost"))
    rows = rows.with_columns((pl.col("is_fault") | lost).alias("is_fault"))
    rows = _with_strays(rows, thresholds).filter("exists")
    held_by_process = (pl.col("by") == BY_PROCESS) & (pl.col("held") == HELD_JOB)
    return rows.with_columns(
        decide().alias("state"), pl.when(held_by_process).then("jobs").alias("process_jobs")
    ).with_columns(_cause().alias("cause"))


def _with(rows: pl.DataFrame, other: pl.DataFrame, names: tuple[str, ...], by: str) -> pl.DataFrame:
    """Return rows with columns of another frame, taken by its row number."""
    index = rows.get_column(by)
    return rows.with_columns(other.get_column(name).gather(index) for name in names)


def _with_processes(rows: pl.DataFrame, context: pl.DataFrame) -> pl.DataFrame:
    """Add `held`, `has_holder_process` and whether there is a process of nobody who holds the device.

    Which jobs are among the holders is text work: it is done once for each run of rows with the same of both.
    """
    holders = context.select("holders_code", "holders").unique("holders_code")
    names = ("jobs", "holders_code")
    changes = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in names)
    begins = rows.select(changes.alias("begins")).to_series()
    pairs = rows.select(names).filter(begins)
    pairs = pairs.join(holders, on="holders_code", how="left", maintain_order="left")
    jobs = pl.col("jobs").cast(pl.String)
    ids = pl.when(jobs == "").then(pl.lit([], dtype=pl.List(pl.String))).otherwise(jobs.str.split(","))
    own = pl.col("holders").str.split(",")
    pairs = pairs.select(
        (ids.list.set_intersection(own).list.len() > 0).alias("_own"),
        (ids.list.set_difference(own).list.len() > 0).alias("_alien"),
    )
    runs = begins.cum_sum().cast(pl.UInt32) - 1
    rows = rows.with_columns(pairs.get_column(name).gather(runs) for name in pairs.columns)
    by, running = pl.col("by"), pl.col("processes") > 0
    known = by.is_in([BY_JOB, BY_NOBODY])
    return rows.with_columns(
        pl.when(by == BY_JOB)
        .then(HELD_JOB)
        .when(by == BY_NOBODY)
        .then(HELD_NOBODY)
        .when((by == BY_PROCESS) & running)
        .then(HELD_JOB)
        .when((by == BY_PROCESS) & running.not_())
        .then(HELD_NOBODY)
        .cast(pl.UInt8)
        .alias("held"),
        pl.when(known).then("_own").when(by == BY_PROCESS).then(running).alias("has_holder_process"),
        (known & pl.col("is_observed") & (pl.col("_alien").fill_null(value=False) | (pl.col("jobless") > 0))).alias(
            "has_alien"
        ),
    ).drop("_own", "_alien")


def _with_strays(rows: pl.DataFrame, thresholds: Thresholds) -> pl.DataFrame:
    """Add whether a process of nobody who holds the device has been there for longer than the grace.

    Its age counts from the first sample of an unbroken run of such samples; a gap or a sample without ends the run.
    """
    grace = thresholds.stray_grace_seconds * 1000
    before = pl.col("has_alien").shift(1, fill_value=False) & (
        pl.col("key").shift(1) + pl.col("length").shift(1) == pl.col("key")
    )
    begins = pl.col("has_alien") & before.fill_null(value=False).not_()
    since = pl.when(begins).then("key").forward_fill()
    sampled_at = pl.col("sampled_key")
    old = pl.col("has_alien") & (sampled_at - since > grace)
    return rows.with_columns(old.fill_null(value=False).alias("has_stray_process"))


def _cause() -> pl.Expr:
    """Return the code of why an unknown piece is unknown, or that a device was lost; 0 elsewhere."""
    cause, state = pl.col("cause"), pl.col("state")
    return (
        pl.when(state == CODES["unknown"])
        .then(
            pl.when(cause > 0)
            .then(cause)
            .when(pl.col("held").is_null())
            .then(CAUSES.index("holder_unknown"))
            .otherwise(CAUSES.index("no_evidence"))
        )
        .when((state == CODES["faulty"]) & (cause == CAUSES.index("lost")))
        .then(cause)
        .otherwise(0)
        .cast(pl.UInt8)
    )


def joined(rows: pl.DataFrame) -> pl.DataFrame:
    """Return neighbouring stretches that say the same as one: start_key, end_key, and the columns of the first."""
    same = ("device", "signature", "state", "cause", "quality", "is_observed", "process_jobs", "held")
    ends = pl.col("key") + pl.col("length")
    changes = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift(1)) for name in same)
    apart = ends.shift(1).ne_missing(pl.col("key"))
    rows = rows.with_columns(ends.alias("end_key"), (changes | apart).alias("_begins"))
    last = pl.col("_begins").shift(-1, fill_value=True)
    closing = rows.filter(last).get_column("end_key")
    return rows.filter("_begins").drop("_begins").with_columns(closing.alias("end_key"))
