"""Devices that a job holds and leaves idle, and what people decide about them."""

from typing import Annotated, Literal

import polars as pl
from pydantic import AwareDatetime, Field

from app.context import Context
from app.services._audit import audited
from app.services._service import Params, Progress, service
from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.tables import IdleIncident, IncidentDecision


class Incidents(Params):
    """Which incidents, or a decision about one."""

    lasting: Annotated[bool, Field(description="Only those that last")] = True
    gpu_uuid: Annotated[str, Field(description="Device of the incident to decide about; empty to list")] = ""
    opened_at: Annotated[AwareDatetime | None, Field(description="Since when it idles, as listed")] = None
    decision: Annotated[Literal["acknowledged", "snoozed", "exempt"], Field(description="What was decided")] = (
        "acknowledged"
    )
    snoozed_until: Annotated[AwareDatetime | None, Field(description="Until when it is hidden")] = None
    comment: Annotated[str, Field(max_length=1_000, description="Why it was decided so")] = ""


@service()
def incidents(context: Context, params: Incidents, progress: Progress) -> list[dict[str, object]]:
    """Return idle incidents, the longest first; or keep a decision about one and return it."""
    del progress
    frame = context.store.read(IdleIncident)
    if params.gpu_uuid:
        chosen = frame.filter((pl.col("gpu_uuid") == params.gpu_uuid) & (pl.col("opened_at") == params.opened_at))
        _decide(context, params, chosen)
        return chosen.with_columns(status=pl.lit(params.decision)).to_dicts()
    if params.lasting:
        frame = frame.filter(pl.col("closed_at").is_null())
    return frame.sort("idle_seconds", "gpu_uuid", descending=[True, False]).to_dicts()


def _decide(context: Context, params: Incidents, chosen: pl.DataFrame) -> None:
    if chosen.is_empty():
        raise InputError(
            f"incidents: found none of {params.gpu_uuid} that opened at {params.opened_at}",
            hint="give gpu_uuid and opened_at as they are listed",
        )
    first = chosen.row(0, named=True)
    row = {
        **{name: first[name] for name in ("cluster", "node", "gpu_uuid", "opened_at")},
        "decision": params.decision,
        "decided_at": context.now(),
        "decided_by": context.actor,
        "snoozed_until": params.snoozed_until,
        "comment": params.comment,
    }
    context.store.append(IncidentDecision, to_frame(IncidentDecision, [row]), source=context.actor)
    audited(context, action=f"incident {params.decision}", subject=params.gpu_uuid, detail=params.comment)
    context.changed({"idle_incident", "incident_decision"})
