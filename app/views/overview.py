"""The first page: what the estate costs, what idles, where it goes, and what to do next."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial

import polars as pl
import streamlit as st

from app import budgets as budgeting
from app import cards, chart, controls, data, display, links, sums, table
from app import format as written
from app.budgets_now import current
from app.charts import money as money_charts
from app.charts import states as state_charts
from app.headline import (
    Headline,
    MonthEnd,
    coming_days,
    headline,
    in_display_currency,
    month_end,
    month_so_far,
    spend,
    usage,
)
from app.page import page
from app.table import Column
from app.theme import STATE_MEANINGS, STATE_WORDS
from app.views import _findings
from ledger.names import IDLE_STATES
from ledger.tables import ForecastDay
from ledger.tables.partition import floor
from queries import converted, measure
from queries.display import Shown, words
from queries.measure import Amount, Measure
from queries.measures import gpu_time, spending


@page("Overview", section="Observe", order=0, icon=":material/dashboard:", path="")
def overview() -> None:
    """Say what the AI estate costs, how much of it idles, and what to change first."""
    window = controls.window()
    found, shown = in_display_currency(_found(window), display.shown)
    if found.hours.is_empty() and found.spend.is_empty():
        st.info(
            "Nothing is in the ledger yet for this window. Start an agent with `clusterledger agent --hub URL`, "
            "import a bill with `clusterledger ingest PATH`, or fill an empty store with `clusterledger demo`."
        )
        return
    findings, opened, _ = _findings.findings()
    _headline(found, (*shown, opened))
    _budgets()
    st.subheader("Where the GPU time went", anchor=False)
    chart.show(state_charts.shares, found.hours, key="shares", alt="Share of GPU time in each state")
    chart.show(state_charts.over_time, found.hours, key="states", alt="GPU-hours by state over time")
    left, right = st.columns(2, gap="large")
    with left:
        _idle_parts(data.once(converted.idle, found.idle), next(iter(found.spent), ""))
    with right:
        _models(found.models, next(iter(found.spent), ""))
    _next_steps(findings, opened)


def _budgets() -> None:
    """Say which budgets break, where any does."""
    urgent = budgeting.urgent(current(floor(data.now(), "month").date()))
    if urgent:
        more = f" And {len(urgent) - 1} more." if len(urgent) > 1 else ""
        st.error(f"{budgeting.escaped(budgeting.sentence(urgent[0]))}{more}", icon=":material/account_balance_wallet:")
        links.to("budget", "How the budgets stand")


def _found(window: data.Window) -> Headline:
    scope = controls.scope()
    cluster, team, bucket, days = controls.cluster(), controls.team(), controls.bucket(window), controls.days(window)
    converts = bool(data.settings().money.display_currency)
    return data.kept(
        "headline",
        ["gpu_hour", "job_gpu_hour", "allocation_hour", "spend_day", "model_cost_day", "managed_model_day"],
        lambda: headline(
            partial(data.answer, scope=scope),
            window,
            cluster=cluster,
            team=team,
            bucket=bucket,
            days=days,
            converts=converts,
        ),
        scope=scope,
        window=window,
        cluster=cluster,
        team=team,
        converts=converts,
    )


def _headline(found: Headline, shown: tuple[Shown, ...]) -> None:
    month = _month()
    main = next(iter(month.spent), "")
    label = partial(display.label, month.shown, main)
    with cards.row():
        spend_title = label(f"{spending.SPEND.title}, {data.now():%b}")
        spent_days = data.once(_daily, month.days, spending.SPEND, main)
        cards.money(spending.SPEND, month.spent, label=spend_title, first=main, chart=spent_days)
        expected = {end.currency: end.expected for end in month.ends}
        coming = data.once(_coming, month.coming, data.now().date(), main)
        cards.money(spending.MONTH_END, expected, label=label(spending.MONTH_END.title), first=main, chart=coming)
        idle_days = data.once(_idle_days, found.spend, main)
        cards.money(
            spending.IDLE_COST, found.idle_cost, label=label(spending.IDLE_COST.title), first=main, chart=idle_days
        )
        for each, ratio, hours in (
            (gpu_time.IDLE_RATIO, found.idle_ratio, found.idle_hours),
            (gpu_time.STATE_RATIOS["productive"], found.productive_ratio, found.state_hours["productive"]),
        ):
            of_days = data.once(_ratio_of_days, found.hours, each)
            cards.number(each, ratio, written.gpu_hours(hours), chart=of_days)
    _remarks(found, month.ends)
    if converted := words(month.shown, *shown):
        st.caption(converted)


def _remarks(found: Headline, ends: list[MonthEnd]) -> None:
    shares = [f"{written.percent(part, 0)} of {name} spend" for name, part in found.idle_of_spend.items()]
    said = [f"In the window, idle time took {' and '.join(shares)}."] if shares else []
    ranges = [
        " and ".join(written.money(each, end.currency, compact=True) for each in (end.lower, end.upper))
        for end in ends
        if end.lower is not None and end.upper is not None
    ]
    if ranges:
        said.append(f"The month is expected to end between {', and between '.join(ranges)}.")
    if said:
        st.caption(" ".join(said))


@dataclass(frozen=True)
class _Month:
    """What the month has cost by day, how it is expected to end, and what is still to come by day."""

    spent: dict[str, Decimal]
    ends: list[MonthEnd]
    days: pl.DataFrame
    coming: pl.DataFrame
    shown: Shown


def _month() -> _Month:
    now = data.now()
    answer = partial(data.answer, scope=controls.scope())
    who = {"cluster": controls.cluster(), "team": controls.team()}
    days, used = (each(answer, month_so_far(now), **who) for each in (spend, usage))
    shown = display.shown(days, ("cost",), day="day")
    spent = data.once(measure.amounts, shown.frame, spending.SPEND)
    scope = f"team:{controls.team()}" if controls.team() else "total"
    rows = data.rows(ForecastDay, scope=controls.scope(), where={"scope": [scope]})
    if controls.cluster():
        # Nobody forecasts a cluster.
        rows = rows.clear()
    ends = month_end(shown.frame, used, rows, now, display.shown)
    return _Month(spent, ends, shown.frame, coming_days(used, rows, now, display.shown), shown)


def _daily(days: pl.DataFrame, of: Amount, currency: str) -> list[Decimal]:
    found = measure.grouped(sums.in_currency(days, currency), ["day"], of).sort("day")[of.column]
    return found.drop_nulls().to_list()


def _idle_days(spent: pl.DataFrame, currency: str) -> list[Decimal]:
    return _daily(spent.filter(pl.col("name").is_in(IDLE_STATES)), spending.SPEND, currency)


def _coming(coming: pl.DataFrame, today: date, currency: str) -> list[Decimal]:
    return _daily(coming.filter(pl.col("day") > today), spending.MONTH_END, currency)


def _ratio_of_days(hours: pl.DataFrame, of: Measure) -> list[float]:
    days = hours.group_by(pl.col("at").dt.date()).agg(of.expression.alias(of.name)).sort("at")
    return days[of.name].drop_nulls().to_list()


def _idle_parts(idle: pl.DataFrame, first: str) -> None:
    st.subheader("Idle cost, in its parts", anchor=False)
    if idle.is_empty():
        st.caption("No idle GPU time has a price in this window.")
        return
    currency = data.once(sums.main_currency, idle, "effective_cost", first)
    chart.show(money_charts.by_state, idle, currency, key="idle-parts", alt="Cost of idle GPU time by state")
    st.caption(data.once(_meanings, idle, currency))
    _others(idle, currency)
    links.to("gpus", "Find the idle GPUs and who holds them")


def _meanings(idle: pl.DataFrame, currency: str) -> str:
    states = sums.in_currency(idle, currency).sort("effective_cost", descending=True, nulls_last=True)["state"]
    return "  \n".join(f"**{STATE_WORDS[state]}**: {STATE_MEANINGS[state]}." for state in states)


def _models(costs: pl.DataFrame, first: str) -> None:
    st.subheader("Models that cost most", anchor=False)
    if costs.is_empty():
        st.caption("No job with a price ran in this window.")
        return
    currency = data.once(sums.main_currency, costs, "effective_cost", first)
    chart.show(
        money_charts.by_model,
        costs,
        currency,
        most=8,
        key="models",
        alt="Cost of the most expensive models, productive and idle",
    )
    _others(costs, currency)
    controls.say_days("What models cost")
    links.to("models", "All models")


def _others(costs: pl.DataFrame, currency: str) -> None:
    """Say what is not drawn: an axis has one currency."""
    totals = data.once(measure.by_currency, costs, "effective_cost")
    others = {name: cost for name, cost in totals.items() if name != currency}
    if others:
        st.caption(f"Beside it {sums.shown(others)}, which is not drawn: currencies are never added.")


def _next_steps(findings: pl.DataFrame, opened: Shown) -> None:
    st.subheader("What to do next", anchor=False)
    found = data.once(measure.counted_once, findings)
    if found.is_empty():
        st.caption("No open finding. Advice needs 14 days of evidence with 90 % coverage.")
        return
    table.show(
        display.marked(found.head(3), opened),
        {
            "saving_effective_month": Column(
                "Frees a month", "money", "Effective cost that is freed in an average month."
            ),
            "billing_currency": Column("Currency"),
            "title": Column("Finding"),
            "team": Column("Team"),
            "owner": Column("Owner"),
            "confidence": Column("Confidence"),
        },
        key="next",
    )
    links.to("savings", "All findings, with what to do")
