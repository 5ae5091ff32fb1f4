"""Prepaid usage in the ledger: what providers do not amortise gets rows that are derived here."""

import polars as pl

from app.context import Context
from app.services._bills import keep
from collectors.billing._amortisation import SOURCE, amortised
from ledger.tables import BillImport
from queries import sql


def amortise(context: Context) -> int:
    """Derive what prepaid usage costs from the bills that count, and return how many rows there are.

    The same bills give the same rows, which changes nothing; rows of a period for which nothing is derived any more
    are superseded.
    """
    store = context.store
    purchases = store.select(sql.load("prepaid_purchases").text)
    before = store.read(BillImport).filter(pl.col("source_name") == SOURCE, pl.col("status") == "current")
    if purchases.is_empty() and before.is_empty():
        return 0
    usage = store.select(sql.load("prepaid_usage").text)
    found = amortised(purchases, usage, imported_at=context.now())
    with context.work:
        rows = sum(keep(context, each, accept=True).rows for each in found)
        unit = ["billing_account_id", "billing_period_start"]
        kept = [each.imports.select(unit) for each in found]
        gone = before.join(pl.concat(kept), on=unit, how="anti") if kept else before
        if gone.height:
            store.append(BillImport, gone.with_columns(pl.lit("superseded").alias("status")), source=SOURCE)
    context.changed()
    return rows
