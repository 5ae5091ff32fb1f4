"""Keys as whole numbers order and repeat exactly as the columns do, also where their ranges are wide."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import _order
from ledger._order import arranged, has_repeats

_START = datetime(2026, 11, 1, tzinfo=UTC)

_INSTANTS = st.integers(0, 2**45).map(lambda each: _START + timedelta(microseconds=each))
_ROWS = st.lists(
    st.tuples(_INSTANTS, st.sampled_from(["a", "b", "ä", ""]), _INSTANTS, st.integers(-(2**40), 2**40)), min_size=2
)
_COLUMNS = ["at", "name", "submitted_at", "number"]


@pytest.fixture(autouse=True)
def _few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_order, "_MANY_ROWS", 1)
    monkeypatch.setattr(_order, "_FEW_ROWS", 0)


def _frame(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    instant = pl.Datetime("us", "UTC")
    types = {"at": instant, "name": pl.String(), "submitted_at": instant, "number": pl.Int64()}
    return pl.DataFrame(rows, schema=types, orient="row")


@given(_ROWS, st.booleans())
@settings(max_examples=50, deadline=None)
def test_of_few_rows_repeats_are_found_without_the_threads_of_polars(
    rows: list[tuple[object, ...]], is_twice: bool
) -> None:
    frame = _frame([*rows, rows[0]] if is_twice else rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_order, "_FEW_ROWS", 1_000)
        assert has_repeats(frame, _COLUMNS) == (len(set(frame.iter_rows())) < frame.height)


@given(_ROWS, st.booleans())
@settings(max_examples=200, deadline=None)
def test_wide_keys_repeat_and_order_as_their_columns(rows: list[tuple[object, ...]], is_twice: bool) -> None:
    frame = _frame([*rows, rows[0]] if is_twice else rows)
    assert has_repeats(frame, _COLUMNS) == (len(set(frame.iter_rows())) < frame.height)
    assert arranged(frame, _COLUMNS).equals(frame.sort(_COLUMNS, maintain_order=True))


def test_a_wide_key_is_packed_all_the_same() -> None:
    rows: list[tuple[object, ...]] = [
        (_START + timedelta(days=each), f"n{each}", _START - timedelta(days=each), 2**40 * each) for each in range(400)
    ]
    packed = _order._packed(_frame(rows), _COLUMNS)
    assert packed is not None
    assert packed.n_unique() == len(rows)
