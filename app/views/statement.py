"""What one team is charged for a month, to read, to download, and to hand on."""

from datetime import UTC, date, datetime, timedelta
from typing import Final, Literal

import polars as pl
import streamlit as st

from app import cards, controls, data, display, sums, table
from app import format as written
from app.budgets import escaped
from app.page import page
from app.reports.statement import TOP_RUNS, Statement, shown
from app.reports.statement_rows import gather
from app.table import Column
from app.views import _invoice, _rules
from ledger.errors import InputError
from ledger.money_sections import MoneySettings
from ledger.tables.partition import after, floor
from queries import sql
from queries.measure import UnitCost
from queries.measures import per_unit

_MONTHS = 12
_TABLES = ("spend_day", "job", "reconciliation", "carbon_day", "statement_close", "statement_line", "exchange_rate")
_CLOSED_SAID: Final = "statement_said"
_SHOWN: Final = (per_unit.OWNER_HOUR_COST, per_unit.PRODUCTIVE_HOUR_COST)
_TRAINED: Final = (
    (per_unit.SAMPLES_COST, "1,000 samples of its trainings"),
    (per_unit.TRAINED_TOKENS_COST, "A million tokens of its trainings"),
)
_BADGE: Final[dict[bool | None, Literal["green", "red", "gray"]]] = {True: "green", False: "red", None: "gray"}


@page("Statement", section="Money", order=3, icon=":material/receipt_long:")
def statement() -> None:
    """Show a team's charges of a month, how they were computed, and offer them as files."""
    with st.container(horizontal=True):
        month = _month()
        team = _team(month)
        rules = _rules.choose()
    if not team:
        st.info(
            "No team is charged in this month. Import its bills with `clusterledger ingest`, or choose another month."
        )
        return
    found = _statement(team, month, rules)
    _say()
    if found.charges.is_empty():
        st.info(f"Nothing of {month:%B %Y} is charged to team {team}.")
        return
    _opening(found)
    for currency in found.currencies:
        _currency(found, currency)
    _invoice.behind(found.invoices)
    if found.closed is None:
        st.caption(_rules.told(rules, "move cost between teams: their sum stays"))
    _closing(found)
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


def _statement(team: str, month: date, rules: MoneySettings) -> Statement:
    """Return the statement of a team that the viewer may see: `_team` offers no other."""
    scope, stored = data.Scope("team", team), data.settings().money

    def answer(question: str, **asked: object) -> pl.DataFrame:
        # What others held on the team's nodes weighs its part of their idle time; their rows are not shown.
        everybody = "team" not in sql.load(question).asks
        return data.answer(question, scope=data.Scope() if everybody else scope, **asked)

    def known() -> Statement:
        return gather(answer, team, month, data.now(), stored, exchange=display.exchange())

    day = data.now().date()
    if rules == stored:
        return data.kept("statement", _TABLES, known, scope=scope, month=month, day=day)
    return data.made(
        "statement tried",
        (*_TABLES, *_rules.TABLES),
        lambda: _tried(team, month, rules),
        scope=scope,
        month=month,
        day=day,
        rules=(rules.split_rule, rules.shared_cost),
    )


def _tried(team: str, month: date, rules: MoneySettings) -> Statement:
    """Return it by other rules than the stored ones: each of its hours is divided again."""
    from app.services.statement import of  # noqa: PLC0415  it brings the library of the PDF

    bar = st.progress(0.0, _rules.TRYING)
    start = datetime(month.year, month.month, 1, tzinfo=UTC)
    found = of(data.hub(), team, start, rules, lambda share: bar.progress(share, _rules.TRYING))
    bar.empty()
    return found


def _stem(found: Statement) -> str:
    """Return the name of its files, which tells one by other rules from the one by those that are stored."""
    return found.stem if found.stored is None else f"{found.stem}-{found.rules.split_rule}-{found.rules.shared_cost}"


def _opening(found: Statement) -> None:
    text, is_ok = found.badge
    totals = " and ".join(
        f"**{escaped(shown(found.total(each, 'effective_cost'), each))}**" for each in found.currencies
    )
    preliminary = "" if found.is_over else " so far"
    st.markdown(f"#### Team {escaped(found.team)} is charged {totals} for {found.month:%B %Y}{preliminary}")
    if found.conversion:
        st.markdown(escaped(found.conversion))
    st.badge(text, color=_BADGE[is_ok], icon=":material/verified:" if is_ok else ":material/info:")
    with st.container(horizontal=True):
        st.download_button(
            "PDF",
            data=lambda: _pdf(found),
            file_name=f"{_stem(found)}.pdf",
            mime="application/pdf",
            key="statement-pdf",
            on_click="ignore",
            icon=":material/picture_as_pdf:",
            type="primary",
        )
        table.downloads(found.frame(), _stem(found), "statement")


def _say() -> None:
    """Say what came of closing."""
    kind, text = st.session_state.pop(_CLOSED_SAID, ("", ""))
    if text:
        (st.success if kind == "done" else st.error)(text)


def _closing(found: Statement) -> None:
    """Say that a statement is closed, or let an admin close it."""
    if found.closed is not None:
        st.caption(
            f"Closed by {found.closed.by} at {written.instant(found.closed.at)}: it stays as it was stated, and what "
            "changes later posts as an adjustment on the first open month."
        )
        return
    if found.adjusted.height:
        months = ", ".join(f"{each:%B %Y}" for each in sorted({*found.adjusted["for_month"]}))
        st.caption(f"With adjustments for {months}: what is known by now, less what was stated.")
    if found.stored is not None and _is_stated(found):
        st.caption("The statement of this month is closed and stays as it was stated: nothing of it is in this one.")
        return
    if controls.scope().role != "admin" or not found.is_over:
        return
    help_text = "Keeps it as it stands, for good: what changes later posts as an adjustment on the first open month."
    if st.button(f"Close {found.month:%B %Y} of team {found.team}", key="statement-close", help=help_text):
        _close(found)
    if found.stored is not None:
        st.caption(
            f"Closing keeps the statement by the configured rules, `{found.stored.split_rule}` and "
            f"`{found.stored.shared_cost}`, not by the ones that are chosen here."
        )


def _is_stated(found: Statement) -> bool:
    """Tell whether the team's statement of the month is closed; one by other rules does not say so itself."""
    closes = data.answer("statement_closes", scope=data.Scope("team", found.team), team=found.team)
    return found.month in closes["month"].to_list()


def _close(found: Statement) -> None:
    """Close it, and say what came of it after the page has run again."""
    try:
        data.act("statements", action="close", month=f"{found.month:%Y-%m}", team=found.team)
        st.session_state[_CLOSED_SAID] = ("done", f"{found.title} is closed.")
    except InputError as error:
        st.session_state[_CLOSED_SAID] = ("failed", f"{error.message}. {error.hint}".rstrip(". ") + ".")
    st.rerun()


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
    table.show(
        pl.DataFrame(found.lines(currency), infer_schema_length=None),
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
    for each, of in _TRAINED:
        if each.name in prices:
            said.append(f"{of} cost {escaped(written.unit_price(prices[each.name], currency))}.")
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
    control = st.segmented_control("The same by", ["model", "user", "run"], default="model", key=f"by-{currency}")
    by = str(control or "model")
    rows = {"model": found.models, "user": found.users, "run": found.runs}[by]
    # A row that is one run is one run, and costs what the run costs.
    units = tuple(each for each in per_unit.OWNER_UNITS if by != "run" or each is not per_unit.RUN_COST)
    table.show(
        data.once(_priced, rows, currency, units),
        {
            "name": Column(by.capitalize(), width=table.RUN_WIDTH if by == "run" else None),
            **({} if by == "run" else {"run_count": Column("Runs", "count", "A run that was requeued is one run.")}),
            "gpu_hours": Column("GPU-hours", "hours"),
            "effective_cost": Column(f"Effective ({currency})", "money"),
            "productive_cost": Column("Productive", "money"),
            "idle_cost": Column("Held idle", "money"),
            **table.prices(units, currency),
        },
        key=f"parts-{currency}",
    )


def _priced(rows: pl.DataFrame, currency: str, units: tuple[UnitCost, ...]) -> pl.DataFrame:
    hours = (pl.col("held_gpu_seconds").cast(pl.Float64) / 3600).alias("gpu_hours")
    return sums.with_prices(sums.in_currency(rows, currency).head(50 * TOP_RUNS).with_columns(hours), units)
