"""What a whole node drew, divided among the parts of its devices' time."""

from typing import Final

import polars as pl

from ledger.expressions import divided

_PLACE: Final = ("hour_start", "cluster", "node")


def with_whole_nodes(parts: pl.DataFrame, devices: pl.DataFrame, whole: pl.DataFrame) -> pl.DataFrame:
    """Add to parts of device time what the node drew for them: `node_joules`, and `node_measured_ratio` of the hour.

    Each part has the energy of its devices and, by its device time, of what the node drew beside them. A node whose
    devices do not all tell their energy is divided by device time alone.

    Conserves: the parts of a node's hour sum to what its meter saw.
    Nulls: both, where no meter saw the hour, or it saw less than the devices counted: such a meter misses a supply.
    """
    time = pl.col("existed_seconds").cast(pl.Float64) * pl.col("gpu_fraction").cast(pl.Float64)
    seen = (time * pl.col("coverage_ratio")).sum() / pl.col("gpu_fraction").cast(pl.Float64).sum()
    of_devices = (
        devices.sort(*_PLACE, "gpu_uuid")
        .group_by(_PLACE, maintain_order=True)
        .agg(
            pl.when(pl.col("energy_joules").is_not_null().all())
            .then(pl.col("energy_joules").sum())
            .alias("device_joules"),
            seen.alias("device_seconds"),
            time.sum().alias("all_seconds"),
        )
    )
    metered = whole.select(
        *_PLACE,
        pl.col("energy_joules").alias("meter_joules"),
        pl.col("measured_seconds").cast(pl.Float64).alias("meter_seconds"),
    )
    known = of_devices.join(metered, on=_PLACE).filter((pl.col("meter_seconds") > 0) & (pl.col("all_seconds") > 0))
    # Devices and meter are seen for their own parts of the hour: what devices drew is brought to the meter's.
    scale = pl.when(pl.col("device_seconds") > 0).then(pl.col("meter_seconds") / pl.col("device_seconds"))
    known = known.with_columns(scale.alias("scale")).with_columns(
        (pl.col("meter_joules") - pl.col("device_joules") * pl.col("scale")).alias("rest_joules")
    )
    known = known.filter((pl.col("rest_joules") >= 0).fill_null(value=True))
    share = pl.col("total_gpu_seconds").cast(pl.Float64) / pl.col("all_seconds")
    of_part = pl.col("energy_joules") * pl.col("scale") + pl.col("rest_joules") * share
    return (
        parts.join(known, on=_PLACE, how="left", maintain_order="left")
        .with_columns(
            pl.coalesce(of_part, pl.col("meter_joules") * share).alias("node_joules"),
            divided(pl.col("meter_seconds"), 3600).alias("node_measured_ratio"),
        )
        .drop("device_joules", "device_seconds", "all_seconds", "meter_joules", "meter_seconds", "scale", "rest_joules")
    )
