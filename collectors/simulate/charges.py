"""What the owners charge: one object per row of a bill, before it is written.

Rates are round numbers of the demo; what they obey is FOCUS: a commitment's purchase has no effective cost, the usage
that it covers has no billed cost, and its unused part stands in rows of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from typing import Final

import numpy as np

from collectors.simulate import estate
from collectors.simulate.shapes import Cluster, Node, instant

_HOUR: Final = 3_600
_DAY: Final = 86_400
_YEAR_HOURS: Final = 8_760
_PLACES: Final = Decimal("0.0000000001")
"""AWS and Azure state ten decimals and more."""

AWS_LIST: Final = Decimal("55.04")
AWS_RATE: Final = Decimal("49.536")
COMMITTED_RATE: Final = Decimal("31.464")
AZURE_LIST: Final = Decimal("35.29")
AZURE_RATE: Final = Decimal("29.8419")
COMMITMENT: Final = "arn:aws:savingsplans::483900000001:savingsplan/5d1f2a7e-9c44-4e0b-a1f6-3b8c7d6e5f40"

_SALES_TAX: Final = Decimal("0.0425")
_VALUE_ADDED_TAX: Final = Decimal("0.19")
_CORRECTED_SHARE: Final = Decimal("-0.35")
_CORRECTED_HOURS: Final = 6


@dataclass(frozen=True)
class Charge:
    """One row of a bill; `node` is the plan's node behind it, or None."""

    provider: str
    account: str
    sub_account: str
    currency: str
    period: datetime
    start: int
    end: int
    category: str
    service: str
    description: str
    billed: Decimal
    effective: Decimal
    list_cost: Decimal
    quantity: Decimal
    unit: str = "Hours"
    frequency: str = "Usage-Based"
    charge_class: str = ""
    resource: str = ""
    node: int | None = None
    commitment: str = ""
    details: dict[str, str] = field(default_factory=dict)


def month_of(second: int) -> datetime:
    """Return the first instant of an instant's calendar month."""
    return instant(second).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def following(month: datetime) -> datetime:
    """Return the first instant of the next month."""
    return (month + timedelta(days=32)).replace(day=1)


def periods(cluster: Cluster) -> list[datetime]:
    """Return the months that are billed: those of the plan, and at least the one before its last."""
    current = month_of(cluster.end)
    first = min(month_of(cluster.start), (current - timedelta(days=1)).replace(day=1))
    found = []
    while first <= current:
        found.append(first)
        first = following(first)
    return found


def complete_through(cluster: Cluster) -> dict[str, int]:
    """Return up to when each cloud has delivered: whole hours, or whole days, about a day ago."""
    return {
        estate.AWS.name: (cluster.end - _DAY) // _HOUR * _HOUR,
        estate.AZURE.name: (cluster.end - 20 * _HOUR) // _DAY * _DAY,
    }


def charges(cluster: Cluster) -> list[Charge]:
    """Return every row of the clouds' bills, by account, period and time."""
    with localcontext() as context:
        context.prec = 60
        rows = [*_aws(cluster), *_azure(cluster), *_around(cluster)]
        rows += list(_corrections(cluster, rows))
        rows += list(_taxes(cluster, rows))
    return sorted(
        rows, key=lambda row: (row.account, row.period, row.start, row.category, row.resource, row.description)
    )


def _cost(rate: Decimal, seconds: int) -> Decimal:
    return (rate * seconds / _HOUR).quantize(_PLACES)


def _stays(cluster: Cluster, node: Node, until: int, width: int) -> Iterator[tuple[int, int, int]]:
    """Yield each hour or day in which a node existed before `until`: its start, end and the seconds."""
    last = min(cluster.node_end(node.index), until)
    for cell in range(node.start // width * width, last, width):
        seconds = min(cell + width, last) - max(cell, node.start)
        if seconds > 0:
            yield cell, cell + width, seconds


def _aws(cluster: Cluster) -> Iterator[Charge]:
    until = complete_through(cluster)[estate.AWS.name]
    used: dict[int, int] = {}
    nodes = [node for node in cluster.nodes if node.provider is estate.AWS]
    for node in nodes:
        account = estate.AWS_LABS_ACCOUNT if node.account == estate.AWS_LABS else estate.AWS_ACCOUNT
        for start, end, seconds in _stays(cluster, node, until, _HOUR):
            if node.is_committed:
                used[start] = used.get(start, 0) + seconds
            rate = COMMITTED_RATE if node.is_committed else AWS_RATE
            cost = _cost(rate, seconds)
            yield Charge(
                estate.AWS.name, account, node.account, "USD", month_of(start), start, end, "Usage",
                "Amazon Elastic Compute Cloud", "p5.48xlarge Linux/UNIX", Decimal(0) if node.is_committed else cost,
                cost,
                _cost(AWS_LIST, seconds), _cost(Decimal(1), seconds), resource=node.resource_id, node=node.index,
                commitment="Used" if node.is_committed else "",
                details={"InstanceType": "p5.48xlarge", "GpuCount": "8"},
            )  # fmt: skip
    held = sum(node.is_committed for node in nodes)
    if held:
        yield _purchase(cluster, held)
        yield from _unused(cluster, held, used, until)


def _purchase(cluster: Cluster, count: int) -> Charge:
    return Charge(
        estate.AWS.name, estate.AWS_ACCOUNT, estate.AWS_RESEARCH, "USD", month_of(cluster.start), cluster.start,
        cluster.start + _YEAR_HOURS * _HOUR, "Purchase", "AWS Savings Plans",
        f"1 year all upfront for {count} p5.48xlarge",
        COMMITTED_RATE * count * _YEAR_HOURS, Decimal(0), COMMITTED_RATE * count * _YEAR_HOURS, Decimal(1),
        unit="Commitments", frequency="One-Time", resource=COMMITMENT, commitment="Purchase",
    )  # fmt: skip


def _unused(cluster: Cluster, count: int, used: dict[int, int], until: int) -> Iterator[Charge]:
    for start in range(cluster.start, until, _HOUR):
        rest = count * _HOUR - used.get(start, 0)
        if rest:
            cost = count * COMMITTED_RATE - _cost(COMMITTED_RATE, used.get(start, 0))
            yield Charge(
                estate.AWS.name, estate.AWS_ACCOUNT, estate.AWS_RESEARCH, "USD", month_of(start), start, start + _HOUR,
                "Usage", "AWS Savings Plans", "Unused commitment for p5.48xlarge", Decimal(0), cost, Decimal(0),
                _cost(Decimal(1), rest), commitment="Unused",
            )  # fmt: skip


def _azure(cluster: Cluster) -> Iterator[Charge]:
    until = complete_through(cluster)[estate.AZURE.name]
    for node in cluster.nodes:
        if node.provider is not estate.AZURE:
            continue
        for start, end, seconds in _stays(cluster, node, until, _DAY):
            cost = _cost(AZURE_RATE, seconds)
            yield Charge(
                estate.AZURE.name, estate.AZURE_ACCOUNT, node.account, "EUR", month_of(start), start, end, "Usage",
                "Virtual Machines", "ND96amsr A100 v4", cost, cost, _cost(AZURE_LIST, seconds),
                _cost(Decimal(1), seconds), resource=node.resource_id, node=node.index,
                details={"InstanceType": "Standard_ND96amsr_A100_v4", "GpuCount": "8"},
            )  # fmt: skip


# What stands around the servers each day: account, sub-account, service, words, resource ('' for none), cost of a day.
_DAILY: Final = (
    ("aws", estate.AWS_RESEARCH, "Amazon Simple Storage Service", "TimedStorage-ByteHrs",
     "arn:aws:s3:::example-datasets", "41.8367291840"),
    ("aws", estate.AWS_RESEARCH, "Amazon FSx", "Lustre storage",
     "arn:aws:fsx:us-east-1:483911111111:file-system/fs-0a1b2c3d", "96.5512000000"),
    ("aws", estate.AWS_RESEARCH, "AWS Data Transfer", "DataTransfer-Out-Bytes", "", "12.0783364411"),
    ("aws", estate.AWS_WEB, "Amazon Elastic Compute Cloud", "m6i.4xlarge Linux/UNIX", "i-0web0000000000001",
     "18.4320000000"),
    ("aws", estate.AWS_WEB, "Amazon Relational Database Service", "db.r6g.2xlarge",
     "arn:aws:rds:us-east-1:483933333333:db:shop", "21.5040000000"),
    ("azure", estate.AZURE_AI, "Storage Accounts", "Hot LRS data stored",
     "/subscriptions/ai/storageaccounts/modelcache", "33.2910557310"),
    ("azure", estate.AZURE_AI, "Bandwidth", "Inter-region transfer", "", "4.8820199172"),
    ("azure", estate.AZURE_OFFICE, "Azure App Service", "P1v3 instance", "/subscriptions/office/sites/intranet",
     "9.1200000000"),
)  # fmt: skip

_MONTHLY: Final = (
    ("aws", estate.AWS_RESEARCH, "Purchase", "AWS Support", "Business support", "4200.0000000000"),
    ("aws", estate.AWS_RESEARCH, "Credit", "Credits", "Research programme credit", "-2500.0000000000"),
    ("azure", estate.AZURE_AI, "Credit", "Credits", "Onboarding credit", "-812.5000000000"),
    ("azure", estate.AZURE_AI, "Adjustment", "Billing", "Rounding of the former month", "-0.0100000000"),
)


def _whose(word: str) -> tuple[str, str, str]:
    if word == "aws":
        return estate.AWS.name, estate.AWS_ACCOUNT, "USD"
    return estate.AZURE.name, estate.AZURE_ACCOUNT, "EUR"


def _around(cluster: Cluster) -> Iterator[Charge]:
    rng = np.random.default_rng([cluster.seed, 9])
    until = complete_through(cluster)
    for month in periods(cluster):
        first, last = int(month.timestamp()), int(following(month).timestamp())
        for word, sub_account, service, words, resource, amount in _DAILY:
            provider, account, currency = _whose(word)
            for day in range(first, min(last, until[provider] // _DAY * _DAY), _DAY):
                cost = (Decimal(amount) * Decimal(int(rng.integers(900, 1100))) / 1000).quantize(_PLACES)
                yield Charge(
                    provider, account, sub_account, currency, month, day, day + _DAY, "Usage", service, words, cost,
                    cost,
                    cost, Decimal(1), unit="Days", resource=resource,
                )  # fmt: skip
        for word, sub_account, category, service, words, amount in _MONTHLY:
            provider, account, currency = _whose(word)
            cost = Decimal(amount)
            if first < until[provider]:
                yield Charge(
                    provider, account, sub_account, currency, month, first, last, category, service, words, cost, cost,
                    max(cost, Decimal(0)), Decimal(1), unit="Months",
                    frequency="Recurring" if category == "Purchase" else "One-Time",
                )  # fmt: skip


def _corrections(cluster: Cluster, rows: list[Charge]) -> Iterator[Charge]:
    """Yield what the last month gives back of an earlier one: hours of one server that were charged too high."""
    current = month_of(cluster.end)
    earlier = [row for row in rows if row.node is not None and row.billed > 0 and row.period < current]
    earlier = [row for row in earlier if row.provider == estate.AWS.name] or earlier
    for row in earlier[-_CORRECTED_HOURS:] if current.timestamp() < min(complete_through(cluster).values()) else []:
        cost = (row.billed * _CORRECTED_SHARE).quantize(_PLACES)
        yield Charge(
            row.provider, row.account, row.sub_account, row.currency, current, row.start, row.end, "Usage", row.service,
            f"Correction of {row.description}", cost, cost, cost, Decimal(0), charge_class="Correction",
            resource=row.resource, node=row.node, details=row.details,
        )  # fmt: skip


def _taxes(cluster: Cluster, rows: list[Charge]) -> Iterator[Charge]:
    """Yield the tax of each closed month, by sub-account, on all that was billed."""
    due: dict[tuple[str, str, str, str, datetime], Decimal] = {}
    for row in rows:
        key = (row.provider, row.account, row.sub_account, row.currency, row.period)
        due[key] = due.get(key, Decimal(0)) + row.billed
    for (provider, account, sub_account, currency, period), billed in sorted(due.items()):
        last = int(following(period).timestamp())
        if last > cluster.end:
            continue
        rate = _SALES_TAX if currency == "USD" else _VALUE_ADDED_TAX
        cost = (billed * rate).quantize(_PLACES)
        yield Charge(
            provider, account, sub_account, currency, period, int(period.timestamp()), last, "Tax", "Tax",
            "Sales tax" if currency == "USD" else "Value added tax", cost, cost, Decimal(0), Decimal(1), unit="Months",
            frequency="Recurring",
        )  # fmt: skip


__all__ = ["UTC", "Charge", "charges", "complete_through", "following", "month_of", "periods"]
