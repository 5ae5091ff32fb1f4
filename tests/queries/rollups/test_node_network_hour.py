"""A node's ports against what its row, or most nodes like it, say it should have; and its TCP."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import example
from hypothesis import strategies as st

from ledger.tables import NetworkPortSample, Node, NodeNetworkHour, TcpSample
from queries.graph import Span
from queries.rollups.network_hour import network_hour
from queries.rollups.node_network_hour import node_network_hour
from tests.frames import frame, validated
from tests.queries.rollups.conftest import on_cases
from tests.queries.rollups.network import GIGABIT, HOUR, LIKE, SECOND, of, port

FULL = 200 * GIGABIT


def ports(node: str, *gigabits: float | None, layer: str = "InfiniBand", **more: Any) -> list[dict[str, Any]]:
    """Return a minute of a node's ports, each at its rate; None is a port that is down."""
    return [
        port(10 * step, node, f"mlx5_{index}", rate, link_layer=layer, **more)
        for index, rate in enumerate(gigabits)
        for step in range(7)
    ]


def hours(
    rows: Sequence[dict[str, Any]],
    nodes: Sequence[dict[str, Any]] = (),
    tcp: Sequence[dict[str, Any]] = (),
    count: int = 1,
    start: datetime = HOUR,
) -> pl.DataFrame:
    return hours_of(frame(NetworkPortSample, rows), frame(Node, nodes), frame(TcpSample, tcp), count, start)


def hours_of(
    samples: pl.DataFrame, nodes: pl.DataFrame, tcp: pl.DataFrame, count: int = 1, start: datetime = HOUR
) -> pl.DataFrame:
    span = Span(start, start + timedelta(hours=count), start + timedelta(hours=count))
    links = network_hour.function(samples.lazy(), span).collect()
    made = node_network_hour.function(*(each.lazy() for each in (links, nodes, tcp)), span)
    return validated(NodeNetworkHour, made.collect())


def row_of(found: pl.DataFrame, node: str) -> dict[str, Any]:
    (row,) = found.filter(pl.col("node") == node).to_dicts()
    return row


def test_a_port_that_trained_at_half_its_rate_is_found_by_what_like_nodes_have() -> None:
    rows = [*ports("n1", 200, 200), *ports("n2", 200, 100), *ports("n3", 200, 200)]
    found = hours(rows, LIKE)
    row = row_of(found, "n2")
    assert row["evidence"] == "mlx5_1/1 at 100.0 of 200.0 Gb/s"
    assert (row["expectation_source"], row["expected_port_count"], row["degraded_port_count"]) == ("peers", 2, 1)
    assert (row["up_port_count"], row["down_port_count"]) == (2, 0)
    assert row["expected_line_rate_bytes_per_second"] == FULL
    assert (row["expected_capacity_bytes"], row["capacity_bytes"]) == (2 * FULL * 60, 1.5 * FULL * 60)
    sound = row_of(found, "n1")
    assert (sound["evidence"], sound["degraded_port_count"], sound["down_port_count"]) == ("", 0, 0)
    assert sound["capacity_bytes"] == sound["expected_capacity_bytes"]


def test_three_of_four_ports_are_one_too_few() -> None:
    rows = [*ports("n1", *[200] * 4), *ports("n2", 200, None, 200, 200), *ports("n3", *[200] * 4)]
    row = row_of(hours(rows, LIKE), "n2")
    assert (row["evidence"], row["down_port_count"], row["port_count"]) == ("mlx5_1/1 down", 1, 4)
    assert row["capacity_bytes"] == row["expected_capacity_bytes"] * 3 / 4


def test_a_port_that_no_node_has_a_cable_in_is_not_missing() -> None:
    rows = [each for name in ("n1", "n2", "n3") for each in ports(name, 200, None)]
    assert hours(rows, LIKE).select("expected_port_count", "down_port_count", "evidence").unique().rows() == [
        (1, 0, "")
    ]
    broken = [*rows[:28], *ports("n3", None, None)]
    row = row_of(hours(broken, LIKE), "n3")
    assert (row["down_port_count"], row["evidence"]) == (1, "mlx5_0/1 down")


def test_an_adapter_that_is_gone_has_no_row_and_is_missed() -> None:
    rows = [*ports("n1", 200, 200), *ports("n2", 200), *ports("n3", 200, 200)]
    row = row_of(hours(rows, LIKE), "n2")
    assert (row["port_count"], row["down_port_count"], row["evidence"]) == (1, 1, "1 of 2 ports not there")
    assert row["capacity_bytes"] == row["expected_capacity_bytes"] / 2


def test_ports_of_several_rates_are_each_held_against_their_like() -> None:
    rows = [each for name in ("n1", "n2", "n3") for each in ports(name, 400, 400, 100)]
    found = hours(rows, LIKE)
    assert found["degraded_port_count"].to_list() == [0, 0, 0]
    assert found["expected_line_rate_bytes_per_second"].to_list() == [None] * 3
    assert found["expected_capacity_bytes"].to_list() == [900 * GIGABIT * 60] * 3


def test_the_nodes_own_row_says_it_where_there_are_no_peers() -> None:
    alone = of("n1", expected_port_count=2, expected_line_rate_bytes_per_second=FULL)
    row = row_of(hours(ports("n1", 200, 100, None), [alone]), "n1")
    assert (row["expectation_source"], row["expected_port_count"]) == ("configured", 2)
    assert (row["degraded_port_count"], row["down_port_count"]) == (1, 0)
    assert row["evidence"] == "mlx5_1/1 at 100.0 of 200.0 Gb/s; mlx5_2/1 down"
    row = row_of(hours(ports("n1", 200, 100, 200), [alone]), "n1")
    assert (row["degraded_port_count"], row["evidence"]) == (0, ""), "two of 200 are what is asked for"


def test_two_nodes_are_no_majority_and_nothing_is_said() -> None:
    rows = [*ports("n1", 200, 200), *ports("n2", 200, None)]
    row = row_of(hours(rows, LIKE[:2]), "n2")
    assert (row["expected_port_count"], row["expectation_source"], row["down_port_count"]) == (None, None, None)
    assert (row["up_port_count"], row["evidence"]) == (1, "")


def test_nodes_of_another_kind_are_no_peers() -> None:
    kinds = [of("n1", gpu_count=4), of("n2", instance_type="y"), of("n3", cluster="d")]
    rows = [*ports("n1", 200, 200), *ports("n2", 200, None), *ports("n3", 200, 200)]
    assert hours(rows, kinds)["expected_port_count"].to_list() == [None] * 3


def test_a_port_that_went_down_for_a_while_says_for_how_long() -> None:
    rows = [*ports("n1", 200), *ports("n2", 200), *ports("n3", 200)]
    rows[-3]["is_up"], rows[-3]["line_rate_bytes_per_second"] = False, None
    row = row_of(hours(rows, LIKE), "n3")
    assert (row["evidence"], row["up_port_count"], row["down_port_count"]) == ("mlx5_0/1 down for 10 s", 0, 1)
    assert row["capacity_bytes"] == FULL * 50


def test_roce_counts_as_rdma_and_an_office_port_does_not() -> None:
    roce = [each for name in ("n1", "n2", "n3") for each in ports(name, 100, layer="Ethernet", physical_state="LinkUp")]
    office = [port(10 * step, "n1", "eth0", None, link_layer="Ethernet") for step in range(7)]
    found = hours([*roce, *office], LIKE)
    assert found["port_count"].to_list() == [1, 1, 1]
    assert found["down_port_count"].to_list() == [0, 0, 0]
    (alone,) = hours(office, LIKE).to_dicts()
    assert (alone["port_count"], alone["ethernet_port_count"], alone["evidence"]) == (None, 1, "")


def test_tcp_grows_over_steps_and_a_node_with_it_alone_has_a_row() -> None:
    def sample(seconds: float, sent: float, again: float | None, **more: Any) -> dict[str, Any]:
        step = {"sampled_at": HOUR + seconds * SECOND, "cluster": "c", "node": "n9", "boot_id": "b"}
        counters = {"sent_segment_count_total": sent, "retransmitted_segment_count_total": again}
        return {**step, "step_seconds": 10.0, **counters, **more}

    tcp = [
        sample(-5, 100, 5),
        sample(5, 1100, 9, listen_drop_count_total=1.0, backlog_drop_count_total=0.0),
        sample(15, 1200, 10, listen_drop_count_total=3.0, backlog_drop_count_total=4.0),
        sample(25, 50, 0),
        sample(90, 70, 1),
    ]
    row = row_of(hours([], (), tcp), "n9")
    assert (row["tcp_sent_segment_count"], row["tcp_retransmitted_segment_count"]) == (1100, 5)
    assert (row["tcp_drop_count"], row["tcp_timeout_count"]) == (6, None)
    assert (row["observed_seconds"], row["port_count"], row["evidence"]) == (Decimal(30), None, "")


RATES = st.sampled_from([200, 200, 200, 100, None])
FLEET = st.lists(st.lists(RATES, min_size=1, max_size=4), min_size=1, max_size=6)


@on_cases(FLEET)
@example(cases=[[[200, 200], [200, 200], [None]]])
def test_capacity_is_what_links_carry_and_what_is_short_is_said(cases: list[list[list[int | None]]]) -> None:
    fleet = {
        (f"c{place}", f"n{index}"): rates for place, drawn in enumerate(cases) for index, rates in enumerate(drawn)
    }
    rows = [each for (cluster, name), rates in fleet.items() for each in ports(name, *rates, cluster=cluster)]
    found = hours(rows, [of(name, cluster=cluster) for cluster, name in fleet])
    assert found.select("cluster", "node").rows() == list(fleet)
    for rates, row in zip(fleet.values(), found.to_dicts(), strict=True):
        carried = sum(rate or 0 for rate in rates) * GIGABIT * 60
        expected = row["expected_capacity_bytes"]
        # What is there beyond what should be is no capacity that was asked for.
        least = carried if expected is None else min(carried, expected)
        assert (row["capacity_bytes"] or 0) == pytest.approx(least)
        is_short = (row["down_port_count"] or 0) + (row["degraded_port_count"] or 0) > 0
        assert bool(row["evidence"]) == is_short
        assert row["up_port_count"] == sum(rate is not None for rate in rates)


@on_cases(FLEET, seed=st.integers(0, 2**32))
def test_order_changes_nothing_and_hours_apart_are_hours_together(
    cases: list[list[list[int | None]]], seed: int
) -> None:
    rows: list[dict[str, Any]] = []
    present: list[dict[str, Any]] = []
    for place, fleet in enumerate(cases):
        for index, rates in enumerate(fleet):
            present.append(of(f"n{index}", cluster=f"c{place}"))
            for late, moved in ((timedelta(0), rates), (timedelta(hours=1), rates[::-1])):
                told = ports(f"n{index}", *moved, cluster=f"c{place}")
                rows += [{**each, "sampled_at": each["sampled_at"] + late} for each in told]
    samples, nodes, tcp = frame(NetworkPortSample, rows), frame(Node, present), frame(TcpSample, [])
    whole = hours_of(samples, nodes, tcp, count=2)
    mixed = samples.sample(fraction=1, shuffle=True, seed=seed)
    assert hours_of(mixed, nodes, tcp, count=2).equals(whole)
    apart = [hours_of(mixed, nodes, tcp, start=HOUR + each * timedelta(hours=1)) for each in (0, 1)]
    assert pl.concat(apart).equals(whole)
