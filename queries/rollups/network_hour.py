"""What each network port carried in each hour."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import to_seconds, total
from ledger.tables import NetworkHour, NetworkPortSample
from queries.counters import Limit, delta_name, deltas
from queries.graph import Input, Span, rollup

_PORT: Final = ("cluster", "node", "device", "port")

_LOOKBACK: Final = timedelta(minutes=15)
"""How far back the sample before the first of an hour may lie: three steps of a slow collector."""

_LINE = Limit(line_rate="line_rate_bytes_per_second")

# Widths as the kernel's InfiniBand ABI states them; the narrow ones saturate instead of wrapping.
_COUNTERS: Final = {
    "transmit_bytes_total": _LINE,
    "receive_bytes_total": _LINE,
    "transmit_packet_count_total": Limit(),
    "receive_packet_count_total": Limit(),
    "transmit_wait_count_total": Limit(),
    "transmit_discard_count_total": Limit(),
    "receive_error_count_total": Limit(),
    "symbol_error_count_total": Limit(width=16),
    "link_error_recovery_count_total": Limit(width=8),
    "link_downed_count_total": Limit(width=8),
    "transmit_constraint_error_count_total": Limit(width=8),
    "receive_constraint_error_count_total": Limit(width=8),
    "link_integrity_error_count_total": Limit(width=4),
    "buffer_overrun_error_count_total": Limit(width=4),
    "management_drop_count_total": Limit(width=16),
    "congestion_notification_count_total": Limit(),
    "congestion_handled_count_total": Limit(),
    "congestion_mark_count_total": Limit(),
    "out_of_sequence_count_total": Limit(),
    "sequence_error_count_total": Limit(),
    "acknowledgement_timeout_count_total": Limit(),
    "receiver_not_ready_count_total": Limit(),
    "out_of_buffer_count_total": Limit(),
    "retransmission_count_total": Limit(),
}

# What is counted in an hour, and the counters that it is the sum of.
_COUNTED: Final = {
    "wait_count": ("transmit_wait_count_total",),
    "error_count": (
        "transmit_discard_count_total",
        "receive_error_count_total",
        "symbol_error_count_total",
        "link_error_recovery_count_total",
        "transmit_constraint_error_count_total",
        "receive_constraint_error_count_total",
        "link_integrity_error_count_total",
        "buffer_overrun_error_count_total",
        "management_drop_count_total",
    ),
    "link_downed_count": ("link_downed_count_total",),
    "transmit_packet_count": ("transmit_packet_count_total",),
    "receive_packet_count": ("receive_packet_count_total",),
    "discard_count": ("transmit_discard_count_total",),
    "symbol_error_count": ("symbol_error_count_total",),
    "congestion_notification_count": ("congestion_notification_count_total",),
    "congestion_handled_count": ("congestion_handled_count_total",),
    "congestion_mark_count": ("congestion_mark_count_total",),
    "out_of_sequence_count": ("out_of_sequence_count_total", "sequence_error_count_total"),
    "acknowledgement_timeout_count": ("acknowledgement_timeout_count_total",),
    "receiver_not_ready_count": ("receiver_not_ready_count_total", "out_of_buffer_count_total"),
    "retransmission_count": ("retransmission_count_total",),
}


@rollup(rows_at_once=100_000)
def network_hour(
    samples: Annotated[
        dy.LazyFrame[NetworkPortSample],
        Input(
            before=_LOOKBACK,
            columns=(
                *("sampled_at", "cluster", "node", "device", "port", "boot_id", "step_seconds"),
                *("link_layer", "bond", "line_rate_bytes_per_second", "is_up", "physical_state", "has_stopped_counter"),
                *_COUNTERS,
            ),
            apart=True,
        ),
    ],
    span: Span,
) -> dy.LazyFrame[NetworkHour]:
    """Sum a port's counters over the steps that end in the hour.

    A reset, a reboot and a gap of more than three steps add nothing: what was carried then is not known. A step
    counts to the hour in which it ends, bytes and time alike, and by the link's state at its end.

    Errors that the other side of a link made and marked, or that a switch could not forward, are no errors of this
    port: they stand in none. Nulls: bytes and counts that no step measured; the ratio without a line rate.
    """
    frame = samples.collect()
    # Most adapters have a few of these counters.
    counters = {name: limit for name, limit in _COUNTERS.items() if frame[name].null_count() < frame.height}
    steps = _known(deltas(frame.lazy(), list(counters), by=_PORT, limits=counters), counters).filter(
        pl.col("sampled_at").is_between(span.start, span.end, closed="left")
    )
    steps = steps.with_columns(
        pl.lit(None, pl.Float64).alias(delta_name(name)) for name in _COUNTERS if name not in counters
    )
    busier = pl.max_horizontal("transmit_bytes_delta", "receive_bytes_delta")
    line, is_up = pl.col("line_rate_bytes_per_second"), pl.col("is_up")
    # Outside of the groups: inside of them Polars divides a single row in another way than many.
    steps = steps.with_columns(
        (busier / pl.col("elapsed_seconds") / line).alias("active_ratio"),
        pl.when(is_up).then(line * pl.col("elapsed_seconds")).alias("capacity"),
        ((pl.col("link_layer") != "Ethernet") | pl.col("physical_state").is_not_null()).alias("is_rdma"),
    )
    hours = steps.group_by(pl.col("sampled_at").dt.truncate("1h").alias("hour_start"), *_PORT).agg(
        _last("link_layer"),
        _last("bond"),
        _last("line_rate_bytes_per_second"),
        pl.col("is_rdma").any(),
        total("transmit_bytes_delta").alias("transmit_bytes"),
        total("receive_bytes_delta").alias("receive_bytes"),
        # Two reads of one clock can put a full line a little above its rate; it cannot be more than busy.
        pl.col("active_ratio").max().clip(upper_bound=1.0).alias("peak_active_ratio"),
        *(_counted(_sum(names)).alias(name) for name, names in _COUNTED.items()),
        pl.col("is_reset").sum().cast(pl.Int64).alias("reset_count"),
        to_seconds(pl.col("elapsed_ms").sum()).alias("observed_seconds"),
        *(_lasted(is_up == up).alias(f"{word}_seconds") for word, up in (("up", True), ("down", False))),
        line.filter(is_up).min().alias("lowest_line_rate_bytes_per_second"),
        total("capacity").alias("capacity_bytes"),
        pl.col("has_stopped_counter").any(),
    )
    return NetworkHour.cast(hours.select(NetworkHour.column_names()))


def _lasted(is_so: pl.Expr) -> pl.Expr:
    """Return how long the link was in a state; null where nobody told its state."""
    known = pl.col("is_up").is_not_null().any()
    return to_seconds(pl.when(known).then(pl.col("elapsed_ms").filter(is_so).sum()))


def _known(steps: pl.LazyFrame, counters: Mapping[str, Limit]) -> pl.LazyFrame:
    """Take back the time of steps that are gaps, or begin before the lookback, and mark counter resets.

    Without this an hour computed alone would differ from one computed with the hours before it.
    """
    is_step = (
        pl.col("elapsed_ms").is_not_null()
        & (pl.col("elapsed_ms") <= _LOOKBACK // timedelta(milliseconds=1))
        & ~pl.col("is_gap").fill_null(value=True)
    )
    fell = [
        (pl.col(name) < pl.col(name).shift(1)).fill_null(value=False) & pl.col(delta_name(name)).is_null()
        for name in ("transmit_bytes_total", "receive_bytes_total")
        if name in counters
    ]
    return steps.with_columns(is_reset=is_step & pl.any_horizontal(pl.lit(value=False), *fell)).with_columns(
        pl.when(is_step).then(name).alias(name)
        for name in ("elapsed_ms", "elapsed_seconds", *(delta_name(each) for each in counters))
    )


def _last(column: str) -> pl.Expr:
    """Return the latest value that is known."""
    return pl.col(column).sort_by("sampled_at").drop_nulls().last()


def _sum(counters: tuple[str, ...]) -> pl.Expr:
    """Return the sum of several counters' growth, null where none was measured."""
    known = pl.any_horizontal(pl.col(delta_name(name)).is_not_null() for name in counters)
    return total(pl.when(known).then(pl.sum_horizontal(delta_name(name) for name in counters)))


def _counted(growth: pl.Expr) -> pl.Expr:
    """Return a growth as a whole number."""
    return growth.round(0).cast(pl.Int64)
