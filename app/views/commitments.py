"""What was bought in advance: what share is used, what is wasted, what ends when, and what else could be covered."""

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, sums, table
from app import format as written
from app.charts import money as money_charts
from app.page import page
from app.table import Column
from queries import measure
from queries.measures import commitments as measures

_SOON_DAYS = 60


@page("Commitments", section="Money", order=4, icon=":material/handshake:", roles=("admin", "manager", "sre"))
def commitments() -> None:
    """Show use and waste of commitments and of owned hardware, their ends, and what runs on demand all the time."""
    window = controls.days(controls.window())
    held = controls.answer("commitments", window)
    usage = controls.answer("coverable", window)
    owned = controls.answer("owned_hardware", window)
    if held.is_empty() and usage.is_empty() and owned.is_empty():
        st.info(
            "No commitment, no server on demand and no owned hardware. Import a bill or an inventory with "
            "`clusterledger ingest`."
        )
        return
    _headline(held, usage)
    controls.say_days()
    _missed(controls.answer("missed_cover", window))
    _ending(held)
    days = controls.answer("commitment_days", window)
    for currency in data.once(measure.by_currency, days, "cost"):
        chart.show(
            money_charts.stacked,
            data.once(sums.in_currency, days, currency),
            currency,
            key=f"days-{currency}",
            alt=f"Commitments used and unused, and on demand, by day, {currency}",
        )
    _held(held)
    _coverable(usage)
    _owned(owned)


def _headline(held: pl.DataFrame, usage: pl.DataFrame) -> None:
    with cards.row():
        cards.parted(measures.COMMITMENT_USED, held)
        cards.summed(measures.COMMITMENT_WASTE, held)
        cards.parted(measures.COVERED, usage)
        cards.money(measures.COVERABLE_MONTH, data.once(measure.unit_costs, usage, measures.COVERABLE_MONTH))
        ends = sorted(end for end in held["term_end"] if end is not None and end > data.now())
        cards.card(
            "Ends next",
            f"{(ends[0] - data.now()).days} d" if ends else written.UNKNOWN,
            f"{ends[0]:%-d %b %Y}" if ends else "",
            meaning="Time to the first end of a commitment whose term the bill states.",
        )


def _missed(missed: pl.DataFrame) -> None:
    """Say what was wasted while the same provider's servers ran on demand: the commitment did not fit them."""
    amounts = data.once(measure.amounts, missed, measures.MISSED)
    if amounts:
        st.warning(
            f"{sums.shown(amounts)} was wasted on days on which servers of the same provider ran on demand. See "
            "whether the commitment covers their account, region and instance type, or move them under it."
        )


def _ending(held: pl.DataFrame) -> None:
    """Warn of terms that are about to end: their usage then costs the standard price."""
    for row in held.iter_rows(named=True):
        left = (row["term_end"] - data.now()).days if row["term_end"] else None
        if left is not None and 0 <= left <= _SOON_DAYS:
            name = row["commitment_name"] or row["commitment_id"]
            st.warning(f"{name} ends in {left} days: what it covers costs the standard price from then on.")


def _held(held: pl.DataFrame) -> None:
    if held.is_empty():
        return
    st.subheader("Commitments", anchor=False)
    table.show(
        data.once(measure.with_each, held, ("provider", "commitment_id", "billing_currency"), measures.COMMITMENT_USED),
        {
            "commitment_name": Column("Name"),
            "commitment_type": Column("Kind"),
            measures.COMMITMENT_USED.name: Column("Used", "percent", measures.COMMITMENT_USED.means),
            "unused_cost": Column("Wasted", "money", measures.COMMITMENT_WASTE.means),
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


def _coverable(usage: pl.DataFrame) -> None:
    if usage.is_empty():
        return
    st.subheader("What could be covered", anchor=False)
    table.show(
        data.once(
            measure.with_each,
            usage,
            ("provider", "region", "instance_type", "billing_currency"),
            measures.COVERED,
        ),
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


def _owned(owned: pl.DataFrame) -> None:
    if owned.is_empty():
        return
    st.subheader("Owned hardware", anchor=False)
    with cards.row(4):
        cards.summed(measures.OWNED_COST, owned)
        cards.parted(measures.OWNED_UNUSED, owned)
    table.show(
        data.once(measure.with_each, owned, ("asset_id",), measures.OWNED_UNUSED),
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
