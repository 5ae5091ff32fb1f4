"""Each clock hour of each GPU."""

from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import to_seconds
from ledger.tables import Gpu, GpuHour, GpuMinute, GpuStateInterval
from queries.graph import Input, rollup
from queries.rollups._boards import with_board_energy
from queries.rollups._hours import ACTIVITY_COLUMNS, activity, best_known_quality, described
from queries.rollups._minutes import STATE_COLUMNS, existing, in_existence, state_milliseconds
from queries.rollups._timeline import DEVICE, HOUR, instant, located, numbered

_INTERVAL_COLUMNS: Final = (
    *DEVICE,
    "started_at",
    "ended_at",
    "state",
    "holder_count",
    "is_observed",
    "evidence_quality",
    "rule_version",
)

_MINUTE_COLUMNS: Final = (*DEVICE, "minute_start", "observed_seconds", *ACTIVITY_COLUMNS)

_GPU_COLUMNS: Final = (*DEVICE, "exists_start", "exists_end", "gpu_model", "gpu_fraction", "parent_gpu_uuid")


@rollup()
def gpu_hour(
    intervals: Annotated[dy.LazyFrame[GpuStateInterval], Input(columns=_INTERVAL_COLUMNS, apart=True)],
    minutes: Annotated[dy.LazyFrame[GpuMinute], Input(columns=_MINUTE_COLUMNS, coded=DEVICE, apart=True)],
    gpus: Annotated[dy.LazyFrame[Gpu], Input(columns=_GPU_COLUMNS, apart=True)],
) -> dy.LazyFrame[GpuHour]:
    """Sum a GPU's intervals into clock hours, by state, and its minutes into means.

    Nothing is extrapolated: an hour with gaps has unknown seconds and less energy. Seconds are the device's own: a
    slice's hour has as many as a whole device's, and who adds up devices multiplies by `gpu_fraction`. Energy is what
    the device's meter counted; of a board that is cut, each slice's part of it.
    """
    stretches = intervals.collect()
    if stretches.is_empty():
        return GpuHour.create_empty(lazy=True)
    devices, inventory = numbered(stretches), gpus.collect()
    done = located(stretches, devices, at="started_at").with_columns(
        pl.col("time").alias("start"), pl.col("ended_at").dt.timestamp("ms").alias("end")
    )
    hours = _hours(done)
    measured = with_board_energy(minutes.collect(), inventory)
    means = _means(in_existence(located(measured, devices, at="minute_start"), existing(done)))
    hours = hours.join(means, on=["device", "hour"], how="left", maintain_order="left")
    hours = hours.join(devices, on="device", how="left", maintain_order="left")
    return GpuHour.cast(_described(hours, inventory).lazy())


def _hours(done: pl.DataFrame) -> pl.DataFrame:
    """Return the states of each device and hour in milliseconds; intervals never cross an hour."""
    rows = done.with_columns((pl.col("start") // HOUR).alias("hour"), (pl.col("end") - pl.col("start")).alias("part"))
    by = ("device", "hour")
    sums = (
        rows.with_columns(state_milliseconds())
        .group_by(by)
        .agg(
            pl.col(STATE_COLUMNS).sum(),
            pl.col("part").sum().alias("existed"),
            pl.col("part").filter("is_observed").sum().alias("observed"),
            pl.col("part").filter(pl.col("holder_count").is_not_null()).sum().alias("told"),
            pl.col("rule_version").max(),
        )
    )
    return sums.join(best_known_quality(rows, by, "part"), on=by, how="left").sort(by)


def _means(minutes: pl.DataFrame) -> pl.DataFrame:
    """Return the activity of each device and hour."""
    rows = minutes.with_columns(
        (pl.col("time") // HOUR).alias("hour"), pl.col("observed_seconds").cast(pl.Float64).alias("weight")
    )
    return rows.group_by("device", "hour").agg(activity("weight", pl.col("energy_joules")))


def _described(hours: pl.DataFrame, gpus: pl.DataFrame) -> pl.DataFrame:
    """Return finished hours: with what the device was in that hour."""
    timed = hours.with_columns((pl.col("hour") * HOUR).alias("time")).with_columns(instant("time").alias("hour_start"))
    return (
        timed.join(described(timed, gpus), on=[*DEVICE, "hour_start"], how="left", maintain_order="left")
        .with_columns(
            *(to_seconds(name).alias(name) for name in STATE_COLUMNS),
            to_seconds("existed").alias("existed_seconds"),
            (pl.col("observed") / pl.col("existed")).alias("coverage_ratio"),
            (pl.col("told") / pl.col("existed")).alias("allocation_coverage_ratio"),
            pl.col("evidence_quality").fill_null("X"),
            pl.col("rule_version").fill_null(""),
        )
        .select(GpuHour.column_names())
    )
