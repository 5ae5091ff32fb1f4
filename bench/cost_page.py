"""The Cost page on a year of a large bill: charges imported, divided over a cluster, and asked for by a real session.

Each charge is one hour of one resource, as in a bill by the hour: nodes of the cluster, and what else an account has,
which lasts two weeks and is replaced. So a year has millions of charges, of which those of nodes are divided over the
jobs that held their devices.
"""

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import polars as pl

from app.context import Context
from app.services import rollup
from app.services.ingest import Files, ingest
from bench import allocation, bills
from bench._measure import p95, peak_bytes
from bench.people import opened
from ledger.config import load
from ledger.tables import Job, Node, NodeResource, declared
from ledger.tables.partition import after, floor

YEAR: Final = timedelta(days=365)

_JOBS_A_GPU: Final = 20
"""In a month."""

_LASTS_HOURS: Final = 14 * 24
_SERVICES: Final = tuple(f"Amazon Service {index}" for index in range(24))
_NODE: Final = pl.format("i-n{}", (pl.col("row") % pl.col("slots")).cast(pl.String).str.zfill(4))
_BATCH: Final = 500_000

_DEFAULTS: Final = {
    "window": "365d",
    "by": "team",
    "measure": "effective",
    "estate": "in-scope",
    "team": "all",
    "idle": "holder",
}
_CHANGES: Final = (
    *({"by": by} for by in ("model", "provider", "resource", "service", "state", "bucket", "category", "kind")),
    {"measure": "billed"},
    {"estate": "all"},
    {"team": "team3"},
    {"idle": "cluster"},
    {"idle": "proportional"},
    {"by": "model", "measure": "billed"},
    {"by": "service", "team": "team3"},
    {"by": "resource", "estate": "all"},
    {"window": "90d"},
)
"""What a reader changes on the page, one after the other, from what stands above."""


def _months(now: datetime) -> Iterator[tuple[datetime, datetime, int]]:
    """Yield the billing periods of the year before an instant, with how many hours of each are over."""
    start = floor(now - YEAR, "month")
    while start < now:
        end = after(start, "month")
        yield start, end, (min(end, now) - start) // timedelta(hours=1)
        start = end


def _charges(slots: int, nodes: int, month: tuple[datetime, datetime, int], first_hour: int) -> pl.DataFrame:
    """Return the charges of a month: each hour one of each slot, the first slots being the nodes."""
    start, end, hours = month
    made = bills.batch(0, hours * slots, start, end).with_row_index("row").with_columns(slots=pl.lit(slots))
    slot = pl.col("row") % slots
    hour = pl.col("row") // slots
    at = pl.lit(start).cast(pl.Datetime("us", "UTC")) + pl.duration(hours=hour)
    resource = pl.format("vol-{}-{}", slot, (hour + first_hour) // _LASTS_HOURS)
    service = pl.lit(pl.Series(_SERVICES)).gather((slot % len(_SERVICES)).cast(pl.UInt32))
    is_node = slot < nodes
    price = pl.lit(98.32) + slot * 0.0137
    costs = [pl.when(is_node).then(price).otherwise(name).alias(name) for name in ("BilledCost", "EffectiveCost")]
    return made.with_columns(
        *costs,
        ChargePeriodStart=at,
        ChargePeriodEnd=at + pl.duration(hours=1),
        ResourceId=pl.when(is_node).then(_NODE).otherwise(resource),
        ServiceName=pl.when(is_node).then(pl.lit("Amazon Elastic Compute Cloud")).otherwise(service),
        InvoiceId=pl.lit(f"INV-{start:%Y-%m}"),
    ).drop("row", "slots")


def write(url: str, folder: Path, gpus: int, charges: int) -> None:
    """Import the bills and roll them up as the hub does, and print how long it took."""
    context = Context(load(store={"url": url}))
    now = floor(context.now(), "hour")
    months = list(_months(now))
    hours = sum(month[2] for month in months)
    slots, nodes = round(charges / hours), gpus // 8
    first = months[0][0]
    links = allocation.nodes(gpus, first).select(
        "cluster", "node", provider=pl.lit("AWS"), resource_id="i-" + pl.col("node"), valid_start="exists_start"
    )
    context.store.append(Node, allocation.nodes(gpus, first), source="bench")
    context.store.append(NodeResource, allocation.as_table(NodeResource, links), source="bench")
    found = {"import_seconds": 0.0, "charges": float(slots * hours)}
    passed = 0
    for number, month in enumerate(months):
        path = folder / f"bill-{month[0]:%Y-%m}.parquet"
        _charges(slots, nodes, month, passed).write_parquet(path)
        began = time.perf_counter()
        ingest.run(context, Files(paths=(str(path),)))
        found["import_seconds"] += time.perf_counter() - began
        path.unlink()
        jobs = gpus * _JOBS_A_GPU
        for schema, frame, partitions in allocation.device_hours(gpus, jobs, month[0], month[2], number * jobs):
            context.store.replace(schema, frame, partitions=partitions, state=None)
            # As retention leaves them: what they were made of is gone.
            context.store.seal(declared(schema).name, partitions)
        passed += month[2]
    context.store.append(Job, allocation.jobs_of(context.store), source="bench")
    began = time.perf_counter()
    ran = rollup.compute(context, lambda _, __: None)
    found["rollup_seconds"] = time.perf_counter() - began
    found |= {f"{each.rollup}_seconds": each.seconds for each in ran if each.seconds > 1}
    for table in ("cost_hour", "allocation_hour", "spend_day"):
        found[table] = float(context.store.select(f"SELECT count(*) FROM {table}").item())
    context.close()
    print(json.dumps(found | {"peak_bytes": peak_bytes()}))


async def visit(address: str, times: int) -> dict[str, float]:
    """Change one control after the other on the page, then do it again, and return the seconds."""
    session = await opened(address)
    await session.act("")
    await session.act("cost")
    found = {"opened_seconds": await session.act("cost", _DEFAULTS)}
    first = {_said(change): await session.act("cost", _DEFAULTS | change) for change in _CHANGES}
    found |= {f"first {name}": seconds for name, seconds in first.items()}
    again = [await session.act("cost", _DEFAULTS | change) for _ in range(times) for change in _CHANGES]
    await session.socket.close()
    return found | {
        "changed_p95_seconds": p95(list(first.values())),
        "changed_count": len(first),
        "rerun_median_seconds": statistics.median(again),
        "rerun_p95_seconds": p95(again),
        "rerun_count": len(again),
    }


async def try_rules(address: str) -> dict[str, float]:
    """Try another split rule on the year, which is computed on demand, then tell its result apart in another way."""
    session = await opened(address)
    await session.act("cost")
    await session.act("cost", _DEFAULTS)
    found = {"split_seconds": await session.act("cost", _DEFAULTS | {"split": "70_30"})}
    found["split_by_seconds"] = await session.act("cost", _DEFAULTS | {"split": "70_30", "by": "model"})
    await session.socket.close()
    return found


def _said(change: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in change.items())


def measure(address: str, times: int = 6) -> dict[str, float]:
    """Return all figures of a hub."""
    return asyncio.run(visit(address, times)) | asyncio.run(try_rules(address))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
    else:
        print(json.dumps(measure(sys.argv[2])))
