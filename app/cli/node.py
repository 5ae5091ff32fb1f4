"""Commands on a node."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli._options import Json, Store, asked, settings
from app.cli._output import as_json, as_records, complain, remark
from ledger.config import Settings
from ledger.words import amount


def add(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    cli.command()(agent)
    cli.command()(collect)


def agent(
    hub: Annotated[str, typer.Option("--hub", metavar="URL", help="Ship to this hub; else to agent.hub.")] = "",
    once: Annotated[bool, typer.Option("--once", help="Collect and ship once, then end.")] = False,
    send_refused: Annotated[
        bool,
        typer.Option(
            "--send-refused",
            help="Send again what the hub refused for good, such as after it was updated, then end; collect nothing. "
            "Another agent may run meanwhile.",
        ),
    ] = False,
    store: Store = None,
) -> int:
    """Collect from this node at each collector's pace, and ship to the hub."""
    from collectors.agent import run_agent  # noqa: PLC0415  commands on the hub need no collectors

    def reread() -> Settings:
        return settings(store, agent={"hub": hub or None})

    if send_refused:
        if once:
            raise typer.BadParameter("found --once and --send-refused, expected one of them")
        return _send_refused(reread())
    return run_agent(reread(), once=once, reread=reread)


def _send_refused(given: Settings) -> int:
    """Send refused batches again, and print how many became what."""
    from collectors._again import sent_again  # noqa: PLC0415  as above

    sent = sent_again(given)
    if sent.batches:
        as_records(sent.records(), ("outcome", "batches", "rows"))
    elif not sent.ended:
        remark("no refused batch is kept here")
    for reason, count in sent.reasons.items():
        complain(f"{amount(count, 'batch')} refused again: {reason}")
    if sent.ended:
        complain(f"{given.agent.hub}: {sent.ended}", sent.advice)
    return 1 if sent.ended or sent.reasons else 0


def collect(
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="Run this collector; may be given again.")
    ] = None,
    procfs: Annotated[
        Path | None,
        typer.Option("--procfs", metavar="DIR", exists=True, file_okay=False, help="Read this in the place of /proc."),
    ] = None,
    sysfs: Annotated[
        Path | None,
        typer.Option("--sysfs", metavar="DIR", exists=True, file_okay=False, help="Read this in the place of /sys."),
    ] = None,
    json: Json = False,
    store: Store = None,
) -> int:
    """Run node collectors once and print their rows, without storing or shipping them."""
    found = asked("collect", store, only=only or [], procfs=procfs, sysfs=sysfs)
    if json:
        as_json(found)
    else:
        runs = [{**each, "duration_seconds": f"{each['duration_seconds']:.6f}"} for each in found["runs"]]
        as_records(runs, ("collector", "ok", "rows", "duration_seconds", "error"), cut=False)
    return 0 if all(run["ok"] for run in found["runs"]) else 1
