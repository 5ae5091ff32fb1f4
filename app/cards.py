"""The numbers that open a page: each is a measure, under its heading, with what it means."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal

import polars as pl
import streamlit as st

from app import data, display, sums
from app import format as written
from app.lengths import length
from queries import measure
from queries.display import Shown
from queries.measure import Amount, Measure, Part, UnitCost

# Five cards stand beside each other on a laptop, two on a phone.
_MOST, _WIDTH = 5, 148


@contextmanager
def row(number: int = _MOST) -> Iterator[None]:
    """Lay the cards of a block beside each other; `number` of them fill the width where there is room."""
    with st.grid(number, min_column_width=_WIDTH):
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
    """Draw one number; `detail` is its small print, `change` an arrow against the stretch before, `chart` its days."""
    if chart:
        meaning = f"{meaning} The bars are days."
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


def number(
    of: Measure | Part, value: float | None, detail: str = "", *, shown: str = "", chart: Sequence[float] = ()
) -> None:
    """Draw the value of a measure, written as its unit says unless it is `shown` in another way."""
    card(of.title, shown or written.measured(of.unit, of.name, value), detail, meaning=of.means, chart=chart)


def taken(of: Measure, frame: pl.DataFrame, detail: str = "") -> None:
    """Draw a measure of rows that a read has returned; it is computed once for them."""
    number(of, data.once(measure.value, frame, of), detail)


def counted(of: Measure, whole: Measure, frame: pl.DataFrame) -> None:
    """Draw how many of all, computed once for rows that a read has returned."""
    found = data.once(measure.values, frame, (of, whole))
    number(of, found[of.name], f"of {written.count(found[whole.name])}")


def money(
    of: Amount | UnitCost,
    totals: Mapping[str, Decimal],
    *,
    label: str = "",
    first: str = "",
    chart: Sequence[Decimal] = (),
    shown: Shown | None = None,
) -> None:
    """Draw an amount: one currency as the number, the others in the small print. They are never added.

    Of `shown` rows the display currency is the number, and says that it is converted.
    """
    if shown is not None and shown.currency in totals:
        first, label = shown.currency, display.label(shown, shown.currency, label or of.title)
    value, others = sums.headline(totals, first)
    card(label or of.title, value, f"and {others}" if others else "", meaning=of.means, chart=[*map(length, chart)])


def parted(of: Part, frame: pl.DataFrame) -> None:
    """Draw one amount against another, of rows in one currency that a read has returned."""
    number(of, next(iter(data.once(measure.parts, frame, of).values()), None))


def summed(
    of: Amount, frame: pl.DataFrame, *, of_rows_in: str = "", label: str = "", shown: Shown | None = None
) -> None:
    """Draw an amount of rows that a read has returned; of rows in one known currency it is 0 where none counts."""
    nothing = {of_rows_in: Decimal(0)} if of_rows_in else {}
    money(of, nothing | data.once(measure.amounts, frame, of), label=label, shown=shown)
