"""What each node's network was in each hour against what it should have been, and how its TCP fared."""

from datetime import timedelta
from typing import Annotated, Final

import dataframely as dy
import polars as pl

from ledger.expressions import to_seconds, total
from ledger.tables import NetworkHour, Node, NodeNetworkHour, TcpSample
from queries.counters import delta_name, deltas
from queries.graph import Input, Span, rollup
from queries.rollups._like_nodes import PLACE
from queries.rollups._port_links import ethernet_links, rdma_links

_LOOKBACK: Final = timedelta(minutes=15)
"""How far back the sample before the first of an hour may lie: three steps of a slow collector."""

_ETHERNET: Final = {
    "expected_port_count": "expected_ethernet_port_count",
    "expected_line_rate_bytes_per_second": "expected_ethernet_line_rate_bytes_per_second",
    "expectation_source": "ethernet_expectation_source",
    "port_count": "ethernet_port_count",
    "up_port_count": "up_ethernet_port_count",
    "down_port_count": "down_ethernet_port_count",
    "degraded_port_count": "degraded_ethernet_port_count",
    "evidence": "ethernet_evidence",
    "link_ms": "ethernet_ms",
}
"""What of Ethernet ports is kept, and under which names."""

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
                *("hour_start", "cluster", "node", "device", "port", "is_rdma", "link_layer", "bond"),
                *("line_rate_bytes_per_second", "lowest_line_rate_bytes_per_second", "capacity_bytes"),
                *("up_seconds", "down_seconds", "observed_seconds"),
            )
        ),
    ],
    nodes: Annotated[
        dy.LazyFrame[Node],
        Input(
            columns=(
                *("cluster", "node", "exists_start", "exists_end", "instance_type", "gpu_count"),
                *("expected_port_count", "expected_line_rate_bytes_per_second"),
                *("expected_ethernet_port_count", "expected_ethernet_line_rate_bytes_per_second"),
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
    """Hold a node's RDMA and Ethernet ports against what it should have: of its own row, else of most nodes like it.

    A port that is down on all nodes alike has no cable: what is missing is what others have, or what the row asks for.
    All members of a bond should be up, and where nobody else says it as fast as the fastest of them.
    A port that runs slower than it should loses the rest of its capacity for as long.
    A drop, a reset and a lost answer of TCP count where the step ends, as bytes of a port do.

    Nulls: all of what should be, where neither the row nor at least three like nodes tell it; ports where the node has
    none that carry RDMA; TCP where no step measured it.
    """
    hours, described = ports.collect(), nodes.collect()
    ethernet = ethernet_links(hours, described).select(*PLACE, *_ETHERNET).rename(_ETHERNET)
    links = rdma_links(hours, described).join(ethernet, on=PLACE, how="full", coalesce=True)
    both = links.join(_segments(tcp, span), on=PLACE, how="full", coalesce=True)
    said = [pl.when(pl.col(name) != "").then(name) for name in ("evidence", "ethernet_evidence")]
    return NodeNetworkHour.cast(
        both.with_columns(
            pl.concat_str(said, separator="; ", ignore_nulls=True).alias("evidence"),
            to_seconds(pl.max_horizontal("link_ms", "ethernet_ms", "tcp_ms")).alias("observed_seconds"),
        )
        .sort(PLACE)
        .select(NodeNetworkHour.column_names())
        .lazy()
    )


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
