"""GPU time computed from samples and holdings: states, minutes, hours, and how much of it was seen."""

import dataframely as dy

from ledger.names import STATES
from ledger.tables.columns import (
    amount,
    count,
    flag,
    fraction,
    gauge,
    gpu_seconds,
    instant,
    key,
    key_day,
    key_instant,
    quality,
    ratio,
    seconds,
    text,
)
from ledger.tables.partition import Timed, table


class StateSeconds(dy.Schema):
    """The nine states, in seconds; together they are the whole time."""

    unknown_seconds = seconds("Nothing was seen, or what was seen decides nothing")
    faulty_seconds = seconds("The device or its node was broken or drained")
    orphaned_seconds = seconds("A process of no live job held it")
    unallocated_seconds = seconds("Nobody held it")
    allocated_idle_seconds = seconds("A job held it and had no process on it")
    held_idle_seconds = seconds("A job's process held it and did nothing")
    throttled_seconds = seconds("It was slowed for heat or by a power brake")
    underused_seconds = seconds("It was busy with less than a quarter of its SMs")
    productive_seconds = seconds("It worked")


class Activity(dy.Schema):
    """Means over the time that was observed; null where nothing measured it."""

    kernel_active_ratio = ratio("Share of time with a kernel running: the driver's duty cycle")
    graphics_active_ratio = ratio("Share of time with any engine active")
    sm_active_ratio = ratio("Share of SMs with work, weighted by cycles")
    sm_occupancy_ratio = ratio("Active warps against the most possible")
    tensor_active_ratio = ratio("Share of cycles with a tensor pipe active")
    dram_active_ratio = ratio("Share of the peak memory bandwidth")
    memory_used_bytes = gauge("Highest device memory in use", max=2**44)
    power_watts = gauge("Mean board power", max=2_000)
    energy_joules = amount("Energy by the device's counter; gaps and resets add nothing")


@table("rollup", Timed("started_at"), order=("cluster", "node", "gpu_uuid", "started_at"))
class GpuStateInterval(dy.Schema):
    """One stretch of one state of one GPU, cut at clock hours."""

    cluster = key("Cluster of the node")
    node = key("Node name")
    gpu_uuid = key("NVML UUID of the GPU or slice")
    started_at = key_instant("Start")
    ended_at = instant("End, exclusive", nullable=False)
    state = text("What it did", nullable=False, among=STATES)
    reason = text(
        "Why: no_sample, xid_79, node_down, no_demand, fragmentation, reservation, drained, quota, powered_down, ..."
    )
    job_id = text("The job that held it; '' for nobody or unknown; several jobs' ids joined by commas", nullable=False)
    submitted_at = instant("Submit time of the one job that held it")
    restart_count = count("Run of the one job that held it")
    holder_count = count("How many jobs held it; null where that is unknown")
    user = text("User of the one job that held it")
    team = text("Its team")
    evidence_quality = quality()
    is_observed = flag("A sample stands behind it", nullable=False)
    rule_version = text("Version of the decision and fingerprint of its thresholds")


@table("rollup", Timed("minute_start"), order=("cluster", "node", "gpu_uuid", "minute_start"))
class GpuMinute(Activity):
    """One minute of one GPU that samples cover at least in part: what it did."""

    minute_start = key_instant("Start of the minute")
    cluster = key("Cluster of the node")
    node = key("Node name")
    gpu_uuid = key("NVML UUID of the GPU or slice")
    observed_seconds = seconds("How long of it samples cover")
    power_limit_watts = gauge("Enforced power limit", max=2_000)
    power_capped_seconds = seconds("Held at the power limit", nullable=True)
    sm_clock_ratio = ratio("SM clock against the highest of the model")
    pcie_bytes_per_second = gauge("PCIe traffic, both directions", max=1e13)
    nvlink_bytes_per_second = gauge("NVLink traffic, both directions", max=1e14)


@table("rollup", Timed("minute_start"), order=("cluster", "node", "minute_start"))
class NodeMinute(dy.Schema):
    """One minute of one node: its processors, pressure and fast network ports."""

    minute_start = key_instant("Start of the minute")
    cluster = key("Cluster of the node")
    node = key("Node name")
    node_cpu_active_ratio = ratio("Busy processors of the node")
    node_cpu_iowait_ratio = ratio("Processors waiting for I/O")
    node_cpu_pressure_ratio = ratio("Time in which a task waited for a processor")
    node_io_pressure_ratio = ratio("Time in which a task waited for I/O")
    node_memory_pressure_ratio = ratio("Time in which a task waited for memory")
    node_network_active_ratio = ratio("Busiest fast port against its line rate")
    node_network_wait_count = count("Ticks in which the fast ports had no credit")
    node_file_system_wait_ratio = ratio(
        "Time of reads of network file systems against the clock, at most 1: so many waited on average"
    )


@table("rollup", Timed("hour_start"), order=("cluster", "node", "gpu_uuid", "hour_start"))
class GpuHour(StateSeconds, Activity):
    """One clock hour of one GPU; its nine states sum to `existed_seconds`, exactly."""

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster of the node")
    node = key("Node name")
    gpu_uuid = key("NVML UUID of the GPU or slice")
    existed_seconds = seconds("How long it existed")
    gpu_model = text("Product name")
    gpu_fraction = fraction("1, or the slice's part of its device")
    parent_gpu_uuid = text("The device a slice is cut from; '' for a whole device", nullable=False)
    coverage_ratio = ratio("Share of the time that samples cover", nullable=False)
    allocation_coverage_ratio = ratio("Share of the time in which the holder is known", nullable=False)
    evidence_quality = quality()
    rule_version = text("Version of the decision and fingerprint of its thresholds", nullable=False)


@table("rollup", Timed("day", "day"))
class CoverageDay(dy.Schema):
    """One UTC day of one node: how much of it the ledger saw."""

    day = key_day("The day")
    cluster = key("Cluster")
    node = key("Node name")
    gpu_existed_seconds = gpu_seconds("Device time that existed")
    gpu_observed_seconds = gpu_seconds("Device time that samples cover")
    gpu_held_known_seconds = gpu_seconds("Device time whose holder is known")
    coverage_ratio = ratio("Observed against existed", nullable=False)
    allocation_coverage_ratio = ratio("Holder known against existed", nullable=False)
    evidence_quality = quality()
    last_sampled_at = instant("Last sample of the day")
    failed_run_count = count("Collector rounds that failed")
    rejected_count = count("Rows refused")


@table("rollup", Timed("hour_start"))
class AttributionHour(dy.Schema):
    """One clock hour of one node: how long processes used its devices, and what told whose they were.

    A round of samples counts for its pace. The times by source, `other` and `unattributed` sum to `process_seconds`,
    exactly.
    """

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster")
    node = key("Node name")
    observed_seconds = seconds("Device time in which samples were taken")
    invisible_seconds = seconds("Of it: the processes on the device could not be listed")
    process_seconds = seconds("Time of processes on devices, summed over both")
    cgroup_seconds = seconds("Of it: a job's or pod's cgroup told whose")
    prolog_seconds = seconds("Of it: the prolog's map did")
    pod_resources_seconds = seconds("Of it: the kubelet did")
    environ_seconds = seconds("Of it: the allow-listed environment did")
    other_seconds = seconds("Of it: a source did that this version does not know")
    unattributed_seconds = seconds("Of it: nothing did")
    confidence_ratio = ratio("Mean confidence of what is attributed")
