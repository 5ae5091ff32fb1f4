"""Events of the simulated estate: faults as the driver and the collector tell them, agents and boots."""

from typing import Final

import polars as pl

from collectors.simulate.frames import Column, frame
from collectors.simulate.shapes import STEP, Cluster, instant
from ledger.tables import GpuEvent, NodeEvent

_CRITICAL_XID: Final = 79
_APPLICATION_XID: Final = 31
_EVERY_NINTH: Final = 9


def gpu_events(cluster: Cluster, lower: int, upper: int) -> pl.DataFrame:
    """Return the faults that open and end in [lower, upper), and some that a failed job made itself."""
    rows: list[tuple[int, int, str, int, str]] = []
    for fault in cluster.faults:
        if fault.kind == "xid":
            rows.append((fault.start, fault.devices[0], "xid", _CRITICAL_XID, "GPU has fallen off the bus."))
            rows.append((fault.start, fault.devices[0], "lost", 0, "NVML_ERROR_GPU_IS_LOST"))
        if fault.end < cluster.end:
            word, message = (
                ("recovered", "GPU answers again") if fault.kind == "xid" else ("driver_reload", "driver loaded")
            )
            rows.extend((fault.end, device, word, 0, message) for device in fault.devices)
    rows.extend(
        (job.ended - STEP, job.devices[0], "xid", _APPLICATION_XID, f"MMU fault of pid {job.index + 2_000}")
        for job in cluster.jobs
        if job.state == "FAILED" and job.ended is not None and job.devices and job.index % _EVERY_NINTH == 0
    )
    inside = sorted(row for row in rows if lower <= row[0] < upper)
    nodes = [cluster.nodes[cluster.devices[row[1]].node] for row in inside]
    data: dict[str, Column] = {
        "occurred_at": [instant(row[0]) for row in inside], "cluster": [node.provider.cluster for node in nodes],
        "node": [node.name for node in nodes], "gpu_uuid": [cluster.devices[row[1]].uuid for row in inside],
        "event": [row[2] for row in inside], "xid_code": [row[3] for row in inside],
        "is_critical": [row[2] == "lost" or row[3] == _CRITICAL_XID for row in inside],
        "message": [row[4] for row in inside], "source": "simulation",
    }  # fmt: skip
    return frame(GpuEvent, data, len(inside))


def node_events(cluster: Cluster, lower: int, upper: int) -> pl.DataFrame:
    """Return starts and stops of agents, and boots, in [lower, upper)."""
    found: list[tuple[int, int, str, str]] = []
    for node in cluster.nodes:
        found.append((node.start, node.index, "agent_started", "agent 0.1.0"))
        if node.end is not None:
            found.append((node.end, node.index, "agent_stopped", "node left"))
    found.extend((gap.end, gap.node, "agent_started", "agent 0.1.0") for gap in cluster.gaps)
    found.extend(
        (fault.end, fault.node, "boot", "kernel started")
        for fault in cluster.faults
        if fault.kind == "down" and fault.end < cluster.end
    )
    inside = sorted(each for each in found if lower <= each[0] < upper)
    nodes = [cluster.nodes[each[1]] for each in inside]
    data: dict[str, Column] = {
        "occurred_at": [instant(each[0]) for each in inside], "cluster": [node.provider.cluster for node in nodes],
        "node": [node.name for node in nodes], "event": [each[2] for each in inside],
        "message": [each[3] for each in inside],
    }  # fmt: skip
    return frame(NodeEvent, data, len(inside))
