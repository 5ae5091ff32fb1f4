"""Which ports are busy, waiting or failing, and which file systems are full, slow or silent."""

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, table
from app.charts import lines
from app.page import page
from app.table import Column
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
    _headline(ports, disks)
    _network(ports)
    _storage(disks)


def _headline(ports: pl.DataFrame, disks: pl.DataFrame) -> None:
    with cards.row():
        cards.taken(health.PEAK_RATIO, ports)
        cards.counted(health.FAILING_PORT_COUNT, health.PORT_COUNT, ports)
        cards.taken(health.FULL_COUNT, disks)
        cards.taken(health.SILENT_COUNT, disks)


def _mounts(disks: pl.DataFrame) -> pl.DataFrame:
    mounts = disks.filter(pl.col("mount_point") != "")
    return measure.with_each(mounts, ["cluster", "node", "mount_point", "device"], health.USED_RATIO)


def _rates(hours: pl.DataFrame) -> pl.DataFrame:
    """Return GiB in a second, one column a link layer."""
    rate = (pl.col("transmit_bytes") + pl.col("receive_bytes")) / 3600 / 2**30
    return hours.with_columns(rate=rate).pivot("link_layer", index="at", values="rate").sort("at")


def _network(ports: pl.DataFrame) -> None:
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
    table.show(
        ports,
        {
            "node": Column("Node"),
            "device": Column("Adapter"),
            "port": Column("Port"),
            "link_layer": Column("Link"),
            "line_rate_bytes_per_second": Column("Line rate", "rate"),
            "peak_active_ratio": Column("Peak", "percent"),
            "transmit_bytes": Column("Sent", "bytes"),
            "receive_bytes": Column("Received", "bytes"),
            "wait_count": Column("Waits", "count", "Ticks with data to send and no credit: congestion."),
            "error_count": Column("Errors", "count"),
            "link_downed_count": Column("Link down", "count"),
            "reset_count": Column("Counter resets", "count", "Nothing is added for these steps."),
        },
        key="ports",
        file_name="network-ports",
    )


def _storage(disks: pl.DataFrame) -> None:
    st.subheader("Storage", anchor=False)
    mounts, devices = st.tabs(["File systems", "Block devices"])
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
