"""Small bills, nodes and device hours for the tests of what becomes of money."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import dataframely as dy
import polars as pl

from ledger.money_sections import MoneySettings
from ledger.tables import (
    BillImport,
    CostHour,
    FocusCharge,
    GpuHour,
    Invoice,
    Job,
    JobGpuHour,
    Node,
    NodeResource,
    Price,
)
from queries.graph import Span
from queries.rollups._lines import CHARGE_COLUMNS
from queries.rollups.cost_hour import cost_hour
from tests.frames import frame, validated

MONTH = datetime(2026, 3, 1, tzinfo=UTC)
NEXT = datetime(2026, 4, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
GIB = 2**30

NODE_COST = {
    "provider": "AWS",
    "invoice_issuer": "AWS",
    "billing_account_id": "acct",
    "invoice_id": "",
    "billing_period_start": MONTH,
    "resource_id": "i-a1",
    "cluster": "c",
    "node": "a1",
    "charge_category": "Usage",
    "charge_class": "",
    "commitment_status": "",
    "billing_currency": "USD",
    "is_estimated": False,
    "in_scope": True,
    "cost_kind": "usage",
    "named_model": "",
    "owner_team": "",
}
"""What tells the costs of a node of a running month apart, without their hour."""


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    """Return an instant in March 2026."""
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def rows(schema: type[dy.Schema], given: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return rows typed as a table, null where nothing is given, validated."""
    return validated(schema, frame(schema, list(given)))


def charge(index: int = 0, **given: Any) -> dict[str, Any]:
    """Return a charge of 24 for the first day of March of node a1, unless told otherwise."""
    row = {
        "import_id": "i1",
        "row_index": index,
        "BilledCost": Decimal(24),
        "EffectiveCost": given.get("BilledCost", Decimal(24)),
        "BillingCurrency": "USD",
        "BillingAccountId": "acct",
        "BillingPeriodStart": MONTH,
        "BillingPeriodEnd": NEXT,
        "ChargePeriodStart": at(1),
        "ChargePeriodEnd": at(2),
        "ChargeCategory": "Usage",
        "ServiceProviderName": "AWS",
        "InvoiceIssuerName": "AWS",
        "InvoiceId": "inv-1",
        "ResourceId": "i-A1",
        "is_derived": False,
    }
    return row | given


def imports_of(charges: pl.DataFrame, **given: Any) -> pl.DataFrame:
    """Return the import rows behind charges, current unless told otherwise."""
    keys = ["import_id", "BillingAccountId", "BillingPeriodStart", "BillingCurrency"]
    grouped = charges.group_by(keys).agg(
        pl.col("BilledCost").sum(), pl.len(), pl.col("ServiceProviderName").first(), pl.col("ChargePeriodEnd").max()
    )
    return rows(
        BillImport,
        [
            {
                "import_id": row["import_id"],
                "billing_account_id": row["BillingAccountId"],
                "billing_period_start": row["BillingPeriodStart"],
                "billing_currency": row["BillingCurrency"],
                "source_name": "bill",
                "path": "bill.csv",
                "format": "focus",
                "provider": row["ServiceProviderName"],
                "sha256": "0",
                "imported_at": NEXT,
                "status": "current",
                "row_count": row["len"],
                "rejected_count": 0,
                "charge_day_count": 1,
                "billed_cost": row["BilledCost"],
                "residue": Decimal(0),
                "complete_through": row["ChargePeriodEnd"],
            }
            | given
            for row in grouped.iter_rows(named=True)
        ],
    )


def node(name: str = "a1", start: datetime = MONTH, end: datetime | None = None, **given: Any) -> dict[str, Any]:
    """Return a node with eight GPUs that exists from the first of March on."""
    row = {
        "cluster": "c",
        "node": name,
        "exists_start": start,
        "exists_end": end,
        "provider": "AWS",
        "region": "us-east-1",
        "instance_type": "p5.48xlarge",
        "provider_instance_id": f"i-{name}",
        "gpu_count": 8,
    }
    return row | given


def link(
    name: str = "a1", resource_id: str = "", start: datetime = MONTH, end: datetime | None = None
) -> dict[str, Any]:
    """Return the link of a node to the bill's resource of its name."""
    return {
        "cluster": "c",
        "node": name,
        "provider": "AWS",
        "resource_id": resource_id or f"i-{name}",
        "valid_start": start,
        "valid_end": end,
        "match_method": "instance_metadata",
    }


def costs(
    charges: Iterable[Mapping[str, Any]],
    *,
    nodes: Iterable[Mapping[str, Any]] = (),
    links: Iterable[Mapping[str, Any]] = (),
    prices: Iterable[Mapping[str, Any]] = (),
    imports: pl.DataFrame | None = None,
    start: datetime = MONTH,
    end: datetime = NEXT,
    now: datetime = MONTH,
    settings: MoneySettings | None = None,
) -> pl.DataFrame:
    """Return the validated cost hours of a bill; nothing is estimated unless `now` lies later."""
    given = cost_inputs(charges, nodes=nodes, links=links, prices=prices, imports=imports)
    return costs_of(given, start=start, end=end, now=now, settings=settings)


def cost_inputs(
    charges: Iterable[Mapping[str, Any]],
    *,
    nodes: Iterable[Mapping[str, Any]] = (),
    links: Iterable[Mapping[str, Any]] = (),
    prices: Iterable[Mapping[str, Any]] = (),
    imports: pl.DataFrame | None = None,
) -> dict[str, pl.DataFrame]:
    """Return the validated inputs of cost hours."""
    bill = rows(FocusCharge, charges)
    return {
        "charges": bill.select(CHARGE_COLUMNS),
        "imports": imports_of(bill) if imports is None else imports,
        "nodes": rows(Node, nodes),
        "resources": rows(NodeResource, links),
        "prices": rows(Price, prices),
    }


def costs_of(
    given: Mapping[str, pl.DataFrame],
    *,
    start: datetime = MONTH,
    end: datetime = NEXT,
    now: datetime = MONTH,
    settings: MoneySettings | None = None,
) -> pl.DataFrame:
    """Return the validated cost hours of some inputs."""
    read = {name: each.lazy() for name, each in given.items()}
    made = cost_hour.function(**read, span=Span(start, end, now), settings=settings or MoneySettings())
    return validated(CostHour, made.collect())


def mixed(given: Mapping[str, pl.DataFrame], seed: int) -> dict[str, pl.DataFrame]:
    """Return the same inputs with their rows in another order."""
    return {name: each.sample(fraction=1, shuffle=True, seed=seed) for name, each in given.items()}


def device_hour(hour: datetime, gpu: str, name: str = "a1", **given: Any) -> dict[str, Any]:
    """Return an hour of a device; states are given in seconds, what is left is unallocated."""
    states = {each: Decimal(given.pop(each, 0)) for each in GpuHour.column_names() if _is_state(each)}
    existed = Decimal(given.pop("existed_seconds", 3600))
    states["unallocated_seconds"] = existed - sum(states.values())
    row = {
        "hour_start": hour,
        "cluster": "c",
        "node": name,
        "gpu_uuid": gpu,
        "existed_seconds": existed,
        "gpu_fraction": Decimal(1),
        "parent_gpu_uuid": "",
        "coverage_ratio": 1.0,
        "allocation_coverage_ratio": 1.0,
        "rule_version": "1",
    }
    return row | states | given


def job_hour(hour: datetime, gpu: str, job: str, name: str = "a1", **given: Any) -> dict[str, Any]:
    """Return an hour of a device held by a job; states are given in seconds."""
    states = {each: Decimal(given.pop(each, 0)) for each in JobGpuHour.column_names() if _is_state(each)}
    row = {
        "hour_start": hour,
        "cluster": "c",
        "node": name,
        "gpu_uuid": gpu,
        "job_id": job,
        "restart_count": 0,
        "submitted_at": MONTH,
        "held_seconds": sum(states.values(), Decimal(0)),
        "gpu_fraction": Decimal(1),
        "share_ratio": 1.0,
        "is_estimated": False,
        "user": f"user-of-{job}",
        "team": f"team-of-{job}",
        "model": f"model-of-{job}",
        "workload_kind": "training",
        "coverage_ratio": 1.0,
    }
    return row | states | given


def job(job_id: str, **given: Any) -> dict[str, Any]:
    """Return a job of March."""
    row = {
        "cluster": "c",
        "job_id": job_id,
        "submitted_at": MONTH,
        "restart_count": 0,
        "state": "RUNNING",
        "source": "simulation",
        "node_count": 1,
    }
    return row | given


def jobs(given: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return job rows."""
    return rows(Job, given)


def invoices(given: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Return invoice rows."""
    return rows(Invoice, given)


def _is_state(column: str) -> bool:
    return column.endswith("_seconds") and column not in {"existed_seconds", "held_seconds"}
