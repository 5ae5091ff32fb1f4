"""Drawn clusters that share devices as the tables that rollups read, and the comparison with the oracle."""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import polars as pl

from ledger.money_sections import MoneySettings
from ledger.names import NOBODY_AT
from queries.graph import Span
from queries.rollups._naming import Naming
from queries.rollups.allocation_hour import allocation_hour
from queries.rollups.gpu_hour import gpu_hour
from queries.rollups.job_gpu_hour import job_gpu_hour
from tests.oracle.generators import START
from tests.oracle.money_frames import moment, money, units
from tests.oracle.oracle_money import HOUR, Units, added
from tests.oracle.oracle_sharing import Cluster, Cost, Hold, Leaf, Parts, Rules, allocations
from tests.oracle.sharing import HOURS
from tests.oracle.time_frames import frame, instant, milliseconds

SPAN = Span(moment(START), moment(START + HOURS * HOUR), moment(START + HOURS * HOUR))
PACE = 10.0

CostKey = tuple[Any, ...]
Found = dict[tuple[CostKey, Leaf], tuple[int, Units, str]]


def settings(rules: Rules) -> MoneySettings:
    """Return rules as the configuration says them."""
    gpu, cpu, memory = (Decimal(each).scaleb(-6) for each in rules.node_shares)
    ratios = {"gpu": gpu, "cpu": cpu, "memory": memory}
    return MoneySettings.model_validate(
        {
            "split_rule": rules.split,
            "split_ratios": {part: ratio for part, ratio in ratios.items() if ratio},
            "shared_cost": rules.shared,
            "shared_cost_rules": dict(rules.by_kind),
            "shared_cost_ratios": {team: Decimal(share).scaleb(-6) for team, share in rules.teams.items()},
        }
    )


def tables(clusters: Sequence[Cluster]) -> dict[str, pl.DataFrame]:
    """Return the tables of some clusters."""
    rows: dict[str, list[dict[str, Any]]] = {
        name: [row for each in clusters for row in made(each)]
        for name, made in {
            "node": _nodes,
            "gpu": _gpus,
            "gpu_state_interval": _intervals,
            "job": _jobs,
            "job_gpu": _holdings,
            "gpu_process_sample": _processes,
            "cost_hour": _costs,
            "network_hour": _ports,
            "storage_hour": _systems,
        }.items()
    }
    return {name: frame(name, found) for name, found in rows.items()}


def _nodes(cluster: Cluster) -> Iterable[dict[str, Any]]:
    for each in cluster.machines:
        yield {
            "cluster": cluster.name,
            "node": each.node,
            "exists_start": moment(each.start),
            "exists_end": instant(each.end),
            "gpu_count": each.gpus,
            "cpu_count": each.processors,
            "memory_bytes": each.memory,
            "holder": "scheduler",
        }


def _gpus(cluster: Cluster) -> Iterable[dict[str, Any]]:
    for each in cluster.devices:
        yield {
            "cluster": cluster.name,
            "node": each.node,
            "gpu_uuid": each.uuid,
            "exists_start": moment(each.stretches[0].start),
            "parent_gpu_uuid": each.parent,
            "gpu_fraction": Decimal(each.millionths).scaleb(-6),
        }


def _intervals(cluster: Cluster) -> Iterable[dict[str, Any]]:
    for device in cluster.devices:
        for each in device.stretches:
            yield {
                "cluster": cluster.name,
                "node": device.node,
                "gpu_uuid": device.uuid,
                "started_at": moment(each.start),
                "ended_at": moment(each.end),
                "state": each.state,
                "job_id": "",
                "is_observed": True,
            }


def _run(run: tuple[str, int, int]) -> dict[str, Any]:
    return {"job_id": run[0], "submitted_at": moment(run[1]), "restart_count": run[2]}


def _jobs(cluster: Cluster) -> Iterable[dict[str, Any]]:
    for each in {job.run: job for job in cluster.jobs}.values():
        yield {
            "cluster": cluster.name,
            **_run(each.run),
            "user": each.user,
            "team": each.team,
            "model": each.model,
            "cpu_count": each.processors,
            "memory_bytes": each.memory,
            "node_count": each.nodes,
            "state": "RUNNING",
            "source": "simulation",
        }


def _holdings(cluster: Cluster) -> Iterable[dict[str, Any]]:
    def row(node: str, uuid: str, hold: Hold) -> dict[str, Any]:
        return {
            "cluster": cluster.name,
            "node": node,
            "gpu_uuid": uuid,
            **_run(hold.run),
            "held_start": moment(hold.start),
            "held_end": instant(hold.end),
            "requested_share_ratio": None if hold.share is None else hold.share / 10**6,
        }

    for device in cluster.devices:
        yield from (row(device.node, device.uuid, hold) for hold in device.holds)


def _processes(cluster: Cluster) -> Iterable[dict[str, Any]]:
    for device in cluster.devices:
        for (hour, job), time in device.measured.items():
            yield {
                "cluster": cluster.name,
                "node": device.node,
                "gpu_uuid": device.uuid,
                "sampled_at": moment(hour + 30_000),
                "step_seconds": PACE,
                "job_id": job,
                "pid_code": len(job),
                "kernel_active_ratio": time / (PACE * 1000),
            }


def _costs(cluster: Cluster) -> Iterable[dict[str, Any]]:
    for each in cluster.costs:
        yield {
            "hour_start": moment(each.hour),
            "provider": cluster.name,
            "invoice_issuer": cluster.name,
            "billing_account_id": "a",
            "invoice_id": "",
            "billing_period_start": moment(START - START % HOUR),
            "resource_id": each.resource,
            "cluster": cluster.name if each.node else "",
            "node": each.node,
            "charge_category": each.category,
            "charge_class": "",
            "commitment_status": each.commitment,
            "billing_currency": each.currency,
            "is_estimated": False,
            "in_scope": each.in_scope,
            "cost_kind": each.kind,
            "named_model": "",
            "owner_team": each.owner,
            "billed_cost": money(each.billed),
            "effective_cost": money(each.effective),
            "shared_billed_cost": money(each.billed) if each.serves_all else None,
            "shared_effective_cost": money(each.effective) if each.serves_all else None,
            "spread_method": "exact_hour",
        }


def _ports(cluster: Cluster) -> Iterable[dict[str, Any]]:
    for (hour, node), count in cluster.sent.items():
        place = {"hour_start": moment(hour), "cluster": cluster.name, "node": node, "port": "1"}
        yield place | {"device": "eth0", "link_layer": "Ethernet", "is_rdma": False, "transmit_bytes": float(count)}
        yield place | {"device": "mlx5_0", "link_layer": "InfiniBand", "transmit_bytes": 7e15}


def _systems(cluster: Cluster) -> Iterable[dict[str, Any]]:
    for (hour, node, system), count in cluster.moved.items():
        yield {
            "hour_start": moment(hour),
            "cluster": cluster.name,
            "node": node,
            "filesystem_type": "nfs",
            "file_system": system,
            "mount_point": "/data",
            "read_bytes": float(count),
        }


def device_time(given: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
    """Return the hours of devices, and of jobs on them."""
    lazy = {name: rows.lazy() for name, rows in given.items()}
    minutes = frame("gpu_minute", []).lazy()
    return {
        "gpu_hour": gpu_hour.function(lazy["gpu_state_interval"], minutes, lazy["gpu"]).collect(),
        "job_gpu_hour": job_gpu_hour.function(
            intervals=lazy["gpu_state_interval"],
            minutes=minutes,
            holdings=lazy["job_gpu"],
            jobs=lazy["job"],
            gpus=lazy["gpu"],
            nodes=lazy["node"],
            processes=lazy["gpu_process_sample"],
            span=SPAN,
            naming=Naming(),
        ).collect(),
    }


def allocated(given: Mapping[str, pl.DataFrame], rules: Rules, span: Span = SPAN) -> pl.DataFrame:
    """Return the allocations of some tables, device time among them."""
    lazy = {name: rows.lazy() for name, rows in given.items()}
    return allocation_hour.function(
        costs=lazy["cost_hour"],
        gpu_hours=lazy["gpu_hour"],
        job_hours=lazy["job_gpu_hour"],
        jobs=lazy["job"],
        nodes=lazy["node"],
        ports=lazy["network_hour"],
        systems=lazy["storage_hour"],
        span=span,
        settings=settings(rules),
    ).collect()


KEY = (
    *("hour_start", "provider", "resource_id", "node", "charge_category", "cost_kind", "commitment_status"),
    *("billing_currency", "owner_team", "in_scope"),
)


def key_of(cluster: str, cost: Cost) -> CostKey:
    """Return what tells a cost of a cluster apart, as its row says it."""
    about = (cost.category, cost.kind, cost.commitment, cost.currency, cost.owner, cost.in_scope)
    return (moment(cost.hour), cluster, cost.resource, cost.node, *about)


def found_in(rows: pl.DataFrame) -> Found:
    """Return allocations by cost and leaf; each stands once."""
    names = ("gpu_uuid", "bucket", "state", "team", "user", "job_id", "restart_count")
    found: Found = {}
    for row in rows.iter_rows(named=True):
        submitted = 0 if row["submitted_at"] == NOBODY_AT else milliseconds(row["submitted_at"])
        place = (tuple(row[name] for name in KEY), Leaf(*(row[name] for name in names), submitted, row["model"]))
        assert place not in found, place
        found[place] = (units(row["billed_cost"]) or 0, units(row["effective_cost"]), row["allocated_method_id"])
    return found


def check(clusters: Sequence[Cluster], rules: Rules, rows: pl.DataFrame) -> None:
    """Compare who each cost belongs to with what the oracle reads, to the last unit, and each total with its cost."""
    found = found_in(rows)
    expected: Found = {}
    for cluster in clusters:
        parts: Parts = allocations(cluster, rules)
        expected |= {(key_of(cluster.name, cost), leaf): part for (cost, leaf), part in parts.items()}
    for place in found.keys() | expected.keys():
        one, other = found.get(place), expected.get(place)
        # A part of nothing may be left out.
        assert one == other or _nothing(one) >= _nothing(other) > 0, (place, "rollup", one, "oracle", other)
    check_conserved(clusters, found)


def _nothing(part: tuple[int, Units, str] | None) -> int:
    return 2 if part is None else 2 if not part[0] and not part[1] else 0


def check_conserved(clusters: Sequence[Cluster], found: Found) -> None:
    """Check that what is allocated of each cost is all of it, in both measures."""
    sums: dict[CostKey, tuple[int, Units]] = {}
    for (cost, _), (billed, effective, _) in found.items():
        before = sums.get(cost, (0, None))
        sums[cost] = (before[0] + billed, added(before[1], effective))
    costs = {
        key_of(cluster.name, each): (each.billed, each.effective) for cluster in clusters for each in cluster.costs
    }
    assert sums == costs, "allocations sum to costs"
