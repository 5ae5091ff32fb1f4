"""Block devices and mounted file systems: samples, and days computed from them."""

import dataframely as dy

from ledger.tables.columns import (
    amount,
    count,
    counter,
    duration,
    flag,
    gauge,
    instant,
    key,
    key_day,
    key_instant,
    ratio,
    seconds,
    text,
)
from ledger.tables.gpu import NodeSample
from ledger.tables.partition import EDGE, Timed, table


@table("sample", Timed("sampled_at"), order=("cluster", "node", "device", "sampled_at"))
class BlockDeviceSample(NodeSample):
    """One block device at one instant."""

    device = key("Kernel name of the device")
    read_bytes_total = counter("Bytes read", source="/proc/diskstats (512-byte sectors)")
    written_bytes_total = counter("Bytes written", source="/proc/diskstats (512-byte sectors)")
    read_count_total = counter("Reads completed")
    write_count_total = counter("Writes completed")
    read_seconds_total = counter("Time spent by reads, summed over requests", source="/proc/diskstats (ms)", width=32)
    write_seconds_total = counter("Time spent by writes, summed over requests", source="/proc/diskstats (ms)", width=32)
    io_seconds_total = counter(
        "Time with a request under way; no measure of saturation on NVMe", source="/proc/diskstats (ms)", width=32
    )
    in_flight_count = count("Requests under way")


@table("sample", Timed("sampled_at", edge=EDGE), order=("cluster", "node", "mount_point", "sampled_at"))
class MountSample(NodeSample):
    """One mounted file system at one instant."""

    mount_point = key("Where it is mounted")
    device = text("What is mounted: a device, an export, a volume")
    filesystem_type = text("The kernel's name of the type")
    is_responding = flag("It answered within the deadline")
    is_read_only = flag("It is mounted read-only")
    capacity_bytes = gauge("Size", max=2**63, source="statvfs")
    free_bytes = gauge("Free, reserved blocks included", max=2**63, source="statvfs")
    available_bytes = gauge("Free for an ordinary user", max=2**63, source="statvfs")
    inode_count = count("Inodes", source="statvfs")
    free_inode_count = count("Free inodes", source="statvfs")
    read_bytes_total = counter("Bytes read by this node", source="mountstats, or Lustre's llite")
    written_bytes_total = counter("Bytes written by this node", source="mountstats, or Lustre's llite")
    read_seconds_total = counter("Time of reads, summed over them", source="mountstats round trips, or Lustre's llite")
    read_count_total = counter("Reads completed", source="mountstats, or Lustre's llite")


@table("sample", Timed("sampled_at"), order=("cluster", "node", "mount_point", "operation", "sampled_at"))
class NfsOperationSample(NodeSample):
    """One operation of one NFS mount at one instant."""

    mount_point = key("Where it is mounted; the shortest path where mounts share their counters")
    operation = key("The protocol's word, such as READ or GETATTR")
    device = text("Server and export")
    nfs_version = text("Version of the protocol, such as 3 or 4.2")
    transport = text("tcp, udp or rdma")
    mounted_seconds = duration("Time since the mount, when its counters were zero")
    operation_count_total = counter("Operations that ended", source="mountstats")
    retransmission_count_total = counter("Times that a request was sent again", source="mountstats")
    timeout_count_total = counter("Times that the server was given up for a while", source="mountstats")
    error_count_total = counter("Operations that ended with an error", source="mountstats")
    sent_bytes_total = counter("Bytes sent, headers of RPC included", source="mountstats")
    received_bytes_total = counter("Bytes received, headers of RPC included", source="mountstats")
    queue_seconds_total = counter("Time before a request was sent, summed over operations", source="mountstats (ms)")
    round_trip_seconds_total = counter("Time from request to answer, summed over operations", source="mountstats (ms)")
    execute_seconds_total = counter(
        "Time from call to result, queue and round trip included, summed over operations", source="mountstats (ms)"
    )


@table("sample", Timed("sampled_at"), order=("cluster", "node", "component", "target", "operation", "sampled_at"))
class LustreOperationSample(NodeSample):
    """One operation of one Lustre mount, or of one target behind it, at one instant."""

    component = key("llite for a mount, osc for a storage target, mdc for a metadata target; never summed together")
    target = key("File system, such as scratch, or target, such as scratch-OST0001")
    instance = key("The mount's address in the kernel; another one after a remount")
    operation = key("Lustre's word, such as read_bytes or open")
    counters_start = instant("Since when it counts: the mount, or when it was cleared; null before Lustre 2.15")
    operation_count_total = counter("How often it happened")
    bytes_total = counter("Bytes, where the operation is measured in bytes")
    operation_seconds_total = counter("Time, summed over operations, where it is measured", source="stats (us)")


@table("sample", Timed("sampled_at"), order=("cluster", "node", "file_system", "sampled_at"))
class GpfsSample(NodeSample):
    """One file system of IBM Storage Scale (GPFS) at one instant, as this node's applications used it."""

    file_system = key("Name of the file system")
    gpfs_cluster = key("Cluster of IBM Storage Scale that owns it")
    disk_count = count("Disks that it consists of")
    read_bytes_total = counter("Bytes read, from cache or disk", source="mmpmon _br_")
    written_bytes_total = counter("Bytes written, to cache or disk", source="mmpmon _bw_")
    read_count_total = counter("Reads by applications", source="mmpmon _rdc_")
    write_count_total = counter("Writes by applications", source="mmpmon _wc_")
    open_count_total = counter("Files opened", source="mmpmon _oc_")
    close_count_total = counter("Files closed", source="mmpmon _cc_")
    directory_read_count_total = counter("Directories read", source="mmpmon _dir_")
    inode_update_count_total = counter("Inodes written to disk", source="mmpmon _iu_")


@table("rollup", Timed("hour_start"))
class StorageDeviceHour(dy.Schema):
    """One clock hour of one file system or block device of a node: what its days add up."""

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster")
    node = key("Node name")
    mount_point = key("Where it is mounted; '' for a block device")
    device = key("What is mounted, or the kernel's name of the device")
    filesystem_type = text("Type of the file system")
    capacity_bytes = gauge("Size at the end of the hour", max=2**63)
    used_bytes = gauge("Most that was used", max=2**63)
    read_bytes = amount("Bytes read; null where nothing was measured")
    written_bytes = amount("Bytes written; null where nothing was measured")
    timed_read_count = amount("Reads of which the time is known")
    timed_read_seconds = amount("Their time, summed over reads")
    io_active_seconds = amount("Time with a request under way; null where that is not counted")
    io_observed_seconds = seconds("Time in which that was counted")
    unresponsive_count = count("Rounds in which it did not answer", nullable=False)
    observed_seconds = seconds("Time that steps cover")


@table("rollup", Timed("day", "day"))
class StorageDay(dy.Schema):
    """One UTC day of one file system or block device of a node."""

    day = key_day("The day")
    cluster = key("Cluster")
    node = key("Node name")
    mount_point = key("Where it is mounted; '' for a block device")
    device = key("What is mounted, or the kernel's name of the device")
    filesystem_type = text("Type of the file system")
    capacity_bytes = gauge("Size at the end of the day", max=2**63)
    used_bytes = gauge("Most that was used", max=2**63)
    read_bytes = amount("Bytes read; null where nothing was measured")
    written_bytes = amount("Bytes written; null where nothing was measured")
    read_latency_seconds = duration("Mean time of a read")
    io_active_ratio = ratio("Share of time with a request under way")
    unresponsive_count = count("Rounds in which it did not answer", nullable=False)
    observed_seconds = seconds("Time that steps cover")


@table("rollup", Timed("hour_start"))
class StorageHour(dy.Schema):
    """One clock hour of one network file system of a node: what was asked of its servers, and how long that took.

    Operations overlap: their times are summed over them, and against their number give a mean.
    """

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster")
    node = key("Node name")
    filesystem_type = key("nfs, lustre or gpfs")
    file_system = key("Server and export, or the file system's own name")
    mount_point = key("Where it is mounted; '' where the counters do not say it")
    read_count = count("Reads: of NFS and Lustre requests, of GPFS calls of applications")
    write_count = count("Writes, as reads")
    metadata_count = count("All other operations: opening, listing, attributes, locks")
    read_bytes = amount("Bytes read; of NFS with the headers of RPC")
    written_bytes = amount("Bytes written; of NFS with the headers of RPC")
    read_operation_seconds = amount("Time of reads, from call to result")
    write_operation_seconds = amount("Time of writes, from call to result")
    metadata_operation_seconds = amount("Time of all other operations, from call to result")
    queue_seconds = amount("Of all of this: time before a request was sent")
    error_count = count("Operations that ended with an error")
    retransmission_count = count("Times that a request was sent again")
    timeout_count = count("Times that the server was given up for a while")
    longest_operation = text("The operation that took most time together; null where none is timed")
    observed_seconds = seconds("Time that steps cover")
