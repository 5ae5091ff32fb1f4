"""How strong each device of a job is beside the job's other devices in the same minute."""

from typing import Final

import polars as pl

from queries.rollups import _bottleneck_rules as rules

_WORKING: Final = 0.1
"""Of devices that all idle, none is slower than the others."""


def with_peers(rows: pl.DataFrame) -> pl.DataFrame:
    """Compare each device with the other devices of its job in the same minute.

    A straggler lies 15 % or more below the median for five minutes in a row, of at least five devices.
    """
    of_run, of_node = ["run", "minute"], "host_key"
    counted = rows.group_by(of_run).agg(pl.len().cast(pl.Int64).alias("job_device_count"))
    shared = rows.group_by(of_node).agg((pl.col("run").min() != pl.col("run").max()).alias("is_shared_node"))
    rows = (
        rows.join(counted, on=of_run, how="left", maintain_order="left")
        .join(shared, on=of_node, how="left", maintain_order="left")
        .with_columns(pl.coalesce("sm_active_ratio", "power_ratio").alias("strength"))
    )
    return rows.join(_stragglers(rows), on=["device", *of_run], how="left", maintain_order="left")


def _stragglers(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the minutes of devices that are behind, with how far."""
    of_run = ["run", "minute"]
    many = rows.filter(pl.col("job_device_count") > rules.PEERS).select("device", *of_run, "strength")
    medians = many.group_by(of_run).agg(pl.col("strength").median().alias("median"))
    slow = (
        many.join(medians.filter(pl.col("median") > _WORKING), on=of_run)
        .with_columns(peer_ratio=pl.col("strength") / pl.col("median"))
        .filter(pl.col("peer_ratio") < rules.STRAGGLER_BELOW)
        .sort("device", *of_run)
    )
    lag = rules.STRAGGLER_MINUTES - 1
    before = pl.col("minute").shift(lag).over("device", "run")
    since = (before == pl.col("minute") - lag).fill_null(value=False)
    return slow.filter(since).select("device", *of_run, "peer_ratio", is_straggler=True)
