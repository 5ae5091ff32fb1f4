"""Commands about what is in the ledger."""

import csv
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli._options import Json, Store, asked, instant
from app.cli._output import as_json, as_records, as_table, complain, remark, show
from ledger.errors import InputError
from ledger.words import amount


class Format(StrEnum):
    """How rows are printed."""

    table = "table"
    json = "json"
    csv = "csv"


SplitRule = Annotated[
    str | None, typer.Option("--split-rule", metavar="RULE", help="Divide nodes by it, not as in [money].")
]
SharedCost = Annotated[
    str | None, typer.Option("--shared-cost", metavar="RULE", help="Divide what belongs to all by it.")
]


def add(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    for command in (ingest, pull, rollup, reconcile, findings, sql, backup, restore):
        cli.command()(command)
    exports = typer.Typer(help="Write what is in the ledger into files.", rich_markup_mode=None, no_args_is_help=True)
    exports.command("focus")(export_focus)
    cli.add_typer(exports, name="export")
    reports = typer.Typer(help="Write or send reports.", rich_markup_mode=None, no_args_is_help=True)
    reports.command("weekly")(report_weekly)
    reports.command("statement")(report_statement)
    cli.add_typer(reports, name="report")


def ingest(
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, folders or object-store addresses.")],
    format: Annotated[  # noqa: A002  the option's own name
        str, typer.Option("--format", metavar="NAME", help="Read them as this format; without it, it is detected.")
    ] = "",
    accept: Annotated[
        bool, typer.Option("--accept", help="Accept a bill that is smaller than the one it replaces.")
    ] = False,
    json: Json = False,
    store: Store = None,
) -> int:
    """Import bills, invoices, price lists and scheduler dumps; importing the same file again changes nothing."""
    sources = [_source(path) for path in paths]
    found = asked("ingest", store, paths=paths, format=format, accept=accept, names=paths, sources=sources)
    if json:
        as_json(found)
    else:
        rows = [
            {**each, "billed_cost": ", ".join(f"{amount} {code}" for code, amount in each["billed_cost"].items())}
            for each in found["files"]
        ]
        as_records(rows, ("path", "format", "version", "rows", "rejected", "billed_cost"))
    for each in found["files"]:
        if each.get("error"):
            complain(each["error"], each.get("hint", ""))
        elif each["rejected"]:
            _refusals(each)
        for text in each.get("remarks", []):
            remark(f"{each['path']}: {text}")
    codes = [each.get("exit_code", 2) for each in found["files"] if each.get("error")]
    return min(codes, default=0)


def _refusals(file: dict[str, Any]) -> None:
    """Say which rows of a file were refused and why, each fault once; the others are in."""
    for text in file["rejections"]:
        remark(f"refused: {file['path']}: {text}")
    remark(
        f"  hint: {amount(file['rows'], 'row')} kept; correct the rest and import the file again;"
        ' `clusterledger sql "SELECT reason, row_json FROM rejected_row"` lists all'
    )


def _source(path: str) -> str:
    """Return the name under which a folder delivers again: its place on this machine, wherever it is read."""
    place = Path(path).expanduser()
    if "://" in path or not place.exists():
        return ""
    if place.is_dir():
        return str(place.resolve())
    return str(place.resolve().parent) if path.endswith("manifest.json") else ""


def pull(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Sections of [sources]; else all that are enabled.")
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="T", help="Ask from this instant; else from where it is known.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="T", help="Ask up to this instant; else now.")] = None,
    json: Json = False,
    store: Store = None,
) -> int:
    """Ask the services of a cluster (Prometheus, Slurm, Kubernetes) now for what happened since the last time."""
    found = asked("pull", store, names=names or [], since=instant(since, "--since"), until=instant(until, "--until"))
    if json:
        as_json(found)
    elif found:
        as_records(found, ("source", "kind", "rows", "rejected", "reached_at", "seconds"))
    else:
        remark("no source is configured and enabled; see [sources.NAME] in `clusterledger config`")
    for each in found:
        if each.get("error"):
            complain(f"sources.{each['source']}: {each['error']}", each.get("hint", ""))
        for text in (*each["remarks"], *(f"refused: {text}" for text in each["rejections"])):
            remark(f"{each['source']}: {text}")
    return min((each["exit_code"] for each in found if each.get("error")), default=0)


def rollup(
    since: Annotated[str | None, typer.Option("--since", metavar="T", help="Leave out what ended by then.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="T", help="Leave out what started later.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Compute also what is not due.")] = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """Compute what is due: partitions whose inputs, code or settings changed."""
    ran = asked(
        "rollup", store, since=instant(since, "--since"), until=instant(until, "--until"), everything=everything
    )
    if json:
        as_json(ran)
    else:
        as_records([each for each in ran if each["partitions"]], ("rollup", "partitions", "rows", "seconds"))
    for each in ran:
        for text in each["skipped_sealed"]:
            remark(text)


def reconcile(json: Json = False, store: Store = None) -> None:
    """Compare what was charged, what was allocated of it and what was invoiced."""
    rows = asked("reconcile", store)
    key = ("provider", "invoice_id", "billing_period_start", "billing_currency")
    columns = (*key, "charged", "allocated", "estimated", "invoiced")
    show(rows, (*columns, "difference", "tolerance", "status"), json=json)
    for row in rows:
        for cause in row["causes"]:
            remark(f"{row['invoice_id'] or 'no invoice'}: {cause['words']}")


def findings(json: Json = False, store: Store = None) -> None:
    """List open recommendations, those that save most first."""
    rows = asked("findings", store)
    columns = ("finding_id", "title", "owner", "saving_cash_month", "saving_effective_month", "billing_currency")
    show(rows, (*columns, "confidence", "directive"), json=json)


def sql(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="One SELECT statement.")],
    format: Annotated[Format, typer.Option("--format", help="Print rows in this form.")] = Format.table,  # noqa: A002
    store: Store = None,
) -> None:
    """Run one read-only SELECT over the whole ledger; JSON is a list of objects."""
    found = asked("sql", store, query=query)
    columns, rows = found["columns"], found["rows"]
    if format is Format.json:
        as_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif format is Format.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    else:
        as_table(columns, rows)


def export_focus(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Write this file; .parquet or .csv.")],
    since: Annotated[str | None, typer.Option("--since", metavar="T", help="Leave out hours before.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="T", help="Leave out hours from then on.")] = None,
    version: Annotated[
        str,
        typer.Option(
            "--version",
            metavar="VERSION",
            help="FOCUS 1.4; or 1.2, whole for its public validator: see x_DerivedColumns.",
        ),
    ] = "1.4",
    split_rule: SplitRule = None,
    shared_cost: SharedCost = None,
    store: Store = None,
) -> None:
    """Write allocations as FOCUS rows, with the columns of FOCUS 1.4 for split costs."""
    start, end = instant(since, "--since"), instant(until, "--until")
    found = asked(
        "export",
        store,
        out=out,
        since=start,
        until=end,
        version=version,
        split_rule=split_rule,
        shared_cost=shared_cost,
    )
    remark(f"{amount(found['rows'], 'row')} in {out}")


def backup(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The file to write.")], store: Store = None
) -> None:
    """Copy the whole store into a file, also under a running hub."""
    if path.exists():
        raise InputError(f"{path}: it exists, expected a new file", hint="choose another name")
    found = asked("backup", store, path=path)
    remark(f"{found['bytes']} bytes in {path}")


def restore(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file that `backup` wrote.")], store: Store = None
) -> None:
    """Put a copy in the place of the store, also under a running hub."""
    asked("restore", store, path=path)
    remark(f"restored from {path}")


def report_weekly(
    week: Annotated[
        str, typer.Option("--week", metavar="YYYY-Www", help="Report this ISO week; else the last whole one.")
    ] = "",
    to: Annotated[str, typer.Option("--to", metavar="ADDR", help="Address it to this person only.")] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write .eml, .html and .txt there; else here.")
    ] = None,
    send: Annotated[bool, typer.Option("--send", help="Send it; without this nothing leaves the machine.")] = False,
    split_rule: SplitRule = None,
    shared_cost: SharedCost = None,
    store: Store = None,
) -> None:
    """Write the weekly report, and send it where that is asked for."""
    folder = out or (None if send else Path.cwd())
    found = asked(
        "report", store, week=week, to=to, out=folder, send=send, split_rule=split_rule, shared_cost=shared_cost
    )
    for each in found["files"]:
        print(each)
    for each in found["sent"]:
        remark(f"sent to {each}")


def report_statement(
    team: Annotated[str, typer.Option("--team", metavar="TEAM", help="The team that is charged.")],
    month: Annotated[
        str, typer.Option("--month", metavar="YYYY-MM", help="Of this month; else the last whole one.")
    ] = "",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write this file; .pdf, .csv or .parquet.")
    ] = None,
    split_rule: SplitRule = None,
    shared_cost: SharedCost = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Write what one team is charged for a month, and print its totals."""
    found = asked("statement", store, team=team, month=month, out=out, split_rule=split_rule, shared_cost=shared_cost)
    if json:
        as_json(found)
        return
    measures = ("billed_cost", "effective_cost", "idle_cost")
    rows = [
        {"billing_currency": code, **{name: found[name][code] for name in measures}} for code in found["billed_cost"]
    ]
    as_records(rows, ("billing_currency", *measures))
    if found["conversion"]:
        remark(found["conversion"])
    for each in found["adjustments"]:
        remark(
            f"adjustment for {each['for_month']}, {each['charge_category']}: billed {each['billed_cost'] or 0}, "
            f"effective {each['effective_cost'] or 0} {each['billing_currency']}"
        )
    closed = f", closed at {found['closed_at']}" if found["closed_at"] else ""
    remark(f"{found['team']}, {found['month']}{closed}: {found['reconciliation']}")
    remark(f"split rule {found['split_rule']}, shared cost {found['shared_cost']}")
    if found["path"]:
        remark(f"written to {found['path']}")
