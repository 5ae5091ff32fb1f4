"""What schedulers, inventories and operators know of the simulated estate."""

import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Final

import dataframely as dy
import polars as pl

from collectors.simulate import estate
from collectors.simulate.frames import frame
from collectors.simulate.sampling import Chunk
from collectors.simulate.shapes import Cluster, Job, instant
from collectors.simulate.surroundings import PORTS
from ledger.tables import Asset, Budget, ExchangeRate, Gpu, JobGpu, Model, Node, NodeResource, NodeState, Price, Team
from ledger.tables import Job as JobRow

EURO_IN_DOLLARS: Final = Decimal("1.0850")
PURCHASE: Final = {"DGX H100": Decimal(310_000), "DGX A100": Decimal(165_000)}
LIST_PRICES: Final = (
    ("AWS", "us-east-1", "p5.48xlarge", "USD", Decimal("55.04"), "NVIDIA H100 80GB HBM3", 192, 2048),
    (
        "Microsoft",
        "westeurope",
        "Standard_ND96amsr_A100_v4",
        "EUR",
        Decimal("35.29"),
        "NVIDIA A100-SXM4-80GB",
        96,
        1800,
    ),
)
"""Published on-demand prices of an hour; the second is a euro price of the demo."""

_GIB: Final = 2**30
_BUDGET: Final = {"USD": Decimal(150_000), "EUR": Decimal(140_000)}


def holdings(cluster: Cluster) -> Iterator[Chunk]:
    """Yield nodes, devices, jobs and who held what, links to bills, prices, assets, teams, models and budgets."""
    yield Node, _frame(Node, _nodes(cluster))
    yield Gpu, _frame(Gpu, _gpus(cluster))
    yield JobRow, _frame(JobRow, [_job(cluster, job) for job in cluster.jobs])
    yield JobGpu, _frame(JobGpu, _job_gpus(cluster))
    yield NodeState, _frame(NodeState, list(_node_states(cluster)))
    yield NodeResource, _frame(NodeResource, _links(cluster))
    yield Price, _frame(Price, _prices(cluster))
    yield Asset, _frame(Asset, assets(cluster))
    yield Team, _frame(Team, _teams())
    yield Model, _frame(Model, _models())
    yield Budget, _frame(Budget, _budgets(cluster))
    yield ExchangeRate, _frame(ExchangeRate, [_rate(cluster)])


def _frame(schema: type[dy.Schema], rows: list[dict[str, object]]) -> pl.DataFrame:
    names = {name for row in rows for name in row}
    return frame(schema, {name: [row.get(name) for row in rows] for name in names}, len(rows))


def _nodes(cluster: Cluster) -> list[dict[str, object]]:
    return [
        {
            "cluster": node.provider.cluster, "node": node.name, "exists_start": instant(node.start),
            "exists_end": None if node.end is None else instant(node.end), "provider": node.provider.name,
            "region": node.provider.region, "instance_type": node.hardware.instance_type,
            "provider_instance_id": node.instance_id, "holder": "scheduler", "cpu_count": node.hardware.cpu_count,
            "memory_bytes": float(node.hardware.host_memory_bytes), "gpu_count": node.gpu_count,
            "expected_port_count": PORTS,
            "expected_line_rate_bytes_per_second": float(node.hardware.line_rate_bytes_per_second),
            "source": "simulation",
        }
        for node in cluster.nodes
    ]  # fmt: skip


def _gpus(cluster: Cluster) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for device in cluster.devices:
        node, part = cluster.nodes[device.node], float(device.fraction)
        hardware = node.hardware
        found.append({
            "cluster": node.provider.cluster, "node": node.name, "gpu_uuid": device.uuid,
            "exists_start": instant(node.start), "exists_end": None if node.end is None else instant(node.end),
            "gpu_model": hardware.gpu_model, "gpu_index": device.gpu_index, "parent_gpu_uuid": device.parent,
            "gpu_fraction": device.fraction, "mig_profile": device.mig_profile or None,
            "memory_total_bytes": hardware.memory_bytes * part, "memory_baseline_bytes": hardware.baseline_bytes * part,
            "idle_power_watts": hardware.idle_watts * part, "power_limit_watts": hardware.limit_watts * part,
        })  # fmt: skip
    return found


def _job(cluster: Cluster, job: Job) -> dict[str, object]:
    nodes = sorted({cluster.nodes[cluster.devices[device].node].name for device in job.devices})
    held = sum((cluster.devices[device].fraction for device in job.devices), Decimal(0))
    is_shared = any(cluster.devices[device].is_shared for device in job.devices)
    ended = job.ended if job.ended is not None and job.ended <= cluster.end else None
    return {
        "cluster": job.cluster, "job_id": job.job_id, "submitted_at": instant(job.submitted),
        "restart_count": job.restart_count, "user": job.user, "account": job.account, "team": None,
        "model": job.model if job.is_model_stated else None, "workload_kind": job.kind, "job_name": job.name,
        "partition": "serving" if job.kind == "inference" else "interactive" if job.kind == "notebook" else "gpu",
        "qos": "normal", "state": job.state, "pending_reason": job.reason or None, "eligible_at": instant(job.eligible),
        "started_at": None if job.started is None else instant(job.started),
        "ended_at": None if ended is None else instant(ended),
        "time_limit_seconds": None if job.kind == "inference" else 3.0 * 86_400,
        "exit_code": job.exit_code if ended else None,
        "requested_gpu_count": float(job.gpus), "requested_gpu_model": job.gpu_model or None,
        "gpu_count": None if job.started is None else (0.5 if is_shared else float(held)),
        "cpu_count": None if job.started is None else max(1, int(12 * job.gpus)),
        "memory_bytes": None if job.started is None else max(job.gpus, 0.125) * 128 * _GIB,
        "node_count": None if job.started is None else len(nodes), "nodes": ",".join(nodes) or None,
        "labels": json.dumps({"kind": job.kind}, separators=(",", ":")), "source": "simulation",
    }  # fmt: skip


def _job_gpus(cluster: Cluster) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for job in cluster.jobs:
        if job.started is None:
            continue
        ended = job.ended if job.ended is not None and job.ended <= cluster.end else None
        for index in job.devices:
            device = cluster.devices[index]
            found.append({
                "cluster": job.cluster, "node": cluster.nodes[device.node].name, "gpu_uuid": device.uuid,
                "job_id": job.job_id, "submitted_at": instant(job.submitted), "restart_count": job.restart_count,
                "held_start": instant(job.started), "held_end": None if ended is None else instant(ended),
                "requested_share_ratio": 0.5 if device.is_shared else 1.0, "source": "simulation",
                "confidence_ratio": 1.0,
            })  # fmt: skip
    return found


def _node_states(cluster: Cluster) -> Iterator[dict[str, object]]:
    """Yield each node's states over its existence, without holes."""
    for node in cluster.nodes:
        last = cluster.node_end(node.index)
        marks: list[tuple[int, int, str, str | None]] = []
        for pause in cluster.pauses:
            if pause.node == node.index:
                marks.extend(_paused(cluster, node.index, pause.start, min(pause.end, last), pause.kind, pause.reason))
        marks.extend(
            (fault.start, min(fault.end, last), "DOWN", "not responding")
            for fault in cluster.faults
            if fault.kind == "down" and fault.node == node.index
        )
        at = node.start
        for start, end, state, reason in sorted(marks):
            if at < start:
                yield _state(cluster, node.index, at, start, "UP", None)
            if start < end:
                yield _state(cluster, node.index, start, end, state, reason)
            at = max(at, end)
        if at < last:
            yield _state(cluster, node.index, at, last, "UP", None)


def _paused(
    cluster: Cluster, node: int, start: int, end: int, kind: str, reason: str
) -> list[tuple[int, int, str, str | None]]:
    """Return a pause as states: a drained node drains while jobs that began before still run."""
    if kind != "DRAINED":
        return [(start, end, kind, reason)]
    left = start
    for job in cluster.jobs:
        on_node = job.started is not None and any(cluster.devices[device].node == node for device in job.devices)
        if on_node and (job.started or 0) < end and (job.ended or cluster.end) > start:
            left = max(left, min(job.ended or cluster.end, end))
    return [(start, left, "DRAINING", reason), (left, end, "DRAINED", reason)]


def _state(cluster: Cluster, node: int, start: int, end: int, state: str, reason: str | None) -> dict[str, object]:
    known = cluster.nodes[node]
    lasts = end >= cluster.end and known.end is None
    return {
        "cluster": known.provider.cluster, "node": known.name, "state_start": instant(start),
        "state_end": None if lasts else instant(end), "state": state, "reason": reason, "source": "simulation",
    }  # fmt: skip


def _links(cluster: Cluster) -> list[dict[str, object]]:
    return [
        {
            "cluster": node.provider.cluster, "node": node.name, "provider": node.provider.name,
            "resource_id": node.resource_id.lower(), "valid_start": instant(node.start),
            "valid_end": None if node.end is None else instant(node.end), "match_method": "simulation",
        }
        for node in cluster.nodes
    ]  # fmt: skip


def _prices(cluster: Cluster) -> list[dict[str, object]]:
    return [
        {
            "provider": provider, "region": region, "instance_type": kind, "price_category": "on_demand",
            "billing_currency": currency, "valid_start": instant(cluster.start), "unit_price": price,
            "pricing_unit": "Hours",
            "gpu_model": model, "gpu_count": 8, "gpu_memory_bytes": 80.0 * _GIB, "cpu_count": processors,
            "memory_bytes": float(memory * _GIB), "source": "simulation",
        }
        for provider, region, kind, currency, price, model, processors, memory in LIST_PRICES
    ]  # fmt: skip


def assets(cluster: Cluster) -> list[dict[str, object]]:
    """Return the owned servers with what they cost to have."""
    first = instant(cluster.start).date()
    return [
        {
            "asset_id": node.resource_id, "cluster": node.provider.cluster, "node": node.name,
            "owner": node.provider.name,
            "billing_currency": node.provider.currency, "purchase_cost": PURCHASE[node.hardware.instance_type],
            "residual_cost": Decimal(12_000), "life_start": first, "life_end": date(first.year + 4, first.month, 1),
            "gpu_count": node.gpu_count, "power_watts": 10_200.0 if node.hardware.quality == "A" else 6_500.0,
            "pue_ratio": 1.25, "energy_price": Decimal("0.1875"), "space_month_cost": Decimal(420),
            "staff_month_cost": Decimal(650),
        }
        for node in cluster.nodes
        if node.provider is estate.OWNED
    ]  # fmt: skip


def _teams() -> list[dict[str, object]]:
    return [
        {
            "team": team.name,
            "match_field": "account",
            "match_value": team.account,
            "rank_index": rank,
            "owner": team.owner,
        }
        for rank, team in enumerate(estate.TEAMS)
    ]


def _models() -> list[dict[str, object]]:
    every = [model for models in estate.MODELS.values() for model in models]
    return [
        {"model": model, "match_field": "job_name", "match_value": f"{model}*", "rank_index": rank}
        for rank, model in enumerate(every)
    ]


def _budgets(cluster: Cluster) -> list[dict[str, object]]:
    months = sorted({instant(at).date().replace(day=1) for at in (cluster.start, cluster.end)})
    scale = Decimal(max(sum(node.gpu_count for node in cluster.nodes), 1)) / 96
    return [
        {"month": month, "scope": scope, "billing_currency": currency, "threshold_ratio": 0.9,
         "budget_cost": (amount * scale * part).quantize(Decimal(1))}
        for month in months
        for currency, amount in _BUDGET.items()
        for scope, part in (("total", Decimal(1)), ("team:language", Decimal("0.3")), ("team:vision", Decimal("0.2")))
    ]  # fmt: skip


def _rate(cluster: Cluster) -> dict[str, object]:
    return {
        "rate_date": instant(cluster.end).date(), "from_currency": "EUR", "to_currency": "USD",
        "unit_price": EURO_IN_DOLLARS, "source": "simulation",
    }  # fmt: skip
