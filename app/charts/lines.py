"""Measured values over time, with their gaps."""

from collections.abc import Mapping
from datetime import timedelta

import polars as pl
from plotly import graph_objects as go

from app.charts._base import TIME_AXIS, figure, instants, thinned
from app.theme import CATEGORICAL


def values(
    frame: pl.DataFrame,
    columns: Mapping[str, str],
    *,
    at: str,
    unit: str = "",
    gap: timedelta | None = None,
    percent: bool = False,
    divided_by: float = 1,
) -> go.Figure:
    """Draw one line a column; `columns` gives each its label.

    A null breaks the line, and so does a stretch longer than `gap`: time without a sample is not joined.
    """
    drawn = thinned(frame, at)
    if gap is not None and drawn.height > 1:
        breaks = drawn.filter(pl.col(at).diff() > gap).select((pl.col(at) - timedelta(milliseconds=1)).alias(at))
        drawn = pl.concat([drawn, breaks], how="diagonal").sort(at)
    moments = instants(drawn[at])
    traces = [
        go.Scatter(
            x=moments,
            y=(drawn[column].cast(pl.Float64) / divided_by).to_numpy(),
            mode="lines",
            name=label,
            connectgaps=False,
            line={"width": 1.6, "color": CATEGORICAL[index % len(CATEGORICAL)]},
            hovertemplate=f"%{{x|%-d %b %H:%M:%S}}<br>{label}: %{{y:{'.1%' if percent else ',.3~g'}}} {unit}<extra></extra>",  # noqa: E501  one template
        )
        for index, (column, label) in enumerate(columns.items())
        if drawn[column].is_not_null().any()
    ]
    axis: dict[str, object] = {"title": {"text": unit}, "rangemode": "tozero"}
    if percent:
        axis = {"tickformat": ".0%", "range": [0, 1.02]}
    return figure(traces, height=240, xaxis=TIME_AXIS, yaxis=axis)
