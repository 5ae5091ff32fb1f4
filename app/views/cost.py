"""What is spent on what, by whom, told apart in the way that the reader needs."""

from decimal import Decimal

import polars as pl
import streamlit as st

from app import cards, controls, data, sums, table
from app import format as written
from app.charts import money as money_charts
from app.page import page
from app.table import Column
from ledger.config import SPLIT_RULES
from queries import what_if

_BY = ("team", "model", "provider", "resource", "service", "state", "bucket", "category")


@page("Cost", section="Money", order=0, icon=":material/payments:")
def cost() -> None:
    """Show cost by team, model, provider or resource, billed or effective, in scope or all."""
    window = controls.window()
    by, measure, estate, split = _choices()
    asked = {
        "cluster": controls.cluster(),
        "team": controls.team(),
        "by": by,
        "measure": measure,
        "estate": estate,
    }
    days = _days(window, split, asked)
    if days.is_empty():
        st.info(
            "No cost in this window. Import a bill with `clusterledger ingest bill.csv`, or a price list, so that "
            "hours without a bill can be estimated."
        )
        return
    earlier = _days(controls.before(window), split, asked)
    totals, old = sums.by_currency(days, "cost"), sums.by_currency(earlier, "cost")
    estimated = days.filter(pl.col("has_estimate"))
    with cards.row():
        for currency, amount in totals.items():
            cards.card(
                f"{measure.capitalize()} cost, {currency}",
                written.money(amount, currency, compact=True),
                change=sums.change(amount, old[currency]) if currency in old else None,
                meaning="Against the stretch of the same length before. Currencies are never added.",
            )
        _price(window)
        cards.card(
            "Days with estimates",
            written.count(estimated["day"].n_unique()),
            f"of {days['day'].n_unique()}",
            meaning="Hours that no bill covers yet, priced at the last billed or the list rate.",
        )
    for currency in totals:
        mine = data.once(sums.in_currency, days, currency)
        if len(totals) > 1:
            st.subheader(currency, anchor=False)
        st.plotly_chart(
            data.once(money_charts.stacked, mine, currency),
            key=f"days-{currency}",
            config={"displayModeBar": False},
            alt=f"Cost by day and {by}",
        )
        _table(mine, totals[currency], currency, by)
    st.caption(
        f"Split rule: `{split}`, shared cost: `{data.settings().money.shared_cost}`. The stored rule is "
        f"`{data.settings().money.split_rule}`, from `[money]`; another one is computed here and changes no total."
    )


def _days(window: data.Window, split: str, asked: dict[str, str]) -> pl.DataFrame:
    """Return the answer to `cost_days`, under the stored split rule or another."""
    if split == data.settings().money.split_rule:
        return data.answer("cost_days", scope=controls.scope(), start=window.start, end=window.end, **asked)
    hub = data.hub()
    allocated = data.made(
        "allocations",
        ["cost_hour", "gpu_hour", "job_gpu_hour"],
        lambda: what_if.allocations(hub.store.read, data.settings().money, split, window, hub.now()),
        scope=controls.scope(),
        split=split,
        window=window,
    )
    return what_if.cost_days(allocated, **asked)


def _choices() -> tuple[str, str, str, str]:
    with st.container(horizontal=True):
        by = st.segmented_control("By", list(_BY), default="team", key="by", bind="query-params")
        measure = st.segmented_control(
            "Measure",
            ["effective", "billed"],
            default="effective",
            key="measure",
            bind="query-params",
            help="Effective: amortised, what the use is worth. Billed: what is invoiced, purchases booked whole.",
        )
        estate = st.segmented_control(
            "Charges",
            ["in-scope", "all"],
            default="in-scope",
            key="estate",
            bind="query-params",
            help="In scope: the AI estate by the configured accounts, tags and resources.",
        )
        split = st.selectbox(
            "Split rule",
            SPLIT_RULES,
            index=SPLIT_RULES.index(data.settings().money.split_rule),
            key="split",
            bind="query-params",
            width=220,
            help="How a node's price is divided among GPUs, processors and memory. Totals stay the same.",
        )
    return str(by or "team"), str(measure or "effective"), "all" if estate == "all" else "in", str(split)


def _price(window: data.Window) -> None:
    prices = data.answer(
        "price_per_gpu_hour",
        scope=controls.scope(),
        start=window.start,
        end=window.end,
        cluster=controls.cluster(),
        team=controls.team(),
    )
    currency = sums.main_currency(prices, "effective_cost")
    mine = prices.filter(pl.col("billing_currency") == currency)
    hours = float(mine["gpu_hours"].sum() or 0)
    spent = sums.by_currency(mine, "effective_cost").get(currency)
    per_hour = spent / Decimal(str(hours)) if spent is not None and hours else None
    cards.card(
        "Per held GPU-hour",
        written.unit_price(per_hour, currency) if currency else written.UNKNOWN,
        meaning="Effective cost of held GPU time, divided by that time.",
    )


def _table(mine: pl.DataFrame, whole: Decimal, currency: str, by: str) -> None:
    groups = sums.grouped(mine, ["name"], "cost").with_columns(
        share=pl.col("cost").cast(pl.Float64) / float(whole) if whole else pl.lit(None, pl.Float64)
    )
    table.show(
        groups,
        {
            "name": Column(by.capitalize()),
            "cost": Column(f"Cost ({currency})", "money"),
            "share": Column("Share", "percent"),
        },
        key=f"groups-{currency}",
        file_name=f"cost-by-{by}-{currency}",
    )
