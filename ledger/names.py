"""The words of the ledger, said once.

Source: the nine states and the bottleneck classes are this project's own contract; bucket names
and charge categories follow FOCUS and OpenCost usage.
"""

from datetime import UTC, datetime
from typing import Final, Literal, get_args

State = Literal[
    "unknown",
    "faulty",
    "orphaned",
    "unallocated",
    "allocated_idle",
    "held_idle",
    "throttled",
    "underused",
    "productive",
]
"""What one GPU did in one stretch of time. Exclusive and complete."""

STATES: Final[tuple[State, ...]] = get_args(State)

IDLE_STATES: Final[tuple[State, ...]] = ("unallocated", "allocated_idle", "held_idle")
"""What *idle* means wherever a person reads it: always shown as these three parts."""

HELD_IDLE_STATES: Final[tuple[State, ...]] = ("allocated_idle", "held_idle")
"""Idle time that a job pays for."""


EvidenceQuality = Literal["A", "B", "C", "D", "X"]
"""A: GPM or DCGM profiling. B: NVML sample buffer. C: duty cycle. D: power proxy. X: none."""

EVIDENCE_QUALITIES: Final[tuple[EvidenceQuality, ...]] = get_args(EvidenceQuality)

ATTRIBUTION_SOURCES: Final = ("cgroup", "prolog", "pod_resources", "environ")
"""What on a node tells which job a process belongs to; `none` is said where nothing does."""

Bottleneck = Literal[
    "input_storage",
    "input_cpu",
    "host_memory",
    "communication",
    "dram_bound",
    "compute_tensor",
    "compute_other",
    "launch_bound",
    "power_capped",
    "straggler",
    "idle",
    "throttled",
    "unknown",
]
"""What limited a job's GPU time."""

BOTTLENECKS: Final[tuple[Bottleneck, ...]] = get_args(Bottleneck)

ChargeCategory = Literal["Usage", "Purchase", "Tax", "Credit", "Adjustment"]
"""FOCUS ChargeCategory."""

CHARGE_CATEGORIES: Final[tuple[ChargeCategory, ...]] = get_args(ChargeCategory)

UNATTRIBUTED: Final = "unattributed"
"""The model of a job that no naming rule names."""

UNASSIGNED: Final = "unassigned"
"""The team of a job that no team rule names."""

PROCESS_OWNER: Final = "user:"
"""Stands before a user's name for a job where no scheduler runs: the owner of a process holds the device."""

NOBODY_AT: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""The submit time in a key where nothing has a holder, as '' is its job."""

WORKLOAD_KINDS: Final = ("training", "inference", "notebook", "batch", "")
