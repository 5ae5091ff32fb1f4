"""What electricity emitted, over time."""

import polars as pl
from plotly import graph_objects as go

from app.charts.money import stacked

UNIT = "kg CO₂e"


def by_day(frame: pl.DataFrame) -> go.Figure:
    """Stack carbon by day and group; small groups are drawn as `other`.

    Shape: rows of `day`, `name`, `carbon_kilograms`.
    """
    # All of it is in one unit, which stands where costs have their currency.
    return stacked(frame.rename({"carbon_kilograms": "cost"}).with_columns(billing_currency=pl.lit(UNIT)), UNIT)
