"""The first page: what the estate costs, what idles, where it goes, and what to do next."""

from datetime import timedelta
from decimal import Decimal

import polars as pl
import streamlit as st

from app import controls, data, links, sums, table
from app import format as written
from app.charts import money as money_charts
from app.charts import states as state_charts
from app.data import Window
from app.page import page
from app.table import Column
from app.theme import STATE_COLOURS, STATE_MEANINGS, STATE_WORDS
from ledger.names import IDLE_STATES
from ledger.tables import Finding, ForecastDay
from ledger.tables.partition import after, floor


@page("Overview", section="Observe", order=0, icon="📊", path="")
def overview() -> None:
    """Say what the AI estate costs, how much of it idles, and what to change first."""
    window = controls.window()
    hours = _state_hours(window)
    if hours.is_empty():
        st.info(
            "Nothing is in the ledger yet for this window. Start an agent with `clusterledger agent --hub URL`, "
            "import a bill with `clusterledger ingest PATH`, or fill an empty store with `clusterledger demo`."
        )
        return
    idle = data.answer(
        "idle_costs",
        scope=controls.scope(),
        start=window.start,
        end=window.end,
        cluster=controls.cluster(),
        team=controls.team(),
    )
    _headline(window, hours, idle)
    st.subheader("Where the GPU time went", anchor=False)
    st.plotly_chart(
        state_charts.shares(hours.group_by("state").agg(pl.col("gpu_hours").sum())),
        key="shares",
        config={"displayModeBar": False},
        alt="Share of GPU time in each state",
    )
    st.plotly_chart(
        state_charts.over_time(hours),
        key="states",
        config={"displayModeBar": False},
        alt="GPU-hours by state over time",
    )
    left, right = st.columns(2, gap="large")
    with left:
        _idle_parts(idle)
    with right:
        _models(window)
    _next_steps()


def _state_hours(window: Window) -> pl.DataFrame:
    question = "team_state_hours" if controls.team() else "state_hours"
    extra = {"team": controls.team()} if controls.team() else {}
    return data.answer(
        question,
        scope=controls.scope(),
        start=window.start,
        end=window.end,
        cluster=controls.cluster(),
        bucket=controls.bucket(window),
        **extra,
    )


def _headline(window: Window, hours: pl.DataFrame, idle: pl.DataFrame) -> None:
    now = data.now()
    month = Window(floor(now, "month"), after(floor(now, "hour"), "hour"))
    spend = _spend(month)
    spent = sums.by_currency(spend, "cost")
    in_window = sums.by_currency(_spend(window), "cost")
    parts = idle.filter(pl.col("state").is_in(IDLE_STATES))
    idle_cost = sums.by_currency(parts, "effective_cost")
    whole = float(hours["gpu_hours"].sum())
    by_state = {
        str(state): float(value) for state, value in hours.group_by("state").agg(pl.col("gpu_hours").sum()).iter_rows()
    }
    idle_hours = sum(by_state.get(state, 0.0) for state in IDLE_STATES)
    daily = _daily(spend)
    with st.grid("auto", min_column_width=190):
        st.metric(
            f"AI spend, {now:%B}",
            sums.shown(spent),
            border=True,
            height="stretch",
            chart_data=daily,
            chart_type="bar",
            help="Effective (amortised) cost of the AI estate this month. Hours that no bill covers yet are estimated.",
        )
        _forecast(month, spent)
        st.metric(
            "Idle cost",
            sums.shown(idle_cost),
            border=True,
            height="stretch",
            delta=_share_of(idle_cost, in_window),
            delta_color="off",
            delta_arrow="off",
            help="Unallocated, allocated idle and held idle GPU time, at its effective cost, in the window.",
        )
        st.metric(
            "Idle GPU time",
            written.percent(sums.share(idle_hours, whole)),
            border=True,
            height="stretch",
            delta=written.gpu_hours(idle_hours * 3600),
            delta_color="off",
            delta_arrow="off",
            help="Share of existing GPU time that was unallocated, allocated idle or held idle. Unknown is not idle.",
        )
        st.metric(
            "Productive GPU time",
            written.percent(sums.share(by_state.get("productive", 0.0), whole)),
            border=True,
            height="stretch",
            delta=written.gpu_hours(by_state.get("productive", 0.0) * 3600),
            delta_color="off",
            delta_arrow="off",
            help="Share of the existing GPU time in which the GPU was busy, not throttled and not underused.",
        )


def _spend(window: Window) -> pl.DataFrame:
    return data.answer(
        "cost_days",
        scope=controls.scope(),
        start=window.start,
        end=window.end,
        cluster=controls.cluster(),
        team=controls.team(),
        by="bucket",
        measure="effective",
        estate="in",
    )


def _daily(spend: pl.DataFrame) -> list[float]:
    currency = sums.main_currency(spend, "cost")
    mine = spend.filter(pl.col("billing_currency") == currency)
    return [float(cost) for cost in sums.grouped(mine, ["day"], "cost").sort("day")["cost"] if cost is not None]


def _share_of(part: dict[str, Decimal], whole: dict[str, Decimal]) -> str:
    ratios = [
        f"{written.percent(sums.share(amount, whole[currency]), 0)} of {currency} spend"
        for currency, amount in part.items()
        if whole.get(currency)
    ]
    return ", ".join(ratios) or "of the window's spend: unknown"


def _forecast(month: Window, spent: dict[str, Decimal]) -> None:
    expected = data.rows(ForecastDay, scope=controls.scope(), where={"scope": ["total"]})
    meaning = (
        "Spend so far and the expected days to the end of the month, each as last week's same day, with its interval."
    )
    if expected.is_empty() or controls.team() or controls.cluster():
        st.metric(
            "Expected at month end",
            written.UNKNOWN,
            border=True,
            height="stretch",
            help=f"{meaning} Needs a whole week of complete days, and looks at the whole estate.",
        )
        return
    newest = expected.filter(pl.col("made_on") == pl.col("made_on").max())
    first_day, last_day = data.now().date(), (after(month.start, "month") - timedelta(days=1)).date()
    coming = newest.filter(pl.col("day").is_between(first_day, last_day))
    totals: dict[str, Decimal] = {}
    for currency, amount in spent.items():
        rows = coming.filter(pl.col("billing_currency") == currency)
        totals[currency] = amount + sums.by_currency(rows, "forecast_cost").get(currency, Decimal(0))
    main = next(iter(totals), "")
    rows = coming.filter(pl.col("billing_currency") == main)
    low = sums.by_currency(rows, "lower_cost").get(main)
    high = sums.by_currency(rows, "upper_cost").get(main)
    interval = "no interval yet"
    if main and low is not None and high is not None:
        ends = [written.money(spent[main] + end, main, compact=True) for end in (low, high)]
        interval = " to ".join(ends)
    st.metric(
        "Expected at month end",
        sums.shown(totals),
        border=True,
        height="stretch",
        delta=interval,
        delta_color="off",
        delta_arrow="off",
        help=meaning,
    )


def _idle_parts(idle: pl.DataFrame) -> None:
    st.subheader("Idle cost, in its parts", anchor=False)
    if idle.is_empty():
        st.caption("No idle GPU time has a price in this window.")
        return
    currency = sums.main_currency(idle, "effective_cost")
    mine = idle.filter(pl.col("billing_currency") == currency).sort("effective_cost", descending=True, nulls_last=True)
    states = mine["state"].to_list()
    st.plotly_chart(
        money_charts.bars(
            [STATE_WORDS[state] for state in states],
            [
                (
                    "cost",
                    "",
                    mine["effective_cost"].cast(pl.Float64).to_list(),
                )
            ],
            currency,
        )
        .update_traces(marker_color=[STATE_COLOURS[state] for state in states])
        .update_layout(showlegend=False),
        key="idle-parts",
        config={"displayModeBar": False},
        alt="Cost of idle GPU time by state",
    )
    st.caption("  \n".join(f"**{STATE_WORDS[state]}**: {STATE_MEANINGS[state]}." for state in states))
    links.to("gpus", "Find the idle GPUs and who holds them")


def _models(window: Window) -> None:
    st.subheader("Models that cost most", anchor=False)
    costs = data.answer("model_costs", scope=controls.scope(), start=window.start, end=window.end, team=controls.team())
    if costs.is_empty():
        st.caption("No job with a price ran in this window.")
        return
    currency = sums.main_currency(costs, "effective_cost")
    top = costs.filter((pl.col("billing_currency") == currency) & (pl.col("effective_cost") > 0)).head(8)
    productive, idle = top["productive_cost"].cast(pl.Float64), top["idle_cost"].cast(pl.Float64)
    rest = top["effective_cost"].cast(pl.Float64) - productive.fill_null(0) - idle.fill_null(0)
    st.plotly_chart(
        money_charts.bars(
            top["model"].to_list(),
            [
                ("productive", STATE_COLOURS["productive"], productive.fill_null(0).to_list()),
                ("other", STATE_COLOURS["underused"], rest.to_list()),
                ("idle", STATE_COLOURS["held_idle"], idle.fill_null(0).to_list()),
            ],
            currency,
        ),
        key="models",
        config={"displayModeBar": False},
        alt="Cost of the most expensive models, productive and idle",
    )
    links.to("models", "All models")


def _next_steps() -> None:
    st.subheader("What to do next", anchor=False)
    found = data.rows(Finding, scope=controls.scope(), where={"status": ["open"]})
    if controls.team():
        found = found.filter(pl.col("team") == controls.team())
    if found.is_empty():
        st.caption("No open finding. Advice needs 14 days of evidence with 90 % coverage.")
        return
    top = found.sort("saving_effective_month", descending=True, nulls_last=True).head(3)
    table.show(
        top,
        {
            "title": Column("Finding"),
            "team": Column("Team"),
            "owner": Column("Owner"),
            "saving_effective_month": Column(
                "Frees a month", "money", "Effective cost that is freed in an average month."
            ),
            "billing_currency": Column("Currency"),
            "confidence": Column("Confidence"),
        },
        key="next",
    )
    links.to("savings", "All findings, with what to do")
