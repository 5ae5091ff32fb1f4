"""How good forecasts were: each method against what the days then cost."""

from typing import Annotated, Any

import dataframely as dy
import polars as pl

from ledger.tables import ForecastCheck, SpendDay
from queries.graph import Span, rollup
from queries.rollups._daily import READ, histories
from queries.rollups._foreseen import chosen, tested
from queries.rollups.forecast_day import SCOPES


@rollup()
def forecast_check(days: Annotated[dy.LazyFrame[SpendDay], READ], span: Span) -> dy.LazyFrame[ForecastCheck]:
    """Forecast each past complete day as of a week before it, by each method, and sum how far that was off.

    All methods are judged on the same days. `forecast_day` uses another than the last same weekday only where that
    was nearer in sum, on at least 28 days.

    Nulls: `inside_ratio` where no day had an interval: it needs five differences that were known by then.
    """
    found: list[dict[str, Any]] = []
    for key, history in histories(days.collect(), span.now, SCOPES):
        tests = tested(history)
        best = chosen(tests)
        found.extend(
            {
                **key,
                "method": each.method,
                "day_count": each.days,
                "error_cost": each.error,
                "actual_cost": each.actual,
                "inside_ratio": each.inside / each.given if each.given else None,
                "is_chosen": each.method == best,
            }
            for each in tests
            if each.days
        )
    frame = pl.DataFrame(found, schema=ForecastCheck.create_empty().schema)
    return ForecastCheck.cast(frame.sort(ForecastCheck.primary_key()).lazy())
