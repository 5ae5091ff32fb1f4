"""Where the cost of a node-hour ends: a *leaf* is one state of one device for one holder, weighted by time.

A *place* is one clock hour of one node.
"""

from datetime import datetime
from typing import Final

import polars as pl

from ledger.expressions import to_milliseconds
from ledger.names import NOBODY_AT, STATES, UNASSIGNED, UNATTRIBUTED

PLACE: Final = ("hour_start", "cluster", "node")
HOLDER: Final = ("team", "user", "job_id", "restart_count", "submitted_at", "model")
LEAF: Final = ("gpu_uuid", "bucket", "state", *HOLDER)

_MILLIONTHS: Final = 1_000_000
NOBODY: Final = {"team": "", "user": "", "job_id": "", "model": "", "restart_count": 0, "submitted_at": NOBODY_AT}
"""The holder of what has none."""

_SECONDS: Final = {f"{state}_seconds": state for state in STATES}


def nobody() -> list[pl.Expr]:
    """Return the columns of a holder where there is none."""
    types: dict[type, pl.DataType] = {int: pl.Int64(), str: pl.String(), datetime: pl.Datetime("us", "UTC")}
    return [pl.lit(value, dtype=types[type(value)]).alias(name) for name, value in NOBODY.items()]


def gpu_leaves(gpu_hours: pl.DataFrame, job_hours: pl.DataFrame) -> pl.DataFrame:
    """Return the leaves of each node-hour's devices; weights are milliseconds times millionths of a device.

    What jobs hold is `allocated`, whatever the device did; of the rest `unallocated` is `idle`, and what is
    broken, orphaned or unknown is `unallocable`. A busy device whose holder is unknown is allocated to nobody named.
    """
    held = _by_state(job_hours, [*PLACE, "gpu_uuid", "gpu_fraction", *HOLDER]).with_columns(
        pl.lit("allocated").alias("bucket"), pl.col("user").fill_null("")
    )
    taken = held.group_by(*PLACE, "gpu_uuid", "state").agg(pl.col("milliseconds").sum().alias("taken"))
    rest = (
        _by_state(gpu_hours, [*PLACE, "gpu_uuid", "gpu_fraction"])
        .join(taken, on=[*PLACE, "gpu_uuid", "state"], how="left")
        .with_columns((pl.col("milliseconds") - pl.col("taken").fill_null(0)).alias("milliseconds"))
        .filter(pl.col("milliseconds") > 0)
        .with_columns(_bucket_of_rest().alias("bucket"))
        .with_columns(nobody())
        .with_columns(
            pl.when(pl.col("bucket") == "allocated").then(pl.lit(name)).otherwise(column).alias(column)
            for column, name in (("team", UNASSIGNED), ("model", UNATTRIBUTED))
        )
    )
    fraction = (pl.col("gpu_fraction") * _MILLIONTHS).cast(pl.Int64)
    return (
        pl.concat([held, rest.select(held.columns)])
        .with_columns((pl.col("milliseconds") * fraction).alias("weight"))
        .group_by(*PLACE, *LEAF)
        .agg(pl.col("weight").sum())
    )


def request_leaves(
    gpu_hours: pl.DataFrame, job_hours: pl.DataFrame, jobs: pl.DataFrame, nodes: pl.DataFrame
) -> pl.DataFrame:
    """Return who asked for the processors and memory of each node-hour, and what nobody asked for, as `idle`.

    `cpu` and `memory` are weights in thousandths of a processor, and MiB, times milliseconds. A job that holds
    several nodes asks for equal parts of each; one whose request is not known takes none.
    """
    existed = gpu_hours.group_by(PLACE).agg(to_milliseconds("existed_seconds").max().alias("milliseconds"))
    run = ["cluster", "job_id", "restart_count", "submitted_at"]
    asked = (
        job_hours.group_by(*PLACE, *HOLDER)
        .agg(to_milliseconds("held_seconds").max().alias("milliseconds"))
        .join(jobs.select(*run, "cpu_count", "memory_bytes", "node_count"), on=run, how="left")
        .with_columns(pl.max_horizontal(pl.col("node_count").fill_null(1), 1), pl.col("user").fill_null(""))
        .pipe(_requests)
        .with_columns(pl.lit("allocated").alias("bucket"))
    )
    sums = asked.group_by(PLACE).agg(
        pl.col("cpu").sum().alias("asked_cpu"), pl.col("memory").sum().alias("asked_memory")
    )
    rest = (
        existed.join(nodes, on=PLACE)
        .with_columns(pl.lit(1, dtype=pl.Int64).alias("node_count"))
        .pipe(_requests)
        .join(sums, on=PLACE, how="left")
        .with_columns(
            # Requests may exceed what a node has: then nothing is left over, and the requests share all of it.
            pl.max_horizontal(pl.col(each) - pl.col(f"asked_{each}").fill_null(0), 0).alias(each)
            for each in ("cpu", "memory")
        )
        .with_columns(pl.lit("idle").alias("bucket"), *nobody())
    )
    leaves = pl.concat([asked, rest.select(asked.columns)])
    return leaves.with_columns(pl.lit("").alias("gpu_uuid"), pl.lit("").alias("state"))


def _requests(frame: pl.DataFrame) -> pl.DataFrame:
    cpu = pl.col("cpu_count").fill_null(0) * 1000 // pl.col("node_count")
    memory = pl.col("memory_bytes").fill_null(0).cast(pl.Int64) // 2**20 // pl.col("node_count")
    return frame.with_columns(
        (cpu * pl.col("milliseconds")).alias("cpu"), (memory * pl.col("milliseconds")).alias("memory")
    ).drop("cpu_count", "memory_bytes", "node_count", "milliseconds")


def _by_state(frame: pl.DataFrame, index: list[str]) -> pl.DataFrame:
    """Return one row per state in which any time was spent."""
    return (
        frame.select(*index, *(to_milliseconds(seconds).alias(state) for seconds, state in _SECONDS.items()))
        .unpivot(STATES, index=index, variable_name="state", value_name="milliseconds")
        .filter(pl.col("milliseconds") > 0)
    )


def _bucket_of_rest() -> pl.Expr:
    state = pl.col("state")
    return (
        pl.when(state == "unallocated")
        .then(pl.lit("idle"))
        .when(state.is_in(["faulty", "orphaned", "unknown"]))
        .then(pl.lit("unallocable"))
        .otherwise(pl.lit("allocated"))
    )
