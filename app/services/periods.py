"""Billing periods: which are open, which are closed, and closing one."""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import Field

from app.context import Context
from app.services._audit import audited
from app.services._service import Params, Progress, service
from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.tables import BillingPeriod, Invoice
from ledger.tables.partition import after


class Periods(Params):
    """What to do with billing periods."""

    action: Annotated[Literal["list", "close", "open"], Field(description="list, close or open")] = "list"
    invoice_issuer: Annotated[str, Field(description="Who sends the invoice, as bills name it")] = ""
    period: Annotated[str, Field(description="The month: 2026-10")] = ""


@service()
def periods(context: Context, params: Periods, progress: Progress) -> list[dict[str, object]]:
    """Return billing periods that were opened or closed, the newest first; one that is changed is returned alone."""
    del progress
    if params.action == "list":
        return context.store.read(BillingPeriod).sort("billing_period_start", descending=True).to_dicts()
    start = month(params.period)
    issuer = params.invoice_issuer.strip()
    if issuer not in (known := issuers(context)):
        expected = f"one of {', '.join(known)}" if known else "an issuer; no bill was imported"
        raise InputError(f"invoice_issuer: found {issuer!r}, expected {expected}")
    if params.action == "close" and after(start, "month") > context.now():
        raise InputError(f"period: found {params.period}, expected a month that is over")
    row = {
        "invoice_issuer": issuer,
        "billing_period_start": start,
        "billing_period_end": after(start, "month"),
        "status": "closed" if params.action == "close" else "open",
        "changed_at": context.now(),
        "changed_by": context.actor,
    }
    context.store.append(BillingPeriod, to_frame(BillingPeriod, [row]), source=context.actor)
    audited(context, action=f"billing period {row['status']}", subject=f"{issuer} {params.period}")
    context.changed({"billing_period"})
    return [row]


def issuers(context: Context) -> list[str]:
    """Return who sends invoices, as bills and invoices name them."""
    found = {*context.store.read(Invoice, columns=("invoice_issuer",))["invoice_issuer"]}
    found |= {*context.store.select("SELECT DISTINCT InvoiceIssuerName FROM focus_charge").to_series()}
    return sorted(found)


def month(text: str) -> datetime:
    """Return the start of a month that somebody wrote.

    Raises: InputError: it is none.
    """
    try:
        return datetime.strptime(text.strip(), "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise InputError(f"period: found {text!r}, expected a month such as 2026-10") from None
