"""Whether the ledger adds up to the invoices, and what explains it where it does not."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import polars as pl

from app.context import Context
from app.services._service import Params, Progress, service
from ledger.tables import BillImport, Reconciliation
from ledger.words import amount
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
        row["causes"] = _causes(context, row) if row["status"] == "differs" else []
    return rows


def _causes(context: Context, row: Mapping[str, Any]) -> list[dict[str, object]]:
    """Return what explains a difference; without an invoice, a bill lacks what was refused of its files."""
    if row["invoiced"] is not None:
        return [asdict(each) for each in causes(context.store.select, row)]
    imports = context.store.read(BillImport).filter(
        pl.col("status") == "current",
        pl.col("provider") == row["provider"],
        pl.col("billing_period_start") == row["billing_period_start"],
        pl.col("rejected_count") > 0,
    )
    counts = dict(imports.group_by("source_name").agg(pl.col("rejected_count").sum()).sort("source_name").iter_rows())
    about = {"how": "refused", "kind": "file", "billed_cost": None}
    return [
        {
            **about,
            "value": name,
            "row_count": count,
            "words": f"{amount(count, 'row')} of {name} refused: see `rejected_row`",
        }
        for name, count in counts.items()
    ]
