"""What is computed from samples and holdings: GPU time, jobs, bottlenecks, network and storage."""

import dataframely as dy

from ledger.names import BOTTLENECKS, STATES
from ledger.tables.columns import (
    amount,
    count,
    duration,
    flag,
    fraction,
    gauge,
    gpu_seconds,
    instant,
    key,
    key_count,
    key_day,
    key_instant,
    money,
    parts,
    quality,
    ratio,
    seconds,
    text,
)
from ledger.tables.partition import Timed, Whole, table


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


@table(
    "rollup",
    Timed("hour_start"),
    order=("cluster", "node", "gpu_uuid", "hour_start"),
    also=(Timed("submitted_at", "day"),),
)
class JobGpuHour(StateSeconds, Activity):
    """One clock hour of one device held by one run of a job.

    Seconds are the job's share already: over the jobs of a device they sum to its held seconds, exactly.
    """

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster of the node")
    node = key("Node name")
    gpu_uuid = key("NVML UUID of the GPU or slice")
    job_id = key("Job id; '' where the device was busy and its holder is unknown")
    restart_count = key_count("Run of the job")
    submitted_at = key_instant("Submit time of the job: ids recur")
    held_seconds = seconds("How long the job held the device, before sharing")
    gpu_fraction = fraction("1, or the slice's part of its device")
    share_ratio = ratio("The job's share of the device while it held it", nullable=False)
    is_estimated = flag("The share was not measured", nullable=False)
    user = text("Who submitted it")
    team = text("Team; `unassigned` where no rule names one", nullable=False)
    model = text("Model; `unattributed` where no rule names one", nullable=False)
    workload_kind = text("training, inference, notebook, batch, or ''", nullable=False)
    coverage_ratio = ratio("Share of the held time that samples cover", nullable=False)
    evidence_quality = quality()


class GpuTime(dy.Schema):
    """A job's GPU time: seconds x fraction x share."""

    gpu_allocated_seconds = gpu_seconds("What it held")
    gpu_idle_seconds = gpu_seconds("Of it: allocated idle and held idle")
    gpu_productive_seconds = gpu_seconds("Of it: productive")
    energy_joules = amount("Energy of its devices while it held them")


@table("rollup", Timed("hour_start"), also=(Timed("submitted_at", "day"),))
class JobHour(GpuTime):
    """One clock hour of one run of a job, over its devices."""

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster")
    job_id = key("Job id")
    restart_count = key_count("Run of the job")
    submitted_at = key_instant("Submit time of the job: ids recur")
    user = text("Who submitted it")
    team = text("Team", nullable=False)
    model = text("Model", nullable=False)
    workload_kind = text("training, inference, notebook, batch, or ''", nullable=False)
    gpu_count = parts("Devices, as fractions", nullable=False)
    node_count = count("Nodes", nullable=False)
    coverage_ratio = ratio("Share of the held time that samples cover", nullable=False)


@table("rollup", Timed("submitted_at", "day"))
class JobUsage(dy.Schema):
    """One run of one job from submission to end, with the GPU time it held and used.

    GPU time is null where nothing was ever measured, and an estimate where only a job's mean is known.
    """

    cluster = key("Cluster")
    job_id = key("Job id")
    submitted_at = key_instant("When it was submitted")
    restart_count = key_count("Run of the job")
    user = text("Who submitted it")
    account = text("Account or project")
    team = text("Team", nullable=False)
    model = text("Model", nullable=False)
    workload_kind = text("training, inference, notebook, batch, or ''", nullable=False)
    job_name = text("Its name")
    partition = text("Partition, queue or namespace")
    state = text("The scheduler's word", nullable=False)
    pending_reason = text("Why it waits, or waited")
    eligible_at = instant("When it could have started")
    started_at = instant("When it started")
    ended_at = instant("When it ended")
    queue_seconds = duration("From submission to start, or to now")
    time_limit_seconds = duration("What it was given")
    exit_code = text("Exit code and signal")
    requested_gpu_count = parts("GPUs asked for")
    gpu_count = parts("GPUs it held")
    gpu_allocated_seconds = gpu_seconds("What it held", nullable=True)
    gpu_idle_seconds = gpu_seconds("Of it: allocated idle and held idle", nullable=True)
    gpu_productive_seconds = gpu_seconds("Of it: productive", nullable=True)
    energy_joules = amount("Energy of its devices while it held them")
    sm_active_ratio = ratio("Mean SM activity over its devices")
    kernel_active_ratio = ratio("Mean duty cycle over its devices")
    memory_used_bytes = gauge("Highest device memory in use on one device", max=2**44)
    coverage_ratio = ratio("Share of the held time that samples cover", nullable=False)
    evidence_quality = quality()
    is_estimated = flag("Its GPU time comes from a mean, or from a share that was not measured", nullable=False)


@table("rollup", Timed("minute_start"), order=("cluster", "job_id", "minute_start"))
class BottleneckMinute(dy.Schema):
    """One minute of one device held by one job: what limited it, on which evidence."""

    minute_start = key_instant("Start of the minute")
    cluster = key("Cluster")
    node = key("Node name")
    gpu_uuid = key("NVML UUID of the GPU or slice")
    job_id = key("Job id")
    restart_count = key_count("Run of the job")
    submitted_at = key_instant("Submit time of the job: ids recur")
    gpu_allocated_seconds = gpu_seconds("The job's time on the device")
    gpu_idle_seconds = gpu_seconds("Of it: idle, as the ledger says")
    gpu_throttled_seconds = gpu_seconds("Of it: throttled, as the ledger says")
    gpu_unknown_seconds = gpu_seconds("Of it: unknown, faulty or orphaned")
    gpu_limited_seconds = gpu_seconds("The rest: limited by `bottleneck`")
    bottleneck = text("What limited the rest", nullable=False, among=BOTTLENECKS)
    runner_up = text("The next class that its evidence fits", among=BOTTLENECKS)
    idle_cause = text("Why the idle part was idle, where evidence says so", among=BOTTLENECKS)
    first_evidence = text("Name of the first number")
    first_evidence_ratio = ratio("Its value")
    second_evidence = text("Name of the second number")
    second_evidence_ratio = ratio("Its value")
    third_evidence = text("Name of the third number")
    third_evidence_ratio = ratio("Its value")
    confidence_ratio = ratio("How far the evidence goes; lower on a node shared by several jobs", nullable=False)


@table("rollup", Timed("hour_start"), also=(Timed("submitted_at", "day"),))
class BottleneckHour(dy.Schema):
    """One clock hour of one run of a job: its GPU-seconds by what limited them, exactly."""

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster")
    job_id = key("Job id")
    restart_count = key_count("Run of the job")
    submitted_at = key_instant("Submit time of the job: ids recur")
    input_storage_seconds = gpu_seconds("Waited for storage")
    input_cpu_seconds = gpu_seconds("Waited for processors that prepare input")
    host_memory_seconds = gpu_seconds("Waited for host memory")
    communication_seconds = gpu_seconds("Waited for other devices")
    dram_bound_seconds = gpu_seconds("Limited by device memory bandwidth")
    compute_tensor_seconds = gpu_seconds("Limited by the tensor pipes: the best there is")
    compute_other_seconds = gpu_seconds("Limited by the other pipes")
    launch_bound_seconds = gpu_seconds("Limited by launching small kernels")
    power_capped_seconds = gpu_seconds("Held at the power limit")
    straggler_seconds = gpu_seconds("Slower than its peers")
    idle_seconds = gpu_seconds("Idle, as the ledger says")
    throttled_seconds = gpu_seconds("Throttled, as the ledger says")
    unknown_seconds = gpu_seconds("Unknown as the ledger says, faulty, orphaned, or without evidence")
    gpu_allocated_seconds = gpu_seconds("All of it")
    idle_cause = text("What most of the idle part was caused by, where evidence says so", among=BOTTLENECKS)
    runner_up = text("The class most often second", among=BOTTLENECKS)
    confidence_ratio = ratio("Mean over its minutes", nullable=False)


INCIDENT_STATUS = ("open", "acknowledged", "snoozed", "exempt", "closed")


@table("rollup", Whole())
class IdleIncident(dy.Schema):
    """One device that a job held and left idle for longer than the setting allows."""

    cluster = key("Cluster")
    node = key("Node name")
    gpu_uuid = key("NVML UUID of the GPU or slice")
    opened_at = key_instant("Since when it idled")
    closed_at = instant("When it worked again, or was given back; null while it lasts")
    state = text("allocated_idle or held_idle, as it was last", nullable=False, among=STATES)
    job_id = text("The job that holds it", nullable=False)
    restart_count = count("Its run", nullable=False)
    user = text("Its user")
    team = text("Its team", nullable=False)
    idle_seconds = seconds("How long it has idled")
    effective_cost = money("What that cost so far; null where no price is known")
    billing_currency = text("ISO 4217; null where no price is known")
    is_estimated = flag("The price is an estimate")
    status = text("Where it stands", nullable=False, among=INCIDENT_STATUS)


@table("operation", Whole())
class IncidentDecision(dy.Schema):
    """What a person decided about one idle incident."""

    cluster = key("Cluster")
    node = key("Node name")
    gpu_uuid = key("NVML UUID")
    opened_at = key_instant("The incident")
    decision = text("acknowledged, snoozed, exempt", nullable=False, among=INCIDENT_STATUS)
    decided_at = instant("When", nullable=False)
    decided_by = text("Who", nullable=False)
    snoozed_until = instant("Until when")
    comment = text("Why")


@table("rollup", Timed("hour_start"))
class NetworkHour(dy.Schema):
    """One clock hour of one network port."""

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster")
    node = key("Node name")
    device = key("Adapter")
    port = key("Port")
    link_layer = text("InfiniBand or Ethernet")
    line_rate_bytes_per_second = gauge("What the link can carry in one direction", max=1e13)
    transmit_bytes = amount("Bytes sent; null where nothing was measured")
    receive_bytes = amount("Bytes received; null where nothing was measured")
    peak_active_ratio = ratio("Busiest step against the line rate, in its busier direction")
    wait_count = count("Ticks with data to send and no credit")
    error_count = count("Errors, discards and recoveries")
    link_downed_count = count("Times the link went down")
    reset_count = count("Counter resets: nothing was added for these steps", nullable=False)
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
