"""What to change, what it saves, on which evidence, and what became of it."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import streamlit as st

from app import cards, controls, data, table
from app import format as written
from app.page import page
from app.table import Column
from queries import measure
from queries.measures import spending


@page("Savings", section="Act", order=0, icon=":material/savings:")
def savings() -> None:
    """List findings by money, each with its evidence and the change to make."""
    found = controls.answer("findings", now=controls.minute())
    if found.is_empty():
        st.info("No finding. Advice needs 14 days of evidence with 90 % coverage; below that nothing is claimed.")
        return
    wanted = st.segmented_control(
        "Status", ["open", "snoozed", "dismissed", "applied"], default="open", key="status", bind="query-params"
    )
    rows = found.filter(pl.col("status") == (wanted or "open")).sort(
        "saving_effective_month", "freed_gpu_hours_month", descending=True, nulls_last=True
    )
    _headline(found)
    if rows.is_empty():
        st.success("Nothing here.")
        return
    picked = table.show(
        rows,
        {
            "saving_effective_month": Column("Frees a month", "money", "Effective cost that is freed."),
            "saving_cash_month": Column(
                "Cash a month",
                "money",
                "Money that is not paid any more; 0 under a running commitment or on owned hardware.",
            ),
            "billing_currency": Column("Currency"),
            "title": Column("Finding"),
            "team": Column("Team"),
            "owner": Column("Owner"),
            "freed_gpu_hours_month": Column("GPU-hours a month", "hours"),
            "confidence": Column("Confidence"),
            "coverage_ratio": Column("Coverage", "percent"),
            "first_seen_at": Column("First seen", "instant"),
        },
        key="findings",
        file_name="findings",
        select=True,
    )
    _finding(picked or rows.row(0, named=True))


def _headline(found: pl.DataFrame) -> None:
    unique = data.once(measure.counted_once, found)
    with cards.row(4):
        cards.taken(spending.OPEN_FINDINGS, found)
        cards.summed(spending.SAVING_EFFECTIVE, unique)
        cards.summed(spending.SAVING_CASH, unique)
        cards.summed(spending.SAVING_REALISED, found)


def _finding(row: dict[str, Any]) -> None:
    currency = row["billing_currency"] or ""
    with st.container(border=True):
        st.subheader(row["title"], anchor=False)
        st.caption(
            f"Rule `{row['rule']}` · evidence {written.instant(row['evidence_start'])} "
            f"to {written.instant(row['evidence_end'])} · "
            f"coverage {written.percent(row['coverage_ratio'])} · confidence {row['confidence']}"
        )
        left, right = st.columns([3, 2], gap="large")
        with left:
            st.markdown("**Do**")
            st.code(row["directive"], language=None, wrap_lines=True)
            if row["undo"]:
                st.markdown(f"**Undo**: {row['undo']}")
            st.markdown(f"**May be wrong**: {row['may_be_wrong']}")
        with right:
            st.markdown("**Saves in an average month**")
            cash_from = f" from {written.instant(row['cash_from'])}" if row["cash_from"] else ""
            st.markdown(
                f"- cash: {_amount(row['saving_cash_month'], currency)}{cash_from}\n"
                f"- effective cost: {_amount(row['saving_effective_month'], currency)}\n"
                f"- GPU-hours: {written.count(row['freed_gpu_hours_month'])}"
            )
            st.markdown("**Evidence**")
            facts = json.loads(row["evidence"])
            st.markdown("\n".join(f"- {written.words(name)}: {value}" for name, value in facts.items()))
        if row["status"] == "open":
            _decide(row["finding_id"])


def _amount(amount: Decimal | None, currency: str) -> str:
    return written.money(amount, currency) if currency else written.UNKNOWN


def _decide(finding_id: str) -> None:
    reason = st.text_input("Reason", key=f"reason-{finding_id}", placeholder="why, for those who ask later")
    with st.container(horizontal=True):
        for label, status in (
            ("It was applied", "applied"),
            ("Snooze for 30 days", "snoozed"),
            ("Dismiss", "dismissed"),
        ):
            if st.button(label, key=f"{status}-{finding_id}"):
                until = data.now() + timedelta(days=30) if status == "snoozed" else None
                data.act("findings", decide=finding_id, decision=status, reason=reason, snoozed_until=until)
                st.rerun()
