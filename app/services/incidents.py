"""Devices that a job holds and leaves idle, and what people decide about them."""

from typing import Annotated, Literal

import polars as pl
from pydantic import AwareDatetime, Field

from app.context import Context
from app.services._audit import audited
from app.services._incidents import incidents_now
from app.services._service import Params, Progress, service
from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.tables import IncidentDecision


class Incidents(Params):
    """Which incidents, or a decision about some of them."""

    lasting: Annotated[bool, Field(description="Only those that last")] = True
    status: Annotated[
        Literal["all", "open", "acknowledged", "snoozed", "exempt", "closed"], Field(description="Where they stand")
    ] = "all"
    gpu_uuid: Annotated[str, Field(description="Device of the incident to decide about; empty to list")] = ""
    job_id: Annotated[str, Field(description="Job whose lasting incidents to decide about; empty to list")] = ""
    opened_at: Annotated[
        AwareDatetime | None, Field(description="Since when it idles, as listed; empty for the one that lasts")
    ] = None
    decision: Annotated[
        Literal["acknowledged", "snoozed", "exempt", "open"], Field(description="What was decided; open takes it back")
    ] = "acknowledged"
    snoozed_until: Annotated[AwareDatetime | None, Field(description="Until when it is hidden")] = None
    comment: Annotated[str, Field(max_length=1_000, description="Why it was decided so")] = ""


@service()
def incidents(context: Context, params: Incidents, progress: Progress) -> list[dict[str, object]]:
    """Return idle incidents, the longest first; or keep a decision about some of them and return these."""
    del progress
    found = incidents_now(context)
    if params.gpu_uuid or params.job_id:
        chosen = _chosen(found, params)
        _decide(context, params, chosen)
        found = incidents_now(context).join(chosen, on=["cluster", "node", "gpu_uuid", "opened_at"], how="semi")
    elif params.status != "all":
        found = found.filter(pl.col("status") == params.status)
    elif params.lasting:
        found = found.filter(pl.col("closed_at").is_null())
    return found.sort("idle_seconds", "gpu_uuid", descending=[True, False]).to_dicts()


def _chosen(found: pl.DataFrame, params: Incidents) -> pl.DataFrame:
    """Return the incidents that are decided about.

    Raises: InputError: there is none.
    """
    wanted = [pl.col(name) == value for name in ("gpu_uuid", "job_id") if (value := getattr(params, name))]
    is_meant = pl.col("opened_at") == params.opened_at if params.opened_at else pl.col("closed_at").is_null()
    chosen = found.filter(*wanted, is_meant)
    if chosen.is_empty():
        what = params.gpu_uuid or f"job {params.job_id}"
        since = f" that opened at {params.opened_at}" if params.opened_at else " that lasts"
        raise InputError(
            f"incidents: found none of {what}{since}",
            hint="`clusterledger incident list` shows them: give gpu_uuid, and opened_at, as they are listed",
        )
    return chosen


def _decide(context: Context, params: Incidents, chosen: pl.DataFrame) -> None:
    if params.decision == "snoozed" and (params.snoozed_until is None or params.snoozed_until <= context.now()):
        found = params.snoozed_until or "nothing"
        raise InputError(f"incidents: snoozed_until: found {found}, expected an instant to come", hint="give --until")
    rows = [
        {
            **{name: each[name] for name in ("cluster", "node", "gpu_uuid", "opened_at")},
            "decision": params.decision,
            "decided_at": context.now(),
            "decided_by": context.actor,
            "snoozed_until": params.snoozed_until if params.decision == "snoozed" else None,
            "comment": params.comment,
        }
        for each in chosen.iter_rows(named=True)
    ]
    context.store.append(IncidentDecision, to_frame(IncidentDecision, rows), source=context.actor)
    until = (
        f" until {params.snoozed_until.isoformat()}" if params.decision == "snoozed" and params.snoozed_until else ""
    )
    for each in chosen.iter_rows(named=True):
        subject = f"{each['node']}/{each['gpu_uuid']} since {each['opened_at'].isoformat()}"
        audited(context, action=f"incident {params.decision}", subject=subject, detail=f"{params.comment}{until}")
    context.changed({"idle_incident", "incident_decision"})
