"""May I trust the numbers: coverage, agents, bills, invoices, and what fits nowhere, in money."""

from datetime import timedelta
from typing import Final

import polars as pl
import streamlit as st

from app import cards, controls, data, table
from app import format as written
from app.data import Window
from app.page import page
from app.table import Column
from app.views._known import attribution, gpuless, happenings, networks
from app.views._sources import sources
from app.views._unpriced import unpriced
from ledger.tables import Reconciliation
from ledger.tables.partition import floor
from queries import measure
from queries.measures import health, spending

_REASONS: Final = {
    "left_out": "the bill is complete past it and left it out",
    "no_price": "no bill and no price list says what it costs",
}


@page(
    "Data health",
    section="Operate",
    order=0,
    icon=":material/monitor_heart:",
    path="data-health",
    roles=("admin", "manager", "sre"),
)
def data_health() -> None:
    """Show what is not seen, not matched, not accepted and not reconciled."""
    window = controls.window()
    coverage = controls.answer("node_coverage")
    charges = controls.answer("unmatched_charges")
    nodes = controls.answer("unmatched_nodes")
    unbilled = controls.answer("unbilled")
    rejected = controls.answer("rejected_rows")
    invoices = data.once(_newest_first, data.rows(Reconciliation, scope=controls.scope()))
    _headline(coverage, charges, unbilled, invoices, rejected)
    seen, known, money, refused = st.tabs(
        ["Coverage and agents", "Whose processes, and networks", "Bills and invoices", "Refused rows"]
    )
    with seen:
        _coverage(coverage, window)
        happenings()
    with known:
        attribution()
        networks()
    with money:
        _invoices(invoices)
        _unmatched(charges, nodes)
        _unbilled(unbilled)
        unpriced()
    with refused:
        _rejected(rejected)


def _newest_first(invoices: pl.DataFrame) -> pl.DataFrame:
    return invoices.sort("billing_period_start", descending=True)


def _headline(
    coverage: pl.DataFrame,
    charges: pl.DataFrame,
    unbilled: pl.DataFrame,
    invoices: pl.DataFrame,
    rejected: pl.DataFrame,
) -> None:
    known = data.once(measure.value, coverage, health.HOLDER_KNOWN_RATIO)
    with cards.row():
        cards.taken(health.COVERAGE_RATIO, coverage, f"holder {written.percent(known)}")
        cards.summed(spending.UNMATCHED_COST, charges)
        unseen = data.once(measure.value, unbilled, health.UNBILLED_GPU_HOURS)
        hours = written.gpu_hours(unseen).removesuffix(" GPU-h")
        cards.number(health.UNBILLED_GPU_HOURS, unseen, "GPU-hours", shown=hours)
        cards.counted(health.DIFFERING_COUNT, health.INVOICE_COUNT, invoices)
        cards.taken(health.REFUSED_COUNT, rejected)


def _coverage(coverage: pl.DataFrame, window: Window) -> None:
    st.subheader("Nodes, the least seen first", anchor=False)
    today = Window(max(window.start, floor(window.end - timedelta(microseconds=1), "day")), window.end)
    if not coverage.is_empty():
        _seen(coverage)
    gpuless(controls.answer("gpuless_nodes", today), is_all=coverage.is_empty())
    sources()
    st.subheader("Agents and their collectors", anchor=False)
    agents = controls.answer("agents", today)
    if agents.is_empty():
        st.caption("No agent reported on the last day of this window.")
        return
    table.show(
        agents.with_columns(mean_ms=pl.col("mean_seconds") * 1000, max_ms=pl.col("max_seconds") * 1000),
        {
            "node": Column("Node"),
            "collector": Column("Collector"),
            "last_run_at": Column("Last run", "instant"),
            "run_count": Column("Rounds", "count"),
            "failed_count": Column("Failed", "count"),
            "mean_ms": Column("Mean (ms)", "decimal"),
            "max_ms": Column("Most (ms)", "decimal"),
            "last_error": Column("Last error"),
        },
        key="agents",
        file_name="agents",
    )


def _seen(coverage: pl.DataFrame) -> None:
    table.show(
        data.once(measure.with_each, coverage, ("cluster", "node"), health.COVERAGE_RATIO, health.HOLDER_KNOWN_RATIO),
        {
            "cluster": Column("Cluster"),
            "node": Column("Node"),
            "existed_gpu_hours": Column("Existing GPU-hours", "hours"),
            health.COVERAGE_RATIO.name: Column("Seen", "percent", health.COVERAGE_RATIO.means),
            health.HOLDER_KNOWN_RATIO.name: Column(
                health.HOLDER_KNOWN_RATIO.title, "percent", health.HOLDER_KNOWN_RATIO.means
            ),
            "evidence_quality": Column("Evidence", help="The weakest of the window: A profiling … X none."),
            "last_sampled_at": Column("Last sample", "instant"),
            "failed_run_count": Column("Failed rounds", "count"),
            "rejected_count": Column("Refused rows", "count"),
        },
        key="coverage",
        file_name="coverage",
    )
    controls.say_days("What was seen")


def _invoices(invoices: pl.DataFrame) -> None:
    st.subheader("Invoices", anchor=False)
    if invoices.is_empty():
        st.info("No bill was imported. `clusterledger ingest PATH` takes FOCUS files, invoices and price lists.")
    table.show(
        invoices,
        {
            "billing_period_start": Column("Period", "month"),
            "provider": Column("Provider"),
            "invoice_id": Column("Invoice", width=125),
            "charged": Column("Charged", "money", "Sum of the bill's rows."),
            "allocated": Column("Allocated", "money", "Sum of what was allocated of them."),
            "estimated": Column("Estimated", "money", "Beside them: hours that the bill does not cover yet."),
            "invoiced": Column("Invoiced", "money", "From the invoice itself."),
            "difference": Column("Difference", "money"),
            "tolerance": Column("Tolerance", "money", "What FOCUS 1.4 allows for rounding."),
            "billing_currency": Column("Currency"),
            "status": Column("Status"),
            "complete_through": Column("Complete to", "instant"),
        },
        key="invoices",
        file_name="reconciliation",
    )
    with st.expander("Imports"):
        imports = controls.answer("bill_imports")
        table.show(
            imports,
            {
                "imported_at": Column("Imported", "instant"),
                "status": Column("Status"),
                "source_name": Column("Source"),
                "format": Column("Format"),
                "version": Column("Version"),
                "billing_account_id": Column("Account"),
                "billing_period_start": Column("Period", "month"),
                "row_count": Column("Rows", "count"),
                "rejected_count": Column("Refused", "count"),
                "billed_cost": Column("Billed", "money"),
                "effective_cost": Column("Effective", "money"),
                "billing_currency": Column("Currency"),
                "complete_through": Column("Complete to", "instant"),
            },
            key="imports",
            file_name="imports",
        )


def _unmatched(charges: pl.DataFrame, nodes: pl.DataFrame) -> None:
    st.subheader("Charges of resources that belong to no node", anchor=False)
    if charges.is_empty():
        st.success("Each charge with a resource belongs to a node.")
    else:
        table.show(
            charges,
            {
                "provider": Column("Provider"),
                "service_name": Column("Service"),
                "resource_id": Column("Resource"),
                "effective_cost": Column("Effective", "money"),
                "billed_cost": Column("Billed", "money"),
                "billing_currency": Column("Currency"),
                "in_scope": Column("In scope", "flag"),
            },
            key="charges",
            file_name="unmatched-charges",
        )
        st.caption(
            "What is a node's, such as a disk, is stated under `[[node_resources]]`; whose a volume, a bucket or a "
            "service is, under `[[money.owners]]`."
        )
    st.subheader("Nodes that no bill covers", anchor=False)
    if nodes.is_empty():
        st.success("A bill covers each node in the window.")
        return
    table.show(
        nodes,
        {
            "cluster": Column("Cluster"),
            "node": Column("Node"),
            "provider": Column("Provider"),
            "instance_type": Column("Instance type"),
            "gpu_count": Column("GPUs", "count"),
            "estimated_cost": Column("Estimated cost", "money"),
            "billing_currency": Column("Currency"),
        },
        key="nodes",
        file_name="unmatched-nodes",
    )


def _unbilled(unbilled: pl.DataFrame) -> None:
    st.subheader("GPU time without a bill", anchor=False)
    if unbilled.is_empty():
        st.success("A charge or an estimate covers each GPU-hour in the window.")
        return
    table.show(
        unbilled.with_columns(pl.col("reason").replace_strict(dict(_REASONS), default=pl.col("reason"))),
        {
            "cluster": Column("Cluster"),
            "node": Column("Node"),
            "provider": Column("Provider"),
            "instance_type": Column("Instance type"),
            "reason": Column("Why"),
            "gpu_hours": Column("GPU-hours", "hours"),
            "known_gpu_hours": Column("State known", "hours", "In another state than unknown: somebody saw it."),
            "expected_cost": Column(
                "Should cost", "money", "At the nearest billed rate of its type, else at the list price. In no total."
            ),
            "billing_currency": Column("Currency"),
            "first_hour": Column("From", "instant"),
            "last_hour": Column("Last hour", "instant"),
        },
        key="unbilled",
        file_name="unbilled",
    )


def _rejected(rejected: pl.DataFrame) -> None:
    if rejected.is_empty():
        st.success("No row was refused in this window.")
        return
    table.show(
        rejected,
        {
            "table_name": Column("Table"),
            "source": Column("From"),
            "row_count": Column("Rows", "count", "How many rows are wrong in this way."),
            "reason": Column("Why", help="What was said of the first of them."),
            "last_rejected_at": Column("Last", "instant"),
            "example": Column("Example"),
        },
        key="rejected",
        file_name="refused-rows",
    )
