"""Idle incidents as they stand at this moment: a decision counts at once, not with the next rollup."""

import polars as pl

from app.context import Context
from ledger.tables import IdleIncident, IncidentDecision, IncidentExemption
from queries.incidents import standing

TABLES = ("idle_incident", "incident_decision", "incident_exemption")
"""What the standing of incidents is made from."""


def incidents_now(context: Context, team: str = "") -> pl.DataFrame:
    """Return all known incidents of a team, or of all, with their status as it is now."""
    store = context.store
    where = {"team": [team]} if team else None
    with store.transaction():
        found = store.read(IdleIncident, where=where)
        decisions, exemptions = store.read(IncidentDecision), store.read(IncidentExemption)
    return standing(found, decisions, exemptions, context.now())
