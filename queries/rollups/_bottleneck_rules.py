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

from ledger.names import BOTTLENECKS, Bottleneck
from queries.rollups._bottleneck_numbers import PROFILED, above, below, either, every, name_of, own, value_of, where

MARGIN: Final = 0.05
"""A class that is met by less than this gives way to a later one that is met by more."""

INPUT_BELOW: Final = 0.70
PRESSURE_FROM: Final = 0.20
IOWAIT_FROM: Final = 0.50
FILE_SYSTEM_FROM: Final = 0.50
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
    host_level: tuple[str, float] | None = None
    """Where the node's evidence is: the resource that is waited for, and from which share on."""


_WAITS_FOR_STORAGE = either(
    above("io_pressure_ratio", PRESSURE_FROM),
    above("node_cpu_iowait_ratio", IOWAIT_FROM),
    above("node_file_system_wait_ratio", FILE_SYSTEM_FROM),
)
_WAITS_FOR_PROCESSORS = either(
    above("cpu_pressure_ratio", PRESSURE_FROM), above("node_cpu_active_ratio", PROCESSORS_FROM)
)
_OVER_DEVICES = pl.col("job_device_count") > 1

CLASSES: Final[tuple[Class, ...]] = (
    Class(
        "input_storage",
        every(below("active_ratio", INPUT_BELOW), _WAITS_FOR_STORAGE),
        ("active_ratio", "io_pressure_ratio", "read_wait_ratio"),
        host_level=("io", PRESSURE_FROM),
    ),
    Class(
        "input_cpu",
        every(below("active_ratio", INPUT_BELOW), _WAITS_FOR_PROCESSORS),
        ("active_ratio", "cpu_pressure_ratio", "node_cpu_active_ratio"),
        host_level=("cpu", PRESSURE_FROM),
    ),
    Class(
        "host_memory",
        where(PROFILED, above("memory_pressure_ratio", MEMORY_PRESSURE_FROM)),
        ("memory_pressure_ratio", "active_ratio", "io_pressure_ratio"),
        host_level=("memory", MEMORY_PRESSURE_FROM),
    ),
    # Devices that wait for each other look fully busy. Either the wire says so, or the power does: a kernel that
    # only spins draws little, moves no memory and uses no tensor pipe.
    Class(
        "communication",
        where(
            PROFILED & _OVER_DEVICES,
            either(
                every(
                    above("active_ratio", INPUT_BELOW),
                    below("tensor_active_ratio", TENSOR_FROM),
                    either(
                        above("node_network_active_ratio", NETWORK_FROM), above("nvlink_active_ratio", NETWORK_FROM)
                    ),
                ),
                every(
                    above("active_ratio", SPIN_FROM),
                    below("power_ratio", 0.5),
                    below("dram_active_ratio", 0.2),
                    below("tensor_active_ratio", 0.1),
                ),
            ),
        ),
        ("active_ratio", "link_active_ratio", "power_ratio"),
    ),
    Class(
        "straggler",
        where(PROFILED & pl.col("is_straggler"), below("peer_ratio", STRAGGLER_BELOW)),
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
        where(PROFILED, every(above("dram_active_ratio", DRAM_FROM), below("tensor_active_ratio", DRAM_TENSOR_BELOW))),
        ("dram_active_ratio", "tensor_active_ratio", "sm_active_ratio"),
    ),
    Class(
        "compute_tensor",
        where(PROFILED, above("tensor_active_ratio", TENSOR_FROM)),
        ("tensor_active_ratio", "sm_active_ratio", "dram_active_ratio"),
    ),
    Class(
        "launch_bound",
        where(PROFILED, every(above("active_ratio", LAUNCH_FROM), below("sm_active_ratio", LAUNCH_SM_BELOW))),
        ("active_ratio", "sm_active_ratio", "tensor_active_ratio"),
    ),
    Class(
        "compute_other",
        where(PROFILED, every(above("sm_active_ratio", OTHER_FROM), below("tensor_active_ratio", OTHER_TENSOR_BELOW))),
        ("sm_active_ratio", "tensor_active_ratio", "active_ratio"),
    ),
)
"""In the order in which they are tried. Without profiling only inputs and the power cap can be told."""

LEDGER_EVIDENCE: Final[dict[Bottleneck, tuple[str, str, str]]] = {
    "idle": ("active_ratio", "io_pressure_ratio", "cpu_pressure_ratio"),
    "throttled": ("sm_clock_ratio", "power_ratio", "active_ratio"),
    "unknown": ("coverage_ratio", "active_ratio", "power_ratio"),
}
"""What is shown for a minute that the ledger has decided already."""

_NUMBERS: Final = {**{each.name: each.evidence for each in CLASSES}, **LEDGER_EVIDENCE}


def score_name(name: Bottleneck) -> str:
    """Return the column that holds a class's score."""
    return f"score_{name}"


def judged(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows with the class of their busy part, or what the ledger says where there is none, and its evidence.

    Busy time for which no class has evidence stays busy time: it is `compute_other` with a low confidence and
    never `unknown`, because `unknown` is what the ledger calls unknown.
    """
    scores = (each.score.cast(pl.Float32).alias(score_name(each.name)) for each in CLASSES)
    scored = rows.with_columns(scores).with_columns(_winner().alias("class"))
    parts = []
    for (place,), part in scored.partition_by("class", as_dict=True).items():
        name = BOTTLENECKS[int(place)]
        words = zip(("first", "second", "third"), _NUMBERS[name], strict=True)
        parts.append(
            part.with_columns(
                pl.lit(name).alias("bottleneck"),
                _runner_up(name).alias("runner_up"),
                _confidence(name, rows).alias("confidence_ratio"),
                *(
                    column
                    for word, number in words
                    for column in (
                        name_of(number, rows).alias(f"{word}_evidence"),
                        value_of(number).alias(f"{word}_evidence_ratio"),
                    )
                ),
            )
        )
    return pl.concat(parts)


def idle_cause() -> pl.Expr:
    """Return what a process that holds the device and does nothing waits for, where its node says so."""
    reasons: Sequence[tuple[Bottleneck, pl.Expr]] = (
        ("input_storage", _WAITS_FOR_STORAGE),
        ("input_cpu", _WAITS_FOR_PROCESSORS),
        ("host_memory", above("memory_pressure_ratio", MEMORY_PRESSURE_FROM)),
    )
    return pl.coalesce(pl.when(score >= 0).then(pl.lit(name)) for name, score in reasons)


def _winner() -> pl.Expr:
    """Return the place of the first class that is met with margin, else of the first that is met, else of the rest."""
    unknown = pl.col("held_ms") - pl.col("idle_ms") - pl.col("throttled_ms")
    decided = (
        pl.when(pl.col("idle_ms") >= pl.max_horizontal("throttled_ms", unknown))
        .then(_place("idle"))
        .when(pl.col("throttled_ms") >= unknown)
        .then(_place("throttled"))
        .otherwise(_place("unknown"))
    )
    clear = [pl.when(pl.col(score_name(each.name)) >= MARGIN).then(_place(each.name)) for each in CLASSES]
    met = [pl.when(pl.col(score_name(each.name)) >= 0).then(_place(each.name)) for each in CLASSES]
    limited = pl.coalesce(*clear, *met, _place("compute_other"))
    return pl.when(pl.col("limited_ms") > 0).then(limited).otherwise(decided)


def _place(name: Bottleneck) -> pl.Expr:
    """Return a class as its place in the list of all."""
    return pl.lit(BOTTLENECKS.index(name), dtype=pl.Int8)


def _runner_up(name: Bottleneck) -> pl.Expr:
    """Return the next class that is met besides the chosen one; none where the ledger has decided."""
    nothing = pl.lit(None, pl.String)
    if name in LEDGER_EVIDENCE:
        return nothing
    others = [each.name for each in CLASSES if each.name != name]
    return pl.coalesce(*(pl.when(pl.col(score_name(each)) >= 0).then(pl.lit(each)) for each in others), nothing)


def _confidence(name: Bottleneck, rows: pl.DataFrame) -> pl.Expr:
    """Return how far the evidence goes: its quality, its distance from the threshold, and who else was there."""
    quality = pl.col("evidence_quality").replace_strict(_QUALITY_CONFIDENCE, default=0.1, return_dtype=pl.Float64)
    distance = pl.lit(1.0)
    if name not in LEDGER_EVIDENCE:
        score = pl.col(score_name(name)).cast(pl.Float64)
        clear = 0.6 + 0.4 * pl.min_horizontal(score / _CLEAR_SCORE, 1.0)
        distance = pl.when(score < 0).then(_RESIDUAL_CONFIDENCE).otherwise(clear)
    return (
        quality
        * pl.col("coverage_ratio").fill_null(0.0).clip(0.0, 1.0)
        * distance
        * pl.when(_is_others(name, rows)).then(_SHARED_CONFIDENCE).otherwise(1.0)
        * pl.when(pl.col("holder_count") > 1).then(_SHARED_CONFIDENCE).otherwise(1.0)
    )


def _is_others(name: Bottleneck, rows: pl.DataFrame) -> pl.Expr:
    """Return whether the evidence may be another job's: of a node that several share, and not of the job's cgroup."""
    host_level = next((each.host_level for each in CLASSES if each.name == name), None)
    return pl.lit(value=False) if host_level is None else pl.col("is_shared_node") & ~own(*host_level, rows)
