"""How a month is expected to end: what it has cost, and what is missing of its days, of usage alone."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal

import polars as pl

from app.headline import MonthEnd, month_end
from ledger.exchange import Exchange
from ledger.money import MONEY
from ledger.tables import ForecastDay
from queries.display import Shown, in_currency
from tests.bills import rows

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
Ends = tuple[int, int | None, int | None]


def days(**costs: int) -> pl.DataFrame:
    """Return what days cost, named `d27`."""
    return pl.DataFrame(
        [(date(2026, 11, int(name[1:])), "USD", "allocated", Decimal(cost)) for name, cost in costs.items()],
        schema={"day": pl.Date, "billing_currency": pl.String, "name": pl.String, "cost": MONEY},
        orient="row",
    )


def forecast(**ends: Ends) -> pl.DataFrame:
    return rows(
        ForecastDay,
        [
            {
                "day": date(2026, 11, int(name[1:])),
                "scope": "total",
                "billing_currency": "USD",
                "made_on": date(2026, 11, 26),
                **dict(zip(("forecast_cost", "lower_cost", "upper_cost"), map(_amount, each), strict=True)),
                "method": "seasonal_naive_7",
            }
            for name, each in ends.items()
        ],
    )


def _amount(cost: int | None) -> Decimal | None:
    return None if cost is None else Decimal(cost)


def test_a_credit_of_a_day_that_is_not_billed_yet_stays_taken_off() -> None:
    used, coming = days(d26=100, d27=40), forecast(d27=(100, 90, 110), d28=(100, 90, 110), d29=(100, 90, 110))
    (plain,) = month_end(used, used, coming, NOW)
    assert plain == MonthEnd("USD", Decimal(140 + 60 + 200), Decimal(140 + 50 + 180), Decimal(140 + 70 + 220))
    (credited,) = month_end(days(d26=100, d27=40 - 500), used, coming, NOW)
    assert credited.expected == plain.expected - 500
    (taxed,) = month_end(days(d26=100, d27=40 + 500), used, coming, NOW)
    assert (taxed.expected, taxed.lower) == (plain.expected + 500, Decimal(370 + 500))


def test_an_interval_that_is_known_of_some_days_alone_is_none() -> None:
    """Of days two weeks ahead a short history gives no interval: half of one would end below what is expected."""
    used = days(d26=100)
    (end,) = month_end(used, used, forecast(d29=(100, 90, 110), d30=(100, None, None)), NOW)
    assert end == MonthEnd("USD", Decimal(300), None, None)
    assert month_end(used, used, forecast(), NOW) == []


def test_a_currency_without_a_forecast_ends_as_it_stands() -> None:
    euros = days(d26=7).with_columns(billing_currency=pl.lit("EUR"))
    found = month_end(pl.concat([days(d26=100), euros]), days(d26=100), forecast(d29=(5, 4, 6)), NOW)
    assert {each.currency: (each.expected, each.lower, each.upper) for each in found} == {
        "USD": (105, 104, 106),
        "EUR": (7, None, None),
    }


def test_in_one_currency_each_forecast_is_the_newest_of_its_own() -> None:
    """Bills of two providers lag by different times, so that the newest forecasts are of different days."""
    euros, dollars = days(d26=100, d27=100, d28=10).with_columns(billing_currency=pl.lit("EUR")), days(d26=100, d27=40)
    coming = forecast(d27=(100, 90, 110), d28=(100, 90, 110), d29=(100, 90, 110))
    newer = coming.with_columns(billing_currency=pl.lit("EUR"), made_on=pl.lit(date(2026, 11, 27)))
    used, both = pl.concat([dollars, euros]), pl.concat([coming, newer])
    exchange = Exchange([(date(2026, 11, 1), "EUR", "USD", Decimal(2))])

    def convert(frame: pl.DataFrame, columns: Sequence[str], *, day: str = "", on: date | None = None) -> Shown:
        return in_currency(frame, exchange, "USD", columns, day=day, on=on)

    apart = {each.currency: each for each in month_end(used, used, both, NOW)}
    (whole,) = month_end(convert(used, ("cost",), day="day").frame, used, both, NOW, convert)
    assert whole.expected == apart["USD"].expected + 2 * apart["EUR"].expected
    assert whole.lower is not None
    assert apart["USD"].lower is not None
    assert apart["EUR"].lower is not None
    assert whole.lower == apart["USD"].lower + 2 * apart["EUR"].lower
