"""Small Cost and Usage Reports for tests, built from one line that is right."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

PLAN = "arn:aws:savingsplans::111122223333:savingsplan/p1"
RESERVATION = "arn:aws:ec2:us-east-1:111122223333:reserved-instances/r1"

LINE: Mapping[str, str] = {
    "identity/LineItemId": "l",
    "bill/InvoiceId": "12345",
    "bill/InvoicingEntity": "Amazon Web Services, Inc.",
    "bill/BillingEntity": "AWS",
    "bill/BillType": "Anniversary",
    "bill/PayerAccountId": "111122223333",
    "bill/BillingPeriodStartDate": "2026-10-01T00:00:00.000Z",
    "bill/BillingPeriodEndDate": "2026-11-01T00:00:00.000Z",
    "lineItem/UsageAccountId": "444455556666",
    "lineItem/LineItemType": "Usage",
    "lineItem/UsageStartDate": "2026-10-05T00:00:00Z",
    "lineItem/UsageEndDate": "2026-10-05T01:00:00Z",
    "lineItem/ProductCode": "AmazonEC2",
    "lineItem/UsageType": "USE2-BoxUsage:p5.48xlarge",
    "lineItem/Operation": "RunInstances",
    "lineItem/AvailabilityZone": "us-east-2a",
    "lineItem/ResourceId": "i-1",
    "lineItem/UsageAmount": "1.0",
    "lineItem/CurrencyCode": "USD",
    "lineItem/UnblendedRate": "98.32",
    "lineItem/UnblendedCost": "98.32",
    "lineItem/LineItemDescription": "$98.32 per On Demand Linux p5.48xlarge Instance Hour",
    "product/ProductName": "Amazon Elastic Compute Cloud",
    "product/instanceType": "p5.48xlarge",
    "product/regionCode": "us-east-2",
    "product/location": "US East (Ohio)",
    "product/locationType": "AWS Region",
    "product/sku": "SKU1",
    "product/productFamily": "Compute Instance",
    "product/gpu": "8",
    "product/vcpu": "192",
    "product/memory": "2,048 GiB",
    "pricing/unit": "Hrs",
    "pricing/publicOnDemandCost": "98.32",
    "pricing/publicOnDemandRate": "98.32",
    "pricing/RateCode": "SKU1.JRTC.6YS6",
    "pricing/term": "OnDemand",
    "reservation/ReservationARN": "",
    "reservation/SubscriptionId": "777",
    "reservation/EffectiveCost": "",
    "reservation/UnusedAmortizedUpfrontFeeForBillingPeriod": "",
    "reservation/UnusedRecurringFee": "",
    "savingsPlan/SavingsPlanARN": "",
    "savingsPlan/SavingsPlanEffectiveCost": "",
    "savingsPlan/TotalCommitmentToDate": "",
    "savingsPlan/UsedCommitment": "",
    "resourceTags/user:team": "vision",
    "resourceTags/user:Name": "node-1",
}


def line(kind: str = "Usage", cost: str = "98.32", **more: str) -> dict[str, str]:
    """Return the changes of a line; other columns by the last part of their name."""
    named = {name.rpartition("/")[2]: name for name in LINE}
    return {
        "lineItem/LineItemType": kind,
        "lineItem/UnblendedCost": cost,
        **{named.get(name, name): value for name, value in more.items()},
    }


def report(path: Path, *lines: Mapping[str, str]) -> Path:
    """Write lines as a legacy report in CSV and return its path; each is the good line with its own changes."""
    names = [*LINE, *dict.fromkeys(name for each in lines for name in each if name not in LINE)]
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="")
    writer.writeheader()
    writer.writerows({**LINE, **each} for each in lines)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(out.getvalue(), newline="")
    return path
