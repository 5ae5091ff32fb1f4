"""Held GPUs that idle for too long, what people decided about them, and who was told."""

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
    job_name = text("Its name; null where the scheduler does not tell")
    model = text("The model that it serves or trains; null where the job is not known")
    user = text("Its user")
    team = text("Its team", nullable=False)
    idle_seconds = seconds("How long it has idled")
    effective_cost = money("What that cost so far; null where no price is known")
    billing_currency = text("ISO 4217; null where no price is known")
    is_estimated = flag("The price is an estimate")
    status = text(
        "Where it stood when it was computed; a decision since then counts at once",
        nullable=False,
        among=INCIDENT_STATUS,
    )


@table("operation", Whole())
class IncidentDecision(dy.Schema):
    """What a person decided about one idle incident."""

    cluster = key("Cluster")
    node = key("Node name")
    gpu_uuid = key("NVML UUID")
    opened_at = key_instant("The incident")
    decision = text("acknowledged, snoozed, exempt; open takes a decision back", nullable=False, among=INCIDENT_STATUS)
    decided_at = instant("When", nullable=False)
    decided_by = text("Who", nullable=False)
    snoozed_until = instant("Until when")
    comment = text("Why")


@table("operation", Whole())
class IncidentExemption(dy.Schema):
    """One rule under which idleness is no incident for a time: all its patterns must fit; its seconds stay idle."""

    exemption_id = key("Id of the rule")
    cluster = text("Cluster; a trailing * matches any rest, '' matches all", nullable=False)
    node = text("Node, in the same way", nullable=False)
    user = text("User, in the same way", nullable=False)
    job = text("Job id or job name, in the same way", nullable=False)
    model = text("Model, in the same way", nullable=False)
    reason = text("Why", nullable=False)
    starts_at = instant("From when on", nullable=False)
    ends_at = instant("Until when, exclusive", nullable=False)
    made_by = text("Who", nullable=False)
    withdrawn_at = instant("When it was taken back")
    withdrawn_by = text("By whom")


@table("operation", Whole())
class IncidentNotice(dy.Schema):
    """What one receiver knows of one incident, and what it is still to be told."""

    receiver = key("Name of the receiver in the configuration")
    cluster = key("Cluster; '' in the row that says since when the receiver is told of incidents")
    node = key("Node name")
    gpu_uuid = key("NVML UUID")
    opened_at = key_instant("The incident")
    job_id = text("The job that holds the device", nullable=False)
    user = text("Its user, as the receiver was told when it opened; who it turns out to be later changes no alert")
    team = text("Its team, in the same way; null where nothing was told yet")
    turn_count = count("How often it opened: a gap in samples may end it for a while", nullable=False)
    told = text("The last that it was told: '', opened, closed", nullable=False, among=("", "opened", "closed"))
    pending = text("What it is to be told now: '', opened, closed", nullable=False, among=("", "opened", "closed"))
    pending_from = instant("Since when")
    closed_at = instant("The end that it is to be told, or was")
    attempt_count = count("Calls that failed since it was told something", nullable=False)
    next_attempt_at = instant("Not before then")
    is_refused = flag("The receiver refuses this one for its content: the others are told meanwhile")
    told_at = instant("When it was told last")
    message = text("What went wrong last; null where nothing did")
