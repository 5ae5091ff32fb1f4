"""Commands about budgets."""

from typing import Annotated, Any

import typer

from app.cli._options import Json, Store, asked
from app.cli._output import show
from ledger.budget_rule import DEFAULT_THRESHOLDS

Month = Annotated[
    str, typer.Option("--month", metavar="YYYY-MM", help="Of, or from, this month; else the present one.")
]
Scope = Annotated[str, typer.Argument(metavar="SCOPE", help="total, team:NAME, model:NAME or provider:NAME.")]
Currency = Annotated[str, typer.Argument(metavar="CURRENCY", help="Its currency, such as USD.")]
Comment = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why, for those who ask later.")]


def add(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="List budgets, and decide about them.", rich_markup_mode=None, no_args_is_help=True)
    group.command("list")(listed)
    group.command("set")(decided)
    group.command("end")(ended)
    cli.add_typer(group, name="budget")


def listed(month: Month = "", json: Json = False, store: Store = None) -> None:
    """List how the budgets of a month stand, those that need an act first."""
    _show(asked("budgets", store, month=month), json=json)


def decided(
    scope: Scope,
    currency: Currency,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="What a month may cost.")],
    at: Annotated[
        list[float] | None,
        typer.Option("--at", metavar="RATIO", help="Tell receivers at this share of it, such as 0.8."),
    ] = None,
    owner: Annotated[str, typer.Option("--owner", metavar="WHO", help="Who must act; else the team's owner.")] = "",
    month: Month = "",
    comment: Comment = "",
    json: Json = False,
    store: Store = None,
) -> None:
    """Decide what a scope may spend in a month, from a month on until the next decision."""
    found = asked(
        "budgets",
        store,
        action="set",
        month=month,
        scope=scope,
        currency=currency,
        amount=amount,
        thresholds=at or DEFAULT_THRESHOLDS,
        owner=owner,
        comment=comment,
    )
    _show(found, json=json)


def ended(
    scope: Scope,
    currency: Currency,
    month: Month = "",
    comment: Comment = "",
    json: Json = False,
    store: Store = None,
) -> None:
    """End a scope's budget from a month on, wherever it was decided."""
    found = asked("budgets", store, action="end", month=month, scope=scope, currency=currency, comment=comment)
    _show(found, json=json)


def _show(rows: list[dict[str, Any]], *, json: bool) -> None:
    columns = ("scope", "billing_currency", "status", "spent_cost", "budget_cost", "expected_cost", "over_cost")
    show(rows, (*columns, "breaks_on", "owner", "source"), json=json)
