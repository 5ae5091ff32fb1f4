"""What a device did in each minute: means weighted by time, and what its counters grew by."""

from typing import Final

import polars as pl

from ledger.counters import LINE_RATE_MARGIN
from queries.rollups._minutes import by_minute, share, whole_share
from queries.rollups._steps import grown, grown_milliseconds, steps
from queries.rollups._timeline import MINUTE, blocks, packed

MEANS: Final = (
    "kernel_active_ratio",
    "graphics_active_ratio",
    "sm_active_ratio",
    "sm_occupancy_ratio",
    "tensor_active_ratio",
    "dram_active_ratio",
    "power_watts",
)
"""Gauges whose mean is kept, in minutes and in hours."""

COLUMNS: Final = (
    "sampled_at",
    "cluster",
    "node",
    "gpu_uuid",
    "step_seconds",
    *MEANS,
    "memory_used_bytes",
    "energy_joules_total",
    "power_limit_watts",
    "power_cap_seconds_total",
    "sm_clock_hertz",
    "sm_clock_max_hertz",
    "pcie_transmit_bytes_total",
    "pcie_receive_bytes_total",
    "nvlink_transmit_bytes_total",
    "nvlink_receive_bytes_total",
    "pcie_transmit_bytes_per_second",
    "pcie_receive_bytes_per_second",
    "nvlink_transmit_bytes_per_second",
    "nvlink_receive_bytes_per_second",
)
"""What is read of `gpu_sample`."""

_RATES: Final = {"pcie": 1e13, "nvlink": 1e14}
"""Links, and more bytes in a second than any of their generations carries one way."""

_NARROW: Final = 2.0**32
"""More than a counter of 32 bits can show: one that shows as much does not wrap within a step."""

_MOST_WATTS: Final = 2_000.0
"""More than any board draws; the table allows no larger power either."""


def activity_minutes(samples: pl.DataFrame, devices: pl.DataFrame, within: tuple[int, int]) -> pl.DataFrame:
    """Return one row per device and minute that a step touches, in order; `part` is its time in milliseconds.

    Counters are spread over their step by time; a gap or a reset adds nothing. Minutes are numbered since 1970; those
    outside `within`, half-open, are left out.
    Nulls: where nothing measured the value in this minute.
    """
    return pl.concat(_activity(block, within) for block in blocks(samples, devices, at="sampled_at"))


def _activity(samples: pl.DataFrame, within: tuple[int, int]) -> pl.DataFrame:
    """Return the activity of some devices."""
    rows = steps(samples)
    clock = pl.when(pl.col("sm_clock_max_hertz") > 0).then(pl.col("sm_clock_hertz") / pl.col("sm_clock_max_hertz"))
    values = rows.lazy().with_columns(
        grown("energy_joules_total", _MOST_WATTS).alias("energy_joules"),
        grown_milliseconds("power_cap_seconds_total").alias("power_capped"),
        clock.alias("sm_clock_ratio"),
        *(
            (_carried(rows, f"{link}_transmit", most) + _carried(rows, f"{link}_receive", most)).alias(link)
            for link, most in _RATES.items()
        ),
    )
    gauges = (*MEANS, "power_limit_watts", "sm_clock_ratio")
    names = ("device", "time", "step", *gauges, "memory_used_bytes", "energy_joules", "power_capped", *_RATES)
    # More is read before the first minute than a step can reach.
    reaches = pl.col("time") + pl.col("step") > within[0] * MINUTE
    known = values.select(names).filter(pl.col("step").is_not_null() & reaches).collect()
    parts = by_minute(known, "time", "step").filter(pl.col("minute").is_between(*within, closed="left"))
    parts = parts.with_columns(packed("minute").alias("key"))
    means, finish = _means(parts, gauges)
    measured = [name for name in ("energy_joules", *_RATES) if parts.get_column(name).null_count() < parts.height]
    # Kept in order: the faster way for many small groups that lie together, and one order of adding floats.
    sums = parts.group_by("key", maintain_order=True).agg(
        pl.col("device", "minute").first(),
        pl.col("part").sum(),
        pl.col("memory_used_bytes").max(),
        *means,
        *(_known_sum(share(name, "step"), name) for name in measured),
        *(_known_sum(pl.col("part"), f"_{name}", of=name) for name in _RATES if name in measured),
        _known_sum(whole_share("power_capped", "time", "step"), "power_capped"),
    )
    unmeasured = (
        pl.lit(None, dtype=pl.Float64).alias(name) for name in ("energy_joules", *_RATES) if name not in measured
    )
    rates = ((pl.col(name) * 1000 / pl.col(f"_{name}")).alias(name) for name in _RATES if name in measured)
    return sums.with_columns(*finish, *unmeasured, *rates).select(
        "device", "minute", "part", *gauges, "memory_used_bytes", "energy_joules", "power_capped", *_RATES
    )


def _carried(rows: pl.DataFrame, way: str, most_per_second: float) -> pl.Expr:
    """Return the bytes that a link carried one way during the step: by its counter, or by profiling's own mean.

    PCIe's counter may be one of 32 bits, which any generation fills within seconds at most: it wraps in a step, perhaps
    several times, and what is left over is a low rate that nobody would doubt. So it counts only where it shows more
    than 32 bits can, and what profiling measured comes first. NVLink's are wide, and exact.
    The mean that a sample brings is of the time before it, so that of a step comes with the sample at its end.
    Nulls: besides, PCIe on devices without profiling (Ampere and older) whose counter is narrow, for good, or wide and
    began less than 4 GiB ago. Growth by nothing is null as well: the mean of a minute would be of such steps alone.
    """
    counter, rate = f"{way}_bytes_total", f"{way}_bytes_per_second"
    by_counter = grown(counter, most_per_second)
    if way.startswith("pcie"):
        by_counter = pl.when(pl.col(counter).shift(-1) >= _NARROW).then(by_counter)
    if rows.get_column(rate).null_count() == rows.height:
        return by_counter
    at_end = pl.col(rate).shift(-1)
    by_mean = pl.when(at_end <= LINE_RATE_MARGIN * most_per_second).then(at_end * pl.col("step") * 0.001)
    return pl.coalesce(by_mean, by_counter) if way.startswith("pcie") else pl.coalesce(by_counter, by_mean)


def _means(parts: pl.DataFrame, names: tuple[str, ...]) -> tuple[list[pl.Expr], list[pl.Expr]]:
    """Return what to sum and how to divide for means weighted by time.

    A gauge without a gap is divided by the whole time, one that nobody measured stays null: most are one or the other.
    """
    sums: list[pl.Expr] = []
    finish: list[pl.Expr] = []
    weight = pl.col("part")
    for name in names:
        missing = parts.get_column(name).null_count()
        if missing == parts.height:
            finish.append(pl.lit(None, dtype=pl.Float64).alias(name))
            continue
        sums.append((pl.col(name) * weight).sum().alias(name))
        if not missing:
            finish.append((pl.col(name) / weight).alias(name))
            continue
        sums.append(weight.filter(pl.col(name).is_not_null()).sum().alias(f"_{name}"))
        finish.append(pl.when(pl.col(f"_{name}") > 0).then(pl.col(name) / pl.col(f"_{name}")).alias(name))
    return sums, finish


def _known_sum(values: pl.Expr, name: str, *, of: str = "") -> pl.Expr:
    """Return a sum over the rows where something is known, null where it is known nowhere."""
    known = pl.col(of or name).is_not_null()
    return pl.when(known.any()).then(values.filter(known).sum()).alias(name)
