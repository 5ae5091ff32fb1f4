"""What was bought in advance: what share is used, what is wasted, what ends when, and what else could be covered."""

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, display, sums, table
from app import format as written
from app.charts import money as money_charts
from app.page import page
from app.table import Column
from app.views import _commitments
from ledger.words import amount
from queries import converted, measure
from queries.display import Shown, words
from queries.measures import commitments as measures

_SOON_DAYS = 60


@page("Commitments", section="Money", order=4, icon=":material/handshake:", roles=("admin", "manager", "sre"))
def commitments() -> None:
    """Show use and waste of commitments and of owned hardware, their ends, and what runs on demand all the time."""
    window = controls.days(controls.window())
    terms = _commitments.terms()
    held, spent, paid = _commitments.held(window)
    usage = _commitments.coverable(window)
    owned, owned_spent, owned_paid = _commitments.owned(window)
    if held.is_empty() and usage.frame.is_empty() and owned.is_empty():
        st.info(
            "No commitment, no server on demand and no owned hardware. Import a bill or an inventory with "
            "`clusterledger ingest`."
        )
        return
    _headline(terms, held, spent, usage)
    _unstated(held)
    controls.say_days()
    missed = _commitments.missed(window)
    _missed(missed)
    _ending(terms)
    days = _commitments.days(window)
    for currency in data.once(measure.by_currency, days.frame, "cost"):
        chart.show(
            money_charts.stacked,
            days.frame,
            currency,
            key=f"days-{currency}",
            alt=f"Commitments used and unused, and on demand, by day, {currency}",
        )
    _held(held, spent, paid)
    _coverable(usage)
    _owned(owned, owned_spent, owned_paid)
    if told := words(spent, usage, missed, days, owned_spent):
        st.caption(told)
    if told := words(paid, owned_paid):
        st.caption(f"Prices that were paid: {told}")


def _headline(terms: pl.DataFrame, held: pl.DataFrame, spent: Shown, usage: Shown) -> None:
    month = data.once(measure.unit_costs, usage.frame, measures.COVERABLE_MONTH)
    with cards.row():
        cards.parted(measures.COMMITMENT_USED, held)
        cards.summed(measures.COMMITMENT_WASTE, held, shown=spent)
        cards.parted(measures.COVERED, usage.frame)
        cards.money(measures.COVERABLE_MONTH, month, shown=usage)
        ends = sorted(end for end in terms["term_end"] if end is not None and end > data.now())
        cards.card(
            "Ends next",
            f"{(ends[0] - data.now()).days} d" if ends else written.UNKNOWN,
            f"{ends[0]:%-d %b %Y}" if ends else "",
            meaning="Time to the first end of a commitment whose term the bill states.",
        )


def _unstated(held: pl.DataFrame) -> None:
    """Say of how many charges nobody states the cost: they are in no amount here."""
    of = {"Wasted": measures.WASTE_UNSTATED, "Used": measures.USE_UNSTATED}
    counts = {name: data.once(measure.value, held, each) for name, each in of.items()}
    told = [f"{name}: not stated for {amount(int(count), 'charge')}" for name, count in counts.items() if count]
    if told:
        st.caption(
            f"{'; '.join(told)}. The bill does not say what they cost after amortisation, so they are in no amount; "
            "the share that is used is that of commitments whose charges all state it."
        )


def _missed(missed: Shown) -> None:
    """Say what was wasted while the same provider's servers ran on demand: the commitment did not fit them."""
    amounts = data.once(measure.amounts, missed.frame, measures.MISSED)
    if amounts:
        st.warning(
            f"{sums.shown(amounts, marked=missed.marked)} was wasted on days on which servers of the same provider ran "
            "on demand. See whether the commitment covers their account, region and instance type, or move them under "
            "it."
        )


def _ending(terms: pl.DataFrame) -> None:
    """Warn of terms that are about to end: their usage then costs the standard price."""
    for row in terms.iter_rows(named=True):
        left = (row["term_end"] - data.now()).days if row["term_end"] else None
        if left is not None and 0 <= left <= _SOON_DAYS:
            name = row["commitment_name"] or row["commitment_id"]
            st.warning(f"{name} ends in {left} days: what it covers costs the standard price from then on.")


def _held(held: pl.DataFrame, spent: Shown, paid: Shown) -> None:
    if held.is_empty():
        return
    st.subheader("Commitments", anchor=False)
    key = ("provider", "billing_account_id", "commitment_id", "billing_currency")
    table.show(
        display.marked(data.once(measure.with_each, held, key, measures.COMMITMENT_USED), spent, paid),
        {
            "commitment_name": Column("Name"),
            "commitment_type": Column("Kind"),
            measures.COMMITMENT_USED.name: Column("Used", "percent", measures.COMMITMENT_USED.means),
            "unused_cost": Column("Wasted", "money", measures.COMMITMENT_WASTE.means),
            "unused_unstated_count": Column("Waste not stated", "count", measures.WASTE_UNSTATED.means),
            "committed_cost": Column("Committed", "money", measures.COMMITTED_COST.means),
            "net_saving_cost": Column("Saved against list", "money", measures.COMMITMENT_SAVING.means),
            "billing_currency": Column("Currency"),
            "purchased_cost": Column("Paid", "money", "What its purchases billed, in all bills that are here."),
            "term_start": Column("From", "day"),
            "term_end": Column("Until", "day", "Empty where the bill states no term, as for recurring fees."),
            "provider": Column("Provider"),
            "commitment_id": Column("Id"),
        },
        key="commitments",
        file_name="commitments",
    )


def _coverable(usage: Shown) -> None:
    if usage.frame.is_empty():
        return
    st.subheader("What could be covered", anchor=False)
    kinds = data.once(converted.coverable, usage.frame)
    key = ("provider", "region", "instance_type", "billing_currency")
    table.show(
        display.marked(data.once(measure.with_each, kinds, key, measures.COVERED), usage),
        {
            "instance_type": Column("Instance type"),
            "on_demand_cost": Column("On demand", "money", measures.ON_DEMAND_COST.means),
            "steady_hour_cost": Column("Around the clock, an hour", "money", measures.COVERABLE_MONTH.amount.means),
            "billing_currency": Column("Currency"),
            measures.COVERED.name: Column("Covered", "percent", measures.COVERED.means),
            "region": Column("Region"),
            "provider": Column("Provider"),
        },
        key="coverable",
        file_name="coverable",
    )
    st.caption(
        "A commitment for what runs around the clock is used in every hour of a stretch like this one. What a provider "
        "asks for it stands on no bill: compare its offer with the on-demand cost, and see Savings first, so that "
        "nothing is committed that is idle."
    )


def _owned(owned: pl.DataFrame, spent: Shown, paid: Shown) -> None:
    if owned.is_empty():
        return
    st.subheader("Owned hardware", anchor=False)
    with cards.row(4):
        cards.summed(measures.OWNED_COST, owned, shown=spent)
        cards.parted(measures.OWNED_UNUSED, owned)
    table.show(
        display.marked(
            data.once(measure.with_each, owned, ("asset_id", "billing_currency"), measures.OWNED_UNUSED), spent, paid
        ),
        {
            "asset_id": Column("Asset"),
            "node": Column("Node"),
            "gpu_count": Column("GPUs", "count"),
            "effective_cost": Column("Cost", "money", measures.OWNED_COST.means),
            "unheld_cost": Column("Not held", "money", measures.OWNED_UNUSED.part.means),
            measures.OWNED_UNUSED.name: Column("Its share", "percent", measures.OWNED_UNUSED.means),
            "billing_currency": Column("Currency"),
            "purchase_cost": Column("Price", "money"),
            "life_start": Column("Since", "day"),
            "life_end": Column("Written off", "day"),
        },
        key="owned",
        file_name="owned-hardware",
    )
