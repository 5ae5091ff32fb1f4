"""Plain values become the types of a table, unchanged or not at all."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import dataframely as dy
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import money
from ledger.errors import ContractError
from ledger.frames import columns_of, dtypes, to_frame, typed
from ledger.tables import CoverageDay, ExchangeRate, FocusCharge, Gpu, GpuHour, GpuSample, Node

AT = datetime(2026, 11, 20, 5, tzinfo=UTC)


def converted(values: pl.Series, schema: type[dy.Schema], column: str) -> list[Any]:
    series = typed(values, columns_of(schema)[column], column)
    assert series.dtype == columns_of(schema)[column].dtype
    return series.to_list()


def test_rows_and_columns_give_the_same_frame() -> None:
    rows = [{"node": "a", "gpu_count": 8}, {"node": "b", "region": "x"}]
    columns = {"node": ["a", "b"], "gpu_count": [8, None], "region": [None, "x"]}
    frame = to_frame(Node, rows)
    assert frame.equals(to_frame(Node, columns))
    assert frame.columns == list(dtypes(Node))
    assert frame["exists_end"].dtype == pl.Datetime("us", "UTC")


def test_a_column_that_the_table_does_not_have_is_kept_for_the_door() -> None:
    frame = to_frame(Node, [{"node": "a", "colour": {"deep": [1]}, "size": AT}])
    assert frame.select("colour", "size").rows() == [('{"deep": [1]}', "2026-11-20T05:00:00+00:00")]


@pytest.mark.parametrize("value", [1e15, -1e300, "1e400", 10**15, "NaN", "1000", "0.1234567"])
def test_a_share_that_does_not_fit_is_null_and_breaks_no_other(value: object) -> None:
    rows = [{"gpu_fraction": value}, {"gpu_fraction": "0.5"}]
    for some in (rows, [{"gpu_fraction": value}, {"gpu_fraction": 0.5}]):
        kept = converted(to_frame(Gpu, some)["gpu_fraction"], Gpu, "gpu_fraction")
        assert kept == [None, Decimal("0.5")]


@pytest.mark.parametrize(
    ("values", "column", "expected"),
    [
        ([True, False], "process_count", [1, 0]),
        (["3", "x", "1.5"], "process_count", [3, None, None]),
        ([3.0, 3.5, 1e300, float("nan")], "process_count", [3, None, None, None]),
        ([Decimal("3.0"), Decimal("3.5")], "process_count", [3, None]),
        (["0.5", "x"], "power_watts", [0.5, None]),
        ([1, 2], "gpu_uuid", ["1", "2"]),
        ([AT.date()], "gpu_uuid", [None]),
        ([AT], "power_watts", [None]),
        ([AT.date()], "sampled_at", [AT.replace(hour=0)]),
        ([True], "sampled_at", [None]),
        ([0, 2**62, -(2**62)], "sampled_at", [datetime(1970, 1, 1, tzinfo=UTC), None, None]),
        (
            [253_402_300_799_000, 253_402_300_800_000],
            "sampled_at",
            [datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), None],
        ),
        ([-62_135_596_800_000, -62_135_596_800_001], "sampled_at", [datetime(1, 1, 1, tzinfo=UTC), None]),
        (["2026-11-20T05:00:00.25Z", "soon"], "sampled_at", [AT.replace(microsecond=250_000), None]),
    ],
)
def test_values_are_read_or_null(values: list[object], column: str, expected: list[object]) -> None:
    assert converted(pl.Series("x", values), GpuSample, column) == expected


def test_days_are_read_from_text_and_from_midnights() -> None:
    assert converted(pl.Series(["2026-11-20", "20.11."]), CoverageDay, "day") == [date(2026, 11, 20), None]
    assert converted(pl.Series([AT, AT.replace(hour=0)]), CoverageDay, "day") == [None, date(2026, 11, 20)]
    assert converted(pl.Series([20]), CoverageDay, "day") == [None]


def test_yes_and_no_are_read() -> None:
    values = pl.Series(["true", "False", "perhaps"])
    assert converted(values, FocusCharge, "is_derived") == [True, False, None]
    assert converted(pl.Series([1, 0, 2]), FocusCharge, "is_derived") == [True, False, None]
    assert converted(pl.Series([1.0]), FocusCharge, "is_derived") == [True]


@given(st.lists(st.integers(-(10**14), 10**14), max_size=20))
def test_thousandths_of_seconds_are_exact_in_every_type(milliseconds: list[int]) -> None:
    exact = [Decimal(each).scaleb(-3) for each in milliseconds]
    column = "productive_seconds"
    for given_values in (exact, [str(each) for each in exact]):
        dtype = pl.Decimal(38, 9) if given_values is exact else pl.String
        assert converted(pl.Series("x", given_values, dtype=dtype), GpuHour, column) == exact
    small = [each % 10**9 for each in milliseconds]
    floats = pl.Series("x", [each / 1000 for each in small], dtype=pl.Float64)
    assert converted(floats, GpuHour, column) == [Decimal(each).scaleb(-3) for each in small]


@pytest.mark.parametrize("value", [0.0005, float("nan"), float("inf"), 1e20, "0.0005", "x"])
def test_seconds_that_would_be_rounded_are_null(value: object) -> None:
    assert converted(pl.Series([value]), GpuHour, "productive_seconds") == [None]


def test_a_whole_number_beside_a_float_keeps_its_digits() -> None:
    rows = [{"clock_event_reasons_bitmask": 2**60 + 1}, {"clock_event_reasons_bitmask": 2.0}]
    frame = to_frame(GpuSample, rows)
    read = converted(frame["clock_event_reasons_bitmask"], GpuSample, "clock_event_reasons_bitmask")
    assert read[0] == 2**60 + 1


@given(st.decimals(min_value=-(10**19), max_value=10**19, places=18))
def test_money_comes_through_as_it_is(amount: Decimal) -> None:
    frame = to_frame(ExchangeRate, [{"unit_price": amount}, {"unit_price": str(amount)}])
    assert frame["unit_price"].to_list() == [amount, amount]
    assert frame["unit_price"].dtype == pl.Decimal(38, 18)


@pytest.mark.parametrize("amount", [money.LARGEST, money.LARGEST.copy_negate()])
def test_the_largest_amount_fits(amount: Decimal) -> None:
    """It has 38 digits; rounded to 28 it would have a digit more before the point than a column has."""
    assert to_frame(FocusCharge, [{"BilledCost": amount}])["BilledCost"].to_list() == [amount]
    assert to_frame(FocusCharge, [{"BilledCost": str(amount)}])["BilledCost"].to_list() == [amount]


@pytest.mark.parametrize("kind", [pl.Float64, pl.Int64, pl.String, pl.Decimal(38, 2)])
def test_money_of_another_type_is_never_converted(kind: pl.DataType) -> None:
    values = pl.Series("x", [1]).cast(kind)
    with pytest.raises(ContractError, match="money is never converted"):
        typed(values, columns_of(ExchangeRate)["unit_price"], "exchange_rate: unit_price")
