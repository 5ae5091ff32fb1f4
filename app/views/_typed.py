"""An invoice that is typed from paper, and the period that is closed once it matches: both are for admins."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import streamlit as st

from app import controls, data
from app.format import money
from ledger.errors import InputError
from ledger.tables import BillingPeriod

_SAID: Final = "invoice_said"


def say() -> None:
    """Say what came of the last act."""
    kind, text = st.session_state.pop(_SAID, ("", ""))
    if text:
        (st.success if kind == "done" else st.error)(text)


def form(row: dict[str, Any]) -> None:
    """Let an admin type the invoice of a bill; what the bill says of it is filled in."""
    if controls.scope().role != "admin":
        return
    key = f"{row.get('invoice_issuer', '')}-{row.get('invoice_id', '')}-{row.get('billing_period_start', '')}"
    with st.expander("Type an invoice"), st.form(f"invoice-{key}", border=False):
        columns = st.columns(5)
        start = row.get("billing_period_start") or data.now()
        filled = {
            "invoice_issuer": ("Issuer", row.get("invoice_issuer", "")),
            "invoice_id": ("Invoice", row.get("invoice_id", "")),
            "period": ("Month", f"{start:%Y-%m}"),
            "billing_currency": ("Currency", row.get("billing_currency", "")),
            "invoiced": ("Payable amount", ""),
        }
        given = {
            name: column.text_input(label, value, key=f"{name}-{key}")
            for column, (name, (label, value)) in zip(columns, filled.items(), strict=True)
        }
        with st.container(horizontal=True):
            if st.form_submit_button("Keep it", type="primary"):
                _act(partial(_type, given))
            if st.form_submit_button("Take it back", help="Removes what was typed; what came from a file stays."):
                _act(partial(_remove, given))


def period(row: dict[str, Any]) -> None:
    """Say whether the period of a bill is closed, and let an admin close or open it."""
    issuer, start = row["invoice_issuer"], row["billing_period_start"]
    known = data.rows(BillingPeriod, scope=controls.scope(), where={"invoice_issuer": [issuer]})
    mine = [each for each in known.iter_rows(named=True) if each["billing_period_start"] == start]
    is_closed = bool(mine) and mine[0]["status"] == "closed"
    if is_closed:
        st.caption(
            f"{start:%B %Y} of {issuer} was closed by {mine[0]['changed_by']}: a bill that would change it waits until "
            "it is accepted."
        )
    if controls.scope().role != "admin":
        return
    label = f"Open {start:%B %Y} again" if is_closed else f"Close {start:%B %Y}"
    if st.button(label, key=f"period-{issuer}-{start:%Y%m}", help="Bills that change a closed period wait for you."):
        _act(partial(_close, issuer, f"{start:%Y-%m}", "open" if is_closed else "close"))


def _act(act: Callable[[], str]) -> None:
    """Do it, and say what came of it after the page has run again."""
    try:
        st.session_state[_SAID] = ("done", act())
    except InputError as error:
        st.session_state[_SAID] = ("failed", f"{error.message}. {error.hint}".rstrip(". ") + ".")
    st.rerun()


def _type(given: dict[str, str]) -> str:
    (kept,) = data.act("invoices", action="type", **given)
    amount = money(kept["invoiced"], kept["billing_currency"])
    return f"Invoice {kept['invoice_id']}: {amount}. It is compared with its bill at the next rollup."


def _remove(given: dict[str, str]) -> str:
    data.act("invoices", action="remove", invoice_issuer=given["invoice_issuer"], invoice_id=given["invoice_id"])
    return f"Invoice {given['invoice_id']} was taken back."


def _close(issuer: str, month: str, action: str) -> str:
    (kept,) = data.act("periods", action=action, invoice_issuer=issuer, period=month)
    return f"{month} of {issuer} is {kept['status']}."
