"""What GPUs did, as a share of their time and in GPU-hours, what they do now, what jobs held, and what limits them."""

from collections.abc import Mapping
from typing import Final

import polars as pl

from ledger.expressions import per, total
from ledger.names import BOTTLENECKS, IDLE_STATES, Bottleneck, State
from queries.measure import Measure

_HOUR: Final = 3600

# For one team the rows are of what its jobs held, and so is the whole.
_TIME: Final = ("state_hours", "team_state_hours")

_NOW: Final = ("devices_now",)

STATES_SAY: Final[Mapping[State, str]] = {
    "unknown": "of which nothing was seen, or what was seen decides nothing; it is no saving",
    "faulty": "in which the device or its node was broken or drained",
    "orphaned": "in which a process of no live job held the device; it stands beside idle",
    "unallocated": "that nobody held",
    "allocated_idle": "that a job held without a process on the device",
    "held_idle": "in which a job's process held the device and did nothing",
    "throttled": "in which the device was slowed for heat or by a power brake",
    "underused": "in which less than a quarter of the device was busy",
    "productive": "in which the device was busy, not throttled and not underused",
}
"""What time in a state is: *GPU time that nobody held*."""

_LIMITS_SAY: Final[Mapping[Bottleneck, str]] = {
    "input_storage": "waited for storage",
    "input_cpu": "waited for processors that prepare input",
    "host_memory": "waited for memory of the node",
    "communication": "waited for other devices",
    "dram_bound": "was limited by device memory bandwidth",
    "compute_tensor": "was limited by the tensor pipes: the best there is",
    "compute_other": "was limited by pipes other than the tensor ones",
    "launch_bound": "was limited by launching small kernels",
    "power_capped": "was held at the power limit",
    "straggler": "was slower than its peers",
    "idle": "was idle",
    "throttled": "was slowed for heat or by a power brake",
    "unknown": "lacks evidence",
}


def _hours(*states: State) -> pl.Expr:
    hours = pl.col("gpu_hours").cast(pl.Float64)
    mine = hours.filter(pl.col("state").is_in(states)) if states else hours
    return pl.when(hours.is_not_null().any()).then(mine.sum())


def _title(name: str) -> str:
    return name.replace("_", " ").capitalize()


GPU_HOURS: Final = Measure(
    "gpu_hours",
    "GPU-hours",
    "Hours in which GPUs existed, seen or not; a slice counts as its part of the device. For one team: what it held.",
    _TIME,
    "count",
    _hours(),
)
STATE_GPU_HOURS: Final[Mapping[State, Measure]] = {
    state: Measure(f"{state}_gpu_hours", _title(state), f"GPU-hours {says}.", _TIME, "count", _hours(state))
    for state, says in STATES_SAY.items()
}
STATE_RATIOS: Final[Mapping[State, Measure]] = {
    state: Measure(
        f"{state}_ratio",
        f"{_title(state)} time",
        f"Share of existing GPU time {says}.",
        _TIME,
        "ratio",
        per(_hours(state), _hours()),
    )
    for state, says in STATES_SAY.items()
}
IDLE_GPU_HOURS: Final = Measure(
    "idle_gpu_hours",
    "Idle",
    "GPU-hours that were unallocated, allocated idle or held idle.",
    _TIME,
    "count",
    _hours(*IDLE_STATES),
)
IDLE_RATIO: Final = Measure(
    "idle_ratio",
    "Idle GPU time",
    "Share of existing GPU time that was unallocated, allocated idle or held idle. Unknown is not idle.",
    _TIME,
    "ratio",
    per(_hours(*IDLE_STATES), _hours()),
)


def _now(name: str, title: str, means: str, *states: State) -> Measure:
    return Measure(f"{name}_gpu_count", title, means, _NOW, "count", pl.col("state").is_in(states).sum())


NOW_GPUS: Final = Measure("gpu_count", "GPUs", "GPUs that exist at this moment.", _NOW, "count", pl.len())
NOW_FREE: Final = _now("free", "Free", "Nobody holds them.", "unallocated")
NOW_IDLE: Final = _now("idle_now", "Held and idle", "A job holds them and does nothing.", "allocated_idle", "held_idle")
NOW_PRODUCTIVE: Final = _now("productive_now", "Productive", "Busy, not throttled, not underused.", "productive")
NOW_LOST: Final = _now("lost_now", "Faulty, unknown", "Broken, drained, or not seen.", "faulty", "unknown")
WANTED_GPUS: Final = Measure(
    "wanted_gpu_count",
    "GPUs wanted",
    "GPUs that waiting jobs ask for.",
    ("pending_jobs",),
    "count",
    pl.col("requested_gpu_count").sum(),
)

PENDING_JOBS: Final = Measure(
    "pending_job_count",
    "Jobs that wait",
    "Jobs that ask for GPUs and have not started.",
    ("pending_jobs",),
    "count",
    pl.len(),
)

IDLE_INCIDENTS: Final = Measure(
    "open_incident_count",
    "Held and idle now",
    "GPUs that a job holds and has left idle for longer than the setting allows.",
    ("open_incidents",),
    "count",
    pl.len(),
)

RUN: Final = ("cluster", "job_id", "submitted_at", "restart_count")
"""One run of a job: ids recur."""

# A run stands once for each currency in which it cost something.
_RUN_ONCE: Final = pl.struct(*RUN).is_first_distinct()


def _runs(column: str) -> pl.Expr:
    seconds = pl.col(column).cast(pl.Float64).filter(_RUN_ONCE)
    return pl.when(seconds.is_not_null().any()).then(seconds.sum())


JOB_COUNT: Final = Measure(
    "job_count",
    "Job runs",
    "Runs of jobs that ran or waited; a requeue is a new one.",
    ("jobs",),
    "count",
    _RUN_ONCE.sum(),
)
WAITING_COUNT: Final = Measure(
    "waiting_job_count",
    "Waiting",
    "Runs of jobs that have not started.",
    ("jobs",),
    "count",
    (_RUN_ONCE & (pl.col("state") == "PENDING")).sum(),
)
HELD_GPU_HOURS: Final = Measure(
    "held_gpu_hours",
    "GPU-hours held",
    "GPU time that jobs held from start to end, as their share of each device.",
    ("jobs",),
    "count",
    _runs("gpu_allocated_seconds") / _HOUR,
)
HELD_IDLE_RATIO: Final = Measure(
    "held_idle_of_held_ratio",
    "Idle while held",
    "Allocated idle and held idle, of the GPU time that jobs held. Where only a mean is known, below 5 % is idle.",
    ("jobs",),
    "ratio",
    per(_runs("gpu_idle_seconds"), _runs("gpu_allocated_seconds")),
)
HELD_PRODUCTIVE_RATIO: Final = Measure(
    "productive_of_held_ratio",
    "Productive",
    "Share of the GPU time that jobs held in which the device worked.",
    ("jobs",),
    "ratio",
    per(_runs("gpu_productive_seconds"), _runs("gpu_allocated_seconds")),
)

_CLASS_ONCE: Final = pl.struct(*RUN, "bottleneck").is_first_distinct()


def _limited(*classes: Bottleneck) -> pl.Expr:
    counts = _CLASS_ONCE & pl.col("bottleneck").is_in(classes) if classes else _CLASS_ONCE
    return total(pl.col("gpu_seconds").cast(pl.Float64).filter(counts))


LIMITED_GPU_HOURS: Final = Measure(
    "limited_gpu_hours",
    "GPU-hours",
    "GPU-hours that jobs held and that samples tell something of.",
    ("bottleneck_jobs",),
    "count",
    _limited() / _HOUR,
)
LIMITED_RATIOS: Final[Mapping[Bottleneck, Measure]] = {
    name: Measure(
        f"limited_{name}_ratio",
        _title(name),
        f"Of the GPU time that jobs held, the share that {_LIMITS_SAY[name]}.",
        ("bottleneck_jobs",),
        "ratio",
        per(_limited(name), _limited()),
    )
    for name in BOTTLENECKS
}
