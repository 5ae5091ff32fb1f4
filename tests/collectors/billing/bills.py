"""Small bills for tests, built from one row that is right."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

ROW: Mapping[str, str] = {
    "BilledCost": "1.5",
    "EffectiveCost": "1.25",
    "ListCost": "2",
    "ContractedCost": "1.5",
    "BillingCurrency": "USD",
    "BillingAccountId": "acc-1",
    "BillingPeriodStart": "2026-01-01T00:00:00Z",
    "BillingPeriodEnd": "2026-02-01T00:00:00Z",
    "ChargePeriodStart": "2026-01-01T00:00:00Z",
    "ChargePeriodEnd": "2026-01-01T01:00:00Z",
    "ChargeCategory": "Usage",
    "ServiceCategory": "Compute",
    "ServiceName": "Machines",
    "ProviderName": "Cloud",
    "PublisherName": "Host",
    "InvoiceIssuerName": "Cloud Inc.",
    "ResourceId": "i-1",
    "PricingQuantity": "1",
    "Tags": '{"team": "vision"}',
}


def text(rows: Iterable[Mapping[str, str]], *, without: Iterable[str] = (), end: str = "\r\n") -> str:
    """Return rows as CSV; each is the good row with its own changes."""
    names = [each for each in ROW if each not in set(without)]
    rows = list(rows)
    names += dict.fromkeys(each for row in rows for each in row if each not in ROW)
    out = io.StringIO()
    writer = csv.DictWriter(out, names, extrasaction="ignore", lineterminator=end, restval="")
    writer.writeheader()
    writer.writerows({**ROW, **row} for row in rows)
    return out.getvalue()


def bill(path: Path, *rows: Mapping[str, str], without: Iterable[str] = ()) -> Path:
    """Write rows as a CSV bill and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text(rows, without=without), newline="")
    return path
