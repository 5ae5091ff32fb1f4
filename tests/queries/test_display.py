"""Money in one currency for the eye: converted row by row, and never half of a currency."""

from datetime import date, timedelta
from decimal import Decimal

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from ledger.exchange import Exchange
from ledger.money import MONEY
from queries.display import in_currency

DAY = date(2026, 9, 1)
LATER = DAY + timedelta(days=1)

EXCHANGE = Exchange(
    [(DAY, "USD", "EUR", Decimal("0.5")), (LATER, "USD", "EUR", Decimal("0.25")), (LATER, "GBP", "EUR", Decimal(2))]
)


def _rows(*rows: tuple[date, str, str, str | None, int]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (day, code, name, None if cost is None else Decimal(cost), count, count > 1)
            for day, code, name, cost, count in rows
        ],
        schema={
            "day": pl.Date,
            "billing_currency": pl.String,
            "name": pl.String,
            "cost": MONEY,
            "run_count": pl.Int64,
            "has_estimate": pl.Boolean,
        },
        orient="row",
    )


def test_each_day_by_its_own_rate_and_then_summed() -> None:
    frame = _rows(
        (DAY, "USD", "a", "8", 1), (LATER, "USD", "a", "8", 2), (DAY, "EUR", "a", "1", 1), (DAY, "USD", "b", None, 1)
    )
    shown = in_currency(frame, EXCHANGE, "EUR", ["cost"], day="day")
    assert shown.frame.rows() == [
        (DAY, "EUR", "a", Decimal(5), 2, False),
        (LATER, "EUR", "a", Decimal(2), 2, True),
        (DAY, "EUR", "b", None, 1, False),
    ]
    assert shown.words == "≈ is converted from USD to EUR at rates of 2026-09-01 to 2026-09-02."


def test_a_currency_without_a_rate_for_each_day_stays_whole() -> None:
    frame = _rows((DAY, "GBP", "a", "8", 1), (LATER, "GBP", "a", "8", 1), (DAY, "USD", "a", "2", 1))
    shown = in_currency(frame, EXCHANGE, "EUR", ["cost"], day="day")
    assert shown.frame.select("billing_currency", "cost").rows() == [("GBP", 8), ("GBP", 8), ("EUR", 1)]
    assert shown.words == (
        "≈ is converted from USD to EUR at rates of 2026-09-01. "
        "No rate to EUR is known for all days in GBP: shown as billed."
    )


def test_rows_without_days_go_by_one() -> None:
    frame = _rows((DAY, "USD", "a", "8", 1), (DAY, "GBP", "a", "1", 1)).drop("day")
    shown = in_currency(frame, EXCHANGE, "EUR", ["cost"], on=LATER)
    assert shown.frame["cost"].to_list() == [Decimal(4)]
    assert shown.frame["run_count"].to_list() == [2]


def test_numbers_of_the_key_keep_rows_apart() -> None:
    """A requeue counts its restarts: two runs of a job are no run of their sum."""
    frame = _rows((DAY, "USD", "a", "8", 0), (DAY, "EUR", "a", "1", 0), (DAY, "USD", "a", "2", 1))
    shown = in_currency(frame, EXCHANGE, "EUR", ["cost"], day="day", key=["run_count"])
    assert shown.frame.select("run_count", "cost").rows() == [(0, Decimal(5)), (1, Decimal(1))]
    assert shown.marked == {"EUR"}
    assert in_currency(frame, EXCHANGE, "CHF", ["cost"], day="day").marked == set()


def test_without_a_display_currency_nothing_changes() -> None:
    frame = _rows((DAY, "USD", "a", "8", 1))
    assert in_currency(frame, EXCHANGE, "", ["cost"], day="day").frame is frame
    assert in_currency(frame, EXCHANGE, "USD", ["cost"], day="day").words == ""


@given(
    st.lists(
        st.tuples(
            st.sampled_from([DAY, LATER]),
            st.sampled_from(["USD", "EUR", "GBP"]),
            st.sampled_from(["a", "b"]),
            st.decimals(-1000, 1000, places=6).map(str),
            st.just(1),
        ),
        max_size=15,
    )
)
def test_the_whole_is_what_its_rows_are_worth(rows: list[tuple[date, str, str, str, int]]) -> None:
    frame = _rows(*rows)
    shown = in_currency(frame, EXCHANGE, "EUR", ["cost"], day="day")
    has_gap = any(code == "GBP" and day == DAY for day, code, *_ in rows)
    expected = Decimal(0)
    for day, code, _, cost, _ in rows:
        quote = EXCHANGE.quote(code, "EUR", day)
        if quote is not None and not (code == "GBP" and has_gap):
            expected += quote.of(Decimal(cost))
    euros = shown.frame.filter(billing_currency="EUR")["cost"]
    assert (euros.sum() or Decimal(0)) == expected
    assert ("GBP" in shown.frame["billing_currency"].to_list()) == has_gap
