"""What limits GPU time: as a share, and for one job over time."""

from datetime import timedelta
from typing import Final

import numpy as np
import polars as pl
from plotly import graph_objects as go

from app.charts._base import TIME_AXIS, figure, instants, pivot
from app.format import words
from app.theme import BOTTLENECK_COLOURS

_BY_HOUR_UP_TO: Final = timedelta(days=7)


def shares(frame: pl.DataFrame) -> go.Figure:
    """Draw one bar a class, the largest on top.

    Shape: rows of `bottleneck`, `gpu_hours`.
    """
    ordered = frame.filter(pl.col("gpu_hours").cast(pl.Float64) > 0).sort("gpu_hours", descending=True)
    classes = ordered["bottleneck"].to_list()
    bar = go.Bar(
        x=ordered["gpu_hours"].cast(pl.Float64).to_list(),
        y=[words(each) for each in classes],
        orientation="h",
        marker={"color": [BOTTLENECK_COLOURS[each] for each in classes]},
        hovertemplate="%{y}: %{x:,.1f} GPU-h<extra></extra>",
    )
    chart = figure([bar], height=max(150, 60 + 28 * len(classes)), legend=False, xaxis={"title": {"text": "GPU-hours"}})
    chart.update_yaxes(autorange="reversed", showgrid=False)
    return chart


def over_time(frame: pl.DataFrame) -> go.Figure:
    """Stack GPU-hours by class: hour by hour, and day by day where hours would be thinner than a line.

    Shape: rows of `at`, `bottleneck`, `gpu_hours`.
    """
    by_day = frame.select(((pl.col("at").max() - pl.col("at").min()) > _BY_HOUR_UP_TO).fill_null(value=False)).item()
    if by_day:
        frame = frame.with_columns(pl.col("at").dt.truncate("1d"))
    when = "%a %-d %b" if by_day else "%a %-d %b %H:%M"
    series = pivot(frame, "at", "bottleneck", "gpu_hours")
    traces = [
        go.Bar(
            x=instants(series[each][0]),
            y=np.array(series[each][1]),
            name=words(each),
            marker={"color": colour, "line": {"width": 0}},
            hovertemplate=f"%{{x|{when}}}<br>{words(each)}: %{{y:,.2f}} GPU-h<extra></extra>",
        )
        for each, colour in BOTTLENECK_COLOURS.items()
        if each in series and any(series[each][1])
    ]
    return figure(traces, barmode="stack", xaxis=TIME_AXIS, yaxis={"title": {"text": "GPU-hours"}}, bargap=0.05)
