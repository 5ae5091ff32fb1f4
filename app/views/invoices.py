"""Whether the bills are what was invoiced: from a total down to the line, its charges, and who used them."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import polars as pl
import streamlit as st

from app import cards, controls, data, table
from app import format as written
from app.page import page
from app.table import Column
from app.views import _invoice, _typed
from ledger import money
from ledger.tables import Reconciliation
from queries import measure
from queries.measures import health
from queries.measures import invoices as measures

_STATUS: Final = {
    "matches_invoice": "matches the invoice",
    "matches_export": "matches the export",
    "estimated": "estimated",
    "differs": "differs",
    "unchecked": "not checked yet",
}
_MEANINGS: Final = {
    "matches_invoice": "Its charges equal what the invoice says, within FOCUS 1.4's tolerance.",
    "matches_export": "Its charges sum to the totals that came with the export. No invoice is known: type it below, or "
    "import it.",
    "estimated": "Some of it is estimated, since no bill covers it yet.",
    "differs": "Its charges differ from the invoice by more than rounding explains, or are not all allocated.",
    "unchecked": "Its charges are not allocated yet.",
}


@page("Invoices", section="Money", order=8, icon=":material/receipt_long:", roles=("admin", "manager", "sre"))
def invoices() -> None:
    """Compare each bill with its invoice; a row opens down to its charges and who used them."""
    found = data.once(_newest_first, data.rows(Reconciliation, scope=controls.scope()))
    if found.is_empty():
        st.info(
            "No bill was imported yet: `clusterledger ingest PATH`, or the page Import. An invoice can be typed below."
        )
        _typed.form({})
        return
    _typed.say()
    _headline(found)
    shown = _of_month(found)
    row = _table(shown) or _first(shown)
    _opened(row)
    _typed.form(row)
    _late()


def _newest_first(invoices: pl.DataFrame) -> pl.DataFrame:
    """Return bills with their status in words: those that differ, then the newest."""
    shown = pl.col("status").replace_strict(_STATUS, default=pl.col("status")).alias("standing")
    order = [pl.col("status") != "differs", "billing_period_start", "provider", "invoice_id"]
    return invoices.with_columns(shown).sort(order, descending=[False, True, False, False])


def _first(found: pl.DataFrame) -> dict[str, Any]:
    """Return the bill that opens: one that differs, else the newest with an invoice, else the newest."""
    rank = pl.when(pl.col("status") == "differs").then(0).when(pl.col("invoiced").is_not_null()).then(1).otherwise(2)
    return found.sort(rank, maintain_order=True).row(0, named=True)


def _headline(found: pl.DataFrame) -> None:
    compared = data.once(_compared, found)
    counts = data.once(measure.values, found, (health.DIFFERING_COUNT, measures.COMPARED_COUNT, health.INVOICE_COUNT))
    differing, known, all_of = (int(value or 0) for value in counts.values())
    missing = f" {all_of - known} of {all_of} bills have no invoice to be compared with." if known < all_of else ""
    if differing:
        st.error(f"{differing} of {all_of} bills differ from what they should sum to.{missing}")
    elif known:
        st.success(f"All {known} bills whose invoice is known match it within FOCUS 1.4's tolerance.{missing}")
    else:
        st.warning(f"No invoice is known, so that nothing proves the bills: type one below, or import it.{missing}")
    with cards.row(4):
        cards.counted(health.DIFFERING_COUNT, health.INVOICE_COUNT, found)
        cards.counted(measures.COMPARED_COUNT, health.INVOICE_COUNT, found)
        cards.summed(measures.CHARGED, compared)
        cards.summed(measures.INVOICED, compared)
    st.caption("Charged and invoiced are of the bills whose invoice is known.")


def _compared(found: pl.DataFrame) -> pl.DataFrame:
    return found.filter(pl.col("invoiced").is_not_null())


def _of_month(found: pl.DataFrame) -> pl.DataFrame:
    """Show the totals of each month, and return the bills of the one that is selected, else all."""
    picked = table.show(
        data.once(_months, found),
        {
            "billing_period_start": Column("Month", "month"),
            "billing_currency": Column("Currency"),
            "charged": Column("Charged", "money", "Sum of the rows of its bills."),
            "invoiced": Column("Invoiced", "money", "Sum of the invoices that are known."),
            "difference": Column("Difference", "money", "Of the bills whose invoice is known."),
            "bill_count": Column("Bills", "count"),
            "compared_count": Column("Compared", "count", "Bills whose invoice is known."),
            "issuers": Column("Issuers"),
        },
        key="months",
        file_name="invoices-by-month",
        select=True,
    )
    if picked is None:
        st.caption("Select a month to see its bills alone.")
        return found
    return data.once(_bills, found, picked["billing_period_start"], picked["billing_currency"])


def _bills(found: pl.DataFrame, month: datetime, currency: str) -> pl.DataFrame:
    return found.filter(pl.col("billing_period_start") == month, pl.col("billing_currency") == currency)


def _months(found: pl.DataFrame) -> pl.DataFrame:
    """Return what the bills of each month and currency sum to, the newest month first."""
    key = ["billing_period_start", "billing_currency"]
    ordered = found.sort("billing_period_start", "billing_currency", descending=[True, False])
    sums = money.summed(ordered, by=key, columns=["charged", "invoiced", "difference"])
    return sums.join(
        ordered.group_by(key).agg(
            pl.len().alias("bill_count"),
            pl.col("invoiced").count().alias("compared_count"),
            pl.col("invoice_issuer").unique().sort().str.join(" · ").alias("issuers"),
        ),
        on=key,
        how="left",
        maintain_order="left",
    )


def _table(found: pl.DataFrame) -> dict[str, Any] | None:
    return table.show(
        found,
        {
            "billing_period_start": Column("Period", "month"),
            "provider": Column("Provider"),
            "invoice_issuer": Column("Issuer"),
            "invoice_id": Column(
                "Invoice", help="Empty while none is issued, or where the bill names none.", width=125
            ),
            "standing": Column("Status"),
            "charged": Column("Charged", "money", "Sum of the bill's rows."),
            "invoiced": Column("Invoiced", "money", "From the invoice itself, never from the bill."),
            "difference": Column("Difference", "money", "Charged less invoiced."),
            "tolerance": Column("Tolerance", "money", "What FOCUS 1.4 allows for rounding."),
            "allocated": Column("Allocated", "money", "Sum of what was allocated of the bill's rows."),
            "billing_currency": Column("Currency"),
            "row_count": Column("Charges", "count"),
            "complete_through": Column("Complete to", "instant"),
        },
        key="invoices",
        file_name="reconciliation",
        select=True,
    )


def _opened(row: dict[str, Any]) -> None:
    """Draw one bill beside its invoice, and open it downwards."""
    currency = row["billing_currency"]
    with st.container(border=True):
        unnamed = "no invoice yet" if row["invoiced"] is None else "its invoices, of which the bill names none"
        number = f"invoice {row['invoice_id']}" if row["invoice_id"] else unnamed
        st.subheader(f"{row['provider']}, {row['billing_period_start']:%B %Y}: {number}", anchor=False)
        st.caption(f"Issued by {row['invoice_issuer']} · {_MEANINGS[row['status']]}")
        labels = {"charged": "Charged", "allocated": "Allocated", "invoiced": "Invoiced", "difference": "Difference"}
        lines = [f"| {label} | {_exact(row[name])} |" for name, label in labels.items()]
        lines.append(f"| Tolerance | {_exact(row['tolerance'])} |")
        st.markdown(f"| To the last digit | {currency} |\n|:--|--:|\n" + "\n".join(lines))
        _causes(row)
        _invoice.groups(row)
        _typed.period(row)


def _exact(amount: Decimal | None) -> str:
    """Write an amount with every digit: a difference may be smaller than a cent."""
    return written.UNKNOWN if amount is None else f"{Decimal(money.written(amount)):,f}"


def _causes(row: dict[str, Any]) -> None:
    """Say which charges explain a difference."""
    if row["status"] != "differs":
        return
    if row["charged"] != row["allocated"]:
        st.warning("Not all of its charges are allocated yet: look again when the next rollup has run.")
    if row["invoiced"] is None:
        return
    if not row["difference"]:
        if row["charged"] == row["allocated"]:
            st.caption("The invoice bills several providers: what it lacks stands beside the one that charged most.")
        return
    from queries.differences import causes  # noqa: PLC0415  most bills need no explanation

    hub = data.hub()
    found = data.made(
        "causes",
        ["focus_charge", "bill_import", "invoice_line", "reconciliation"],
        lambda: causes(hub.store.select, row),
        scope=controls.scope(),
        bill=tuple(str(row[name]) for name in (*Reconciliation.primary_key(), "difference")),
    )
    if not found:
        st.warning("No charge, and no small set of charges, sums to the difference. Compare it line by line below.")
        return
    st.markdown("**What explains the difference**" + (", one of:" if len(found) > 1 else ":"))
    st.markdown("\n".join(f"- {each.words}" for each in found))


def _late() -> None:
    """Show charges that were invoiced in another month than the one in which they were incurred."""
    found = controls.answer("late_charges")
    st.subheader("Late and corrected charges", anchor=False)
    if found.is_empty():
        st.caption("Each charge was invoiced in the month in which it was incurred, and none corrects another.")
        return
    st.caption(
        "As invoiced they count in one month, as incurred in another: reconciliation takes the first, cost by day the "
        "second."
    )
    table.show(
        found,
        {
            "billing_period_start": Column("Invoiced in", "month"),
            "incurred_start": Column("Incurred in", "month"),
            "invoice_issuer": Column("Issuer"),
            "invoice_id": Column("Invoice"),
            "charge_class": Column("Class"),
            "charge_count": Column("Charges", "count"),
            "billed_cost": Column("Billed", "money"),
            "effective_cost": Column("Effective", "money"),
            "billing_currency": Column("Currency"),
        },
        key="late",
        file_name="late-charges",
    )
