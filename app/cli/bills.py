"""Commands about bills: where they come from, what changed in them, and which of them count."""

from typing import Annotated, Any

import typer

from app.cli._options import Json, Store, asked
from app.cli._output import as_json, as_records, complain, remark, show

Import = Annotated[str, typer.Argument(metavar="IMPORT", help="Id of the import, or the start of it, as listed.")]


def add(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(
        help="Fetch bills, compare their snapshots, and accept those that wait.",
        rich_markup_mode=None,
        no_args_is_help=True,
    )
    group.command("list")(listed)
    for command in (fetch, diff, accept, close, reopen):
        group.command()(command)
    cli.add_typer(group, name="bills")


def listed(json: Json = False, store: Store = None) -> None:
    """List imports of bills, the newest first: what counts, what was replaced, and what waits."""
    rows = asked("bills", store)
    columns = ("import_id", "status", "source_name", "format", "billing_account_id", "billing_period_start")
    if json:
        as_json(rows)
    else:
        short = [{**each, "import_id": str(each["import_id"])[:12]} for each in rows]
        as_records(short, (*columns, "row_count", "rejected_count", "billed_cost", "billing_currency"))


def fetch(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Sections of [bills]; else all that are enabled.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Fetch also what has not changed.")] = False,
    json: Json = False,
    store: Store = None,
) -> int:
    """Look into the places of [bills] now, and import what has changed there."""
    found = asked("bills", store, action="fetch", names=names or [], everything=everything)
    if json:
        as_json(found)
    elif found:
        as_records(found, ("source", "delivery", "status", "rows", "rejected", "unchanged", "message"))
    else:
        remark("no place is configured and enabled; see [bills.NAME] in `clusterledger config`")
    for each in found:
        if each.get("error"):
            where = f"{each['source']}: {each['delivery']}: " if each["delivery"] else f"{each['source']}: "
            complain(where + str(each["error"]), each.get("hint", ""))
        for text in each["remarks"]:
            remark(f"{each['source']}: {text}")
        for text in each["rejections"]:
            remark(f"refused: {each['source']}: {text}")
    return min((each["exit_code"] for each in found if each.get("error")), default=0)


def diff(
    import_id: Import,
    before: Annotated[
        str, typer.Option("--before", metavar="IMPORT", help="Compare with this import; else with the one it replaces.")
    ] = "",
    json: Json = False,
    store: Store = None,
) -> None:
    """Say which charges an import of a bill added, removed or changed; the sums are exact."""
    found = asked("bill_changes", store, import_id=import_id, before=before)
    if json:
        as_json(found)
        return
    for unit in found:
        period = str(unit["billing_period_start"])[:7]
        against = str(unit["before_import_id"])[:12] or "nothing"
        remark(f"account {unit['billing_account_id']}, period {period}: {unit['import_id'][:12]} against {against}")
        columns = ("change", "billing_currency", "charge_count", "billed_before_cost", "billed_cost")
        as_records(unit["totals"], (*columns, "billed_change_cost", "effective_change_cost"))
        if unit["changes"]:
            of = ("charge_period_start", "charge_category", "service_name", "resource_id", "billing_currency")
            as_records(unit["changes"], ("change", *of, "billed_before_cost", "billed_cost", "billed_change_cost"))


def accept(import_id: Import, json: Json = False, store: Store = None) -> None:
    """Let an import that waits count, in the place of the one before it."""
    rows = asked("bills", store, action="accept", import_id=import_id)
    show(rows, ("import_id", "status", "billing_account_id", "billing_period_start", "billed_cost"), json=json)


Issuer = Annotated[str, typer.Argument(metavar="ISSUER", help="Who sends the invoice, as bills name it.")]
Period = Annotated[str, typer.Argument(metavar="MONTH", help="The billing period, such as 2026-10.")]


def close(issuer: Issuer, period: Period, json: Json = False, store: Store = None) -> None:
    """Close a billing period: bills that would change it wait until they are accepted."""
    _show(asked("periods", store, action="close", invoice_issuer=issuer, period=period), json=json)


def reopen(issuer: Issuer, period: Period, json: Json = False, store: Store = None) -> None:
    """Open a billing period again."""
    _show(asked("periods", store, action="open", invoice_issuer=issuer, period=period), json=json)


def _show(rows: list[dict[str, Any]], *, json: bool) -> None:
    show(rows, ("invoice_issuer", "billing_period_start", "status", "changed_at", "changed_by"), json=json)
