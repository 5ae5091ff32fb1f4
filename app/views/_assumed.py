"""What a reader assumes on the page What-if: kept in the URL, shown beside what follows from it."""

from decimal import Decimal
from typing import Final

import streamlit as st

from app import what_if as asking
from ledger import money
from queries.scenarios.options import ONE_YEAR, THREE_YEARS, Assumptions

_SAME: Final = "as now"
_BASES: Final = {"held": "held", "existing": "all there is", "productive": "productive"}
_PERCENT: Final = 100


def choices(measured: asking.Measured) -> tuple[str, Assumptions, asking.Bought]:
    """Return which work is looked at, and what is assumed."""
    with st.container(horizontal=True):
        chosen = str(
            st.selectbox("Work", [each.name for each in measured.works], key="work", bind="query-params", width=420)
        )
        basis = st.selectbox(
            "Counted", list(_BASES), format_func=_BASES.__getitem__, key="basis", bind="query-params", width=150,
            help="What counts as the work to be done: GPU-hours that jobs held; all that were there, used or not; or "
            "the productive ones alone, as if nothing idled.",
        )  # fmt: skip
        mine = next(each for each in measured.works if each.name == chosen)
        others = [each for each in measured.accelerators if each != mine.accelerator]
        wanted = st.selectbox(
            "On GPU", [_SAME, *others], key="gpu", bind="query-params", width=130,
            help="Another GPU does more or less in an hour: state how much, it is not measured.",
        )  # fmt: skip
        speed = None
        if wanted not in {_SAME, None}:
            speed = _number(
                f"Speed of {wanted}", "speed", "1", f"Work that an hour of it does of an hour of {mine.accelerator}"
            )
    accelerator = "" if wanted in {_SAME, None} else str(wanted)
    with st.expander("Assumptions", icon=":material/tune:"):
        st.caption("What is neither measured nor on a list. An empty field takes what stands in it in grey.")
        rent = _rent(measured.rents(accelerator or mine.accelerator))
        assumed = _assumed(str(basis or "held"), accelerator, speed or Decimal(1), rent)
        bought = _bought()
    return chosen, assumed, bought


def _rent(names: list[str]) -> str:
    """Return the offer that others are held against, '' for the cheapest where the work runs."""
    near = "the cheapest where the work runs"
    found = st.selectbox(
        "By the hour means",
        [near, *names],
        key="rent",
        bind="query-params",
        help="What committed and owned GPUs are held against, and what the rest is rented as.",
    )
    return "" if found in {near, None} else str(found)


def _assumed(basis: str, accelerator: str, speed: Decimal, rent: str) -> Assumptions:
    with st.container(horizontal=True):
        one = _share("1 year, % less", "year1", f"{ONE_YEAR:%}", "What a commitment of a year takes off on demand.")
        three = _share("3 years, % less", "year3", f"{THREE_YEARS:%}", "What a commitment of three years takes off.")
        spot = _share("Spot, % less", "spot", "as listed", "Only where no list has a spot price of this GPU.")
        rerun = _share("Done twice, %", "rerun", "measured", "What interruptions on spot make work do again.")
    return Assumptions(
        basis=basis,
        accelerator=accelerator,
        speed=speed,
        rent=rent,
        rerun_ratio=rerun,
        spot_discount=spot,
        one_year_discount=one,
        three_year_discount=three,
    )


def _bought() -> asking.Bought:
    with st.container(horizontal=True):
        purchase = _number(
            "Server to buy", "buy", "inventory", "Its price; without one, that of the newest with such GPUs."
        )
        currency = st.text_input("Currency", key="buy-currency", bind="query-params", width=110, max_chars=3)
        gpus = _number("Its GPUs", "buy-gpus", "as now", "GPUs in it.")
        life = _number(
            "Years", "buy-years", "inventory", f"How long it is used; {asking.LIFE_YEARS} where nothing says it."
        )
        watts = _number("Watts", "buy-watts", "inventory", "Mean power of the server, without the site's overhead.")
        energy = _number("A kWh", "buy-kwh", "inventory", "Price of a kilowatt-hour.")
        monthly = _number("Other, a month", "buy-month", "inventory", "Space, staff and support of a month together.")
    return asking.Bought(
        billing_currency=str(currency or "").upper(),
        gpu_count=int(gpus) if gpus else None,
        purchase_cost=purchase,
        life_years=life or None,
        watts=watts,
        energy_price=energy,
        month_cost=monthly,
    )


def _number(label: str, key: str, otherwise: str, means: str) -> Decimal | None:
    """Return a number of 0 or more that somebody typed, every digit of it; None where nothing is typed."""
    typed = st.text_input(label, key=key, bind="query-params", placeholder=otherwise, help=means, width=130)
    if not (typed or "").strip():
        return None
    try:
        found = money.parse(str(typed)).amount
    except money.MoneyError as error:
        st.error(f"{label}: {error.message}")
        return None
    if found < 0:
        st.error(f"{label}: found {typed}, expected 0 or more")
        return None
    return found


def _share(label: str, key: str, otherwise: str, means: str) -> Decimal | None:
    """Return a share of less than 1 that somebody typed as a percentage."""
    found = _number(label, key, otherwise, means)
    if found is not None and found >= _PERCENT:
        st.error(f"{label}: found {found}, expected less than {_PERCENT}")
        return None
    return None if found is None else found / _PERCENT
