"""Whether the ledger adds up to the invoices, and what explains it where it does not."""

from dataclasses import asdict

from app.context import Context
from app.services._service import Params, Progress, service
from ledger.tables import Reconciliation
from queries.differences import causes


class Everything(Params):
    """Nothing to ask: every invoice is told."""


@service()
def reconcile(context: Context, params: Everything, progress: Progress) -> list[dict[str, object]]:
    """Return one row per invoice: what was charged, allocated and invoiced, whether it agrees, and if not, why.

    `causes` names the charges that explain a difference, as far as a few of them do.
    """
    del params
    rows = context.store.read(Reconciliation).to_dicts()
    for index, row in enumerate(rows):
        progress(str(row["invoice_id"]), index / len(rows))
        is_wrong = row["status"] == "differs" and row["invoiced"] is not None
        row["causes"] = [asdict(each) for each in causes(context.store.select, row)] if is_wrong else []
    return rows
