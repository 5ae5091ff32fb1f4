"""Which budgets will break, when, by how much and who must act; and days that cost more than usual."""

from datetime import date, timedelta
from typing import Any

import polars as pl
import streamlit as st

from app import budgets as budgeting
from app import chart, controls, data, table
from app.budgets_now import current, looked_at
from app.charts import budget as budget_charts
from app.page import page
from app.services.budgets import row
from app.table import Column
from ledger.errors import ClusterLedgerError
from ledger.tables.partition import after, floor
from ledger.words import amount
from queries.budgets import Standing
from queries.measures import foresight

_SAID = 5
_ANOMALY_DAYS = 30


@page("Budget", section="Money", order=2, icon=":material/account_balance_wallet:")
def budget() -> None:
    """Say which budgets break this month, show how each stands, and which days were unusual."""
    month = _month()
    found = current(month)
    if found:
        _opening(found)
        _table(found, month)
    else:
        st.info(
            "No budget is in force. Set one below, or in `clusterledger.toml`, section `[[budgets]]`: "
            "scope, currency and amount of a month."
        )
    _anomalies()
    _checks()
    if not controls.scope().is_limited:
        _form()


def _month() -> date:
    """Return the month that is looked at: the present one, or one of the last."""
    start = floor(data.now(), "month")
    months = [start.date()]
    for _ in range(5):
        start = floor(start - timedelta(days=1), "month")
        months.append(start.date())
    chosen: date | None = st.selectbox(
        "Month", months, format_func=lambda each: f"{each:%B %Y}", key="budget-month", width=200
    )
    return months[0] if chosen is None else chosen


def _opening(found: list[Standing]) -> None:
    """Say what needs an act, in words, before anything else."""
    urgent = budgeting.urgent(found)
    doubtful = [each for each in found if each.status == "may break"]
    if urgent:
        lines = "\n".join(f"- {budgeting.escaped(budgeting.sentence(each))}" for each in urgent[:_SAID])
        more = f"\n- and {len(urgent) - _SAID} more, in the table" if len(urgent) > _SAID else ""
        st.error(
            f"**{_count(len(urgent))} broken or will break this month:**\n\n{lines}{more}", icon=":material/error:"
        )
    if doubtful:
        lines = "\n".join(f"- {budgeting.escaped(budgeting.sentence(each))}" for each in doubtful[:_SAID])
        st.warning(f"**{_count(len(doubtful))} in doubt:**\n\n{lines}", icon=":material/help:")
    if not urgent and not doubtful:
        known = [each for each in found if each.status == "on track"]
        rest = len(found) - len(known)
        said = f"{_count(len(known))} expected to hold." + (f" {_count(rest)} without a forecast yet." if rest else "")
        st.success(said, icon=":material/check_circle:")


def _count(number: int) -> str:
    return f"{number} budgets are" if number != 1 else "1 budget is"


def _table(found: list[Standing], month: date) -> None:
    frame = pl.DataFrame([row(each) for each in found], infer_schema_length=None)
    picked = table.show(
        frame,
        {
            "scope": Column("Scope"),
            "status": Column("Status"),
            "billing_currency": Column("Currency"),
            "budget_cost": Column("Budget", "money"),
            "used_ratio": Column("Used", "percent", "Effective cost of the AI estate so far, estimates included."),
            "expected_cost": Column("Month end", "money", "Spend so far, and the forecast of what is still to come."),
            "over_cost": Column("Over", "money", "Month end less the budget; negative where it holds."),
            "breaks_on": Column("Breaks on", "day"),
            "owner": Column("Must act"),
            "spent_cost": Column("Spent", "money", "Effective cost of the AI estate so far, estimates included."),
            "lower_cost": Column("At least", "money", "Lower end of the interval."),
            "upper_cost": Column("At most", "money", "Upper end of the interval."),
            "thresholds": Column("Told at", help="Shares of the budget at which receivers are told, once each."),
            "source": Column("Decided in"),
        },
        key="budgets",
        file_name=f"budgets-{month:%Y-%m}",
        select=True,
    )
    wanted = (picked["scope"], picked["billing_currency"]) if picked else None
    shown = next((each for each in found if (each.budget.scope, each.budget.currency) == wanted), found[0])
    _chart(shown, month)


def _chart(shown: Standing, month: date) -> None:
    window = budgeting.month_window(month, data.now())
    spent, forecast = (
        data.answer(question, scope=looked_at(), start=window.start, end=window.end, team=looked_at().team)
        for question in ("spend_scopes", "forecast_scopes")
    )
    lines = budgeting.cumulated(shown, spent, forecast, data.now())
    named = budgeting.scope_words(shown.budget.scope)
    st.markdown(f"**{budgeting.escaped(named)}, {shown.budget.currency}**: running total of {month:%B}")
    chart.show(
        budget_charts.against,
        lines,
        shown.budget.cost,
        shown.budget.currency,
        key="against",
        alt=f"Running total of {named} against its budget",
    )


def _anomalies() -> None:
    st.subheader("Unusual days", anchor=False)
    end = after(floor(data.now(), "day"), "day")
    stretch = {"start": end - timedelta(days=_ANOMALY_DAYS), "end": end}
    rows = data.answer("anomalies", scope=looked_at(), **stretch)
    _not_judged(data.answer("unjudged_days", scope=looked_at(), **stretch))
    if rows.is_empty():
        st.caption(
            f"None in the last {_ANOMALY_DAYS} days. A complete day is compared with the same weekdays of eight weeks, "
            "four of which must be known."
        )
        return
    lines = [f"- {budgeting.escaped(budgeting.anomaly_sentence(each))}" for each in rows.head(3).iter_rows(named=True)]
    st.markdown("\n".join(lines))
    table.show(
        rows,
        {
            "day": Column("Day", "day"),
            "scope": Column("Scope"),
            "billing_currency": Column("Currency"),
            "actual_cost": Column("Cost", "money"),
            "expected_cost": Column("Usual", "money", "Median of the same weekdays before."),
            "difference_cost": Column("Difference", "money"),
            "cause": Column("Cause", help="volume: GPU time; price: of it; charge: without GPU time; new; gone."),
            "cause_team": Column("Team"),
            "cause_resource": Column("Resource"),
            "cause_provider": Column("Provider"),
            "cause_cost": Column("Its part", "money"),
            "volume_cost": Column("By volume", "money", "What the amount of GPU time alone changed."),
            "price_cost": Column("By price", "money", "What its price changed."),
        },
        key="anomalies",
        file_name="anomalies",
    )


def _not_judged(days: pl.DataFrame) -> None:
    """Say how many days nobody knows the cost of: that none of them is told means nothing."""
    count = days["day"].n_unique()
    if count:
        st.caption(
            f"Of the last {_ANOMALY_DAYS} days, {amount(count, 'day')} cannot be judged: what some usage cost is not "
            "known, so that they only look cheap. Other days are not compared with them. Where no rate prices usage, "
            "Data health lists it."
        )


def _checks() -> None:
    rows = data.answer("forecast_checks", scope=looked_at())
    if rows.is_empty():
        return
    with st.expander("How good the forecasts were"):
        st.caption(
            "Each past day, forecast as of a week before it by each method. A scope is forecast by the last same "
            "weekday, unless the median of three was nearer on at least 28 days."
        )
        table.show(
            data.once(foresight.checked, rows),
            {
                "scope": Column("Scope"),
                "billing_currency": Column("Currency"),
                "method": Column("Method"),
                "is_chosen": Column("Used", "flag"),
                "day_count": Column("Days", "count"),
                foresight.FORECAST_ERROR.name: Column("Error", "percent", foresight.FORECAST_ERROR.means),
                "inside_ratio": Column("Inside the interval", "percent", "The interval should hold 80 % of days."),
            },
            key="checks",
            file_name="forecast-checks",
        )


def _form() -> None:
    with st.expander("Set a budget"), st.form("budget", border=False):
        left, middle, right = st.columns(3)
        scope = left.text_input("Scope", placeholder="total, team:vision, model:atlas-70b, provider:AWS")
        currency = middle.text_input("Currency", placeholder="USD", max_chars=3)
        amount = right.text_input("Amount a month", placeholder="50000; empty ends the budget")
        thresholds = left.text_input("Tell at, per cent", value="80, 100")
        owner = middle.text_input("Must act", placeholder="empty: the owner of the team")
        comment = right.text_input("Why", placeholder="for those who ask later")
        if st.form_submit_button("Decide, from this month on"):
            _decide(scope=scope, currency=currency, amount=amount, thresholds=thresholds, owner=owner, comment=comment)


def _decide(**given: str) -> None:
    asked: dict[str, Any] = {name: value.strip() for name, value in given.items()}
    amount, shares = asked.pop("amount"), asked.pop("thresholds")
    try:
        asked["thresholds"] = tuple(float(each) / 100 for each in shares.replace("%", "").split(",") if each.strip())
    except ValueError:
        st.error(f"Tell at: found {shares!r}, expected per cents such as 80, 100")
        return
    try:
        data.act("budgets", action="set" if amount else "end", **({"amount": amount} if amount else {}), **asked)
    except ClusterLedgerError as error:
        st.error(error.message)
        return
    st.rerun()
