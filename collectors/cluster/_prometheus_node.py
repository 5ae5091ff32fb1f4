"""node_exporter: which metric fills which column.

Its counters are in seconds and bytes already. A node has a series for each processor and mode: the server adds them.

Left out: bonds, bridges and virtual ports, partitions and stacked block devices, memory file systems, whose bytes
are counted on what lies below them.

Source: the collectors of node_exporter 1.x.
"""

from dataclasses import replace
from typing import Final

import polars as pl

from collectors.cluster._prometheus_table import Key, Labels, Metric, Target
from ledger.tables import (
    BlockDeviceSample,
    HostSample,
    MountSample,
    NetworkPortSample,
    PowerSample,
    PressureSample,
    TcpSample,
)

_EXPORTER: Final = "node_exporter"
_VIRTUAL_PORTS: Final = (
    "lo|(veth|docker|br-|virbr|cni|cali|flannel|cilium|lxc|kube-|tun|tap|team|dummy|ifb|bond|ib|wg|vxlan|geneve).*"
)
_NO_DISKS: Final = r"(loop|ram|zram|sr|fd|dm-|md|drbd|bcache|zd).*|(nvme|mmcblk).*p[0-9]+|(s|v|xv|h)d[a-z]+[0-9]+"
_KERNEL_TYPES: Final = (
    "autofs|binfmt_misc|bpf|cgroup|cgroup2|configfs|debugfs|devpts|devtmpfs|efivarfs|fusectl|hugetlbfs|iso9660|"
    "mqueue|nsfs|nfsd|overlay|proc|pstore|ramfs|rootfs|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|tmpfs|tracefs"
)
_ACTIVE: Final = 4.0
"""The state of an InfiniBand port that carries data."""


def _modes(column: str, modes: str) -> Metric:
    return Metric("node_cpu_seconds_total", column, where=(("mode", "=~", modes),), without=("cpu", "mode"))


def _host(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rows with what is the difference of two metrics."""
    pairs = {"swap_used_bytes": ("_swap_total", "_swap_free"), "uptime_seconds": ("_now_seconds", "_boot_seconds")}
    made = {
        name: pl.col(one) - pl.col(other) for name, (one, other) in pairs.items() if {one, other} <= set(frame.columns)
    }
    return frame.with_columns(**made)


HOST: Final = Target(
    exporter=_EXPORTER,
    schema=HostSample,
    finish=_host,
    metrics=(
        replace(_modes("cpu_count", "idle"), how="count"),
        _modes("cpu_user_seconds_total", "user|nice"),
        _modes("cpu_system_seconds_total", "system|irq|softirq"),
        _modes("cpu_idle_seconds_total", "idle"),
        _modes("cpu_iowait_seconds_total", "iowait"),
        _modes("cpu_steal_seconds_total", "steal"),
        Metric("node_load1", "load_average_count"),
        Metric("node_procs_running", "running_process_count"),
        Metric("node_procs_blocked", "blocked_process_count"),
        Metric("node_memory_MemTotal_bytes", "memory_total_bytes"),
        Metric("node_memory_MemAvailable_bytes", "memory_available_bytes"),
        Metric("node_memory_SwapTotal_bytes", "_swap_total"),
        Metric("node_memory_SwapFree_bytes", "_swap_free"),
        Metric("node_time_seconds", "_now_seconds"),
        Metric("node_boot_time_seconds", "_boot_seconds"),
    ),
)


def _resource(labels: Labels, part: str) -> Key:
    del labels
    return (part, "")


PRESSURE: Final = Target(
    exporter=_EXPORTER,
    schema=PressureSample,
    names=("resource", "job_id"),
    key=_resource,
    metrics=(
        Metric("node_pressure_cpu_waiting_seconds_total", "some_seconds_total", part="cpu"),
        Metric("node_pressure_io_waiting_seconds_total", "some_seconds_total", part="io"),
        Metric("node_pressure_io_stalled_seconds_total", "full_seconds_total", part="io"),
        Metric("node_pressure_memory_waiting_seconds_total", "some_seconds_total", part="memory"),
        Metric("node_pressure_memory_stalled_seconds_total", "full_seconds_total", part="memory"),
        Metric("node_pressure_irq_stalled_seconds_total", "full_seconds_total", part="irq"),
    ),
)


def _ethernet_port(labels: Labels, part: str) -> Key | None:
    del part
    device = labels.get("device", "")
    return (device, "1", "Ethernet") if device else None


def _with_speed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ports without the speed of those that are down: they say -1 megabit."""
    if "line_rate_bytes_per_second" not in frame.columns:
        return frame
    speed = pl.col("line_rate_bytes_per_second")
    return frame.with_columns(line_rate_bytes_per_second=pl.when(speed > 0).then(speed))


ETHERNET: Final = Target(
    exporter=_EXPORTER,
    schema=NetworkPortSample,
    names=("device", "port", "link_layer"),
    key=_ethernet_port,
    where=(("device", "!~", _VIRTUAL_PORTS),),
    finish=_with_speed,
    metrics=(
        Metric("node_network_transmit_bytes_total", "transmit_bytes_total"),
        Metric("node_network_receive_bytes_total", "receive_bytes_total"),
        Metric("node_network_transmit_packets_total", "transmit_packet_count_total"),
        Metric("node_network_receive_packets_total", "receive_packet_count_total"),
        Metric("node_network_transmit_drop_total", "transmit_discard_count_total"),
        Metric("node_network_receive_errs_total", "receive_error_count_total"),
        Metric("node_network_up", "is_up"),
        Metric("node_network_speed_bytes", "line_rate_bytes_per_second"),
    ),
)


def _infiniband_port(labels: Labels, part: str) -> Key | None:
    del part
    device, port = labels.get("device", ""), labels.get("port", "")
    return (device, port, "InfiniBand") if device and port else None


def _infiniband(frame: pl.DataFrame) -> pl.DataFrame:
    """Return ports of which those that tell a state are up when it is the active one; Ethernet's stand beside them."""
    if "_state" not in frame.columns:
        return frame
    told = pl.when(pl.col("_state").is_not_null()).then((pl.col("_state") == _ACTIVE).cast(pl.Float64))
    return frame.with_columns(is_up=told.otherwise(pl.col("is_up")) if "is_up" in frame.columns else told)


INFINIBAND: Final = Target(
    exporter=_EXPORTER,
    schema=NetworkPortSample,
    names=("device", "port", "link_layer"),
    key=_infiniband_port,
    finish=_infiniband,
    metrics=(
        Metric("node_infiniband_port_data_transmitted_bytes_total", "transmit_bytes_total"),
        Metric("node_infiniband_port_data_received_bytes_total", "receive_bytes_total"),
        Metric("node_infiniband_port_packets_transmitted_total", "transmit_packet_count_total"),
        Metric("node_infiniband_port_packets_received_total", "receive_packet_count_total"),
        Metric("node_infiniband_port_transmit_wait_total", "transmit_wait_count_total"),
        Metric("node_infiniband_port_discards_transmitted_total", "transmit_discard_count_total"),
        Metric("node_infiniband_port_errors_received_total", "receive_error_count_total"),
        Metric("node_infiniband_symbol_error_total", "symbol_error_count_total"),
        Metric("node_infiniband_link_downed_total", "link_downed_count_total"),
        Metric("node_infiniband_link_error_recovery_total", "link_error_recovery_count_total"),
        Metric("node_infiniband_port_constraint_errors_transmitted_total", "transmit_constraint_error_count_total"),
        Metric("node_infiniband_port_constraint_errors_received_total", "receive_constraint_error_count_total"),
        Metric("node_infiniband_local_link_integrity_errors_total", "link_integrity_error_count_total"),
        Metric("node_infiniband_excessive_buffer_overrun_errors_total", "buffer_overrun_error_count_total"),
        Metric("node_infiniband_vl15_dropped_total", "management_drop_count_total"),
        Metric("node_infiniband_rate_bytes_per_second", "line_rate_bytes_per_second"),
        Metric("node_infiniband_state_id", "_state"),
    ),
)

TCP: Final = Target(
    exporter=_EXPORTER,
    schema=TcpSample,
    metrics=(
        Metric("node_netstat_Tcp_CurrEstab", "established_count"),
        Metric("node_netstat_Tcp_ActiveOpens", "active_open_count_total"),
        Metric("node_netstat_Tcp_PassiveOpens", "passive_open_count_total"),
        Metric("node_netstat_Tcp_InSegs", "received_segment_count_total"),
        Metric("node_netstat_Tcp_OutSegs", "sent_segment_count_total"),
        Metric("node_netstat_Tcp_RetransSegs", "retransmitted_segment_count_total"),
    ),
)


def _disk(labels: Labels, part: str) -> Key | None:
    del part
    device = labels.get("device", "")
    return (device,) if device else None


BLOCK_DEVICE: Final = Target(
    exporter=_EXPORTER,
    schema=BlockDeviceSample,
    names=("device",),
    key=_disk,
    where=(("device", "!~", _NO_DISKS),),
    metrics=(
        Metric("node_disk_read_bytes_total", "read_bytes_total"),
        Metric("node_disk_written_bytes_total", "written_bytes_total"),
        Metric("node_disk_reads_completed_total", "read_count_total"),
        Metric("node_disk_writes_completed_total", "write_count_total"),
        Metric("node_disk_read_time_seconds_total", "read_seconds_total"),
        Metric("node_disk_write_time_seconds_total", "write_seconds_total"),
        Metric("node_disk_io_time_seconds_total", "io_seconds_total"),
        Metric("node_disk_io_now", "in_flight_count"),
    ),
)


def _mount(labels: Labels, part: str) -> Key | None:
    del part
    place = labels.get("mountpoint", "")
    return (place, labels.get("device", ""), labels.get("fstype", "")) if place else None


def _mounted(frame: pl.DataFrame) -> pl.DataFrame:
    if "_has_failed" not in frame.columns:
        return frame
    return frame.with_columns(is_responding=pl.col("_has_failed") == 0.0)


MOUNT: Final = Target(
    exporter=_EXPORTER,
    schema=MountSample,
    names=("mount_point", "device", "filesystem_type"),
    key=_mount,
    where=(("fstype", "!~", _KERNEL_TYPES),),
    finish=_mounted,
    metrics=(
        Metric("node_filesystem_size_bytes", "capacity_bytes"),
        Metric("node_filesystem_free_bytes", "free_bytes"),
        Metric("node_filesystem_avail_bytes", "available_bytes"),
        Metric("node_filesystem_files", "inode_count"),
        Metric("node_filesystem_files_free", "free_inode_count"),
        Metric("node_filesystem_readonly", "is_read_only"),
        Metric("node_filesystem_device_error", "_has_failed"),
    ),
)


def _meter(labels: Labels, part: str) -> Key | None:
    index = labels.get("index", "")
    return (f"rapl:{part}-{index}", part) if index else None


# Cores lie inside their package: whoever adds up takes packages and memory.
RAPL: Final = Target(
    exporter=_EXPORTER,
    schema=PowerSample,
    names=("power_source", "scope"),
    key=_meter,
    finish=lambda frame: frame.with_columns(is_overlapping=pl.col("scope").is_in(["core", "uncore", "psys"])),
    metrics=tuple(
        Metric(f"node_rapl_{scope}_joules_total", "energy_joules_total", part=scope)
        for scope in ("package", "dram", "core", "uncore", "psys")
    ),
)

NODE_NAME: Final = "node_uname_info"
"""Joins the address of a scrape with the name that the node gives itself."""

TARGETS: Final = (HOST, PRESSURE, ETHERNET, INFINIBAND, TCP, BLOCK_DEVICE, MOUNT, RAPL)
