"""Recommendations, and what people decide about them."""

from typing import Annotated, Literal

import polars as pl
from pydantic import AwareDatetime, Field

from app.context import Context
from app.services._audit import audited
from app.services._service import Params, Progress, service
from ledger.errors import InputError
from ledger.frames import to_frame
from ledger.tables import Finding, FindingDecision

_FIRST = ("saving_cash_month", "saving_effective_month")


class Findings(Params):
    """Which recommendations, or a decision about one."""

    status: Annotated[
        Literal["open", "snoozed", "dismissed", "applied", "expired", "all"], Field(description="Where they stand")
    ] = "open"
    decide: Annotated[str, Field(description="Id of the finding to decide about; empty to list")] = ""
    decision: Annotated[Literal["open", "snoozed", "dismissed", "applied"], Field(description="What was decided")] = (
        "open"
    )
    snoozed_until: Annotated[AwareDatetime | None, Field(description="Until when it is hidden")] = None
    reason: Annotated[str, Field(max_length=1_000, description="Why it was decided so")] = ""


@service()
def findings(context: Context, params: Findings, progress: Progress) -> list[dict[str, object]]:
    """Return recommendations, those that save most first; or keep a decision about one and return it."""
    del progress
    if params.decide:
        _decide(context, params)
    frame = standing(context)
    if params.decide:
        return frame.filter(pl.col("finding_id") == params.decide).to_dicts()
    if params.status != "all":
        frame = frame.filter(pl.col("status") == params.status)
    return frame.sort([*_FIRST, "finding_id"], descending=[True, True, False], nulls_last=True).to_dicts()


def standing(context: Context) -> pl.DataFrame:
    """Return all findings with the newest decision about each; a snooze that is over counts no more."""
    found = context.store.read(Finding)
    decided = context.store.read(FindingDecision)
    columns = ["status", "decided_by", "snoozed_until", "reason"]
    joined = found.join(
        decided.select("finding_id", *(pl.col(name).alias(f"new_{name}") for name in columns)),
        on="finding_id",
        how="left",
    )
    is_over = (pl.col("new_status") == "snoozed") & (pl.col("new_snoozed_until") <= context.now())
    counts = pl.col("new_status").is_not_null() & ~is_over.fill_null(value=False)
    return joined.with_columns(
        pl.when(counts).then(pl.col(f"new_{name}")).otherwise(pl.col(name)).alias(name) for name in columns
    ).select(found.columns)


def _decide(context: Context, params: Findings) -> None:
    known = context.store.read(Finding, columns=("finding_id",))
    if params.decide not in known["finding_id"]:
        raise InputError(f"findings: found no finding {params.decide}", hint="`clusterledger findings` lists them")
    if params.decision == "snoozed" and params.snoozed_until is None:
        raise InputError("findings: a snooze needs an end", hint="give --until")
    row = {
        "finding_id": params.decide,
        "status": params.decision,
        "decided_at": context.now(),
        "decided_by": context.actor,
        "snoozed_until": params.snoozed_until,
        "reason": params.reason,
    }
    context.store.append(FindingDecision, to_frame(FindingDecision, [row]), source=context.actor)
    audited(context, action=f"finding {params.decision}", subject=params.decide, detail=params.reason)
    context.changed({"finding", "finding_decision"})
