"""How the ledger itself runs."""

import dataframely as dy

from ledger.tables.columns import count, flag, instant, key, key_count, key_instant, text
from ledger.tables.partition import Timed, Whole, table


@table("operation", Whole())
class JobRun(dy.Schema):
    """One due run of one scheduled job; it decides what is due, so that a missed run happens once."""

    job_name = key("Name of the scheduled job")
    due_at = key_instant("When it was due")
    attempt_count = key_count("From 1")
    started_at = instant("When it started", nullable=False)
    ended_at = instant("When it ended; null while it runs, or when it was killed")
    status = text("running, done, failed, skipped", nullable=False, among=("running", "done", "failed", "skipped"))
    message = text("What it did, or the error")


@table("operation", Whole())
class SourceState(dy.Schema):
    """One service of a cluster that the hub asks, and how that stands."""

    source_name = key("Its section in the configuration")
    kind = text("What it is: prometheus, slurm, ...", nullable=False)
    cluster = text("Cluster its rows belong to", nullable=False)
    reached_at = instant("Up to when it is known: the next pull begins there; null before the first answer")
    started_at = instant("When it was last asked", nullable=False)
    ended_at = instant("When that pull ended; null while it runs, or when it was killed")
    answered_at = instant("When it last answered to the end; null before the first time")
    row_count = count("New rows of the last pull", nullable=False)
    rejected_count = count("Rows of the last pull that were refused", nullable=False)
    failed_count = count("Pulls in a row that have failed", nullable=False)
    partial_count = count("Times in a row that what comes next was answered in part; null from older hubs")
    status = text("running, done, failed", nullable=False, among=("running", "done", "failed"))
    message = text("What the source remarked, or the error")


@table("operation", Whole())
class SourceGap(dy.Schema):
    """One stretch of time of which a source answered only a part, as often as it was asked."""

    source_name = key("Its section in the configuration")
    gap_end = key_instant("Up to when")
    gap_start = instant("Since when; null where the source's own history began there")
    cluster = text("Cluster its rows belong to", nullable=False)
    asked_count = count("How often it was asked before what there was was kept", nullable=False)
    message = text("What the source remarked")
    kept_at = instant("When that was kept", nullable=False)
    whole_until = instant(
        "Up to when it was answered whole later, from its start; at `gap_end` nothing is missing any more"
    )


@table("operation", Whole())
class PartitionState(dy.Schema):
    """One partition's version, and for a rollup what it was computed from, but for what waits in `partition_change`."""

    table_name = key("Table")
    partition_key = key("Partition, `column:partition` of another grouping, or `edge:partition` of its first minutes")
    version_count = count("Grows with each change of its rows", nullable=False)
    content_fingerprint = text("Fingerprint of its rows, where the table is replaced and not appended to")
    input_version = text("Fingerprint of the versions it was computed from")
    code_version = text("Fingerprint of the rollup's code")
    settings_fingerprint = text("Fingerprint of the settings it was computed with")
    is_sealed = flag("The rows behind it are gone: it is never recomputed", nullable=False)
    row_count = count("Its rows")
    changed_at = instant("When it last changed", nullable=False)


@table("operation", Whole())
class PartitionChange(dy.Schema):
    """What one commit of new rows added to one partition, until it is counted in `partition_state`."""

    turn_count = key_count("Which of the store's commits it was")
    table_name = key("Table")
    partition_key = key("Partition, as in `partition_state`")
    row_count = count("Rows added", nullable=False)
    changed_at = instant("When", nullable=False)


@table("operation", Timed("received_at", "day"))
class Batch(dy.Schema):
    """One batch of rows that an agent sent: it counts once."""

    batch_id = key("Id that the agent gave it")
    node = key("Node that sent it: an id is its node's own")
    cluster = text("The node's cluster; null from older hubs")
    received_at = instant("When it was committed", nullable=False)
    row_count = count("Rows kept", nullable=False)
    rejected_count = count("Rows refused", nullable=False)


@table("operation", Timed("rejected_at", "day"))
class RejectedRow(dy.Schema):
    """One row that did not fit its table, with the reason."""

    rejected_id = key("Id of the refusal")
    table_name = text("Table it was meant for", nullable=False)
    source = text("Who sent it: node, file, collector", nullable=False)
    reason = text("Column, what was found, what was expected", nullable=False)
    row_json = text("The row as it came", nullable=False)
    rejected_at = instant("When", nullable=False)
    fault = text("What the reason shares with those of rows that are wrong in the same way")


@table("operation", Whole())
class AgentToken(dy.Schema):
    """One node's right to write its own rows."""

    token_sha256 = key("Hash of the token; the token itself is shown once")
    node = text("The node it may write for; '*' for any, in the demo", nullable=False)
    cluster = text("Its cluster")
    created_at = instant("When it was made", nullable=False)
    revoked_at = instant("When it was revoked")


@table("operation", Timed("occurred_at", "day"))
class Audit(dy.Schema):
    """One act of a person or a program that changed something or read raw rows."""

    audit_id = key("Id of the entry")
    occurred_at = instant("When", nullable=False)
    actor = text("Who", nullable=False)
    action = text("What", nullable=False)
    subject = text("On what")
    detail = text("Further facts")


@table("operation", Whole())
class ReportDelivery(dy.Schema):
    """One report that went to one address."""

    report = key("weekly")
    period = key("2026-W47")
    recipient = key("Address")
    message_id = text("Message-ID header", nullable=False)
    sent_at = instant("When the server accepted it", nullable=False)
