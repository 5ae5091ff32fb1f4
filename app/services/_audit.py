"""The log of who changed what."""

import uuid

from app.context import Context
from ledger.frames import to_frame
from ledger.tables import Audit


def audited(context: Context, *, action: str, subject: str, detail: str = "") -> None:
    """Keep one entry: the context's actor did this."""
    row = {
        "audit_id": uuid.uuid4().hex,
        "occurred_at": context.now(),
        "actor": context.actor,
        "action": action,
        "subject": subject,
        "detail": detail,
    }
    context.store.append(Audit, to_frame(Audit, [row]), source=context.actor)
