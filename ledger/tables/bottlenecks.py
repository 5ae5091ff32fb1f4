"""What limited the GPU time of jobs: by minute with its evidence, and by hour."""

import dataframely as dy

from ledger.names import BOTTLENECKS
from ledger.tables.columns import gpu_seconds, key, key_count, key_instant, ratio, text
from ledger.tables.partition import Timed, table


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
