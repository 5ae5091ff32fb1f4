"""A chart on a page is written once, and says what its figure says."""

import json
from datetime import UTC, datetime, timedelta

import plotly.io
import polars as pl
from plotly.tools import return_figure_from_figure_or_data

from app.chart import Drawn, drawn
from app.charts import lines, states

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FRAME = pl.DataFrame(
    {"at": [NOON + timedelta(minutes=each) for each in range(60)], "x": [each / 60 for each in range(60)]}
)
SHARES = pl.DataFrame({"state": ["productive", "unknown"], "gpu_hours": [3.0, 1.0]})


def sent(figure: object) -> object:
    """Return what Streamlit sends of a figure."""
    parts = return_figure_from_figure_or_data(figure, validate_figure=True)
    return json.loads(plotly.io.to_json(parts, validate=False))


def test_what_is_sent_is_the_figure() -> None:
    for figure in (states.shares(SHARES), lines.values(FRAME, {"x": "X"}, at="at", unit="W")):
        assert sent(Drawn(figure)) == sent(figure)


def test_it_is_the_same_each_time_and_keeps_its_height() -> None:
    chart = drawn(SHARES, states.shares)
    first = sent(chart)
    assert sent(chart) == first
    assert chart.to_dict()["layout"]["height"] == 56
    assert chart.estimated_size() > 500
