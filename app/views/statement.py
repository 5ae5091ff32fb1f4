"""What one team is charged for a month, to read, to download, and to hand on."""

from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Final, Literal

import polars as pl
import streamlit as st

from app import cards, controls, data, table
from app import format as written
from app.budgets import escaped
from app.page import page
from app.reports.statement import STATUS_WORDS, TOP_RUNS, Statement, gather, shown
from app.table import Column
from ledger.tables.partition import after, floor
from queries import sql
from queries.measures import per_unit

_MONTHS = 12
_TABLES = ("spend_day", "job", "reconciliation", "carbon_day")
_SHOWN: Final = (per_unit.OWNER_HOUR_COST, per_unit.PRODUCTIVE_HOUR_COST)
_BADGE: Final[dict[bool | None, Literal["green", "red", "gray"]]] = {True: "green", False: "red", None: "gray"}


@page("Statement", section="Money", order=3, icon=":material/receipt_long:")
def statement() -> None:
    """Show a team's charges of a month, how they were computed, and offer them as files."""
    with st.container(horizontal=True):
        month = _month()
        team = _team(month)
    if not team:
        st.info(
            "No team is charged in this month. Import its bills with `clusterledger ingest`, or choose another month."
        )
        return
    found = _statement(team, month)
    if found.charges.is_empty():
        st.info(f"Nothing of {month:%B %Y} is charged to team {team}.")
        return
    _opening(found)
    for currency in found.currencies:
        _currency(found, currency)
    _invoices(found)
    with st.expander("How it was computed"):
        st.markdown("\n".join(f"- {note}" for note in found.notes))


def _month() -> date:
    """Return the chosen month; the last whole one in which somebody was charged unless another was asked for."""
    start = floor(data.now(), "month")
    months = [start]
    for _ in range(_MONTHS - 1):
        months.append(floor(months[-1] - timedelta(days=1), "month"))
    days = [each.date() for each in months]
    return st.selectbox(
        "Month",
        days,
        index=0 if _teams(days[1]).is_empty() else 1,
        format_func=lambda each: f"{each:%B %Y}",
        key="statement-month",
        width=200,
    )


def _teams(month: date) -> pl.DataFrame:
    start = datetime(month.year, month.month, 1, tzinfo=UTC)
    end = after(start, "month")
    return data.answer("statement_teams", scope=controls.scope(), start=start, end=end, team=controls.team())


def _team(month: date) -> str:
    """Return whose statement is shown: the viewer's own team, or one that they choose; '' where nobody is charged."""
    if controls.team():
        return controls.team()
    teams = _teams(month)
    if teams.is_empty():
        return ""
    return str(st.selectbox("Statement of team", teams["team"].to_list(), key="statement-team", width=200))


def _statement(team: str, month: date) -> Statement:
    """Return the statement of a team that the viewer may see: `_team` offers no other."""
    scope = data.Scope("team", team)
    hub = data.hub()

    def answer(question: str, **asked: object) -> pl.DataFrame:
        # What others held on the team's nodes weighs its part of their idle time; their rows are not shown.
        everybody = "team" not in sql.load(question).asks
        return data.answer(question, scope=data.Scope() if everybody else scope, **asked)

    return data.made(
        "statement",
        _TABLES,
        partial(gather, answer, team, month, data.now(), data.settings().money),
        scope=scope,
        month=month,
        day=hub.now().date(),
    )


def _opening(found: Statement) -> None:
    text, is_ok = found.badge
    totals = " and ".join(
        f"**{escaped(shown(found.total(each, 'effective_cost'), each))}**" for each in found.currencies
    )
    preliminary = "" if found.is_over else " so far"
    st.markdown(f"#### Team {escaped(found.team)} is charged {totals} for {found.month:%B %Y}{preliminary}")
    st.badge(text, color=_BADGE[is_ok], icon=":material/verified:" if is_ok else ":material/info:")
    with st.container(horizontal=True):
        st.download_button(
            "PDF",
            data=lambda: _pdf(found),
            file_name=f"{found.stem}.pdf",
            mime="application/pdf",
            key="statement-pdf",
            on_click="ignore",
            icon=":material/picture_as_pdf:",
            type="primary",
        )
        table.downloads(found.frame(), found.stem, "statement")


def _pdf(found: Statement) -> bytes:
    from app.reports.statement_pdf import pdf  # noqa: PLC0415  only who downloads one needs the library

    return pdf(found)


def _currency(found: Statement, currency: str) -> None:
    if len(found.currencies) > 1:
        st.subheader(currency, anchor=False)
    prices = found.prices(currency)
    with cards.row():
        for label, column, meaning in _TOTALS:
            cards.card(label, written.money(found.total(currency, column), currency, compact=True), meaning=meaning)
        for each in _SHOWN:
            if each.name in prices:
                cards.card(each.title, written.unit_price(prices[each.name], currency), meaning=each.means)
    lines = pl.DataFrame(found.lines(currency), infer_schema_length=None)
    table.show(
        lines,
        {
            "words": Column("What for"),
            "billed_cost": Column(f"Billed ({currency})", "money"),
            "effective_cost": Column("Effective", "money"),
            "productive_cost": Column("Productive", "money"),
            "idle_cost": Column("Held idle", "money"),
            "gpu_hours": Column("GPU-hours", "hours"),
            "means": Column("Meaning"),
        },
        key=f"lines-{currency}",
    )
    said = []
    if per_unit.RUN_COST.name in prices:
        said.append(f"A run cost {escaped(shown(prices[per_unit.RUN_COST.name], currency))} on average.")
    idle = found.unheld.filter(pl.col("billing_currency") == currency)
    if idle.height:
        amount = shown(idle["effective_cost"][0], currency)
        said.append(f"Between its runs, its nodes idled for {escaped(amount)}: held by nobody, and in no total.")
    st.caption(" ".join(said))
    _parts(found, currency)


_TOTALS = (
    ("Effective cost", "effective_cost", "What the use of the month is worth: commitments and prepayments spread."),
    ("Held idle", "idle_cost", "Of it: time that its jobs held and did not use."),
    ("Billed", "billed_cost", "What the month's billing periods invoice of it."),
)


def _parts(found: Statement, currency: str) -> None:
    chosen = st.segmented_control("The same by", ["model", "user", "run"], default="model", key=f"by-{currency}")
    rows = {"model": found.models, "user": found.users, "run": found.runs.head(50 * TOP_RUNS)}[str(chosen or "model")]
    mine = rows.filter(pl.col("billing_currency") == currency)
    hours = (pl.col("held_gpu_seconds").cast(pl.Float64) / 3600).alias("gpu_hours")
    table.show(
        mine.with_columns(hours),
        {
            "name": Column(str(chosen or "model").capitalize()),
            "run_count": Column("Runs", "count", "A run that was requeued is one run."),
            "gpu_hours": Column("GPU-hours", "hours"),
            "effective_cost": Column(f"Effective ({currency})", "money"),
            "productive_cost": Column("Productive", "money"),
            "idle_cost": Column("Held idle", "money"),
        },
        key=f"parts-{currency}",
    )


def _invoices(found: Statement) -> None:
    if found.invoices.is_empty():
        return
    st.subheader("The invoices behind it", anchor=False)
    table.show(
        found.invoices.with_columns(pl.col("status").replace(dict(STATUS_WORDS))),
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
