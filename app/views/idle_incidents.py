"""Held GPUs that idle for too long: who holds them, what it costs, and what somebody decides about it."""

from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from functools import partial
from typing import Any, Final

import polars as pl
import streamlit as st

from app import cards, controls, data, links, table
from app import format as written
from app.page import page
from app.services._incidents import TABLES, incidents_now
from app.table import Column
from ledger.errors import InputError
from ledger.tables import IncidentExemption
from queries.measures import incidents as measures

_STATUS: Final = ("open", "acknowledged", "snoozed", "exempt", "closed")

_PAST: Final = timedelta(days=7)

_SNOOZES: Final = {"4 hours": timedelta(hours=4), "a day": timedelta(days=1), "a week": timedelta(days=7)}

_SAID: Final = "incident-said"

_COLUMNS: Final = {
    "node": Column("Node"),
    "idle_seconds": Column("Idle for", "duration", "How long it has idled without a break, in hours."),
    "job_id": Column("Job"),
    "job_name": Column("Name"),
    "user": Column("User"),
    "team": Column("Team"),
    "model": Column("Model"),
    "effective_cost": Column("Cost so far", "money", "Effective cost of this idleness."),
    "billing_currency": Column("Currency"),
    "state": Column("State", "state"),
    "opened_at": Column("Since", "instant"),
    "closed_at": Column("Until", "instant"),
    "decided_by": Column("Decided by"),
    "snoozed_until": Column("Quiet until", "instant"),
    "comment": Column("Why"),
    "gpu_uuid": Column("GPU"),
}


@page("Idle incidents", section="Act", order=1, icon=":material/notifications_active:")
def idle_incidents() -> None:
    """List held GPUs that idle for too long, and acknowledge, snooze or exempt them."""
    found = _found()
    if found.is_empty():
        st.info(
            "No held GPU has idled for long in the last week. Incidents come from samples: "
            "start an agent with `clusterledger agent --hub URL`, or try `clusterledger demo`."
        )
        _rules()
        return
    _headline(found)
    wanted = st.segmented_control("Status", _STATUS, default="open", key="status", bind="query-params")
    shown = data.once(_of_status, found, str(wanted or "open"))
    _say()
    if shown.is_empty():
        st.success(f"No incident is {wanted or 'open'}.")
    else:
        picked = table.show(shown, _columns(wanted), key="incidents", file_name="idle-incidents", select=True)
        _incident(picked or shown.row(0, named=True), shown)
    _rules()


def _found() -> pl.DataFrame:
    """Return incidents that last and those of the last week, as they stand this minute."""
    scope, cluster, team, minute = controls.scope(), controls.cluster(), controls.team(), data.minute()

    def read() -> pl.DataFrame:
        found = incidents_now(data.hub(), team)
        is_recent = pl.col("closed_at").is_null() | (pl.col("closed_at") > minute - _PAST)
        return found.filter(is_recent, pl.lit(not cluster) | (pl.col("cluster") == cluster))

    return data.made("incidents", TABLES, read, scope=scope, cluster=cluster, team=team, now=minute)


def _of_status(found: pl.DataFrame, status: str) -> pl.DataFrame:
    return found.filter(pl.col("status") == status).sort("idle_seconds", "gpu_uuid", descending=[True, False])


def _columns(status: str | None) -> dict[str, Column]:
    """Return the columns that say something of incidents that stand so."""
    empty = {"closed_at"} if status != "closed" else {"snoozed_until"}
    if (status or "open") == "open":
        empty |= {"decided_by", "snoozed_until", "comment"}
    return {name: column for name, column in _COLUMNS.items() if name not in empty}


def _headline(found: pl.DataFrame) -> None:
    with cards.row(4):
        for each in (measures.NOT_DECIDED, measures.CARED_FOR, measures.EXEMPT):
            cards.taken(each, found)
        cards.summed(measures.LASTING_COST, found)


def _incident(row: dict[str, Any], shown: pl.DataFrame) -> None:
    """Draw one incident with what can be decided about it."""
    with st.container(border=True):
        name = f" ({row['job_name']})" if row["job_name"] else ""
        st.subheader(f"Job {row['job_id']}{name} on {row['node']}" if row["job_id"] else row["node"], anchor=False)
        cost = written.money(row["effective_cost"], row["billing_currency"]) if row["billing_currency"] else "unknown"
        ended = f" until {written.instant(row['closed_at'])}" if row["closed_at"] else ""
        st.caption(
            f"`{row['gpu_uuid']}` · idle since {written.instant(row['opened_at'])}{ended}, "
            f"{written.duration(row['idle_seconds'])} · cost {cost}"
            + (f" · {row['status']} by {row['decided_by']}" if row["decided_by"] else "")
            + (f" until {written.instant(row['snoozed_until'])}" if row["snoozed_until"] else "")
        )
        with st.container(horizontal=True):
            links.to("jobs", "What the job did", job=row["job_id"])
            links.to("gpus", "What the GPUs do")
        if row["exemption_id"]:
            st.caption(f"A rule exempts it: {row['comment']}. Its time is idle all the same.")
        elif row["closed_at"] is None:
            _decide(row, shown)


def _decide(row: dict[str, Any], shown: pl.DataFrame) -> None:
    same = shown.filter(pl.col("job_id") == row["job_id"], pl.col("cluster") == row["cluster"]).height
    key = f"{row['gpu_uuid']}-{row['opened_at']:%s}"
    whole = False
    if same > 1 and row["job_id"] and not controls.scope().is_limited:
        whole = st.toggle(f"For all {same} GPUs of the job", value=True, key=f"whole-{key}")
    comment = st.text_input("Comment", key=f"comment-{key}", placeholder="why, for those who ask later")
    about = {"job_id": row["job_id"]} if whole else {"gpu_uuid": row["gpu_uuid"], "opened_at": row["opened_at"]}
    choices = [
        ("Open it again", "open", None, row["status"] != "open"),
        ("Acknowledge", "acknowledged", None, row["status"] == "open"),
        *((f"Snooze {name}", "snoozed", data.now() + length, True) for name, length in _SNOOZES.items()),
        ("Exempt until it ends", "exempt", None, row["status"] != "exempt"),
    ]
    with st.container(horizontal=True):
        for label, decision, until, is_offered in choices:
            if is_offered:
                _button(label, f"{label}-{key}", partial(_decided, about, decision, comment, until))


def _button(label: str, key: str, act: Callable[[], str]) -> None:
    """Draw a button; what came of it is said after the page has run again."""
    if st.button(label, key=key):
        try:
            st.session_state[_SAID] = ("done", act())
        except InputError as error:
            st.session_state[_SAID] = ("failed", f"{error.message}. {error.hint}".rstrip(". ") + ".")
        st.rerun()


def _say() -> None:
    kind, text = st.session_state.pop(_SAID, ("", ""))
    if text:
        (st.success if kind == "done" else st.error)(text)


def _decided(about: dict[str, Any], decision: str, comment: str, until: datetime | None) -> str:
    changed = data.act("incidents", **about, decision=decision, comment=comment, snoozed_until=until)
    number = len(changed)
    return f"{number} incident{'' if number == 1 else 's'}: {decision}."


def _rules() -> None:
    """Draw the rules under which idleness is no incident."""
    if controls.scope().is_limited:
        return
    st.subheader("Exemptions", anchor=False)
    st.caption("Idleness that is right for a time: nobody is told of it. Its seconds and its cost stay idle.")
    rules = data.once(_in_force, data.rows(IncidentExemption, scope=controls.scope()), now=data.minute())
    if not rules.is_empty():
        picked = table.show(
            rules,
            {
                "reason": Column("Reason"),
                "node": Column("Node"),
                "user": Column("User"),
                "job": Column("Job"),
                "model": Column("Model"),
                "cluster": Column("Cluster"),
                "starts_at": Column("From", "instant"),
                "ends_at": Column("Until", "instant"),
                "made_by": Column("By"),
            },
            key="exemptions",
            file_name="exemptions",
            select=True,
        )
        rule = picked or rules.row(0, named=True)
        label = f"Withdraw “{rule['reason']}”"
        _button(label, f"withdraw-{rule['exemption_id']}", partial(_withdrawn, rule["exemption_id"]))
    _form()


def _in_force(rules: pl.DataFrame, now: datetime) -> pl.DataFrame:
    return rules.filter(pl.col("withdrawn_at").is_null() & (pl.col("ends_at") > now)).sort("ends_at")


def _withdrawn(exemption_id: str) -> str:
    (rule,) = data.act("exemptions", action="withdraw", exemption_id=exemption_id)
    return f"Withdrawn: {rule['reason']}."


def _form() -> None:
    with st.expander("Exempt by node, user, job or model"), st.form("exempt", border=False, clear_on_submit=True):
        st.caption("All that is filled in must fit; a trailing * matches any rest.")
        columns = st.columns(4)
        labels = {"node": "Node", "user": "User", "job": "Job id or name", "model": "Model"}
        given = {
            name: columns[index].text_input(label, key=f"rule-{name}")
            for index, (name, label) in enumerate(labels.items())
        }
        reason = st.text_input("Reason", key="rule-reason")
        today = data.now().date()
        last = st.date_input("Until the end of (UTC)", today + timedelta(days=7), min_value=today, key="rule-until")
        if st.form_submit_button("Exempt"):
            end = datetime.combine(last, time(), UTC) + timedelta(days=1)
            try:
                data.act("exemptions", action="create", **given, reason=reason, ends_at=end)
                st.session_state[_SAID] = ("done", f"Exempt until {written.instant(end)}: {reason}.")
            except InputError as error:
                st.session_state[_SAID] = ("failed", f"{error.message.removeprefix('exemptions: ')}.")
            st.rerun()
