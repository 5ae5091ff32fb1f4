"""Commands about invoices: those that are known, and one that is typed from paper."""

from typing import Annotated, Any

import typer

from app.cli._options import Json, Store, asked
from app.cli._output import show

Issuer = Annotated[str, typer.Argument(metavar="ISSUER", help="Who sends it, as bills name it.")]
Number = Annotated[str, typer.Argument(metavar="INVOICE", help="Its number, as bills name it.")]


def add(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="List invoices, and type one from paper.", rich_markup_mode=None, no_args_is_help=True)
    group.command("list")(listed)
    group.command("type")(typed)
    group.command()(remove)
    cli.add_typer(group, name="invoice")


def listed(json: Json = False, store: Store = None) -> None:
    """List invoices, the newest first, with where each came from."""
    _show(asked("invoices", store), json=json)


def typed(
    issuer: Issuer,
    number: Number,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Payable amount, such as 1234.56.")],
    period: Annotated[str, typer.Option("--period", metavar="MONTH", help="The billing period, such as 2026-10.")],
    currency: Annotated[str, typer.Option("--currency", metavar="CODE", help="ISO 4217, such as USD.")],
    account: Annotated[str, typer.Option("--account", metavar="ID", help="Billing account, where it names one.")] = "",
    json: Json = False,
    store: Store = None,
) -> None:
    """Keep the payable amount of an invoice, to compare its bill with."""
    rows = asked(
        "invoices",
        store,
        action="type",
        invoice_issuer=issuer,
        invoice_id=number,
        billing_account_id=account,
        period=period,
        billing_currency=currency,
        invoiced=amount,
    )
    _show(rows, json=json)


def remove(issuer: Issuer, number: Number, json: Json = False, store: Store = None) -> None:
    """Take back what was typed of an invoice; what came from a file stays."""
    _show(asked("invoices", store, action="remove", invoice_issuer=issuer, invoice_id=number), json=json)


def _show(rows: list[dict[str, Any]], *, json: bool) -> None:
    columns = ("invoice_issuer", "invoice_id", "billing_period_start", "billing_currency", "invoiced")
    show(rows, (*columns, "issue_status", "source"), json=json)
