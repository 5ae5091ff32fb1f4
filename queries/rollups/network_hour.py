"""What each network port carried in each hour."""

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
    "transmit_wait_count_total": Limit(),
    "transmit_discard_count_total": Limit(),
    "receive_error_count_total": Limit(),
    "symbol_error_count_total": Limit(width=16),
    "link_error_recovery_count_total": Limit(width=8),
    "link_downed_count_total": Limit(width=8),
}
_ERRORS: Final = (
    "transmit_discard_count_total",
    "receive_error_count_total",
    "symbol_error_count_total",
    "link_error_recovery_count_total",
)


@rollup()
def network_hour(
    samples: Annotated[
        dy.LazyFrame[NetworkPortSample],
        Input(
            before=_LOOKBACK,
            columns=(
                *("sampled_at", "cluster", "node", "device", "port", "boot_id", "step_seconds"),
                *("link_layer", "line_rate_bytes_per_second"),
                *_COUNTERS,
            ),
        ),
    ],
    span: Span,
) -> dy.LazyFrame[NetworkHour]:
    """Sum a port's counters over the steps that end in the hour.

    A reset, a reboot and a gap of more than three steps add nothing: what was carried then is not known. A step
    counts to the hour in which it ends, bytes and time alike.

    Nulls: bytes and counts that no step measured; the ratio without a line rate.
    """
    steps = _known(deltas(samples, list(_COUNTERS), by=_PORT, limits=_COUNTERS)).filter(
        pl.col("sampled_at").is_between(span.start, span.end, closed="left")
    )
    busier = pl.max_horizontal("transmit_bytes_delta", "receive_bytes_delta")
    rate = busier / pl.col("elapsed_seconds") / pl.col("line_rate_bytes_per_second")
    # Outside of the groups: inside of them Polars divides a single row in another way than many.
    steps = steps.with_columns(rate.alias("active_ratio"))
    hours = steps.group_by(pl.col("sampled_at").dt.truncate("1h").alias("hour_start"), *_PORT).agg(
        _last("link_layer"),
        _last("line_rate_bytes_per_second"),
        total("transmit_bytes_delta").alias("transmit_bytes"),
        total("receive_bytes_delta").alias("receive_bytes"),
        # Two reads of one clock can put a full line a little above its rate; it cannot be more than busy.
        pl.col("active_ratio").max().clip(upper_bound=1.0).alias("peak_active_ratio"),
        _counted(total("transmit_wait_count_delta")).alias("wait_count"),
        _counted(_sum(_ERRORS)).alias("error_count"),
        _counted(total("link_downed_count_delta")).alias("link_downed_count"),
        pl.col("is_reset").sum().cast(pl.Int64).alias("reset_count"),
        to_seconds(pl.col("elapsed_ms").sum()).alias("observed_seconds"),
    )
    return NetworkHour.cast(hours.select(NetworkHour.column_names()))


def _known(steps: pl.LazyFrame) -> pl.LazyFrame:
    """Take back the time of steps that are gaps, or begin before the lookback, and mark counter resets.

    Without this an hour computed alone would differ from one computed with the hours before it.
    """
    is_step = (
        pl.col("elapsed_ms").is_not_null()
        & (pl.col("elapsed_ms") <= _LOOKBACK // timedelta(milliseconds=1))
        & ~pl.col("is_gap").fill_null(value=True)
    )
    fell = pl.any_horizontal(
        (pl.col(name) < pl.col(name).shift(1)).fill_null(value=False) & pl.col(delta_name(name)).is_null()
        for name in ("transmit_bytes_total", "receive_bytes_total")
    )
    return steps.with_columns(is_reset=is_step & fell).with_columns(
        pl.when(is_step).then(name).alias(name)
        for name in ("elapsed_ms", "elapsed_seconds", *(delta_name(each) for each in _COUNTERS))
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
