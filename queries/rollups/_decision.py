"""The decision: which of the nine states a stretch of one device's time is in, from its evidence.

Codes of states are their places in `ledger.names.STATES`: a few million pieces are judged in one pass over
small integers, and only the intervals that come out of it carry words.
"""

import hashlib
from typing import Annotated, Final

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from ledger.names import STATES, State

DECISION_VERSION: Final = 2
"""Raised when the order or the meaning of the decision's rows changes."""

CODES: Final[dict[State, int]] = {state: code for code, state in enumerate(STATES)}

SEEN_NOTHING, SEEN_STATUS, SEEN_SAMPLE = 0, 1, 2
"""What stands behind a piece: nothing, a status (lost, error, node down), or values."""

HELD_NOBODY, HELD_JOB = 0, 1
"""Who holds the device; null where that is unknown."""

IDLE, UNDERUSED, BUSY = 0, 1, 2
"""What the activity says; null without evidence."""

ENGINES: Final = ("encoder_active_ratio", "decoder_active_ratio", "jpeg_active_ratio", "ofa_active_ratio")
"""What works beside the SMs: no kernel runs for it, and no profiled ratio counts it."""


class Thresholds(BaseModel):
    """Where the decision draws its lines."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    idle_below_ratio: Annotated[
        float, Field(ge=0, le=1, description="Activity under this is idle, where it was profiled or buffered (A, B)")
    ] = 0.05
    duty_cycle_idle_below_ratio: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="A duty cycle (C) under this is idle if power is low as well; a video engine under it rests",
        ),
    ] = 0.01
    power_above_idle_ratio: Annotated[
        float, Field(ge=0, le=10, description="Power is low when it exceeds the idle power by less than this share")
    ] = 0.10
    power_idle_below_ratio: Annotated[float, Field(ge=0, le=1, description="A power proxy (D) under this is idle")] = (
        0.05
    )
    underused_below_ratio: Annotated[
        float,
        Field(ge=0, le=1, description="A busy device is underused if its SM activity or power proxy is under this"),
    ] = 0.25
    memory_above_baseline_bytes: Annotated[
        int, Field(ge=0, description="Device memory above its baseline by more than this is held by somebody")
    ] = 256 * 1024**2
    stray_grace_seconds: Annotated[
        int, Field(ge=0, le=540, description="A process of no live job is stray when it is older than this")
    ] = 300


def rule_version(thresholds: Thresholds) -> str:
    """Return the version of the decision and a fingerprint of its thresholds, such as `1-5f0c2a9b`."""
    return f"{DECISION_VERSION}-{hashlib.sha256(thresholds.model_dump_json().encode()).hexdigest()[:8]}"


def quality() -> pl.Expr:
    """Return how good the evidence in this row is, as a place in `EVIDENCE_QUALITIES`: 0 is A, 4 is X.

    The declared grade counts only where its own measurement is there; else the next one that is measured.
    Reads: declared, graphics_active_ratio, sm_active_ratio, kernel_active_ratio, power_proxy.
    """
    declared = pl.col("declared")
    profiled = pl.coalesce("graphics_active_ratio", "sm_active_ratio").is_not_null()
    kernel = pl.col("kernel_active_ratio").is_not_null()
    return (
        pl.when((declared == "A") & profiled)
        .then(0)
        .when((declared == "B") & kernel)
        .then(1)
        .when(declared.is_in(["A", "B", "C"]).fill_null(value=True) & kernel)
        .then(2)
        .when((declared != "X").fill_null(value=True) & pl.col("power_proxy").is_not_null())
        .then(3)
        .otherwise(4)
        .cast(pl.UInt8)
    )


def power_proxy() -> pl.Expr:
    """Return the share of the way from idle power to the power limit; null where one of them is unknown."""
    room = pl.col("power_limit_watts") - pl.col("idle_power_watts")
    return pl.when(room > 0).then((pl.col("power_watts") - pl.col("idle_power_watts")) / room)


def activity(thresholds: Thresholds) -> pl.Expr:
    """Return whether the device was idle, underused or busy; null where its evidence does not say.

    A duty cycle near zero is idle only beside low power: without power it stays undecided, since at a
    pace of ten seconds it has seen a tenth of the time.
    A device whose video engines work is not idle, whatever the grade: it is busy if the rest of its evidence says so,
    else underused. Engines at rest say nothing, for most work needs none of them.
    Reads: quality, the ratios, those of the engines, power_watts, idle_power_watts, power_proxy.
    """
    grade, proxy, kernel = pl.col("quality"), pl.col("power_proxy"), pl.col("kernel_active_ratio")
    low_power = pl.col("power_watts") < pl.col("idle_power_watts") * (1 + thresholds.power_above_idle_ratio)
    engine = pl.max_horizontal(ENGINES)
    engine_works = ((engine > 0) & (engine >= thresholds.duty_cycle_idle_below_ratio)).fill_null(value=False)
    idle = (
        pl.when(engine_works)
        .then(pl.lit(value=False))
        .when(grade == 0)
        .then(pl.coalesce("graphics_active_ratio", "sm_active_ratio") < thresholds.idle_below_ratio)
        .when(grade == 1)
        .then(kernel < thresholds.idle_below_ratio)
        .when(grade == 2)  # noqa: PLR2004  C
        .then((kernel < thresholds.duty_cycle_idle_below_ratio) & low_power)
        .when(grade == 3)  # noqa: PLR2004  D
        .then(proxy < thresholds.power_idle_below_ratio)
    )
    used = pl.when(grade == 0).then(pl.col("sm_active_ratio")).otherwise(proxy)
    return (
        pl.when(idle)
        .then(IDLE)
        .when(idle.not_() & (used < thresholds.underused_below_ratio).fill_null(engine_works))
        .then(UNDERUSED)
        .when(idle.not_())
        .then(BUSY)
        .cast(pl.UInt8)
    )


def decide() -> pl.Expr:
    """Return the code of the state: the first row of the decision that matches.

    Two cases that the table leaves open are closed here. Held by nobody with invisible processes is
    unallocated unless it is busy: then somebody unknown uses it, and to call it free would be a false saving.
    A stray process counts only where processes are visible.
    Reads: seen, is_fault, is_drained, held, has_holder_process, has_stray_process, is_memory_held, activity,
    is_throttled.
    Null `has_holder_process` means that processes are invisible.
    """
    nobody, job = pl.col("held").eq_missing(HELD_NOBODY), pl.col("held").eq_missing(HELD_JOB)
    owner = pl.col("has_holder_process")
    owned, alone, invisible = owner.eq_missing(other=True), owner.eq_missing(other=False), owner.is_null()
    stray = pl.col("has_stray_process").fill_null(value=False)
    memory = pl.col("is_memory_held").fill_null(value=False)
    idle = pl.col("activity").eq_missing(IDLE)
    under, busy = pl.col("activity").eq_missing(UNDERUSED), pl.col("activity").eq_missing(BUSY)
    return (
        pl.when(pl.col("seen") == SEEN_NOTHING)
        .then(CODES["unknown"])
        .when(pl.col("is_fault") | (pl.col("is_drained") & nobody))
        .then(CODES["faulty"])
        .when(stray & alone)
        .then(CODES["orphaned"])
        .when(nobody & stray.not_() & (alone | (invisible & under.not_() & busy.not_())))
        .then(CODES["unallocated"])
        .when(job & (alone | (invisible & idle & memory.not_())))
        .then(CODES["allocated_idle"])
        .when(job & idle & (owned | memory))
        .then(CODES["held_idle"])
        .when((under | busy) & pl.col("is_throttled"))
        .then(CODES["throttled"])
        .when(under)
        .then(CODES["underused"])
        .when(busy)
        .then(CODES["productive"])
        .otherwise(CODES["unknown"])
        .cast(pl.UInt8)
    )
