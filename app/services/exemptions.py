"""Rules under which idleness is no incident: by node, user, job or model, with a reason and an end."""

import uuid
from typing import Annotated, Final, Literal

import polars as pl
from pydantic import AwareDatetime, Field

from app.context import Context
from app.services._audit import audited
from app.services._service import Params, Progress, service
from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.tables import IncidentExemption

_PATTERNS: Final = ("cluster", "node", "user", "job", "model")

Pattern = Annotated[str, Field(max_length=253)]


class Exemptions(Params):
    """What to do with rules."""

    action: Annotated[Literal["list", "create", "withdraw"], Field(description="list, create or withdraw")] = "list"
    cluster: Annotated[Pattern, Field(description="Cluster; a trailing * matches any rest, empty matches all")] = ""
    node: Annotated[Pattern, Field(description="Node, in the same way")] = ""
    user: Annotated[Pattern, Field(description="User, in the same way")] = ""
    job: Annotated[Pattern, Field(description="Job id or job name, in the same way")] = ""
    model: Annotated[Pattern, Field(description="Model, in the same way")] = ""
    reason: Annotated[str, Field(max_length=1_000, description="Why it is right that they idle")] = ""
    starts_at: Annotated[AwareDatetime | None, Field(description="From when on; empty for now")] = None
    ends_at: Annotated[AwareDatetime | None, Field(description="Until when")] = None
    exemption_id: Annotated[str, Field(description="The rule to withdraw")] = ""
    past: Annotated[bool, Field(description="List also those that are over or withdrawn")] = False


@service()
def exemptions(context: Context, params: Exemptions, progress: Progress) -> list[dict[str, object]]:
    """Return rules that exempt, those that end first at the top; a new or a withdrawn one is returned alone."""
    del progress
    if params.action == "create":
        return _one(context, _created(context, params))
    if params.action == "withdraw":
        return _one(context, _withdrawn(context, params))
    found = context.store.read(IncidentExemption)
    if not params.past:
        found = found.filter((pl.col("ends_at") > context.now()) & pl.col("withdrawn_at").is_null())
    return found.sort("ends_at", "exemption_id").to_dicts()


def _created(context: Context, params: Exemptions) -> str:
    given = {name: getattr(params, name).strip() for name in _PATTERNS}
    starts_at = params.starts_at or context.now()
    if not any(value.strip("*") for value in given.values()):
        raise InputError(
            "exemptions: found no pattern, expected a cluster, node, user, job or model",
            hint="a rule that exempts everything would hide everything",
        )
    if not params.reason.strip():
        raise InputError("exemptions: reason: found nothing, expected why they may idle", hint="give --reason")
    if params.ends_at is None or params.ends_at <= max(starts_at, context.now()):
        raise InputError(
            f"exemptions: ends_at: found {params.ends_at or 'nothing'}, expected an instant to come, after the start",
            hint="give --until: a rule without an end is forgotten",
        )
    row = {
        "exemption_id": uuid.uuid4().hex[:12],
        **given,
        "reason": params.reason.strip(),
        "starts_at": starts_at,
        "ends_at": params.ends_at,
        "made_by": context.actor,
        "withdrawn_at": None,
        "withdrawn_by": None,
    }
    _keep(context, to_frame(IncidentExemption, [row]))
    shown = ", ".join(f"{name} {value}" for name, value in given.items() if value)
    until = params.ends_at.isoformat()
    audited(context, action="exemption created", subject=shown, detail=f"{params.reason.strip()} until {until}")
    return str(row["exemption_id"])


def _withdrawn(context: Context, params: Exemptions) -> str:
    known = context.store.read(IncidentExemption)
    live = known.filter((pl.col("exemption_id") == params.exemption_id) & pl.col("withdrawn_at").is_null())
    if live.is_empty():
        raise InputError(
            f"exemptions: found no rule {params.exemption_id} in force", hint="`clusterledger incident exemptions`"
        )
    now = pl.lit(context.now(), dtype=known.schema["withdrawn_at"])
    _keep(context, live.with_columns(now.alias("withdrawn_at"), pl.lit(context.actor).alias("withdrawn_by")))
    audited(context, action="exemption withdrawn", subject=params.exemption_id)
    return params.exemption_id


def _one(context: Context, exemption_id: str) -> list[dict[str, object]]:
    return context.store.read(IncidentExemption, where={"exemption_id": [exemption_id]}).to_dicts()


def _keep(context: Context, frame: pl.DataFrame) -> None:
    context.store.append(IncidentExemption, frame, source=context.actor)
    context.changed({"idle_incident", "incident_exemption"})
