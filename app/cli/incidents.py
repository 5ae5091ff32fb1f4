"""Commands about idle incidents."""

from datetime import datetime
from typing import Annotated

import typer

from app.cli._options import Json, Store, asked, instant
from app.cli._output import show
from ledger.errors import InputError

Device = Annotated[str, typer.Argument(metavar="[GPU]", help="The device's uuid, as listed.")]
Job = Annotated[str, typer.Option("--job", metavar="ID", help="All devices of this job that idle.")]
Comment = Annotated[str, typer.Option("--comment", metavar="TEXT", help="Why, for those who ask later.")]

_INCIDENT = ("gpu_uuid", "node", "opened_at", "idle_seconds", "job_id", "user", "team", "status", "decided_by")
_RULE = ("exemption_id", "node", "user", "job", "model", "cluster", "starts_at", "ends_at", "reason", "made_by")


def add(cli: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(help="List idle incidents, and decide about them.", rich_markup_mode=None, no_args_is_help=True)
    group.command("list")(listed)
    for command in (acknowledge, snooze, reopen, exempt, exemptions, withdraw):
        group.command()(command)
    cli.add_typer(group, name="incident")


def listed(
    status: Annotated[
        str,
        typer.Option(
            "--status", metavar="STATUS", help="Where they stand: open, acknowledged, snoozed, exempt, closed or all."
        ),
    ] = "all",
    past: Annotated[bool, typer.Option("--past", help="List also those that are over.")] = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """List held GPUs that idle for too long, the longest first."""
    show(asked("incidents", store, status=status, lasting=not past), _INCIDENT, json=json)


def acknowledge(
    gpu: Device = "", job: Job = "", comment: Comment = "", json: Json = False, store: Store = None
) -> None:
    """Say that somebody takes care of it: receivers who have not been told yet are not told."""
    _decide("acknowledged", gpu, job, comment, json=json, store=store)


def snooze(
    gpu: Device = "",
    job: Job = "",
    until: Annotated[str | None, typer.Option("--until", metavar="T", help="Until this instant.")] = None,
    comment: Comment = "",
    json: Json = False,
    store: Store = None,
) -> None:
    """Keep it quiet for a time."""
    _decide("snoozed", gpu, job, comment, json=json, store=store, until=instant(until, "--until"))


def reopen(gpu: Device = "", job: Job = "", comment: Comment = "", json: Json = False, store: Store = None) -> None:
    """Take a decision back."""
    _decide("open", gpu, job, comment, json=json, store=store)


def exempt(
    node: Annotated[str, typer.Option("--node", metavar="NODE", help="Nodes; a trailing * matches any rest.")] = "",
    user: Annotated[str, typer.Option("--user", metavar="USER", help="Users, in the same way.")] = "",
    job: Annotated[str, typer.Option("--job", metavar="JOB", help="Job ids or job names, in the same way.")] = "",
    model: Annotated[str, typer.Option("--model", metavar="MODEL", help="Models, in the same way.")] = "",
    cluster: Annotated[str, typer.Option("--cluster", metavar="CLUSTER", help="Clusters, in the same way.")] = "",
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why they may idle.")] = "",
    since: Annotated[str | None, typer.Option("--since", metavar="T", help="From this instant; else now.")] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="T", help="Until this instant.")] = None,
    json: Json = False,
    store: Store = None,
) -> None:
    """Make a rule under which idleness is no incident for a time; its seconds and its cost stay idle."""
    made = asked(
        "exemptions",
        store,
        action="create",
        node=node,
        user=user,
        job=job,
        model=model,
        cluster=cluster,
        starts_at=instant(since, "--since"),
        ends_at=instant(until, "--until"),
        reason=reason,
    )
    show(made, _RULE, json=json)


def exemptions(
    past: Annotated[bool, typer.Option("--past", help="List also those that are over or withdrawn.")] = False,
    json: Json = False,
    store: Store = None,
) -> None:
    """List the rules that exempt."""
    show(asked("exemptions", store, past=past), _RULE, json=json)


def withdraw(
    exemption: Annotated[str, typer.Argument(metavar="ID", help="The rule, as listed.")],
    json: Json = False,
    store: Store = None,
) -> None:
    """Withdraw a rule that exempts."""
    show(asked("exemptions", store, action="withdraw", exemption_id=exemption), _RULE, json=json)


def _decide(
    decision: str, gpu: str, job: str, comment: str, *, json: bool, store: str | None, until: datetime | None = None
) -> None:
    if not gpu and not job:
        raise InputError("incident: found no device and no job, expected one", hint="`clusterledger incident list`")
    decided = asked(
        "incidents", store, gpu_uuid=gpu, job_id=job, decision=decision, comment=comment, snoozed_until=until
    )
    show(decided, _INCIDENT, json=json)
