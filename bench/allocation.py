"""A month of many GPUs and jobs: generated hours of devices and of bills, divided among who bears each cost."""

import json
import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

import dataframely as dy
import polars as pl

from bench._measure import peak_bytes
from ledger.config import Settings
from ledger.names import STATES
from ledger.store import Store
from ledger.tables import CostHour, GpuHour, Job, JobGpuHour, Node
from queries.executor import run_due

START: Final = datetime(2026, 10, 1, tzinfo=UTC)
HOURS: Final = 30 * 24
END: Final = START + timedelta(hours=HOURS)

_HOUR: Final = 3_600_000
_GPUS_A_NODE: Final = 8
_GROUPS: Final = ((8,), (4, 4), (2, 2, 2, 2), (1,) * 8)
_PARTS: Final = {"productive": 70, "held_idle": 20, "allocated_idle": 10}
"""Of a hundred milliseconds that a job holds."""


def _holdings(gpus: int, jobs: int, hours: int) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield job, node, first device, number of devices, and when: its start in the upper half, its length below."""
    draw = random.Random(7)
    groups = [
        (node, sum(sizes[:index]), size)
        for node in range(gpus // _GPUS_A_NODE)
        for sizes in (_GROUPS[node % len(_GROUPS)],)
        for index, size in enumerate(sizes)
    ]
    pace = hours * _HOUR * len(groups) / jobs
    job = 0
    for node, first, size in groups:
        at = draw.random() * pace
        while at < hours * _HOUR and job < jobs:
            length = min(draw.expovariate(1 / (0.85 * pace)), hours * _HOUR - at)
            yield job, node, first, size, int(at) << 32 | int(length)
            job += 1
            at += length + draw.expovariate(1 / (0.15 * pace))


def _held(gpus: int, jobs: int, hours: int) -> pl.DataFrame:
    """Return each hour of each device that a job held, with the milliseconds of it."""
    found = pl.DataFrame(
        list(_holdings(gpus, jobs, hours)), schema=["job", "node", "first", "size", "when"], orient="row"
    ).with_columns(pl.col("when") // 2**32, (pl.col("when") % 2**32).alias("length"))
    start, end = pl.col("when"), pl.col("when") + pl.col("length")
    cut = (
        found.filter(pl.col("length") > 0)
        .with_columns(pl.int_ranges(start // _HOUR, (end - 1) // _HOUR + 1).alias("hour"))
        .explode("hour")
    )
    held = pl.min_horizontal(end, (pl.col("hour") + 1) * _HOUR) - pl.max_horizontal(start, pl.col("hour") * _HOUR)
    devices = pl.int_ranges("first", pl.col("first") + pl.col("size")).alias("gpu")
    return cut.with_columns(held.alias("held"), devices).explode("gpu")


def _seconds(milliseconds: pl.Expr) -> pl.Expr:
    return (milliseconds.cast(pl.Decimal(15, 0)) * pl.lit(Decimal("0.001"))).cast(pl.Decimal(18, 3))


def _named(frame: pl.DataFrame, first: datetime = START) -> list[pl.Expr]:
    """Return what places are called."""
    start = pl.lit(first).cast(pl.Datetime("us", "UTC")) + pl.duration(hours=pl.col("hour"))
    node = pl.format("n{}", pl.col("node").cast(pl.String).str.zfill(4)).alias("node")
    names = [start.alias("hour_start"), pl.lit("c").alias("cluster"), node]
    if "gpu" in frame.columns:
        names.append(pl.format("GPU-{}-{}", pl.col("node"), pl.col("gpu")).alias("gpu_uuid"))
    return names


def as_table(schema: type[dy.Schema], frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame as a table has it; what it lacks is null."""
    columns = schema.create_empty().schema
    missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in columns.items() if name not in frame.columns]
    return frame.with_columns(missing).select(pl.col(name).cast(kind) for name, kind in columns.items())


def device_hours(
    gpus: int, jobs: int, start: datetime, hours: int, first_job: int = 0
) -> Iterator[tuple[type[dy.Schema], pl.DataFrame, list[str]]]:
    """Yield the hours that jobs held devices, and those of the devices, each table with its rows and partitions."""
    held = _held(gpus, jobs, hours).with_columns(pl.col("job") + first_job)
    partitions = [f"{start + timedelta(hours=hour):%Y-%m-%dT%H}" for hour in range(hours)]
    zero = [pl.lit(Decimal(0)).alias(f"{state}_seconds") for state in STATES]
    shares = [_seconds(pl.col("held") * part // 100).alias(f"{state}_seconds") for state, part in _PARTS.items()]
    job = pl.col("job")
    constant = [
        pl.lit(Decimal(1)).alias("gpu_fraction"),
        pl.lit(1.0).alias("coverage_ratio"),
        pl.lit(1.0).alias("share_ratio"),
    ]
    named = held.with_columns(_named(held, start)).with_columns(zero).with_columns(shares)
    yield (
        JobGpuHour,
        as_table(
            JobGpuHour,
            named.with_columns(
                *constant,
                pl.format("{}", job).alias("job_id"),
                pl.lit(0).alias("restart_count"),
                (pl.lit(start) + pl.duration(minutes=job - first_job)).alias("submitted_at"),
                pl.format("user{}", job % 97).alias("user"),
                pl.format("team{}", job % 12).alias("team"),
                pl.format("model{}", job % 41).alias("model"),
                pl.lit("training").alias("workload_kind"),
                pl.lit(value=False).alias("is_estimated"),
                _seconds(pl.col("held")).alias("held_seconds"),
            ),
        ),
        partitions,
    )
    every = _places(gpus, hours)
    devices = every.join(pl.DataFrame({"gpu": range(_GPUS_A_NODE)}), how="cross")
    taken = held.group_by("hour", "node", "gpu").agg(pl.col("held").sum(), *_whole())
    devices = devices.join(taken, on=["hour", "node", "gpu"], how="left").with_columns(pl.col("held").fill_null(0))
    left = pl.lit(_HOUR) - pl.sum_horizontal(pl.col(state).fill_null(0) for state in _PARTS)
    yield (
        GpuHour,
        as_table(
            GpuHour,
            devices.with_columns(_named(devices, start))
            .with_columns(zero)
            .with_columns(_seconds(pl.col(state).fill_null(0)).alias(f"{state}_seconds") for state in _PARTS)
            .with_columns(
                *constant,
                _seconds(left).alias("unallocated_seconds"),
                pl.lit(Decimal(3600)).alias("existed_seconds"),
                pl.lit("").alias("parent_gpu_uuid"),
                pl.lit(1.0).alias("allocation_coverage_ratio"),
                pl.lit("1").alias("rule_version"),
            ),
        ),
        partitions,
    )


def _places(gpus: int, hours: int) -> pl.DataFrame:
    """Return each hour of each node."""
    nodes = pl.DataFrame({"node": range(gpus // _GPUS_A_NODE)})
    return pl.DataFrame({"hour": range(hours)}).join(nodes, how="cross")


def _whole() -> list[pl.Expr]:
    """Return the milliseconds of a device in each state that jobs had: of each job rounded as its own row is."""
    return [(pl.col("held") * part // 100).sum().alias(state) for state, part in _PARTS.items()]


def _costs(every: pl.DataFrame) -> pl.DataFrame:
    """Return a price per node and hour that is no round number, and services for everybody beside it."""
    price = (pl.lit(Decimal("98.32")) + pl.col("node").cast(pl.Decimal(10, 0)) * pl.lit(Decimal("0.0137"))).cast(
        pl.Decimal(38, 18)
    )
    key = {
        "provider": "AWS",
        "invoice_issuer": "AWS",
        "billing_account_id": "a",
        "invoice_id": "i",
        "charge_category": "Usage",
        "charge_class": "",
        "commitment_status": "",
        "billing_currency": "USD",
        "named_model": "",
        "owner_team": "",
        "spread_method": "exact_hour",
    }
    common = [
        *(pl.lit(value).alias(name) for name, value in key.items()),
        pl.lit(START).alias("billing_period_start"),
        pl.lit(value=False).alias("is_estimated"),
        pl.lit(value=True).alias("in_scope"),
    ]
    priced = every.with_columns(price.alias("billed_cost"), price.alias("effective_cost"))
    nodes = priced.with_columns(_named(priced)).with_columns(
        *common,
        pl.format("i-{}", pl.col("node")).alias("resource_id"),
        pl.lit("usage").alias("cost_kind"),
    )
    amount = pl.lit(Decimal("7.77")).cast(pl.Decimal(38, 18))
    kinds = pl.DataFrame({"cost_kind": ["network", "storage", "management"]})
    hours = pl.DataFrame({"hour": range(HOURS), "node": [0] * HOURS})
    shared = (
        hours.with_columns(_named(hours))
        .join(kinds, how="cross")
        .with_columns(
            *common,
            *(
                amount.alias(name)
                for name in ("billed_cost", "effective_cost", "shared_billed_cost", "shared_effective_cost")
            ),
            pl.lit("").alias("node"),
            pl.lit("").alias("cluster"),
            pl.lit("").alias("resource_id"),
        )
    )
    return pl.concat([nodes, shared], how="diagonal")


def nodes(gpus: int, start: datetime) -> pl.DataFrame:
    """Return the nodes of the devices."""
    return as_table(
        Node,
        pl.DataFrame(
            {
                "cluster": "c",
                "node": [f"n{index:04}" for index in range(gpus // _GPUS_A_NODE)],
                "exists_start": start,
                "gpu_count": _GPUS_A_NODE,
                "cpu_count": 192,
                "memory_bytes": 2.0 * 2**40,
            }
        ),
    )


def write(url: str, gpus: int, jobs: int) -> None:
    """Write the hours of a month."""
    with Store.open(url, now=lambda: END) as store:
        for schema, frame, partitions in device_hours(gpus, jobs, START, HOURS):
            store.replace(schema, frame, partitions=partitions, state=None)
        costs = as_table(CostHour, _costs(_places(gpus, HOURS)))
        store.replace(CostHour, costs, partitions=[f"{START:%Y-%m}"], state=None)
        store.append(Node, nodes(gpus, START), source="bench")
        store.append(Job, jobs_of(store), source="bench")


def jobs_of(store: Store) -> pl.DataFrame:
    """Return the jobs that held the devices, as a scheduler tells of them."""
    held = """SELECT cluster, job_id, submitted_at, restart_count, any_value("user") AS "user", any_value(team) AS team,
            min(hour_start) AS started_at
        FROM job_gpu_hour GROUP BY cluster, job_id, submitted_at, restart_count"""
    about = {"state": "RUNNING", "source": "bench", "node_count": 1, "cpu_count": 16, "memory_bytes": 128.0 * 2**30}
    return as_table(Job, store.select(held).with_columns(pl.lit(value).alias(name) for name, value in about.items()))


def compute(url: str) -> None:
    """Compute the allocations and print the figures."""
    with Store.open(url, now=lambda: END, memory_limit=Settings().store.memory_limit) as store:
        began, spent = time.perf_counter(), time.process_time()
        run_due(store, Settings(), only=("allocation_hour",))
        found = {"allocation_seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - spent}
        count = "SELECT count(*) AS rows, count(DISTINCT (job_id, submitted_at)) AS jobs FROM allocation_hour"
        found |= store.select(count).row(0, named=True)
        sums = "SELECT (SELECT sum(billed_cost) FROM cost_hour) - (SELECT sum(billed_cost) FROM allocation_hour)"
        found["difference"] = float(store.select(sums).item())
    print(json.dumps(found | {"peak_bytes": peak_bytes()}))


if __name__ == "__main__":
    command, address = sys.argv[1:3]
    if command == "write":
        write(address, int(sys.argv[3]), int(sys.argv[4]))
    else:
        compute(address)
