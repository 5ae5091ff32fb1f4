"""One drawn bill in the words of each format: what is charged, as its provider would write it."""

import csv
import gzip
import io
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

import polars as pl

MONTH: Final = datetime(2026, 9, 1, tzinfo=UTC)
NEXT: Final = datetime(2026, 10, 1, tzinfo=UTC)
HOURS: Final = 30 * 24

KINDS: Final = ("usage", "tax", "credit", "refund", "covered", "unused", "bought")
CURRENCIES: Final = ("USD", "EUR", "JPY", "CNY")
_CLOUD: Final = "Cloud"


@dataclass(frozen=True)
class Line:
    """One charge of an hour (of a day where a provider bills by the day), with what it costs in both measures."""

    account: str
    kind: str
    hour: int
    currency: str
    billed: Decimal
    effective: Decimal
    resource: str

    @property
    def start(self) -> datetime:
        """When the charge begins."""
        return MONTH + timedelta(hours=self.hour)

    @property
    def category(self) -> str:
        """The category of FOCUS."""
        other = {"tax": "Tax", "credit": "Credit", "refund": "Credit", "bought": "Purchase"}
        return other.get(self.kind, "Usage")

    @property
    def status(self) -> str:
        """The status of a commitment; '' where there is none."""
        return {"covered": "Used", "unused": "Unused"}.get(self.kind, "")


def drawn(seed: int, accounts: int, kinds: Sequence[str] = KINDS) -> list[Line]:
    """Return the bills of some accounts; each has an hour of plain usage at the least."""
    draw = random.Random(seed)  # noqa: S311  seeded, not secret
    lines: list[Line] = []
    for number in range(accounts):
        account, currency = f"{100_000_000_000 + number}", draw.choice(CURRENCIES)
        found = ("usage", *draw.choices(kinds, k=draw.randint(1, 9)))
        lines.extend(_line(draw, account, kind, currency) for kind in found)
    draw.shuffle(lines)
    return lines


def _line(draw: random.Random, account: str, kind: str, currency: str) -> Line:
    size = Decimal(draw.randint(1, 10 ** draw.choice((3, 9, 15)))).scaleb(-draw.choice((0, 2, 9, 12)))
    signed = -size if kind in {"credit", "refund"} else size
    billed = Decimal(0) if kind in {"covered", "unused"} else signed
    effective = Decimal(0) if kind == "bought" else signed
    resource = "" if kind in {"tax", "credit", "unused", "bought"} else f"i-{draw.randint(1, 4)}"
    return Line(account, kind, draw.randrange(HOURS), currency, billed, effective, resource)


def _text(amount: Decimal) -> str:
    return f"{amount:f}"


def _at(when: datetime, form: str = "%Y-%m-%dT%H:%M:%SZ") -> str:
    return when.strftime(form)


def _csv(path: Path, rows: Iterable[Mapping[str, str]]) -> Path:
    listed = list(rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(dict.fromkeys(name for row in listed for name in row)), restval="")
    writer.writeheader()
    writer.writerows(listed)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = out.getvalue().encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


_FOCUS_ONLY: Final[Mapping[str, Mapping[str, str]]] = {
    "1.0": {"ProviderName": _CLOUD, "PublisherName": _CLOUD},
    "1.1": {"ProviderName": _CLOUD, "PublisherName": _CLOUD, "ServiceSubcategory": "", "SkuMeter": ""},
    "1.2": {"ProviderName": _CLOUD, "PublisherName": _CLOUD, "InvoiceId": "inv", "PricingCurrency": "USD"},
    "1.3": {"ServiceProviderName": _CLOUD, "HostProviderName": _CLOUD, "ContractApplied": ""},
    "1.4": {"ServiceProviderName": _CLOUD, "HostProviderName": _CLOUD, "InvoiceDetailId": "d"},
}


def focus(version: str, ending: str) -> Callable[[Path, Sequence[Line]], Path]:
    """Return what writes an export of FOCUS as `.csv`, `.csv.gz` or `.parquet`."""

    def write(folder: Path, lines: Sequence[Line]) -> Path:
        path = folder / f"focus{ending}"
        rows = [_focus_row(each) | _FOCUS_ONLY[version] for each in lines]
        if ending != ".parquet":
            return _csv(path, rows)
        money = [name for name in rows[0] if name.endswith("Cost")]
        frame = pl.DataFrame(rows).with_columns(pl.col(money).cast(pl.Decimal(38, 12)))
        frame.write_parquet(path)
        return path

    return write


def _focus_row(line: Line) -> dict[str, str]:
    return {
        "BilledCost": _text(line.billed), "EffectiveCost": _text(line.effective), "ListCost": _text(line.effective),
        "ContractedCost": _text(line.effective), "BillingCurrency": line.currency, "BillingAccountId": line.account,
        "BillingPeriodStart": _at(MONTH), "BillingPeriodEnd": _at(NEXT), "ChargePeriodStart": _at(line.start),
        "ChargePeriodEnd": _at(line.start + timedelta(hours=1)), "ChargeCategory": line.category,
        "ServiceCategory": "Compute", "ServiceName": "Machines", "InvoiceIssuerName": _CLOUD,
        "ResourceId": line.resource, "CommitmentDiscountStatus": line.status,
        "CommitmentDiscountId": "plan" if line.status or line.kind == "bought" else "",
    }  # fmt: skip


_AWS_PLAN: Final = "arn:aws:savingsplans::1:savingsplan/p"


def _aws_rows(line: Line) -> list[dict[str, str]]:
    """Return the lines of a Cost and Usage Report: covered usage comes with what takes its price away."""
    types = {"tax": "Tax", "credit": "Credit", "refund": "Refund", "covered": "SavingsPlanCoveredUsage"}
    row = {
        "bill/PayerAccountId": line.account, "bill/BillingPeriodStartDate": _at(MONTH),
        "bill/BillingPeriodEndDate": _at(NEXT), "bill/InvoicingEntity": "Amazon Web Services, Inc.",
        "lineItem/UsageAccountId": line.account, "lineItem/LineItemType": types.get(line.kind, "Usage"),
        "lineItem/UsageStartDate": _at(line.start), "lineItem/UsageEndDate": _at(line.start + timedelta(hours=1)),
        "lineItem/ProductCode": "AmazonEC2", "lineItem/UsageType": "BoxUsage:p5.48xlarge",
        "lineItem/ResourceId": line.resource, "lineItem/UsageAmount": "1", "lineItem/CurrencyCode": line.currency,
        "lineItem/UnblendedCost": _text(line.billed), "savingsPlan/SavingsPlanARN": "",
        "savingsPlan/SavingsPlanEffectiveCost": "", "savingsPlan/TotalCommitmentToDate": "",
        "savingsPlan/UsedCommitment": "",
    }  # fmt: skip
    if line.kind == "covered":
        price = _text(line.effective * 2)
        row |= {
            "lineItem/UnblendedCost": price,
            "savingsPlan/SavingsPlanARN": _AWS_PLAN,
            "savingsPlan/SavingsPlanEffectiveCost": _text(line.effective),
        }
        taken = {"lineItem/LineItemType": "SavingsPlanNegation", "lineItem/UnblendedCost": f"-{price}"}
        return [row, row | taken | {"savingsPlan/SavingsPlanEffectiveCost": ""}]
    if line.kind in {"unused", "bought"}:
        row |= {
            "lineItem/LineItemType": "SavingsPlanRecurringFee",
            "savingsPlan/SavingsPlanARN": _AWS_PLAN,
            "savingsPlan/TotalCommitmentToDate": _text(line.effective + line.billed),
            "savingsPlan/UsedCommitment": _text(line.billed),
        }
    return [row]


def aws_legacy(folder: Path, lines: Sequence[Line]) -> Path:
    """Write a legacy Cost and Usage Report."""
    return _csv(folder / "report-1.csv.gz", [row for each in lines for row in _aws_rows(each)])


def aws_2_0(folder: Path, lines: Sequence[Line]) -> Path:
    """Write a Cost and Usage Report 2.0: the same in snake case, with maps."""
    groups = {"lineItem": "line_item", "savingsPlan": "savings_plan", "bill": "bill"}

    def own(name: str) -> str:
        group, _, last = name.partition("/")
        snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in last.replace("ARN", "Arn")).lstrip("_")
        return f"{groups[group]}_{snake}"

    rows = [{own(name): value for name, value in row.items()} for each in lines for row in _aws_rows(each)]
    return _csv(folder / "cur2.csv.gz", [row | {"product": "{}", "resource_tags": "{}"} for row in rows])


_AZURE_KINDS: Final = {"tax": "Tax", "credit": "Credit", "refund": "Refund", "bought": "Purchase"}
_AZURE_NAMES: Final = {"CostInBillingCurrency": "costInBillingCurrency", "BillingCurrencyCode": "billingCurrency"}


def azure(names: Mapping[str, str]) -> Callable[[Path, Sequence[Line]], Path]:
    """Return what writes both views of a month, actual and amortised; `names` are the columns of another account."""

    def write(folder: Path, lines: Sequence[Line]) -> Path:
        actual = [_azure_row(each, each.billed) for each in lines if each.kind != "unused"]
        amortised = [_azure_row(each, each.effective) for each in lines if each.kind != "bought"]
        for view, rows in (("actual", actual), ("amortized", amortised)):
            _csv(folder / view / "part.csv", [{names.get(k, k): v for k, v in row.items()} for row in rows])
        return folder

    return write


def _azure_row(line: Line, cost: Decimal) -> dict[str, str]:
    is_committed = line.kind in {"covered", "unused", "bought"}
    kind = "UnusedReservation" if line.kind == "unused" else _AZURE_KINDS.get(line.kind, "Usage")
    return {
        "BillingAccountId": line.account, "BillingPeriodStartDate": _at(MONTH, "%m/%d/%Y"),
        "BillingPeriodEndDate": "09/30/2026", "SubscriptionId": "s", "Date": _at(line.start, "%m/%d/%Y"),
        "MeterCategory": "Virtual Machines", "ConsumedService": "Microsoft.Compute", "Quantity": "1",
        "UnitOfMeasure": "1 Hour", "CostInBillingCurrency": _text(cost), "BillingCurrencyCode": line.currency,
        "ResourceId": line.resource, "ChargeType": kind, "PricingModel": "Reservation" if is_committed else "OnDemand",
        "BenefitId": "/providers/Microsoft.Capacity/reservationOrders/o" if is_committed else "",
    }  # fmt: skip


def gcp(folder: Path, lines: Sequence[Line]) -> Path:
    """Write an export of Google's as lines of JSON; usage is billed before a discount, which is nested in it."""
    path = folder / "export.jsonl"
    path.write_text("".join(_gcp_row(each) + "\n" for each in lines), encoding="utf-8")
    return path


def _gcp_row(line: Line) -> str:
    off = Decimal(0) if line.kind != "usage" else line.billed
    row = {
        "billing_account_id": line.account,
        "service": {"description": "Compute Engine"},
        "sku": {"description": "Tax" if line.kind == "tax" else "N2 Core"},
        "usage_start_time": _at(line.start, "%Y-%m-%d %H:%M:%S UTC"),
        "usage_end_time": _at(line.start + timedelta(hours=1), "%Y-%m-%d %H:%M:%S UTC"),
        "currency": line.currency,
        "cost_type": {"tax": "tax", "refund": "adjustment"}.get(line.kind, "regular"),
        "invoice": {"month": "202609"},
        "resource": {"name": line.resource} if line.resource else {},
        "cost": "COST",
        "credits": [{"name": "d", "type": "DISCOUNT", "amount": "CREDIT"}] if off else [],
    }
    # Numbers of JSON are written digit by digit: a float would round them.
    text = json.dumps(row).replace('"COST"', _text(line.billed + off))
    return text.replace('"CREDIT"', f"-{_text(off)}")


def oci(folder: Path, lines: Sequence[Line]) -> Path:
    """Write a cost report of Oracle's."""
    rows = [
        {
            "lineItem/referenceNo": str(number), "lineItem/tenantId": "t", "cost/subscriptionId": each.account,
            "lineItem/intervalUsageStart": _at(each.start, "%Y-%m-%dT%H:%MZ"),
            "lineItem/intervalUsageEnd": _at(each.start + timedelta(hours=1), "%Y-%m-%dT%H:%MZ"),
            "product/service": "COMPUTE", "product/resourceId": each.resource, "usage/billedQuantity": "1",
            "cost/productSku": "B1", "product/Description": "Compute", "cost/unitPrice": "1",
            "cost/myCost": _text(each.billed), "cost/currencyCode": each.currency, "lineItem/isCorrection": "false",
        }
        for number, each in enumerate(lines)
    ]  # fmt: skip
    return _csv(folder / "reports_cost-csv_0001.csv.gz", rows)


def usage_only(folder: Path, lines: Sequence[Line]) -> Path:
    """Write the usage of a cloud that sends no cost; a unit of it is worth one."""
    rows = [
        {name: value for name, value in _focus_row(each).items() if not name.endswith("Cost")}
        | _FOCUS_ONLY["1.2"]
        | {"SkuId": "H100", "ConsumedQuantity": _text(each.effective), "ConsumedUnit": "Hours"}
        for each in lines
    ]
    return _csv(folder / "usage.csv", rows)


@dataclass(frozen=True)
class Format:
    """How one format is written, which kinds of charges it can tell, and what of them it tells otherwise."""

    write: Callable[[Path, Sequence[Line]], Path]
    kinds: tuple[str, ...] = KINDS
    is_daily: bool = False
    is_billed: bool = True
    refunds: str = "Credit"


FORMATS: Final[Mapping[str, Format]] = {
    **{
        f"FOCUS {version}, {ending}": Format(focus(version, ending))
        for version, ending in zip(_FOCUS_ONLY, (".csv", ".csv.gz", ".parquet", ".csv", ".parquet"), strict=True)
    },
    "AWS legacy": Format(aws_legacy, refunds="Adjustment"),
    "AWS CUR 2.0": Format(aws_2_0, refunds="Adjustment"),
    "Azure EA": Format(azure({}), is_daily=True, refunds="Purchase"),
    "Azure MCA": Format(azure(_AZURE_NAMES), is_daily=True, refunds="Purchase"),
    "Google": Format(gcp, ("usage", "tax", "refund"), refunds="Adjustment"),
    "Oracle": Format(oci, ("usage",)),
    "usage without cost": Format(usage_only, ("usage",), is_billed=False),
}

Key = tuple[str, str, str, datetime, str, str]
Sums = dict[Key, tuple[Decimal, Decimal]]


def truth(lines: Sequence[Line], form: Format) -> Sums:
    """Return what a bill charges: billed and effective cost by account, category, status, start, currency, resource."""
    billed: Counter[Key] = Counter()
    effective: Counter[Key] = Counter()
    for each in lines:
        start = each.start.replace(hour=0) if form.is_daily else each.start
        category = form.refunds if each.kind == "refund" else each.category
        key = (each.account, category, each.status, start, each.currency, each.resource)
        billed[key] += each.billed if form.is_billed else 0  # type: ignore[assignment]  a sum of decimals
        effective[key] += each.effective  # type: ignore[assignment]  as above
    return {key: (Decimal(billed[key]), Decimal(effective[key])) for key in billed if billed[key] or effective[key]}
