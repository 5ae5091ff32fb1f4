"""What is spent on what, by whom, told apart in the way that the reader needs."""

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, display, links, sums, table
from app import format as written
from app.charts import money as money_charts
from app.page import page
from app.table import Column
from app.views import _billed, _rules
from ledger.money_sections import MoneySettings
from queries import idle_borne, measure, other_rules
from queries.measure import Amount
from queries.measures import spending

_AMOUNTS = {
    ("effective", "in-scope"): spending.SPEND,
    ("billed", "in-scope"): spending.BILLED,
    ("effective", "all"): spending.ALL_SPEND,
    ("billed", "all"): spending.ALL_BILLED,
}
_BY = ("team", "model", "provider", "resource", "service", "state", "bucket", "category", "kind")

_IDLE_BORNE = {
    "holder": "who held it",
    "cluster": "the cluster",
    "proportional": "teams, by what they held",
    "even": "teams, evenly",
}


@page("Cost", section="Money", order=0, icon=":material/payments:")
def cost() -> None:
    """Show cost by team, model, provider or resource, billed or effective, in scope or all."""
    by, charged, estate = _choices()
    is_billed = charged == "billed"
    window = _billed.months(controls.window()) if is_billed else controls.window()
    rules, idle = _chosen(by)
    of = _AMOUNTS[charged, estate]
    asked = {"cluster": controls.cluster(), "team": controls.team(), "by": by, **of.asks}
    found = _days(window, rules, idle, asked)
    if found.is_empty():
        st.info(
            "No cost in this window. Import a bill with `clusterledger ingest bill.csv`, or a price list, so that "
            "hours without a bill can be estimated."
        )
        return
    shown = display.shown(found, ("cost",), day="day")
    days = shown.frame
    past = _billed.before(window) if is_billed else controls.before(window)
    compared = "as many billing periods" if is_billed else "the stretch of the same length"
    earlier = display.shown(_days(past, rules, idle, asked), ("cost",), day="day").frame
    totals, old = (data.once(measure.amounts, each, of) for each in (days, earlier))
    with cards.row(max(4, len(totals) + 2)):
        for currency, amount in totals.items():
            cards.card(
                display.label(shown, currency, f"{charged.capitalize()} cost, {currency}"),
                written.money(amount, currency, compact=True),
                change=sums.change(amount, old[currency]) if currency in old else None,
                meaning=f"{of.means} Against {compared} before. Currencies are never added.",
            )
        _price()
        if not is_billed:
            cards.counted(spending.ESTIMATED_DAYS, spending.COST_DAYS, days)
    if is_billed:
        st.caption(_billed.said(window))
    links.to("savings", "What idles, and what to change about it")
    for currency in totals:
        label = display.label(shown, currency)
        if len(totals) > 1:
            st.subheader(label, anchor=False)
        mine = data.once(sums.in_currency, days, currency)
        grain = "month" if is_billed else "day"
        alt = f"Cost by {grain} and {by}"
        chart.show(money_charts.stacked, days, currency, by_month=is_billed, key=f"days-{currency}", alt=alt)
        _table(_groups(mine, of, idle), currency, label, by)
    if shown.words:
        st.caption(shown.words)
    stored = data.settings().money
    st.caption(
        f"{_rules.told(rules)} Idle time is borne by {_IDLE_BORNE[idle]}."
        + (f" Computed for you in {_spent(window, rules, is_billed=is_billed)[1]:.1f} s." if rules != stored else "")
    )
    if other_rules.OTHER in days["name"]:
        st.caption(
            f"The {other_rules.MOST} names with the largest cost have a row; `{other_rules.OTHER}` is all that is "
            "left. A shorter window, or a team, shows more of them."
        )


def _groups(mine: pl.DataFrame, of: Amount, idle: str) -> pl.DataFrame:
    """Return the cost of one currency by name, with what each name bears of idle time where that is moved."""
    return (
        data.once(measure.shares, mine, ["name"], of) if idle == "holder" else data.once(idle_borne.by_name, mine, of)
    )


def _days(window: data.Window, rules: MoneySettings, idle: str, asked: dict[str, str]) -> pl.DataFrame:
    """Return the cost by day and name, under the stored rules or others, with idle time borne by whom it says.

    Billed cost is by billing period: its first day stands for it.
    """
    is_billed = asked["measure"] == "billed"
    if rules == data.settings().money and not is_billed:
        if idle == "holder":
            return controls.answer("cost_days", window, **asked)
        return data.once(idle_borne.borne, controls.answer("cost_parts", window, **asked), idle)
    spent, _ = _spent(window, rules, is_billed=is_billed)
    if idle == "holder":
        return data.once(other_rules.cost_days, spent, **asked)
    return data.once(idle_borne.borne, data.once(idle_borne.parts_of, spent, **asked), idle)


def _spent(window: data.Window, rules: MoneySettings, *, is_billed: bool) -> tuple[pl.DataFrame, float]:
    """Return the costs behind names, by billing period or as they are tried, and how long it took to compute them."""
    return (_billed.spent if is_billed else _tried)(window, rules)


def _tried(window: data.Window, rules: MoneySettings) -> tuple[pl.DataFrame, float]:
    """Return the costs by day under other rules than the stored ones, and how many seconds it took to compute them."""
    hub = data.hub()

    def spent(progress: _rules.Progress) -> pl.DataFrame:
        return other_rules.spent(
            hub.store.read, hub.store.select, data.settings().money, rules, window, hub.now(), progress
        )

    return _rules.tried("tried", spent, rules, window)


def _choices() -> tuple[str, str, str]:
    with st.container(horizontal=True):
        by = st.segmented_control("By", list(_BY), default="team", key="by", bind="query-params")
        charged = st.segmented_control(
            "Measure",
            ["effective", "billed"],
            default="effective",
            key="measure",
            bind="query-params",
            help="Effective: amortised, what the use is worth. Billed: what whole billing periods invoice, purchases "
            "booked whole.",
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


def _chosen(by: str) -> tuple[MoneySettings, str]:
    """Return the rules by which cost is divided, the stored ones or those that are tried, and who bears idle time."""
    with st.container(horizontal=True):
        return _rules.choose(), _idle_borne(by)


def _idle_borne(by: str) -> str:
    """Return who bears idle time; spread it only where all who would bear it are seen."""
    if by not in {"team", "model"}:
        return "holder"
    choices = [each for each in idle_borne.RULES if not controls.team() or each in {"holder", "cluster"}]
    chosen = st.selectbox(
        "Idle borne by",
        choices,
        key="idle",
        bind="query-params",
        width=210,
        help="`holder`: idle time of jobs is theirs, and what nobody held is a row of its own. `cluster`: all of it "
        "is that row's. `proportional`, `even`: what nobody held is spread over who held GPUs of the cluster that day, "
        "by what they held or evenly; the row stays, less what others bear. Totals stay the same.",
    )
    return str(chosen or "holder")


def _price() -> None:
    of = spending.GPU_HOUR_COST
    shown = display.shown(controls.answer("price_per_gpu_hour"), ("effective_cost",), day="day")
    prices = data.once(measure.unit_costs, shown.frame, of)
    first, *others = [written.unit_price(price, currency) for currency, price in prices.items()] or [written.UNKNOWN]
    title = display.label(shown, next(iter(prices), ""), of.title)
    beside = f"and {' and '.join(others)}" if others else ""
    cards.card(title, first, beside, meaning=f"{of.means} {shown.words}".strip())


def _table(groups: pl.DataFrame, currency: str, label: str, by: str) -> None:
    moved = {
        "own": Column(f"Own ({label})", "money", "Before idle time is moved"),
        "borne": Column(f"Idle borne ({label})", "money", "Idle time that it bears, less what others bear of it"),
    }
    table.show(
        groups,
        {
            "name": Column(by.capitalize()),
            **(moved if "borne" in groups.columns else {}),
            "cost": Column(f"Cost ({label})", "money"),
            "share": Column("Share", "percent"),
        },
        key=f"groups-{currency}",
        file_name=f"cost-by-{by}-{currency}",
    )
