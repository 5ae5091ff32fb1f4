"""What the rest of the month will cost if weeks repeat themselves."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

import dataframely as dy
import polars as pl

from ledger import money
from ledger.tables import AllocationHour, ForecastDay
from ledger.tables.partition import after, floor
from queries.graph import Input, Span, rollup

METHOD: Final = "seasonal_naive_7"
INTERVAL_RATIO: Final = 0.8

_DAY: Final = timedelta(days=1)
_WEEK: Final = 7
_RECENT: Final = timedelta(days=70)

# An interval from fewer residuals would be chance.
_FEWEST_RESIDUALS: Final = 5

# A provider that has charged nothing for so long, and has no estimates, is no longer used.
_ENDED: Final = timedelta(days=14)

_COLUMNS: Final = (
    "hour_start",
    "provider",
    "charge_category",
    "billing_currency",
    "is_estimated",
    "in_scope",
    "team",
    "effective_cost",
)
_READ: Final = Input(recent=_RECENT, columns=_COLUMNS, where={"charge_category": ("Usage",)})


@rollup()
def forecast_day(allocations: Annotated[dy.LazyFrame[AllocationHour], _READ], span: Span) -> dy.LazyFrame[ForecastDay]:
    """Repeat each weekday's last complete cost to the end of the month, in total and by team and provider.

    Effective cost of usage of the AI estate; what is booked whole (tax, credits, fees) does not come again next
    week. A day is complete when every provider in use has billed past its end; estimates are no evidence. The
    interval is the forecast plus or minus the 80th percentile of how far past days were from the same weekday as
    many weeks before: order statistics and differences of amounts, so that no amount is rounded.

    Nulls: an interval needs five past differences. Without a known cost on the weekday there is no row.
    """
    wanted = (pl.col("charge_category") == "Usage") & pl.col("in_scope")
    hours = allocations.filter(wanted & (pl.col("hour_start") < span.now)).collect()
    last_day = after(floor(span.now, "month"), "month").date() - _DAY
    complete = _complete(hours)
    found: list[dict[str, Any]] = []
    for scope, provider in (("total", None), ("team", None), ("provider", "provider")):
        for key, history in _histories(hours, scope, complete, provider):
            found.extend({**key, **row} for row in _forecast(history, last_day))
    frame = pl.DataFrame(found, schema=ForecastDay.create_empty().schema)
    return ForecastDay.cast(frame.sort(ForecastDay.primary_key()).lazy())


def _complete(hours: pl.DataFrame) -> pl.DataFrame:
    """Return for each provider and currency in use through when its usage is billed."""
    end = pl.col("hour_start").dt.offset_by("1h")
    per_provider = hours.group_by("provider", "billing_currency").agg(
        end.filter(~pl.col("is_estimated")).max().alias("complete_through"), pl.col("is_estimated").any()
    )
    newest = pl.col("complete_through").max().over("billing_currency")
    is_used = (pl.col("complete_through") > newest - _ENDED) | pl.col("is_estimated")
    # One that has only estimates never had a complete day: nothing can be said about what it is part of.
    return per_provider.filter(is_used.fill_null(value=True))


def _histories(
    hours: pl.DataFrame, scope: str, complete: pl.DataFrame, provider: str | None
) -> Iterator[tuple[dict[str, str], Mapping[date, Decimal | None]]]:
    """Yield each scope's cost of each complete day; a complete day without a charge cost 0."""
    named = pl.lit("total") if scope == "total" else pl.concat_str(pl.lit(f"{scope}:"), pl.col(scope))
    rows = hours if scope == "total" else hours.filter(pl.col(scope) != "")
    group = ["billing_currency"] if provider is None else ["billing_currency", provider]
    whole = complete.group_by(group).agg(
        pl.when(pl.col("complete_through").is_not_null().all()).then(pl.col("complete_through").min()).alias("until")
    )
    daily = (
        rows.join(whole, on=group)
        .with_columns(named.alias("scope"), pl.col("until").dt.truncate("1d"))
        .filter(pl.col("hour_start") < pl.col("until"))
        .with_columns(pl.col("hour_start").dt.date().alias("day"))
    )
    # The window may open within a day.
    first = hours.group_by(group).agg(pl.col("hour_start").min().dt.offset_by("23h").dt.truncate("1d").alias("first"))
    daily = daily.join(first, on=group).filter(pl.col("hour_start") >= pl.col("first"))
    sums = money.summed(
        daily.sort("scope", "billing_currency", "day"),
        by=["scope", "billing_currency", "until", "first", "day"],
        columns=["effective_cost"],
    )
    for (name, currency), part in sums.group_by("scope", "billing_currency", maintain_order=True):
        known = dict(part.select("day", "effective_cost").iter_rows())
        start: datetime = part["first"][0]
        days = (part["until"][0] - start) // _DAY
        every = (start.date() + index * _DAY for index in range(days))
        yield (
            {"scope": str(name), "billing_currency": str(currency)},
            {day: known.get(day, Decimal(0)) for day in every},
        )


def _forecast(history: Mapping[date, Decimal | None], last_day: date) -> Iterator[dict[str, Any]]:
    """Yield the days after a history, up to a day."""
    made_on = max(history)
    spreads: dict[int, Decimal | None] = {}
    day = made_on + _DAY
    while day <= last_day:
        weeks = -(-(day - made_on).days // _WEEK)
        expected = history.get(day - weeks * _WEEK * _DAY)
        if expected is not None:
            if weeks not in spreads:
                spreads[weeks] = _spread(history, weeks)
            spread = spreads[weeks]
            yield {
                "day": day,
                "made_on": made_on,
                "forecast_cost": expected,
                "lower_cost": None if spread is None else money.difference(expected, spread),
                "upper_cost": None if spread is None else money.add(expected, spread),
                "interval_ratio": None if spread is None else INTERVAL_RATIO,
                "method": METHOD,
            }
        day += _DAY


def _spread(history: Mapping[date, Decimal | None], weeks: int) -> Decimal | None:
    """Return the 80th percentile of the distances between days that lie some weeks apart."""
    distances = []
    for day, cost in history.items():
        before = history.get(day - weeks * _WEEK * _DAY)
        if cost is not None and before is not None:
            distances.append(abs(money.difference(cost, before)))
    if len(distances) < _FEWEST_RESIDUALS:
        return None
    rank = -(-len(distances) * 4 // 5)
    return sorted(distances)[rank - 1]
