"""Samples of a node's processors, memory and pressure, and of the collectors themselves."""

import dataframely as dy

from ledger.tables.columns import (
    amount,
    count,
    counter,
    duration,
    flag,
    gauge,
    key,
    key_count,
    key_instant,
    ratio,
    text,
)
from ledger.tables.gpu import NodeSample
from ledger.tables.partition import EDGE, Timed, table


@table("sample", Timed("sampled_at", edge=EDGE), order=("cluster", "node", "sampled_at"))
class HostSample(NodeSample):
    """One node's processors and memory at one instant."""

    cpu_count = count("Online logical processors")
    cpu_user_seconds_total = counter(
        "Processor time in user code, nice included; guests counted once", source="/proc/stat"
    )
    cpu_system_seconds_total = counter("Processor time in the kernel, interrupts included", source="/proc/stat")
    cpu_idle_seconds_total = counter("Processor time idle, without waiting for I/O", source="/proc/stat")
    cpu_iowait_seconds_total = counter("Processor time idle while I/O was under way; may decrease", source="/proc/stat")
    cpu_steal_seconds_total = counter("Processor time taken by the hypervisor", source="/proc/stat")
    load_average_count = gauge("Runnable and uninterruptible tasks, over one minute", max=1e6, source="/proc/loadavg")
    running_process_count = count("Runnable processes", source="/proc/stat")
    blocked_process_count = count("Processes that wait for I/O", source="/proc/stat")
    memory_total_bytes = gauge("Memory of the node", max=2**53, source="/proc/meminfo (kB)")
    memory_available_bytes = gauge("Memory that can be had without swapping", max=2**53, source="/proc/meminfo (kB)")
    swap_used_bytes = gauge("Swap in use", max=2**53, source="/proc/meminfo (kB)")
    uptime_seconds = duration("Time since boot")


@table("sample", Timed("sampled_at"), order=("cluster", "node", "numa_node_index", "sampled_at"))
class NumaSample(NodeSample):
    """One NUMA node of a host at one instant: its memory, and where pages came from."""

    numa_node_index = key_count("Number of the NUMA node")
    cpu_count = count("Its processors; 0 for memory alone, such as a GPU's", source="cpulist")
    memory_total_bytes = gauge("Its memory", max=2**53, source="meminfo (kB)")
    memory_free_bytes = gauge("Memory that holds nothing", max=2**53, source="meminfo (kB)")
    memory_cache_bytes = gauge("Cached files, which can be dropped", max=2**53, source="meminfo FilePages (kB)")
    memory_anonymous_bytes = gauge("Memory of processes", max=2**53, source="meminfo AnonPages (kB)")
    hit_page_count_total = counter("Pages that were wanted here and given here", source="numastat numa_hit")
    miss_page_count_total = counter("Pages given here that were wanted elsewhere", source="numastat numa_miss")
    foreign_page_count_total = counter("Pages wanted here and given elsewhere", source="numastat numa_foreign")
    local_page_count_total = counter("Pages given to a process that ran here", source="numastat local_node")
    remote_page_count_total = counter("Pages given to a process that ran elsewhere", source="numastat other_node")


@table("sample", Timed("sampled_at", edge=EDGE), order=("cluster", "node", "resource", "sampled_at"))
class PressureSample(NodeSample):
    """Pressure stall information of one resource of a node, or of a job's cgroup, at one instant."""

    resource = key("cpu, io, memory or irq")
    job_id = key("Job whose cgroup it is; '' for the whole node")
    some_seconds_total = counter("Time in which at least one task was stalled", source="/proc/pressure (us)")
    full_seconds_total = counter("Time in which all tasks were stalled", source="/proc/pressure (us)")
    some_ratio = ratio("Stalled share of the last ten seconds, some tasks", source="/proc/pressure avg10 (%)")
    full_ratio = ratio("Stalled share of the last ten seconds, all tasks", source="/proc/pressure avg10 (%)")


@table("sample", Timed("sampled_at"), order=("cluster", "node", "job_id", "sampled_at"))
class JobCgroupSample(NodeSample):
    """What one job or pod used of a node's processors, memory and block devices, at one instant."""

    job_id = key("Slurm job id or SLUID, or UID of a pod")
    scheduler = text("slurm or kubernetes", among=("slurm", "kubernetes"))
    hierarchy = text("v1 or v2: which cgroups measured it", among=("v1", "v2"))
    cpu_seconds_total = counter("Processor time of its processes, also of those that ended", source="cpu.stat (us)")
    cpu_user_seconds_total = counter("Of it, in user code", source="cpu.stat (us), cpuacct.stat (ticks)")
    cpu_system_seconds_total = counter("Of it, in the kernel", source="cpu.stat (us), cpuacct.stat (ticks)")
    cpu_throttled_seconds_total = counter("Time in which its limit held it back, summed over processors")
    memory_used_bytes = gauge("Memory that is charged to it, cache included", max=2**53, source="memory.current")
    memory_peak_bytes = gauge("Most that was charged to it, cache included", max=2**53, source="memory.peak")
    memory_limit_bytes = gauge("Its limit; null for none", max=2**53, source="memory.max")
    memory_resident_bytes = gauge("Anonymous and shared memory, which cannot be dropped", max=2**53)
    memory_cache_bytes = gauge("Cached files, which can be dropped; shared memory excluded", max=2**53)
    swap_used_bytes = gauge("Swap in use", max=2**53, source="memory.swap.current")
    oom_kill_count_total = counter("Processes killed for want of memory", source="memory.events")
    task_count = count("Processes and threads", source="pids.current")
    read_bytes_total = counter("Bytes read from block devices; network file systems are not in it", source="io.stat")
    written_bytes_total = counter("Bytes written to block devices", source="io.stat")
    read_count_total = counter("Reads of block devices", source="io.stat")
    write_count_total = counter("Writes to block devices", source="io.stat")


@table("slow_sample", Timed("sampled_at"), order=("cluster", "node", "collector", "sampled_at"))
class CollectorRun(NodeSample):
    """Rounds of one collector on a node that went alike; its instant is the last one's."""

    collector = key("Name of the collector")
    is_ok = flag("They ended without an error", nullable=False)
    row_count = count("Rows that they yielded, of all rounds together", nullable=False)
    duration_seconds = duration("Wall time of all rounds together", nullable=False)
    error = text("The one-line error of rounds that failed")
    round_count = count("Rounds that this row adds up, all with this outcome; null tells of one")
    longest_round_seconds = duration("Wall time of the longest of these rounds; null where the row tells of one")


@table("rollup", Timed("hour_start"))
class AgentHour(dy.Schema):
    """One clock hour of one node's agent: the rounds of its collectors, and what they took."""

    hour_start = key_instant("Start of the hour")
    cluster = key("Cluster")
    node = key("Node name")
    round_count = count("Rounds of all collectors", nullable=False)
    failed_round_count = count("Of them: those that failed", nullable=False)
    row_count = count("Rows that they yielded", nullable=False)
    duration_seconds = amount("Wall time of all rounds, summed over collectors", nullable=False)
    longest_round_seconds = duration("Wall time of the longest round", nullable=False)
