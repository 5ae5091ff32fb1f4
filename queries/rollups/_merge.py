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
    """Return each stretch of time with one run of samples and one context: key, length, sample, piece, calm.

    `samples` ends with a row that says nothing, for the time before a device's first sample.
    A throttled step is cut where its throttled milliseconds end; they are put at its start.
    """
    nothing = samples.height - 1
    calm, unset = pl.lit(value=True), pl.lit(None, dtype=pl.UInt32)
    index = pl.int_range(pl.len(), dtype=pl.UInt32).alias("sample")
    said = samples.select("key", index, unset.alias("piece"), calm.not_().alias("calm"), "throttle", "step")
    slow = said.filter((pl.col("throttle") > 0) & (pl.col("throttle") < pl.col("step")))
    until = slow.select(pl.col("key") + pl.col("throttle"), "sample", "piece", calm.alias("calm"))
    first = pl.col("device").ne_missing(pl.col("device").shift(1))
    cut = context.select(
        packed("start").alias("key"),
        pl.when(first).then(nothing).cast(pl.UInt32).alias("sample"),
        "piece",
        pl.when(first).then(calm.not_()).alias("calm"),
    )
    # Of equal keys the context comes first: a device's first piece tells what was before its first sample.
    rows = pl.concat([cut, said.head(nothing).select(cut.columns), until]).sort("key", maintain_order=True)
    length = pl.col("key").shift(-1) - pl.col("key")
    return rows.select(
        "key", pl.col("sample", "piece", "calm").forward_fill(), length.fill_null(0).alias("length")
    ).filter((pl.col("length") > 0) & pl.col("piece").is_not_null())


def judged(
    rows: pl.DataFrame, samples: pl.DataFrame, context: pl.DataFrame, sampled: pl.Series, thresholds: Thresholds
) -> pl.DataFrame:
    """Return the stretches of existing time with state, cause, quality and who holds: key, length, piece, ...

    `sampled` has the key of every sample. Rows before the span are there for the age of stray processes and are still
    in the result.
    """
    rows = _with(
        rows, samples, ("step", "quality", "activity", "is_memory_held", "throttle", "seen", "cause"), "sample"
    )
    rows = _with(rows, samples, ("is_running", "jobs", "is_jobless"), "sample")
    rows = _with(rows, context, ("exists", "device", "signature", "by", "holders_code"), "piece")
    rows = _with(rows, context, ("is_fault", "is_drained", "is_gone"), "piece")
    rows = rows.with_columns(pl.col("step").is_not_null().alias("is_observed")).with_columns(
        *(
            pl.when("is_observed").then(name).alias(name)
            for name in ("activity", "is_running", "jobs", "is_memory_held", "quality")
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
    rows = _with_strays(rows, sampled, thresholds).filter("exists")
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
    by, running = pl.col("by"), pl.col("is_running")
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
        (known & pl.col("is_observed") & (pl.col("_alien").fill_null(value=False) | pl.col("is_jobless"))).alias(
            "has_alien"
        ),
    ).drop("_own", "_alien")


def _with_strays(rows: pl.DataFrame, sampled: pl.Series, thresholds: Thresholds) -> pl.DataFrame:
    """Add whether a process of nobody who holds the device has been there for longer than the grace.

    Its age counts from the first sample of an unbroken run of such samples; a gap or a sample without ends the run.
    A stretch is cut at the first sample at which it is old.
    """
    end = pl.col("key") + pl.col("length")
    alien = pl.col("has_alien").fill_null(value=False)
    follows = alien & alien.shift(1, fill_value=False) & (end.shift(1) == pl.col("key")).fill_null(value=False)
    since = pl.when(alien & ~follows).then("key").forward_fill()
    # Keys are whole numbers: the first sample that is older than the grace is the first from the next one on.
    too_old = rows.select(pl.when(alien).then(since + thresholds.stray_grace_seconds * 1000 + 1)).to_series()
    never = pl.Series([2**63 - 1], dtype=pl.Int64)
    old_from = sampled.append(never).gather(sampled.search_sorted(too_old, side="left"))
    rows = rows.with_columns(pl.when(too_old.is_not_null()).then(old_from).alias("_old_from"))
    is_cut = (pl.col("_old_from") > pl.col("key")) & (pl.col("_old_from") < end)
    later = rows.filter(is_cut).with_columns((end - pl.col("_old_from")).alias("length"), key="_old_from")
    rows = rows.with_columns(
        pl.when(is_cut).then(pl.col("_old_from") - pl.col("key")).otherwise("length").alias("length")
    )
    old = (pl.col("_old_from") <= pl.col("key")).fill_null(value=False)
    return pl.concat([rows, later]).sort("key").with_columns(old.alias("has_stray_process")).drop("_old_from")


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
