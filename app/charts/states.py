"""GPU time by state: over time, in one bar, and as a heatmap of devices."""

from datetime import datetime, timedelta
from typing import Final

import numpy as np
import polars as pl
from plotly import graph_objects as go

from app.charts._base import TIME_AXIS, Numbers, figure, instants, pivot
from app.theme import OTHER_COLOUR, STATE_COLOURS, STATE_MEANINGS, STATE_ORDER, STATE_WORDS
from ledger.names import IDLE_STATES
from queries import measure
from queries.measures import gpu_time

MOST_DEVICES: Final = 96
"""More rows than a screen or two make the page slow, and nobody reads them."""

_WIDE_CELLS: Final = 48

_WHOLE: Final = 0.995
"""From here on a share is written as all of it."""

_NOTHING: Final = "rgba(0,0,0,0)"


def over_time(frame: pl.DataFrame) -> go.Figure:
    """Stack GPU-hours by state.

    Shape: rows of `at` (instant), `state`, `gpu_hours`.
    """
    series = pivot(frame, "at", "state", "gpu_hours")
    traces = [
        go.Bar(
            x=instants(series[state][0]),
            y=np.array(series[state][1]),
            name=STATE_WORDS[state],
            marker={"color": STATE_COLOURS[state], "line": {"width": 0}},
            hovertemplate=f"%{{x|%a %-d %b %H:%M}}<br>{STATE_WORDS[state]}: %{{y:,.1f}} GPU-h<extra></extra>",
        )
        for state in STATE_ORDER
        if state in series and any(series[state][1])
    ]
    # Between narrow bars a gap is drawn for some and not for others.
    gap = 0.05 if frame["at"].n_unique() <= _WIDE_CELLS else 0
    return figure(
        traces, height=340, barmode="stack", xaxis=TIME_AXIS, yaxis={"title": {"text": "GPU-hours"}}, bargap=gap
    )


def shares(frame: pl.DataFrame) -> go.Figure:
    """Draw one bar with the share of each state, without a legend: it stands above another chart of states.

    Shape: rows of `state`, `gpu_hours`.
    """
    taken = measure.values(frame, (*gpu_time.STATE_RATIOS.values(), *gpu_time.STATE_GPU_HOURS.values()))
    found = [
        (state, ratio, taken[gpu_time.STATE_GPU_HOURS[state].name])
        for state in STATE_ORDER
        if (ratio := taken[gpu_time.STATE_RATIOS[state].name])
    ]
    traces = [
        go.Bar(
            x=[ratio],
            y=[""],
            orientation="h",
            name=STATE_WORDS[state],
            marker={"color": STATE_COLOURS[state], "line": {"width": 0}},
            text=f"{ratio:.0%}" if ratio >= 0.04 else "",  # noqa: PLR2004  legible
            textposition="inside",
            insidetextanchor="middle",
            hovertemplate=(
                f"<b>{STATE_WORDS[state]}</b>: {STATE_MEANINGS[state]}<br>"
                f"%{{x:.1%}} of the time, {hours:,.0f} GPU-h<extra></extra>"
            ),
        )
        for state, ratio, hours in found
    ]
    chart = figure(traces, height=56, legend=False, barmode="stack")
    chart.update_xaxes(visible=False, range=[0, 1])
    chart.update_yaxes(visible=False)
    return chart


def foremost(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the cells of at most MOST_DEVICES devices: those that idled longest, in their order."""
    if frame["gpu"].n_unique() <= MOST_DEVICES:
        return frame
    idle = pl.col("state").is_in([*IDLE_STATES, "orphaned"])
    order = frame.group_by("gpu").agg(pl.col("share_ratio").filter(idle).sum()).sort("share_ratio", "gpu")
    return frame.filter(pl.col("gpu").is_in(order["gpu"].tail(MOST_DEVICES).to_list()))


def with_any(frame: pl.DataFrame, states: tuple[str, ...]) -> pl.DataFrame:
    """Return the rows of the devices that were in any of some states."""
    names = frame.filter(pl.col("state").is_in(list(states)))["gpu"].unique()
    return frame.filter(pl.col("gpu").is_in(names.to_list()))


def heatmap(frame: pl.DataFrame) -> go.Figure:
    """Draw devices against time; a cell has the colour of the state that filled most of it.

    Shape: rows of `gpu` (label), `at` (instant), `state`, `share_ratio` (of that state in the cell),
    `job_id`, `gpu_uuid`. A click on the mark before a row gives its label: Plotly selects no cell of a heatmap.
    """
    labels = frame["gpu"].unique(maintain_order=True).to_list()
    times = frame["at"].unique().sort()
    values, words = _cells(frame, labels, times)
    steps = len(STATE_ORDER) + 1
    scale: list[tuple[float, str]] = []
    for code, colour in enumerate([*(STATE_COLOURS[state] for state in STATE_ORDER), _NOTHING]):
        scale += [(code / steps, colour), ((code + 1) / steps, colour)]
    cells = go.Heatmap(
        z=values,
        x=instants(times),
        y=labels,
        text=words,
        zmin=-0.5,
        zmax=steps - 0.5,
        colorscale=scale,
        showscale=False,
        # Between narrow cells a gap would wash their colours out.
        xgap=0.5 if times.len() <= _WIDE_CELLS else 0,
        ygap=1,
        hovertemplate="<b>%{y}</b> %{x|%a %-d %b %H:%M}<br>%{text}<extra></extra>",
    )
    marks = go.Scatter(
        x=instants([_before(times)] * len(labels)),
        y=labels,
        mode="markers",
        marker={"symbol": "triangle-right", "size": 9, "color": OTHER_COLOUR},
        hovertemplate="Look at <b>%{y}</b><extra></extra>",
        showlegend=False,
    )
    present = set(frame["state"].unique())
    keys = [
        go.Scatter(
            x=[None],
            y=[None],
            mode="markers",
            name=STATE_WORDS[state],
            marker={"symbol": "square", "size": 10, "color": STATE_COLOURS[state]},
        )
        for state in STATE_ORDER
        if state in present
    ]
    chart = figure([cells, marks, *keys], height=max(160, 60 + 14 * len(labels)), dragmode=False, xaxis=TIME_AXIS)
    # The marks would have room of their own around them, above and below the first and the last device.
    chart.update_yaxes(range=[len(labels) - 0.5, -0.5], showgrid=False, tickfont={"size": 10}, dtick=1)
    return chart


def _before(times: pl.Series) -> datetime:
    """Return an instant one cell before the first."""
    first, second = (times[0], times[1]) if times.len() > 1 else (times[0], times[0] + timedelta(hours=1))
    before: datetime = first - (second - first)
    return before


def _cells(frame: pl.DataFrame, labels: list[str], times: pl.Series) -> tuple[Numbers, list[list[str]]]:
    """Return the code of each cell's state, one row a device, and what is said of it; a hole has a code of its own."""
    share = pl.col("share_ratio")
    found = frame.select(
        row=pl.col("gpu").replace_strict(labels, range(len(labels)), return_dtype=pl.Int64),
        column=pl.col("at").replace_strict(times, range(times.len()), return_dtype=pl.Int64),
        code=pl.col("state").replace_strict(STATE_ORDER, range(len(STATE_ORDER)), return_dtype=pl.UInt8),
        said=pl.concat_str(
            pl.col("state").replace_strict(dict(STATE_WORDS)),
            # A cell of one state needs no share: most are, and each of its words is sent for each cell.
            pl.when(share < _WHOLE)
            .then(pl.format(" {}%", (share * 100).round(0).cast(pl.Int64)))
            .otherwise(pl.lit("")),
            pl.when(pl.col("job_id").fill_null("") != "").then(", job " + pl.col("job_id")).otherwise(pl.lit("")),
        ),
    )
    place = (found["row"].to_numpy(), found["column"].to_numpy())
    values = np.full((len(labels), times.len()), len(STATE_ORDER), dtype=np.uint8)
    values[place] = found["code"].to_numpy()
    words = np.full(values.shape, "", dtype=object)
    words[place] = found["said"].to_numpy()
    return values, words.tolist()
