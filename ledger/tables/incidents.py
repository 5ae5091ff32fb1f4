"""Held GPUs that idle for too long, and what people decided about them."""

import dataframely as dy

from ledger.names import STATES
from ledger.tables.columns import count, flag, instant, key, key_instant, money, seconds, text
from ledger.tables.partition import Whole, table

INCIDENT_STATUS = ("open", "acknowledged", "snoozed", "exempt", "closed")


@table("rollup", Whole())
class IdleIncident(dy.Schema):
    """One device that a job held and left idle for longer than the setting allows."""

    cluster = key("Cluster")
    node = key("Node name")
    gpu_uuid = key("NVML UUID of the GPU or slice")
    opened_at = key_instant("Since when it idled")
    closed_at = instant("When it worked again, or was given back; null while it lasts")
    state = text("allocated_idle or held_idle, as it was last", nullable=False, among=STATES)
    job_id = text("The job that holds it", nullable=False)
    restart_count = count("Its run", nullable=False)
    user = text("Its user")
    team = text("Its team", nullable=False)
    idle_seconds = seconds("How long it has idled")
    effective_cost = money("What that cost so far; null where no price is known")
    billing_currency = text("ISO 4217; null where no price is known")
    is_estimated = flag("The price is an estimate")
    status = text("Where it stands", nullable=False, among=INCIDENT_STATUS)


@table("operation", Whole())
class IncidentDecision(dy.Schema):
    """What a person decided about one idle incident."""

    cluster = key("Cluster")
    node = key("Node name")
    gpu_uuid = key("NVML UUID")
    opened_at = key_instant("The incident")
    decision = text("acknowledged, snoozed, exempt", nullable=False, among=INCIDENT_STATUS)
    decided_at = instant("When", nullable=False)
    decided_by = text("Who", nullable=False)
    snoozed_until = instant("Until when")
    comment = text("Why")
