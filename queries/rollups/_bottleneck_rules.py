"""What limits a busy device: one score per class, from its own counters and those of its node.

A score says how far the evidence lies beyond the thresholds of its class, as a part of the way that is left:
0 at the threshold, 1 at the end of the scale. Missing evidence is no evidence: the class does not match.
Source of the thresholds: published rules (SageMaker Debugger, TensorFlow profiler, DCGM guidance, NCCL spin
signature), collected in one table; they are constants because a mix is compared over sites and over time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from ledger.expressions import per
from ledger.names import Bottleneck

MARGIN: Final = 0.05
"""A class that is met by less than this gives way to a later one that is met by more."""

_NEVER: Final = -1.0

INPUT_BELOW: Final = 0.70
PRESSURE_FROM: Final = 0.20
IOWAIT_FROM: Final = 0.50
PROCESSORS_FROM: Final = 0.90
MEMORY_PRESSURE_FROM: Final = 0.10
SPIN_FROM: Final = 0.95
NETWORK_FROM: Final = 0.60
STRAGGLER_BELOW: Final = 0.85
PEERS: Final = 4
STRAGGLER_MINUTES: Final = 5
CAPPED_FROM: Final = 0.50
FULL_CLOCK: Final = 0.90
DRAM_FROM: Final = 0.60
DRAM_TENSOR_BELOW: Final = 0.25
TENSOR_FROM: Final = 0.30
OTHER_FROM: Final = 0.60
OTHER_TENSOR_BELOW: Final = 0.05
LAUNCH_FROM: Final = 0.50
LAUNCH_SM_BELOW: Final = 0.25

_QUALITY_CONFIDENCE: Final = {"A": 0.9, "B": 0.6, "C": 0.5, "D": 0.3, "X": 0.1}
_RESIDUAL_CONFIDENCE: Final = 0.3
_SHARED_CONFIDENCE: Final = 0.5
_CLEAR_SCORE: Final = 0.3


@dataclass(frozen=True)
class Class:
    """One class: its score, the three numbers that a person is shown for it, and whose evidence it is."""

    name: Bottleneck
    score: pl.Expr
    evidence: tuple[str, str, str]
    is_host_level: bool = False


def above(column: str, threshold: float) -> pl.Expr:
    """Return how far a ratio lies above a threshold."""
    return ((pl.col(column) - threshold) / (1 - threshold)).fill_null(_NEVER)


def below(column: str, threshold: float) -> pl.Expr:
    """Return how far a ratio lies below a threshold."""
    return ((threshold - pl.col(column)) / threshold).fill_null(_NEVER)


def every(*scores: pl.Expr) -> pl.Expr:
    """Return the weakest of the conditions that must all hold."""
    return pl.min_horizontal(*scores)


def either(*scores: pl.Expr) -> pl.Expr:
    """Return the strongest of the conditions of which one must hold."""
    return pl.max_horizontal(*scores)


def _where(condition: pl.Expr, score: pl.Expr) -> pl.Expr:
    """Return a score where a condition holds, and no match elsewhere."""
    return pl.when(condition.fill_null(value=False)).then(score).otherwise(_NEVER)


_PROFILED = pl.col("evidence_quality") == "A"
_OVER_DEVICES = pl.col("job_device_count") > 1

CLASSES: Final[tuple[Class, ...]] = (
    Class(
        "input_storage",
        every(
            below("active_ratio", INPUT_BELOW),
            either(above("node_io_pressure_ratio", PRESSURE_FROM), above("node_cpu_iowait_ratio", IOWAIT_FROM)),
        ),
        ("active_ratio", "node_io_pressure_ratio", "node_cpu_iowait_ratio"),
        is_host_level=True,
    ),
    Class(
        "input_cpu",
        every(
            below("active_ratio", INPUT_BELOW),
            either(above("node_cpu_pressure_ratio", PRESSURE_FROM), above("node_cpu_active_ratio", PROCESSORS_FROM)),
        ),
        ("active_ratio", "node_cpu_pressure_ratio", "node_cpu_active_ratio"),
        is_host_level=True,
    ),
    Class(
        "host_memory",
        _where(_PROFILED, above("node_memory_pressure_ratio", MEMORY_PRESSURE_FROM)),
        ("node_memory_pressure_ratio", "active_ratio", "node_io_pressure_ratio"),
        is_host_level=True,
    ),
    # Devices that wait for each other look fully busy. Either the wire says so, or the power does: a kernel that
    # only spins draws little, moves no memory and uses no tensor pipe.
    Class(
        "communication",
        _where(
            _PROFILED & _OVER_DEVICES,
            either(
                every(
                    above("active_ratio", INPUT_BELOW),
                    below("tensor_active_ratio", TENSOR_FROM),
                    above("node_network_active_ratio", NETWORK_FROM),
                ),
                every(
                    above("active_ratio", SPIN_FROM),
                    below("power_ratio", 0.5),
                    below("dram_active_ratio", 0.2),
                    below("tensor_active_ratio", 0.1),
                ),
            ),
        ),
        ("active_ratio", "node_network_active_ratio", "power_ratio"),
    ),
    Class(
        "straggler",
        _where(_PROFILED & pl.col("is_straggler"), below("peer_ratio", STRAGGLER_BELOW)),
        ("peer_ratio", "active_ratio", "sm_active_ratio"),
    ),
    # At full clocks a device at its power limit loses nothing.
    Class(
        "power_capped",
        every(above("power_capped_ratio", CAPPED_FROM), below("sm_clock_ratio", FULL_CLOCK)),
        ("power_capped_ratio", "sm_clock_ratio", "active_ratio"),
    ),
    Class(
        "dram_bound",
        _where(
            _PROFILED, every(above("dram_active_ratio", DRAM_FROM), below("tensor_active_ratio", DRAM_TENSOR_BELOW))
        ),
        ("dram_active_ratio", "tensor_active_ratio", "sm_active_ratio"),
    ),
    Class(
        "compute_tensor",
        _where(_PROFILED, above("tensor_active_ratio", TENSOR_FROM)),
        ("tensor_active_ratio", "sm_active_ratio", "dram_active_ratio"),
    ),
    Class(
        "launch_bound",
        _where(_PROFILED, every(above("active_ratio", LAUNCH_FROM), below("sm_active_ratio", LAUNCH_SM_BELOW))),
        ("active_ratio", "sm_active_ratio", "tensor_active_ratio"),
    ),
    Class(
        "compute_other",
        _where(
            _PROFILED, every(above("sm_active_ratio", OTHER_FROM), below("tensor_active_ratio", OTHER_TENSOR_BELOW))
        ),
        ("sm_active_ratio", "tensor_active_ratio", "active_ratio"),
    ),
)
"""In the order in which they are tried. Without profiling only inputs and the power cap can be told."""

LEDGER_EVIDENCE: Final[dict[Bottleneck, tuple[str, str, str]]] = {
    "idle": ("active_ratio", "node_io_pressure_ratio", "node_cpu_pressure_ratio"),
    "throttled": ("sm_clock_ratio", "power_ratio", "active_ratio"),
    "unknown": ("coverage_ratio", "active_ratio", "power_ratio"),
}
"""What is shown for a minute that the ledger has decided already."""


def measures() -> list[pl.Expr]:
    """Return the ratios that the scores read and `gpu_minute` does not carry."""
    whole = 1.0
    return [
        # Above its limit for a moment, a board uses all of it.
        pl.min_horizontal(per("power_watts", "power_limit_watts"), whole).alias("power_ratio"),
        pl.min_horizontal(per("power_capped_seconds", "observed_seconds"), whole).alias("power_capped_ratio"),
        per("observed_seconds", "existed_seconds").fill_null(0.0).alias("coverage_ratio"),
    ]


def active() -> pl.Expr:
    """Return how active the device was, by the best evidence that its quality allows."""
    quality = pl.col("evidence_quality")
    return (
        pl.when(quality == "A")
        .then(pl.coalesce("graphics_active_ratio", "sm_active_ratio"))
        .when(quality.is_in(["B", "C"]))
        .then("kernel_active_ratio")
        .when(quality == "D")
        .then("power_ratio")
        .alias("active_ratio")
    )


def active_name() -> pl.Expr:
    """Return which number `active_ratio` is."""
    quality = pl.col("evidence_quality")
    return (
        pl.when(quality == "A")
        .then(
            pl.when(pl.col("graphics_active_ratio").is_not_null())
            .then(pl.lit("graphics_active_ratio"))
            .otherwise(pl.lit("sm_active_ratio"))
        )
        .when(quality.is_in(["B", "C"]))
        .then(pl.lit("kernel_active_ratio"))
        .when(quality == "D")
        .then(pl.lit("power_ratio"))
    )


def score_name(each: Class) -> str:
    """Return the column that holds a class's score."""
    return f"score_{each.name}"


def winner() -> pl.Expr:
    """Return the first class that is met with margin, else the first that is met, else `compute_other`.

    Busy time for which no class has evidence stays busy time: it is `compute_other` with a low confidence and
    never `unknown`, because `unknown` is what the ledger calls unknown.
    """
    clear = [pl.when(pl.col(score_name(each)) >= MARGIN).then(pl.lit(each.name)) for each in CLASSES]
    met = [pl.when(pl.col(score_name(each)) >= 0).then(pl.lit(each.name)) for each in CLASSES]
    return pl.coalesce(*clear, *met, pl.lit("compute_other"))


def runner_up(chosen: str) -> pl.Expr:
    """Return the next class that is met besides the chosen one."""
    return pl.coalesce(
        *(
            pl.when((pl.col(score_name(each)) >= 0) & (pl.col(chosen) != each.name)).then(pl.lit(each.name))
            for each in CLASSES
        )
    )


def idle_cause() -> pl.Expr:
    """Return what a process that holds the device and does nothing waits for, where its node says so."""
    reasons: Sequence[tuple[Bottleneck, pl.Expr]] = (
        (
            "input_storage",
            either(above("node_io_pressure_ratio", PRESSURE_FROM), above("node_cpu_iowait_ratio", IOWAIT_FROM)),
        ),
        (
            "input_cpu",
            either(above("node_cpu_pressure_ratio", PRESSURE_FROM), above("node_cpu_active_ratio", PROCESSORS_FROM)),
        ),
        ("host_memory", above("node_memory_pressure_ratio", MEMORY_PRESSURE_FROM)),
    )
    return pl.coalesce(*(pl.when(score >= 0).then(pl.lit(name)) for name, score in reasons))


def evidence_name(chosen: str, place: int) -> pl.Expr:
    """Return the name of one of the three numbers behind the chosen class."""
    return pl.coalesce(
        *(
            pl.when(pl.col(chosen) == name).then(
                active_name() if numbers[place] == "active_ratio" else pl.lit(numbers[place])
            )
            for name, numbers in _numbers().items()
        )
    )


def evidence_value(chosen: str, place: int) -> pl.Expr:
    """Return one of the three numbers behind the chosen class."""
    return pl.coalesce(
        *(pl.when(pl.col(chosen) == name).then(pl.col(numbers[place])) for name, numbers in _numbers().items())
    )


def _numbers() -> dict[Bottleneck, tuple[str, str, str]]:
    """Return the three numbers of each class."""
    return {**{each.name: each.evidence for each in CLASSES}, **LEDGER_EVIDENCE}


def confidence(chosen: str) -> pl.Expr:
    """Return how far the evidence goes: its quality, its distance from the threshold, and who else was there."""
    quality = pl.col("evidence_quality").replace_strict(_QUALITY_CONFIDENCE, default=0.1, return_dtype=pl.Float64)
    score = pl.coalesce(*(pl.when(pl.col(chosen) == each.name).then(pl.col(score_name(each))) for each in CLASSES))
    clear = 0.6 + 0.4 * pl.min_horizontal(score / _CLEAR_SCORE, 1.0)
    distance = pl.when(score.is_null()).then(1.0).when(score < 0).then(_RESIDUAL_CONFIDENCE).otherwise(clear)
    host_level = pl.col(chosen).is_in([each.name for each in CLASSES if each.is_host_level])
    shared_node = host_level & (pl.col("node_job_count") > 1).fill_null(value=False)
    shared_device = pl.col("holder_count") > 1
    return (
        quality
        * pl.col("coverage_ratio").fill_null(0.0).clip(0.0, 1.0)
        * distance
        * pl.when(shared_node).then(_SHARED_CONFIDENCE).otherwise(1.0)
        * pl.when(shared_device).then(_SHARED_CONFIDENCE).otherwise(1.0)
    )
