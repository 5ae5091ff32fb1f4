"""One bill opened downwards: its groups, their charges, and who used what a charge pays for."""

from typing import Any, Final

import polars as pl
import streamlit as st

from app import controls, data, links, sums, table
from app import format as written
from app.table import Column
from queries import measure

_GROUPS: Final = {
    "line": "Invoice line",
    "service": "Service",
    "category": "Category",
    "resource": "Resource",
    "day": "Day",
    "account": "Account",
}


def _asked(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "issuer": row["invoice_issuer"],
        "invoice": row["invoice_id"],
        "start": row["billing_period_start"],
        "currency": row["billing_currency"],
    }


def groups(row: dict[str, Any]) -> None:
    """Show what a bill holds by group; a group opens into its charges."""
    by = st.segmented_control(
        "Told apart by",
        list(_GROUPS),
        format_func=_GROUPS.__getitem__,
        default="service",
        key="by",
        bind="query-params",
    )
    asked = {**_asked(row), "by": str(by or "service")}
    groups = data.answer("invoice_groups", scope=controls.scope(), **asked)
    if groups.is_empty():
        st.info("No charge of this invoice is in the ledger: its bill was not imported.")
        return
    picked = table.show(
        groups
        if groups["invoiced"].null_count() < groups.height
        else groups.drop("invoiced", "difference", "description"),
        {
            "name": Column(_GROUPS[asked["by"]]),
            "description": Column("Of the invoice"),
            "charge_count": Column("Charges", "count"),
            "billed_cost": Column("Billed", "money"),
            "invoiced": Column("Invoiced", "money"),
            "difference": Column("Difference", "money"),
            "effective_cost": Column("Effective", "money"),
        },
        key=f"groups-{asked['by']}-{row['invoice_issuer']}-{row['invoice_id']}-{row['billing_period_start']:%Y%m}",
        file_name="invoice-groups",
        select=True,
    )
    if picked is None:
        st.caption("Select a row to see its charges.")
        return
    _charges(row, data.answer("invoice_charges", scope=controls.scope(), **asked, name=picked["name"]), picked)


def _charges(row: dict[str, Any], charges: pl.DataFrame, group: dict[str, Any]) -> None:
    """Show the charges of a group; a charge opens into who used it."""
    shown = charges.height
    more = (
        f"the {shown} largest of {written.count(group['charge_count'])}"
        if shown < group["charge_count"]
        else f"{shown}"
    )
    st.markdown(f"**Charges of {group['name'] or 'none'}** ({more})")
    picked = table.show(
        charges,
        {
            "charge_period_start": Column("From", "instant"),
            "charge_period_end": Column("To", "instant"),
            "resource_id": Column("Resource"),
            "billed_cost": Column("Billed", "money"),
            "effective_cost": Column("Effective", "money"),
            "charge_category": Column("Category"),
            "charge_class": Column("Class"),
            "service_name": Column("Service"),
            "charge_description": Column("Description"),
            "consumed_count": Column("Consumed", "decimal"),
            "consumed_unit": Column("Unit"),
            "row_index": Column("Row", "count", "Its place in the import, from 0."),
            "path": Column("File"),
        },
        key=f"charges-{group['name']}",
        file_name="invoice-charges",
        select=True,
    )
    if picked is None:
        st.caption("Select a charge to see who used what it pays for.")
        return
    _holders(row, picked)


def _holders(row: dict[str, Any], charge: dict[str, Any]) -> None:
    """Show to whom the cost of a charge's resource was allocated in this invoice, and what its devices did."""
    found = data.answer(
        "invoice_allocations",
        scope=controls.scope(),
        **_asked(row),
        resource=charge["resource_id"],
        service=charge["service_name"] or "",
        category=charge["charge_category"],
    )
    name = charge["resource_id"] or charge["service_name"] or charge["charge_category"]
    st.markdown(f"**To whom {name} was allocated, over the whole invoice**")
    if found.is_empty():
        st.info("Nothing of it is allocated yet: look again when the next rollup has run.")
        return
    total = data.once(measure.by_currency, found, "billed_cost")
    st.caption(f"{sums.shown(total, compact=False)} billed. Select a row to see the job's samples.")
    picked = table.show(
        found,
        {
            "team": Column("Team"),
            "user": Column("User"),
            "job_id": Column("Job"),
            "model": Column("Model"),
            "bucket": Column("Bucket"),
            "state": Column("State of the devices", "state"),
            "node": Column("Node"),
            "gpu_count": Column("GPUs", "count"),
            "held_gpu_hours": Column("GPU-hours", "hours"),
            "billed_cost": Column("Billed", "money"),
            "effective_cost": Column("Effective", "money"),
            "first_hour": Column("From", "instant"),
            "last_hour": Column("Last hour", "instant"),
            "split_rule": Column("Split rule"),
        },
        key=f"holders-{name}",
        file_name="invoice-allocations",
        select=True,
    )
    with st.container(horizontal=True):
        if picked and picked["job_id"]:
            links.to("jobs", f"What job {picked['job_id']} did", **links.to_job(picked))
        links.to("gpus", "What the GPUs did")
