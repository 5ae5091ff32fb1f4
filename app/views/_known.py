"""What is known of processes, of networks and of what happened to nodes, for the page on data health."""

from typing import Final

import polars as pl
import streamlit as st

from app import cards, controls, data, table
from app.table import Column
from queries import measure
from queries.measures import health

KNOWN_FROM: Final = "Configured, peers (most of at least three like nodes are so), or a bond of which it is a member."

_MOST_NAMED: Final = 8

_SOURCES: Final = {
    "cgroup_seconds": Column("Cgroup", "duration", "The cgroup of a scheduler's job or a pod."),
    "prolog_seconds": Column("Prolog", "duration", "The prolog's map of devices."),
    "pod_resources_seconds": Column("Kubelet", "duration", "The kubelet's list of who holds which device."),
    "environ_seconds": Column("Environment", "duration", "A variable of the allow-list."),
    "other_seconds": Column("Other", "duration", "A source that this version does not know."),
}


def attribution() -> None:
    """Show how much of the time of processes on GPUs is known, and from where."""
    st.subheader("Whose processes used the GPUs, the least known first", anchor=False)
    nodes = controls.answer("node_attribution")
    if nodes.is_empty():
        st.info("No sample of a GPU was kept in this window. Start an agent on a node.")
        return
    shares = (health.ATTRIBUTED_RATIO, health.CONFIDENCE_RATIO, health.INVISIBLE_RATIO)
    with cards.row(4):
        for each in shares:
            cards.taken(each, nodes)
    known, sure, unseen = (Column(each.title, "percent", each.means) for each in shares)
    table.show(
        data.once(measure.with_each, nodes, ("cluster", "node"), *shares),
        {
            "cluster": Column("Cluster"),
            "node": Column("Node"),
            health.ATTRIBUTED_RATIO.name: known,
            "process_seconds": Column("Processes", "duration", "Time of processes on devices, summed over both."),
            **_SOURCES,
            "unattributed_seconds": Column("Nobody told", "duration", "Nothing told whose it was."),
            health.CONFIDENCE_RATIO.name: sure,
            health.INVISIBLE_RATIO.name: unseen,
        },
        key="attribution",
        file_name="attribution",
    )


def happenings() -> None:
    """Show what agents told of their nodes and of themselves, with lost rows first."""
    st.subheader("What happened to nodes and agents, losses first", anchor=False)
    events = controls.answer("node_events")
    if events.is_empty():
        st.caption("No agent told of a start, of a clock that was set, or of rows that were lost.")
        return
    table.show(
        events,
        {
            "cluster": Column("Cluster"),
            "node": Column("Node"),
            "event": Column(
                "What",
                help="Starts, stops, boots, clocks that were set, rows that are lost, two agents of one name.",
            ),
            "event_count": Column("Times", "count"),
            "row_count": Column("Rows lost", "count", "They were collected, and never reached the hub."),
            "last_at": Column("Last", "instant"),
            "last_message": Column("Last message"),
        },
        key="node-events",
        file_name="node-events",
    )


def gpuless(nodes: pl.DataFrame, *, is_all: bool) -> None:
    """Say which nodes have no GPU that anybody saw: coverage is of GPU time, so that they are in no table of it.

    `is_all` says that no other node is known.
    """
    if nodes.is_empty():
        if is_all:
            st.info("No node is known. Start an agent, or import a scheduler's dump.")
        return
    named = ", ".join(nodes["node"].head(_MOST_NAMED).to_list())
    more = f" and {nodes.height - _MOST_NAMED:,} more" if nodes.height > _MOST_NAMED else ""
    count = f"{nodes.height:,} nodes report or stand" if nodes.height > 1 else "1 node reports or stands"
    said = f"{count} in a scheduler's list without a GPU that was seen: {named}{more}."
    if not is_all:
        st.caption(said)
        return
    st.info(
        f"{said} Coverage is of GPU time: there is none. Where there should be GPUs, run `clusterledger check` on the "
        "node: it says why their driver does not answer."
    )


def networks() -> None:
    """Show whose ports are fewer, or slower, than they should be."""
    st.subheader("Networks that are not what they should be", anchor=False)
    shortfalls(controls.answer("node_networks"))


def shortfalls(nodes: pl.DataFrame) -> None:
    """Show the nodes that were short of ports in the window, and what exactly was amiss."""
    if data.once(measure.value, nodes, health.LINKED_NODE_COUNT) == 0:
        st.caption(
            "What a node's network should be is told by `agent.expected_port_count` and "
            "`agent.expected_ethernet_port_count`, by most of three like nodes, or by a bond for its members."
        )
        return
    short = nodes.filter(pl.col("short_hour_count") > 0)
    if short.is_empty():
        st.success("Each port that should be up is, at the rate it should have.")
        return
    table.show(
        short,
        {
            "cluster": Column("Cluster"),
            "node": Column("Node"),
            "evidence": Column("Amiss", help="In the newest hour in which something was."),
            "is_short_now": Column("In the last hour", "flag"),
            "short_hour_count": Column("Hours", "count", "Hours in which something was amiss."),
            "last_short_at": Column("Last", "instant"),
            "expectation_source": Column("Known from", help=KNOWN_FROM),
            "ethernet_expectation_source": Column("Of Ethernet", help=KNOWN_FROM),
        },
        key="short-networks",
        file_name="short-networks",
    )
