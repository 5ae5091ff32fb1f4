"""What one import of a bill says otherwise than the one before it."""

from typing import Any

import polars as pl
import streamlit as st

from app import controls, data, table
from app.table import Column


def changes(import_id: str) -> None:
    """Show what an import says otherwise than the one before it: sums first, then the largest charges."""
    units: list[dict[str, Any]] = data.made(
        "bill_changes",
        ["bill_import", "focus_charge"],
        lambda: data.act("bill_changes", import_id=import_id),
        scope=controls.scope(),
        import_id=import_id,
    )
    for unit in units:
        st.caption(
            f"Account {unit['billing_account_id']}, {unit['billing_period_start']:%B %Y}, against "
            + (f"import {unit['before_import_id'][:12]}" if unit["before_import_id"] else "nothing before it")
        )
        key = f"{import_id}-{unit['billing_account_id']}-{unit['billing_period_start']:%Y%m}"
        table.show(
            pl.DataFrame(unit["totals"], infer_schema_length=None),
            {
                "change": Column("Charges", help="added, removed, changed, or the same in both"),
                "charge_count": Column("How many", "count"),
                "billed_before_cost": Column("Billed before", "money"),
                "billed_cost": Column("Billed now", "money"),
                "billed_change_cost": Column("Change", "money"),
                "effective_change_cost": Column("Change, effective", "money"),
                "billing_currency": Column("Currency"),
            },
            key=f"totals-{key}",
        )
        if unit["changes"]:
            with st.expander("Charge by charge"):
                _charges(pl.DataFrame(unit["changes"], infer_schema_length=None), key)


def _charges(changes: pl.DataFrame, key: str) -> None:
    table.show(
        changes,
        {
            "change": Column("Change"),
            "charge_period_start": Column("From", "instant"),
            "charge_category": Column("Category"),
            "charge_class": Column("Class"),
            "service_name": Column("Service"),
            "resource_id": Column("Resource"),
            "billed_before_cost": Column("Billed before", "money"),
            "billed_cost": Column("Billed now", "money"),
            "billed_change_cost": Column("Change", "money"),
            "effective_change_cost": Column("Change, effective", "money"),
            "billing_currency": Column("Currency"),
        },
        key=f"changes-{key}",
        file_name="bill-changes",
    )
