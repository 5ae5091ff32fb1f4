"""What to change, what it saves, on which evidence, and what became of it."""

import json
from datetime import timedelta
from typing import Any

import polars as pl
import streamlit as st

from app import cards, data, display, sums, table
from app import format as written
from app.page import page
from app.table import Column
from app.views._findings import findings
from queries import measure
from queries.display import Shown, words
from queries.measures import spending


@page("Savings", section="Act", order=0, icon=":material/savings:")
def savings() -> None:
    """List findings by money, each with its evidence and the change to make."""
    found, opened, others = findings()
    if found.is_empty():
        st.info("No finding. Advice needs 14 days of evidence with 90 % coverage; below that nothing is claimed.")
        return
    wanted = st.segmented_control(
        "Status", ["open", "snoozed", "dismissed", "applied"], default="open", key="status", bind="query-params"
    )
    rows = found.filter(pl.col("status") == (wanted or "open")).sort(
        "saving_effective_month", "freed_gpu_hours_month", descending=True, nulls_last=True
    )
    _headline(found, opened, others)
    if told := words(opened, others):
        st.caption(told)
    if rows.is_empty():
        st.success("Nothing here.")
        return
    shown = opened if wanted in {None, "open"} else others
    picked = table.show(
        display.marked(rows, shown),
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
    chosen = picked["finding_id"] if picked else rows["finding_id"][0]
    _finding(rows.row(by_predicate=pl.col("finding_id") == chosen, named=True), shown)


def _headline(found: pl.DataFrame, opened: Shown, others: Shown) -> None:
    unique = data.once(measure.counted_once, found)
    with cards.row(4):
        cards.taken(spending.OPEN_FINDINGS, found)
        cards.summed(spending.SAVING_EFFECTIVE, unique, shown=opened)
        cards.summed(spending.SAVING_CASH, unique, shown=opened)
        cards.summed(spending.SAVING_REALISED, found, shown=others)


def _finding(row: dict[str, Any], shown: Shown) -> None:
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
                f"- cash: {_amount(row, 'saving_cash_month', shown)}{cash_from}\n"
                f"- effective cost: {_amount(row, 'saving_effective_month', shown)}\n"
                f"- GPU-hours: {written.count(row['freed_gpu_hours_month'])}"
            )
            st.markdown("**Evidence**")
            facts = json.loads(row["evidence"])
            st.markdown("\n".join(f"- {written.words(name)}: {value}" for name, value in facts.items()))
        if row["status"] == "open":
            _decide(row["finding_id"])


def _amount(row: dict[str, Any], column: str, shown: Shown) -> str:
    currency, amount = row["billing_currency"], row[column]
    known = {currency: amount} if currency and amount is not None else {}
    return sums.shown(known, compact=False, marked=shown.marked)


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
