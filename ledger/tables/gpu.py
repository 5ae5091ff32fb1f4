"""Samples, health and events of GPUs, and of processes on them."""

import dataframely as dy

from ledger.tables.columns import (
    count,
    counter,
    duration,
    flag,
    gauge,
    instant,
    key,
    key_count,
    key_instant,
    number,
    quality,
    ratio,
    text,
)
from ledger.tables.partition import EDGE, Timed, table

SAMPLE_STATUS = ("ok", "lost", "error", "denied")


class NodeSample(dy.Schema):
    """What every row that a node sends carries."""

    sampled_at = key_instant("When the value was read")
    cluster = key("Cluster of the node")
    node = key("Node name")
    boot_id = text("Kernel boot id: counters start again with it")
    step_seconds = gauge("Pace of the collector: the expected time to the next row", max=86_400)


@table("sample", Timed("sampled_at", edge=EDGE), order=("cluster", "node", "gpu_uuid", "sampled_at"))
class GpuSample(NodeSample):
    """One GPU, or MIG slice, at one instant."""

    gpu_uuid = key("UUID as in the inventory, stable over reboots")
    status = text("ok, or why the device gave no values", nullable=False, among=SAMPLE_STATUS)
    status_reason = text("The driver's own word for a status that is not ok")
    evidence_quality = quality()
    kernel_active_ratio = ratio(
        "Share of the last sample window in which a kernel ran",
        source="nvmlDeviceGetUtilizationRates.gpu",
        otel="hw.gpu.utilization",
    )
    memory_active_ratio = ratio(
        "Share of the last sample window in which device memory was read or written",
        source="nvmlDeviceGetUtilizationRates.memory",
    )
    encoder_active_ratio = ratio(
        "Share of the last sample window in which the video encoder worked; no kernel need run",
        source="nvmlDeviceGetEncoderUtilization, DCGM 206",
    )
    decoder_active_ratio = ratio(
        "Share of the last sample window in which the video decoder worked; no kernel need run",
        source="nvmlDeviceGetDecoderUtilization, DCGM 207",
    )
    jpeg_active_ratio = ratio(
        "Share of the last sample window in which the JPEG decoder worked", source="nvmlDeviceGetJpgUtilization"
    )
    ofa_active_ratio = ratio(
        "Share of the last sample window in which the optical flow accelerator worked",
        source="nvmlDeviceGetOfaUtilization",
    )
    graphics_active_ratio = ratio(
        "Share of the interval in which any engine was active, weighted by time", source="NVML GPM 1, DCGM 1001"
    )
    sm_active_ratio = ratio("Share of SMs that had work, weighted by cycles", source="NVML GPM 2, DCGM 1002")
    sm_occupancy_ratio = ratio("Active warps against the most possible", source="NVML GPM 3, DCGM 1003")
    tensor_active_ratio = ratio("Share of cycles in which a tensor pipe was active", source="NVML GPM 5, DCGM 1004")
    tensor_half_active_ratio = ratio(
        "Share of cycles of the half-precision tensor pipe", source="NVML GPM 7, DCGM 1014"
    )
    tensor_integer_active_ratio = ratio("Share of cycles of the integer tensor pipe", source="NVML GPM 9, DCGM 1013")
    tensor_double_active_ratio = ratio("Share of cycles of the double-precision tensor pipe", source="NVML GPM 6")
    single_active_ratio = ratio(
        "Share of cycles of the single-precision pipe, without tensor cores", source="NVML GPM 12, DCGM 1007"
    )
    dram_active_ratio = ratio("Share of the peak memory bandwidth in use", source="NVML GPM 10, DCGM 1005")
    memory_used_bytes = gauge(
        "Device memory in use, without what the driver reserves",
        max=2**44,
        source="nvmlDeviceGetMemoryInfo_v2 (bytes)",
        otel="hw.gpu.memory.usage",
    )
    memory_total_bytes = gauge(
        "Device memory", max=2**44, source="nvmlDeviceGetMemoryInfo_v2 (bytes)", otel="hw.gpu.memory.limit"
    )
    power_watts = gauge("Board power draw", max=2_000, source="nvmlDeviceGetPowerUsage (mW)", otel="hw.power")
    module_power_watts = gauge(
        "Mean draw of the module that carries processor and GPU", max=10_000, source="NVML field 185, scope 1 (mW)"
    )
    memory_power_watts = gauge("Mean draw of the device memory", max=2_000, source="NVML field 185, scope 2 (mW)")
    power_limit_watts = gauge("Enforced board power limit", max=2_000, source="nvmlDeviceGetEnforcedPowerLimit (mW)")
    energy_joules_total = counter(
        "Energy since the driver was loaded", source="nvmlDeviceGetTotalEnergyConsumption (mJ)", otel="hw.energy"
    )
    temperature_celsius = gauge(
        "Core temperature", min=-50, max=200, source="nvmlDeviceGetTemperature", otel="hw.temperature"
    )
    memory_temperature_celsius = gauge("Memory temperature", min=-50, max=200, source="NVML field 82")
    sm_clock_hertz = gauge("SM clock", max=10e9, source="nvmlDeviceGetClockInfo(SM) (MHz)")
    sm_clock_max_hertz = gauge("Highest SM clock of the model", max=10e9, source="nvmlDeviceGetMaxClockInfo(SM) (MHz)")
    memory_clock_hertz = gauge("Memory clock", max=20e9, source="nvmlDeviceGetClockInfo(MEM) (MHz)")
    performance_state_index = number("P-state: 0 is the fastest", source="nvmlDeviceGetPerformanceState")
    clock_event_reasons_bitmask = number(
        "Why the clock is where it is, at this instant", source="nvmlDeviceGetCurrentClocksEventReasons"
    )
    hw_thermal_throttle_seconds_total = counter("Time slowed by the hardware for heat", source="NVML field 270 (ns)")
    sw_thermal_throttle_seconds_total = counter(
        "Time slowed by the driver for heat; all of heat where a driver before 570 does not tell by whom",
        source="NVML field 269, else 75 or nvmlDeviceGetViolationStatus (ns)",
    )
    power_brake_throttle_seconds_total = counter("Time slowed by an outer power brake", source="NVML field 271 (ns)")
    power_cap_seconds_total = counter("Time held at the power limit; normal at full load", source="NVML field 74 (ns)")
    pcie_transmit_bytes_total = counter("Bytes sent over PCIe", source="NVML field 197")
    pcie_receive_bytes_total = counter("Bytes received over PCIe", source="NVML field 198")
    nvlink_transmit_bytes_total = counter(
        "Bytes sent over all links to other GPUs (NVLink, xGMI)", source="NVML field 138 (KiB) or 202 (bytes)"
    )
    nvlink_receive_bytes_total = counter(
        "Bytes received over all links to other GPUs", source="NVML field 139 (KiB) or 204 (bytes)"
    )
    pcie_transmit_bytes_per_second = gauge("Mean since the last round", max=1e13, source="NVML GPM 20 (MiB/s)")
    pcie_receive_bytes_per_second = gauge("Mean since the last round", max=1e13, source="NVML GPM 21 (MiB/s)")
    nvlink_transmit_bytes_per_second = gauge("Mean since the last round", max=1e14, source="NVML GPM 61 (MiB/s)")
    nvlink_receive_bytes_per_second = gauge("Mean since the last round", max=1e14, source="NVML GPM 60 (MiB/s)")
    process_count = count(
        "Processes on the device; null where the list cannot be read", source="nvmlDeviceGetComputeRunningProcesses_v3"
    )
    process_job_ids = text(
        "Job ids of these processes, sorted, joined by commas; '' if none has one; null where nobody knows"
    )
    jobless_process_count = count("Processes on the device that belong to no job")
    collect_seconds = duration("What reading this device took")
    driver_seconds = duration("How much of it the driver worked on field values (latencyUsec)")


@table("sample", Timed("sampled_at"), order=("cluster", "node", "gpu_uuid", "sampled_at"))
class GpuProcessSample(NodeSample):
    """One process on one GPU at one instant."""

    gpu_uuid = key("NVML UUID of the GPU or MIG slice")
    pid_code = key_count("Process id in the host's namespace")
    process_name = text("Name of the executable, without its arguments")
    process_state = text("R, S, D, Z as the kernel says, or dead")
    user = text("Owner of the process")
    job_id = text("Scheduler job or pod it belongs to; '' if none", nullable=False)
    attribution_source = text("How the job was found: prolog, cgroup, pod_resources, environ, none")
    attribution_confidence_ratio = ratio("How far the source can be trusted")
    memory_used_bytes = gauge("Device memory of the process", max=2**44)
    kernel_active_ratio = ratio(
        "Share of the time in which a kernel of the process ran", source="nvmlDeviceGetProcessUtilization.smUtil"
    )


@table("slow_sample", Timed("sampled_at"), order=("cluster", "node", "gpu_uuid", "sampled_at"))
class GpuProcessRun(NodeSample):
    """One process that has ended on one GPU, by the driver's own account: polling misses the short ones."""

    gpu_uuid = key("NVML UUID of the GPU")
    pid_code = key_count("Process id in the host's namespace")
    process_start = instant("When it began to use the device", nullable=False)
    duration_seconds = duration("How long it used the device")
    kernel_active_ratio = ratio("Share of this time in which a kernel of it ran")
    memory_active_ratio = ratio("Share of this time in which it read or wrote device memory")
    memory_peak_bytes = gauge("Most device memory that it held", max=2**44)
    process_name = text("Name of the executable; null if no round saw it alive")
    user = text("Owner of the process; null if no round saw it alive")
    job_id = text("Job or pod it belonged to; '' if none, or if no round saw it alive", nullable=False)
    attribution_source = text("How the job was found; none if no round saw it alive")


@table("slow_sample", Timed("sampled_at"), order=("cluster", "node", "gpu_uuid", "sampled_at"))
class GpuHealthSample(NodeSample):
    """Health counters and configuration of one GPU at one instant."""

    gpu_uuid = key("NVML UUID")
    gpu_model = text("Product name")
    gpu_index = number("Index that NVML gives the device at present")
    pci_bus_id = text("PCI address")
    driver_version = text("Driver version")
    is_mig_enabled = flag("MIG mode is on")
    is_persistence_enabled = flag("The driver stays loaded without clients")
    is_ecc_enabled = flag("ECC is on")
    is_accounting_enabled = flag("The driver keeps account of processes that end")
    ecc_corrected_count_total = counter(
        "Corrected memory errors since the last reset", source="nvmlDeviceGetTotalEccErrors volatile"
    )
    ecc_uncorrected_count_total = counter(
        "Uncorrected memory errors since the last reset", source="nvmlDeviceGetTotalEccErrors volatile"
    )
    remapped_corrected_count = count("Rows remapped after corrected errors", source="nvmlDeviceGetRemappedRows")
    remapped_uncorrected_count = count(
        "Rows remapped after uncorrected errors: a healthy outcome", source="nvmlDeviceGetRemappedRows"
    )
    is_remap_pending = flag("A remap waits for a reset")
    is_remap_failed = flag("A remap failed: return the device")
    retired_page_count = count("Retired pages, before Ampere")
    recovery_action = text(
        "What the driver asks for: none, gpu_reset, node_reboot, drain_p2p, drain_and_reset, or action_N"
    )
    pcie_replay_count_total = counter("PCIe replays", source="NVML field 94")
    pcie_link_generation_index = number("PCIe generation now; drops when idle")
    pcie_link_width_count = count("PCIe lanes now")
    nvlink_active_count = count("NVLinks that are up")
    refused = text("What the driver does not give of this device, and why; '' if it gives all; null from older agents")


@table("event", Timed("occurred_at"))
class GpuEvent(dy.Schema):
    """Something that happened to one GPU at one instant."""

    occurred_at = key_instant("When it happened, or was first seen")
    cluster = key("Cluster of the node")
    node = key("Node name")
    gpu_uuid = key("NVML UUID; '' if only the PCI address is known")
    event = key(
        "xid, lost, recovered, reset, driver_reload, remap_failed, recovery_action, unavailable, ecc_uncorrected, "
        "ecc_corrected_storm, page_retired, page_retirement_failed, poison_contained, poison_fatal"
    )
    xid_code = key_count("Xid, 0 for events of another kind")
    is_critical = flag("It opens a fault", nullable=False)
    message = text("The source's own text")
    source = text("nvml, kernel_log, collector, simulation")


@table("event", Timed("occurred_at"))
class NodeEvent(dy.Schema):
    """Something that happened to one node at one instant."""

    occurred_at = key_instant("When it happened")
    cluster = key("Cluster of the node")
    node = key("Node name")
    event = key(
        "agent_started, agent_stopped, another_agent, clock_jump, suspended, boot, rows_dropped, rows_damaged, "
        "rows_refused, spool_damaged"
    )
    message = text("What was seen")
    amount_seconds = gauge("Size of a clock jump, or how long the node was suspended", min=-1e9, max=1e9)
    row_count = count("Rows that were dropped, damaged, or refused by the hub")


__all__ = ["GpuEvent", "GpuHealthSample", "GpuProcessRun", "GpuProcessSample", "GpuSample", "NodeEvent", "NodeSample"]
