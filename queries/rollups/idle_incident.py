"""Devices that a job holds and leaves idle: what somebody should be told of."""

from datetime import timedelta
from typing import Annotated, Final

import dataframely as dy
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from ledger.expressions import to_seconds
from ledger.names import HELD_IDLE_STATES, UNASSIGNED
from ledger.tables import AllocationHour, GpuStateInterval, IdleIncident, IncidentDecision, IncidentExemption, Job
from queries.graph import Input, Span, rollup
from queries.incidents import standing
from queries.rollups._context import RUN
from queries.rollups._incident_cost import PRICED, incident_costs
from queries.rollups._naming import COLUMNS as NAMING_COLUMNS
from queries.rollups._naming import Naming, named
from queries.rollups._timeline import DEVICE

_RECENT: Final = timedelta(days=92)

_LIVE: Final = timedelta(minutes=15)
"""An incident lasts while its device was seen idle within this time and not otherwise since."""

_COLUMNS: Final = (*DEVICE, "started_at", "ended_at", "state", "job_id", "restart_count", "user", "team")
_JOB_COLUMNS: Final = (*RUN, *NAMING_COLUMNS)


class Incidents(BaseModel):
    """When idleness is worth telling."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    opens_after_minutes: Annotated[int, Field(ge=5, le=1440, description="Held idleness that opens an incident")] = 30


@rollup()
def idle_incident(
    idle: Annotated[
        dy.LazyFrame[GpuStateInterval], Input(recent=_RECENT, columns=_COLUMNS, where={"state": HELD_IDLE_STATES})
    ],
    latest: Annotated[
        dy.LazyFrame[GpuStateInterval], Input(recent=_LIVE, columns=(*DEVICE, "started_at", "state", "is_observed"))
    ],
    allocations: Annotated[
        dy.LazyFrame[AllocationHour],
        Input(recent=_RECENT, columns=PRICED, where={"bucket": ("allocated",), "state": HELD_IDLE_STATES}),
    ],
    decisions: dy.LazyFrame[IncidentDecision],
    exemptions: dy.LazyFrame[IncidentExemption],
    jobs: Annotated[dy.LazyFrame[Job], Input(recent=_RECENT, columns=_JOB_COLUMNS)],
    span: Span,
    settings: Incidents,
    naming: Naming,
) -> dy.LazyFrame[IdleIncident]:
    """Find stretches of unbroken idleness of one device with one holder, longer than the setting allows.

    It closes by itself: when the device works, changes hands, or is no longer seen. A gap without samples ends it as
    well, since what nobody saw was not idle.
    Cost: its part of what `allocation_hour` gives to this device's idle time for the job, exactly; hours at the end
    that are not allocated yet count at the last known hour's rate, as an estimate. Of several currencies the one with
    the largest cost is told.
    Nulls: `effective_cost`, `billing_currency`, `is_estimated`: no price is known, or not of every earlier hour.
    """
    pieces = _pieces(idle.filter(pl.col("state").is_in(HELD_IDLE_STATES)).sort(*DEVICE, "started_at").collect())
    runs = _unbroken(pieces)
    long = runs.filter(pl.col("ended_at") - pl.col("opened_at") >= timedelta(minutes=settings.opens_after_minutes))
    since = latest.collect().filter(pl.col("is_observed") & ~pl.col("state").is_in(HELD_IDLE_STATES))
    others = since.group_by(DEVICE).agg(pl.col("started_at").max().alias("other_at"))
    rows = long.join(others, on=DEVICE, how="left").join(
        incident_costs(_beside(pieces, long), allocations.collect()), on="run", how="left"
    )
    is_over = (pl.col("ended_at") < span.now - _LIVE) | (pl.col("other_at") >= pl.col("ended_at")).fill_null(
        value=False
    )
    newer = pl.col("opened_at") < pl.col("opened_at").max().over(DEVICE)
    told = rows.with_columns(
        pl.when(is_over | newer).then("ended_at").alias("closed_at"),
        to_seconds((pl.col("ended_at") - pl.col("opened_at")).dt.total_milliseconds()).alias("idle_seconds"),
        pl.col("team").fill_null(UNASSIGNED),
        pl.col("restart_count").fill_null(0),
    )
    described = _described(told, named(jobs.collect(), naming))
    stood = standing(described, decisions.collect(), exemptions.collect(), span.now)
    return IdleIncident.cast(stood.sort(*DEVICE, "opened_at").select(IdleIncident.column_names()).lazy())


def _pieces(idle: pl.DataFrame) -> pl.DataFrame:
    """Number intervals by the stretch that they are part of: one device, the same holder, without a break."""
    holding = (*DEVICE, "job_id", "restart_count")
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in holding)
    joins = same & (pl.col("started_at") == pl.col("ended_at").shift(1)).fill_null(value=False)
    return idle.with_columns((~joins).cum_sum().alias("run"))


def _unbroken(pieces: pl.DataFrame) -> pl.DataFrame:
    """Return one row per stretch."""
    return pieces.group_by("run").agg(
        pl.col(*DEVICE, "job_id", "restart_count").first(),
        pl.col("started_at").first().alias("opened_at"),
        pl.col("ended_at", "state", "user", "team").last(),
    )


def _beside(pieces: pl.DataFrame, long: pl.DataFrame) -> pl.DataFrame:
    """Return the pieces of devices with an incident: shorter stretches take their part of an hour's cost as well."""
    return pieces.join(long.select(DEVICE).unique(), on=DEVICE, how="semi")


def _described(incidents: pl.DataFrame, jobs: pl.DataFrame) -> pl.DataFrame:
    """Add the name and the model of the run that holds the device: of several of one id, the last before it idled."""
    runs = jobs.select("cluster", "job_id", "restart_count", "submitted_at", "job_name", "model").sort("submitted_at")
    return incidents.sort("opened_at").join_asof(
        runs,
        left_on="opened_at",
        right_on="submitted_at",
        by=["cluster", "job_id", "restart_count"],
        check_sortedness=False,
    )
