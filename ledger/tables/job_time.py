"""GPU time of jobs: by device and hour, by hour, and over a whole run."""

import dataframely as dy

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
    key_instant,
    parts,
    quality,
    ratio,
    seconds,
    text,
)
from ledger.tables.gpu_time import Activity, StateSeconds
from ledger.tables.partition import Timed, table


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


@table("rollup", Timed("hour_start"), also=(Timed("submitted_at", "day"),))
class JobNodeHour(dy.Schema):
    """One clock hour of one run of a job on one node: what its processes used of the host."""

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster")
    node = key("Node name")
    job_id = key("Job id, or UID of a pod")
    restart_count = key_count("Run of the job")
    submitted_at = key_instant("Submit time of the job; 1970 while no record tells of it")
    cpu_seconds = amount("Processor time of its processes")
    cpu_throttled_seconds = amount("Time in which its limit held it back, summed over processors")
    memory_peak_bytes = gauge("Most memory that was charged to it, cache included", max=2**53)
    memory_resident_bytes = gauge("Most memory of its own that cannot be dropped", max=2**53)
    memory_limit_bytes = gauge("Its limit; null for none", max=2**53)
    oom_kill_count = count("Processes killed for want of memory")
    read_bytes = amount("Bytes read from block devices; network file systems are not in it")
    written_bytes = amount("Bytes written to block devices")
    observed_seconds = seconds("Time that steps cover")


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
    cpu_count = count("Processors it was given")
    cpu_seconds = amount("Processor time of its processes, while its nodes were watched")
    cpu_active_ratio = ratio("Of the processors that it was given, how much it used while its nodes were watched")
    host_memory_bytes = gauge("Host memory that it was given", max=2**53)
    host_memory_peak_bytes = gauge("Most host memory that it took on one node, cache included", max=2**53)
    host_memory_resident_bytes = gauge("Most on one node that cannot be dropped", max=2**53)
    oom_kill_count = count("Processes of it killed for want of host memory")
    read_bytes = amount("Bytes read from block devices of its nodes; network file systems are not in it")
    written_bytes = amount("Bytes written to block devices of its nodes")
