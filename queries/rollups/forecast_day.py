"""What the rest of the month will cost if weeks repeat themselves."""

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Final

import dataframely as dy
import polars as pl

from ledger import money
from ledger.tables import ForecastDay, SpendDay
from ledger.tables.partition import after, floor
from queries.graph import Span, rollup
from queries.rollups._daily import DAY, READ, History, histories
from queries.rollups._foreseen import WEEK, chosen, expected, spread, tested

INTERVAL_RATIO: Final = 0.8

SCOPES: Final = ("total", "team", "model", "provider")


@rollup(version=2)
def forecast_day(days: Annotated[dy.LazyFrame[SpendDay], READ], span: Span) -> dy.LazyFrame[ForecastDay]:
    """Expect of each day to the end of the month what the same weekdays before cost, in total and by scope.

    Effective cost of usage of the AI estate; what is booked whole (tax, credits, fees) does not come again next
    week. Each scope is forecast by the last complete same weekday, or by the median of three where that was nearer
    on the days of its past (`forecast_check`). The interval is the forecast plus or minus the 80th percentile of how
    far past days were from what was expected of them: order statistics and differences of amounts, so that no amount
    is rounded.

    Nulls: an interval needs five past differences. Without a known cost on the weekday there is no row.
    """
    last_day = after(floor(span.now, "month"), "month").date() - DAY
    found: list[dict[str, Any]] = []
    for key, history in histories(days.collect(), span.now, SCOPES):
        if history:
            found.extend({**key, **row} for row in _forecast(history, last_day))
    frame = pl.DataFrame(found, schema=ForecastDay.create_empty().schema)
    return ForecastDay.cast(frame.sort(ForecastDay.primary_key()).lazy())


def _forecast(history: History, last_day: date) -> Iterator[dict[str, Any]]:
    """Yield the days after a history, up to a day."""
    made_on = max(history)
    method = chosen(tested(history))
    spreads: dict[int, Decimal | None] = {}
    day = made_on + DAY
    while day <= last_day:
        weeks = -(-(day - made_on).days // WEEK)
        cost = expected(history, day, weeks, method)
        if cost is not None:
            if weeks not in spreads:
                spreads[weeks] = spread(history, weeks, method)
            width = spreads[weeks]
            yield {
                "day": day,
                "made_on": made_on,
                "forecast_cost": cost,
                "lower_cost": None if width is None else money.difference(cost, width),
                "upper_cost": None if width is None else money.add(cost, width),
                "interval_ratio": None if width is None else INTERVAL_RATIO,
                "method": method,
            }
        day += DAY
