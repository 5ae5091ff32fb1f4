"""The numbers that open a page, each with what it means."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal

import streamlit as st

from app import sums

# Five cards stand beside each other on a laptop, two on a phone.
_WIDTH = 165


@contextmanager
def row() -> Iterator[None]:
    """Lay the cards of a block beside each other."""
    with st.grid("auto", min_column_width=_WIDTH):
        yield


def card(
    label: str,
    value: str,
    detail: str = "",
    *,
    meaning: str = "",
    chart: Sequence[float] = (),
    change: str | None = None,
) -> None:
    """Draw one number; `detail` is its small print, `change` an arrow against the stretch before."""
    st.metric(
        label,
        value,
        border=True,
        height="stretch",
        delta=change or detail or None,
        delta_color="off",
        delta_arrow="auto" if change else "off",
        delta_description=detail if change and detail else None,
        help=meaning or None,
        chart_data=list(chart) or None,
        chart_type="bar",
    )


def money(
    label: str,
    totals: Mapping[str, Decimal],
    detail: str = "",
    *,
    first: str = "",
    meaning: str = "",
    chart: Sequence[float] = (),
) -> None:
    """Draw an amount: one currency as the number, the others in the small print. They are never added."""
    value, others = sums.headline(totals, first)
    small = ", ".join(part for part in (f"and {others}" if others else "", detail) if part)
    card(label, value, small, meaning=meaning, chart=chart)
