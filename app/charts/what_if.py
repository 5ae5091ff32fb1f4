"""What a GPU costs by how much it is used, and how many are needed for how long."""

from typing import Final

import polars as pl
from plotly import graph_objects as go

from app.charts._base import HEIGHT, MOST_POINTS, figure
from app.lengths import length
from app.theme import ACCENT, CATEGORICAL

_MARK: Final = "#b23a4b"


def break_even(frame: pl.DataFrame, currency: str, held: float | None) -> go.Figure:
    """Draw what one GPU costs in a month by the share of hours in which it is used, a line for each way of paying.

    Where a flat line lies below the rising one, paying for every hour is cheaper. `held` is marked.
    Shape: rows of `line`, `used_ratio` (0 and 1) and `cost`.
    """
    traces = []
    for index, (name,) in enumerate(frame.select("line").unique(maintain_order=True).iter_rows()):
        rows = frame.filter(pl.col("line") == name).sort("used_ratio")
        low, high = map(length, rows["cost"])
        # Points between the ends have something to say where the pointer stands.
        shares = [step / 20 for step in range(21)]
        traces.append(
            go.Scatter(
                x=shares,
                y=[low + (high - low) * share for share in shares],
                mode="lines",
                name=name,
                line={"width": 2.2 if low != high else 1.8, "color": CATEGORICAL[index % len(CATEGORICAL)]},
                hovertemplate=f"{name}<br>used %{{x:.0%}}: %{{y:,.0f}} {currency}<extra></extra>",
            )
        )
    if held is not None and not frame.is_empty():
        most = max(map(length, frame["cost"]))
        traces.append(
            go.Scatter(
                x=[held, held],
                y=[0, most],
                mode="lines",
                name=f"held now, {held:.0%}",
                line={"color": _MARK, "dash": "dot", "width": 1.6},
                hoverinfo="skip",
            )
        )
    return figure(
        traces,
        # On a phone each name of the legend takes a line.
        height=HEIGHT + 14 * len(traces),
        yaxis={"title": {"text": f"{currency} a GPU and month"}, "rangemode": "tozero"},
        xaxis={"title": {"text": "share of hours in use"}, "tickformat": ".0%", "range": [0, 1.01]},
    )


def demand(frame: pl.DataFrame, base: int, what: str) -> go.Figure:
    """Draw for how large a share of the hours at least so many GPUs were needed, with a base that is always paid.

    Shape: rows of `hour_ratio` and `gpus`, the busiest hour first.
    """
    drawn = frame.gather_every(-(-frame.height // MOST_POINTS)) if frame.height > MOST_POINTS else frame
    needed = go.Scatter(
        x=drawn["hour_ratio"].to_list(),
        y=drawn["gpus"].to_list(),
        mode="lines",
        line={"color": ACCENT, "width": 2, "shape": "hv"},
        fill="tozeroy",
        fillcolor="rgba(26, 127, 142, 0.16)",
        name="GPUs needed",
        hovertemplate="%{y:,.1f} GPUs or more in %{x:.0%} of the hours<extra></extra>",
    )
    traces = [needed]
    if base:
        traces.append(
            go.Scatter(
                x=[0, 1],
                y=[base, base],
                mode="lines",
                line={"color": _MARK, "width": 1.8},
                name=f"{base} GPUs: {what}",
                hoverinfo="skip",
            )
        )
    return figure(
        traces,
        height=260,
        yaxis={"title": {"text": "GPUs"}, "rangemode": "tozero"},
        xaxis={"title": {"text": "share of hours"}, "tickformat": ".0%", "range": [0, 1.01]},
    )
