"""Invoices: those that are known, and one that a person typed from paper."""

from decimal import Decimal
from typing import Annotated, Literal

import polars as pl
from pydantic import Field

from app.context import Context
from app.services._audit import audited
from app.services._service import Params, Progress, service
from app.services.periods import month
from ledger import money
from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.tables import Invoice

_TYPED = "typed"


class Invoices(Params):
    """What to do with invoices."""

    action: Annotated[Literal["list", "type", "remove"], Field(description="list, type or remove")] = "list"
    invoice_issuer: Annotated[str, Field(max_length=200, description="Who sends it, as bills name it")] = ""
    invoice_id: Annotated[str, Field(max_length=200, description="Its number, as bills name it")] = ""
    period: Annotated[str, Field(description="The billing period: 2026-10")] = ""
    billing_currency: Annotated[str, Field(description="ISO 4217")] = ""
    invoiced: Annotated[str, Field(max_length=100, description="Payable amount, as written on it")] = ""
    billing_account_id: Annotated[str, Field(max_length=200, description="Account; empty where it names none")] = ""
    provider: Annotated[str, Field(max_length=200, description="ServiceProviderName; empty for the bill's")] = ""


@service()
def invoices(context: Context, params: Invoices, progress: Progress) -> list[dict[str, object]]:
    """Return invoices, the newest first; one that is typed or removed is returned alone."""
    del progress
    if params.action == "type":
        return _typed(context, params)
    if params.action == "remove":
        return _removed(context, params)
    return context.store.read(Invoice).sort("billing_period_start", "invoice_id", descending=True).to_dicts()


def _typed(context: Context, params: Invoices) -> list[dict[str, object]]:
    """Keep an invoice that somebody typed; typed again it takes the place of what was typed before."""
    issuer, number, currency = (
        each.strip() for each in (params.invoice_issuer, params.invoice_id, params.billing_currency.upper())
    )
    for name, value in (("invoice_issuer", issuer), ("invoice_id", number)):
        if not value:
            raise InputError(f"{name}: found nothing, expected what the invoice and the bill call it")
    if len(currency) != 3 or not currency.isalpha() or not currency.isascii():  # noqa: PLR2004  ISO 4217 has three
        raise InputError(f"billing_currency: found {currency!r}, expected three letters of ISO 4217, such as USD")
    start = month(params.period)
    try:
        amount = money.parse(params.invoiced.strip()).amount
    except InputError:
        raise InputError(f"invoiced: found {params.invoiced!r}, expected an amount such as 1234.56") from None
    row = {
        "invoice_issuer": issuer,
        "invoice_id": number,
        "billing_account_id": params.billing_account_id.strip(),
        "billing_period_start": start,
        "billing_currency": currency,
        "provider": params.provider.strip() or None,
        "invoiced": amount,
        "issue_status": None,
        "issued_at": None,
        "source": _TYPED,
        "path": None,
    }
    with context.work:
        known = _of(context, issuer, number).filter(
            (pl.col("billing_period_start") == start) & (pl.col("billing_currency") == currency)
        )
        files = known.filter(pl.col("source") != _TYPED)
        if files.height:
            stated = money.written(money.total(files["invoiced"]) or Decimal(0))
            raise InputError(
                f"invoice {number}: found {stated} {currency} from {files['path'][0]}, expected none from a file",
                hint="import a corrected file: what an issuer sends counts before what is typed",
            )
        context.store.append(Invoice, to_frame(Invoice, [row]), source=context.actor)
        said = f"{money.written(amount)} {currency}, {params.period}"
        audited(context, action="invoice typed", subject=f"{issuer} {number}", detail=said)
    context.changed({"invoice"})
    return [row]


def _removed(context: Context, params: Invoices) -> list[dict[str, object]]:
    """Take back what was typed of an invoice; what came from a file stays."""
    issuer, number = params.invoice_issuer.strip(), params.invoice_id.strip()
    with context.work:
        known = _of(context, issuer, number)
        typed = known.filter(pl.col("source") == _TYPED)
        if typed.is_empty():
            raise InputError(f"invoices: found no typed invoice {number} of {issuer}", hint="those of files stay")
        rest = known.filter(pl.col("source") != _TYPED)
        context.store.replace(Invoice, rest, partitions=[f"{issuer}|{number}"])
        audited(context, action="invoice removed", subject=f"{issuer} {number}")
    context.changed({"invoice"})
    return typed.to_dicts()


def _of(context: Context, issuer: str, number: str) -> pl.DataFrame:
    return context.store.read(Invoice, where={"invoice_issuer": [issuer], "invoice_id": [number]})
