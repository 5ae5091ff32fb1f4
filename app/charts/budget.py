"""A month's running total against what may be spent."""

from decimal import Decimal

import polars as pl
from plotly import graph_objects as go

from app.charts._base import figure
from app.lengths import length
from app.theme import ACCENT

_OVER = "#b23a4b"


def against(frame: pl.DataFrame, budget: Decimal, currency: str) -> go.Figure:
    """Draw what was spent by each day, what is expected to be, with its interval, and the budget as a line.

    Shape: rows of `day`, `spent`, `expected`, `lower`, `upper`: running totals.
    """
    past = frame.filter(pl.col("spent").is_not_null())
    coming = frame.filter(pl.col("expected").is_not_null())
    known = coming.filter(pl.col("lower").is_not_null() & pl.col("upper").is_not_null())
    days = known["day"].to_list()
    band = go.Scatter(
        x=days + days[::-1],
        y=[*known["upper"].to_list(), *known["lower"].to_list()[::-1]],
        fill="toself",
        fillcolor="rgba(26, 127, 142, 0.16)",
        line={"width": 0},
        name="interval",
        hoverinfo="skip",
    )
    spent = go.Scatter(
        x=past["day"].to_list(),
        y=past["spent"].to_list(),
        mode="lines",
        line={"color": ACCENT, "width": 2.5},
        name="spent",
        hovertemplate=f"%{{x|%a %-d %b}}<br>spent %{{y:,.0f}} {currency}<extra></extra>",
    )
    expected = go.Scatter(
        x=coming["day"].to_list(),
        y=coming["expected"].to_list(),
        mode="lines",
        line={"color": ACCENT, "dash": "dot", "width": 2},
        name="expected",
        hovertemplate=f"%{{x|%a %-d %b}}<br>expected %{{y:,.0f}} {currency}<extra></extra>",
    )
    every = frame["day"].to_list()
    limit = go.Scatter(
        x=[every[0], every[-1]] if every else [],
        y=[length(budget)] * 2 if every else [],
        mode="lines",
        line={"color": _OVER, "width": 1.5},
        name="budget",
        hovertemplate=f"budget %{{y:,.0f}} {currency}<extra></extra>",
    )
    axis = {"title": {"text": currency}, "rangemode": "tozero"}
    return figure([band, spent, expected, limit], yaxis=axis, xaxis={"tickformat": "%-d %b"})
