"""Charts on a page: drawn once for each frame, and written as JSON once."""

from collections.abc import Callable
from typing import Any, Concatenate, Final, Literal, ParamSpec

import orjson
import polars as pl
import streamlit as st
from plotly import graph_objects as go
from plotly.basedatatypes import BaseFigure
from plotly.io.json import to_json_plotly

from app import data

P = ParamSpec("P")

_QUIET: Final = {"displayModeBar": False}


class Drawn(BaseFigure):  # type: ignore[misc]
    """A figure that does not change any more: each page that shows it sends the same JSON.

    Streamlit copies a figure and writes it as JSON at each run, which takes longer than all else on a page.
    """

    def __init__(self, figure: go.Figure) -> None:
        # Nothing of a figure that can be changed is built: the base class would check all of it again.
        parts = figure.to_dict()
        self._parts = {"data": [_written(each) for each in parts["data"]], "layout": _written(parts["layout"])}

    def to_dict(self) -> dict[str, Any]:
        """Return the parts as Streamlit sends them."""
        return self._parts

    def estimated_size(self) -> int:
        """Return how many bytes it takes."""
        return len(orjson.dumps(self._parts))


def _written(part: dict[str, Any]) -> dict[str, Any]:
    """Return a trace or a layout with its long values as JSON; Streamlit and Plotly look at the short ones."""
    return {
        name: orjson.Fragment(to_json_plotly(value)) if isinstance(value, dict | list | tuple) else value
        for name, value in part.items()
    }


def drawn(
    frame: pl.DataFrame, draw: Callable[Concatenate[pl.DataFrame, P], go.Figure], /, *args: P.args, **kwargs: P.kwargs
) -> Drawn:
    """Draw a frame for good."""
    return Drawn(draw(frame, *args, **kwargs))


def show(
    draw: Callable[Concatenate[pl.DataFrame, ...], go.Figure],
    frame: pl.DataFrame,
    *args: object,
    key: str,
    alt: str = "",
    select: bool = False,
    **kwargs: object,
) -> Any:
    """Show what a pure function draws of a frame that a read has returned; `alt` says it for those who do not see it.

    With `select` the result says what was selected.
    """
    chart = data.once(drawn, frame, draw, *args, **kwargs)
    mode: Literal["rerun", "ignore"] = "rerun" if select else "ignore"
    return st.plotly_chart(chart, key=key, config=_QUIET, alt=alt or None, on_select=mode, selection_mode="points")
