"""Drawn bills as the tables that rollups read, what rollups make of them, and the comparison with the oracle."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Context, Decimal
from typing import Any

import polars as pl

from ledger.money_sections import CostOwner, MoneySettings, ScopeSettings
from ledger.names import STATES
from queries.graph import Span
from queries.rollups.allocation_hour import allocation_hour
from queries.rollups.cost_hour import cost_hour
from queries.rollups.reconciliation import reconciliation
from tests.oracle.bills import IN_SCOPE, MARCH, MAY, OWNERS, Bill
from tests.oracle.oracle_money import (
    Charge,
    Cost,
    CostKey,
    Leaf,
    Spent,
    Units,
    added,
    allocations,
    cost_hours,
    leaves,
)
from tests.oracle.time_frames import frame, instant, milliseconds

SETTINGS = MoneySettings(
    scope=ScopeSettings(accounts=tuple(IN_SCOPE)),
    owners=tuple(CostOwner(team=team, field="tag", value=f"team={team}") for team in OWNERS),
)
_WIDE = Context(prec=60)


def money(units: Units) -> Decimal | None:
    """Return units of 1e-18 as an amount."""
    return None if units is None else _WIDE.scaleb(Decimal(units), -18)


def units(amount: Decimal | None) -> Units:
    """Return an amount as units of 1e-18; it must be a whole number of them."""
    if amount is None:
        return None
    scaled = _WIDE.scaleb(amount, 18)
    assert scaled == int(scaled)
    return int(scaled)


def moment(at: int) -> datetime:
    """Return an instant in UTC."""
    found = instant(at)
    assert found is not None
    return found


def tables(bills: Sequence[Bill]) -> dict[str, pl.DataFrame]:
    """Return the tables of some bills."""
    charges = [charge for bill in bills for charge in bill.charges]
    machines = [each for bill in bills for each in bill.machines]
    return {
        "focus_charge": frame("focus_charge", [_charge_row(number, each) for number, each in enumerate(charges)]),
        "bill_import": frame("bill_import", _imports(charges)),
        "node": frame(
            "node",
            [
                {"cluster": each.cluster, "node": each.node, "provider": each.provider, "region": each.region}
                | {"exists_start": moment(each.start), "exists_end": instant(each.end)}
                | {"instance_type": each.instance_type, "gpu_count": 8}
                for each in machines
            ],
        ),
        "node_resource": frame(
            "node_resource",
            [
                {"cluster": each.cluster, "node": each.node, "provider": each.provider, "resource_id": each.resource}
                | {"valid_start": moment(each.start), "valid_end": instant(each.end)}
                for bill in bills
                for each in bill.links
            ],
        ),
        "gpu_hour": frame("gpu_hour", [_spent_row(each) for bill in bills for each in bill.devices]),
        "job_gpu_hour": frame("job_gpu_hour", [_spent_row(each) for bill in bills for each in bill.held]),
        "invoice": frame(
            "invoice",
            [
                {"invoice_issuer": issuer, "invoice_id": invoice, "billing_account_id": "", "provider": issuer}
                | {"billing_period_start": moment(period), "billing_currency": currency, "invoiced": money(amount)}
                | {"source": "csv"}
                for bill in bills
                for issuer, invoice, period, currency, amount in bill.invoices
            ],
        ),
    }


def _charge_row(number: int, charge: Charge) -> dict[str, Any]:
    return {
        "import_id": "now" if charge.is_current else "before",
        "row_index": number,
        "BilledCost": money(charge.billed),
        "EffectiveCost": money(charge.effective),
        "ListCost": money(charge.listed),
        "BillingCurrency": charge.currency,
        "BillingAccountId": charge.account,
        "BillingPeriodStart": moment(charge.period_start),
        "BillingPeriodEnd": moment(charge.period_end),
        "ChargePeriodStart": moment(charge.start),
        "ChargePeriodEnd": moment(charge.end),
        "ChargeCategory": charge.category,
        "ChargeClass": charge.charge_class or None,
        "ChargeDescription": charge.description,
        "CommitmentDiscountStatus": charge.commitment or None,
        "ServiceCategory": charge.service[0],
        "ServiceSubcategory": charge.service[1],
        "ServiceProviderName": charge.provider,
        "InvoiceIssuerName": charge.provider,
        "InvoiceId": charge.invoice,
        "ResourceId": charge.resource or None,
        "RegionId": charge.region,
        "SkuId": charge.instance_type,
        "Tags": f'{{"team": "{charge.owner}"}}' if charge.owner else None,
        "is_derived": False,
    }


def _imports(charges: Sequence[Charge]) -> list[dict[str, Any]]:
    """Return one import per account, period and currency; what is superseded has its own."""
    sums: dict[tuple[bool, str, int, str], list[Charge]] = {}
    for each in charges:
        sums.setdefault((each.is_current, each.account, each.period_start, each.currency), []).append(each)
    return [
        {
            "import_id": "now" if is_current else "before",
            "billing_account_id": account,
            "billing_period_start": moment(period),
            "billing_currency": currency,
            "source_name": "bill",
            "path": "bill.csv",
            "format": "focus",
            "sha256": "0",
            "imported_at": moment(MARCH),
            "status": "current" if is_current else "superseded",
            "row_count": len(mine),
            "rejected_count": 0,
            "charge_day_count": 1,
            "billed_cost": money(sum(each.billed for each in mine)),
            "residue": Decimal(0),
            "complete_through": moment(max(each.end for each in mine)),
        }
        for (is_current, account, period, currency), mine in sums.items()
    ]


def _spent_row(spent: Spent) -> dict[str, Any]:
    """Return an hour of a device, or of a job on it."""
    total = Decimal(sum(spent.states.values())).scaleb(-3)
    row: dict[str, Any] = {
        "hour_start": moment(spent.hour),
        "cluster": spent.cluster,
        "node": spent.node,
        "gpu_uuid": spent.gpu,
        "gpu_fraction": Decimal(spent.millionths).scaleb(-6),
        "existed_seconds": total,
        "held_seconds": total,
        "coverage_ratio": 1.0,
        "allocation_coverage_ratio": 1.0,
        "share_ratio": 1.0,
        "parent_gpu_uuid": "",
        "rule_version": "1",
        "is_estimated": False,
        "workload_kind": "",
        **{f"{state}_seconds": Decimal(spent.states[state]).scaleb(-3) for state in STATES},
    }
    if spent.holder is not None:
        names = ("team", "user", "job_id", "restart_count", "model")
        row |= dict(zip(names, spent.holder, strict=True)) | {"submitted_at": moment(MARCH)}
    return row


def computed(given: Mapping[str, pl.DataFrame], settings: MoneySettings = SETTINGS) -> dict[str, pl.DataFrame]:
    """Return costs, allocations and reconciliation of some tables; nothing is estimated before the month is over."""
    span = Span(moment(MARCH), moment(MAY), moment(MARCH))
    lazy = {name: rows.lazy() for name, rows in given.items()}
    prices, jobs, ports, systems = (frame(name, []).lazy() for name in ("price", "job", "network_hour", "storage_hour"))
    costs = cost_hour.function(
        charges=lazy["focus_charge"],
        imports=lazy["bill_import"],
        nodes=lazy["node"],
        resources=lazy["node_resource"],
        prices=prices,
        span=span,
        settings=settings,
    ).collect()
    allocated = allocation_hour.function(
        costs=costs.lazy(),
        gpu_hours=lazy["gpu_hour"],
        job_hours=lazy["job_gpu_hour"],
        jobs=jobs,
        nodes=lazy["node"],
        ports=ports,
        systems=systems,
        span=span,
        settings=settings,
    ).collect()
    return {"cost_hour": costs, "allocation_hour": allocated, "reconciliation": reconciled(given, allocated)}


def reconciled(given: Mapping[str, pl.DataFrame], allocated: pl.DataFrame) -> pl.DataFrame:
    """Return the reconciliation of bills, invoices and allocations."""
    return reconciliation.function(
        charges=given["focus_charge"].lazy(),
        imports=given["bill_import"].lazy(),
        allocations=allocated.lazy(),
        invoices=given["invoice"].lazy(),
        span=Span(moment(MARCH), moment(MAY), moment(MARCH)),
    ).collect()


def check_bills(bills: Sequence[Bill], found: Mapping[str, pl.DataFrame]) -> None:
    """Compare costs, allocations and reconciliation of some bills with what the oracle reads, to the last unit."""
    costs: dict[CostKey, Cost] = {}
    parts: dict[tuple[CostKey, Leaf], tuple[int, Units]] = {}
    for bill in bills:
        mine = cost_hours(bill.charges, bill.machines, bill.links, IN_SCOPE)
        costs |= mine
        parts |= allocations(mine, leaves(bill.devices, bill.held))
    check_costs(costs, found["cost_hour"])
    check_allocations(parts, found["allocation_hour"])
    check_unstated(costs, found["allocation_hour"])
    check_time(bills, parts, found["allocation_hour"])
    check_conserved(found["cost_hour"], found["allocation_hour"])
    check_reconciled(bills, found["reconciliation"])


def cost_key(row: Mapping[str, Any]) -> CostKey:
    """Return what a row of a cost or an allocation is told apart by."""
    assert row["invoice_issuer"] == row["provider"]
    assert not row["is_estimated"]
    return CostKey(
        milliseconds(row["hour_start"]),
        row["provider"],
        row["billing_account_id"],
        row["invoice_id"],
        milliseconds(row["billing_period_start"]),
        row["resource_id"],
        row["cluster"],
        row["node"],
        row["charge_category"],
        row["charge_class"],
        row["commitment_status"],
        row["billing_currency"],
        row["in_scope"],
        row["cost_kind"],
        row["owner_team"],
    )


def check_costs(expected: Mapping[CostKey, Cost], found: pl.DataFrame) -> None:
    """Compare the cost of each hour and key."""
    measures = ("billed_cost", "effective_cost", "list_cost", "shared_billed_cost", "shared_effective_cost")
    rows = {
        cost_key(row): Cost(*(units(row[name]) for name in measures), row["spread_method"], row["has_unstated_charge"])
        for row in found.iter_rows(named=True)
    }
    assert len(rows) == found.height, "one row per key"
    for key in sorted({*rows, *expected}):
        assert rows.get(key) == expected.get(key), (key, "rollup", rows.get(key), "oracle", expected.get(key))


def check_allocations(expected: Mapping[tuple[CostKey, Leaf], tuple[int, Units]], found: pl.DataFrame) -> None:
    """Compare who each cost belongs to."""
    rows: dict[tuple[CostKey, Leaf], tuple[int, Units]] = {}
    names = ("gpu_uuid", "bucket", "state", "team", "user", "job_id", "restart_count", "model")
    for row in found.iter_rows(named=True):
        key = (cost_key(row), Leaf(*(row[name] for name in names)))
        before = rows.get(key, (0, None))
        rows[key] = (before[0] + (units(row["billed_cost"]) or 0), added(before[1], units(row["effective_cost"])))
    for key in sorted({*rows, *expected}):
        one, other = rows.get(key), expected.get(key)
        # A row that says nothing may be left out.
        assert one == other or {one, other} <= {None, (0, None), (0, 0)}, (key, "rollup", one, "oracle", other)


def check_unstated(expected: Mapping[CostKey, Cost], found: pl.DataFrame) -> None:
    """Compare which allocations are parts of a cost that is known in part, or not at all."""
    rows = {(cost_key(row), row["has_unstated_charge"]) for row in found.iter_rows(named=True)}
    assert rows == {(key, cost.is_partial) for key, cost in expected.items()}, "what nobody states"


def check_time(
    bills: Sequence[Bill], parts: Mapping[tuple[CostKey, Leaf], tuple[int, Units]], found: pl.DataFrame
) -> None:
    """Compare the device time behind costs: each millisecond of a device that has a cost is said once."""
    priced = {(key.hour, key.cluster, key.node) for key, leaf in parts if leaf.gpu}
    expected = {
        (place, leaf): weight
        for bill in bills
        for place, weights in leaves(bill.devices, bill.held).items()
        for leaf, weight in weights.items()
        if place in priced
    }
    rows: dict[Any, int] = {}
    names = ("gpu_uuid", "bucket", "state", "team", "user", "job_id", "restart_count", "model")
    for row in found.filter(pl.col("held_gpu_seconds") > 0).iter_rows(named=True):
        place = (milliseconds(row["hour_start"]), row["cluster"], row["node"])
        key = (place, Leaf(*(row[name] for name in names)))
        rows[key] = rows.get(key, 0) + int(row["held_gpu_seconds"].scaleb(9))
    assert rows == expected, "device time"


def check_conserved(costs: pl.DataFrame, allocated: pl.DataFrame) -> None:
    """Check that over each key what was allocated is what it cost, in both measures, exactly."""
    sums: list[dict[CostKey, tuple[int, Units]]] = []
    for each in (costs, allocated):
        mine: dict[CostKey, tuple[int, Units]] = {}
        for row in each.iter_rows(named=True):
            before = mine.get(cost_key(row), (0, None))
            billed, effective = units(row["billed_cost"]) or 0, units(row["effective_cost"])
            mine[cost_key(row)] = (before[0] + billed, added(before[1], effective))
        sums.append(mine)
    assert sums[0] == sums[1], "allocations sum to costs"


def check_reconciled(bills: Sequence[Bill], found: pl.DataFrame) -> None:
    """Compare what was charged on each invoice with its charges and with what the invoice says."""
    charged: dict[tuple[str, str, int, str], list[int]] = {}
    invoiced: dict[tuple[str, str, int, str], int] = {}
    for bill in bills:
        for each in bill.charges:
            if each.is_current:
                key = (each.provider, each.invoice, each.period_start, each.currency)
                charged.setdefault(key, []).append(each.billed)
        invoiced |= {
            (issuer, invoice, period, currency): amount for issuer, invoice, period, currency, amount in bill.invoices
        }
    rows = {
        (row["provider"], row["invoice_id"], milliseconds(row["billing_period_start"]), row["billing_currency"]): row
        for row in found.iter_rows(named=True)
    }
    assert len(rows) == found.height
    assert set(rows) == set(charged), "invoices"
    for key, amounts in charged.items():
        row, total = rows[key], sum(amounts)
        assert (units(row["charged"]), row["row_count"]) == (total, len(amounts)), key
        assert units(row["allocated"]) == total, key
        assert units(row["invoiced"]) == invoiced.get(key), key
        difference = total - invoiced[key] if key in invoiced else None
        assert units(row["difference"]) == difference, key
        # 777 units of any currency are more than what may be rounded on a bill of this size.
        assert row["is_ok"] is (None if difference is None else difference == 0), key
