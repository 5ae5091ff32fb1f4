"""One bill opened downwards: its groups, their charges, and who used what a charge pays for."""

from datetime import timedelta
from typing import Any, Final

import polars as pl
import streamlit as st

from app import controls, data, links, sums, table
from app import format as written
from app.reports.statement import STATUS_WORDS
from app.table import Column
from ledger.tables.partition import after, floor
from queries import measure

_GROUPS: Final = ("line", "service", "category", "resource", "day", "account")
"""What is chosen stands in the URL as it is shown."""

_TICK: Final = timedelta(microseconds=1)
_HOUR: Final = timedelta(hours=1)


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
        _GROUPS,
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
        data.once(_named, groups),
        {
            "name": Column("Invoice line" if by == "line" else asked["by"].capitalize()),
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
    _charges(row, data.answer("invoice_charges", scope=controls.scope(), **asked, name=picked["key"]), picked)


def _named(groups: pl.DataFrame) -> pl.DataFrame:
    """Return groups as they are shown: what has no name says so, and without an invoice nothing is compared."""
    name = pl.col("name")
    shown = groups.with_columns(key=name, name=pl.when(name == "").then(pl.lit("not told")).otherwise(name))
    known = shown["invoiced"].null_count() < shown.height
    return shown if known else shown.drop("invoiced", "difference", "description")


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
    _split(picked)
    _holders(row, picked)


def _split(charge: dict[str, Any]) -> None:
    """Show how the provider divides a node's charge over its pods, where its bill says so."""
    if not charge["resource_id"]:
        return
    found = data.answer(
        "split_charges",
        scope=controls.scope(),
        **{
            "import": charge["import_id"],
            "resource": charge["resource_id"],
            "start": charge["charge_period_start"],
            "end": charge["charge_period_end"],
        },
    )
    if found.is_empty():
        return
    st.markdown(f"**How the bill itself divides {charge['resource_id']} over pods and tasks**")
    table.show(
        found,
        {
            "resource_id": Column("Pod or task"),
            "meter": Column("Divided"),
            "split_cost": Column("Its part", "money"),
            "unused_cost": Column("Of what nobody asked for", "money"),
            "reserved_quantity": Column("Asked for", "decimal"),
            "used_quantity": Column("Used", "decimal"),
            "split_quantity": Column("Charged for", "decimal", "The larger of both; accelerators as asked for."),
            "quantity_unit": Column("Unit"),
            "split_ratio": Column("Of the node", "percent"),
            "tags": Column("Tags"),
        },
        key=f"split-{charge['resource_id']}",
        file_name="split-charges",
    )
    st.caption("The provider's own estimate: in no total here, since the charge above has the money.")


def _holders(row: dict[str, Any], charge: dict[str, Any]) -> None:
    """Show to whom the cost of a charge's resource was allocated in this invoice, and what its devices did."""
    of_charge = {
        **_asked(row),
        "resource": charge["resource_id"],
        "service": charge["service_name"] or "",
        "category": charge["charge_category"],
    }
    found = data.answer("invoice_allocations", scope=controls.scope(), **of_charge)
    name = charge["resource_id"] or charge["service_name"] or charge["charge_category"]
    st.markdown(f"**To whom {name} was allocated, over the whole invoice**")
    if found.is_empty():
        st.info("Nothing of it is allocated yet: look again when the next rollup has run.")
        return
    total = data.once(measure.by_currency, found, "billed_cost")
    st.caption(f"{sums.shown(total, compact=False)} billed. Select a row to see its hours.")
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
    if picked is None:
        stretch = data.Window(
            floor(charge["charge_period_start"], "hour"), after(charge["charge_period_end"] - _TICK, "hour")
        )
        links.to("gpus", "What the GPUs did in the time of the charge", window=controls.token(stretch))
        return
    _hours(of_charge, picked)


def _hours(of_charge: dict[str, Any], holder: dict[str, Any]) -> None:
    """Show a holder's part hour by hour and device by device; an hour leads to the samples of its device."""
    found = data.answer(
        "invoice_hours",
        scope=controls.scope(),
        **of_charge,
        holder=holder["team"],
        job=holder["job_id"],
        submitted=holder["submitted_at"],
        bucket=holder["bucket"],
        node=holder["node"],
    )
    who = f"job {holder['job_id']}" if holder["job_id"] else holder["team"] or holder["bucket"]
    st.markdown(f"**Hour by hour: {who}{' on ' + holder['node'] if holder['node'] else ''}**")
    picked = table.show(
        found,
        {
            "hour_start": Column("Hour", "instant"),
            "gpu": Column("GPU"),
            "state": Column("State", "state"),
            "held_gpu_hours": Column("GPU-hours", "decimal"),
            "billed_cost": Column("Billed", "money"),
            "effective_cost": Column("Effective", "money"),
        },
        key=f"hours-{who}-{holder['node']}-{holder['state']}",
        file_name="invoice-hours",
        select=True,
    )
    with st.container(horizontal=True):
        if picked and picked["gpu"]:
            # With the hours beside it: a state is seen to begin and to end.
            hour = data.Window(picked["hour_start"] - _HOUR, picked["hour_start"] + 2 * _HOUR)
            label = f"Samples of {picked['gpu']}, {written.instant(picked['hour_start'])}"
            links.to("gpus", label, window=controls.token(hour), gpu=picked["gpu"])
        elif holder["node"]:
            all_of_it = data.Window(holder["first_hour"], after(holder["last_hour"], "hour"))
            links.to("gpus", "What the GPUs did meanwhile", window=controls.token(all_of_it))
            st.caption("Select an hour to see the samples of its GPU.")
        if holder["job_id"]:
            links.to("jobs", f"What job {holder['job_id']} did", **links.to_job(holder))


def behind(invoices: pl.DataFrame) -> None:
    """List the invoices behind a statement, and how each is reconciled."""
    if invoices.is_empty():
        return
    st.subheader("The invoices behind it", anchor=False)
    table.show(
        invoices.with_columns(pl.col("status").replace(dict(STATUS_WORDS))),
        {
            "provider": Column("Provider"),
            "invoice_issuer": Column("Issuer"),
            "invoice_id": Column("Invoice"),
            "billing_currency": Column("Currency"),
            "status": Column("Reconciliation"),
            "complete_through": Column("Billed through", "instant"),
        },
        key="statement-invoices",
    )
