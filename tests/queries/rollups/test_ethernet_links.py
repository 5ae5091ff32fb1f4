"""A node's Ethernet ports against what its row, most nodes like it, or their bond says they should be."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ledger.tables import NetworkPortSample, Node, NodeNetworkHour, TcpSample
from queries.graph import Span
from queries.rollups.network_hour import network_hour
from queries.rollups.node_network_hour import node_network_hour
from tests.frames import frame, validated
from tests.queries.rollups.network import GIGABIT, HOUR, LIKE, of
from tests.queries.rollups.network import port as sample

Rate = float | None


def port(node: str, device: str, *gigabits: Rate, bond: str = "", **more: Any) -> list[dict[str, Any]]:
    """Return a minute of a port, at one rate or at several in equal parts of it; None is a port that is down."""
    rates = [gigabits[step * len(gigabits) // 7] for step in range(7)]
    more = {"link_layer": "Ethernet", "bond": bond, **more}
    return [sample(10 * step, node, device, rate, **more) for step, rate in enumerate(rates)]


def bonded(node: str, *gigabits: Rate) -> list[dict[str, Any]]:
    return [each for index, rate in enumerate(gigabits) for each in port(node, f"eth{index}", rate, bond="bond0")]


def hours(rows: Sequence[dict[str, Any]], nodes: Sequence[dict[str, Any]] = ()) -> dict[str, dict[str, Any]]:
    span = Span(HOUR, HOUR + timedelta(hours=1), HOUR + timedelta(hours=1))
    links = network_hour.function(frame(NetworkPortSample, rows).lazy(), span).collect()
    given = (links, frame(Node, nodes), frame(TcpSample, []))
    made = node_network_hour.function(*(each.lazy() for each in given), span)
    return {row["node"]: row for row in validated(NodeNetworkHour, made.collect()).to_dicts()}


def counts(row: dict[str, Any]) -> tuple[Any, ...]:
    """Return what should be, what was up, what is missing and what is slow."""
    names = ("expected_ethernet_port_count", "up_ethernet_port_count")
    return tuple(row[name] for name in (*names, "down_ethernet_port_count", "degraded_ethernet_port_count"))


def test_a_port_that_trained_at_a_gigabit_is_found_by_what_like_nodes_have() -> None:
    rows = [each for node in ("n1", "n2", "n3") for each in port(node, "eth0", 1 if node == "n2" else 25)]
    found = hours(rows, LIKE)
    assert found["n2"]["evidence"] == "eth0 at 1.0 of 25.0 Gb/s"
    assert counts(found["n2"]) == (1, 1, 0, 1)
    assert found["n2"]["ethernet_expectation_source"] == "peers"
    assert found["n2"]["expected_ethernet_line_rate_bytes_per_second"] == 25 * GIGABIT
    assert found["n2"]["port_count"] is None, "it carries no RDMA"
    assert (found["n1"]["evidence"], counts(found["n1"])) == ("", (1, 1, 0, 0))


def test_a_dead_leg_of_a_bond_is_found_on_a_node_alone() -> None:
    found = hours([*bonded("n1", 25, None), *port("n1", "eth7", 1), *port("n1", "eth8", None)])
    assert found["n1"]["evidence"] == "eth1 of bond0 down", "an empty socket is nobody's loss"
    assert counts(found["n1"]) == (3, 2, 1, 0)
    assert found["n1"]["ethernet_expectation_source"] == "bond"
    whole = hours([*bonded("n1", 25, 25), *port("n1", "eth8", None)])
    assert (whole["n1"]["evidence"], counts(whole["n1"])) == ("", (2, 2, 0, 0))


def test_a_leg_that_is_slower_than_the_other_is_found() -> None:
    found = hours(bonded("n1", 25, 1))
    assert found["n1"]["evidence"] == "eth1 of bond0 at 1.0 of 25.0 Gb/s"
    assert counts(found["n1"]) == (2, 2, 0, 1)


def test_a_switch_that_fails_takes_a_leg_of_all_like_nodes_and_is_seen_all_the_same() -> None:
    found = hours([each for node in ("n1", "n2", "n3") for each in bonded(node, 25, None)], LIKE)
    assert {row["evidence"] for row in found.values()} == {"eth1 of bond0 down"}
    assert {counts(row) for row in found.values()} == {(2, 1, 1, 0)}
    assert {row["ethernet_expectation_source"] for row in found.values()} == {"peers"}


def test_the_rate_of_a_bond_is_what_like_nodes_have() -> None:
    """A slow spare beside a fast port is meant so where most nodes have it so."""
    found = hours([each for node in ("n1", "n2", "n3") for each in bonded(node, 25, 1)], LIKE)
    assert {row["evidence"] for row in found.values()} == {""}


def test_a_port_that_no_node_has_a_cable_in_is_not_missing() -> None:
    rows = [
        each
        for node in ("n1", "n2", "n3")
        for name, rate in (("eth0", 25), ("eth1", None))
        for each in port(node, name, rate)
    ]
    assert {(row["evidence"], *counts(row)) for row in hours(rows, LIKE).values()} == {("", 1, 1, 0, 0)}


def test_a_port_that_is_gone_is_missed_and_one_that_was_down_says_for_how_long() -> None:
    pair = [("eth0", 25), ("eth1", 25)]
    rows = [each for node in ("n1", "n3") for name, rate in pair for each in port(node, name, rate)]
    gone = hours([*rows, *port("n2", "eth0", 25)], LIKE)["n2"]
    assert (gone["evidence"], *counts(gone)) == ("1 of 2 Ethernet ports not there", 2, 1, 1, 0)
    flaky = hours([*rows, *port("n2", "eth0", 25), *port("n2", "eth1", 25, None, 25)], LIKE)["n2"]
    assert (flaky["evidence"], *counts(flaky)) == ("eth1 down for 20 s", 2, 1, 1, 0)


def test_the_nodes_own_row_says_it_where_there_are_no_peers() -> None:
    told = of("n1", expected_ethernet_port_count=2, expected_ethernet_line_rate_bytes_per_second=25 * GIGABIT)
    rows = [*port("n1", "eth0", 25), *port("n1", "eth1", 10), *port("n1", "eth2", 1)]
    row = hours(rows, [told])["n1"]
    assert row["evidence"] == "eth1 at 10.0 of 25.0 Gb/s; eth2 at 1.0 of 25.0 Gb/s"
    assert (row["ethernet_expectation_source"], row["expectation_source"]) == ("configured", None)
    enough = hours([*rows, *port("n1", "eth3", 25)], [told])["n1"]
    assert (enough["evidence"], enough["degraded_ethernet_port_count"]) == ("", 0), "two of 25 are what is asked for"
    spare = of("n1", expected_ethernet_port_count=1, expected_ethernet_line_rate_bytes_per_second=25 * GIGABIT)
    assert hours(bonded("n1", 25, 1), [spare])["n1"]["evidence"] == "", "a slow spare is told to be one"


def test_both_kinds_are_said_and_neither_counts_as_the_other() -> None:
    rows = []
    for node in ("n1", "n2", "n3"):
        rows += port(node, "mlx5_0", None if node == "n2" else 400, link_layer="InfiniBand")
        rows += port(node, "eth0", 10 if node == "n2" else 25)
    row = hours(rows, LIKE)["n2"]
    assert row["evidence"] == "mlx5_0/1 down; eth0 at 10.0 of 25.0 Gb/s"
    assert (row["expected_port_count"], row["port_count"], row["down_port_count"]) == (1, 1, 1)
    assert counts(row) == (1, 1, 0, 1)


def test_where_nothing_tells_it_nothing_is_said() -> None:
    """Virtual machines do not say how fast their ports are, nor containers whether they are up."""
    row = hours([*port("n1", "eth0", None), *port("n1", "eth1", 1)])["n1"]
    assert (row["evidence"], row["ethernet_expectation_source"], *counts(row)) == ("", None, None, 1, None, None)
    silent = hours(port("n1", "eth0", 25, is_up=None))
    assert silent == {}
    unknown = [each for node in ("n1", "n2", "n3") for each in port(node, "ens5", 1, line_rate_bytes_per_second=None)]
    assert {(row["evidence"], *counts(row)) for row in hours(unknown, LIKE).values()} == {("", 1, 1, 0, None)}


RATES = st.sampled_from([25, 25, 25, 1, None])


@given(st.lists(st.lists(RATES, min_size=1, max_size=4), min_size=1, max_size=5), st.booleans())
def test_what_is_short_is_said_and_nothing_else(fleet: list[list[int | None]], is_bond: bool) -> None:
    names = [f"n{index}" for index in range(len(fleet))]
    rows = [
        each
        for name, rates in zip(names, fleet, strict=True)
        for index, rate in enumerate(rates)
        for each in port(name, f"eth{index}", rate, bond="bond0" if is_bond else "")
    ]
    found = hours(rows, [of(name) for name in names])
    assert sorted(found) == names
    for name, rates in zip(names, fleet, strict=True):
        row = found[name]
        is_short = (row["down_ethernet_port_count"] or 0) + (row["degraded_ethernet_port_count"] or 0) > 0
        assert bool(row["evidence"]) == is_short
        up = sum(rate is not None for rate in rates)
        assert (row["up_ethernet_port_count"], row["ethernet_port_count"]) == (up, len(rates))
        if is_bond and up < len(rates):
            assert row["down_ethernet_port_count"] >= len(rates) - up, "each leg that is dead is missed"
        assert not pl.DataFrame([row]).select(pl.col("^.*port_count$").cast(pl.Int64) < 0).row(0).count(True)
