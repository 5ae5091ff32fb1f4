"""Which ports are busy, waiting or failing, and which file systems are full, slow or silent."""

from typing import Final

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, table
from app.charts import lines
from app.page import page
from app.table import Column
from app.views._known import KNOWN_FROM, shortfalls
from app.views._storage_costs import costs
from queries import measure
from queries.measures import health


@page(
    "Network and storage",
    section="Observe",
    order=4,
    icon=":material/lan:",
    path="network-storage",
    roles=("admin", "manager", "sre"),
)
def network_storage() -> None:
    """Show what the network carried and where it failed, then storage that is full or does not answer."""
    ports, disks = controls.answer("network_ports"), controls.answer("storage_devices")
    if ports.is_empty() and disks.is_empty():
        st.info("No port and no file system was seen in this window. Start an agent on a node.")
        return
    nodes = controls.answer("node_networks")
    _headline(ports, nodes, disks)
    _network(ports, nodes)
    _storage(disks)


def _headline(ports: pl.DataFrame, nodes: pl.DataFrame, disks: pl.DataFrame) -> None:
    with cards.row():
        cards.taken(health.PEAK_RATIO, ports)
        cards.counted(health.FAILING_PORT_COUNT, health.PORT_COUNT, ports)
        cards.counted(health.SHORT_NODE_COUNT, health.LINKED_NODE_COUNT, nodes)
        cards.taken(health.FULL_COUNT, disks)
        cards.taken(health.SILENT_COUNT, disks)


def _mounts(disks: pl.DataFrame) -> pl.DataFrame:
    mounts = disks.filter(pl.col("mount_point") != "")
    return measure.with_each(mounts, ["cluster", "node", "mount_point", "device"], health.USED_RATIO)


def _rates(hours: pl.DataFrame) -> pl.DataFrame:
    """Return GiB in a second, one column a link layer."""
    rate = (pl.col("transmit_bytes") + pl.col("receive_bytes")) / 3600 / 2**30
    return hours.with_columns(rate=rate).pivot("link_layer", index="at", values="rate").sort("at")


def _network(ports: pl.DataFrame, nodes: pl.DataFrame) -> None:
    st.subheader("Network", anchor=False)
    hours = controls.answer("network_hours")
    if not hours.is_empty():
        wide = data.once(_rates, hours)
        names = {name: name for name in wide.columns if name != "at"}
        chart.show(
            lines.values,
            wide,
            names,
            at="at",
            unit="GiB/s, both directions",
            key="network",
            alt="Network traffic by link layer",
        )
    by_port, by_node = st.tabs(["Ports", "Nodes, and what each should have"])
    with by_port:
        _ports(ports)
    with by_node:
        _nodes(nodes)


def _ports(ports: pl.DataFrame) -> None:
    table.show(
        ports,
        {
            "node": Column("Node"),
            "device": Column("Adapter"),
            "port": Column("Port"),
            "link_layer": Column("Link"),
            "line_rate_bytes_per_second": Column("Line rate", "line_rate"),
            "lowest_line_rate_bytes_per_second": Column("Slowest", "line_rate", "Slowest at which it ran while up."),
            "peak_active_ratio": Column("Peak", "percent"),
            "transmit_bytes": Column("Sent", "bytes"),
            "receive_bytes": Column("Received", "bytes"),
            "wait_count": Column("Waits", "count", "Ticks with data to send and no credit: congestion."),
            "error_count": Column("Errors", "count"),
            "link_downed_count": Column("Link down", "count"),
            "down_seconds": Column("Down for", "duration"),
            "congestion_mark_count": Column("Marked", "count", "Packets that a congested switch marked on their way."),
            "congestion_notification_count": Column("Notified", "count", "Congestion notifications sent back."),
            "out_of_sequence_count": Column("Out of order", "count"),
            "retransmission_count": Column("Sent again", "count", "As far as the adapter counts them."),
            "acknowledgement_timeout_count": Column("Timeouts", "count", "No acknowledgement came."),
            "receiver_not_ready_count": Column("No buffer", "count", "A receiver had none, on either side."),
            "has_stopped_counter": Column(
                "Counter stopped", "flag", "A narrow counter stands at its top until it is reset."
            ),
            "reset_count": Column("Counter resets", "count", "Nothing is added for these steps."),
        },
        key="ports",
        file_name="network-ports",
    )


def _nodes(nodes: pl.DataFrame) -> None:
    shortfalls(nodes)
    by = ("cluster", "node")
    table.show(
        data.once(measure.with_each, nodes, by, health.CAPACITY_RATIO, health.RETRANSMITTED_RATIO),
        {
            "node": Column("Node"),
            "up_port_count": Column("Ports up", "count", "RDMA ports that were up for the whole of the last hour."),
            "expected_port_count": Column("Should be", "count"),
            "expected_line_rate_bytes_per_second": Column("Each at", "line_rate"),
            "expectation_source": Column("Known from", help=KNOWN_FROM),
            "up_ethernet_port_count": Column("Ethernet up", "count", "Ethernet ports that were up for the whole hour."),
            "expected_ethernet_port_count": Column("Ethernet should be", "count"),
            health.CAPACITY_RATIO.name: Column(health.CAPACITY_RATIO.title, "percent", health.CAPACITY_RATIO.means),
            health.RETRANSMITTED_RATIO.name: Column(
                health.RETRANSMITTED_RATIO.title, "percent", health.RETRANSMITTED_RATIO.means
            ),
            "tcp_timeout_count": Column("TCP timeouts", "count"),
            "tcp_drop_count": Column("TCP drops", "count", "Queues were full, or memory was short."),
            "tcp_reset_count": Column("TCP resets", "count"),
        },
        key="node-networks",
        file_name="node-networks",
    )


def _storage(disks: pl.DataFrame) -> None:
    st.subheader("Storage", anchor=False)
    mounts, servers, devices, money = st.tabs(["File systems", "Over the network", "Block devices", "Cost"])
    with mounts:
        table.show(
            data.once(_mounts, disks),
            {
                "node": Column("Node"),
                "mount_point": Column("Mounted at"),
                "device": Column("What"),
                "filesystem_type": Column("Type"),
                "capacity_bytes": Column("Size", "bytes"),
                health.USED_RATIO.name: Column(health.USED_RATIO.title, "percent"),
                "unresponsive_count": Column("Did not answer", "count"),
                "read_bytes": Column("Read", "bytes"),
                "written_bytes": Column("Written", "bytes"),
            },
            key="mounts",
            file_name="file-systems",
        )
        controls.say_days("What file systems and devices did")
    with servers:
        _servers()
    with devices:
        table.show(
            disks.filter(pl.col("mount_point") == "").with_columns(latency=pl.col("read_latency_seconds") * 1000),
            {
                "node": Column("Node"),
                "device": Column("Device"),
                "read_bytes": Column("Read", "bytes"),
                "written_bytes": Column("Written", "bytes"),
                "latency": Column("Read latency (ms)", "decimal"),
                "io_active_ratio": Column("Time with I/O", "percent", "No measure of saturation on NVMe."),
            },
            key="disks",
            file_name="block-devices",
        )
        controls.say_days("What file systems and devices did")
    with money:
        costs()


_TIMES: Final = (health.READ_SECONDS, health.WRITE_SECONDS, health.METADATA_SECONDS)


def _timed(systems: pl.DataFrame) -> pl.DataFrame:
    """Return file systems with their mean times in milliseconds."""
    found = measure.with_each(systems, ["cluster", "filesystem_type", "file_system"], *_TIMES)
    return found.with_columns(pl.col(each.name) * 1000 for each in _TIMES)


def _reads(hours: pl.DataFrame) -> pl.DataFrame:
    """Return the mean time of a read in milliseconds, one column a file system."""
    means = measure.with_each(hours, ["at", "file_system"], health.READ_SECONDS)
    rows = means.with_columns(pl.col(health.READ_SECONDS.name) * 1000)
    return rows.pivot("file_system", index="at", values=health.READ_SECONDS.name).sort("at")


def _servers() -> None:
    systems = controls.answer("network_file_systems")
    if systems.is_empty():
        st.caption("No agent saw an NFS, Lustre or GPFS mount in this window.")
        return
    wide = data.once(_reads, controls.answer("network_file_system_hours"))
    names = {name: name for name in wide.columns if name != "at"}
    chart.show(
        lines.values, wide, names, at="at", unit="ms a read", key="reads", alt="Mean time of a read by file system"
    )
    table.show(
        data.once(_timed, systems),
        {
            "cluster": Column("Cluster"),
            "file_system": Column("File system"),
            "filesystem_type": Column("Type"),
            "node_count": Column("Nodes", "count"),
            "read_count": Column("Reads", "count"),
            "write_count": Column("Writes", "count"),
            "metadata_count": Column("Others", "count", "Opening, listing, attributes, locks."),
            "read_bytes": Column("Read", "bytes"),
            "written_bytes": Column("Written", "bytes"),
            **{each.name: Column(f"{each.title} (ms)", "decimal", each.means) for each in _TIMES},
            "longest_operation": Column("Most time in", help="The operation that took most time in most hours."),
            "error_count": Column("Errors", "count"),
            "retransmission_count": Column("Sent again", "count"),
            "timeout_count": Column("Timeouts", "count"),
        },
        key="servers",
        file_name="network-file-systems",
    )
