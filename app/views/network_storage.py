"""Which ports are busy, waiting or failing, and which file systems are full, slow or silent."""

import polars as pl
import streamlit as st

from app import cards, controls, data, table
from app import format as written
from app.charts import lines
from app.data import Window
from app.page import page
from app.table import Column

_FULL = 0.9


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
    window = controls.window()
    ports = data.answer(
        "network_ports", scope=controls.scope(), start=window.start, end=window.end, cluster=controls.cluster()
    )
    disks = data.answer(
        "storage_devices", scope=controls.scope(), start=window.start, end=window.end, cluster=controls.cluster()
    )
    if ports.is_empty() and disks.is_empty():
        st.info("No port and no file system was seen in this window. Start an agent on a node.")
        return
    _headline(ports, disks)
    _network(ports, window)
    _storage(disks)


def _headline(ports: pl.DataFrame, disks: pl.DataFrame) -> None:
    failing = ports.filter((pl.col("error_count") > 0) | (pl.col("link_downed_count") > 0)).height
    full = disks.filter(pl.col("used_bytes") / pl.col("capacity_bytes") >= _FULL).height
    silent = disks.filter(pl.col("unresponsive_count") > 0).height
    peak = ports["peak_active_ratio"].max()
    with cards.row():
        cards.card(
            "Busiest port",
            written.percent(peak if isinstance(peak, float) else None),
            meaning="Highest step against the line rate, in the busier direction.",
        )
        cards.card("Ports with errors", written.count(failing), f"of {ports.height}")
        cards.card("Nearly full", written.count(full), meaning="File systems with 90 % or more in use.")
        cards.card("Did not answer", written.count(silent), meaning="File systems that hung at least once.")


def _rates(hours: pl.DataFrame) -> pl.DataFrame:
    """Return GiB in a second, one column a link layer."""
    rate = (pl.col("transmit_bytes") + pl.col("receive_bytes")) / 3600 / 2**30
    return hours.with_columns(rate=rate).pivot("link_layer", index="at", values="rate").sort("at")


def _network(ports: pl.DataFrame, window: Window) -> None:
    st.subheader("Network", anchor=False)
    hours = data.answer(
        "network_hours", scope=controls.scope(), start=window.start, end=window.end, cluster=controls.cluster()
    )
    if not hours.is_empty():
        wide = data.once(_rates, hours)
        names = {name: name for name in wide.columns if name != "at"}
        st.plotly_chart(
            data.once(lines.values, wide, names, at="at", unit="GiB/s, both directions"),
            key="network",
            config={"displayModeBar": False},
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
            disks.filter(pl.col("mount_point") != "").with_columns(
                used=pl.when(pl.col("capacity_bytes") > 0).then(pl.col("used_bytes") / pl.col("capacity_bytes"))
            ),
            {
                "node": Column("Node"),
                "mount_point": Column("Mounted at"),
                "device": Column("What"),
                "filesystem_type": Column("Type"),
                "capacity_bytes": Column("Size", "bytes"),
                "used": Column("Used", "percent"),
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
