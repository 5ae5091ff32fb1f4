"""Whether the ledger adds up to the invoices."""

from app.context import Context
from app.services._service import Params, Progress, service
from ledger.tables import Reconciliation


class Everything(Params):
    """Nothing to ask: every invoice is told."""


@service()
def reconcile(context: Context, params: Everything, progress: Progress) -> list[dict[str, object]]:
    """Return one row per invoice: what was charged, allocated and invoiced, and whether it agrees."""
    del params, progress
    return context.store.read(Reconciliation).to_dicts()
