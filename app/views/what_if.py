"""What the same work would cost elsewhere: build, buy or a part of each, from what was measured."""

from fractions import Fraction

import polars as pl
import streamlit as st

from app import cards, chart, controls, data, display, table, what_if_words
from app import format as written
from app import what_if as asking
from app.budgets import escaped
from app.charts import what_if as charts
from app.page import page
from app.table import Column
from app.views._assumed import choices
from queries.scenarios import frames
from queries.scenarios.options import Assumptions
from queries.scenarios.scenario import Scenario

_NOW_MEANS = (
    "Effective cost of the servers in the measured hours, held or not, for an average month of 730 hours. Storage, "
    "network, tax and unused commitments are not in it."
)

Priced = tuple[list[Scenario], pl.DataFrame, pl.DataFrame, pl.DataFrame, pl.DataFrame]
"""Scenarios, with the tables and charts of the first: options, all work, what a GPU costs, and the demand."""


@page("What-if", section="Money", order=5, icon=":material/alt_route:", roles=("admin", "manager", "sre"))
def what_if() -> None:
    """Name the cheapest way to do the measured work: rented elsewhere, on spot, committed, owned, or a part of each."""
    window = asking.whole_days(controls.window(), data.now())
    measured = _measured(window)
    if not measured.works:
        st.info("No device was seen in whole days of this window. Start `clusterledger agent` on nodes with GPUs.")
        return
    found, options, works, months, demand = _priced(measured, *choices(measured))
    _opening(found[0], options, works, window)
    _charts(found[0], months, demand)
    _options(options, window)
    _works(works, window)
    _remarks(found[0], window)


def _measured(window: data.Window) -> asking.Measured:
    hub, scope, cluster, team = data.hub(), controls.scope(), controls.cluster(), controls.team()
    on = data.now().date()
    return data.kept(
        "what-if measured",
        asking.tables(),
        lambda: asking.measured(
            lambda question, **asked: data.answered(hub, question, scope=scope, **asked),
            window,
            on,
            cluster=cluster,
            team=team,
        ),
        scope=scope,
        window=window,
        on=on,
        cluster=cluster,
        team=team,
    )


def _priced(measured: asking.Measured, chosen: str, assumptions: Assumptions, bought: asking.Bought) -> Priced:
    otherwise = data.settings().money.display_currency or "USD"

    def made() -> Priced:
        found = asking.priced(measured, display.exchange(), assumptions, bought, chosen=chosen, otherwise=otherwise)
        first = found[0]
        return found, frames.options(first), frames.works(found), frames.gpu_months(first), frames.demand(first)

    given = {"window": measured.window, "on": measured.on, "cluster": controls.cluster(), "team": controls.team()}
    return data.made(
        "what-if", asking.tables(), made, scope=controls.scope(), chosen=chosen, assumed=assumptions, bought=bought,
        otherwise=otherwise, **given,
    )  # fmt: skip


def _opening(found: Scenario, options: pl.DataFrame, works: pl.DataFrame, window: data.Window) -> None:
    """Name the cheapest way in words, then the numbers behind it."""
    shown = display.shown(options, frames.MONEY_COLUMNS, on=display.last_day(window))
    words, is_other = what_if_words.answer(shown.frame)
    if is_other:
        mine = display.shown(works.head(1), frames.WORK_MONEY, on=display.last_day(window))
        st.success(escaped(words + what_if_words.bound(mine.frame)), icon=":material/savings:")
    else:
        st.info(escaped(words), icon=":material/check_circle:")
    now, best, risky = what_if_words.heads(shown.frame)
    with cards.row():
        cards.card("Now", now, "a month", meaning=_NOW_MEANS)
        cards.card("Cheapest sure way", best, "a month", meaning="Nobody interrupts it, and somebody names its price.")
        cards.card("On spot", risky, "a month", meaning="The cheapest spot offer, with work done twice.")
        cards.card(
            "Held",
            written.percent(_shown(found.work.held_ratio)),
            written.gpu_hours(float(found.work.held.gpu_hours)),
            meaning="GPU-hours that jobs held, of all that were there.",
        )
        cards.card(
            "Owning from", what_if_words.owned_from(options), "of hours in use",
            meaning="Cost of owned servers in a month, against renting their GPUs on demand in all of its 730 hours.",
        )  # fmt: skip
    if found.rent is None:
        st.info(
            f"No price by the hour of {found.accelerator} is known: nothing to rent is compared. Import a price list "
            "with `clusterledger ingest prices.csv`."
        )


def _charts(found: Scenario, months: pl.DataFrame, demand: pl.DataFrame) -> None:
    """Draw from which use on a GPU that is always paid costs less, and how many are needed for how long."""
    if not months.is_empty():
        st.subheader("Break-even", anchor=False)
        chart.show(
            charts.break_even,
            months,
            found.work.currency,
            _shown(found.work.held_ratio),
            key="break-even",
            alt="Cost of one GPU in a month by the share of hours in which it is used, by way of paying",
        )
    based = found.based
    st.subheader("Demand", anchor=False)
    chart.show(
        charts.demand,
        demand,
        based.base_gpu_count if based is not None else 0,
        based.name if based is not None else "",
        key="demand",
        alt="GPUs needed by share of hours, the busiest hour first, with the base that costs the least",
    )


def _options(options: pl.DataFrame, window: data.Window) -> None:
    st.subheader("Ways to do it", anchor=False)
    shown = display.shown(options, frames.MONEY_COLUMNS, on=display.last_day(window))
    table.show(
        shown.frame,
        {
            "month_cost": Column("A month", "money", "For an average month of 730 hours."),
            "saving_month_cost": Column("Less than now", "money", "Below 0: it costs more."),
            "billing_currency": Column("Currency"),
            "option": Column("Way"),
            "break_even_ratio": Column(
                "Pays from", "percent", "Share of hours in use from which a GPU that is always paid costs less "
                "than one that is rented by the hour; full: it never does.",
            ),
            "base_gpu_count": Column("Always paid", "count", "GPUs that are committed or owned."),
            "rented_server_count": Column("Rented", "decimal", "Servers that are rented beside them, on average."),
            "gpu_hour_cost": Column("A GPU-hour of work", "money"),
            "all_rented_cost": Column("With no base", "money", "The same, with everything rented by the hour."),
            "all_base_cost": Column("With base alone", "money", "The same, with a base for the busiest hour."),
            "unit_price": Column("Price", "money", "Of a server and hour, as listed; of a month for owned ones."),
            "price_currency": Column("Priced in"),
            "priced_on": Column("Of", "day"),
            "source": Column("Source"),
            "is_price_assumed": Column("Price assumed", "flag", "Nobody names it: never called the cheapest sure way."),
            "assumptions": Column("Assumed"),
            "reason": Column("Not priced, since"),
        },
        key="ways",
        file_name="what-if",
    )  # fmt: skip
    if shown.words:
        st.caption(shown.words)


def _works(works: pl.DataFrame, window: data.Window) -> None:
    st.subheader("All work", anchor=False)
    shown = display.shown(works, frames.WORK_MONEY, on=display.last_day(window))
    table.show(
        shown.frame,
        {
            "work": Column("Work"),
            "month_cost": Column("Now, a month", "money", _NOW_MEANS),
            "sunk_month_cost": Column("Of it bound", "money", "Committed or owned: paid until its end in any case."),
            "best": Column("Cheapest sure way", help="Nobody interrupts it, and somebody names its price."),
            "best_month_cost": Column("It, a month", "money"),
            "saving_month_cost": Column("Less than now", "money"),
            "billing_currency": Column("Currency"),
            "held_ratio": Column("Held", "percent", "GPU-hours that jobs held, of all that were there."),
            "existing_gpu_hours": Column("There, GPU-h", "hours"),
            "held_gpu_hours": Column("Held, GPU-h", "hours"),
            "productive_gpu_hours": Column("Productive, GPU-h", "hours"),
            "costed_ratio": Column("With a cost", "percent", "GPU time that a bill or an estimate prices."),
        },
        key="works",
        file_name="what-if-work",
    )


def _remarks(found: Scenario, window: data.Window) -> None:
    """Say what is bound, what is assumed, and what has no price."""
    lines = []
    how = "measured: GPU time of runs that ended preempted or with their node" if found.is_rerun_measured else "assumed"
    last = display.last_day(window)
    lines.append(
        f"{found.work.existing.count:,} measured hours, from {window.start:%-d %b} to {last:%-d %b %Y}. Everything but "
        "what there is now is an estimate. Rented are whole servers by the hour; spot does "
        f"{written.percent(found.rerun_ratio)} of the work twice ({how}). Currencies are exchanged at the last rate."
    )
    if found.rent is not None:
        price = written.unit_price(found.rent.unit_price, found.rent.billing_currency)
        lines.append(f"By the hour means {found.rent.name}: {price} an hour, of {found.rent.priced_on:%-d %b %Y}.")
    lines += [f"Not priced: {each.name}: {each.reason}." for each in found.unpriced]
    st.caption(escaped("  \n".join(lines)))


def _shown(ratio: Fraction | None) -> float | None:
    return None if ratio is None else float(ratio)
