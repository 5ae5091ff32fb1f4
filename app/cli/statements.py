"""Commands about statements: those that are closed, and closing a month's."""

from typing import Annotated, Any

import typer

from app.cli._options import Json, Store, asked
from app.cli._output import as_json, as_records, remark

_AMOUNTS = ("billed_cost", "effective_cost")


def add(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="List closed statements, and close a month's.", rich_markup_mode=None, no_args_is_help=True
    )
    group.command("list")(listed)
    group.command()(close)
    cli.add_typer(group, name="statement")


def listed(json: Json = False, store: Store = None) -> None:
    """List closed statements, the newest month first, with what they said."""
    _show(asked("statements", store), json=json)


def close(
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="The month, such as 2026-10.")],
    team: Annotated[str, typer.Option("--team", metavar="TEAM", help="Of this team only; else of every team.")] = "",
    json: Json = False,
    store: Store = None,
) -> None:
    """Close a month's statements: what changes later posts as adjustments on the first open month."""
    rows = asked("statements", store, action="close", month=period, team=team)
    _show(rows, json=json)
    for each in sorted({str(row["team"]) for row in rows if row["has_estimate"]}):
        remark(f"{each}: a part has no bill yet; what its bill says otherwise posts as an adjustment")


def _show(rows: list[dict[str, Any]], *, json: bool) -> None:
    if json:
        as_json(rows)
        return
    written = [
        {**row, **{name: ", ".join(f"{amount} {code}" for code, amount in row[name].items()) for name in _AMOUNTS}}
        for row in rows
    ]
    as_records(written, ("month", "team", *_AMOUNTS, "closed_at", "closed_by", "split_rule", "shared_cost_rule"))
