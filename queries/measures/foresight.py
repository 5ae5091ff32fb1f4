"""How well spend was foreseen."""

from typing import Final

import polars as pl

from ledger.expressions import per
from queries import measure
from queries.measure import Measure

FORECAST_ERROR: Final = Measure(
    "forecast_error_ratio",
    "Error of the forecast",
    "Sum of the distances between forecast and cost, against the cost.",
    ("forecast_checks",),
    "ratio",
    per(pl.col("error_cost").cast(pl.Float64).sum(), pl.col("actual_cost").cast(pl.Float64).sum()),
)


def checked(rows: pl.DataFrame) -> pl.DataFrame:
    """Return checks of forecasts with the error of each."""
    return measure.with_each(rows, ["scope", "billing_currency", "method"], FORECAST_ERROR)
