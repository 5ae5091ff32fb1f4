"""What each node's network was in each hour against what it should have been, and how its TCP fared."""

from datetime import timedelta
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import divided, to_milliseconds, to_seconds, total
from ledger.tables import NetworkHour, Node, NodeNetworkHour, TcpSample
from queries.counters import delta_name, deltas
from queries.graph import Input, Span, rollup
from queries.rollups._like_nodes import PLACE, described, usual_count, usual_rates, with_usual

_LOOKBACK: Final = timedelta(minutes=15)
"""How far back the sample before the first of an hour may lie: three steps of a slow collector."""

_GIGABIT: Final = 125_000_000

_TCP: Final = {
    "tcp_sent_segment_count": ("sent_segment_count_total",),
    "tcp_retransmitted_segment_count": ("retransmitted_segment_count_total",),
    "tcp_timeout_count": ("timeout_count_total",),
    "tcp_drop_count": (
        "listen_drop_count_total",
        "backlog_drop_count_total",
        "receive_queue_drop_count_total",
        "memory_abort_count_total",
    ),
    "tcp_reset_count": ("received_reset_count_total",),
}
_COUNTERS: Final = tuple(name for names in _TCP.values() for name in names)


@rollup()
def node_network_hour(
    ports: Annotated[
        dy.LazyFrame[NetworkHour],
        Input(
            columns=(
                *("hour_start", "cluster", "node", "device", "port", "is_rdma", "line_rate_bytes_per_second"),
                *("lowest_line_rate_bytes_per_second", "capacity_bytes", "up_seconds", "down_seconds"),
                "observed_seconds",
            )
        ),
    ],
    nodes: Annotated[
        dy.LazyFrame[Node],
        Input(
            columns=(
                *("cluster", "node", "exists_start", "exists_end", "instance_type", "gpu_count"),
                *("expected_port_count", "expected_line_rate_bytes_per_second"),
            ),
            fills=False,
        ),
    ],
    tcp: Annotated[
        dy.LazyFrame[TcpSample],
        Input(before=_LOOKBACK, columns=("sampled_at", "cluster", "node", "boot_id", "step_seconds", *_COUNTERS)),
    ],
    span: Span,
) -> dy.LazyFrame[NodeNetworkHour]:
    """Hold a node's RDMA ports against what it should have: of its own row, else of most nodes like it.

    A port that is down on all nodes alike has no cable: what is missing is what others have, or what the row asks for.
    A port that runs slower than it should loses the rest of its capacity for as long.
    A drop, a reset and a lost answer of TCP count where the step ends, as bytes of a port do.

    Nulls: all of what should be, where neither the row nor at least three like nodes tell it; ports where the node has
    none that carry RDMA; TCP where no step measured it.
    """
    rows = _ports(ports.collect())
    kinds = described(rows, nodes.collect())
    links = _against(rows, kinds)
    both = links.join(_segments(tcp, span), on=PLACE, how="full", coalesce=True)
    return NodeNetworkHour.cast(
        both.with_columns(
            pl.col("evidence").fill_null(""),
            to_seconds(pl.max_horizontal("link_ms", "tcp_ms")).alias("observed_seconds"),
        )
        .sort(PLACE)
        .select(NodeNetworkHour.column_names())
        .lazy()
    )


def _ports(hours: pl.DataFrame) -> pl.DataFrame:
    """Return the RDMA ports whose state was told: up_ms, down_ms, lowest and highest rate while up."""
    is_told = pl.col("up_seconds").is_not_null() & pl.col("is_rdma").fill_null(value=False)
    rate = pl.col("line_rate_bytes_per_second")
    return hours.filter(is_told).with_columns(
        to_milliseconds("up_seconds").alias("up_ms"),
        to_milliseconds("down_seconds").alias("down_ms"),
        to_milliseconds("observed_seconds").alias("link_ms"),
        pl.col("lowest_line_rate_bytes_per_second").alias("lowest"),
        pl.when(pl.col("up_seconds") > 0).then(rate).alias("highest"),
    )


def _against(ports: pl.DataFrame, kinds: pl.DataFrame) -> pl.DataFrame:
    """Return a row per node-hour: what should be, what was, and what is amiss in words."""
    rows = ports.join(kinds, on=PLACE, maintain_order="left")
    rows = with_usual(with_usual(rows, usual_rates(ports, kinds)), usual_count(ports, kinds))
    asked = "expected_line_rate_bytes_per_second"
    rows = rows.with_columns(
        pl.coalesce("expected_port_count", "usual_count").alias("count"),
        pl.coalesce(asked, "usual_rate").alias("rate"),
    )
    is_up = pl.col("up_ms") > 0
    is_slow = is_up & (pl.col("lowest") < pl.col("rate"))
    # Where the row says how many ports of which rate there are to be, others may be slower.
    enough = (is_up & ~is_slow.fill_null(value=False)).sum().over(PLACE) >= pl.col("expected_port_count")
    is_spare = pl.col(asked).is_not_null() & enough.fill_null(value=False)
    rows = rows.with_columns(
        is_up.alias("is_up"),
        (pl.col("down_ms") > 0).alias("is_down"),
        # A port that is up on no like node is no port that is missing here.
        ((pl.col("down_ms") > 0) & (pl.col("usual_rate").is_not_null() | pl.col("usual_count").is_null())).alias(
            "is_missed"
        ),
        (is_slow & ~is_spare).fill_null(value=False).alias("is_slow"),
    )
    return _counted(rows)


def _counted(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the node-hours of judged ports."""
    asked, rate = pl.col("expected_line_rate_bytes_per_second"), pl.col("rate")
    told = pl.col("count").first()
    whole = (pl.col("is_up") & ~pl.col("is_down")).sum().cast(pl.Int64)
    configured = (pl.col("expected_port_count").is_not_null() | asked.is_not_null()).any()
    rates, alike = rate.drop_nulls(), rate.drop_nulls().n_unique() == 1
    whole_rate = pl.when(alike).then(told * rates.first()).when(rates.len() == told).then(rates.sum())
    told_ports = rows.sort("device", "port").with_columns(_words().alias("words"))
    sums = told_ports.group_by(PLACE, maintain_order=True).agg(
        told.alias("expected_port_count"),
        pl.when(alike).then(rates.first()).alias("expected_line_rate_bytes_per_second"),
        pl.when(configured)
        .then(pl.lit("configured"))
        .when(told.is_not_null())
        .then(pl.lit("peers"))
        .alias("expectation_source"),
        pl.len().cast(pl.Int64).alias("port_count"),
        whole.alias("up_port_count"),
        (told - whole).clip(lower_bound=0).alias("down_port_count"),
        pl.when(rate.is_not_null().any()).then(pl.col("is_slow").sum().cast(pl.Int64)).alias("degraded_port_count"),
        whole_rate.alias("whole_rate"),
        total(pl.col("capacity_bytes")).alias("carried"),
        pl.col("link_ms").max(),
        pl.col("words").filter(pl.col("words") != "").str.join("; "),
    )
    sums = sums.with_columns(
        divided(pl.col("whole_rate") * pl.col("link_ms"), 1000).alias("expected_capacity_bytes"),
    )
    short = pl.col("down_port_count").fill_null(0) + pl.col("degraded_port_count").fill_null(0) > 0
    missing = pl.col("expected_port_count") - pl.col("port_count")
    gone = (
        pl.when(missing > 0)
        .then(pl.format("{} of {} ports not there", missing, "expected_port_count"))
        # Each node may have its cable in another port.
        .when(pl.col("words") == "")
        .then(pl.format("{} of {} ports not up", "down_port_count", "expected_port_count"))
    )
    said = pl.concat_str([gone, pl.when(pl.col("words") != "").then("words")], separator="; ", ignore_nulls=True)
    return sums.with_columns(
        pl.when(short).then(said).otherwise(pl.lit("")).alias("evidence"),
        # The least of two ignores what is null: ports that were all down carried nothing, and not what they should.
        pl.when(pl.col("carried").is_not_null())
        .then(pl.min_horizontal("carried", "expected_capacity_bytes"))
        .alias("capacity_bytes"),
    )


def _words() -> pl.Expr:
    """Return what is amiss with a port, '' if nothing is."""
    name = pl.format("{}/{}", "device", "port")
    down = pl.when(pl.col("is_missed")).then(
        pl.when(pl.col("is_up"))
        .then(pl.format("{} down for {} s", name, pl.col("down_ms") // 1000))
        .otherwise(pl.format("{} down", name))
    )
    gigabits = [divided(pl.col(each), _GIGABIT).round(1) for each in ("lowest", "rate")]
    slow = pl.when(pl.col("is_slow")).then(pl.format("{} at {} of {} Gb/s", name, *gigabits))
    return pl.concat_str([down, slow], separator=", ", ignore_nulls=True)


def _segments(samples: pl.LazyFrame, span: Span) -> pl.DataFrame:
    """Return what TCP did in each hour, and for how long it was measured."""
    steps = deltas(samples, list(_COUNTERS), by=("cluster", "node")).filter(
        pl.col("sampled_at").is_between(span.start, span.end, closed="left"),
        pl.col("elapsed_ms") <= _LOOKBACK // timedelta(milliseconds=1),
        ~pl.col("is_gap").fill_null(value=False),
    )
    return (
        steps.group_by(pl.col("sampled_at").dt.truncate("1h").alias("hour_start"), "cluster", "node")
        .agg(
            *(_grown(names).round(0).cast(pl.Int64).alias(name) for name, names in _TCP.items()),
            pl.col("elapsed_ms").sum().alias("tcp_ms"),
        )
        .collect()
    )


def _grown(counters: tuple[str, ...]) -> pl.Expr:
    """Return the growth of several counters together, null where none was measured."""
    known = pl.any_horizontal(pl.col(delta_name(name)).is_not_null() for name in counters)
    return total(pl.when(known).then(pl.sum_horizontal(delta_name(name) for name in counters)))
