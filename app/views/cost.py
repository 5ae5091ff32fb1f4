"""What is spent on what, by whom, told apart in the way that the reader needs."""

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, sums, table
from app import format as written
from app.charts import money as money_charts
from app.page import page
from app.table import Column
from ledger.sections import SHARED_COST_RULES, SPLIT_RULES, MoneySettings
from queries import measure, what_if
from queries.measures import spending

_AMOUNTS = {
    ("effective", "in-scope"): spending.SPEND,
    ("billed", "in-scope"): spending.BILLED,
    ("effective", "all"): spending.ALL_SPEND,
    ("billed", "all"): spending.ALL_BILLED,
}
_BY = ("team", "model", "provider", "resource", "service", "state", "bucket", "category")


@page("Cost", section="Money", order=0, icon=":material/payments:")
def cost() -> None:
    """Show cost by team, model, provider or resource, billed or effective, in scope or all."""
    window = controls.window()
    by, charged, estate = _choices()
    rules = _rules()
    of = _AMOUNTS[charged, estate]
    asked = {"cluster": controls.cluster(), "team": controls.team(), "by": by, **of.asks}
    days = _days(window, rules, asked)
    if days.is_empty():
        st.info(
            "No cost in this window. Import a bill with `clusterledger ingest bill.csv`, or a price list, so that "
            "hours without a bill can be estimated."
        )
        return
    earlier = _days(controls.before(window), rules, asked)
    totals, old = (data.once(measure.amounts, each, of) for each in (days, earlier))
    with cards.row():
        for currency, amount in totals.items():
            cards.card(
                f"{charged.capitalize()} cost, {currency}",
                written.money(amount, currency, compact=True),
                change=sums.change(amount, old[currency]) if currency in old else None,
                meaning=f"{of.means} Against the stretch of the same length before. Currencies are never added.",
            )
        _price()
        cards.counted(spending.ESTIMATED_DAYS, spending.COST_DAYS, days)
    for currency in totals:
        mine = data.once(sums.in_currency, days, currency)
        if len(totals) > 1:
            st.subheader(currency, anchor=False)
        chart.show(money_charts.stacked, mine, currency, key=f"days-{currency}", alt=f"Cost by day and {by}")
        _table(data.once(measure.shares, mine, ["name"], of), currency, by)
    stored = data.settings().money
    st.caption(
        f"Split rule: `{rules.split_rule}`, shared cost: `{rules.shared_cost}`. Stored are `{stored.split_rule}` and "
        f"`{stored.shared_cost}`, from `[money]`; others are computed here and change no total."
    )


def _days(window: data.Window, rules: MoneySettings, asked: dict[str, str]) -> pl.DataFrame:
    """Return the answer to `cost_days`, under the stored rules or others."""
    if rules == data.settings().money:
        return controls.answer("cost_days", window, **asked)
    hub = data.hub()
    allocated = data.made(
        "allocations",
        ["cost_hour", "gpu_hour", "job_gpu_hour"],
        lambda: what_if.allocations(hub.store.read, rules, rules.split_rule, window, hub.now()),
        scope=controls.scope(),
        rules=(rules.split_rule, rules.shared_cost),
        window=window,
    )
    return what_if.cost_days(allocated, **asked)


def _choices() -> tuple[str, str, str]:
    with st.container(horizontal=True):
        by = st.segmented_control("By", list(_BY), default="team", key="by", bind="query-params")
        charged = st.segmented_control(
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
    return str(by or "team"), str(charged or "effective"), "all" if estate == "all" else "in-scope"


def _rules() -> MoneySettings:
    """Return the rules by which cost is divided: the stored ones, or those that are tried."""
    stored = data.settings().money
    shared_rules = [rule for rule in SHARED_COST_RULES if rule != "fixed" or stored.shared_cost_ratios]
    with st.container(horizontal=True):
        split = st.selectbox(
            "Split rule",
            SPLIT_RULES,
            index=SPLIT_RULES.index(stored.split_rule),
            key="split",
            bind="query-params",
            width=220,
            help="How a node's price is divided among GPUs, processors and memory. Totals stay the same.",
        )
        shared = st.selectbox(
            "Shared cost",
            shared_rules,
            index=shared_rules.index(stored.shared_cost),
            key="shared",
            bind="query-params",
            width=180,
            help="What happens to tax, support and services for everybody: kept apart, or divided over teams by what "
            "they held, evenly, or in the fixed shares of `money.shared_cost_ratios`.",
        )
    return stored.model_copy(update={"split_rule": split, "shared_cost": shared})


def _price() -> None:
    prices = controls.answer("price_per_gpu_hour")
    currency, price = next(iter(data.once(measure.unit_costs, prices, spending.GPU_HOUR_COST).items()), ("", None))
    cards.card(spending.GPU_HOUR_COST.title, written.unit_price(price, currency), meaning=spending.GPU_HOUR_COST.means)


def _table(groups: pl.DataFrame, currency: str, by: str) -> None:
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
