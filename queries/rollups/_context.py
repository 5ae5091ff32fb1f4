"""What is known of devices without samples: when they existed, who held them, what was wrong with them.

All of it is cut at the same points, so that each piece of a device's time has one holder set, one node state and
one fault or none.
"""

from datetime import timedelta
from typing import Final

import polars as pl

from queries.graph import Span
from queries.rollups._timeline import DEVICE, clipped, milliseconds, pieces, spread

FAULT_MEMORY: Final = timedelta(days=7)
"""How long a fault stays open when nothing closes it: so far back its opening is looked for."""

_OPENED_FOR: Final = FAULT_MEMORY // timedelta(milliseconds=1)

_CLOSING: Final = ("recovered", "reset", "driver_reload")

_RAN: Final = ("COMPLETED", "RUNNING", "TIMEOUT")
"""States of a job that shows that the device works: it ran to its end, to its limit, or runs."""

RUN: Final = ("cluster", "job_id", "submitted_at", "restart_count")
"""What identifies one run of a job."""


def present(gpus: pl.DataFrame, window: tuple[int, int], span: Span) -> pl.DataFrame:
    """Return when each device existed, in milliseconds inside the window; what is to come does not exist yet."""
    low, high = window
    return clipped(gpus.sort("exists_start"), "exists_start", "exists_end", (low, min(high, milliseconds(span.now))))


def context(
    devices: pl.DataFrame,
    window: tuple[int, int],
    existence: pl.DataFrame,
    holdings: pl.DataFrame,
    nodes: pl.DataFrame,
    node_states: pl.DataFrame,
    faults: pl.DataFrame,
    unplaced: pl.DataFrame,
) -> pl.DataFrame:
    """Return each device's time in pieces, with what is known of each.

    One row: piece, device, start, end, exists, holders (text, '' for none), holder_count, submitted_at, restart_count,
    holder (how the node tells), node_state, fault (reason or null), has_unplaced (whether some run has devices of the
    node, and nothing says which).
    """
    of_node = devices.select("device", "cluster", "node")
    held = clipped(holdings.join(devices, on=DEVICE), "held_start", "held_end", window)
    told = clipped(
        nodes.sort("exists_start").join(of_node, on=["cluster", "node"]), "exists_start", "exists_end", window
    )
    stated = clipped(
        node_states.sort("state_start").join(of_node, on=["cluster", "node"]), "state_start", "state_end", window
    )
    cut = pieces(window, devices, existence, held, told, stated, faults, unplaced)
    exists = spread(existence, cut).select("piece", pl.lit(value=True).alias("exists")).unique()
    return (
        cut.join(exists, on="piece", how="left")
        .join(_holders(spread(held, cut)), on="piece", how="left")
        .join(_last(spread(told, cut), "exists_start", "holder"), on="piece", how="left")
        .join(
            _last(spread(stated, cut), "state_start", "state").rename({"state": "node_state"}), on="piece", how="left"
        )
        .join(_first_fault(spread(faults, cut)), on="piece", how="left")
        .with_columns(
            pl.col("exists").fill_null(value=False),
            pl.col("holders").fill_null(""),
            pl.col("piece").is_in(spread(unplaced, cut)["piece"].unique().implode()).alias("has_unplaced"),
        )
        .sort("piece")
    )


def _holders(held: pl.DataFrame) -> pl.DataFrame:
    """Return who held the device in each piece; a run that is told twice counts once."""
    runs = held.unique(["piece", "job_id", "submitted_at", "restart_count"]).sort(
        "job_id", "submitted_at", "restart_count"
    )
    one = pl.len() == 1
    return runs.group_by("piece").agg(
        pl.col("job_id").unique(maintain_order=True).str.join(",").alias("holders"),
        pl.len().cast(pl.Int64).alias("holder_count"),
        pl.when(one).then(pl.col("submitted_at").first()).alias("submitted_at"),
        pl.when(one).then(pl.col("restart_count").first()).alias("restart_count"),
    )


def _last(rows: pl.DataFrame, since: str, column: str) -> pl.DataFrame:
    """Return the latest word on each piece; who has none to say does not count."""
    return rows.sort(since, column).group_by("piece").agg(pl.col(column).drop_nulls().last())


def _first_fault(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the earliest fault that is open in each piece."""
    return rows.sort("opened", "reason").group_by("piece").agg(pl.col("reason").first().alias("fault"))


def faults(
    events: pl.DataFrame, holdings: pl.DataFrame, jobs: pl.DataFrame, devices: pl.DataFrame, window: tuple[int, int]
) -> pl.DataFrame:
    """Return from when to when each device had an open fault: device, start, end, opened, reason.

    A fault of a whole device is one of its slices too. It ends at a recovery, reset or driver reload, when the next job
    gets the device and runs on it (or ran to its end), or after `FAULT_MEMORY`. That the next job runs is taken from
    its record, since its samples may lie days before the hour that is computed.
    """
    parents = devices.select("device", "cluster", "node", pl.col("parent_gpu_uuid").alias("gpu_uuid"))
    whole = pl.concat([devices.select(parents.columns), parents.filter(pl.col("gpu_uuid") != "")])
    seen = events.join(whole, on=DEVICE).with_columns(pl.col("occurred_at").dt.timestamp("ms").alias("opened"))
    reason = pl.when(pl.col("event") == "xid").then(pl.format("xid_{}", "xid_code")).otherwise("event")
    opening = seen.filter(pl.col("is_critical") & ~pl.col("event").is_in(_CLOSING))
    opened = opening.select("device", "opened", reason.alias("reason")).unique().sort("opened", "device")
    closings = seen.filter(pl.col("event").is_in(_CLOSING)).select("device", pl.col("opened").alias("closed"))
    good = holdings.join(jobs.filter(pl.col("state").is_in(_RAN)).select(RUN), on=RUN).join(devices, on=DEVICE)
    begun = good.select("device", pl.col("held_start").dt.timestamp("ms").alias("closed"))
    ends = pl.concat([closings, begun]).unique().sort("closed")
    matched = opened.join_asof(
        ends,
        left_on="opened",
        right_on="closed",
        by="device",
        strategy="forward",
        allow_exact_matches=False,
        check_sortedness=False,
    )
    low, high = window
    forgotten = pl.col("opened") + _OPENED_FOR
    return (
        matched.with_columns(
            pl.col("opened").clip(lower_bound=low).alias("start"),
            pl.min_horizontal("closed", forgotten).clip(upper_bound=high).alias("end"),
        )
        .filter(pl.col("start") < pl.col("end"))
        .select("device", "start", "end", "opened", "reason")
    )
