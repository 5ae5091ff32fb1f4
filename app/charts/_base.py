"""What every chart shares: no frame, no noise, labels that say the unit."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import numpy.typing as npt
import polars as pl
from plotly import graph_objects as go

MOST_POINTS: Final = 2_000
"""More points a trace make a page slow and show nothing more."""

_GRID: Final = "rgba(128, 140, 155, 0.18)"

HEIGHT: Final = 300

_NAMES: Final = 6
"""So many names take one or two lines of a legend, on a phone three."""

_NAME_HEIGHT: Final = 12
"""What each further one takes on a phone, where two stand beside each other."""

TIME_AXIS: Final = {"type": "date"}
"""An axis of `instants`: Plotly would take bare numbers for numbers."""

Numbers = npt.NDArray[Any]
"""Numbers that are sent as they lie in memory, in a third of the bytes that they take as text."""


def figure(traces: Sequence[Any], *, height: int = HEIGHT, legend: bool = True, **layout: Any) -> go.Figure:
    """Return a figure in the house's style; colours of text and background are the theme's.

    It is higher where many names stand above it: on a phone they would leave no room for what is drawn.
    """
    chart = go.Figure(data=list(traces))
    names = sum(each.showlegend is not False for each in traces) if legend else 0
    chart.update_layout(
        height=height + _NAME_HEIGHT * max(0, names - _NAMES),
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"align": "left"},
        showlegend=legend,
        legend={
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.0,
            "x": 0,
            "title": None,
            "traceorder": "normal",
            "font": {"size": 11},
        },
        **{"bargap": 0.12, **layout},
    )
    chart.update_xaxes(showgrid=False, zeroline=False, automargin=True)
    chart.update_yaxes(gridcolor=_GRID, zeroline=False, automargin=True)
    return chart


def instants(times: pl.Series | Sequence[datetime]) -> Numbers:
    """Return instants as milliseconds since 1970, which Plotly's axes of dates take."""
    series = pl.Series(times, dtype=pl.Datetime("ms", "UTC"))
    return series.dt.epoch("ms").cast(pl.Float64).to_numpy()


def pivot(frame: pl.DataFrame, index: str, column: str, value: str) -> dict[str, tuple[list[Any], list[Any]]]:
    """Return x and y by series name, on one shared axis: a missing pair is 0, since it is a sum over nothing."""
    axis = frame.select(index).unique().sort(index)
    series: dict[str, tuple[list[Any], list[Any]]] = {}
    for name in frame[column].unique(maintain_order=True):
        rows = frame.filter(pl.col(column) == name).group_by(index).agg(pl.col(value).cast(pl.Float64).sum())
        joined = axis.join(rows, on=index, how="left").sort(index)
        series[str(name)] = (joined[index].to_list(), joined[value].fill_null(0).to_list())
    return series


def largest(frame: pl.DataFrame, column: str, value: str, most: int) -> pl.DataFrame:
    """Return the frame with all but the largest groups named `other`."""
    order = (
        frame.group_by(column).agg(pl.col(value).cast(pl.Float64).sum()).sort(value, column, descending=[True, False])
    )
    kept = order[column].head(most).to_list()
    return frame.with_columns(pl.when(pl.col(column).is_in(kept)).then(pl.col(column)).otherwise(pl.lit("other")))


def thinned(frame: pl.DataFrame, at: str) -> pl.DataFrame:
    """Return at most MOST_POINTS rows in the order of `at`, evenly chosen, the last one always kept."""
    if frame.height <= MOST_POINTS:
        return frame.sort(at)
    step = -(-frame.height // MOST_POINTS)
    ordered = frame.sort(at).with_row_index("_row")
    last = ordered.height - 1
    return ordered.filter((pl.col("_row") % step == 0) | (pl.col("_row") == last)).drop("_row")
